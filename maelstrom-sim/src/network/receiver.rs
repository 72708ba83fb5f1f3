//! A receiver of the network, with its queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use maelstrom_core::NodeId;

use super::is_client;
use crate::message::Message;

#[derive(Debug, Default)]
pub(super) struct Receiver {
    pub(super) queue: BinaryHeap<Reverse<Queued>>,
    /// The bytes of all bodies in the queue.
    pub(super) queue_bytes: usize,
    pub(super) held: Option<Message>,
    /// How many messages each node and service has sent to this receiver. Does not count clients,
    /// which come and go.
    pub(super) sent_by: BTreeMap<NodeId, u64>,
}

/// A message in its receiver's queue. Ordered by the time at which it is due.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) due: Duration,
    pub(super) message: Message,
}

impl Receiver {
    /// The messages in the queue, and the one that the receiver holds.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Message> {
        let queued = self.queue.iter().map(|Reverse(queued)| &queued.message);
        self.held.iter().chain(queued)
    }

    pub(super) fn push(&mut self, due: Duration, message: Message) {
        self.queue_bytes += message.body.get().len();
        self.queue.push(Reverse(Queued { due, message }));
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let Reverse(queued) = self.queue.pop()?;
        self.queue_bytes -= queued.message.body.get().len();
        Some(queued)
    }

    pub(super) fn count(&mut self, src: &NodeId) {
        if let Some(count) = self.sent_by.get_mut(src) {
            *count += 1;
        } else if !is_client(src) {
            self.sent_by.insert(src.clone(), 1);
        }
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.message.id).cmp(&(other.due, other.message.id))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Queued {}
