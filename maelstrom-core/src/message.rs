//! The envelope: what every line on stdin and stdout has in common.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::metrics::TypeId;

/// The name of a node, a client or a service. Cheap to clone.
pub type NodeId = Arc<str>;

/// Names a request, so that its reply can be told apart. Unique per sender.
pub type MsgId = u64;

/// The default limit on a line's length: 16 MiB, the newline not counted.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// A message as it stands on a line, its body not yet decoded.
///
/// Fields beside these (Maelstrom adds an `id`) are ignored.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// Who sent it.
    #[serde(borrow)]
    pub src: Cow<'a, str>,
    /// Whom it is for.
    #[serde(borrow)]
    pub dest: Cow<'a, str>,
    /// The body, as text.
    #[serde(borrow)]
    pub body: &'a RawValue,
}

/// The fields that every body has, whatever its type.
#[derive(Debug, Deserialize)]
pub struct Header<'a> {
    /// What the message is.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// The sender's name for the message; without one, no reply is wanted.
    pub msg_id: Option<MsgId>,
    /// Which message this one answers.
    pub in_reply_to: Option<MsgId>,
}

/// Where a message came from, and so how to answer it. A handler that answers later keeps a clone.
///
/// All clones are the same request, and it is answered once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    src: NodeId,
    msg_id: Option<MsgId>,
    /// How many requests came before: tells apart those to which a sender gave the same id.
    serial: u64,
    came_at: Duration,
    /// Its type, for the metrics.
    pub(crate) kind: TypeId,
}

impl Request {
    pub(crate) fn new(src: NodeId, msg_id: Option<MsgId>, serial: u64, came_at: Duration) -> Self {
        Self { src, msg_id, serial, came_at, kind: TypeId::default() }
    }

    /// The time of [`Node::now`](crate::Node::now) when the node took the message.
    #[must_use]
    pub fn came_at(&self) -> Duration {
        self.came_at
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Who sent the message.
    #[must_use]
    pub fn src(&self) -> &NodeId {
        &self.src
    }

    /// The sender's name for the message. `None`: no reply is wanted, and none will be sent.
    #[must_use]
    pub fn msg_id(&self) -> Option<MsgId> {
        self.msg_id
    }
}
