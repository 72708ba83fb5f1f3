//! A compact claim of a node's version: rows that both nodes have alike are sent as one digest.
//!
//! A version vector has a row for each life of a node that appended something, and a row stays
//! forever. So a message does not name all rows. It names
//!
//! * the rows in which the sender differs from the known version of the receiver, including those
//!   of which the sender has nothing,
//! * the rows that changed last at the sender, twice as many as there are nodes,
//! * and a digest of all other rows of the sender.
//!
//! The receiver removes the named rows from its own version. If the rest has the same digest, the
//! sender has exactly these rows. If not, the receiver treats the named rows as a lower bound of
//! the sender's version. Two kinds of messages name all rows. One carries a piece of a snapshot,
//! whose version the receiver adopts. The other asks for missing entries, because an answer to a
//! lower bound could be the whole state.
//!
//! # Why nothing is lost and nothing waits forever
//!
//! * In one life, the rows of the receiver only grow, and its version known to the sender never
//!   exceeds them. So the receiver lacks nothing of a row that is left out: the sender has exactly
//!   as much as it knows the receiver to have.
//! * A node always has only a lower bound of a peer's version, because messages can be lost or
//!   late.
//! * A claim that cannot be resolved is followed by one that can. The two nodes differ in a row
//!   that the sender does not name. So the sender knows the receiver to have as much of this row as
//!   itself, and the receiver has more. That is more than the receiver knows the sender to have, so
//!   its next message names the row, and then the sender names it too. The only exception is a row
//!   that keeps changing at the receiver and has not changed at the sender for long. There are
//!   fewer current lives than rows that are named because they changed last. A past life has an
//!   end, so its row changes finitely often. (After a snapshot, the rows that changed last are
//!   arbitrary ones of those that it brought, until entries arrive.)
//! * Two different sets of rows have the same 53-bit digest with a probability of about one in
//!   10^16.
//!
//! Rows of past lives stay in memory. To remove one, all nodes would have to agree to refuse late
//! entries of that life. Nodes without a disk forget such an agreement when they restart, and a
//! single node that is down would prevent it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Entry, Origin, Replica, VersionVector};

/// The rows of a node that a claim does not name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::gossip) struct DigestedRows {
    digest: u64,
    /// Logs of which the sender has nothing, although the receiver is known to have something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lacks: Vec<Origin>,
}

/// A digest of a set of rows: the sum of their hashes, so the order does not matter.
#[derive(Clone, Copy, Debug, Default)]
struct Digest(u64);

impl Digest {
    fn add(&mut self, origin: &Origin, count: u64) {
        // FNV-1a, and the final mixing of MurmurHash3, so that each bit of the sum depends on each
        // byte.
        let numbers = origin.incarnation.to_le_bytes().into_iter().chain(count.to_le_bytes());
        let bytes = origin.node.bytes().chain([0xff]).chain(numbers);
        let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
            hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
        }
        self.0 = self.0.wrapping_add(hash ^ (hash >> 33));
    }

    /// 53 bits, so that any JSON parser keeps all digits.
    fn finish(self) -> u64 {
        self.0 >> 11
    }
}

impl<T: Entry> Replica<T> {
    /// The claim for a peer with the version `known`: the rows to name, including the `recent` ones
    /// that changed last; and the other rows as a digest, if there are any. O(rows × log).
    pub(in crate::gossip) fn claim(
        &self,
        known: &VersionVector,
        recent: usize,
    ) -> (VersionVector, Option<DigestedRows>) {
        let Some(old) = self.logs.len().checked_sub(recent).filter(|old| *old > 0) else {
            return (self.version.clone(), None);
        };
        let mut changes: Vec<u64> = self.logs.values().map(|log| log.changed).collect();
        let (_, &mut last_old, _) = changes.select_nth_unstable(old.saturating_sub(1));
        let (mut named, mut rest, mut is_whole) =
            (VersionVector::default(), Digest::default(), true);
        for (origin, log) in &self.logs {
            if log.changed > last_old || known.get(origin) != log.end() {
                named.raise(origin, log.end());
            } else {
                rest.add(origin, log.end());
                is_whole = false;
            }
        }
        let lacks = known.0.keys().filter(|origin| !self.logs.contains_key(*origin));
        let rest = || DigestedRows { digest: rest.finish(), lacks: lacks.cloned().collect() };
        (named, (!is_whole).then(rest))
    }

