//! Clients' polls that need other nodes, from the request until the answer.
//!
//! The invariants:
//!
//! * A poll ends within [`GIVE_UP_AFTER`], with the messages that have come by then. It leaves out
//!   a key without messages, as the protocol allows.
//! * A poll returns no more bytes than [`Config::poll_bytes`](crate::Config), whichever nodes
//!   answer. If a key does not fit, the poll leaves it out or returns fewer of its messages.
//! * The number of open remote polls is bounded. So are the bytes of all polls: the keys of their
//!   remote polls, the messages that have come so far, and the names of their clients. If there is
//!   no room for a poll, the node refuses it at once. If there is no room for the messages in an
//!   answer, and the poll waits for more answers, it leaves these messages out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::{NodeId, Request};
use serde_json::value::RawValue;

use crate::indexed::{Index, IndexKeys, Indexed};
use crate::queue::encoded_len;
use crate::wire::{Messages, Offsets, string_len};

/// How long other nodes may take to answer.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_millis(2_000);

/// The largest number of open remote polls to other nodes.
pub(crate) const POLLS_MAX: usize = 16_384;

/// The part of a client's poll that another node must answer.
#[derive(Clone, Debug)]
pub(crate) struct RemotePoll {
    /// The client's poll.
    pub(crate) poll: u64,
    pub(crate) offsets: Offsets,
    pub(crate) target: NodeId,
    pub(crate) retry_at: Duration,
    pub(crate) tries: usize,
    /// The length of `offsets` as JSON.
    bytes: usize,
}

impl Index for RemotePoll {
    /// Due when it must be forwarded again.
    fn index_keys(&self) -> IndexKeys {
        let Self { retry_at, bytes, .. } = *self;
        IndexKeys { due_at: Some(retry_at), bytes, ..IndexKeys::default() }
    }
}

/// The messages in the answer to a poll: no more bytes than allowed, or a single message.
#[derive(Clone, Debug)]
pub(crate) struct PollResult {
    msgs: Messages,
    /// The length of `msgs` as JSON, approximately.
    bytes: usize,
    /// Bytes of JSON that may still be added.
    room: usize,
}

impl PollResult {
    /// No messages yet, and up to `bytes_max` bytes of JSON.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { msgs: Messages::new(), bytes: 0, room: bytes_max }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.room == 0
    }

    /// Adds a key's messages, up to the first that does not fit. After that one, nothing fits.
    pub(crate) fn add(
        &mut self,
        key: &Arc<str>,
        msgs: impl IntoIterator<Item = (u64, Arc<RawValue>)>,
    ) {
        let mut list = Vec::new();
        for (offset, msg) in msgs {
            // With brackets and commas. The first message of a key also pays for the key.
            let mut bytes = encoded_len(&(offset, &msg)).saturating_add(1);
            if list.is_empty() {
                bytes = bytes.saturating_add(string_len(key)).saturating_add(4);
            }
            if bytes > self.room && !(self.msgs.is_empty() && list.is_empty()) {
                self.room = 0;
                break;
            }
            self.room = self.room.saturating_sub(bytes);
            self.bytes = self.bytes.saturating_add(bytes);
            list.push((offset, msg));
        }
        if !list.is_empty() {
            self.msgs.insert(key.clone(), list);
        }
    }

    pub(crate) fn into_msgs(self) -> Messages {
        self.msgs
    }
}

/// A client's poll.
#[derive(Clone, Debug)]
struct PendingPoll {
    request: Request,
    result: PollResult,
    open: BTreeSet<u64>,
    deadline: Duration,
    /// True if any key was answered, even without messages.
    is_any: bool,
}

/// The bytes of a client's poll, without its remote polls.
fn poll_bytes(request: &Request, result: &PollResult) -> usize {
    request.src().len().saturating_add(result.bytes)
}

impl Index for PendingPoll {
    /// Due when its time is up.
    fn index_keys(&self) -> IndexKeys {
        let bytes = poll_bytes(&self.request, &self.result);
        IndexKeys { due_at: Some(self.deadline), bytes, ..IndexKeys::default() }
    }
}

/// All polls that wait for other nodes.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    pending: Indexed<u64, PendingPoll>,
    remote_polls: Indexed<u64, RemotePoll>,
    next: u64,
}

/// The end of a poll.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) request: Request,
    /// `None` if no node answered any key.
    pub(crate) msgs: Option<Messages>,
}

impl Polls {
    fn name(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }

    /// Bytes of all polls.
    fn bytes(&self) -> usize {
        self.pending.bytes().saturating_add(self.remote_polls.bytes())
    }

    /// True if a poll with that result so far and these remote polls can begin. The number of open
    /// remote polls stays within its limit, and so do the bytes of all polls. Bytes have no limit
    /// while no other poll is open.
    pub(crate) fn has_room(
        &self,
        request: &Request,
        result: &PollResult,
        remote_polls: &[(NodeId, Offsets)],
        bytes_max: usize,
    ) -> bool {
        self.has_room_for_number(remote_polls.len())
            && self.has_room_for_bytes(request, result, remote_polls, bytes_max)
    }

    /// The part of [`has_room`](Self::has_room) that is about bytes.
    pub(crate) fn has_room_for_bytes(
        &self,
        request: &Request,
        result: &PollResult,
        remote_polls: &[(NodeId, Offsets)],
        bytes_max: usize,
    ) -> bool {
        let bytes = remote_polls.iter().map(|(_, offsets)| encoded_len(offsets));
        let bytes = bytes.chain([poll_bytes(request, result), self.bytes()]);
        bytes.fold(0, usize::saturating_add) <= bytes_max || self.pending.is_empty()
    }

