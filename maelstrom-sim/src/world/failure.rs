//! The reasons why a test can end early.

use std::time::Duration;

use maelstrom_core::NodeId;

use crate::network::Flood;

/// Why a test failed. Such a test has no complete history. [`World`](super::World) shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The workload cannot be tested with these options. The node is the first one of the test.
    #[error("{1}")]
    Unsuitable(NodeId, String),
    /// A node did not answer `init`.
    #[error("{0} did not answer `init` within 10 s")]
    InitTimeout(NodeId),
    /// A node did not answer `init` with `init_ok`.
    #[error("{0} answered `init` with {1}")]
    InitRefused(NodeId, String),
    /// A node refused the set-up request of the workload.
    #[error("{0} did not accept the workload's set-up: {1}")]
    SetupRefused(NodeId, String),
    /// A node exited without being killed.
    #[error("{0} {1}")]
    NodeGone(NodeId, String),
    /// A handler panicked, at this virtual time.
    #[error("{0} panicked after {at:.3?}: {2}", at = .1)]
    Panicked(NodeId, Duration, String),
    /// Nodes exchanged messages forever at the same virtual time. This node sent the most.
    #[error(
        "nodes answer each other for ever while no time passes, after {at:.3?}; {0} sent {2} messages",
        at = .1
    )]
    Livelock(NodeId, Duration, u64),
    /// A node printed a line, at this time and of this many bytes, that is longer than nodes read.
    #[error("{0} printed a line of {2} bytes, which is too long for nodes, after {at:.3?}", at = .1)]
    LongLine(NodeId, Duration, usize),
    /// A run in virtual time exceeded its budget.
    #[error("given up after {at:.3?} of virtual time, {2}", at = .1)]
    OverBudget(NodeId, Duration, String),
    /// More messages wait for a node than a test can hold.
    #[error("{0}")]
    Flood(Flood),
}

impl Failure {
    /// The node at fault.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        match self {
            Self::Unsuitable(node, _)
            | Self::InitTimeout(node)
            | Self::InitRefused(node, _)
            | Self::SetupRefused(node, _)
            | Self::NodeGone(node, _)
            | Self::Panicked(node, ..)
            | Self::Livelock(node, ..)
            | Self::LongLine(node, ..)
            | Self::OverBudget(node, ..) => node,
            Self::Flood(Flood { most: Some((node, _)), .. } | Flood { to: node, .. }) => node,
        }
    }
}
