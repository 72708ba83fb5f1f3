//! Limits on the requests of clients, so that a flood of them does not stop a node's other work.
//!
//! They are off by default. An operator sets them with flags of [`NodeArgs`](crate::NodeArgs), and
//! a driver of your own with [`RawNode::set_limits`](crate::RawNode::set_limits).
//!
//! | flag | a request of a client is refused | name in the metric `maelstrom_refused_total` |
//! |---|---|---|
//! | `--max-requests-per-second N` | if clients sent more than N in a second | `requests_per_second` |
//! | `--max-client-requests-per-second N` | if this client sent more than N in a second | `client_requests_per_second` |
//! | `--max-open-requests N` | if N requests wait for a reply | `open_requests` |
//! | `--max-pending-bytes N` | if it has to wait, and N bytes of requests wait there | `pending_bytes`, for requests before `init` |
//!
//! A refused request gets error 11 (temporarily unavailable) with a text that names the flag. The
//! error is definite: nothing happened. A refused message without a `msg_id` gets no answer. The
//! node counts each refusal ([`RawNode::refused`](crate::RawNode::refused), mark [`REFUSED`]) and
//! logs at most one warning per second.
//!
//! # Clients are refused first
//!
//! The source decides, where [`RawNode`](crate::RawNode) takes a line in. So both drivers have it,
//! and handlers know nothing of it. These messages are never refused:
//!
//! * those of nodes, whose names are in `node_ids`;
//! * replies. Services send nothing else;
//! * `init`.
//!
//! A refusal costs decoding and a short reply. The handler does not run, and nothing is persisted.
//! So messages of other nodes, which wait in the same pipe, wait less.
//!
//! # Rates
//!
//! Each rate has a token bucket on the node's monotonic clock. A bucket holds the tokens of one
//! second, and begins full: in any time `t`, at most `N * t + N` requests are taken. The arithmetic
//! is exact (GCRA, ITU-T I.371: a bucket is the time at which it will be full again). A request
//! that one rate refuses takes no token of the other, so a client beyond its own limit does not use
//! up the node's.
//!
//! # Many names
//!
//! A node keeps buckets for [`CLIENTS_MAX`] clients. A bucket that is full again says as much as
//! none, so only full buckets make room for new clients, the longest full one first. While no
//! bucket is full, all further clients share one bucket. So do clients whose names are longer than
//! [`NAME_BYTES_MAX`]. So memory is bounded, and so is the sum of all clients' requests: in any
//! time `t`, at most `(CLIENTS_MAX + 1) * (N * t + N)` are taken.
//!
//! A client can write any name on a message. With many names it can reach that sum, and while it
//! does, it can have other clients refused: they share a bucket with it unless they sent enough in
//! the last second to keep their own. `--max-requests-per-second` limits the sum further, and does
//! not tell clients apart either. A client that takes the name of a node is not limited at all,
//! unless [`auth`](crate::auth) is on. So the limit per client protects from clients that send too
//! much under their own names, and needs something in front of the nodes that checks names, as
//! Maelstrom does.

mod admission;
mod bucket;
mod clients;

use std::num::NonZeroU32;

use crate::node::OPEN_REQUESTS_MAX;

pub(crate) use self::admission::Admission;
pub use self::clients::{CLIENTS_MAX, NAME_BYTES_MAX};

/// The [mark](crate::Node::mark) of each message that was refused.
pub const REFUSED: &str = "limits: refused a client's message";

/// The default limit on the bytes of requests that wait: 64 MiB.
pub const PENDING_BYTES_MAX: usize = 64 << 20;

/// The limits of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that all clients together may send in a second. `None`: any number.
    pub requests_per_second: Option<NonZeroU32>,
    /// Requests that each client may send in a second. `None`: any number.
    pub client_requests_per_second: Option<NonZeroU32>,
    /// Requests that may wait for a reply. A client's request is refused beyond that. It counts
    /// requests of other nodes too, but does not refuse them. From [`OPEN_REQUESTS_MAX`] on, which
    /// is the default, nothing is refused, and the oldest request is given up.
    pub open_requests: usize,
    /// Bytes of requests that may wait for `init`. A handler whose requests wait should use the
    /// same limit for them.
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
