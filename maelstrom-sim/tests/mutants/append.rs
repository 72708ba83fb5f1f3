//! Transactions over lists. The first node, the leader, keeps all lists, and the others forward
//! transactions to it. It does not tolerate crashes.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{Error, ErrorCode, MessageHandler, Node, Request, RpcResult};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::TxnListAppend;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::hunt::is_caught;

/// How many seeds to run with the correct handler, unless `SEEDS` says otherwise.
const GOOD_SEEDS: u64 = 4;

/// The time after which a node sends a request to the leader again.
const RETRY_AFTER: Duration = Duration::from_millis(700);

/// How long a node retries. After that the client is about to time out, so it gets no reply at all.
const GIVE_UP_AFTER: Duration = Duration::from_secs(4);

/// How long a part of a transaction is delayed, and how old a copy gets.
const LATER: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mutation {
    None,
    /// An aborted transaction has appended.
    DirtyAppend,
    /// The leader acknowledges every tenth append but does not keep it.
    LostElement,
    /// A transaction that is forwarded again runs again.
    RunAgain,
    /// Other nodes reply with the lists that they saw last.
    StaleCache,
    /// The first append of a transaction appears at once, and the others later.
    HalfApplied,
    /// Other nodes swap the last two elements of a list.
    Swapped,
    /// Reads use a copy of all lists that is renewed now and then.
    OldCopy,
    /// Each append of a transaction is visible before the next one runs.
    Piecemeal,
}

type MicroOp = (String, u64, Value);
type Lists = BTreeMap<u64, Vec<Value>>;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Txn {
        txn: Vec<MicroOp>,
        /// Between nodes: the number of the transaction at the forwarding node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    TxnOk { txn: Vec<MicroOp> },
}

enum Event {
    /// The leader's reply to a forwarded transaction.
    Passed {
        request: Request,
        payload: Payload,
        since: Duration,
        result: RpcResult,
    },
    /// Apply the delayed appends.
    Later(Vec<MicroOp>),
    /// Continue a transaction of which this many operations have run.
    Continue(Request, Vec<MicroOp>, usize),
    Renew,
}

struct Store {
    mutation: Mutation,
    /// How many transactions this node has forwarded.
    passed: u64,
    lists: Lists,
    copy: Lists,
    appends: u64,
    /// The replies to forwarded transactions.
    answered: BTreeMap<(String, u64), Answer>,
}

/// Runs operations one after the other.
fn run(lists: &mut Lists, txn: &mut [MicroOp]) {
    for (f, key, value) in txn {
        let list = lists.entry(*key).or_default();
        if f == "append" {
            list.push(value.clone());
        } else {
            *value = json!(list);
        }
    }
}

fn appends(txn: &[MicroOp]) -> Vec<MicroOp> {
    txn.iter().filter(|(f, ..)| f == "append").cloned().collect()
}

impl Store {
    fn new(mutation: Mutation) -> Self {
        let (lists, copy, answered) = Default::default();
        Self { mutation, passed: 0, lists, copy, appends: 0, answered }
    }

    /// Runs a transaction on the leader.
    fn transact(&mut self, node: &mut Node<Event>, txn: &mut [MicroOp]) {
        let mut after = match self.mutation {
            Mutation::OldCopy => self.copy.clone(),
            _ => self.lists.clone(),
        };
        run(&mut after, txn);
        let mut new = appends(txn);
        if self.mutation == Mutation::LostElement {
            let appends = &mut self.appends;
            new.retain(|_| {
                *appends += 1;
                !appends.is_multiple_of(10)
            });
        }
        if self.mutation == Mutation::HalfApplied && new.len() > 1 {
            node.set_timer(LATER, Event::Later(new.split_off(1)));
        }
        run(&mut self.lists, &mut new);
    }

    /// Handles a transaction of a client or another node on the leader.
    fn answer(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let Payload::Txn { mut txn, seq } = payload;
        let id = seq.map(|seq| (request.src().to_string(), seq));
        let id = id.filter(|_| self.mutation != Mutation::RunAgain);
        if let Some(known) = id.as_ref().and_then(|id| self.answered.get(id)) {
            node.reply(request, known);
            return Ok(());
        }
        if self.mutation == Mutation::Piecemeal && seq.is_none() {
            self.go_on(node, request.clone(), txn, 0);
            return Ok(());
        }
        // Only clients get an abort, because another node would retry. A read-only transaction
        // conflicts with no other.
        let may_abort = seq.is_none() && !appends(&txn).is_empty();
        let abort = may_abort && node.rng().random_bool(0.05);
        if abort && self.mutation != Mutation::DirtyAppend {
            return Err(Error::new(ErrorCode::TxnConflict, "not today"));
        }
        self.transact(node, &mut txn);
        if abort {
            return Err(Error::new(ErrorCode::TxnConflict, "too late"));
        }
        let answer = Answer::TxnOk { txn };
        node.reply(request, &answer);
        self.answered.extend(id.map(|id| (id, answer)));
        Ok(())
    }

