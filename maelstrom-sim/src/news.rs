//! Events that a test reports while it runs. They are not part of its history.

use maelstrom_core::NodeId;
use serde::Serialize;

use crate::nemesis::NemesisOp;

/// An event to show to the user during the test. [`Trace`](crate::trace::Trace) shows it in use.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// A part of the test begins.
    Phase(&'static str),
    /// The nemesis acted.
    Nemesis(NemesisOp),
    /// A node printed an invalid line. The test ignores the node from now on.
    Muted {
        /// The node.
        node: NodeId,
        /// The line, and the error in it.
        why: String,
    },
    /// A node reached a [mark](maelstrom_core::Node::mark). Only a trace shows it.
    Mark {
        /// The node.
        node: NodeId,
        /// The name of the mark.
        name: &'static str,
    },
    /// A node sent a service an invalid request, which gets no reply. Reported once for each node
    /// and kind of error.
    BadRequest {
        /// The node.
        node: NodeId,
        /// The request, and the error in it.
        why: String,
    },
}
