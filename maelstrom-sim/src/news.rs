//! What a test has to tell while it runs, beside its history.

use maelstrom_core::NodeId;
use serde::Serialize;

use crate::nemesis::NemesisOp;

/// What a person who watches wants to know.
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
        /// What it said, and what is wrong with it.
        why: String,
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
