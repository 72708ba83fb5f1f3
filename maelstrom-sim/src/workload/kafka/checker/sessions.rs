//! Checks the session of each process: each poll continues at its position, and each send comes
//! after the previous one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::values::{Assign, Offsets, Polled, highest};
use super::lag::Lag;
use super::log::{Event, Log, What};
use super::{Findings, Rule, process, witness};
use crate::checker::headline::{list, short};
use crate::history::OpType;

/// A client's position in a key, and the event that set it.
#[derive(Clone, Copy, Debug)]
struct Position {
    next: i64,
    place: usize,
    /// Whether a poll set it. Jepsen knows no other positions.
    polled: bool,
}

/// The session of a process: the offsets that it has seen.
#[derive(Debug, Default)]
struct Session {
    positions: BTreeMap<String, Position>,
    /// Its last send to each key: the offset and the event.
    sends: BTreeMap<String, (i64, usize)>,
    /// The keys whose last send Jepsen has forgotten, because a later assign left them out.
    forgotten: BTreeSet<String>,
    /// The highest committed offsets that it knows, each with the event.
    committed: BTreeMap<String, (i64, usize)>,
}

/// Checks the operations of each process in order. Returns the largest lag.
pub(super) fn check(
    events: &[Event<'_>],
    logs: &BTreeMap<String, Log<'_>>,
    findings: &mut Findings,
) -> Value {
    let mut sessions: BTreeMap<u64, Session> = BTreeMap::new();
    let mut check = SessionCheck { events, logs, findings };
    let mut lag = Lag::new(events);
    for (place, event) in events.iter().enumerate() {
        let session = sessions.entry(event.process).or_default();
        match &event.what {
            What::Sent { key, offset, message } => {
                if let Some(offset) = check.offset(event, key, *offset, message) {
                    check.sent(session, key, offset, place);
                }
            }
            What::Polled(polled) => {
                check.polled(session, polled, place);
                for (key, position) in &session.positions {
                    lag.measure(event, key, position.next);
                }
            }
            What::Assigned(assign) => check.assigned(session, assign, place),
        }
    }
    lag.worst()
}

/// The operations of these events, each with its content around an offset.
fn proofs(events: &[Event<'_>], key: &str, proofs: [(usize, i64); 2]) -> Vec<Value> {
    let proofs = proofs.into_iter();
    let proofs = proofs.filter_map(|(place, at)| Some((events.get(place)?, at)));
    proofs.map(|(event, at)| witness(event, key, at)).collect()
}

struct SessionCheck<'a> {
    events: &'a [Event<'a>],
    logs: &'a BTreeMap<String, Log<'a>>,
    findings: &'a mut Findings,
}

