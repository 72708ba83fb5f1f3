//! A configuration of the search, and sets of configurations without dominated ones.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::covers::Covers;
use super::states::StateId;

/// One bit for each open operation that will return.
pub(super) type Bits = u128;

/// The operations that took effect on the way to a configuration, as a linked list from the last
/// one back to the first.
pub(super) type Trail = Option<Rc<Link>>;

/// One operation that took effect.
#[derive(Debug)]
pub(super) struct Link {
    op: usize,
    before: Trail,
}

impl Drop for Link {
    /// A trail can be as long as the history, so the links are dropped in a loop and not by
    /// recursion.
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(link) = next {
            next = Rc::into_inner(link).and_then(|mut link| link.before.take());
        }
    }
}

/// Appends an operation to a trail.
pub(super) fn lengthen(trail: &mut Trail, op: usize) {
    let before = trail.take();
    *trail = Some(Rc::new(Link { op, before }));
}

/// The operations of a trail in order, for a history with `ops` operations. A trail names an
/// operation twice if it was free first and took effect later. Only the later place counts.
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

/// A possible state of the object, and the open operations that took effect on the way to it.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) state: StateId,
    /// The open operations that took effect.
    pub(super) done: Bits,
    /// The open operations that took effect without a visible change. They may take effect later
    /// instead.
    pub(super) free: Bits,
    /// How many indeterminate operations of each class took effect. The index is the slot of the
    /// class.
    pub(super) used: Vec<u32>,
    /// How many indeterminate operations took effect in all.
    pub(super) total_used: u64,
    /// The total cost of the indeterminate operations that took effect.
    cost: u64,
    pub(super) trail: Trail,
}

impl Configuration {
    /// The configuration before the first operation, for this many classes.
    pub(super) fn new(state: StateId, classes: usize) -> Self {
        let (used, trail) = (vec![0; classes], None);
        Self { state, done: 0, free: 0, used, total_used: 0, cost: 0, trail }
    }

    /// The same configuration without an operation that has returned.
    pub(super) fn forgetting(mut self, bit: Bits) -> Self {
        self.done &= !bit;
        self.free &= !bit;
        self
    }

    /// How many operations of the class with this slot took effect.
    pub(super) fn used(&self, slot: usize) -> u32 {
        self.used.get(slot).copied().unwrap_or(0)
    }

    /// Counts one more operation of the class with this slot.
    pub(super) fn count(&mut self, slot: usize, cost: u64) {
        if let Some(count) = self.used.get_mut(slot) {
            *count += 1;
        }
        self.total_used += 1;
        self.cost += cost;
    }

    /// Whether `self` can continue with every history with which `other` can continue.
    ///
    /// This holds if both have the same state, each open operation has the same status in both or
    /// is free in `self`, and `self` has a partner for each indeterminate operation that `other`
    /// has not used.
    pub(super) fn dominates(&self, other: &Self, covers: &Covers) -> bool {
        let differ = (self.done ^ other.done) | (self.free ^ other.free);
        self.state == other.state
            && self.total_used <= other.total_used
            && differ & !self.free == 0
            && covers.leave_partners(&self.used, &other.used)
    }

    /// A higher cost means fewer ways to continue.
    const fn cost(&self) -> (u64, u32) {
        (self.cost, self.free.count_zeros())
    }

    /// How much two configurations of the same state differ.
    fn distance(&self, other: &Self) -> (u32, u64) {
        let differ = (self.done ^ other.done) | (self.free ^ other.free);
        let pairs = self.used.iter().zip(&other.used);
        (differ.count_ones(), pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum())
    }

    /// Returns a configuration that dominates both. Possibly no order of operations leads to it.
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

/// The action for configurations beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Drop some. The search can still prove that a history is linearizable.
    Drop,
    /// Join some. The search can still prove that a history is not linearizable.
    Join,
}

/// A set of configurations in which none dominates another.
pub(super) struct Antichain<'a> {
    covers: &'a Covers,
    by_state: BTreeMap<StateId, Vec<Configuration>>,
    /// The most configurations per state.
    per_state: usize,
    /// The most configurations in all. Applies only to [`Excess::Drop`].
    total: usize,
    excess: Excess,
    len: usize,
    /// Whether a configuration was dropped.
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

    /// Inserts a configuration unless another one dominates it. Returns the inserted one, which may
    /// be a joined one; `None` if nothing was inserted.
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
