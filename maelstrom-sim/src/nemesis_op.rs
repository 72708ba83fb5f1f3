//! A single action of the nemesis.

use std::fmt;
use std::time::Duration;

use maelstrom_core::NodeId;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::history::nanos;
use crate::partition::{Grudge, PartitionKind, sides};

/// The behaviour of the services. [`NemesisOp`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceMode {
    /// Correct.
    Fine,
    /// No request reaches them.
    Unreachable,
    /// Half of the requests get an error: either a definite one, and the request has no effect, or
    /// an indefinite one.
    Errors,
}

/// An action of the nemesis.
///
/// Stored runs and traces hold it as JSON:
///
/// ```
/// use maelstrom_sim::nemesis::{NemesisOp, ServiceMode};
/// use serde_json::json;
///
/// let actions = [NemesisOp::Pause("n1".into()), NemesisOp::Services(ServiceMode::Errors)];
/// assert_eq!(serde_json::to_value(actions)?, json!([{"pause": "n1"}, {"services": "errors"}]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NemesisOp {
    /// Cuts the network, in addition to earlier cuts.
    StartPartition(PartitionKind, Grudge),
    /// Heals all cuts.
    StopPartition,
    /// Loses each message between nodes with this probability.
    Loss(f64),
    /// Delivers each message between nodes twice with this probability.
    Duplication(f64),
    /// Changes each message between nodes, or adds a forged one, with this probability.
    Forgery(f64),
    /// Sends an earlier message again, with this probability for each message between nodes.
    Replay(f64),
    /// Adds this to the latency of every message from or to a node (or a service).
    Slow(NodeId, #[serde(with = "nanos")] Duration),
    /// Adds this to the latency of every message from the first to the second. Each is a node or a
    /// service.
    SlowLink(NodeId, NodeId, #[serde(with = "nanos")] Duration),
    /// Stops a node.
    Pause(NodeId),
    /// Lets a paused node continue.
    Resume(NodeId),
    /// Kills a node.
    Crash(NodeId),
    /// Starts a killed node again. Does nothing if another kind of fault has already restarted it.
    Restart(NodeId),
    /// Replaces the records of a killed node by an older copy. The copy lacks this percentage of
    /// the newest records that [may be lost](crate::options::Options::losable).
    Restore(NodeId, u8),
    /// Shifts a node's wall clock by this many milliseconds.
    Clock(NodeId, i64),
    /// Lets each sync of a node's disk take this much longer.
    SlowDisk(NodeId, #[serde(with = "nanos")] Duration),
    /// Stalls a node's disk: no sync ends.
    StallDisk(NodeId),
    /// Ends the stall of a node's disk.
    ResumeDisk(NodeId),
    /// Lets every sync of a node's disk fail, and so ends the process.
    FailDisk(NodeId),
    /// Repairs a node's failing disk, and starts the process again if the disk ended it.
    RepairDisk(NodeId),
    /// Lets a node's clocks run faster by this many thousandths, or slower if it is negative. 0 ends
    /// the drift, and sets the wall clock right.
    Drift(NodeId, i16),
    /// Changes the behaviour of the services.
    Services(ServiceMode),
    /// Clears all services, and loses all messages on their way to them.
    Forget,
}

impl NemesisOp {
    /// Its name in the history.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StartPartition(..) => "start-partition",
            Self::StopPartition => "stop-partition",
            Self::Loss(_) => "loss",
            Self::Duplication(_) => "duplication",
            Self::Forgery(_) => "forgery",
            Self::Replay(_) => "replay",
            Self::Slow(..) => "slow",
            Self::SlowLink(..) => "slow-link",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Crash(_) => "crash",
            Self::Restart(_) => "restart",
            Self::Restore(..) => "restore",
            Self::Clock(..) => "clock",
            Self::SlowDisk(..) => "slow-disk",
            Self::StallDisk(_) => "stall-disk",
            Self::ResumeDisk(_) => "resume-disk",
            Self::FailDisk(_) => "fail-disk",
            Self::RepairDisk(_) => "repair-disk",
            Self::Drift(..) => "drift",
            Self::Services(_) => "services",
            Self::Forget => "forget",
        }
    }

    /// The action that repairs this fault, if it is a fault that can be repaired.
    pub(crate) fn mend(&self) -> Option<Self> {
        match self {
            Self::StartPartition(..) => Some(Self::StopPartition),
            Self::Loss(p) if *p > 0.0 => Some(Self::Loss(0.0)),
            Self::Duplication(p) if *p > 0.0 => Some(Self::Duplication(0.0)),
            Self::Forgery(p) if *p > 0.0 => Some(Self::Forgery(0.0)),
            Self::Replay(p) if *p > 0.0 => Some(Self::Replay(0.0)),
            Self::Slow(id, by) if !by.is_zero() => Some(Self::Slow(id.clone(), Duration::ZERO)),
            Self::SlowLink(from, to, by) if !by.is_zero() => {
                Some(Self::SlowLink(from.clone(), to.clone(), Duration::ZERO))
            }
            Self::Pause(id) => Some(Self::Resume(id.clone())),
            Self::Crash(id) => Some(Self::Restart(id.clone())),
            Self::Clock(id, ms) if *ms != 0 => Some(Self::Clock(id.clone(), 0)),
            Self::SlowDisk(id, by) if !by.is_zero() => {
                Some(Self::SlowDisk(id.clone(), Duration::ZERO))
            }
            Self::StallDisk(id) => Some(Self::ResumeDisk(id.clone())),
            Self::FailDisk(id) => Some(Self::RepairDisk(id.clone())),
            Self::Drift(id, by) if *by != 0 => Some(Self::Drift(id.clone(), 0)),
            Self::Services(mode) if *mode != ServiceMode::Fine => {
                Some(Self::Services(ServiceMode::Fine))
            }
            _ => None,
        }
    }

    /// The kinds of faults that have this action, the usual one first. Empty if it is a repair.
    pub(crate) fn kinds(&self) -> &'static [Fault] {
        match self {
            _ if !self.breaks() => &[],
            Self::StartPartition(..) => &[Fault::Cut, Fault::Partition],
            Self::Loss(_) => &[Fault::Loss],
            Self::Duplication(_) => &[Fault::Duplication],
            Self::Forgery(_) => &[Fault::Forgery],
            Self::Replay(_) => &[Fault::Replay],
            Self::Slow(..) => &[Fault::Slow, Fault::Services],
            Self::SlowLink(..) => &[Fault::SlowLink],
            Self::Pause(_) => &[Fault::Pause],
            Self::Crash(_) => &[Fault::Crash, Fault::Restore, Fault::Outage, Fault::PowerLoss],
            Self::Restore(..) => &[Fault::Restore],
            Self::Clock(..) => &[Fault::Clock],
            Self::SlowDisk(..) => &[Fault::SlowDisk],
            Self::StallDisk(_) => &[Fault::StalledDisk],
            Self::FailDisk(_) => &[Fault::FailingDisk],
            Self::Drift(..) => &[Fault::Drift],
            Self::Services(_) => &[Fault::Services],
            Self::Forget => &[Fault::Outage],
            _ => &[],
        }
    }

    /// Whether this is a fault, and not a repair.
    pub(crate) fn breaks(&self) -> bool {
        matches!(self, Self::Forget | Self::Restore(..)) || self.mend().is_some()
    }

    /// The node or service that it concerns, if any. For a link, the sender.
    pub(crate) const fn target(&self) -> Option<&NodeId> {
        match self {
            Self::Slow(id, _)
            | Self::SlowLink(id, ..)
            | Self::Pause(id)
            | Self::Resume(id)
            | Self::Crash(id)
            | Self::Restart(id)
            | Self::Restore(id, _)
            | Self::Clock(id, _)
            | Self::SlowDisk(id, _)
            | Self::StallDisk(id)
            | Self::ResumeDisk(id)
            | Self::FailDisk(id)
            | Self::RepairDisk(id)
            | Self::Drift(id, _) => Some(id),
            _ => None,
        }
    }

    /// The receiving end of the link that it concerns, if any.
    pub(crate) const fn receiver(&self) -> Option<&NodeId> {
        match self {
            Self::SlowLink(_, to, _) => Some(to),
            _ => None,
        }
    }
}