    /// Runs the next operation of a slow transaction.
    fn go_on(
        &mut self,
        node: &mut Node<Event>,
        request: Request,
        mut txn: Vec<MicroOp>,
        at: usize,
    ) {
        run(&mut self.lists, &mut txn[at..=at]);
        if at + 1 < txn.len() {
            return node.set_timer(LATER / 10, Event::Continue(request, txn, at + 1));
        }
        node.reply(&request, &Answer::TxnOk { txn });
    }

    fn pass_on(node: &mut Node<Event>, request: Request, payload: Payload, since: Duration) {
        let leader = node.node_ids()[0].clone();
        let again = payload.clone();
        node.rpc(&leader, &payload, RETRY_AFTER, move |result| Event::Passed {
            request,
            payload: again,
            since,
            result,
        });
    }

    /// Relays the leader's reply to a client.
    fn relay(&mut self, node: &mut Node<Event>, request: &Request, answer: Answer) {
        let Answer::TxnOk { mut txn } = answer;
        for (_, key, value) in txn.iter_mut().filter(|(f, ..)| f == "r") {
            if let Value::Array(list) = value {
                self.copy.insert(*key, list.clone());
                let last = list.len();
                if self.mutation == Mutation::Swapped && last > 1 {
                    list.swap(last - 1, last - 2);
                }
            }
        }
        node.reply(request, &Answer::TxnOk { txn });
    }
}

impl MessageHandler for Store {
    type Payload = Payload;
    type Event = Event;

    fn started(&mut self, node: &mut Node<Event>) {
        if self.mutation == Mutation::OldCopy {
            node.set_timer(LATER, Event::Renew);
        }
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        if node.node_ids().first() == Some(node.id()) {
            return self.answer(node, request, payload);
        }
        let Payload::Txn { mut txn, .. } = payload;
        let knows = |(f, key, _): &MicroOp| f == "r" && self.copy.contains_key(key);
        if self.mutation == Mutation::StaleCache && txn.iter().all(knows) {
            run(&mut self.copy, &mut txn);
            node.reply(request, &Answer::TxnOk { txn });
            return Ok(());
        }
        self.passed += 1;
        let (seq, now) = (Some(self.passed), node.now());
        Self::pass_on(node, request.clone(), Payload::Txn { txn, seq }, now);
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Passed { request, payload, since, result } => {
                match result.as_ref().map(maelstrom_core::Reply::decode::<Answer>) {
                    Ok(Ok(answer)) => self.relay(node, &request, answer),
                    // An error may concern only this attempt.
                    _ if node.now() < since + GIVE_UP_AFTER => {
                        Self::pass_on(node, request, payload, since);
                    }
                    _ => {}
                }
            }
            Event::Later(mut appends) => run(&mut self.lists, &mut appends),
            Event::Continue(request, txn, at) => self.go_on(node, request, txn, at),
            Event::Renew => {
                self.copy = self.lists.clone();
                node.set_timer(LATER, Event::Renew);
            }
        }
    }
}

/// The faults that a single leader without a disk tolerates.
fn sweep() -> Sweep {
    let faults = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Crash);
    let workload = TxnListAppend { final_reads: true, ..TxnListAppend::default() };
    Sweep::new(workload, faults)
}

#[test]
fn the_good_store_is_never_blamed() {
    sweep().test(GOOD_SEEDS, |_| Store::new(Mutation::None));
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    sweep().test_determinism(0..2, |_| Store::new(Mutation::None));
}

#[test]
fn every_broken_store_is_caught() {
    for (mutation, name, anomaly) in [
        (Mutation::DirtyAppend, "dirty append", "G1a"),
        (Mutation::DirtyAppend, "dirty append", "dirty-update"),
        (Mutation::LostElement, "acknowledge and forget", "lost-write"),
        (Mutation::RunAgain, "run again on retry", "duplicate-elements"),
        (Mutation::StaleCache, "answers from a cache", "stale-read-realtime"),
        (Mutation::HalfApplied, "half of a transaction at first", "non-atomic-view"),
        (Mutation::HalfApplied, "half of a transaction at first", "fractured-read"),
        (Mutation::Swapped, "another order elsewhere", "incompatible-order"),
        (Mutation::OldCopy, "reads from a copy", "lost-update"),
        (Mutation::Piecemeal, "no isolation", "G1b"),
        (Mutation::Piecemeal, "no isolation", "G0"),
    ] {
        is_caught(&sweep(), name, anomaly, |_| Store::new(mutation));
    }
}
