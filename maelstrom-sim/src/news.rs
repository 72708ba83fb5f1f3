//! Events that a test reports while it runs, beside its history.

use maelstrom_core::NodeId;
use serde::Serialize;

use crate::nemesis::NemesisOp;

/// An event for a person who watches the test.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// A part of the test begins.
    Phase(&'static str),
    /// The nemesis acted.
    Nemesis(NemesisOp),
    /// A node said something that makes no sense, and is not listened to any more.
    Muted {
        /// Which node.
        node: NodeId,
        /// The line that it printed, and the mistake in it.
        why: String,
    },
    /// A node reached a [mark](maelstrom_core::Node::mark). Only a trace tells of it.
    Mark {
        /// Which node.
        node: NodeId,
        /// The name of the mark.
        name: &'static str,
    },
    /// A node asked a service something that makes no sense, and gets no answer. Told once for each
    /// node and kind of mistake.
    BadRequest {
        /// The node.
        node: NodeId,
        /// Its request, and the mistake in it.
        why: String,
    },
}
