//! The test fails if more messages wait for a node than it can hold. It then names the sender.

use maelstrom_core::NodeId;

use super::{Action, Failure, World};
use crate::network::{Waiting, is_too_much};

impl World {
    /// A node does not read what it is sent, and so many bytes of it wait: the test has failed.
    pub fn node_flooded(&mut self, node: &NodeId, bytes: usize) {
        let flood = self.network.flood(node, Waiting::Unread(bytes));
        self.fail(Failure::Flood(flood));
    }

    /// Whether that has happened: nodes are not listened to any more then.
    pub(super) const fn is_flooded(&self) -> bool {
        matches!(self.failure, Some(Failure::Flood(_)))
    }

    /// Fails if too much waits in the network.
    pub(super) fn check_network(&mut self) {
        if let Some(flood) = self.network.flooded() {
            self.fail(Failure::Flood(flood.clone()));
        }
    }

    /// Gives a line to the driver. A driver in real time takes it at once; in virtual time, nodes
    /// that forward everything fill the queue of actions.
    pub(super) fn hand_out(&mut self, node: NodeId, line: Vec<u8>) {
        let (lines, bytes) = (self.undelivered.0 + 1, self.undelivered.1 + line.len());
        self.undelivered = (lines, bytes);
        if is_too_much(lines, bytes) {
            let flood = self.network.flood(&node, Waiting::InNetwork(lines, bytes));
            self.fail(Failure::Flood(flood));
        }
        self.actions.push_back(Action::Deliver { node, line });
    }

    /// The driver has taken an action.
    pub(super) fn handed_out(&mut self, action: &Action) {
        if let Action::Deliver { line, .. } = action {
            let (lines, bytes) = self.undelivered;
            self.undelivered = (lines - 1, bytes - line.len());
        }
    }
}
