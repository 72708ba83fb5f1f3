//! What a node has: one append-only log per origin, and the version vector that sums them up.
//!
//! Every entry is named (node, incarnation, sequence), and a replica holds a prefix of each
//! origin's log: no holes. So one number per origin says exactly what it has, applying an entry
//! twice is harmless, and the union of two replicas is the longer prefix of each log. That makes
//! the merge commutative, associative and idempotent (a join), whatever order messages come in.
//!
//! Version vectors are due to Parker et al., *Detection of Mutual Inconsistency in Distributed
//! Systems* (1983); exchanging missing log suffixes by them is Bayou's anti-entropy (Petersen et
//! al., *Flexible Update Propagation for Weakly Consistent Replication*, 1997).

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::message::NodeId;

/// What an engine replicates.
pub trait Entry: Clone + Serialize + DeserializeOwned {
    /// About how many bytes the entry takes in a message. Keeps batches below their limit.
    fn encoded_len(&self) -> usize;
}

/// Who appends to a log: one life of one node. A node that restarts without its memory starts a new
/// log, so that no two entries ever share a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// A number drawn at random when this life began.
    pub incarnation: u64,
}

/// How much of each origin's log somebody has.
///
/// On the wire: a list of `[node, incarnation, count]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(NodeId, u64, u64)>", into = "Vec<(NodeId, u64, u64)>")]
pub struct VersionVector(BTreeMap<Origin, u64>);

impl VersionVector {
    /// How many entries of `origin`.
    #[must_use]
    pub fn get(&self, origin: &Origin) -> u64 {
        self.0.get(origin).copied().unwrap_or(0)
    }

    /// Whether everything that `other` has is here as well. O(origins of `other` × log).
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(origin, count)| self.get(origin) >= *count)
    }

    /// Takes the larger count of each origin.
    pub fn join(&mut self, other: &Self) {
        for (origin, count) in &other.0 {
            self.raise(origin, *count);
        }
    }

    fn raise(&mut self, origin: &Origin, count: u64) {
        match self.0.get_mut(origin) {
            Some(mine) => *mine = count.max(*mine),
            None if count > 0 => drop(self.0.insert(origin.clone(), count)),
            None => {}
        }
    }
}

impl From<Vec<(NodeId, u64, u64)>> for VersionVector {
    fn from(rows: Vec<(NodeId, u64, u64)>) -> Self {
        let mut vector = Self::default();
        for (node, incarnation, count) in rows {
            vector.raise(&Origin { node, incarnation }, count);
        }
        vector
    }
}

impl From<VersionVector> for Vec<(NodeId, u64, u64)> {
    fn from(vector: VersionVector) -> Self {
        vector.0.into_iter().map(|(origin, n)| (origin.node, origin.incarnation, n)).collect()
    }
}

/// Consecutive entries of one origin's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run<T> {
    /// Whose log.
    pub origin: Origin,
    /// The sequence number of the first entry; the log's own first is 0.
    pub start: u64,
    /// The entries.
    pub entries: Vec<T>,
}

/// All that a node has.
#[derive(Clone, Debug)]
pub struct Replica<T> {
    logs: BTreeMap<Origin, Vec<T>>,
    /// Always the lengths of `logs`.
    version: VersionVector,
}

impl<T> Default for Replica<T> {
    fn default() -> Self {
        Self { logs: BTreeMap::new(), version: VersionVector::default() }
    }
}

impl<T: Entry> Replica<T> {
    /// What this replica has.
    #[must_use]
    pub fn version(&self) -> &VersionVector {
        &self.version
    }

    /// Appends to the log of `origin`, and tells the entry's sequence number.
    pub fn append(&mut self, origin: &Origin, entry: T) -> u64 {
        let start = self.version.get(origin);
        self.push(origin, [entry]);
        start
    }

