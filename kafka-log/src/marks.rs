//! The [marks](maelstrom_core::Node::mark) of this crate: events that its sweeps in virtual time
//! must reach.

/// The marks that a sweep with all faults reaches.
pub const MARKS: &[&str] = &[
    BACK,
    CAS_MISMATCH,
    CAS_UNKNOWN,
    COMPARES,
    DOWN,
    EXPANDS,
    FENCED,
    FOLLOWS_MORE,
    GAP,
    GIVES_UP,
    LEADS_ON,
    LEAVES_IN_PEACE,
    LOST_PACKETS,
    MISMATCH,
    NEW_LIFE,
    RECOVERS,
    REDIRECTS,
    RETRY_COMMITTED,
    RETRY_WAITS,
    SHRINKS,
    STEPS_DOWN,
    TAKES_OVER,
    TRUNCATES,
];

/// More marks, which a sweep reaches if its nodes demand more than one replica in sync.
pub const MIN_IN_SYNC_MARKS: &[&str] =
    &[BELOW_MIN_IN_SYNC, ELIGIBLE_TAKES_OVER, KEEPS_REFUSED, REFUSES];

pub(crate) const BACK: &str = "kafka: a peer is up again";
pub(crate) const BELOW_MIN_IN_SYNC: &str = "kafka: refused a send with too few in sync";
pub(crate) const CAS_MISMATCH: &str = "kafka: another node changed the record first";
pub(crate) const CAS_UNKNOWN: &str = "kafka: a change of the record had no known outcome";
pub(crate) const COMPARES: &str = "kafka: began to compare replicas without a record";
pub(crate) const DOWN: &str = "kafka: a peer is down";
pub(crate) const ELIGIBLE_TAKES_OVER: &str = "kafka: an eligible replica took over";
pub(crate) const EXPANDS: &str = "kafka: took a replica into the in-sync set";
pub(crate) const FENCED: &str = "kafka: ignored an append of an old epoch";
pub(crate) const FOLLOWS_MORE: &str = "kafka: waits for the replica with the most complete log";
pub(crate) const GAP: &str = "kafka: an append left a gap";
pub(crate) const GIVES_UP: &str = "kafka: a send timed out";
pub(crate) const KEEPS_REFUSED: &str = "kafka: kept a refused send that may have copies";
pub(crate) const LEADS_ON: &str = "kafka: a restarted leader led on";
pub(crate) const LEAVES_IN_PEACE: &str = "kafka: left a leader time before replacing it";
pub(crate) const LOST_PACKETS: &str = "kafka: sent lost entries again";
pub(crate) const MISMATCH: &str = "kafka: searched for the place where its log diverges";
pub(crate) const NEW_LIFE: &str = "kafka: a peer restarted";
pub(crate) const RECOVERS: &str = "kafka: led from the most complete log";
pub(crate) const REDIRECTS: &str = "kafka: named the leader to the origin of a send";
pub(crate) const REFUSES: &str = "kafka: refused a send that has no copies";
pub(crate) const RETRY_COMMITTED: &str = "kafka: a retry of a committed send";
pub(crate) const RETRY_WAITS: &str = "kafka: a retry of a send that is not committed yet";
pub(crate) const SHRINKS: &str = "kafka: took a replica out of the in-sync set";
pub(crate) const STEPS_DOWN: &str = "kafka: a leader met a newer epoch";
pub(crate) const TAKES_OVER: &str = "kafka: took over from a leader that was gone";
pub(crate) const TRUNCATES: &str = "kafka: truncated a diverging suffix";
