//! Limits on the length of a line, and on the size of a batch in it.
//!
//! A receiver skips every line longer than its limit, however often the line comes. So one rule
//! holds for every message: a batch takes at most a quarter of a line. A single entry, or the
//! smallest piece of a snapshot, may be larger than a batch, but at most half a line; the handler
//! limits it. The names of the logs take a quarter. At least a quarter remains for versions and
//! node names, which every message has.
//!
//! All nodes should have the same limit. A node with another limit than the default says so in each
//! message, which costs about 15 bytes. A message without a limit means the default. So each node
//! knows the limits of its peers from their first messages on, whatever messages are lost and
//! whichever nodes restart. A node fits its batches to the limit of the receiver, and sends no
//! longer line.

use tracing::{error, warn};

use super::{Gossip, State};
use crate::error::Error;
use crate::message::{LINE_BYTES_MAX, NodeId};
use crate::node::Node;

/// The shortest limit on lines for a node that gossips. Half of it has room for the versions of
/// about 500 logs.
pub const LINE_BYTES_MIN: usize = 64 << 10;

/// A batch takes at most this fraction of a line: one part in four.
const PARTS: usize = 4;

/// The approximate size of the parts of a message that are neither versions nor names.
const ENVELOPE_BYTES: usize = 1 << 10;

/// How many bytes each node adds to a message besides its name: an incarnation, a count, and
/// punctuation.
const NODE_BYTES: usize = 64;

/// The largest batch for lines of this length.
pub(super) const fn batch_bytes_in(line_bytes: usize) -> usize {
    line_bytes / PARTS
}

impl<S: State> Gossip<S> {
    /// The longest line that a peer reads, if the peer has said so.
    pub(super) fn line_bytes_to(&self, id: &NodeId) -> Option<usize> {
        self.peers.get(id).and_then(|peer| peer.line_bytes_max)
    }

    /// The size of the entries in a message to a peer. For a peer that has not said its limit,
    /// assumes the limit of this node.
    pub(super) fn batch_bytes(&self, id: &NodeId) -> usize {
        let line_bytes = self.line_bytes_to(id).unwrap_or(self.config.line_bytes_max);
        self.config.batch_bytes_max.min(batch_bytes_in(line_bytes))
    }

    /// The limit that this node announces to its peers. `None`: it is the default.
    pub(super) fn own_line_limit(&self) -> Option<usize> {
        Some(self.config.line_bytes_max).filter(|own| *own != LINE_BYTES_MAX)
    }

    /// Records the limit of a peer. Warns once if it differs from the limit of this node.
    pub(super) fn hear_line_limit(&mut self, src: &NodeId, said: Option<usize>) {
        let theirs = said.unwrap_or(LINE_BYTES_MAX);
        if self.peers.get(src).is_none_or(|peer| peer.line_bytes_max == Some(theirs)) {
            return;
        }
        if let Some(mut peer) = self.peers.get_mut(src) {
            peer.line_bytes_max = Some(theirs);
        }
        let ours = self.config.line_bytes_max;
        if theirs != ours {
            warn!(
                peer = %src, theirs, ours,
                "takes lines of another length: --max-line-bytes should be the same on all nodes"
            );
        }
    }

    /// Counts a message that was not sent because its line is too long for the receiver. This may
    /// happen repeatedly.
    pub(super) fn note_unsent(&mut self, id: &NodeId, error: &serde_json::Error) {
        let Some(mut peer) = self.peers.get_mut(id) else {
            return;
        };
        peer.unsent = peer.unsent.saturating_add(1);
        if peer.unsent.is_power_of_two() {
            error!(peer = %id, times = peer.unsent, %error, "a message was not sent");
        }
    }

    /// Whether the state has room for a client's write of about this many bytes. A handler calls
    /// this before it [appends](Gossip::append).
    ///
    /// # Errors
    ///
    /// Error 11 if the state would take more than [`Config::state_bytes_max`](super::Config).
    pub fn check_room_for(&self, bytes: usize) -> Result<(), Error> {
        let (taken, most) = (self.state.bytes(), self.config.state_bytes_max);
        if taken.saturating_add(bytes) <= most {
            return Ok(());
        }
        let text = format!(
            "this node's state takes {taken} bytes and has no room for {bytes} more: it may take \
             {most} (--max-state-bytes)"
        );
        Err(Error::temporarily_unavailable(text))
    }

    /// Logs a warning if lines are too short for the number of nodes.
    pub(super) fn check_room<E>(&self, node: &Node<E>) {
        let of_node = |id: &NodeId| id.len().saturating_mul(2).saturating_add(NODE_BYTES);
        let nodes = node.node_ids().iter().map(of_node).fold(ENVELOPE_BYTES, usize::saturating_add);
        let (least, ours) = (nodes.saturating_mul(2), self.config.line_bytes_max);
        if ours < least {
            error!(ours, least, "lines are too short for so many nodes: see --max-line-bytes");
        }
    }
}
