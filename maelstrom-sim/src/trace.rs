//! The trace of a test: the fate of every message, and events that are not in the history.
//!
//! A trace shows a whole run, to draw it or to shrink it. It is kept only if the options ask for
//! it. Times are nanoseconds since the first operation could begin, as in the history. Earlier
//! events have negative times.
//!
//! | file | a line |
//! |---|---|
//! | `messages.jsonl` | `{"id":7,"time":…,"src":"n0","dest":"n1","body":{…},"copies":1,"ends":[{"time":…,"fate":"delivered"}]}`, in the order in which they were sent |
//! | `events.jsonl` | `{"time":…,"nemesis":{"crash":"n1"}}`, `{"time":…,"phase":"testing"}`, `{"time":…,"muted":{"node":"n1","why":"…"}}` |
//!
//! A message that a muted node sent has no `id`. The trace is bounded: messages beyond the limit
//! are only counted. The last line of `messages.jsonl` then says how many:
//! `{"cut":true,"left-out":3}`.
//!
//! Invariant: a message has at most as many ends as copies. If it has fewer, the other copies were
//! still in transit when the test ended, or waited for a paused or killed node.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use maelstrom_core::NodeId;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::message::Message;
use crate::nemesis::NemesisOp;
use crate::news::News;

/// How many bytes of messages the trace keeps.
const BYTES_MAX: usize = if cfg!(test) { 16 << 20 } else { 256 << 20 };

/// The approximate memory of a message beside its body.
const MESSAGE_BYTES: usize = 256;

/// The fate of a copy of a message. [`Trace`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It reached its receiver.
    Delivered,
    /// It was lost on the way.
    Lost,
    /// A partition stopped it.
    Refused,
    /// It waited for a paused node, and the node crashed.
    Down,
    /// The service to which it was addressed was unreachable.
    Unreachable,
    /// Its receiver's address did not exist, or did not exist any more.
    NoAddress,
    /// Its sender was muted.
    Muted,
}

/// A message of a trace. [`Trace`] shows it in use.
#[derive(Debug, Serialize)]
pub struct Sent<'a> {
    /// Its number. `None`: its sender was muted, so the network never saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// When it was sent, in nanoseconds.
    pub time: i64,
    /// Its sender.
    pub src: &'a str,
    /// Its receiver.
    pub dest: &'a str,
    /// Its body.
    pub body: &'a RawValue,
    /// How many copies the network carried.
    pub copies: usize,
    /// The ends of the copies, as far as the test saw them.
    pub ends: Vec<End>,
}

/// The end of a copy of a message. [`Trace`] shows it in use.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct End {
    /// When, in nanoseconds.
    pub time: i64,
    /// Its fate.
    pub fate: Fate,
}

/// The trace of a running test.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_sim::report::write_shiviz;
/// use maelstrom_sim::trace::Fate;
/// use maelstrom_sim::world::{News, World};
/// use maelstrom_sim::{Test, options::Options, workload::Echo};
///
/// let options = Options { trace: true, ..Options::default().with_node_count(1) };
/// let mut world = World::new(Test::new(Echo::default(), options), Duration::ZERO);
/// world.handle_timeout(Duration::from_secs(1));
/// // The node has joined the network. A client sends `init` to it.
/// let trace = world.trace().unwrap();
/// let first = trace.messages().next().unwrap();
/// assert_eq!((first.dest, first.copies), ("n0", 1));
/// assert_eq!(first.ends[0].fate, Fate::Delivered);
/// assert!(trace.events().any(|(_, news)| matches!(news, News::Phase(_))));
/// let mut log = Vec::new();
/// write_shiviz(trace, &mut log)?;
/// assert!(!log.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Trace {
    /// When the first operation could begin.
    zero: Duration,
    messages: Vec<Traced>,
    /// The index of each message that has copies in transit, by its id.
    under_way: BTreeMap<u64, usize>,
    events: Vec<(Duration, News)>,
    /// The messages that wait for each paused or killed node.
    waiting: BTreeMap<NodeId, Waiting>,
    bytes: usize,
    left_out: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    is_down: bool,
    ids: Vec<u64>,
}

#[derive(Debug)]
struct Traced {
    sent: Duration,
    /// `None`: the network never saw it.
    id: Option<u64>,
    src: NodeId,
    dest: NodeId,
    body: Box<RawValue>,
    copies: usize,
    ends: Vec<(Duration, Fate)>,
}

