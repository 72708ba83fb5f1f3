//! The consistency models, and the anomalies that each forbids.
//!
//! The names and the implications between models are those of Elle's `consistency_model.clj`
//! (0.2.2). A model forbids some anomalies, and requires that some parts of the dependency graph,
//! its [`Level`]s, have no cycle.
//!
//! Some models forbid more than a history of registers can prove. For these the checker looks for
//! everything that it can prove. For example, it judges `prefix` as `read-atomic`.
//!
//! Elle has names for eight models of single operations (Bailis et al. 2013), from
//! `monotonic-reads` to `linearizable`. It knows no anomaly of transactions that one of them
//! forbids. So under these models the checker finds only anomalies that every model forbids.

use super::graph::class;

/// A consistency model. [`check`](super::check) shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Model {
    /// No client reads a version, and then an older one. A [model of single
    /// operations](Self::is_of_single_operations).
    MonotonicReads,
    /// The writes of a client take effect in the client's order. A [model of single
    /// operations](Self::is_of_single_operations).
    MonotonicWrites,
    /// A client reads its own write, or a newer version. A [model of single
    /// operations](Self::is_of_single_operations).
    ReadYourWrites,
    /// A write comes after the versions that its client read before. A [model of single
    /// operations](Self::is_of_single_operations).
    WritesFollowReads,
    /// All processes see the writes of a client in the client's order. A [model of single
    /// operations](Self::is_of_single_operations).
    #[value(name = "PRAM")]
    Pram,
    /// All processes see causes before their effects. A [model of single
    /// operations](Self::is_of_single_operations).
    Causal,
    /// Operations behave as if they ran one after the other, in the order of each client. A [model
    /// of single operations](Self::is_of_single_operations).
    Sequential,
    /// Operations behave as if each took effect at one moment between its beginning and its end. A
    /// [model of single operations](Self::is_of_single_operations).
    Linearizable,
    /// No write cycles (Adya 1999, PL-1).
    #[value(alias = "PL-1")]
    ReadUncommitted,
    /// Read uncommitted, in the order of each session.
    #[value(alias = "strong-session-PL-1")]
    StrongSessionReadUncommitted,
    /// Read uncommitted, in the order of real time.
    #[value(alias = "strong-PL-1")]
    StrongReadUncommitted,
    /// No transaction reads an aborted or intermediate version, and information flows one way (Adya
    /// 1999, PL-2).
    #[value(alias = "PL-2")]
    ReadCommitted,
    /// Read committed, in the order of each session.
    #[value(alias = "strong-session-PL-2")]
    StrongSessionReadCommitted,
    /// Read committed, in the order of real time.
    #[value(alias = "strong-PL-2")]
    StrongReadCommitted,
    /// Read committed without lost updates (Adya 1999, PL-CS). As in Elle, any read counts, not
    /// only those through a cursor.
    #[value(alias = "PL-CS")]
    CursorStability,
    /// A transaction that has seen a part of another one sees all of it from then on (Adya 1999,
    /// PL-2L).
    #[value(alias = "PL-2L")]
    MonotonicView,
    /// Each operation reads a snapshot, and never an older one than the operation before it (Adya
    /// 1999, PL-MSR). Judged as `read-committed`.
    #[value(alias = "PL-MSR")]
    MonotonicSnapshotRead,
    /// A transaction that has seen a part of another one sees all of it from then on (Bailis et al.
    /// 2013).
    MonotonicAtomicView,
    /// Each transaction sees another one as a whole, or nothing of it (Bailis et al. 2014; Cerone
    /// et al. 2015).
    ReadAtomic,
    /// Read atomic, without lost updates (Cerone et al. 2015).
    UpdateAtomic,
    /// A transaction that has seen another one has seen everything on which that one depends
    /// (Cerone et al. 2015). Includes sessions, as in Bailis et al. 2013. Elle does not include
    /// them here.
    CausalCerone,
    /// All transactions see the others in the same order (Cerone et al. 2015). Judged as
    /// `read-atomic`. Does not include sessions, as in Elle.
    Prefix,
    /// Causal, without lost updates (Cerone et al. 2015). Judged as `update-atomic`. Does not
    /// include sessions, as in Elle.
    ParallelSnapshotIsolation,
    /// A transaction that depends on another one misses no effect of it (Adya 1999, PL-2+).
    #[value(alias = "PL-2+")]
    ConsistentView,
    /// Consistent view, and of the transactions that committed before it began (Adya 1999, PL-FCV).
    /// Judged as `consistent-view`.
    #[value(alias = "PL-FCV")]
    ForwardConsistentView,
    /// Transactions that write are serializable (Adya 1999, PL-3U). Judged as `consistent-view`.
    #[value(alias = "PL-3U")]
    UpdateSerializable,
    /// Each transaction reads one snapshot, and no update is lost (Adya 1999, PL-SI).
    #[value(alias = "PL-SI")]
    SnapshotIsolation,
    /// Snapshot isolation, and no snapshot is older than the session's earlier transactions
    /// (Daudjee & Salem 2006).
    StrongSessionSnapshotIsolation,
    /// Snapshot isolation, and every snapshot includes the transactions that committed before its
    /// own began (Daudjee & Salem 2006).
    StrongSnapshotIsolation,
    /// No cycle among dependencies of single items (Adya 1999, PL-2.99).
    #[value(alias = "PL-2.99")]
    RepeatableRead,
    /// Transactions behave as if they ran one after the other, as far as reads show (Bernstein et
    /// al. 1987).
    ViewSerializable,
    /// View serializable, for several copies (Bernstein et al. 1987).
    #[value(name = "1SR")]
    OneCopySerializable,
    /// One-copy serializable, in the order of each session (Zuikeviciute & Pedone 2008). Judged as
    /// `1SR`.
    SessionSerializable,
    /// Transactions behave as if they ran one after the other (Adya 1999, PL-3).
    #[value(alias = "PL-3", alias = "conflict-serializable")]
    Serializable,
    /// Serializable, in the order of each session (Daudjee & Salem 2004).
    StrongSessionSerializable,
    /// Serializable, and each transaction takes effect at one moment between its beginning and its
    /// end (Adya 1999, PL-SS).
    #[value(alias = "PL-SS", alias = "strong-serializable")]
    StrictSerializable,
}

