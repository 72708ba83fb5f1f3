//! The consistency models that can be asked for, and what each forbids.
//!
//! Names are those of Elle's `consistency_model.clj`. A model forbids some anomalies outright, and
//! demands that some part of the dependency graph, a [`Level`], has no cycle.

use super::graph::class;

/// A consistency model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Model {
    /// No write cycles (Adya 1999, PL-1).
    #[value(alias = "PL-1")]
    ReadUncommitted,
    /// Nothing aborted or intermediate is read, and information flows one way (Adya 1999, PL-2).
    #[value(alias = "PL-2")]
    ReadCommitted,
    /// Who has seen something of a transaction sees all of it from then on (Bailis et al. 2013).
    MonotonicAtomicView,
    /// A transaction is seen whole or not at all (Bailis et al. 2014; Cerone et al. 2015).
    ReadAtomic,
    /// Who has seen a transaction has seen all that it depends on (Cerone et al. 2015). Sessions
    /// are part of it, as in Bailis et al. 2013; Elle does not look at them here.
    CausalCerone,
    /// Each transaction reads one snapshot, and no update is lost (Adya 1999, PL-SI).
    #[value(alias = "PL-SI")]
    SnapshotIsolation,
    /// No cycle at all among single items (Adya 1999, PL-2.99).
    #[value(alias = "PL-2.99")]
    RepeatableRead,
    /// As if one after the other (Adya 1999, PL-3).
    #[value(alias = "PL-3", alias = "conflict-serializable")]
    Serializable,
    /// As if one after the other, at some moment while it runs (Adya 1999, PL-SS).
    #[value(alias = "PL-SS", alias = "strong-serializable")]
    StrictSerializable,
}

/// A part of the dependency graph that must have no cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// The classes of edges in it.
    pub(super) mask: u16,
    /// Whether only those cycles count in which no two anti-dependencies follow each other.
    pub(super) nonadjacent: bool,
}

const fn level(mask: u16) -> Level {
    Level { mask, nonadjacent: false }
}

/// Only writes.
const G0: Level = level(class::WW);
/// What is written and read.
const G1C: Level = level(G0.mask | class::WR);
/// With version orders that follow from views that only grow within a transaction.
const VIEW: Level = level(G1C.mask | class::VIEW);
/// With version orders that follow from transactions being seen whole.
const ATOMIC: Level = level(VIEW.mask | class::ATOMIC);
/// With sessions, and version orders that follow from causality.
const CAUSAL: Level = level(ATOMIC.mask | class::SESSION | class::CAUSAL);
/// With anti-dependencies.
const ITEM: Level = level(ATOMIC.mask | class::RW | class::ATOMIC_RW);
const SNAPSHOT: Level = Level { mask: ITEM.mask, nonadjacent: true };
/// With all that can be said of sessions and real time.
const STRICT: Level = level(u16::MAX);

impl Model {
    /// All of them, weaker ones first where one is weaker.
    pub const ALL: [Self; 9] = [
        Self::ReadUncommitted,
        Self::ReadCommitted,
        Self::MonotonicAtomicView,
        Self::ReadAtomic,
        Self::CausalCerone,
        Self::SnapshotIsolation,
        Self::RepeatableRead,
        Self::Serializable,
        Self::StrictSerializable,
    ];

    /// Elle's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read-uncommitted",
            Self::ReadCommitted => "read-committed",
            Self::MonotonicAtomicView => "monotonic-atomic-view",
            Self::ReadAtomic => "read-atomic",
            Self::CausalCerone => "causal-cerone",
            Self::SnapshotIsolation => "snapshot-isolation",
            Self::RepeatableRead => "repeatable-read",
            Self::Serializable => "serializable",
            Self::StrictSerializable => "strict-serializable",
        }
    }

    /// Which parts of the graph must have no cycle, the smallest first.
    pub(super) const fn levels(self) -> &'static [Level] {
        match self {
            Self::ReadUncommitted => &[G0],
            Self::ReadCommitted => &[G0, G1C],
            Self::MonotonicAtomicView => &[G0, G1C, VIEW],
            Self::ReadAtomic => &[G0, G1C, VIEW, ATOMIC],
            Self::CausalCerone => &[G0, G1C, VIEW, ATOMIC, CAUSAL],
            Self::SnapshotIsolation => &[G0, G1C, VIEW, ATOMIC, SNAPSHOT],
            Self::RepeatableRead | Self::Serializable => &[G0, G1C, VIEW, ATOMIC, ITEM],
            Self::StrictSerializable => &[G0, G1C, VIEW, ATOMIC, CAUSAL, ITEM, STRICT],
        }
    }

    /// Whether the model forbids this anomaly of a single transaction or version.
    pub(super) fn forbids(self, anomaly: &str) -> bool {
        match anomaly {
            "G1a" | "G1b" | "future-read" => self > Self::ReadUncommitted,
            "internal" => self >= Self::ReadAtomic,
            "lost-update" => self >= Self::SnapshotIsolation,
            // The others are mistakes under any model.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_name_is_the_one_that_the_command_takes() {
        for model in Model::ALL {
            assert_eq!(model.to_possible_value().unwrap().get_name(), model.name());
        }
        assert_eq!(Model::value_variants(), Model::ALL);
    }

    #[test]
    fn what_is_weaker_forbids_less() {
        let levels = |model: Model| model.levels().last().unwrap().mask;
        for weak in [Model::ReadUncommitted, Model::ReadCommitted, Model::MonotonicAtomicView] {
            for strong in Model::ALL.into_iter().filter(|strong| *strong > weak) {
                assert_eq!(levels(weak) & levels(strong), levels(weak), "{weak:?} {strong:?}");
            }
        }
    }
}