impl Trace {
    /// Sets the moment when the first operation can begin.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.zero = now;
    }

    /// Records that a message was sent, in this many copies.
    pub(crate) fn sent(&mut self, now: Duration, message: &Message, copies: usize) {
        let Message { id, src, dest, body } = message;
        if self.keep(now, Some(*id), (src, dest, body), copies).is_some() {
            self.under_way.insert(*id, self.messages.len() - 1);
        }
    }

    /// Records a message of a muted node.
    pub(crate) fn unheard(&mut self, now: Duration, (src, dest, body): (&str, &str, &RawValue)) {
        if let Some(message) = self.keep(now, None, (&src.into(), &dest.into(), body), 1) {
            message.ends.push((now, Fate::Muted));
        }
    }

    fn keep(
        &mut self,
        sent: Duration,
        id: Option<u64>,
        (src, dest, body): (&NodeId, &NodeId, &RawValue),
        copies: usize,
    ) -> Option<&mut Traced> {
        self.bytes = self.bytes.saturating_add(MESSAGE_BYTES + body.get().len());
        if self.bytes > BYTES_MAX {
            self.left_out += 1;
            return None;
        }
        let (src, dest, body) = (src.clone(), dest.clone(), body.to_owned());
        self.messages.push(Traced { sent, id, src, dest, body, copies, ends: Vec::new() });
        self.messages.last_mut()
    }

    /// Records the end of a copy of a message.
    pub(crate) fn ended(&mut self, now: Duration, id: u64, fate: Fate) {
        let Some(message) = self.under_way.get(&id).and_then(|at| self.messages.get_mut(*at))
        else {
            return;
        };
        message.ends.push((now, fate));
        debug_assert!(message.ends.len() <= message.copies, "{message:?}");
        if message.ends.len() == message.copies {
            self.under_way.remove(&id);
        }
    }

    /// Records that a copy of a message reached its node. If the node is paused or down, the copy
    /// waits.
    pub(crate) fn arrived(&mut self, now: Duration, message: &Message) {
        match self.waiting.get_mut(&message.dest) {
            Some(waiting) => waiting.ids.push(message.id),
            None => self.ended(now, message.id, Fate::Delivered),
        }
    }

    /// Records an event.
    pub(crate) fn happened(&mut self, now: Duration, news: News) {
        if let News::Nemesis(op) = &news {
            self.disturbed(now, op);
        }
        self.events.push((now, news));
    }

    fn disturbed(&mut self, now: Duration, op: &NemesisOp) {
        let (node, fate) = match op {
            NemesisOp::Pause(node) => {
                self.waiting.entry(node.clone()).or_default();
                return;
            }
            // A resume has no effect on a node that is down: it has to restart.
            NemesisOp::Resume(node) if self.waiting.get(node).is_some_and(|it| it.is_down) => {
                return;
            }
            NemesisOp::Resume(node) | NemesisOp::Restart(node) => (node, Fate::Delivered),
            NemesisOp::Crash(node) => (node, Fate::Down),
            _ => return,
        };
        for id in self.waiting.remove(node).unwrap_or_default().ids {
            self.ended(now, id, fate);
        }
        if fate == Fate::Down {
            self.waiting.insert(node.clone(), Waiting { is_down: true, ids: Vec::new() });
        }
    }

    /// The messages of the trace, in the order in which they were sent.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = Sent<'_>> {
        self.messages.iter().map(|message| self.view(message))
    }

    /// How many messages were left out.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The events that are not in the history, each with its time in nanoseconds.
    pub fn events(&self) -> impl Iterator<Item = (i64, &News)> {
        self.events.iter().map(|(at, news)| (self.since_zero(*at), news))
    }

    /// Writes `messages.jsonl`.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn write_messages(&self, out: &mut impl Write) -> io::Result<()> {
        for message in &self.messages {
            write_line(out, &self.view(message))?;
        }
        if self.left_out > 0 {
            write_line(out, &Cut { cut: true, left_out: self.left_out })?;
        }
        Ok(())
    }

    /// Writes `events.jsonl`.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn write_events(&self, out: &mut impl Write) -> io::Result<()> {
        for (at, what) in &self.events {
            write_line(out, &EventLine { time: self.since_zero(*at), what })?;
        }
        Ok(())
    }

    fn view<'a>(&self, message: &'a Traced) -> Sent<'a> {
        let ends = message.ends.iter();
        let ends = ends.map(|(at, fate)| End { time: self.since_zero(*at), fate: *fate });
        Sent {
            id: message.id,
            time: self.since_zero(message.sent),
            src: &message.src,
            dest: &message.dest,
            body: &message.body,
            copies: message.copies,
            ends: ends.collect(),
        }
    }

    fn since_zero(&self, at: Duration) -> i64 {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        nanos(at).saturating_sub(nanos(self.zero))
    }
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Cut {
    cut: bool,
    left_out: u64,
}

#[derive(Serialize)]
struct EventLine<'a> {
    time: i64,
    #[serde(flatten)]
    what: &'a News,
}

#[cfg(test)]
mod tests;
