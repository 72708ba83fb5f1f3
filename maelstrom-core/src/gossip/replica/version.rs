//! The names of logs, and version vectors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::message::NodeId;

/// The name of a log: one life of one node. A node that restarts begins a new log. So no two
/// entries have the same name, even if records were lost. The [module's example](crate::gossip)
/// shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// A number drawn at random when this log began.
    pub incarnation: u64,
}

/// A version vector: how many entries of each origin's log a node has.
///
/// On the wire: a list of `[node, incarnation, count]`.
///
/// ```
/// use maelstrom_core::gossip::{Origin, VersionVector};
///
/// let mut one: VersionVector = serde_json::from_str(r#"[["n1",7,2]]"#)?;
/// let other: VersionVector = serde_json::from_str(r#"[["n1",7,1],["n2",8,5]]"#)?;
/// assert!(!one.covers(&other));
/// one.join(&other);
/// assert!(one.covers(&other));
/// assert_eq!(one.get(&Origin { node: "n1".into(), incarnation: 7 }), 2);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(NodeId, u64, u64)>", into = "Vec<(NodeId, u64, u64)>")]
pub struct VersionVector(pub(super) BTreeMap<Origin, u64>);

impl VersionVector {
    /// How many entries of `origin` it counts.
    #[must_use]
    pub fn get(&self, origin: &Origin) -> u64 {
        self.0.get(origin).copied().unwrap_or(0)
    }

    /// How many entries of all origins it counts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().copied().fold(0, u64::saturating_add)
    }

    /// Whether this version includes everything in `other`. O(origins of `other` × log).
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(origin, count)| self.get(origin) >= *count)
    }

    /// Whether `versions` together include everything in this one.
    pub(in crate::gossip) fn is_covered_by(&self, versions: [&Self; 2]) -> bool {
        let has = |origin, count| versions.iter().any(|version| version.get(origin) >= count);
        self.0.iter().all(|(origin, count)| has(origin, *count))
    }

    /// The rows that exceed those of `other`.
    pub(in crate::gossip) fn beyond(&self, other: &Self) -> Self {
        let rows = self.0.iter().filter(|(origin, count)| **count > other.get(origin));
        Self(rows.map(|(origin, count)| (origin.clone(), *count)).collect())
    }

    pub(in crate::gossip) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the larger count for each origin.
    pub fn join(&mut self, other: &Self) {
        for (origin, count) in &other.0 {
            self.raise(origin, *count);
        }
    }

    pub(in crate::gossip) fn raise(&mut self, origin: &Origin, count: u64) {
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
