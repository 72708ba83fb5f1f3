//! Fails the test if too many messages wait for a node, and names the sender.

use maelstrom_core::NodeId;

use super::{Action, Failure, World};
use crate::network::{Waiting, is_too_much};

impl World {
    /// Fails the test because a node does not read its input, of which this many bytes wait.
    pub fn node_flooded(&mut self, node: &NodeId, bytes: usize) {
        let flood = self.network.flood(node, Waiting::Unread(bytes));
        self.fail(Failure::Flood(flood));
    }

    /// Whether the test failed because of a flood. If so, output of nodes is ignored.
    pub(super) const fn is_flooded(&self) -> bool {
        matches!(self.failure, Some(Failure::Flood(_)))
    }

    /// Fails the test if too many messages wait in the network.
    pub(super) fn check_network(&mut self) {
        if let Some(flood) = self.network.flooded() {
            self.fail(Failure::Flood(flood.clone()));
        }
    }

    /// Queues a line for the driver. A real-time driver takes it at once. In virtual time, nodes
    /// that forward every message can fill the queue of actions.
    pub(super) fn hand_out(&mut self, node: NodeId, line: Vec<u8>) {
        let (lines, bytes) = (self.undelivered.0 + 1, self.undelivered.1 + line.len());
        self.undelivered = (lines, bytes);
        if is_too_much(lines, bytes) {
            let flood = self.network.flood(&node, Waiting::InNetwork(lines, bytes));
            self.fail(Failure::Flood(flood));
        }
        self.actions.push_back(Action::Deliver { node, line });
    }

    /// Counts an action that the driver has taken.
    pub(super) fn handed_out(&mut self, action: &Action) {
        if let Action::Deliver { line, .. } = action {
            let (lines, bytes) = self.undelivered;
            self.undelivered = (lines - 1, bytes - line.len());
        }
    }
}
