//! The [marks](crate::Node::mark) of the engine, which the sweeps of its users must reach in
//! virtual time.

/// The marks that a sweep with all faults reaches.
pub const MARKS: &[&str] =
    &[ANSWERED, BACK, DOWN, FRUITLESS, HUB_GONE, LATE, NEW_LIFE, PROBED, REPEATED, UNCLEAR];

/// The marks that a sweep also reaches if entries are not
/// [cumulative](super::Entry::CUMULATIVE): only then can an earlier entry be missing.
pub const LOG_MARKS: &[&str] = &[GAP];

/// The marks that a sweep also reaches if logs are trimmed, so that nodes send their state.
pub const SNAPSHOT_MARKS: &[&str] = &[GOES_ON, PIECES, UNFIT, WHOLE];

/// The marks that a sweep also reaches if nodes are restored from older copies of their records.
pub const RESTORE_MARKS: &[&str] = &[LOST_RECORDS];

pub(super) const ANSWERED: &str = "gossip: answered a fetch with entries";
pub(super) const BACK: &str = "gossip: a peer is up again";
pub(super) const DOWN: &str = "gossip: a peer is down";
pub(super) const FRUITLESS: &str = "gossip: the answer to a fetch brought nothing new";
pub(super) const GAP: &str = "gossip: received entries after a gap";
pub(super) const GOES_ON: &str = "gossip: resumed a partial snapshot";
pub(super) const HUB_GONE: &str = "gossip: probed candidates for a new hub";
pub(super) const LATE: &str = "gossip: the answer to a fetch timed out";
pub(super) const LOST_RECORDS: &str = "gossip: lost records that its peers have";
pub(super) const NEW_LIFE: &str = "gossip: a peer restarted";
pub(super) const PIECES: &str = "gossip: answered a fetch with pieces of its state";
pub(super) const PROBED: &str = "gossip: probed a peer that was down";
pub(super) const REPEATED: &str = "gossip: ignored a duplicate fetch";
pub(super) const UNCLEAR: &str = "gossip: a message from an unclear life of a peer";
pub(super) const UNFIT: &str = "gossip: a piece of a snapshot did not fit";
pub(super) const WHOLE: &str = "gossip: received all pieces of a snapshot";
