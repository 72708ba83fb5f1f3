//! Limits on the requests of clients, so that a flood of requests does not stop a node's other
//! work.
//!
//! They are off by default. An operator sets them with flags of [`NodeArgs`](crate::NodeArgs). A
//! driver of your own sets them with [`RawNode::set_limits`](crate::RawNode::set_limits).
//!
//! | flag | a client's request is refused | name in the metric `maelstrom_refused_total` |
//! |---|---|---|
//! | `--max-requests-per-second N` | if clients together sent more than N in a second | `requests_per_second` |
//! | `--max-client-requests-per-second N` | if this client sent more than N in a second | `client_requests_per_second` |
//! | `--max-open-requests N` | if N requests wait for a reply | `open_requests` |
//! | `--max-pending-bytes N` | if it would have to wait where N bytes of requests wait already | `pending_bytes` |
//!
//! A refused request gets error 11 (temporarily unavailable). The error is definite: nothing
//! happened. A refused message without a `msg_id` gets no reply. The metric
//! `maelstrom_refused_total` counts each refusal.
//!
//! For the first three limits, the text of the error names the flag, and the node logs at most one
//! warning per second. It also counts these refusals in
//! [`RawNode::refused`](crate::RawNode::refused), and reports the mark [`REFUSED`] for each.
//!
//! # Only clients are refused
//!
//! [`RawNode`](crate::RawNode) decides by the source when it takes in a line. So both drivers have
//! the limits, and handlers do not notice them. These messages are never refused:
//!
//! * messages of nodes, whose names are in `node_ids`;
//! * replies. Services send nothing else;
//! * `init`.
//!
//! A refusal costs the decoding and a short reply. The handler does not run, and persists nothing.
//! So messages of other nodes, which wait in the same pipe, wait less.
//!
//! # Rates
//!
//! Each rate has a token bucket on the node's monotonic clock. A bucket holds the tokens of one
//! second, and starts full: in any interval of length `t`, the node accepts at most `N * t + N`
//! requests. The arithmetic is exact (GCRA, ITU-T I.371: a bucket is the time at which it will be
//! full again). A request that one rate refuses takes no token of the other. So a client beyond its
//! own limit does not use up the limit of the node.
//!
//! # Many names
//!
//! A node keeps buckets for [`CLIENTS_MAX`] clients. A full bucket carries no information, so a
//! node drops full buckets to make room for new clients, the longest full one first. While no
//! bucket is full, all further clients share one bucket. Clients whose names are longer than
//! [`NAME_BYTES_MAX`] share it too. So memory is bounded. The sum of all clients' requests is
//! bounded, too: in any interval of length `t`, the node accepts at most `(CLIENTS_MAX+1)*(N*t+N)`
//! of them.
//!
//! A client can write any name on a message. With many names it can reach that sum. While it does,
//! it can cause refusals for other clients: they share a bucket with it, unless they sent enough in
//! the last second to keep their own. `--max-requests-per-second` limits the sum further, but does
//! not distinguish clients either. A client that takes the name of a node is not limited at all,
//! unless [`auth`](crate::auth) is on. So the limit per client protects against clients that send
//! too much under their own names. It needs something in front of the nodes that checks names, as
//! Maelstrom does.

mod admission;
mod bucket;
mod clients;

use std::num::NonZeroU32;

use crate::node::OPEN_REQUESTS_MAX;

pub(crate) use self::admission::Admission;
pub use self::clients::{CLIENTS_MAX, NAME_BYTES_MAX};

/// The [mark](crate::Node::mark) of each message that one of the first three limits refuses.
pub const REFUSED: &str = "limits: refused a client's message";

/// The default limit on the bytes of requests that wait: 64 MiB.
pub const PENDING_BYTES_MAX: usize = 64 << 20;

/// The limits of a node.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use maelstrom_core::{Clock, Limits, RawNode};
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Ping, Pong }
/// # struct Ping;
/// # impl MessageHandler for Ping {
/// #     type Payload = Payload;
/// #     type Event = NoEvent;
/// #     fn message(
/// #         &mut self, node: &mut Node<NoEvent>, from: &Request, _: Payload,
/// #     ) -> Result<(), Error> {
/// #         node.reply(from, &Payload::Pong);
/// #         Ok(())
/// #     }
/// # }
///
/// let mut node = RawNode::new(Ping, [7; 32], false);
/// node.set_limits(&Limits { requests_per_second: NonZeroU32::new(1), ..Limits::default() });
/// # let body =
/// #     serde_json::json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]});
/// # let init = serde_json::json!({"src": "c0", "dest": "n1", "body": body}).to_string() + "\n";
/// # let ping = r#"{"src":"c1","dest":"n1","body":{"type":"ping","msg_id":2}}"#;
/// // Two pings of a client in the same second, after `init`.
/// for line in [init.as_str(), ping, ping] {
///     node.handle_line(Clock::default(), line.as_bytes());
/// }
/// assert_eq!(node.refused(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests per second of all clients together. `None`: no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// Requests per second of each client. `None`: no limit.
    pub client_requests_per_second: Option<NonZeroU32>,
    /// Requests that may wait for a reply. Beyond that, the node refuses requests of clients.
    /// Requests of other nodes count, but are not refused. From [`OPEN_REQUESTS_MAX`] on, which is
    /// the default, the node refuses nothing, and gives up the oldest request instead.
    pub open_requests: usize,
    /// Bytes of requests that may wait for `init`. A handler that lets requests wait should apply
    /// the same limit to them, and [count](crate::Node::count_refused_for_pending_bytes) those that
    /// it refuses.
    pub pending_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: None,
            client_requests_per_second: None,
            open_requests: OPEN_REQUESTS_MAX,
            pending_bytes: PENDING_BYTES_MAX,
        }
    }
}

#[cfg(test)]
mod tests;
