//! Checks the content of a log: missing messages, wrong offsets, and duplicates.

use serde_json::{Value, json};

use super::log::{Event, Log, Message};
use super::{Findings, LIST_MAX, PHANTOM, Rule, process, witness};
use crate::checker::headline::{list, short};
use crate::history::OpType;
use crate::json::to_value;

/// The outcome of the send of a message, if there was a send.
fn outcome(sent: &Message, events: &[Event<'_>]) -> Option<OpType> {
    Some(events.get(sent.send?)?.op.kind)
}

/// The first offset of a message.
fn offset_of(found: &Message) -> i64 {
    found.offsets.first().copied().unwrap_or_default()
}

/// The acknowledged messages that no poll shows.
pub(super) fn unseen<'a>(
    log: &'a Log<'_>,
    events: &'a [Event<'_>],
) -> impl Iterator<Item = &'a str> {
    let unread = log.messages.iter().filter(|(_, message)| message.poll.is_none());
    unread
        .filter(|(_, message)| outcome(message, events) == Some(OpType::Ok))
        .map(|(text, _)| *text)
}

/// Checks the log of a key.
pub(super) fn check(key: &str, log: &Log<'_>, events: &[Event<'_>], findings: &mut Findings) {
    let one = LogCheck { key, log, events };
    one.places(findings);
    one.senders(findings);
    one.lost(findings);
}

struct LogCheck<'a> {
    key: &'a str,
    log: &'a Log<'a>,
    events: &'a [Event<'a>],
}

impl LogCheck<'_> {
    fn witness(&self, place: Option<usize>, offset: i64) -> Value {
        let event = place.and_then(|place| self.events.get(place));
        event.map_or(Value::Null, |event| witness(event, self.key, offset))
    }

    /// The send of a message, and the first poll that showed it.
    fn proofs(&self, found: &Message) -> [Value; 2] {
        let offset = offset_of(found);
        [self.witness(found.send, offset), self.witness(found.poll, offset)]
    }

    /// Checks that each message has one offset, and each offset one message.
    fn places(&self, findings: &mut Findings) {
        for (offset, texts) in self.log.entries.iter().filter(|(_, texts)| texts.len() > 1) {
            let headline = || {
                let held = texts.iter().map(|(text, place)| {
                    format!("{} for {}", short(text), process(self.events, Some(*place)))
                });
                format!("offset {offset} of key {} holds {}", short(self.key), list(held))
            };
            findings.add(Rule::Jepsen, "inconsistent-offsets", headline, || {
                let shown = texts.iter().take(LIST_MAX);
                let ops = shown.clone().map(|(_, place)| self.witness(Some(*place), *offset));
                json!({
                    "key": self.key,
                    "offset": offset,
                    "ops": ops.collect::<Vec<_>>(),
                    "values": shown.map(|(text, _)| to_value(text)).collect::<Vec<_>>(),
                })
            });
        }
        for (text, found) in self.log.messages.iter().filter(|(_, found)| found.offsets.len() > 1) {
            let place = |offset: &i64| self.log.entries.get(offset)?.get(text).copied();
            let headline = || {
                let held = found
                    .offsets
                    .iter()
                    .map(|offset| format!("{offset} for {}", process(self.events, place(offset))));
                let (text, key) = (short(text), short(self.key));
                format!("message {text} of key {key} is at offset {}", list(held))
            };
            findings.add(Rule::Jepsen, "duplicate", headline, || {
                let shown = found.offsets.iter().take(LIST_MAX);
                let ops = shown.clone().map(|offset| self.witness(place(offset), *offset));
                json!({
                    "key": self.key,
                    "value": to_value(text),
                    "count": found.offsets.len(),
                    "ops": ops.collect::<Vec<_>>(),
                    "offsets": shown.collect::<Vec<_>>(),
                })
            });
        }
    }

    /// Checks that each message that was read was sent to this key by a send that did not fail.
    fn senders(&self, findings: &mut Findings) {
        for (text, found) in self.log.messages.iter().filter(|(_, found)| found.poll.is_some()) {
            let (rule, kind) = match outcome(found, self.events) {
                None => (Rule::Stricter, PHANTOM),
                Some(OpType::Fail) => (Rule::Jepsen, "G1a"),
                Some(_) => continue,
            };
            let headline = || {
                let (reader, key) = (process(self.events, found.poll), short(self.key));
                let read = format!("{reader} read {} at offset {}", short(text), offset_of(found));
                match kind {
                    PHANTOM => format!("{read} of key {key}, to which nobody sent it"),
                    _ => {
                        let writer = process(self.events, found.send);
                        format!("{read} of key {key}, though {writer} failed to send it")
                    }
                }
            };
            findings.add(rule, kind, headline, || {
                let [writer, reader] = self.proofs(found);
                json!({
                    "key": self.key,
                    "value": to_value(text),
                    "writer": writer,
                    "reader": reader,
                })
            });
        }
    }

    /// Checks that someone read every acknowledged message up to the highest offset that was read.
    /// For a message at several offsets, the most favourable offset counts.
    fn lost(&self, findings: &mut Findings) {
        let read = self.log.messages.values().filter(|found| found.poll.is_some());
        let bound = read.filter_map(|found| Some((*found.offsets.first()?, found.poll))).max();
        let Some((bound, max_read)) = bound else {
            return;
        };
        for text in unseen(self.log, self.events) {
            let Some(lost) = self.log.messages.get(text) else {
                continue;
            };
            let Some(offset) = lost.offsets.last().copied().filter(|last| *last <= bound) else {
                continue;
            };
            let headline = || {
                let (writer, reader) =
                    (process(self.events, lost.send), process(self.events, max_read));
                let (text, key) = (short(text), short(self.key));
                format!(
                    "{writer} sent {text} to offset {offset} of key {key}, no poll shows it, and \
                     {reader} read offset {bound}"
                )
            };
            findings.add(Rule::Jepsen, "lost-write", headline, || {
                json!({
                    "key": self.key,
                    "value": to_value(text),
                    "offset": offset,
                    "index": self.log.index(offset),
                    "max-read-index": self.log.index(bound),
                    "writer": self.witness(lost.send, offset),
                    "max-read": self.witness(max_read, bound),
                })
            });
        }
    }
}
