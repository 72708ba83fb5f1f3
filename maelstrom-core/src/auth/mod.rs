//! Authentication between nodes: a node takes a message from another node only if its sender has
//! the key of the cluster.
//!
//! It is off by default. A node gets the key from a file ([`ClusterKey::read`], the flag
//! `--cluster-key-file` of [`NodeArgs`](crate::NodeArgs)), and a driver of your own hands it over
//! with [`RawNode::set_cluster_key`](crate::RawNode::set_cluster_key). All nodes of a cluster need
//! the same key: nodes with different keys, or with and without one, do not understand each other.
//!
//! # On the wire
//!
//! Source and destination of a message between nodes are both in `node_ids`; they may be the same
//! node. Its body is *sealed*: it travels as a text, with an HMAC-SHA256 (RFC 2104) beside it.
//!
//! ```json
//! {"type":"sealed","text":"{'type':'gossip','life':1,'view':0}","mac":"5f0c…"}
//! ```
//!
//! * The text is the body's JSON in which `'` and `"` have changed places. So most bodies need no
//!   escapes, and a person can read them.
//! * The MAC is over the length of the source (4 bytes, big-endian), the source, the length of the
//!   destination, the destination, and the text. Lengths come first, so no two messages have the
//!   same input.
//! * The body is a text, and not an object with one more field, since a network may write objects
//!   anew. Maelstrom does: its objects of more than eight fields change their order. Texts survive
//!   that. The MAC is in the body, since Maelstrom refuses messages with further fields beside it.
//! * A seal makes a line longer: by about 120 bytes, and for each `'` and each `\` in the body by
//!   one byte. [`sealed_line_bytes_max`] is the most that a line can take. A node with a key reads
//!   lines of that length, so the limits of handlers mean the message before it is sealed.
//!
//! # Where it happens
//!
//! Both ends are in the state machine, so every driver has them and no handler knows of them:
//!
//! 1. `Node` seals a line when it writes it, once the body is encoded (`ClusterKey::seal`). A line
//!    whose long parts are shared with others is sealed when the driver takes it.
//! 2. [`RawNode`](crate::RawNode) opens a line before it looks at anything else
//!    (`ClusterKey::check`), and goes on with the message that was sealed.
//!
//! A message that claims to come from a node and has no valid MAC is dropped. Nobody answers it.
//! The node counts it (metric `maelstrom_unauthenticated_total`,
//! [`RawNode::unauthenticated`](crate::RawNode::unauthenticated), mark [`DROPPED`]) and logs at
//! most one warning per second.
//!
//! Messages from and to clients and services have no MAC. The source decides: a message from a name
//! that is not in `node_ids` reaches the handler with that name. It cannot pass as one from a node.
//! Messages before `init` wait, as always, and are checked once the node knows `node_ids`.
//!
//! # Threat model
//!
//! The key protects from somebody who can put messages into the network between nodes, and change
//! messages there. It does not protect from these:
//!
//! * **Readers.** Bodies are not secret.
//! * **A node that has the key**, or somebody who reads the key from its file, from the memory of
//!   the process or from a core dump. Such a node can speak for any other: they share the key.
//! * **Replays.** A message that was sent once stays valid for its destination. Replays do no harm
//!   to handlers that bear duplicated and late messages. The protocols of this project are
//!   idempotent in that sense, since any network may repeat and delay messages, and sweeps in
//!   virtual time do both. A handler whose messages must not be repeated needs numbers of its own.
//! * **Loss.** Somebody who can change messages can lose them as well.
//! * **Clients and services.** A client needs no key, and a service can answer what it wants.
//! * **`init`.** It tells a node who the nodes are, so it comes without a MAC, and a node that has
//!   just been started takes the first one. A node that was started drops an `init` that claims to
//!   come from another node.
//!
//! A MAC has its full 256 bits. The crate `hmac` compares it in constant time.

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

/// The fewest bytes of a key.
pub const KEY_BYTES_MIN: usize = 16;

/// The [mark](crate::Node::mark) of each message that was dropped.
pub const DROPPED: &str = "auth: dropped a message between nodes";

/// The key that all nodes of a cluster share. Cheap to clone. Its bytes are never shown.
#[derive(Clone)]
pub struct ClusterKey {
    /// A MAC that has taken the key and nothing else.
    empty: Arc<Hmac<Sha256>>,
}

/// The key is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of {0} bytes is too short: it needs at least {KEY_BYTES_MIN} random bytes")]
pub struct KeyTooShort(pub usize);

impl ClusterKey {
    /// The key of these bytes, which should be random.
    ///
    /// # Errors
    ///
    /// If there are fewer than [`KEY_BYTES_MIN`].
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

/// The key of a node, if it has one, and the messages that it dropped.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    key: Option<ClusterKey>,
    dropped: LogRate,
}

impl Auth {
    pub(crate) fn set_key(&mut self, key: ClusterKey) {
        self.key = Some(key);
    }

    /// The key, if the message has to be sealed with it.
    pub(crate) fn key_for(&self, dest: &str, node_ids: &[NodeId]) -> Option<&ClusterKey> {
        self.key.as_ref().filter(|_| node_ids.iter().any(|id| id.as_ref() == dest))
    }

    /// Opens a line that `own` has received. Without a key, every line is as it is.
    pub(crate) fn check(&self, line: &str, own: &str, node_ids: &[NodeId]) -> Checked {
        match &self.key {
            Some(key) if !node_ids.is_empty() => key.check(line, own, node_ids),
            _ => Checked::AsItIs,
        }
    }

    /// The most bytes of a line that a node of this limit reads.
    #[cfg(feature = "runtime")]
    pub(crate) fn line_bytes_max(&self, limit: usize) -> usize {
        if self.key.is_some() { sealed_line_bytes_max(limit) } else { limit }
    }

    /// How many messages have been dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.total()
    }

    /// One more message is dropped. Returns how many the log shall tell now, if it shall.
    pub(crate) fn drop_one(&mut self, now: Duration) -> Option<u64> {
        self.dropped.add_one(now)
    }
}

#[cfg(test)]
mod tests;
