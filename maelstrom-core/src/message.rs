//! The envelope: the part that all lines on stdin and stdout have in common.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::metrics::TypeId;

/// The name of a node, a client or a service. Cheap to clone.
///
/// ```
/// use maelstrom_core::NodeId;
///
/// let id: NodeId = "n1".into();
/// assert_eq!((&*id, id.starts_with('c')), ("n1", false));
/// assert!(std::ptr::eq(&*id, &*id.clone()));
/// ```
pub type NodeId = Arc<str>;

/// A sender's number for a request. The reply names it. Unique per sender. [`Envelope`] shows one.
pub type MsgId = u64;

/// The default limit on a line's length: 16 MiB, without the newline.
pub const LINE_BYTES_MAX: usize = 16 << 20;

/// The end of a line, after the body.
pub(crate) const LINE_END: &str = "}\n";

/// A message as read from a line. Its body is not decoded yet.
///
/// Other fields, such as the `id` that Maelstrom adds, are ignored.
///
/// ```
/// use maelstrom_core::message::{Envelope, Header};
///
/// let line = r#"{"id":4,"src":"c1","dest":"n1","body":{"type":"read","msg_id":2,"key":"x"}}"#;
/// let envelope: Envelope<'_> = serde_json::from_str(line)?;
/// let header: Header<'_> = serde_json::from_str(envelope.body.get())?;
/// assert_eq!((&*envelope.src, &*header.kind, header.msg_id), ("c1", "read", Some(2)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// The sender.
    #[serde(borrow)]
    pub src: Cow<'a, str>,
    /// The receiver.
    #[serde(borrow)]
    pub dest: Cow<'a, str>,
    /// The body, as JSON text.
    #[serde(borrow)]
    pub body: &'a RawValue,
}

/// The fields that the core reads in every body. [`Envelope`] shows it in use.
#[derive(Debug, Deserialize)]
pub struct Header<'a> {
    /// The type of the message.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// The sender's number for the message. `None`: the sender wants no reply.
    pub msg_id: Option<MsgId>,
    /// The number of the message that this one answers.
    pub in_reply_to: Option<MsgId>,
}

/// The source of a message, which a reply needs. A handler that answers later keeps a clone.
///
/// All clones are the same request. A request gets only one reply.
///
/// ```
/// # use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, RawNode, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Enter, EnterOk }
/// /// A barrier: it answers two requests at once.
/// #[derive(Default)]
/// struct Barrier(Vec<Request>);
///
/// impl MessageHandler for Barrier {
/// #   type Payload = Payload;
/// #   type Event = NoEvent;
///     // …
///     fn message(
///         &mut self, node: &mut Node<NoEvent>, from: &Request, _: Payload,
///     ) -> Result<(), Error> {
///         self.0.push(from.clone());
///         if self.0.len() == 2 {
///             self.0.drain(..).for_each(|request| node.reply(&request, &Payload::EnterOk));
///         }
///         Ok(())
///     }
/// }
/// # let mut node = RawNode::new(Barrier::default(), [7; 32], false);
/// # let mut handle = |line: &str| node.handle_line(Clock::default(), line.as_bytes());
/// # let body =
/// #     serde_json::json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]});
/// # let init = serde_json::json!({"src": "c0", "dest": "n1", "body": body}).to_string() + "\n";
/// # handle(&init);
/// # for src in ["c1", "c2"] {
/// #     let body = serde_json::json!({"type": "enter", "msg_id": 1});
/// #     handle(&serde_json::json!({"src": src, "dest": "n1", "body": body}).to_string());
/// # }
/// # let lines = node.poll_lines().unwrap();
/// # assert_eq!(String::from_utf8_lossy(&lines).matches("enter_ok").count(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    src: NodeId,
    msg_id: Option<MsgId>,
    /// Number of messages that the node took before. It distinguishes requests to which a sender
    /// gave the same id.
    serial: u64,
    came_at: Duration,
    /// Its type, for metrics.
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

    /// The sender of the message.
    #[must_use]
    pub fn src(&self) -> &NodeId {
        &self.src
    }

    /// The sender's number for the message. `None`: the sender wants no reply, and none is sent.
    #[must_use]
    pub fn msg_id(&self) -> Option<MsgId> {
        self.msg_id
    }
}

/// Writes the beginning of a line, up to the body.
pub(crate) fn begin_line(
    out: &mut Vec<u8>,
    src: &str,
    dest: &str,
) -> Result<(), serde_json::Error> {
    out.extend_from_slice(br#"{"src":"#);
    serde_json::to_writer(&mut *out, src)?;
    out.extend_from_slice(br#","dest":"#);
    serde_json::to_writer(&mut *out, dest)?;
    out.extend_from_slice(br#","body":"#);
    Ok(())
}
