//! The leader and the in-sync set of each partition: one record in `lin-kv` for each, which nodes
//! change only by compare-and-set.
//!
//! The invariants:
//!
//! * Every change raises the version. So a value never comes twice, and a late compare-and-set does
//!   nothing.
//! * Every change of the leader raises the epoch. Only a replica in sync can become the leader or,
//!   if all of these are gone, an eligible one (see below).
//! * At least one replica is in sync: no change removes the last one.
//! * The log's name never changes.
//!
//! # Eligible leader replicas (KIP-966)
//!
//! With `--min-isr N`, nothing is committed while fewer than N replicas are in sync. So a replica
//! that leaves the in-sync set at that point has all committed entries for as long as this lasts.
//! The record names it as *eligible*. If all replicas in sync are gone, an eligible one takes over.
//! So as long as all nodes have the same N, a partition is lost only if at least N replicas lose
//! their records. (With `--acks leader`, an acknowledged message may not be committed yet.) Nodes
//! compare their flags, and warn of a peer with another N ([`Guarantees`](crate::Guarantees)).
//!
//! The rule: a change that leaves fewer than N replicas in sync makes replicas eligible. These are
//! the ones that were in sync or eligible before the change and are not in sync after it. Any other
//! change makes the set of eligible replicas empty. Fewer than N may suddenly be enough, for
//! example if N was lowered. A leader then commits nothing until it has made the change that
//! empties the set.
//!
//! Proof idea: let `e` be eligible in the record R. Take the last change that removed `e` from the
//! in-sync set. Before it, the log of `e` had every committed entry. From it on, every record up to
//! R has fewer than N replicas in sync, or `e` would not be eligible any more. So nothing was
//! committed since. A later leader that `e` follows has every committed entry. So an entry that `e`
//! truncates to follow that leader was not committed.
//!
//! Not covered: with N = 1, the default, no replica is ever eligible. With an empty `lin-kv`
//! ([recovery](crate::Comparison)), all replicas in sync or eligible must be present: if one lost
//! its records, the partition stays unavailable. The record that a recovery creates names no
//! eligible replica, although other replicas may have all committed entries: no record on a disk
//! proves that. A replica that lost only the last commit before a loss of power counts as one that
//! lost nothing. The same module explains both.

use std::collections::BTreeSet;

use maelstrom_core::NodeId;
use serde::{Deserialize, Serialize};

use crate::wire::{Epoch, LogId, PartitionId, ReplicaId, is_zero};

/// The value in `lin-kv` for a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The name of the log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_id: LogId,
    /// Rises with every change of the record.
    pub version: u64,
    /// Rises with every change of the leader.
    pub epoch: Epoch,
    /// The leader.
    pub leader: ReplicaId,
    /// The in-sync set: the replicas that must have an entry before it is committed, and the
    /// leader.
    pub in_sync: BTreeSet<ReplicaId>,
    /// Replicas that have left the in-sync set, and have all committed entries.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub eligible: BTreeSet<ReplicaId>,
}

impl Metadata {
    /// The record's key in `lin-kv`.
    #[must_use]
    pub fn key(partition: PartitionId) -> String {
        format!("partition-{partition}")
    }

    /// The record of a partition that has never had a leader. All logs are empty, so every replica
    /// that is known is in sync.
    #[must_use]
    pub fn first(
        log_id: LogId,
        leader: ReplicaId,
        others: impl IntoIterator<Item = ReplicaId>,
    ) -> Self {
        let in_sync = others.into_iter().chain([leader.clone()]).collect();
        Self { log_id, version: 1, epoch: 1, leader, in_sync, eligible: BTreeSet::new() }
    }

    /// The record after `by` takes over and `gone` replicas leave the in-sync set. `None` if `by`
    /// may not.
    #[must_use]
    pub fn taken_over(&self, by: &ReplicaId, gone: impl Fn(&ReplicaId) -> bool) -> Option<Self> {
        let mut next = self.without(|id| id != by && gone(id))?;
        next.in_sync.contains(by).then_some(())?;
        next.epoch = self.epoch.saturating_add(1);
        next.leader = by.clone();
        Some(next)
    }

    /// The record after `gone` replicas leave the in-sync set. `None` if no replica is left.
    #[must_use]
    pub fn without(&self, gone: impl Fn(&ReplicaId) -> bool) -> Option<Self> {
        let mut next = Self { version: self.version.saturating_add(1), ..self.clone() };
        next.in_sync.retain(|id| !gone(id));
        (!next.in_sync.is_empty()).then_some(next)
    }

