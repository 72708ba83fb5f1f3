//! How long a line may be, and how much of it a batch takes.
//!
//! A line that is longer than its receiver's limit is skipped, however often it comes. So one rule
//! holds for every message: a batch takes a quarter of a line at the most. A single entry, or a
//! register of a snapshot, that does not fit into a batch may take half a line, by the handler's own
//! limit. The names of the logs take a quarter, and at least a quarter is left for versions and
//! names, which every message has.
//!
//! All nodes should have the same limit. A node whose limit is not the default says so in each
//! message, which costs about 15 bytes; no word of it means the default. So each node knows each
//! other's limit from the first message on, whatever was lost and whoever restarted. A node cuts
//! its batches to the limit of their receiver, and sends no line that is longer.

use tracing::{error, warn};

use super::{Gossip, State};
use crate::error::Error;
use crate::message::{LINE_BYTES_MAX, NodeId};
use crate::node::Node;

/// Nodes that gossip take no shorter limit on lines: half of it has room for the versions of some
/// 500 logs.
pub const LINE_BYTES_MIN: usize = 64 << 10;

/// A batch takes this part of a line at the most.
const PARTS: usize = 4;

/// About so many bytes of a message are neither versions nor names.
const ENVELOPE_BYTES: usize = 1 << 10;

/// Each node adds so many bytes to a message besides its name: an incarnation, a count, and signs.
const NODE_BYTES: usize = 64;

/// The largest batch for lines of so many bytes.
pub(super) const fn batch_bytes_in(line_bytes: usize) -> usize {
    line_bytes / PARTS
}

impl<S: State> Gossip<S> {
    /// How long a line a peer takes, if it has said so.
    pub(super) fn line_bytes_to(&self, id: &NodeId) -> Option<usize> {
        self.peers.get(id).and_then(|peer| peer.line_bytes_max)
    }

    /// How many bytes of entries go into a message to a peer. One that has not spoken is taken to
    /// have the limit of this node.
    pub(super) fn batch_bytes(&self, id: &NodeId) -> usize {
        let line_bytes = self.line_bytes_to(id).unwrap_or(self.config.line_bytes_max);
        self.config.batch_bytes_max.min(batch_bytes_in(line_bytes))
    }

    /// The limit that this node tells its peers. `None`: it is the default.
    pub(super) fn own_line_limit(&self) -> Option<usize> {
        Some(self.config.line_bytes_max).filter(|own| *own != LINE_BYTES_MAX)
    }

    /// Notes the limit of a peer, and warns once if it is another one than here.
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

    /// A message has not been sent, since its line is too long for its receiver. It may be so again
    /// and again.
    pub(super) fn note_unsent(&mut self, id: &NodeId, error: &serde_json::Error) {
        let Some(mut peer) = self.peers.get_mut(id) else {
            return;
        };
        peer.unsent = peer.unsent.saturating_add(1);
        if peer.unsent.is_power_of_two() {
            error!(peer = %id, times = peer.unsent, %error, "a message was not sent");
        }
    }

    /// Whether the state has room for a client's write of about so many bytes. A handler asks before it
    /// [appends](Gossip::append).
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

    /// Says so if lines are too short for as many nodes as there are.
    pub(super) fn check_room<E>(&self, node: &Node<E>) {
        let of_node = |id: &NodeId| id.len().saturating_mul(2).saturating_add(NODE_BYTES);
        let nodes = node.node_ids().iter().map(of_node).fold(ENVELOPE_BYTES, usize::saturating_add);
        let (least, ours) = (nodes.saturating_mul(2), self.config.line_bytes_max);
        if ours < least {
            error!(ours, least, "lines are too short for so many nodes: see --max-line-bytes");
        }
    }
}
