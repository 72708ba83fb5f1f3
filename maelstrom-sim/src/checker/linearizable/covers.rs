//! Decides which indeterminate operations can stand in for which others.
//!
//! Classes form groups. The first class of a group, its head, covers all others: wherever one of
//! them is legal, the head is legal too, and leads to the same state ([`Model::covers`]).
//!
//! # Why an unused head makes up for an operation of its group
//!
//! Take two configurations A and B with the same state. Assume that each operation that B has not
//! used has a partner that A has not used: an equal operation, or one that covers it. No two
//! operations share a partner. Then A can continue in every way in which B can, with partners in
//! place of the indeterminate operations:
//!
//! * B takes a completed operation, or an indeterminate one that is called later. A takes the same
//!   operation.
//! * B takes an indeterminate operation that was called. Its partner was called too. The operation
//!   is legal in the common state, so the partner is legal there and leads to the same state. The
//!   other operations keep their partners.
//!
//! Thus both stay in the same state until the end, and the search can leave out B. It finds a way
//! to continue from A if there is one, in whichever order it tries the operations.
//!
//! Both configurations know the same calls. So the operations that A has left beyond B are those
//! that B used beyond A. In each group, partners exist under two conditions:
//!
//! * A used no more heads than B.
//! * The number of heads that B used beyond A is at least the number of other operations that A
//!   used beyond B, summed over their classes.

use super::model::Model;

/// The cost of using an operation that covers others. Every other operation costs one.
const HEAD_COST: u64 = 2;

/// The groups of the classes of a history.
///
/// A slot is the index of a class's count. The slots of a group are adjacent, and its head has the
/// first one.
#[derive(Debug, Default)]
pub(super) struct Covers {
    /// The slot of each class.
    slots: Vec<usize>,
    /// How many classes each group has.
    groups: Vec<usize>,
    /// The cost of using an operation, by class.
    costs: Vec<u64>,
}

impl Covers {
    /// Groups the classes. `classes` has one operation of each.
    pub(super) fn new<M: Model>(model: &M, classes: &[&M::Op]) -> Self {
        let is_covered = |by: &M::Op, op: &M::Op| by != op && model.covers(by, op);
        let heads = classes.iter().filter(|op| !classes.iter().any(|by| is_covered(by, op)));
        let heads: Vec<&M::Op> = heads.copied().collect();
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); heads.len()];
        let mut loose = Vec::new();
        for (class, op) in classes.iter().enumerate() {
            let is_head = heads.iter().position(|head| head == op);
            let covering = || heads.iter().position(|head| is_covered(head, op));
            match is_head.or_else(covering).and_then(|at| groups.get_mut(at)) {
                Some(group) if is_head.is_some() => group.insert(0, class),
                Some(group) => group.push(class),
                // Some classes cover each other and have no head, so each is a group of its own.
                None => loose.push(vec![class]),
            }
        }
        groups.append(&mut loose);
        let (mut slots, mut costs) = (vec![0; classes.len()], vec![1; classes.len()]);
        for (slot, class) in groups.iter().flatten().enumerate() {
            if let Some(place) = slots.get_mut(*class) {
                *place = slot;
            }
        }
        for group in groups.iter().filter(|group| group.len() > 1) {
            if let Some(cost) = group.first().and_then(|head| costs.get_mut(*head)) {
                *cost = HEAD_COST;
            }
        }
        Self { slots, groups: groups.iter().map(Vec::len).collect(), costs }
    }

    /// The number of classes.
    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot of a class.
    pub(super) fn slot(&self, class: usize) -> usize {
        self.slots.get(class).copied().unwrap_or(class)
    }

    /// The cost of using an operation of a class. An operation that can do more costs more.
    pub(super) fn cost(&self, class: usize) -> u64 {
        self.costs.get(class).copied().unwrap_or(1)
    }

    /// Whether a configuration that used `ours` has an unused partner for each operation that one
    /// which used `theirs` has not used. Both count by slot.
    pub(super) fn leave_partners(&self, mut ours: &[u32], mut theirs: &[u32]) -> bool {
        for len in &self.groups {
            let (Some((a, rest)), Some((b, other_rest))) =
                (ours.split_at_checked(*len), theirs.split_at_checked(*len))
            else {
                return false;
            };
            (ours, theirs) = (rest, other_rest);
            let (Some((a_head, a)), Some((b_head, b))) = (a.split_first(), b.split_first()) else {
                return false;
            };
            let Some(spare) = b_head.checked_sub(*a_head) else { return false };
            let lacking: u32 = a.iter().zip(b).map(|(a, b)| a.saturating_sub(*b)).sum();
            if lacking > spare {
                return false;
            }
        }
        true
    }
}
