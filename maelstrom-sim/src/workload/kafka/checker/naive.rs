//! Compares the checker with a naive one, which follows the definitions, on small random histories.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::check;
use crate::history::{History, Op, OpType, Process};

const KEYS: [&str; 2] = ["a", "b"];

/// An operation of a process, with its outcome.
#[derive(Clone, Debug)]
enum Did {
    /// Sends send the messages 0, 1, 2, …, in order.
    Send {
        key: usize,
        offset: i64,
        kind: OpType,
    },
    Poll(BTreeMap<usize, Vec<(i64, usize)>>),
    Assign {
        keys: BTreeSet<usize>,
        committed: Option<BTreeMap<usize, i64>>,
    },
}

fn did() -> impl Strategy<Value = Did> {
    let kinds = prop_oneof![
        4 => Just(OpType::Ok),
        1 => Just(OpType::Info),
        1 => Just(OpType::Fail),
        1 => Just(OpType::Invoke),
    ];
    let pairs = prop::collection::vec((0..6i64, 0..8usize), 0..4);
    // Most polls show the message that was most likely sent to an offset, so that some histories
    // are valid.
    let right = (0..5usize, 0..4usize)
        .prop_map(|(from, n)| (0i64..).zip(0..).skip(from).take(n).collect::<Vec<_>>());
    let pairs = prop_oneof![1 => pairs, 3 => right];
    let keys = || 0..KEYS.len();
    prop_oneof![
        4 => (keys(), 0..6i64, kinds)
            .prop_map(|(key, offset, kind)| Did::Send { key, offset, kind }),
        4 => prop::collection::btree_map(keys(), pairs, 0..3).prop_map(Did::Poll),
        2 => (
            prop::collection::btree_set(keys(), 0..3),
            prop::option::of(prop::collection::btree_map(keys(), 0..5i64, 0..3)),
        ).prop_map(|(keys, committed)| Did::Assign { keys, committed }),
    ]
}

type Event = (u64, Did);

fn history(events: &[Event]) -> History {
    let mut history = History::default();
    let mut message = 0;
    for (process, did) in events {
        let (kind, f, value) = match did {
            Did::Send { key, offset, kind } => {
                let text =
                    if *kind == OpType::Ok { json!([offset, message]) } else { json!(message) };
                message += 1;
                (*kind, "send", json!([KEYS[*key], text]))
            }
            Did::Poll(polled) => {
                let polled =
                    polled.iter().map(|(key, pairs)| (KEYS[*key].to_owned(), json!(pairs)));
                (OpType::Ok, "poll", Value::Object(polled.collect()))
            }
            Did::Assign { keys, committed } => {
                let keys: Vec<&str> = keys.iter().map(|key| KEYS[*key]).collect();
                let value = match committed {
                    None => json!({ "keys": keys, "seek-to-beginning?": true }),
                    Some(offsets) => {
                        let offsets: BTreeMap<&str, i64> =
                            offsets.iter().map(|(key, offset)| (KEYS[*key], *offset)).collect();
                        json!({ "keys": keys, "committed": offsets })
                    }
                };
                (OpType::Ok, "assign", value)
            }
        };
        let value = serde_json::value::to_raw_value(&value).ok();
        history.push(Op { value, ..Op::new(Process::Client(*process), kind, f) });
    }
    history
}

/// All known facts, in one table each.
struct Naive<'a> {
    events: &'a [Event],
    /// Message, key, acknowledged offset, outcome, index.
    sends: Vec<(usize, usize, Option<i64>, OpType, usize)>,
    /// Key, offset, message.
    reads: BTreeSet<(usize, i64, usize)>,
    known: BTreeSet<(usize, i64, usize)>,
}

impl<'a> Naive<'a> {
    fn new(events: &'a [Event]) -> Self {
        let (mut sends, mut reads) = (Vec::new(), BTreeSet::new());
        for (place, (_, did)) in events.iter().enumerate() {
            match did {
                Did::Send { key, offset, kind } => {
                    let offset = (*kind == OpType::Ok).then_some(*offset);
                    sends.push((sends.len(), *key, offset, *kind, place));
                }
                Did::Poll(polled) => {
                    for (key, pairs) in polled {
                        reads.extend(
                            pairs.iter().map(|(offset, message)| (*key, *offset, *message)),
                        );
                    }
                }
                Did::Assign { .. } => {}
            }
        }
        let acknowledged = sends
            .iter()
            .filter_map(|(message, key, offset, ..)| Some((*key, (*offset)?, *message)));
        let known = acknowledged.chain(reads.iter().copied()).collect();
        Self { events, sends, reads, known }
    }

    fn offsets(&self, key: usize, message: usize) -> BTreeSet<i64> {
        let same = self.known.iter().filter(|(k, _, m)| (*k, *m) == (key, message));
        same.map(|(_, offset, _)| *offset).collect()
    }

    fn is_read(&self, key: usize, message: usize) -> bool {
        self.reads.iter().any(|(k, _, m)| (*k, *m) == (key, message))
    }

