//! Logs of messages. The first node, the leader, keeps all logs, and the others forward requests to
//! it. It does not tolerate crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, Node, Request, RpcResult};
use maelstrom_sim::history::OpType;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::Kafka;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hunt::is_caught;

/// How many seeds to run with the correct handler, unless `SEEDS` says otherwise.
const GOOD_SEEDS: u64 = 4;

/// The time after which a node sends a request to the leader again.
const RETRY_AFTER: Duration = Duration::from_millis(700);

/// How long a node retries. After that the client is about to time out, so it gets no reply at all.
const GIVE_UP_AFTER: Duration = Duration::from_secs(4);

/// How many entries of a key a poll returns.
const POLL_MAX: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mutation {
    None,
    OffsetReused,
    DuplicateOnRetry,
    AcknowledgeAndForget,
    ForgetTheNewest,
    RefuseAndStore,
    WrongKey,
    SendGoesBack,
    PollLeavesOneOut,
    PollStartsLate,
    PollStartsEarly,
    PollOutOfOrder,
    PollStuck,
    CommitForgotten,
    CommitGoesBack,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Send {
        key: String,
        msg: Value,
        /// Between nodes: the number of the send at the forwarding node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    Poll {
        offsets: BTreeMap<String, i64>,
    },
    CommitOffsets {
        offsets: BTreeMap<String, i64>,
    },
    ListCommittedOffsets {
        keys: Vec<String>,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "so they are called")]
enum Answer {
    SendOk { offset: i64 },
    PollOk { msgs: BTreeMap<String, Vec<(i64, Value)>> },
    CommitOffsetsOk,
    ListCommittedOffsetsOk { offsets: BTreeMap<String, i64> },
}

/// A client's request that was forwarded to the leader.
struct Passed {
    request: Request,
    payload: Payload,
    since: Duration,
    result: RpcResult,
}

struct Log {
    mutation: Mutation,
    /// How many sends this node has forwarded.
    passed: u64,
    logs: BTreeMap<String, Vec<(i64, Value)>>,
    committed: BTreeMap<String, i64>,
    /// The offsets of forwarded sends.
    answered: BTreeMap<(String, u64), i64>,
    sends: u64,
    polls: u64,
}

impl Log {
    fn new(mutation: Mutation) -> Self {
        let (logs, committed, answered) = Default::default();
        Self { mutation, passed: 0, logs, committed, answered, sends: 0, polls: 0 }
    }

    fn is_nth(&self, mutation: Mutation, count: u64, n: u64) -> bool {
        self.mutation == mutation && count.is_multiple_of(n)
    }

    fn append(&mut self, key: String, msg: Value) -> Result<i64, Error> {
        self.sends += 1;
        let n = self.sends;
        let other = self.logs.keys().find(|other| **other != key).cloned();
        let other = other.filter(|_| self.is_nth(Mutation::WrongKey, n, 10));
        let key = other.unwrap_or(key);
        let log = self.logs.entry(key).or_default();
        let last = log.last().map(|(offset, _)| *offset);
        // Offsets have gaps, which is allowed.
        let mut offset = last.map_or(0, |last| last + 10);
        match self.mutation {
            Mutation::OffsetReused if n.is_multiple_of(10) => offset = last.unwrap_or(0),
            Mutation::SendGoesBack if n.is_multiple_of(10) => offset = last.map_or(0, |o| o - 5),
            Mutation::AcknowledgeAndForget if n.is_multiple_of(10) => return Ok(offset),
            Mutation::ForgetTheNewest if n.is_multiple_of(10) => drop(log.pop()),
            _ => {}
        }
        log.push((offset, msg));
        log.sort_by_key(|(offset, _)| *offset);
        if self.is_nth(Mutation::RefuseAndStore, n, 10) {
            return Err(Error::temporarily_unavailable("not now"));
        }
        Ok(offset)
    }

    fn read(&mut self, key: &str, from: i64) -> Vec<(i64, Value)> {
        self.polls += 1;
        let log = self.logs.get(key).map(Vec::as_slice).unwrap_or_default();
        let mut first = log.partition_point(|(offset, _)| *offset < from);
        match self.mutation {
            Mutation::PollStartsEarly if self.polls.is_multiple_of(10) => {
                first = first.saturating_sub(1);
            }
            Mutation::PollStartsLate if self.polls.is_multiple_of(10) => first += 1,
            Mutation::PollStuck if log.len() > 8 => first = first.max(log.len()),
            _ => {}
        }
        let mut shown: Vec<_> = log.iter().skip(first).take(POLL_MAX).cloned().collect();
        if self.is_nth(Mutation::PollLeavesOneOut, self.polls, 10) && shown.len() > 2 {
            shown.remove(1);
        }
        if self.is_nth(Mutation::PollOutOfOrder, self.polls, 10) {
            shown.reverse();
        }
        shown
    }

    fn commit(&mut self, offsets: BTreeMap<String, i64>) {
        for (key, offset) in offsets {
            let committed = self.committed.entry(key).or_insert(offset);
            match self.mutation {
                Mutation::CommitForgotten => *committed = 0,
                Mutation::CommitGoesBack => *committed = (offset - 10).max(0),
                _ => *committed = offset.max(*committed),
            }
        }
    }

