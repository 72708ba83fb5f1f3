//! The [marks](crate::Node::mark) of the engine, which the sweeps of its users must reach in
//! virtual time.

/// The marks that a sweep with all faults reaches.
pub const MARKS: &[&str] =
    &[ANSWERED, BACK, DOWN, FRUITLESS, HUB_GONE, LATE, NEW_LIFE, PROBED, UNCLEAR];

/// The marks that a sweep also reaches if entries are not
/// [cumulative](super::Entry::CUMULATIVE): only then can an earlier entry be missing.
pub const LOG_MARKS: &[&str] = &[GAP];

/// The marks that a sweep also reaches if logs are trimmed, so that nodes send their state.
pub const SNAPSHOT_MARKS: &[&str] = &[GOES_ON, PIECES, UNFIT, WHOLE];

/// The marks that a sweep also reaches if nodes are restored from older copies of their records.
pub const RESTORE_MARKS: &[&str] = &[LOST_RECORDS];

pub(super) const ANSWERED: &str = "gossip: sent what a peer asked for";
pub(super) const BACK: &str = "gossip: a peer came back";
pub(super) const DOWN: &str = "gossip: a peer does not answer";
pub(super) const FRUITLESS: &str = "gossip: an answer brought nothing";
pub(super) const GAP: &str = "gossip: something was missing before what came";
pub(super) const GOES_ON: &str = "gossip: went on with a snapshot where it had stopped";
pub(super) const HUB_GONE: &str = "gossip: called the roll since the hub is gone";
pub(super) const LATE: &str = "gossip: gave up an answer that was late";
pub(super) const LOST_RECORDS: &str = "gossip: learnt that its records are gone";
pub(super) const NEW_LIFE: &str = "gossip: a peer began a new life";
pub(super) const PIECES: &str = "gossip: sent pieces of its state";
pub(super) const PROBED: &str = "gossip: tried a peer that was down";
pub(super) const REPEATED: &str = "gossip: ignored a request that came twice";
pub(super) const UNCLEAR: &str = "gossip: did not know which life of a peer spoke";
pub(super) const UNFIT: &str = "gossip: a piece of a snapshot did not fit";
pub(super) const WHOLE: &str = "gossip: had all pieces of a snapshot";
