//! A set whose nodes send all elements to all other nodes again and again. It serves `broadcast`
//! and `g-set`.

use std::collections::BTreeSet;
use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, Node, Request};
use maelstrom_sim::results::Results;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::workload::{Broadcast, GSet};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::hunt::is_caught_when;
use super::{GOOD_SEEDS, is_caught, is_good, sweep};

const INTERVAL: Duration = Duration::from_millis(700);

/// How often a node that floods the network sends all its elements.
const STORM_INTERVAL: Duration = Duration::from_millis(20);

/// The most messages between nodes per operation. The correct handler takes up to 21.
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
    is_broadcast: bool,
    values: BTreeSet<u64>,
    first_read: Option<BTreeSet<u64>>,
    taken: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Topology,
    #[serde(alias = "broadcast")]
    Add {
        #[serde(alias = "message")]
        element: u64,
    },
    Tell {
        values: BTreeSet<u64>,
    },
    Read,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<'a> {
    TopologyOk,
    BroadcastOk,
    AddOk,
    Tell {
        values: &'a BTreeSet<u64>,
    },
    #[serde(rename = "read_ok")]
    Messages {
        messages: Vec<u64>,
    },
    #[serde(rename = "read_ok")]
    Value {
        value: Vec<u64>,
    },
}

impl Naive {
    fn broadcast(mutation: Mutation) -> Self {
        Self { is_broadcast: true, ..Self::set(mutation) }
    }

    fn set(mutation: Mutation) -> Self {
        Self { mutation, is_broadcast: false, values: BTreeSet::new(), first_read: None, taken: 0 }
    }

    fn is_nth(&self, mutation: Mutation, n: u64) -> bool {
        self.mutation == mutation && self.taken.is_multiple_of(n)
    }

    fn take(&mut self, node: &mut Node<()>, request: &Request, value: u64) -> Result<(), Error> {
        self.taken += 1;
        let value = if self.is_nth(Mutation::MixUpValues, 10) { value + 1_000_000 } else { value };
        if self.is_nth(Mutation::AcknowledgeAndForget, 10) {
            node.reply(request, &self.added());
            return Ok(());
        }
        self.values.insert(value);
        match self.mutation {
            Mutation::ForgetOnCrash => node.reply(request, &self.added()),
            Mutation::AcknowledgeBeforePersisting => {
                node.reply(request, &self.added());
                node.persist(&value);
            }
            _ => {
                node.persist(&value);
                if self.is_nth(Mutation::RefuseAndTake, 10) {
                    return Err(Error::temporarily_unavailable("not now"));
                }
                node.reply(request, &self.added());
            }
        }
        if self.mutation == Mutation::TellOnce {
            self.tell(node);
        }
        Ok(())
    }

    fn added(&self) -> Reply<'static> {
        if self.is_broadcast { Reply::BroadcastOk } else { Reply::AddOk }
    }

    fn tell(&self, node: &mut Node<()>) {
        let mut peers: Vec<_> = node.peers().collect();
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
            Payload::Add { element } => self.take(node, request, element)?,
            Payload::Read if self.is_broadcast => {
                let messages = self.messages();
                node.reply(request, &Reply::Messages { messages });
            }
            Payload::Read => {
                let value = self.messages();
                node.reply(request, &Reply::Value { value });
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
fn the_good_set_is_never_blamed() {
    is_good(Broadcast::default(), |_| Naive::broadcast(Mutation::None));
    is_good(GSet::default(), |_| Naive::set(Mutation::None));
}

fn floods(results: &Results) -> bool {
    let figure = results.net["servers"]["msgs-per-op"].as_f64();
    figure.is_some_and(|msgs_per_op| msgs_per_op > MSGS_PER_OP_MAX)
}

#[test]
fn a_broadcast_that_resends_for_ever_is_caught_by_the_cost_of_an_operation() {
    let sweep = sweep(Broadcast::default());
    for seed in 0..GOOD_SEEDS {
        let world = simulate(sweep.test_for(seed), |_| Naive::broadcast(Mutation::None));
        assert!(!floods(&world.results()), "seed {seed}");
    }
    is_caught_when(&sweep, "resend forever", "msgs-per-op", floods, |_| {
        Naive::broadcast(Mutation::ResendForever)
    });
}

#[test]
fn every_broken_set_is_caught() {
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
        is_caught(Broadcast::default(), name, figure, |_| Naive::broadcast(mutation));
        is_caught(GSet::default(), name, figure, |_| Naive::set(mutation));
    }
}
