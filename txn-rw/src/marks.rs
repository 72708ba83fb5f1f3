//! The [marks](maelstrom_core::Node::mark) of this crate: events that its sweeps in virtual time
//! must reach.

/// The marks that a sweep with all faults reaches.
pub const MARKS: &[&str] = &[DEPENDS, HELD, LOSES, TIE];

/// More marks, which a sweep reaches if nodes send their maps, and fold held transactions.
pub const SNAPSHOT_MARKS: &[&str] = &[BROUGHT, FOLDS, SHOWN, TOGETHER];

/// More marks, which a sweep reaches at the [levels](crate::Isolation) below causal.
pub const STEP_MARKS: &[&str] = &[STEPS];

/// More marks, which a sweep reaches at the lowest level.
pub const UNCOMMITTED_MARKS: &[&str] = &[UNCOMMITTED];

/// More marks, which a sweep reaches if its nodes have low limits.
pub const LIMIT_MARKS: &[&str] = &[CROWDED, LONG, NO_ROOM];

pub(crate) const BROUGHT: &str = "txn-rw: a snapshot brought a held transaction";
pub(crate) const CROWDED: &str = "txn-rw: refused a transaction beside the running ones";
pub(crate) const DEPENDS: &str = "txn-rw: a transaction depends on another node's";
pub(crate) const FOLDS: &str = "txn-rw: folded held transactions";
pub(crate) const HELD: &str = "txn-rw: held a transaction until it can be visible";
pub(crate) const LONG: &str = "txn-rw: refused a transaction of too many operations";
pub(crate) const LOSES: &str = "txn-rw: a write lost to a larger version";
pub(crate) const NO_ROOM: &str = "txn-rw: refused writes for which the map has no room";
pub(crate) const SHOWN: &str = "txn-rw: a snapshot made a held transaction visible";
pub(crate) const STEPS: &str = "txn-rw: a transaction takes another step";
pub(crate) const TIE: &str = "txn-rw: two writes of a key had the same clock";
pub(crate) const TOGETHER: &str = "txn-rw: folded transactions became visible together";
pub(crate) const UNCOMMITTED: &str = "txn-rw: a read saw an uncommitted write";

/// How often a map has met events that only the map can see. A map has no node to mark them at, so
/// the handler looks at these numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Held transactions that a snapshot brought.
    pub brought: u64,
    /// Foldings of held transactions.
    pub folds: u64,
    /// Transactions that were held when they came.
    pub held: u64,
    /// Writes that lost to a larger version.
    pub lost: u64,
    /// Held transactions that a snapshot made visible.
    pub shown: u64,
    /// Writes with the clock of the version that was there.
    pub ties: u64,
    /// Times that held transactions became visible only together.
    pub together: u64,
}

impl Counts {
    /// The marks of the events since `before`, each one once.
    pub(crate) fn marks_since(&self, before: &Self) -> impl Iterator<Item = &'static str> {
        let all = [
            (BROUGHT, self.brought > before.brought),
            (FOLDS, self.folds > before.folds),
            (HELD, self.held > before.held),
            (LOSES, self.lost > before.lost),
            (SHOWN, self.shown > before.shown),
            (TIE, self.ties > before.ties),
            (TOGETHER, self.together > before.together),
        ];
        all.into_iter().filter(|(_, is_reached)| *is_reached).map(|(mark, _)| mark)
    }
}