/// How many anti-dependencies a cycle of a level may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Anti {
    /// Exactly one.
    One,
    /// Any number, but no two in a row.
    Apart,
    /// Any number.
    Any,
}

/// A part of the dependency graph that must have no cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level {
    /// The classes of its edges.
    pub(super) mask: u16,
    /// The cycles that count.
    pub(super) anti: Anti,
}

const fn level(mask: u16) -> Level {
    Level { mask, anti: Anti::Any }
}

const fn apart(mask: u16) -> Level {
    Level { mask, anti: Anti::Apart }
}

/// Write dependencies only.
const G0: Level = level(class::WW);
const G0_SESSION: Level = level(G0.mask | class::SESSION);
const G0_REALTIME: Level = level(G0_SESSION.mask | class::REALTIME);
/// Write and read dependencies.
const G1C: Level = level(G0.mask | class::WR);
const G1C_SESSION: Level = level(G1C.mask | class::SESSION);
const G1C_REALTIME: Level = level(G1C_SESSION.mask | class::REALTIME);
/// With version orders inferred from monotonic views within a transaction.
const VIEW: Level = level(G1C.mask | class::VIEW);
/// With version orders inferred from atomic visibility.
const ATOMIC: Level = level(VIEW.mask | class::ATOMIC);
/// With sessions, and version orders inferred from causality.
const CAUSAL: Level = level(ATOMIC.mask | class::SESSION | class::CAUSAL);
/// With anti-dependencies.
const ITEM: Level = level(ATOMIC.mask | class::RW | class::ATOMIC_RW);
const SINGLE: Level = Level { mask: ITEM.mask, anti: Anti::One };
const SNAPSHOT: Level = apart(ITEM.mask);
/// With anti-dependencies and sessions.
const SESSION: Level = level(ITEM.mask | CAUSAL.mask);
const SESSION_SNAPSHOT: Level = apart(SESSION.mask);
/// With everything, real time included.
const STRICT: Level = level(u16::MAX);
const STRICT_SNAPSHOT: Level = apart(STRICT.mask);

impl Level {
    /// Whether a cycle with edges of these classes counts at this level.
    pub(super) fn has_cycle(self, classes: &[u16]) -> bool {
        let anti: Vec<bool> = classes.iter().map(|class| class & class::ANTI != 0).collect();
        let mut pairs = anti.iter().zip(anti.iter().cycle().skip(1));
        classes.iter().all(|class| class & self.mask != 0)
            && match self.anti {
                Anti::One => anti.iter().filter(|anti| **anti).count() == 1,
                Anti::Apart => !pairs.any(|(one, next)| *one && *next),
                Anti::Any => true,
            }
    }
}