    /// The record after `joined` joins the in-sync set. Other incarnations of its node leave.
    #[must_use]
    pub fn with(&self, joined: ReplicaId) -> Self {
        let mut next = Self { version: self.version.saturating_add(1), ..self.clone() };
        next.in_sync.retain(|id| id.node != joined.node);
        next.in_sync.insert(joined);
        next
    }

    /// This record, as a change of `before`, with its eligible replicas. `in_sync_min` replicas
    /// must be in sync to commit.
    #[must_use]
    pub fn with_eligible(mut self, before: &Self, in_sync_min: usize) -> Self {
        self.eligible = if self.in_sync.len() < in_sync_min {
            let all = before.in_sync.union(&before.eligible);
            all.filter(|id| self.in_sync_as(&id.node).is_none()).cloned().collect()
        } else {
            BTreeSet::new()
        };
        self
    }

    /// True if the record names an eligible replica although enough are in sync to commit.
    #[must_use]
    pub fn has_needless_eligible(&self, in_sync_min: usize) -> bool {
        !self.eligible.is_empty() && self.in_sync.len() >= in_sync_min
    }

    /// The incarnation of a node that is in sync, if it is.
    #[must_use]
    pub fn in_sync_as(&self, node: &NodeId) -> Option<u64> {
        self.in_sync.iter().find(|id| id.node == *node).map(|id| id.incarnation)
    }

    /// The nodes that are in sync.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.in_sync.iter().map(|id| &id.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(node: &str, incarnation: u64) -> ReplicaId {
        ReplicaId { node: node.into(), incarnation }
    }

    fn three() -> Metadata {
        Metadata::first(7, id("n1", 1), [id("n2", 2), id("n3", 3)])
    }

    #[test]
    fn only_a_replica_in_sync_in_this_very_incarnation_takes_over_in_a_new_epoch() {
        let old = three();
        let new = old.taken_over(&id("n2", 2), |gone| *gone.node == *"n1").unwrap();
        assert_eq!((new.version, new.epoch, &new.leader), (2, 2, &id("n2", 2)));
        assert_eq!(new.in_sync, BTreeSet::from([id("n2", 2), id("n3", 3)]));
        assert_eq!(old.taken_over(&id("n2", 7), |_| false), None);
        assert_eq!(old.taken_over(&id("n4", 4), |_| false), None);
        assert!(old.taken_over(&id("n2", 2), |_| true).is_some(), "it stays itself");
    }

    #[test]
    fn the_last_one_is_never_taken_out() {
        assert_eq!(three().without(|_| true), None);
        let two = three().without(|gone| gone.incarnation == 3).unwrap();
        assert_eq!((two.version, two.epoch, two.in_sync.len()), (2, 1, 2));
    }

    #[test]
    fn a_replica_that_leaves_when_nothing_can_be_committed_without_it_is_eligible() {
        let out = |record: &Metadata, node: &str, min| {
            record.without(|gone| *gone.node == *node).unwrap().with_eligible(record, min)
        };
        let names = |record: &Metadata| {
            let all = record.eligible.iter().map(|id| id.node.to_string());
            all.collect::<Vec<_>>().join(" ")
        };
        // The minimum, the eligible replicas after n3 left, and those after n2 left as well.
        for (min, first, second) in [(1, "", ""), (2, "", "n2"), (3, "n3", "n2 n3")] {
            let two = out(&three(), "n3", min);
            let one = out(&two, "n2", min);
            assert_eq!((&*names(&two), &*names(&one)), (first, second), "{min}");
        }
        // Both leave at once: both have all committed entries.
        let one = three().without(|gone| gone.incarnation > 1).unwrap().with_eligible(&three(), 2);
        assert_eq!(names(&one), "n2 n3");
        // With either of them, the leader can commit again without the other one.
        let two = one.with(id("n3", 3)).with_eligible(&one, 2);
        assert_eq!(names(&two), "");
        let two = one.with(id("n3", 3)).with_eligible(&one, 3);
        assert_eq!(names(&two), "n2");
        // n3 lost its records, and is another replica now.
        let two = one.with(id("n3", 9)).with_eligible(&one, 3);
        assert_eq!(names(&two), "n2");
    }

    #[test]
    fn an_eligible_replica_that_is_needless_is_named() {
        let one = three().without(|gone| gone.incarnation > 1).unwrap().with_eligible(&three(), 2);
        assert!(one.has_needless_eligible(1) && !one.has_needless_eligible(2));
        let next = one.without(|_| false).unwrap().with_eligible(&one, 1);
        assert!(!next.has_needless_eligible(1));
    }

    #[test]
    fn a_new_incarnation_takes_the_place_of_the_old_one() {
        let next = three().with(id("n3", 9));
        assert_eq!((next.in_sync_as(&"n3".into()), next.in_sync.len()), (Some(9), 3));
        assert_eq!(next.version, 2);
    }
}