    fn content(&self, found: &mut Vec<&'static str>) {
        for key in 0..KEYS.len() {
            for offset in 0..10 {
                let here = self.known.iter().filter(|(k, o, _)| (*k, *o) == (key, offset));
                found.extend((here.count() > 1).then_some("inconsistent-offsets"));
            }
            let read = (0..100).filter(|message| self.is_read(key, *message));
            let bound = read.filter_map(|m| self.offsets(key, m).first().copied()).max();
            for message in 0..100 {
                let offsets = self.offsets(key, message);
                found.extend((offsets.len() > 1).then_some("duplicate"));
                let sent = self.sends.iter().find(|(m, k, ..)| (*m, *k) == (message, key));
                let outcome = sent.map(|(_, _, _, kind, _)| *kind);
                if self.is_read(key, message) {
                    found.extend((outcome == Some(OpType::Fail)).then_some("G1a"));
                    found.extend(outcome.is_none().then_some("phantom"));
                } else if outcome == Some(OpType::Ok) {
                    found.push("unseen");
                    found.extend((offsets.last().copied() <= bound).then_some("lost-write"));
                }
            }
        }
    }

    /// The position of a process in a key before the event at `place`.
    fn position(&self, process: u64, key: usize, place: usize) -> Option<i64> {
        let before = self.events.iter().enumerate().take(place);
        let (assigned, keys, committed) = before
            .filter_map(|(at, (by, did))| match did {
                Did::Assign { keys, committed } if *by == process => Some((at, keys, committed)),
                _ => None,
            })
            .next_back()?;
        if !keys.contains(&key) {
            return None;
        }
        let from = match committed {
            None => 0,
            Some(offsets) => self
                .position(process, key, assigned)
                .unwrap_or_else(|| offsets.get(&key).map_or(0, |offset| offset + 1)),
        };
        Some(from.max(self.polled(process, key, assigned, place).map_or(0, |offset| offset + 1)))
    }

    /// The highest offset that a process polls between two events.
    fn polled(&self, process: u64, key: usize, from: usize, to: usize) -> Option<i64> {
        let events = self.events.iter().take(to).skip(from);
        let polls = events.filter_map(|(by, did)| match did {
            Did::Poll(polled) if *by == process => polled.get(&key),
            _ => None,
        });
        polls.flatten().map(|(offset, _)| *offset).max()
    }

    fn polls(&self, found: &mut Vec<&'static str>) {
        for (place, (process, did)) in self.events.iter().enumerate() {
            let Did::Poll(polled) = did else { continue };
            for (key, pairs) in polled {
                let starts = self.position(*process, *key, place).into_iter().map(Some);
                let nexts = pairs.iter().map(|(offset, _)| *offset);
                let first = starts.chain(std::iter::once(None)).next().flatten();
                let froms =
                    std::iter::once(first).chain(nexts.clone().map(|offset| Some(offset + 1)));
                for (nth, (from, to)) in froms.zip(nexts).enumerate() {
                    let Some(from) = from else { continue };
                    let skips =
                        self.known.iter().any(|(k, o, _)| k == key && (from..to).contains(o));
                    let (skip, back) = match nth {
                        0 => ("poll-skip", "nonmonotonic-poll"),
                        _ => ("int-poll-skip", "int-nonmonotonic-poll"),
                    };
                    found.extend(skips.then_some(skip));
                    found.extend((to < from).then_some(back));
                }
            }
        }
    }

    fn sends(&self, found: &mut Vec<&'static str>) {
        for process in 0..3 {
            for key in 0..KEYS.len() {
                let mine = self
                    .sends
                    .iter()
                    .filter(|(_, k, _, _, place)| *k == key && self.events[*place].0 == process);
                let offsets: Vec<i64> = mine
                    .filter_map(|(message, _, offset, kind, _)| match kind {
                        OpType::Info => self.offsets(key, *message).last().copied(),
                        _ => *offset,
                    })
                    .collect();
                let back = offsets.windows(2).filter(|pair| pair[1] <= pair[0]);
                found.extend(back.map(|_| "nonmonotonic-send"));
            }
        }
    }

    fn commits(&self, found: &mut Vec<&'static str>) {
        for (place, (process, did)) in self.events.iter().enumerate() {
            let Did::Assign { keys, committed: Some(committed) } = did else { continue };
            for key in keys {
                let listed = self.events.iter().take(place).filter_map(|(by, did)| match did {
                    Did::Assign { keys, committed: Some(committed) }
                        if by == process && keys.contains(key) =>
                    {
                        committed.get(key).copied()
                    }
                    _ => None,
                });
                let known = listed.max().max(self.polled(*process, *key, 0, place));
                let back = known.is_some() && committed.get(key).copied() < known;
                found.extend(back.then_some("nonmonotonic-commit"));
            }
        }
    }
}

/// How often the naive checker finds each kind.
fn naive(events: &[Event]) -> BTreeMap<String, u64> {
    let (naive, mut found) = (Naive::new(events), Vec::new());
    naive.content(&mut found);
    naive.polls(&mut found);
    naive.sends(&mut found);
    naive.commits(&mut found);
    let mut counts = BTreeMap::new();
    for kind in found {
        *counts.entry(kind.to_owned()).or_default() += 1;
    }
    counts
}

proptest! {
    #[test]
    fn all_that_is_found_by_definition_is_found_and_nothing_else(
        events in prop::collection::vec((0..3u64, did()), 0..16),
    ) {
        let fields = check(&history(&events), &[]).fields;
        let counts: BTreeMap<String, u64> = fields
            .iter()
            .filter_map(|(kind, value)| Some((kind.clone(), value.get("count")?.as_u64()?)))
            .collect();
        prop_assert_eq!(counts, naive(&events));
    }
}
