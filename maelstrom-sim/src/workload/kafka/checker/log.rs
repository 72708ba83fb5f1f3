//! Reconstructs the log of each key from a history.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::value::RawValue;

use super::super::values::{Assign, Polled, value_of};
use super::LIST_MAX;
use crate::history::{History, Op, OpType, Process};

/// A relevant event of the history: any event of a send, or the end of a successful poll or assign.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) op: &'a Op,
    pub(super) process: u64,
    pub(super) what: What<'a>,
    /// When the operation began.
    pub(super) begun: Duration,
}

#[derive(Debug)]
pub(super) enum What<'a> {
    Sent { key: String, offset: Option<i64>, message: &'a str },
    Polled(Polled<'a>),
    Assigned(Assign),
}

/// The relevant events of a history, in order.
pub(super) fn events(history: &History) -> Vec<Event<'_>> {
    history.client_ops().filter_map(|op| event(history, op)).collect()
}

fn event<'a>(history: &'a History, op: &'a Op) -> Option<Event<'a>> {
    let Process::Client(process) = op.process else {
        return None;
    };
    let value = op.value.as_deref();
    let what = match (op.f, op.kind) {
        ("send", OpType::Ok) => {
            let (key, (offset, message)): (String, (i64, &RawValue)) = value_of(value)?;
            What::Sent { key, offset: Some(offset), message: message.get() }
        }
        ("send", _) => {
            let (key, message): (String, &RawValue) = value_of(value)?;
            What::Sent { key, offset: None, message: message.get() }
        }
        ("poll", OpType::Ok) => What::Polled(value_of(value)?),
        ("assign", OpType::Ok) => What::Assigned(value_of(value)?),
        _ => return None,
    };
    let begun = history.invocation(op).unwrap_or(op).time;
    Some(Event { op, process, what, begun })
}

/// A message in the log of one key. The indices refer to events.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The last event of its send.
    pub(super) send: Option<usize>,
    pub(super) offsets: BTreeSet<i64>,
    /// The first poll that showed it.
    pub(super) poll: Option<usize>,
}

/// The known part of the log of one key.
#[derive(Debug, Default)]
pub(super) struct Log<'a> {
    pub(super) messages: BTreeMap<&'a str, Message>,
    /// The messages at each offset, each with the first event that showed it there.
    pub(super) entries: BTreeMap<i64, BTreeMap<&'a str, usize>>,
    /// The offsets of all entries, in order.
    pub(super) offsets: Vec<i64>,
}

impl<'a> Log<'a> {
    fn put(&mut self, offset: i64, text: &'a str, place: usize) -> &mut Message {
        self.entries.entry(offset).or_default().entry(text).or_insert(place);
        let message = self.messages.entry(text).or_default();
        message.offsets.insert(offset);
        message
    }

    /// How many known entries come before this offset.
    pub(super) fn index(&self, offset: i64) -> usize {
        self.offsets.partition_point(|known| *known < offset)
    }

    /// The known offsets from `from` to before `to`.
    pub(super) fn range(&self, from: i64, to: i64) -> &[i64] {
        self.offsets.get(self.index(from)..self.index(to)).unwrap_or_default()
    }

    /// The same, limited to the number that a finding shows.
    pub(super) fn between(&self, from: i64, to: i64) -> &[i64] {
        let range = self.range(from, to);
        range.get(..LIST_MAX).unwrap_or(range)
    }
}

pub(super) fn logs<'a>(events: &[Event<'a>]) -> BTreeMap<String, Log<'a>> {
    let mut logs: BTreeMap<String, Log<'a>> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        match &event.what {
            What::Sent { key, offset, message } => {
                let log = logs.entry(key.clone()).or_default();
                let message = match offset {
                    Some(offset) => log.put(*offset, message, place),
                    None => log.messages.entry(message).or_default(),
                };
                message.send = Some(place);
            }
            What::Polled(polled) => {
                for (key, pairs) in polled {
                    let log = logs.entry(key.clone()).or_default();
                    for (offset, message) in pairs {
                        log.put(*offset, message.get(), place).poll.get_or_insert(place);
                    }
                }
            }
            What::Assigned(_) => {}
        }
    }
    for log in logs.values_mut() {
        log.offsets = log.entries.keys().copied().collect();
    }
    logs
}
