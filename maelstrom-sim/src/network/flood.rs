//! Limits on the messages that wait for one receiver, and the blame if they are exceeded.
//!
//! Without limits, a node that forwards every message would fill the checker's memory. The limits
//! are far above the needs of a correct node: at a thousand requests per second and a latency of
//! one second, about ten thousand messages wait.

use std::fmt;

use maelstrom_core::NodeId;

/// How many messages may wait for one receiver.
pub const WAITING_MAX: usize = if cfg!(test) { 100_000 } else { 1_000_000 };

/// How many bytes of message bodies may wait for one receiver.
pub const WAITING_BYTES_MAX: usize = 256 << 20;

/// Whether this many messages or bytes exceed a limit.
pub(crate) const fn is_too_much(messages: usize, bytes: usize) -> bool {
    messages > WAITING_MAX || bytes > WAITING_BYTES_MAX
}

/// The report about a receiver whose waiting messages exceed a limit.
///
/// ```
/// use maelstrom_sim::network::{Flood, Waiting};
///
/// let most = Some(("n1".into(), 900));
/// let waiting = Waiting::Unread(300 << 20);
/// let flood = Flood { to: "n0".into(), waiting, most, replies: None };
/// assert!(flood.to_string().starts_with("n0 does not read its input fast enough"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flood {
    /// The receiver.
    pub to: NodeId,
    /// The messages that wait for it.
    pub waiting: Waiting,
    /// The node that has sent the receiver the most messages during the test, and how many. `None`:
    /// no node has sent it any, or a service has sent it more.
    pub most: Option<(NodeId, u64)>,
    /// The service that has sent the receiver more messages than any node, and how many. They are
    /// all replies to the receiver's own requests.
    pub replies: Option<(NodeId, u64)>,
}

/// The waiting messages, and where they wait. [`Flood`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// In the network: the number of messages, and the bytes of their bodies.
    InNetwork(usize, usize),
    /// In the pipe, because the node has not read them: bytes.
    Unread(usize),
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = &self.to;
        match self.waiting {
            Waiting::InNetwork(messages, bytes) => write!(
                f,
                "{messages} messages of {} MiB wait for {to} in the network, more than a test can \
                 hold",
                bytes >> 20
            ),
            Waiting::Unread(bytes) => write!(
                f,
                "{to} does not read its input fast enough: more than {} MiB wait for it",
                bytes >> 20
            ),
        }?;
        if let Some((service, sent)) = &self.replies {
            write!(f, ". {service} has sent it {sent} replies: {to} asks more than it reads")?;
        }
        let Some((from, sent)) = &self.most else {
            return Ok(());
        };
        write!(
            f,
            ". {from} has sent it the most: {sent} messages. Does {from} forward every message that \
             it gets?"
        )
    }
}
