//! The visible part of each log: the clock of its newest visible transaction.
//!
//! This is a vector clock that counts in Lamport time (Lamport, *Time, Clocks, and the Ordering of
//! Events in a Distributed System*, 1978). The clocks in an origin's log rise. So the clock of one
//! transaction stands for all transactions of the log up to it. A version vector of the gossip
//! engine counts the entries of each log instead.

use std::collections::BTreeMap;

use maelstrom_core::NodeId;
use maelstrom_core::gossip::Origin;
use serde::{Deserialize, Serialize};

/// A clock for each origin. An origin without an entry has clock 0.
///
/// On the wire: a list of `[node, incarnation, clock]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(NodeId, u64, u64)>", into = "Vec<(NodeId, u64, u64)>")]
pub struct VectorClock(BTreeMap<Origin, u64>);

impl VectorClock {
    /// The clock of `origin`.
    #[must_use]
    pub fn get(&self, origin: &Origin) -> u64 {
        self.0.get(origin).copied().unwrap_or(0)
    }

    /// True if no origin has a clock.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The largest clock.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.values().copied().max().unwrap_or(0)
    }

    /// True if no clock is behind the one in `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(origin, clock)| self.get(origin) >= *clock)
    }

    /// Takes the larger clock of each origin.
    pub fn join(&mut self, other: &Self) {
        for (origin, clock) in &other.0 {
            self.raise(origin, *clock);
        }
    }

    /// Raises the clock of `origin` to at least this one.
    pub fn raise(&mut self, origin: &Origin, clock: u64) {
        match self.0.get_mut(origin) {
            Some(mine) => *mine = clock.max(*mine),
            None if clock > 0 => drop(self.0.insert(origin.clone(), clock)),
            None => {}
        }
    }

    /// The clocks that are ahead of those in `before`, without the one of `own`.
    #[must_use]
    pub fn since(&self, before: &Self, own: &Origin) -> Self {
        let is_new =
            |(origin, clock): &(&Origin, &u64)| *origin != own && before.get(origin) < **clock;
        let rows = self.0.iter().filter(is_new);
        Self(rows.map(|(origin, clock)| (origin.clone(), *clock)).collect())
    }

    /// Estimated size in a message, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let digits = |n: u64| usize::try_from(n.checked_ilog10().unwrap_or(0)).unwrap_or(20);
        let row = |(origin, clock): (&Origin, &u64)| {
            let numbers = digits(origin.incarnation).saturating_add(digits(*clock));
            numbers.saturating_add(origin.node.len()).saturating_add(r#"["",1,1],"#.len())
        };
        self.0.iter().map(row).fold(0, usize::saturating_add)
    }
}

impl From<Vec<(NodeId, u64, u64)>> for VectorClock {
    fn from(rows: Vec<(NodeId, u64, u64)>) -> Self {
        let mut clocks = Self::default();
        for (node, incarnation, clock) in rows {
            clocks.raise(&Origin { node, incarnation }, clock);
        }
        clocks
    }
}

impl From<VectorClock> for Vec<(NodeId, u64, u64)> {
    fn from(clocks: VectorClock) -> Self {
        let row = |(origin, clock): (Origin, u64)| (origin.node, origin.incarnation, clock);
        clocks.0.into_iter().map(row).collect()
    }
}
