//! Clients' polls that need other nodes, from the request until the answer.
//!
//! The invariants:
//!
//! * A poll ends within [`GIVE_UP_AFTER`], with the messages that have come by then. It leaves out
//!   a key without messages, as the protocol allows.
//! * A poll returns no more bytes than [`Config::poll_bytes`](crate::Config), whichever nodes
//!   answer. If a key does not fit, the poll leaves it out or returns fewer of its messages.
//! * The number of open questions is bounded, and so are their bytes. If there is no room for a
//!   poll, the node refuses it at once.

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

/// The largest number of open questions to other nodes.
pub(crate) const POLLS_MAX: usize = 16_384;

/// A question to another node.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The poll that the question is a part of.
    pub(crate) poll: u64,
    pub(crate) offsets: Offsets,
    pub(crate) target: NodeId,
    pub(crate) retry_at: Duration,
    pub(crate) tries: usize,
    /// The length of `offsets` as JSON.
    bytes: usize,
}

impl Index for Question {
    /// Due when the question must be asked again.
    fn index_keys(&self) -> IndexKeys {
        let Self { retry_at, bytes, .. } = *self;
        IndexKeys { due_at: Some(retry_at), bytes, ..IndexKeys::default() }
    }
}

/// The messages in the answer to a poll: no more bytes than allowed, or a single message.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    msgs: Messages,
    /// Bytes of JSON that may still be added.
    room: usize,
}

impl Shown {
    /// No messages yet, and up to `bytes_max` bytes of JSON.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { msgs: Messages::new(), room: bytes_max }
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
struct Asked {
    request: Request,
    shown: Shown,
    open: BTreeSet<u64>,
    deadline: Duration,
    /// True if any key was answered, even without messages.
    is_any: bool,
}

impl Index for Asked {
    /// Due when its time is up.
    fn index_keys(&self) -> IndexKeys {
        IndexKeys { due_at: Some(self.deadline), ..IndexKeys::default() }
    }
}

/// All polls that wait for other nodes.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    asked: Indexed<u64, Asked>,
    questions: Indexed<u64, Question>,
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

    /// True if these questions can be asked, too: the number of open questions stays within its
    /// limit, and so do their bytes. Bytes have no limit while no other question is open.
    pub(crate) fn has_room(&self, questions: &[(NodeId, Offsets)], bytes_max: usize) -> bool {
        let bytes = questions.iter().map(|(_, offsets)| encoded_len(offsets));
        let bytes = bytes.fold(self.questions.bytes(), usize::saturating_add);
        self.questions.len().saturating_add(questions.len()) <= POLLS_MAX
            && (bytes <= bytes_max || self.questions.is_empty())
    }

    /// Begins a poll that has these messages so far, and needs the answers to these questions (the
    /// node to ask, and offsets). Returns the names of the questions. `is_any`: this node keeps
    /// some of the keys.
    pub(crate) fn begin(
        &mut self,
        request: Request,
        shown: Shown,
        is_any: bool,
        questions: Vec<(NodeId, Offsets)>,
        now: Duration,
        retry_after: Duration,
    ) -> Vec<(u64, NodeId)> {
        let poll = self.name();
        let mut names = Vec::new();
        for (target, offsets) in questions {
            let id = self.name();
            names.push((id, target.clone()));
            let retry_at = now.saturating_add(retry_after);
            let bytes = encoded_len(&offsets);
            let question = Question { poll, offsets, target, retry_at, tries: 0, bytes };
            self.questions.insert(id, question);
        }
        let open = names.iter().map(|(id, _)| *id).collect();
        let deadline = now.saturating_add(GIVE_UP_AFTER);
        self.asked.insert(poll, Asked { request, shown, open, deadline, is_any });
        names
    }

    pub(crate) fn question(&self, id: u64) -> Option<&Question> {
        self.questions.get(&id)
    }

    pub(crate) fn question_mut(&mut self, id: u64) -> Option<&mut Question> {
        self.questions.get_mut(&id)
    }

    /// Takes the answer to a question. Returns the answer to its poll, if this was the last
    /// question.
    pub(crate) fn answered(&mut self, id: u64, msgs: Messages) -> Option<Answer> {
        let question = self.questions.remove(&id)?;
        let asked = self.asked.get_mut(&question.poll)?;
        asked.open.remove(&id);
        asked.is_any = true;
        for (key, msgs) in msgs {
            // A client gets only keys that it asked for.
            if question.offsets.contains_key(&key) {
                asked.shown.add(&key, msgs);
            }
        }
        asked.open.is_empty().then_some(())?;
        let asked = self.asked.remove(&question.poll)?;
        Some(Answer { request: asked.request, msgs: Some(asked.shown.into_msgs()) })
    }

    /// The questions that must be asked again.
    pub(crate) fn due(&self, now: Duration) -> Vec<u64> {
        self.questions.due(now)
    }

    /// Ends the polls that ran out of time.
    pub(crate) fn give_up(&mut self, now: Duration) -> Vec<Answer> {
        let late = self.asked.due(now);
        let asked: Vec<Asked> = late.iter().filter_map(|poll| self.asked.remove(poll)).collect();
        for id in asked.iter().flat_map(|asked| &asked.open) {
            self.questions.remove(id);
        }
        let answers = asked.into_iter().map(|asked| Answer {
            request: asked.request,
            msgs: asked.is_any.then(|| asked.shown.into_msgs()),
        });
        answers.collect()
    }

    /// The time at which the next question or poll is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        [self.questions.next_due(), self.asked.next_due()].into_iter().flatten().min()
    }
}

#[cfg(test)]
#[path = "polls_tests.rs"]
mod tests;