    /// Handles a request on the leader.
    fn answer(&mut self, from: &str, payload: Payload) -> Result<Answer, Error> {
        Ok(match payload {
            Payload::Send { key, msg, seq } => {
                let id = seq.map(|seq| (from.to_owned(), seq));
                let id = id.filter(|_| self.mutation != Mutation::DuplicateOnRetry);
                let known = id.as_ref().and_then(|id| self.answered.get(id)).copied();
                let offset = known.map_or_else(|| self.append(key, msg), Ok)?;
                self.answered.extend(id.map(|id| (id, offset)));
                Answer::SendOk { offset }
            }
            Payload::Poll { offsets } => {
                let msgs = offsets.into_iter().map(|(key, from)| {
                    let read = self.read(&key, from);
                    (key, read)
                });
                Answer::PollOk { msgs: msgs.collect() }
            }
            Payload::CommitOffsets { offsets } => {
                self.commit(offsets);
                Answer::CommitOffsetsOk
            }
            Payload::ListCommittedOffsets { keys } => {
                let offset = |key: String| Some((key.clone(), *self.committed.get(&key)?));
                let offsets = keys.into_iter().filter_map(offset).collect();
                Answer::ListCommittedOffsetsOk { offsets }
            }
        })
    }

    fn pass_on(node: &mut Node<Passed>, request: Request, payload: Payload, since: Duration) {
        let leader = node.node_ids()[0].clone();
        let again = payload.clone();
        node.rpc(&leader, &payload, RETRY_AFTER, move |result| Passed {
            request,
            payload: again,
            since,
            result,
        });
    }
}

impl MessageHandler for Log {
    type Payload = Payload;
    type Event = Passed;

    fn message(
        &mut self,
        node: &mut Node<Passed>,
        request: &Request,
        mut payload: Payload,
    ) -> Result<(), Error> {
        if node.node_ids().first() == Some(node.id()) {
            let answer = self.answer(request.src(), payload)?;
            node.reply(request, &answer);
            return Ok(());
        }
        if let Payload::Send { seq, .. } = &mut payload {
            self.passed += 1;
            *seq = Some(self.passed);
        }
        let now = node.now();
        Self::pass_on(node, request.clone(), payload, now);
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Passed>, passed: Passed) {
        let Passed { request, payload, since, result } = passed;
        match result.as_ref().map(maelstrom_core::Reply::decode::<Answer>) {
            Ok(Ok(answer)) => node.reply(&request, &answer),
            // An error may concern only this attempt.
            _ if node.now() < since + GIVE_UP_AFTER => {
                Self::pass_on(node, request, payload, since);
            }
            _ => {}
        }
    }
}

/// The faults that a single leader without a disk tolerates.
fn sweep() -> Sweep {
    let faults = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Crash);
    Sweep::new(Kafka::default(), faults)
}

#[test]
fn the_good_log_is_never_blamed() {
    sweep().test(GOOD_SEEDS, |_| Log::new(Mutation::None));
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    sweep().test_determinism(0..3, |_| Log::new(Mutation::None));
}

#[test]
fn every_message_of_the_good_log_is_read_in_the_end_and_nothing_odd_is_found() {
    for seed in 0..10 {
        let world = simulate(sweep().test_for(seed), |_| Log::new(Mutation::None));
        let fields = world.assert_valid().workload.fields;
        assert_eq!(fields["error-types"], serde_json::json!([]), "seed {seed}");
        let ends = world.history().client_ops().filter(|op| op.kind == OpType::Ok);
        let fs: BTreeSet<&str> = ends.map(|op| op.f).collect();
        assert_eq!(fs, BTreeSet::from(["assign", "poll", "send"]), "seed {seed}");
    }
}

#[test]
fn every_broken_log_is_caught() {
    for (mutation, name, figure) in [
        (Mutation::OffsetReused, "an offset twice", "inconsistent-offsets"),
        (Mutation::DuplicateOnRetry, "duplicate on retry", "duplicate"),
        (Mutation::AcknowledgeAndForget, "acknowledge and forget", "lost-write"),
        (Mutation::ForgetTheNewest, "forget the newest", "unseen"),
        (Mutation::RefuseAndStore, "refuse and store", "G1a"),
        (Mutation::WrongKey, "the wrong key", "phantom"),
        (Mutation::SendGoesBack, "a send goes back", "nonmonotonic-send"),
        (Mutation::PollLeavesOneOut, "a poll leaves one out", "int-poll-skip"),
        (Mutation::PollStartsLate, "a poll starts late", "poll-skip"),
        (Mutation::PollStartsEarly, "a poll starts early", "nonmonotonic-poll"),
        (Mutation::PollOutOfOrder, "a poll out of order", "int-nonmonotonic-poll"),
        (Mutation::PollStuck, "a poll shows no more", "unseen"),
    ] {
        is_caught(&sweep(), name, figure, |_| Log::new(mutation));
    }
}

#[test]
fn clients_that_do_not_catch_up_stop_after_ten_seconds() {
    let world = simulate(sweep().test_for(0), |_| Log::new(Mutation::PollStuck));
    let last = world.history().client_ops().filter(|op| op.kind == OpType::Invoke).last().unwrap();
    // 20 s of test, 10 s of recovery, and up to 5 s for open operations.
    assert!(last.is_final && last.f == "poll");
    assert!((39.0..45.1).contains(&last.time.as_secs_f64()), "{last:?}");
}

#[test]
fn a_committed_offset_that_goes_back_is_shown_though_it_is_allowed() {
    for mutation in [Mutation::CommitForgotten, Mutation::CommitGoesBack] {
        let shown = (0..20).any(|seed| {
            let world = simulate(sweep().test_for(seed), |_| Log::new(mutation));
            let results = world.assert_valid().workload;
            results.fields.contains_key("nonmonotonic-commit")
        });
        assert!(shown, "{mutation:?} is not shown");
    }
}
