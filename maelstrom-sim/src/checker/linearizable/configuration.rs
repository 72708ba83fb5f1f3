//! A configuration of the search, and sets of configurations without the ones that are of no use.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::states::StateId;

/// One bit for each operation that is open and returns later.
pub(super) type Bits = u128;

/// The way to a configuration: its last link, which knows the one before.
pub(super) type Trail = Option<Rc<Link>>;

/// An operation took effect.
#[derive(Debug)]
pub(super) struct Link {
    op: usize,
    before: Trail,
}

impl Drop for Link {
    /// A trail is as long as the history: dropping it link by link must not recurse.
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(link) = next {
            next = Rc::into_inner(link).and_then(|mut link| link.before.take());
        }
    }
}

/// Lengthens a trail.
pub(super) fn lengthen(trail: &mut Trail, op: usize) {
    let before = trail.take();
    *trail = Some(Rc::new(Link { op, before }));
}

/// The operations of a trail in order, of a history with `ops` operations. An operation that was free
/// first and took effect later counts where it is last.
pub(super) fn order(trail: &Trail, ops: usize) -> Vec<usize> {
    let mut is_placed = vec![false; ops];
    let mut order = Vec::new();
    let mut next = trail.as_deref();
    while let Some(link) = next {
        if let Some(is_placed) = is_placed.get_mut(link.op).filter(|is_placed| !**is_placed) {
            *is_placed = true;
            order.push(link.op);
        }
        next = link.before.as_deref();
    }
    order.reverse();
    order
}

/// A state that the object may be in, and the open operations that took effect.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) state: StateId,
    /// The open operations that took effect.
    pub(super) done: Bits,
    /// The open operations that took effect where nobody noticed, but may do so later instead.
    pub(super) free: Bits,
    /// How many indeterminate operations of each class took effect. Sorted, and without zeros.
    pub(super) used: Vec<(usize, u32)>,
    pub(super) trail: Trail,
}

impl Configuration {
    /// The same with an operation forgotten that has returned.
    pub(super) fn forgetting(mut self, bit: Bits) -> Self {
        self.done &= !bit;
        self.free &= !bit;
        self
    }

    /// How many of a class took effect.
    pub(super) fn used(&self, class: usize) -> u32 {
        let at = self.used.binary_search_by_key(&class, |(class, _)| *class);
        at.ok().and_then(|at| self.used.get(at)).map_or(0, |(_, count)| *count)
    }

    /// Counts one more of a class.
    pub(super) fn count(&mut self, class: usize) {
        match self.used.binary_search_by_key(&class, |(class, _)| *class) {
            Ok(at) => {
                if let Some((_, count)) = self.used.get_mut(at) {
                    *count += 1;
                }
            }
            Err(at) => self.used.insert(at, (class, 1)),
        }
    }

    fn total_used(&self) -> u64 {
        self.used.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Whether each history that `other` can go on with, `self` can go on with too.
    ///
    /// That is so in the same state if fewer indeterminate operations are used up, and if each open
    /// operation has the same status or is free.
    pub(super) fn dominates(&self, other: &Self) -> bool {
        let differ = (self.done ^ other.done) | (self.free ^ other.free);
        self.state == other.state
            && differ & !self.free == 0
            && self.used.iter().all(|(class, count)| *count <= other.used(*class))
    }

    /// How far two configurations of the same state are from each other.
    fn distance(&self, other: &Self) -> (u32, u64) {
        let differ = (self.done ^ other.done) | (self.free ^ other.free);
        let ours = self.used.iter().map(|(class, count)| count.abs_diff(other.used(*class)));
        let theirs =
            other.used.iter().filter(|(class, _)| self.used(*class) == 0).map(|(_, count)| *count);
        (differ.count_ones(), ours.chain(theirs).map(u64::from).sum())
    }

    /// The least configuration that dominates both. It may be one that no order leads to.
    fn join(mut self, other: &Self) -> Self {
        let differ = (self.done ^ other.done) | (self.free ^ other.free);
        self.free |= differ;
        self.done &= !differ;
        for (class, count) in &mut self.used {
            *count = (*count).min(other.used(*class));
        }
        self.used.retain(|(_, count)| *count > 0);
        self
    }
}

/// What to do when there are too many configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Drop some. The search still proves that a history is linearizable.
    Drop,
    /// Join some. The search still proves that a history is not linearizable.
    Join,
}

/// Configurations none of which dominates another.
pub(super) struct Antichain {
    by_state: BTreeMap<StateId, Vec<Configuration>>,
    /// The most configurations of one state.
    per_state: usize,
    /// The most configurations, where excess is dropped.
    total: usize,
    excess: Excess,
    len: usize,
    /// Whether one was dropped.
    pub(super) dropped: bool,
}

impl Antichain {
    pub(super) fn new(per_state: usize, total: usize, excess: Excess) -> Self {
        let (by_state, len, dropped) = (BTreeMap::new(), 0, false);
        Self { by_state, per_state, total, excess, len, dropped }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes one in, unless it is of no use. Returns the one that is new: it may be a joined one.
    pub(super) fn insert(&mut self, new: Configuration) -> Option<Configuration> {
        let group = self.by_state.entry(new.state).or_default();
        if group.iter().any(|old| old.dominates(&new)) {
            return None;
        }
        let before = group.len();
        group.retain(|old| !new.dominates(old));
        self.len -= before - group.len();
        let is_full = group.len() >= self.per_state;
        match self.excess {
            Excess::Join if is_full => {
                let nearest =
                    (0..group.len()).min_by_key(|at| group.get(*at).map(|old| old.distance(&new)));
                let joined = match nearest {
                    Some(at) => new.join(&group.swap_remove(at)),
                    None => new,
                };
                let before = group.len();
                group.retain(|old| !joined.dominates(old));
                self.len -= before - group.len() + usize::from(nearest.is_some());
                group.push(joined.clone());
                self.len += 1;
                return Some(joined);
            }
            Excess::Drop if is_full => {
                self.dropped = true;
                let worst = (0..group.len()).max_by_key(|at| group.get(*at).map(Self::cost));
                let worst = worst.and_then(|at| group.get_mut(at))?;
                if Self::cost(worst) <= Self::cost(&new) {
                    return None;
                }
                *worst = new.clone();
                return Some(new);
            }
            Excess::Drop if self.len >= self.total => {
                self.dropped = true;
                return None;
            }
            Excess::Drop | Excess::Join => {}
        }
        group.push(new.clone());
        self.len += 1;
        Some(new)
    }

    /// The higher, the less it can still do.
    fn cost(configuration: &Configuration) -> (u64, u32) {
        (configuration.total_used(), configuration.free.count_zeros())
    }

    pub(super) fn into_vec(self) -> Vec<Configuration> {
        self.by_state.into_values().flatten().collect()
    }
}