impl SessionCheck<'_> {
    /// The offset of a send. If its outcome is unknown, the offset at which polls show the message.
    fn offset(&self, event: &Event<'_>, key: &str, known: Option<i64>, text: &str) -> Option<i64> {
        let read = || {
            let sent = self.logs.get(key)?.messages.get(text)?;
            sent.offsets.last().copied()
        };
        known.or_else(|| if event.op.kind == OpType::Info { read() } else { None })
    }

    fn sent(&mut self, session: &mut Session, key: &str, offset: i64, place: usize) {
        let last = session.sends.insert(key.to_owned(), (offset, place));
        let rule = if session.forgotten.remove(key) { Rule::Stricter } else { Rule::Jepsen };
        if let Some((last, since)) = last.filter(|(last, _)| offset <= *last) {
            let headline = || {
                let (client, key) = (process(self.events, Some(place)), short(key));
                format!("{client} sent to offset {last} of key {key}, and then to offset {offset}")
            };
            self.findings.add(rule, "nonmonotonic-send", headline, || {
                let ops = proofs(self.events, key, [(since, last), (place, offset)]);
                json!({ "key": key, "offsets": [last, offset], "ops": ops })
            });
        }
    }

    fn polled(&mut self, session: &mut Session, polled: &Polled<'_>, place: usize) {
        for (key, pairs) in polled {
            let mut from = session.positions.get(key).copied();
            let mut kinds = ("poll-skip", "nonmonotonic-poll");
            for (offset, _) in pairs {
                if let Some(from) = from {
                    self.followed(
                        key,
                        from,
                        Position { next: *offset, place, polled: true },
                        kinds,
                    );
                }
                kinds = ("int-poll-skip", "int-nonmonotonic-poll");
                from = Some(Position { next: offset.saturating_add(1), place, polled: true });
            }
        }
        for (key, offset) in highest(polled) {
            if let Some(position) = session.positions.get_mut(&key) {
                let next = offset.saturating_add(1).max(position.next);
                *position = Position { next, place, polled: true };
            }
            // A poll commits the offsets that it read before it ends.
            let known = session.committed.entry(key).or_insert((offset, place));
            *known = (offset, place).max(*known);
        }
    }

    /// Checks that a client with position `from` continues at `to`.
    fn followed(
        &mut self,
        key: &str,
        from: Position,
        to: Position,
        (skip, nonmonotonic): (&'static str, &'static str),
    ) {
        let rule = if from.polled { Rule::Jepsen } else { Rule::Stricter };
        let log = self.logs.get(key);
        let (expected, found) =
            log.map_or((0, 0), |log| (log.index(from.next), log.index(to.next)));
        let ops = || proofs(self.events, key, [(from.place, from.next), (to.place, to.next)]);
        let read = || {
            let (client, key) = (process(self.events, Some(to.place)), short(key));
            let due = format!("{client}, due at offset {} of key {key},", from.next);
            format!("{due} read offset {} next", to.next)
        };
        if to.next < from.next {
            self.findings.add(
                rule,
                nonmonotonic,
                read,
                || json!({ "key": key, "expected": from.next, "offset": to.next, "ops": ops() }),
            );
        } else if found > expected {
            let skipped = log.map(|log| log.between(from.next, to.next)).unwrap_or_default();
            let headline = || {
                let skipped =
                    log.map_or_else(String::new, |log| list(log.range(from.next, to.next)));
                format!("{} and skipped {skipped}", read())
            };
            self.findings.add(rule, skip, headline, || {
                json!({
                    "key": key,
                    "expected": from.next,
                    "offset": to.next,
                    "delta": found - expected + 1,
                    "skipped": skipped,
                    "ops": ops(),
                })
            });
        }
    }

    fn assigned(&mut self, session: &mut Session, assign: &Assign, place: usize) {
        let old: Offsets =
            session.positions.iter().map(|(key, position)| (key.clone(), position.next)).collect();
        let left_out = session.sends.keys().filter(|key| !assign.keys.contains(key));
        session.forgotten.extend(left_out.cloned());
        let kept = std::mem::take(&mut session.positions);
        for (key, next) in assign.positions(&old) {
            let kept = kept.get(&key).copied().filter(|_| !assign.seek_to_beginning);
            session.positions.insert(key, kept.unwrap_or(Position { next, place, polled: false }));
        }
        let Some(committed) = &assign.committed else {
            return;
        };
        for key in &assign.keys {
            let listed = committed.get(key).copied();
            let known = session.committed.get(key).copied();
            if let Some((known, since)) = known.filter(|(known, _)| listed < Some(*known)) {
                let headline = || {
                    let (client, key) = (process(self.events, Some(place)), short(key));
                    let now = listed.map_or_else(|| "none".into(), |listed| listed.to_string());
                    format!("{client} knew commit {known} of key {key}, and was then told {now}")
                };
                self.findings.add(Rule::Stricter, "nonmonotonic-commit", headline, || {
                    let ops = proofs(self.events, key, [(since, known), (place, known)]);
                    json!({ "key": key, "known": known, "listed": listed, "ops": ops })
                });
            }
            if let Some(listed) =
                listed.filter(|listed| known.is_none_or(|(known, _)| *listed > known))
            {
                session.committed.insert(key.clone(), (listed, place));
            }
        }
    }
}