    /// All rows of a node that claims `named` and `rest`. `None` if the digest does not match the
    /// rows of this replica. O(rows × log).
    pub(in crate::gossip) fn resolve(
        &self,
        named: &VersionVector,
        rest: &DigestedRows,
    ) -> Option<VersionVector> {
        let (mut all, mut digest) = (named.clone(), Digest::default());
        let lacks: BTreeSet<&Origin> = rest.lacks.iter().collect();
        let is_named = |origin| named.get(origin) > 0 || lacks.contains(origin);
        for (origin, log) in self.logs.iter().filter(|(origin, _)| !is_named(origin)) {
            digest.add(origin, log.end());
            all.raise(origin, log.end());
        }
        (digest.finish() == rest.digest).then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
    struct Nothing;

    impl Entry for Nothing {
        fn encoded_len(&self) -> usize {
            4
        }
    }

    fn origin(life: u64) -> Origin {
        Origin { node: format!("n{}", life % 3).into(), incarnation: life }
    }

    fn replica(rows: impl IntoIterator<Item = (u64, u64)>) -> Replica<Nothing> {
        let mut replica = Replica::new(1 << 20);
        for (life, count) in rows {
            (0..count).for_each(|_| _ = replica.append(&origin(life), Nothing));
        }
        replica
    }

    proptest! {
        #[test]
        fn a_claim_is_resolved_to_the_senders_version_or_not_at_all(
            rows in btree_map(0..20_u64, 1..4_u64, 0..20),
            more in btree_map(0..20_u64, 1..3_u64, 0..4),
            unknown in btree_set(0..20_u64, 0..4),
            recent in 0..8_usize,
        ) {
            let sender = replica(rows.clone());
            // The receiver has as much or more, and the sender may know that.
            let receiver = replica(rows.into_iter().chain(more.clone()));
            let mut known = VersionVector::default();
            let told = sender.logs.keys().filter(|row| !unknown.contains(&row.incarnation));
            told.for_each(|row| known.raise(row, sender.version.get(row)));
            let is_told = |life: &u64| !unknown.contains(life);
            let told = more.keys().copied().filter(is_told).map(origin);
            told.for_each(|row| known.raise(&row, receiver.version.get(&row)));
            let (named, rest) = sender.claim(&known, recent);
            prop_assert!(sender.version.covers(&named));
            let Some(rest) = rest else {
                prop_assert_eq!(&named, &sender.version);
                return Ok(());
            };
            let resolved = receiver.resolve(&named, &rest);
            let is_alike = more.keys().all(|life| is_told(life) || named.get(&origin(*life)) > 0);
            prop_assert_eq!(resolved, is_alike.then(|| sender.version.clone()));
        }
    }

    /// The rows that a node knows of a peer with `rows`: at most these.
    fn known(rows: &BTreeMap<u64, u64>, at_most: &BTreeMap<u64, u64>) -> VersionVector {
        let mut known = VersionVector::default();
        for (life, count) in rows {
            known.raise(&origin(*life), at_most.get(life).copied().unwrap_or(*count).min(*count));
        }
        known
    }

    fn any_rows() -> impl Strategy<Value = BTreeMap<u64, u64>> {
        btree_map(0..20_u64, 0..4_u64, 0..20)
    }

    proptest! {
        #[test]
        fn a_node_that_has_heard_the_claim_of_another_makes_one_that_is_resolved_there(
            (ours, theirs) in (any_rows(), any_rows()),
            (known_to_us, known_to_them) in (any_rows(), any_rows()),
            recent in (0..8_usize, 0..8_usize),
        ) {
            let (us, they) = (replica(ours.clone()), replica(theirs.clone()));
            let (named, rest) = they.claim(&known(&ours, &known_to_them), recent.0);
            let mut known = known(&theirs, &known_to_us);
            let whole = rest.and_then(|rest| us.resolve(&named, &rest));
            known.join(&whole.unwrap_or(named));
            prop_assert!(they.version.covers(&known));
            let (named, rest) = us.claim(&known, recent.1);
            let resolved = match rest {
                Some(rest) => they.resolve(&named, &rest),
                None => Some(named),
            };
            prop_assert_eq!(resolved.as_ref(), Some(&us.version));
        }
    }

    #[test]
    fn rows_that_changed_last_or_are_not_known_are_named() {
        let sender = replica((1..=9).map(|life| (life, life)));
        let mut known = sender.version.clone();
        known.0.insert(origin(3), 2);
        let (named, rest) = sender.claim(&known, 2);
        let expected: Vec<(_, u64, u64)> =
            [3, 8, 9].map(|life| (origin(life).node, life, life)).into();
        assert_eq!((named.clone(), rest.is_some()), (expected.into(), true));
        assert_eq!(sender.claim(&known, 9), (sender.version.clone(), None));
        assert_eq!(sender.resolve(&named, &rest.unwrap()).as_ref(), Some(&sender.version));
        assert_eq!(sender.resolve(&named, &DigestedRows { digest: 1, lacks: Vec::new() }), None);
    }
}