impl fmt::Display for NemesisOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::StartPartition(kind, grudge) => {
                let sides = sides(grudge);
                let colon = if sides.is_empty() { "" } else { ": " };
                write!(f, "{name} ({}){colon}{sides}", kind.name())
            }
            Self::StopPartition | Self::Forget => f.write_str(name),
            Self::Loss(p) | Self::Duplication(p) | Self::Forgery(p) | Self::Replay(p) => {
                write!(f, "{name} {:.0} %", p * 100.0)
            }
            Self::Slow(node, by) | Self::SlowDisk(node, by) => {
                write!(f, "{name} {node} by {} ms", by.as_millis())
            }
            Self::SlowLink(from, to, by) => {
                write!(f, "{name} {from} to {to} by {} ms", by.as_millis())
            }
            Self::Pause(node)
            | Self::Resume(node)
            | Self::Crash(node)
            | Self::Restart(node)
            | Self::StallDisk(node)
            | Self::ResumeDisk(node)
            | Self::FailDisk(node)
            | Self::RepairDisk(node) => write!(f, "{name} {node}"),
            Self::Restore(node, percent) => write!(f, "{name} {node} without {percent} %"),
            Self::Drift(node, by) => write!(f, "{name} {node} {:+.1} %", f64::from(*by) / 10.0),
            Self::Clock(node, ms) => write!(f, "{name} {node} {ms:+} ms"),
            Self::Services(mode) => write!(f, "{name} {mode:?}"),
        }
    }
}
