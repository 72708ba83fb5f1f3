//! Clients' sends, from the request until the answer.
//!
//! The invariants:
//!
//! * A send keeps its name (this node's life, partition, sequence number) whenever and wherever it
//!   is forwarded. The sequence numbers of sends that are under way are less than a window apart,
//!   and logs remember a window of them. So no log has a send twice.
//! * A send ends in a definite error only if no node can append it any more. Then this node never
//!   appended it, and either never forwarded it, or forwarded it once and the receiver refused it:
//!   a packet counts once.
//! * The number of sends under way is bounded, and so are their bytes. If there is no room for a
//!   send, the node refuses it at once.
//! * A send ends within [`GIVE_UP_AFTER`], before its client gives up.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::{Error, ErrorCode, NodeId, Request};
use serde_json::value::RawValue;

use crate::indexed::{Index, IndexKeys, Indexed};
use crate::wire::PartitionId;

/// How long a send may take. Maelstrom's clients wait 5 s.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_millis(4_000);

/// The largest number of sends under way.
pub(crate) const SENDS_MAX: usize = 16_384;

/// A send's name within this life of its node.
pub(crate) type SendId = (PartitionId, u64);

/// A send that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    pub(crate) key: Arc<str>,
    pub(crate) msg: Arc<RawValue>,
    pub(crate) deadline: Duration,
    /// The time of the next retry.
    pub(crate) retry_at: Duration,
    /// The node that it was forwarded to.
    pub(crate) target: Option<NodeId>,
    /// Number of retries.
    pub(crate) tries: usize,
    /// Number of times that it went into a packet, or into this node's log.
    pub(crate) copies: u32,
    /// The length of its message and key as JSON, and of its client's name, in bytes.
    pub(crate) bytes: usize,
}

impl Pending {
    /// The error for a send that ran out of time. It is definite if there is no copy of the send.
    pub(crate) fn failure(&self, why: impl Into<Cow<'static, str>>) -> Error {
        if self.copies == 0 {
            Error::temporarily_unavailable(why)
        } else {
            Error::new(ErrorCode::Timeout, why)
        }
    }
}

impl Index for Pending {
    /// Due when its time is up, or at the next retry.
    fn index_keys(&self) -> IndexKeys {
        IndexKeys {
            due_at: Some(self.deadline.min(self.retry_at)),
            waits_for: self.target.iter().cloned().collect(),
            bytes: self.bytes,
            ..IndexKeys::default()
        }
    }
}

/// All sends that are under way.
#[derive(Debug)]
pub(crate) struct Sends {
    pending: Indexed<SendId, Pending>,
    next: BTreeMap<PartitionId, u64>,
    /// The sequence numbers of the sends under way in a partition are less than this apart.
    dedupe_window: u64,
}

impl Sends {
    /// No sends yet. Logs remember `dedupe_window` sends: see
    /// [`Config::dedupe_window`](crate::Config).
    pub(crate) fn new(dedupe_window: u64) -> Self {
        Self { pending: Indexed::default(), next: BTreeMap::new(), dedupe_window }
    }

    /// Takes a send if no more than `bytes_max` bytes are then under way, or nothing else is.
    ///
    /// # Errors
    ///
    /// If too many sends are under way. Nothing has happened then.
    pub(crate) fn begin(
        &mut self,
        partition: PartitionId,
        pending: Pending,
        bytes_max: usize,
    ) -> Result<SendId, Error> {
        let is_long = !self.has_room_for_bytes(pending.bytes, bytes_max);
        let next = self.next.entry(partition).or_default();
        let oldest = self.pending.range((partition, 0)..=(partition, u64::MAX)).next();
        let is_far =
            oldest.is_some_and(|((_, seq), _)| next.saturating_sub(seq) >= self.dedupe_window);
        if is_far || is_long || self.pending.len() >= SENDS_MAX {
            let text = "too many sends are under way: try again when some have been answered";
            return Err(Error::temporarily_unavailable(text));
        }
        let id = (partition, *next);
        *next = next.saturating_add(1);
        self.pending.insert(id, pending);
        Ok(id)
    }

    /// True if no more than `bytes_max` bytes are under way with `more` bytes, or nothing is yet.
    pub(crate) fn has_room_for_bytes(&self, more: usize, bytes_max: usize) -> bool {
        self.pending.is_empty() || self.bytes().saturating_add(more) <= bytes_max
    }

    /// Number of sends under way.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// The clients that wait for a send.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &NodeId> {
        self.pending.iter().map(|(_, pending)| pending.request.src())
    }

    /// Bytes of the sends that have no outcome yet.
    pub(crate) fn bytes(&self) -> usize {
        self.pending.bytes()
    }

    pub(crate) fn get(&self, id: SendId) -> Option<&Pending> {
        self.pending.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: SendId) -> Option<&mut Pending> {
        self.pending.get_mut(&id)
    }

    pub(crate) fn end(&mut self, id: SendId) -> Option<Pending> {
        self.pending.remove(&id)
    }

    /// The sends to a partition.
    pub(crate) fn of(&self, partition: PartitionId) -> Vec<SendId> {
        let all = self.pending.range((partition, 0)..=(partition, u64::MAX));
        all.map(|(id, _)| id).collect()
    }

    /// The sends that wait for a node.
    pub(crate) fn at(&self, node: &NodeId) -> Vec<SendId> {
        self.pending.waiting_for(node)
    }

    /// The sends whose time is up, or whose retry is due.
    pub(crate) fn due(&self, now: Duration) -> Vec<SendId> {
        self.pending.due(now)
    }

    /// The time at which the next send is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.pending.next_due()
    }
}

#[cfg(test)]
#[path = "sends_tests.rs"]
mod tests;
