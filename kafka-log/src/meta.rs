//! Who leads a partition and who is in sync: one record in `lin-kv` for each partition, changed only
//! by compare-and-set.
//!
//! The invariants:
//!
//! * Every change raises the version, so a value never comes twice and a compare-and-set that is
//!   late does nothing.
//! * Every change of the leader raises the epoch, and only who is in sync can become it.
//! * There is always somebody in sync: the last one is never taken out. If it lost its records, the
//!   partition's messages are gone with them, and nobody pretends otherwise: it stays unavailable.
//! * The log's name never changes.

use std::collections::BTreeSet;

use maelstrom_core::NodeId;
use serde::{Deserialize, Serialize};

use crate::wire::{Epoch, LogId, PartitionId, ReplicaId, is_zero};

/// What `lin-kv` holds of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Names the log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_id: LogId,
    /// Counts the changes.
    pub version: u64,
    /// Counts the changes of the leader.
    pub epoch: Epoch,
    /// The leader.
    pub leader: ReplicaId,
    /// Who has all that is committed, the leader among them.
    pub in_sync: BTreeSet<ReplicaId>,
}

impl Metadata {
    /// The record's key in `lin-kv`.
    #[must_use]
    pub fn key(partition: PartitionId) -> String {
        format!("partition-{partition}")
    }

    /// The record of a partition that has never had a leader: all logs are empty, so whoever can be
    /// named is in sync.
    #[must_use]
    pub fn first(
        log_id: LogId,
        leader: ReplicaId,
        others: impl IntoIterator<Item = ReplicaId>,
    ) -> Self {
        let in_sync = others.into_iter().chain([leader.clone()]).collect();
        Self { log_id, version: 1, epoch: 1, leader, in_sync }
    }

    /// `by` takes over, and `gone` are no longer in sync. `None` if it may not.
    #[must_use]
    pub fn taken_over(&self, by: &ReplicaId, gone: impl Fn(&ReplicaId) -> bool) -> Option<Self> {
        let mut next = self.without(|id| id != by && gone(id))?;
        next.in_sync.contains(by).then_some(())?;
        next.epoch = self.epoch.saturating_add(1);
        next.leader = by.clone();
        Some(next)
    }

    /// `gone` are no longer in sync. `None` if nobody is left.
    #[must_use]
    pub fn without(&self, gone: impl Fn(&ReplicaId) -> bool) -> Option<Self> {
        let mut next = Self { version: self.version.saturating_add(1), ..self.clone() };
        next.in_sync.retain(|id| !gone(id));
        (!next.in_sync.is_empty()).then_some(next)
    }

    /// `joined` is in sync, and no other incarnation of its node.
    #[must_use]
    pub fn with(&self, joined: ReplicaId) -> Self {
        let mut next = Self { version: self.version.saturating_add(1), ..self.clone() };
        next.in_sync.retain(|id| id.node != joined.node);
        next.in_sync.insert(joined);
        next
    }

    /// The incarnation of a node that is in sync, if one is.
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
    fn only_who_is_in_sync_in_this_very_incarnation_takes_over_in_a_new_epoch() {
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
    fn a_new_incarnation_takes_the_place_of_the_old_one() {
        let next = three().with(id("n3", 9));
        assert_eq!((next.in_sync_as(&"n3".into()), next.in_sync.len()), (Some(9), 3));
        assert_eq!(next.version, 2);
    }
}
