//! One request in the log, on all nodes that work on it.
//!
//! Each request of a client has an id: the name of the node that took it, the client's name, and
//! the client's `msg_id`, such as `n1/c3/17`. The core handles a request in a `tracing` span that
//! has the id as its field `request`. So every event that a handler logs there names the request.
//! [`Node::reply`] enters the span as well.
//!
//! The span and the events about the steps of a request have the target [`TARGET`] and the level
//! `DEBUG`. `RUST_LOG=maelstrom_core::request=debug` or `--trace-requests` shows them. At the
//! default level, the span costs one comparison.
//!
//! A handler that continues a request in a later event, such as a timer or the answer to a call,
//! must enter the span again. A [task](crate::task) does this by itself: it remembers the span in
//! which it began.
//!
//! ```
//! use maelstrom_core::{Node, Request, trace};
//!
//! # fn timer_fired<E>(node: &mut Node<E>, request: &Request) {
//! let _span = node.request_span(request).entered();
//! tracing::debug!(target: trace::TARGET, "tries again");
//! # }
//! ```
//!
//! # On other nodes
//!
//! A handler that passes a request on can put the id into its message: [`Node::traced_id`]. That is
//! `None` unless the node was started with `--trace-requests`, so messages are as short as before
//! by default. It is a setting of the node and not of the log, because a handler's messages must
//! not depend on the log. The receiver enters [`span`].
//!
//! [Gossip](crate::gossip) does not carry ids, since one message has entries of many requests.
//! Instead, each entry has a name that is the same on all nodes, such as `n1:8142:17`. The node
//! that appends an entry logs its name in the field `entry`, in the span of the request: this event
//! leads from the id to the name. A node that applies the entry logs the name alone. An entry that
//! a node gets in a snapshot, or recovers from its records, has no such event.

use std::fmt;

use tracing::{Level, Span, debug_span, span_enabled};

use crate::message::MsgId;
#[cfg(doc)]
use crate::node::Node;

/// The target of the spans and events that follow requests.
pub const TARGET: &str = "maelstrom_core::request";

/// The longest id of a request, in bytes. The ids of this crate are no longer than this.
pub const ID_BYTES_MAX: usize = 2 * 4 * NAME_CHARS_MAX + MSG_ID_BYTES_MAX + 2;

/// An id has this many characters of each name.
pub(crate) const NAME_CHARS_MAX: usize = 32;

/// Digits of the largest `msg_id`.
const MSG_ID_BYTES_MAX: usize = 20;

/// The id of a client's request, such as `n1/c3/17`. Long names are cut off. A request without a
/// `msg_id` has `-` in its place. The [module](self) tells where it appears in logs.
///
/// ```
/// # use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, RawNode, Request};
/// # #[derive(serde::Deserialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Ping }
/// # #[derive(Default)]
/// # struct Handler(String);
/// impl MessageHandler for Handler {
/// #   type Payload = Payload;
/// #   type Event = NoEvent;
///     // …
///     fn message(
///         &mut self, node: &mut Node<NoEvent>, request: &Request, _: Payload,
///     ) -> Result<(), Error> {
///         self.0 = node.request_id(request).to_string();
///         Ok(())
///     }
/// }
/// # let mut node = RawNode::new(Handler::default(), [7; 32], false);
/// # let mut handle = |body: serde_json::Value| {
/// #     let line = serde_json::json!({"src": "c3", "dest": "n1", "body": body}).to_string();
/// #     node.handle_line(Clock::default(), line.as_bytes());
/// # };
/// # use serde_json::json;
/// # handle(json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]}));
/// # handle(json!({"type": "ping", "msg_id": 17}));
/// assert_eq!(node.handler().0, "n1/c3/17");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId<'a> {
    pub(crate) node: &'a str,
    pub(crate) client: &'a str,
    pub(crate) msg_id: Option<MsgId>,
}

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.*}/{:.*}/", NAME_CHARS_MAX, self.node, NAME_CHARS_MAX, self.client)?;
        match self.msg_id {
            Some(msg_id) => write!(f, "{msg_id}"),
            None => f.write_str("-"),
        }
    }
}

/// True if the log wants the spans of requests.
///
/// ```
/// // This program has no log.
/// assert!(!maelstrom_core::trace::is_enabled());
/// ```
#[inline]
#[must_use]
pub fn is_enabled() -> bool {
    span_enabled!(target: TARGET, Level::DEBUG)
}

/// The span of the request with that id, which another node has taken. The span has no parent: an
/// event in it belongs to this request only. A disabled span if the log does not want it, or if the
/// id is longer than [`ID_BYTES_MAX`].
///
/// ```
/// use maelstrom_core::trace;
///
/// // The id is from the message of another node.
/// let _span = trace::span("n1/c3/17").entered();
/// tracing::debug!(target: trace::TARGET, "keeps a copy");
/// // A long id may be hostile.
/// assert!(trace::span(&"x".repeat(trace::ID_BYTES_MAX + 1)).is_none());
/// ```
#[must_use]
pub fn span(id: &str) -> Span {
    if id.len() > ID_BYTES_MAX { Span::none() } else { span_of(id) }
}

pub(crate) fn span_of(id: impl fmt::Display) -> Span {
    debug_span!(target: TARGET, parent: None, "request", request = %id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_begins_with_the_node_and_is_bounded() {
        let id = |node, client, msg_id| RequestId { node, client, msg_id }.to_string();
        assert_eq!(id("n1", "c3", Some(17)), "n1/c3/17");
        assert_eq!(id("n1", "c3", None), "n1/c3/-");
        let long = "😀".repeat(1_000);
        assert_eq!(id(&long, &long, Some(u64::MAX)).len(), ID_BYTES_MAX);
    }
}
