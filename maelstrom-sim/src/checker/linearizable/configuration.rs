//! A configuration of the search, and sets of configurations without the ones that are of no use.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::covers::Covers;
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

/// The operations of a trail in order, of a history with `ops` operations. An operation that was
/// free first and took effect later counts where it is last.
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
    /// How many indeterminate operations of each class took effect, by slot.
    pub(super) used: Vec<u32>,
    /// How many indeterminate operations took effect.
    pub(super) total_used: u64,
    /// Their cost.
    cost: u64,
    pub(super) trail: Trail,
}

impl Configuration {
    /// Before the first operation, with so many classes.
    pub(super) fn new(state: StateId, classes: usize) -> Self {
        let (used, trail) = (vec![0; classes], None);
        Self { state, done: 0, free: 0, used, total_used: 0, cost: 0, trail }
    }

    /// The same with an operation forgotten that has returned.
    pub(super) fn forgetting(mut self, bit: Bits) -> Self {
        self.done &= !bit;
        self.free &= !bit;
        self
    }

    /// How many of a class took effect, by its slot.
    pub(super) fn used(&self, slot: usize) -> u32 {
        self.used.get(slot).copied().unwrap_or(0)
    }

    /// Counts one more of a class, by its slot.
    pub(super) fn count(&mut self, slot: usize, cost: u64) {
        if let Some(count) = self.used.get_mut(slot) {
            *count += 1;
        }
        self.total_used += 1;
        self.cost += cost;
    }

    /// Whether each history that `other` can go on with, `self` can go on with too.
    ///
    /// That is so in the same state if each open operation has the same status or is free, and if
    /// there is a partner for each indeterminate operation that `other` has left over.
    pub(super) fn dominates(&self, other: &Self, covers: &Covers) -> bool {
        let differ = (self.done ^ other.done) | (self.free ^ other.free);
        self.state == other.state
            && self.total_used <= other.total_used
            && differ & !self.free == 0
            && covers.leave_partners(&self.used, &other.used)
    }

    /// The higher, the less it can still do.
    const fn cost(&self) -> (u64, u32) {
        (self.cost, self.free.count_zeros())
    }

    /// How far two configurations of the same state are from each other.
    fn distance(&self, other: &Self) -> (u32, u64) {
        let differ = (self.done ^ other.done) | (self.free ^ other.free);
        let pairs = self.used.iter().zip(&other.used);
        (differ.count_ones(), pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum())
    }

    /// A configuration that dominates both. It may be one that no order leads to.
    fn join(mut self, other: &Self) -> Self {
        let differ = (self.done ^ other.done) | (self.free ^ other.free);
        self.free |= differ;
        self.done &= !differ;
        for (count, other) in self.used.iter_mut().zip(&other.used) {
            *count = (*count).min(*other);
        }
        self.total_used = self.used.iter().copied().map(u64::from).sum();
        self
    }
}

/// The treatment of configurations that are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Drop some. The search still proves that a history is linearizable.
    Drop,
    /// Join some. The search still proves that a history is not linearizable.
    Join,
}

/// Configurations none of which dominates another.
pub(super) struct Antichain<'a> {
    covers: &'a Covers,
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

impl<'a> Antichain<'a> {
    pub(super) fn new(covers: &'a Covers, per_state: usize, total: usize, excess: Excess) -> Self {
        let (by_state, len, dropped) = (BTreeMap::new(), 0, false);
        Self { covers, by_state, per_state, total, excess, len, dropped }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes one in, unless it is of no use. Returns the one that is new: it may be a joined one.
    pub(super) fn insert(&mut self, new: Configuration) -> Option<&Configuration> {
        let covers = self.covers;
        let group = self.by_state.entry(new.state).or_default();
        if group.iter().any(|old| old.dominates(&new, covers)) {
            return None;
        }
        let before = group.len();
        group.retain(|old| !new.dominates(old, covers));
        let is_full = group.len() >= self.per_state;
        self.len -= before - group.len();
        match self.excess {
            Excess::Join if is_full => {
                let nearest =
                    (0..group.len()).min_by_key(|at| group.get(*at).map(|old| old.distance(&new)));
                let before = group.len();
                let joined = match nearest {
                    Some(at) => new.join(&group.swap_remove(at)),
                    None => new,
                };
                group.retain(|old| !joined.dominates(old, covers));
                self.len -= before - group.len();
                group.push(joined);
            }
            Excess::Drop if is_full => {
                self.dropped = true;
                let worst = group.iter_mut().max_by_key(|one| one.cost())?;
                if worst.cost() <= new.cost() {
                    return None;
                }
                *worst = new;
                return Some(worst);
            }
            Excess::Drop if self.len >= self.total => {
                self.dropped = true;
                return None;
            }
            Excess::Drop | Excess::Join => group.push(new),
        }
        self.len += 1;
        group.last()
    }

    pub(super) fn into_vec(self) -> Vec<Configuration> {
        self.by_state.into_values().flatten().collect()
    }
}