impl Model {
    /// All models, weaker ones before stronger ones.
    pub const ALL: [Self; 36] = [
        Self::MonotonicReads,
        Self::MonotonicWrites,
        Self::ReadYourWrites,
        Self::WritesFollowReads,
        Self::Pram,
        Self::Causal,
        Self::Sequential,
        Self::Linearizable,
        Self::ReadUncommitted,
        Self::StrongSessionReadUncommitted,
        Self::StrongReadUncommitted,
        Self::ReadCommitted,
        Self::StrongSessionReadCommitted,
        Self::StrongReadCommitted,
        Self::CursorStability,
        Self::MonotonicView,
        Self::MonotonicSnapshotRead,
        Self::MonotonicAtomicView,
        Self::ReadAtomic,
        Self::UpdateAtomic,
        Self::CausalCerone,
        Self::Prefix,
        Self::ParallelSnapshotIsolation,
        Self::ConsistentView,
        Self::ForwardConsistentView,
        Self::UpdateSerializable,
        Self::SnapshotIsolation,
        Self::StrongSessionSnapshotIsolation,
        Self::StrongSnapshotIsolation,
        Self::RepeatableRead,
        Self::ViewSerializable,
        Self::OneCopySerializable,
        Self::SessionSerializable,
        Self::Serializable,
        Self::StrongSessionSerializable,
        Self::StrictSerializable,
    ];