    /// Applies what is new in `run`, and returns it. A run that starts beyond the end of the log is
    /// ignored: what is between has not come yet, and a replica has no holes.
    pub fn apply(&mut self, run: Run<T>) -> Vec<T> {
        let have = self.version.get(&run.origin);
        let Some(known) = have.checked_sub(run.start) else {
            return Vec::new();
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let new: Vec<T> = run.entries.into_iter().skip(known).collect();
        if !new.is_empty() {
            self.push(&run.origin, new.iter().cloned());
        }
        new
    }

    /// What is here and not in `have`, up to about `bytes_max` of it; at least one entry if there
    /// is any. O(origins + what is returned).
    #[must_use]
    pub fn missing(&self, have: &VersionVector, bytes_max: usize) -> Vec<Run<T>> {
        let mut bytes = 0_usize;
        let mut runs = Vec::new();
        for (origin, log) in &self.logs {
            let start = have.get(origin);
            let rest = usize::try_from(start).ok().and_then(|start| log.get(start..));
            let mut entries = Vec::new();
            for entry in rest.unwrap_or_default() {
                bytes = bytes.saturating_add(entry.encoded_len());
                if bytes > bytes_max && !(runs.is_empty() && entries.is_empty()) {
                    break;
                }
                entries.push(entry.clone());
            }
            if !entries.is_empty() {
                runs.push(Run { origin: origin.clone(), start, entries });
            }
            if bytes > bytes_max {
                break;
            }
        }
        runs
    }

    fn push(&mut self, origin: &Origin, entries: impl IntoIterator<Item = T>) {
        if !self.logs.contains_key(origin) {
            self.logs.insert(origin.clone(), Vec::new());
        }
        if let Some(log) = self.logs.get_mut(origin) {
            log.extend(entries);
            self.version.raise(origin, log.len() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Entry for u32 {
        fn encoded_len(&self) -> usize {
            10
        }
    }

    fn origin(node: &str) -> Origin {
        Origin { node: node.into(), incarnation: 1 }
    }

    fn filled(lengths: &[(&str, u32)]) -> Replica<u32> {
        let mut replica = Replica::default();
        for (node, length) in lengths {
            for n in 0..*length {
                assert_eq!(replica.append(&origin(node), n), u64::from(n));
            }
        }
        replica
    }

    #[test]
    fn a_run_beyond_the_end_is_ignored_and_an_overlap_counts_once() {
        let mut replica = filled(&[("a", 3)]);
        let run =
            |start, entries: &[u32]| Run { origin: origin("a"), start, entries: entries.into() };
        assert_eq!(replica.apply(run(4, &[4])), [0_u32; 0]);
        assert_eq!(replica.apply(run(1, &[1, 2, 3])), [3]);
        assert_eq!(replica.apply(run(u64::MAX, &[9])), [0_u32; 0]);
        assert_eq!(replica.version().get(&origin("a")), 4);
    }

    #[test]
    fn missing_is_exactly_what_the_other_lacks() {
        let replica = filled(&[("a", 2), ("b", 3)]);
        let other = filled(&[("b", 1), ("c", 5)]);
        let runs = replica.missing(other.version(), usize::MAX);
        let names: Vec<_> =
            runs.iter().map(|r| (r.origin.node.as_ref(), r.start, r.entries.clone())).collect();
        assert_eq!(names, [("a", 0, vec![0, 1]), ("b", 1, vec![1, 2])]);
        assert!(replica.missing(replica.version(), usize::MAX).is_empty());
    }

    #[test]
    fn a_batch_keeps_to_its_limit_but_always_makes_progress() {
        let replica = filled(&[("a", 3), ("b", 3)]);
        let count = |bytes_max| -> usize {
            replica
                .missing(&VersionVector::default(), bytes_max)
                .iter()
                .map(|r| r.entries.len())
                .sum()
        };
        assert_eq!(count(0), 1);
        assert_eq!(count(25), 2);
        assert_eq!(count(45), 4);
        assert_eq!(count(60), 6);
    }

    #[test]
    fn a_version_vector_has_a_compact_form_and_survives_a_repeated_row() {
        let replica = filled(&[("a", 2)]);
        let text = serde_json::to_string(replica.version()).unwrap();
        assert_eq!(text, r#"[["a",1,2]]"#);
        let twice: VersionVector = serde_json::from_str(r#"[["a",1,2],["a",1,1]]"#).unwrap();
        assert_eq!(&twice, replica.version());
    }

    /// A replica that holds some prefix of each of three logs, whose entries are their numbers.
    fn replicas() -> impl Strategy<Value = Replica<u32>> {
        proptest::array::uniform3(0u32..5)
            .prop_map(|n| filled(&[("a", n[0]), ("b", n[1]), ("c", n[2])]))
    }

    fn merged(mut into: Replica<u32>, from: &Replica<u32>) -> Replica<u32> {
        for run in from.missing(into.version(), usize::MAX) {
            into.apply(run);
        }
        into
    }

    fn state(replica: &Replica<u32>) -> (VersionVector, Vec<Run<u32>>) {
        let all = replica.missing(&VersionVector::default(), usize::MAX);
        (replica.version().clone(), all)
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent(
            a in replicas(), b in replicas(), c in replicas(),
        ) {
            let ab = merged(a.clone(), &b);
            prop_assert_eq!(state(&ab), state(&merged(b.clone(), &a)));
            let left = merged(ab.clone(), &c);
            let right = merged(a.clone(), &merged(b.clone(), &c));
            prop_assert_eq!(state(&left), state(&right));
            prop_assert_eq!(state(&merged(ab.clone(), &ab)), state(&ab));
            let mut joined = a.version().clone();
            joined.join(b.version());
            prop_assert_eq!(ab.version(), &joined);
            prop_assert!(joined.covers(a.version()) && joined.covers(b.version()));
        }
    }
}
