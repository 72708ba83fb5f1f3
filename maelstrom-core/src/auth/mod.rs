//! Authentication between nodes: a node accepts a message from another node only if the sender has
//! the key of the cluster.
//!
//! It is off by default. A node reads the key from a file ([`ClusterKey::read`], the flag
//! `--cluster-key-file` of [`NodeArgs`](crate::NodeArgs)). A driver of your own passes the key to
//! [`RawNode::set_cluster_key`](crate::RawNode::set_cluster_key). All nodes of a cluster need the
//! same key. Nodes with different keys cannot exchange messages, nor can a node with a key and one
//! without.
//!
//! # On the wire
//!
//! In a message between nodes, source and destination are both in `node_ids`; they may be the same
//! node. The body of such a message is *sealed*: it travels as a string, with an HMAC-SHA256 (RFC
//! 2104) beside it.
//!
//! ```json
//! {"type":"sealed","text":"{'type':'gossip','life':1,'view':0}","mac":"5f0c…"}
//! ```
//!
//! * The string `text` is the body's JSON with `'` and `"` swapped. So most bodies need no escapes,
//!   and a person can read them.
//! * The MAC covers the length of the source (4 bytes, big-endian), the source, the length of the
//!   destination, the destination, and the text. The lengths ensure that different messages never
//!   produce the same input.
//! * The body is a string, and not an object with one more field, because a network may re-encode
//!   objects. Maelstrom does: it reorders the fields of an object that has more than eight. Strings
//!   survive this. The MAC is inside the body, because Maelstrom refuses messages with additional
//!   fields beside the body.
//! * A seal makes a line longer: by 100 bytes, plus one byte for each `'` and each `\` in the body.
//!   [`sealed_line_bytes_max`] is the upper bound. A node with a key reads lines of up to
//!   that length, so the limits of handlers apply to the message before it is sealed.
//!
//! # Where it happens
//!
//! Both ends are in the state machine, so every driver has them, and handlers do not notice:
//!
//! 1. `Node` seals a line when it writes the line, after it encoded the body (`ClusterKey::seal`).
//!    If the line shares its long parts with others, the node seals it when the driver takes it.
//! 2. [`RawNode`](crate::RawNode) opens a line before it looks at anything else
//!    (`ClusterKey::check`), and continues with the message inside.
//!
//! A node drops a message that claims to come from a node and has no valid MAC. It sends no reply.
//! The node counts the message (metric `maelstrom_unauthenticated_total`,
//! [`RawNode::unauthenticated`](crate::RawNode::unauthenticated), mark [`DROPPED`]) and logs at
//! most one warning per second.
//!
//! Messages from and to clients and services have no MAC. The source decides: a message from a name
//! that is not in `node_ids` reaches the handler with that name, so it cannot pass as a message
//! from a node. Messages before `init` wait, as always. The node checks them once it knows
//! `node_ids`.
//!
//! # Threat model
//!
//! The key protects against an attacker that can inject messages into the network between nodes, or
//! change messages there. It does not protect against these:
//!
//! * **Eavesdropping.** Bodies are not encrypted.
//! * **A node that has the key**, or an attacker that reads the key from its file, from the memory
//!   of the process or from a core dump. Such a node can impersonate any other, since all share the
//!   key.
//! * **Replays.** A message that was sent once stays valid for its destination. Replays do no harm
//!   to handlers that tolerate duplicated and late messages. The protocols of this project are
//!   idempotent in that sense, since any network may repeat and delay messages, and sweeps in
//!   virtual time do both. A handler whose messages must not be repeated needs its own sequence
//!   numbers.
//! * **Loss.** An attacker that can change messages can also drop them.
//! * **Clients and services.** A client needs no key, and a service can send any reply.
//! * **`init`.** It tells a node the names of the nodes, so it has no MAC, and a node that has just
//!   started accepts the first one. After that, a node drops an `init` that claims to come from
//!   another node.
//!
//! A MAC is not truncated: it has 256 bits. The crate `hmac` compares it in constant time.

#[cfg(feature = "runtime")]
mod key_file;
mod seal;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use crate::log_rate::LogRate;
use crate::message::NodeId;

#[cfg(feature = "runtime")]
pub use self::key_file::{KEY_BYTES_MAX, KeyFileError};
pub(crate) use self::seal::Checked;
pub use self::seal::sealed_line_bytes_max;

/// The smallest size of a key, in bytes.
pub const KEY_BYTES_MIN: usize = 16;

/// The [mark](crate::Node::mark) of each dropped message.
pub const DROPPED: &str = "auth: dropped a message between nodes";

/// The key that all nodes of a cluster share. Cheap to clone. `Debug` does not show its bytes.
///
/// ```
/// use maelstrom_core::auth::{ClusterKey, KeyTooShort, sealed_line_bytes_max};
///
/// let key = ClusterKey::new(b"at least 16 random bytes")?;
/// assert_eq!(format!("{key:?}"), "ClusterKey(…)");
/// assert!(matches!(ClusterKey::new(b"short"), Err(KeyTooShort(5))));
/// // A seal makes lines longer.
/// assert!(sealed_line_bytes_max(1_000) > 1_000);
/// # Ok::<(), KeyTooShort>(())
/// ```
#[derive(Clone)]
pub struct ClusterKey {
    /// The state of the MAC after the key and before any message.
    empty: Arc<Hmac<Sha256>>,
}

/// The key is too short. [`ClusterKey`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of {0} bytes is too short: it needs at least {KEY_BYTES_MIN} random bytes")]
pub struct KeyTooShort(pub usize);

impl ClusterKey {
    /// Makes a key of these bytes, which should be random.
    ///
    /// # Errors
    ///
    /// If there are fewer than [`KEY_BYTES_MIN`] bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyTooShort> {
        let too_short = KeyTooShort(bytes.len());
        if bytes.len() < KEY_BYTES_MIN {
            return Err(too_short);
        }
        // HMAC takes keys of any length.
        let empty = Hmac::new_from_slice(bytes).map_err(|_| too_short)?;
        Ok(Self { empty: Arc::new(empty) })
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

/// The key of a node, if it has one, and the count of dropped messages.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    key: Option<ClusterKey>,
    dropped: LogRate,
}

impl Auth {
    pub(crate) fn set_key(&mut self, key: ClusterKey) {
        self.key = Some(key);
    }

    /// The key to seal a message to `dest` with. `None`: the message is not sealed.
    pub(crate) fn key_for(&self, dest: &str, node_ids: &[NodeId]) -> Option<&ClusterKey> {
        self.key.as_ref().filter(|_| node_ids.iter().any(|id| id.as_ref() == dest))
    }

    /// Checks a line that the node `own` received. Without a key, and before `init`, every line is
    /// accepted unchanged.
    pub(crate) fn check(&self, line: &str, own: &str, node_ids: &[NodeId]) -> Checked {
        match &self.key {
            Some(key) if !node_ids.is_empty() => key.check(line, own, node_ids),
            _ => Checked::AsItIs,
        }
    }

    /// The longest line in bytes that a node with this limit reads.
    #[cfg(feature = "runtime")]
    pub(crate) fn line_bytes_max(&self, limit: usize) -> usize {
        if self.key.is_some() { sealed_line_bytes_max(limit) } else { limit }
    }

    /// Number of dropped messages.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.total()
    }

    /// Counts a dropped message. Returns the number of drops to log now, if it is time to log.
    pub(crate) fn drop_one(&mut self, now: Duration) -> Option<u64> {
        self.dropped.add_one(now)
    }
}

#[cfg(test)]
mod tests;
