//! Takes messages between nodes only with a valid MAC: see [`auth`].

use tracing::warn;

use super::RawNode;
use crate::auth::{self, Checked, ClusterKey};
use crate::handler::MessageHandler;
use crate::message::NodeId;
use crate::metrics;

impl<H: MessageHandler> RawNode<H> {
    /// Requires this key for messages between nodes from now on: see [`auth`]. Call it only before
    /// `init`.
    pub fn set_cluster_key(&mut self, key: ClusterKey) {
        self.node.auth.set_key(key);
    }

    /// How many messages between nodes were dropped because they had no valid MAC.
    #[must_use]
    pub fn unauthenticated(&self) -> u64 {
        self.node.auth.dropped()
    }

    /// Handles a line of text, if it comes from no node or proves that it does.
    pub(super) fn handle_text(&mut self, text: &str) {
        match self.node.auth.check(text, self.node.id(), self.node.node_ids()) {
            Checked::AsItIs => self.handle_message(text),
            Checked::Opened(message) => self.handle_message(&message),
            Checked::Unproven { src, reason } => self.drop_unproven(&src, reason),
            Checked::NoMessage(error) => self.skip(text, &error),
        }
    }

    /// Drops a message that claims to come from a node and does not prove it.
    fn drop_unproven(&mut self, src: &NodeId, reason: &'static str) {
        self.node.count(&metrics::UNAUTHENTICATED, &[reason], 1);
        self.node.mark(auth::DROPPED);
        if let Some(dropped) = self.node.auth.drop_one(self.node.now()) {
            warn!(
                peer = %src,
                dropped,
                "a message between nodes was dropped: its MAC is {reason} (do all nodes have the \
                 same --cluster-key-file?)"
            );
        }
    }
}
