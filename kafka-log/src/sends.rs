//! Clients' sends, from when a node takes one until it answers.
//!
//! The invariants:
//!
//! * A send keeps its name (this node's life, partition, sequence number) however often and to
//!   whomever it is passed on, and sequence numbers that are under way at a time are less than a
//!   window apart, which logs remember: so no log has it twice.
//! * It ends in a definite error only if it was never passed on, or once, and was refused by the one
//!   who got it: packets count once, so nobody can append it any more.
//! * The number of sends under way is bounded, and so are their bytes. A send for which there is no
//!   room is refused at once.
//! * It ends within [`GIVE_UP_AFTER`], before its client gives up.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::{Error, ErrorCode, NodeId, Request};
use serde_json::value::RawValue;

use crate::indexed::{Facts, Index, Indexed};
use crate::wire::PartitionId;

/// How long a send may take. Maelstrom's clients wait 5 s.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_millis(4_000);

/// How many sends may be under way.
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
    /// When to look again whether it gets on.
    pub(crate) retry_at: Duration,
    /// Whom it has been passed on to.
    pub(crate) target: Option<NodeId>,
    /// How often it was looked at again.
    pub(crate) tries: usize,
    /// How often it was really sent, or appended here.
    pub(crate) copies: u32,
    /// The length of its message and key as JSON.
    pub(crate) bytes: usize,
}

impl Pending {
    /// The error that says what is known.
    pub(crate) fn failure(&self, why: impl Into<Cow<'static, str>>) -> Error {
        if self.copies == 0 {
            Error::temporarily_unavailable(why)
        } else {
            Error::new(ErrorCode::Timeout, why)
        }
    }
}

impl Index for Pending {
    /// It is due when its time is up, or when it is to be looked at again.
    fn facts(&self) -> Facts {
        Facts {
            due_at: Some(self.deadline.min(self.retry_at)),
            waits_for: self.target.iter().cloned().collect(),
            bytes: self.bytes,
        }
    }
}

/// All sends that are under way.
#[derive(Debug)]
pub(crate) struct Sends {
    pending: Indexed<SendId, Pending>,
    next: BTreeMap<PartitionId, u64>,
    /// How far apart the numbers of two can be that are under way in a partition.
    window: u64,
}

impl Sends {
    /// None yet. Logs remember so many of them: see [`Config::window`](crate::Config).
    pub(crate) fn new(window: u64) -> Self {
        Self { pending: Indexed::default(), next: BTreeMap::new(), window }
    }

    /// Takes a send, if then no more than `bytes_max` bytes are under way, or nothing else is.
    ///
    /// # Errors
    ///
    /// If too many are under way: nothing has happened then.
    pub(crate) fn begin(
        &mut self,
        partition: PartitionId,
        pending: Pending,
        bytes_max: usize,
    ) -> Result<SendId, Error> {
        let next = self.next.entry(partition).or_default();
        let oldest = self.pending.range((partition, 0)..=(partition, u64::MAX)).next();
        let is_far = oldest.is_some_and(|((_, seq), _)| next.saturating_sub(seq) >= self.window);
        let bytes = self.pending.bytes().saturating_add(pending.bytes);
        let is_long = bytes > bytes_max && !self.pending.is_empty();
        if is_far || is_long || self.pending.len() >= SENDS_MAX {
            let text = "too many sends are under way: try again when some have been answered";
            return Err(Error::temporarily_unavailable(text));
        }
        let id = (partition, *next);
        *next = next.saturating_add(1);
        self.pending.insert(id, pending);
        Ok(id)
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// How many bytes they take.
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

    /// Those to a partition.
    pub(crate) fn of(&self, partition: PartitionId) -> Vec<SendId> {
        let all = self.pending.range((partition, 0)..=(partition, u64::MAX));
        all.map(|(id, _)| id).collect()
    }

    /// Those that wait for a node.
    pub(crate) fn at(&self, node: &NodeId) -> Vec<SendId> {
        self.pending.waiting_for(node)
    }

    /// Those whose time is up, or who are to be looked at again.
    pub(crate) fn due(&self, now: Duration) -> Vec<SendId> {
        self.pending.due(now)
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.pending.next_due()
    }
}

#[cfg(test)]
#[path = "sends_tests.rs"]
mod tests;
