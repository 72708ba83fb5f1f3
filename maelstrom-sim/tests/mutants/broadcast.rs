//! A broadcast that sends all it has to everyone, again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, Node, Request};
use maelstrom_sim::checker::Results;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::workload::WorkloadKind;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::hunt::is_caught_when;
use super::{GOOD_SEEDS, is_caught, is_good, sweep};

const INTERVAL: Duration = Duration::from_millis(700);

/// How often a node tells all it has that does not wait for anything.
const STORM_INTERVAL: Duration = Duration::from_millis(20);

/// How many messages between nodes an operation may take: the good handler takes up to 21.
const MSGS_PER_OP_MAX: f64 = 60.0;

#[derive(Clone, Copy, PartialEq)]
enum Mutation {
    None,
    AcknowledgeAndForget,
    ForgetOnCrash,
    AcknowledgeBeforePersisting,
    TellOnce,
    TellOnlyTheNext,
    ReplaceInsteadOfMerge,
    StaleRead,
    ShowTwice,
    RefuseAndTake,
    MixUpValues,
    ResendForever,
}

struct Naive {
    mutation: Mutation,
    values: BTreeSet<u64>,
    first_read: Option<BTreeSet<u64>>,
    taken: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Topology,
    Broadcast { message: u64 },
    Tell { values: BTreeSet<u64> },
    Read,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<'a> {
    TopologyOk,
    BroadcastOk,
    Tell { values: &'a BTreeSet<u64> },
    ReadOk { messages: Vec<u64> },
}

impl Naive {
    fn new(mutation: Mutation) -> Self {
        Self { mutation, values: BTreeSet::new(), first_read: None, taken: 0 }
    }

    fn is_nth(&self, mutation: Mutation, n: u64) -> bool {
        self.mutation == mutation && self.taken.is_multiple_of(n)
    }

    fn take(&mut self, node: &mut Node<()>, request: &Request, value: u64) -> Result<(), Error> {
        self.taken += 1;
        let value = if self.is_nth(Mutation::MixUpValues, 10) { value + 1_000_000 } else { value };
        if self.is_nth(Mutation::AcknowledgeAndForget, 10) {
            node.reply(request, &Reply::BroadcastOk);
            return Ok(());
        }
        self.values.insert(value);
        match self.mutation {
            Mutation::ForgetOnCrash => node.reply(request, &Reply::BroadcastOk),
            Mutation::AcknowledgeBeforePersisting => {
                node.reply(request, &Reply::BroadcastOk);
                node.persist(&value);
            }
            _ => {
                node.persist(&value);
                if self.is_nth(Mutation::RefuseAndTake, 10) {
                    return Err(Error::temporarily_unavailable("not now"));
                }
                node.reply(request, &Reply::BroadcastOk);
            }
        }
        if self.mutation == Mutation::TellOnce {
            self.tell(node);
        }
        Ok(())
    }

    fn tell(&self, node: &mut Node<()>) {
        let mut peers: Vec<_> = node.peers().cloned().collect();
        if self.mutation == Mutation::TellOnlyTheNext {
            peers.retain(|peer| peer > node.id());
        }
        for peer in &peers {
            node.send(peer, &Reply::Tell { values: &self.values });
        }
    }

    fn messages(&mut self) -> Vec<u64> {
        match self.mutation {
            Mutation::StaleRead => {
                self.first_read.get_or_insert(self.values.clone()).iter().copied().collect()
            }
            Mutation::ShowTwice => self.values.iter().chain(self.values.first()).copied().collect(),
            _ => self.values.iter().copied().collect(),
        }
    }
}

impl MessageHandler for Naive {
    type Payload = Payload;
    type Event = ();

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let raw: &RawValue = serde_json::from_slice(record).unwrap();
        self.values.insert(raw.get().parse().unwrap());
        Ok(())
    }

    fn started(&mut self, node: &mut Node<()>) {
        node.set_timer(INTERVAL, ());
    }

    fn message(
        &mut self,
        node: &mut Node<()>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Topology => node.reply(request, &Reply::TopologyOk),
            Payload::Broadcast { message } => self.take(node, request, message)?,
            Payload::Read => {
                let messages = self.messages();
                node.reply(request, &Reply::ReadOk { messages });
            }
            Payload::Tell { values } => {
                if self.mutation == Mutation::ReplaceInsteadOfMerge {
                    self.values = values;
                } else {
                    self.values.extend(values);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<()>, (): ()) {
        if self.mutation != Mutation::TellOnce {
            self.tell(node);
        }
        let storms = self.mutation == Mutation::ResendForever;
        node.set_timer(if storms { STORM_INTERVAL } else { INTERVAL }, ());
    }
}

#[test]
fn the_good_broadcast_is_never_blamed() {
    is_good(WorkloadKind::Broadcast, |_| Naive::new(Mutation::None));
}

fn floods(results: &Results) -> bool {
    let figure = results.net["servers"]["msgs-per-op"].as_f64();
    figure.is_some_and(|msgs_per_op| msgs_per_op > MSGS_PER_OP_MAX)
}

#[test]
fn a_broadcast_that_resends_for_ever_is_caught_by_what_an_operation_costs() {
    let sweep = sweep(WorkloadKind::Broadcast);
    for seed in 0..GOOD_SEEDS {
        let world = simulate(sweep.options(seed), |_| Naive::new(Mutation::None));
        assert!(!floods(&world.results()), "seed {seed}");
    }
    is_caught_when(&sweep, "resend forever", "msgs-per-op", floods, |_| {
        Naive::new(Mutation::ResendForever)
    });
}

#[test]
fn every_broken_broadcast_is_caught() {
    for (mutation, name, figure) in [
        (Mutation::AcknowledgeAndForget, "acknowledge and forget", "lost-count"),
        (Mutation::ForgetOnCrash, "forget on crash", "lost-count"),
        (Mutation::AcknowledgeBeforePersisting, "acknowledge before storing", "lost-count"),
        (Mutation::TellOnce, "tell once, never again", "lost-count"),
        (Mutation::TellOnlyTheNext, "tell some, not all", "diverged-count"),
        (Mutation::ReplaceInsteadOfMerge, "replace instead of merge", "lost-count"),
        (Mutation::StaleRead, "stale reads for ever", "lost-count"),
        (Mutation::ShowTwice, "show a value twice", "duplicated-count"),
        (Mutation::RefuseAndTake, "refuse and take", "resurrected-count"),
        (Mutation::MixUpValues, "take another value", "phantom-count"),
    ] {
        is_caught(WorkloadKind::Broadcast, name, figure, |_| Naive::new(mutation));
    }
}