    fn has_room_for_number(&self, more: usize) -> bool {
        self.remote_polls.len().saturating_add(more) <= POLLS_MAX
    }

    /// Begins a poll that has these messages so far, and needs the answers to these remote polls
    /// (the node to ask, and offsets). Returns the names of the remote polls. `is_any`: this node
    /// keeps some of the keys.
    pub(crate) fn begin(
        &mut self,
        request: Request,
        result: PollResult,
        is_any: bool,
        remote_polls: Vec<(NodeId, Offsets)>,
        now: Duration,
        retry_after: Duration,
    ) -> Vec<(u64, NodeId)> {
        let poll = self.name();
        let mut names = Vec::new();
        for (target, offsets) in remote_polls {
            let id = self.name();
            names.push((id, target.clone()));
            let retry_at = now.saturating_add(retry_after);
            let bytes = encoded_len(&offsets);
            let remote_poll = RemotePoll { poll, offsets, target, retry_at, tries: 0, bytes };
            self.remote_polls.insert(id, remote_poll);
        }
        let open = names.iter().map(|(id, _)| *id).collect();
        let deadline = now.saturating_add(GIVE_UP_AFTER);
        self.pending.insert(poll, PendingPoll { request, result, open, deadline, is_any });
        names
    }

    pub(crate) fn remote_poll(&self, id: u64) -> Option<&RemotePoll> {
        self.remote_polls.get(&id)
    }

    /// The client's request that a remote poll is a part of.
    pub(crate) fn request(&self, remote_poll: &RemotePoll) -> Option<&Request> {
        self.pending.get(&remote_poll.poll).map(|pending| &pending.request)
    }

    /// Forwards the keys of a remote poll again, each to one of these nodes. The first node gets
    /// the remote poll, and each other node a new one. Returns their names. If there is no room for
    /// more remote polls, the first node gets all keys.
    pub(crate) fn forward_again(
        &mut self,
        id: u64,
        mut parts: Vec<(NodeId, Offsets)>,
        tries: usize,
        retry_at: Duration,
    ) -> Vec<(u64, NodeId)> {
        let mut names = Vec::new();
        let Some(poll) = self.remote_polls.get(&id).map(|remote_poll| remote_poll.poll) else {
            return names;
        };
        if !self.has_room_for_number(parts.len().saturating_sub(1)) {
            let all = parts.iter().flat_map(|(_, offsets)| offsets.clone()).collect::<Offsets>();
            parts.truncate(1);
            parts.iter_mut().for_each(|(_, offsets)| offsets.clone_from(&all));
        }
        for (target, offsets) in parts {
            let id = if names.is_empty() { id } else { self.name() };
            names.push((id, target.clone()));
            let bytes = encoded_len(&offsets);
            let remote_poll = RemotePoll { poll, offsets, target, retry_at, tries, bytes };
            self.remote_polls.insert(id, remote_poll);
        }
        if let Some(pending) = self.pending.get_mut(&poll) {
            pending.open.extend(names.iter().map(|(id, _)| *id));
        }
        names
    }

    /// Takes the answer to a remote poll. Returns the answer to its poll, if this was the last
    /// remote poll. If it was not, the messages wait: all polls may have up to `bytes_max` bytes,
    /// or one poll any number.
    pub(crate) fn answered(
        &mut self,
        id: u64,
        mut msgs: Messages,
        bytes_max: usize,
    ) -> Option<Answer> {
        let remote_poll = self.remote_polls.remove(&id)?;
        // A client gets only keys that it asked for.
        msgs.retain(|key, _| remote_poll.offsets.contains_key(key));
        let (bytes, is_alone) = (self.bytes(), self.pending.len() <= 1);
        let pending = self.pending.get_mut(&remote_poll.poll)?;
        pending.open.remove(&id);
        pending.is_any = true;
        let is_last = pending.open.is_empty();
        if is_last || is_alone || bytes.saturating_add(encoded_len(&msgs)) <= bytes_max {
            msgs.into_iter().for_each(|(key, list)| pending.result.add(&key, list));
        }
        is_last.then_some(())?;
        let pending = self.pending.remove(&remote_poll.poll)?;
        Some(Answer { request: pending.request, msgs: Some(pending.result.into_msgs()) })
    }

    /// Number of polls.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The clients that wait for a poll.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &NodeId> {
        self.pending.iter().map(|(_, pending)| pending.request.src())
    }

    /// Number of open remote polls.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.remote_polls.len()
    }

    /// The names of the open remote polls.
    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = u64> {
        self.remote_polls.iter().map(|(id, _)| id)
    }

    /// The remote polls that must be forwarded again.
    pub(crate) fn due(&self, now: Duration) -> Vec<u64> {
        self.remote_polls.due(now)
    }

    /// Ends the polls that ran out of time. Also returns their open remote polls, which have ended
    /// with them, and the nodes that these went to.
    pub(crate) fn give_up(&mut self, now: Duration) -> (Vec<Answer>, Vec<(u64, NodeId)>) {
        let late = self.pending.due(now);
        let pending: Vec<PendingPoll> =
            late.iter().filter_map(|poll| self.pending.remove(poll)).collect();
        let open = pending.iter().flat_map(|pending| &pending.open);
        let ended = open.filter_map(|id| Some((*id, self.remote_polls.remove(id)?.target)));
        let ended = ended.collect();
        let answers = pending.into_iter().map(|pending| Answer {
            request: pending.request,
            msgs: pending.is_any.then(|| pending.result.into_msgs()),
        });
        (answers.collect(), ended)
    }

    /// The time at which the next remote poll or client's poll is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        [self.remote_polls.next_due(), self.pending.next_due()].into_iter().flatten().min()
    }
}

#[cfg(test)]
#[path = "polls_tests.rs"]
mod tests;