    /// Elle's name for the model.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MonotonicReads => "monotonic-reads",
            Self::MonotonicWrites => "monotonic-writes",
            Self::ReadYourWrites => "read-your-writes",
            Self::WritesFollowReads => "writes-follow-reads",
            Self::Pram => "PRAM",
            Self::Causal => "causal",
            Self::Sequential => "sequential",
            Self::Linearizable => "linearizable",
            Self::ReadUncommitted => "read-uncommitted",
            Self::StrongSessionReadUncommitted => "strong-session-read-uncommitted",
            Self::StrongReadUncommitted => "strong-read-uncommitted",
            Self::ReadCommitted => "read-committed",
            Self::StrongSessionReadCommitted => "strong-session-read-committed",
            Self::StrongReadCommitted => "strong-read-committed",
            Self::CursorStability => "cursor-stability",
            Self::MonotonicView => "monotonic-view",
            Self::MonotonicSnapshotRead => "monotonic-snapshot-read",
            Self::MonotonicAtomicView => "monotonic-atomic-view",
            Self::ReadAtomic => "read-atomic",
            Self::UpdateAtomic => "update-atomic",
            Self::CausalCerone => "causal-cerone",
            Self::Prefix => "prefix",
            Self::ParallelSnapshotIsolation => "parallel-snapshot-isolation",
            Self::ConsistentView => "consistent-view",
            Self::ForwardConsistentView => "forward-consistent-view",
            Self::UpdateSerializable => "update-serializable",
            Self::SnapshotIsolation => "snapshot-isolation",
            Self::StrongSessionSnapshotIsolation => "strong-session-snapshot-isolation",
            Self::StrongSnapshotIsolation => "strong-snapshot-isolation",
            Self::RepeatableRead => "repeatable-read",
            Self::ViewSerializable => "view-serializable",
            Self::OneCopySerializable => "1SR",
            Self::SessionSerializable => "session-serializable",
            Self::Serializable => "serializable",
            Self::StrongSessionSerializable => "strong-session-serializable",
            Self::StrictSerializable => "strict-serializable",
        }
    }

    /// The parts of the graph that must have no cycle, the smallest first.
    pub(super) const fn levels(self) -> &'static [Level] {
        match self {
            Self::MonotonicReads
            | Self::MonotonicWrites
            | Self::ReadYourWrites
            | Self::WritesFollowReads
            | Self::Pram
            | Self::Causal
            | Self::Sequential
            | Self::Linearizable => &[],
            Self::ReadUncommitted => &[G0],
            Self::StrongSessionReadUncommitted => &[G0, G0_SESSION],
            Self::StrongReadUncommitted => &[G0, G0_SESSION, G0_REALTIME],
            Self::ReadCommitted | Self::CursorStability | Self::MonotonicSnapshotRead => &[G0, G1C],
            Self::StrongSessionReadCommitted => &[G0, G1C, G0_SESSION, G1C_SESSION],
            Self::StrongReadCommitted => {
                &[G0, G1C, G0_SESSION, G1C_SESSION, G0_REALTIME, G1C_REALTIME]
            }
            Self::MonotonicView | Self::MonotonicAtomicView => &[G0, G1C, VIEW],
            Self::ReadAtomic
            | Self::UpdateAtomic
            | Self::Prefix
            | Self::ParallelSnapshotIsolation => &[G0, G1C, VIEW, ATOMIC],
            Self::CausalCerone => &[G0, G1C, VIEW, ATOMIC, CAUSAL],
            Self::ConsistentView | Self::ForwardConsistentView | Self::UpdateSerializable => {
                &[G0, G1C, VIEW, ATOMIC, SINGLE]
            }
            Self::SnapshotIsolation => &[G0, G1C, VIEW, ATOMIC, SNAPSHOT],
            Self::StrongSessionSnapshotIsolation => {
                &[G0, G1C, VIEW, ATOMIC, SNAPSHOT, CAUSAL, SESSION_SNAPSHOT]
            }
            Self::StrongSnapshotIsolation => {
                &[G0, G1C, VIEW, ATOMIC, SNAPSHOT, CAUSAL, SESSION_SNAPSHOT, STRICT_SNAPSHOT]
            }
            Self::RepeatableRead
            | Self::ViewSerializable
            | Self::OneCopySerializable
            | Self::SessionSerializable
            | Self::Serializable => &[G0, G1C, VIEW, ATOMIC, ITEM],
            Self::StrongSessionSerializable => &[G0, G1C, VIEW, ATOMIC, ITEM, CAUSAL, SESSION],
            Self::StrictSerializable => &[G0, G1C, VIEW, ATOMIC, CAUSAL, ITEM, STRICT],
        }
    }

    /// Whether this is a model of single operations. Elle knows no anomaly of transactions that
    /// such a model forbids.
    #[must_use]
    pub const fn is_of_single_operations(self) -> bool {
        self.levels().is_empty()
    }

    /// Whether the model forbids this anomaly of a single transaction or version.
    pub(super) fn forbids(self, anomaly: &str) -> bool {
        let demands = |mask: u16| self.levels().iter().any(|level| level.mask & mask == mask);
        match anomaly {
            "G1a" | "G1b" | "future-read" | "dirty-update" | "incompatible-order" => {
                demands(G1C.mask)
            }
            "internal" => demands(ATOMIC.mask),
            "lost-update" => {
                demands(ITEM.mask)
                    || matches!(
                        self,
                        Self::CursorStability
                            | Self::UpdateAtomic
                            | Self::ParallelSnapshotIsolation
                    )
            }
            // Every model forbids the others.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
    fn all_names_of_elle_are_known() {
        let names = "1SR PRAM causal linearizable monotonic-reads monotonic-writes \
            read-your-writes sequential writes-follow-reads \
            PL-1 PL-2 PL-2+ PL-2.99 PL-2L PL-3 PL-3U PL-CS PL-FCV PL-MSR PL-SI PL-SS \
            causal-cerone conflict-serializable consistent-view cursor-stability \
            forward-consistent-view monotonic-atomic-view monotonic-snapshot-read monotonic-view \
            parallel-snapshot-isolation prefix read-atomic read-committed read-uncommitted \
            repeatable-read serializable session-serializable snapshot-isolation \
            strict-serializable strong-PL-1 strong-PL-2 strong-read-committed \
            strong-read-uncommitted strong-serializable strong-session-PL-1 strong-session-PL-2 \
            strong-session-read-committed strong-session-read-uncommitted \
            strong-session-serializable strong-session-snapshot-isolation \
            strong-snapshot-isolation update-atomic update-serializable view-serializable";
        let known = Model::ALL.map(|model| model.to_possible_value().unwrap());
        let known: BTreeSet<&str> = known.iter().flat_map(|v| v.get_name_and_aliases()).collect();
        assert_eq!(known, names.split_whitespace().collect());
    }

    #[test]
    fn a_stronger_model_forbids_more() {
        let covers = |strong: Model, level: &Level| {
            let wider = |other: &&Level| other.mask & level.mask == level.mask;
            let mut wider = strong.levels().iter().filter(wider);
            wider.any(|other| level.mask & class::ANTI == 0 || other.anti >= level.anti)
        };
        for (strong, weaker) in super::super::tests::IMPLIED {
            for weak in *weaker {
                let levels = weak.levels().iter();
                assert!(levels.clone().all(|level| covers(*strong, level)), "{strong:?} {weak:?}");
                for anomaly in ["G1a", "internal", "lost-update"] {
                    assert!(
                        strong.forbids(anomaly) >= weak.forbids(anomaly),
                        "{strong:?} {weak:?}"
                    );
                }
            }
        }
    }
}
