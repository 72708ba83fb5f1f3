//! Generators of unique ids that hold on good hardware. A slow, stalled or failing disk, a slow link,
//! a loss of power or a clock that drifts must show what is wrong with them.

use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, Node, NodeId, Request};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::UniqueIds;
use serde::{Deserialize, Serialize};

use super::hunt::is_caught;

/// The mistake of a generator.
#[derive(Clone, Copy, PartialEq)]
enum Mutation {
    None,
    /// It replies before it persists that the id is used.
    RepliesFirst,
    /// Followers take over from a leader that does not answer within this time, and do not fence
    /// it.
    TakesOver(Duration),
    /// Its ids are its name, the ticks of its wall clock, and a number within the tick.
    WallClock,
}

/// Counts up, and persists each number that it hands out.
struct Counter {
    mutation: Mutation,
    next: u64,
    leader: usize,
    /// The wall clock in ticks of 10 ms at its last id, and how many ids it had handed out in that
    /// tick.
    latest: (u128, u64),
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Generate,
    GenerateOk {
        id: String,
    },
    /// Asks the leader for a number.
    Ask,
    Given {
        n: u64,
    },
}

/// The end of a request to the leader.
struct Asked {
    from: Request,
    answer: Option<u64>,
}

impl Counter {
    const fn new(mutation: Mutation) -> Self {
        Self { mutation, next: 0, leader: 0, latest: (0, 0) }
    }

    fn take(&mut self, node: &mut Node<Asked>) -> u64 {
        let n = self.next;
        self.next += 1;
        node.persist(&self.next);
        n
    }

    /// Hands out a number of its own, under its own name.
    fn own(&mut self, node: &mut Node<Asked>, from: &Request) {
        if self.mutation == Mutation::WallClock {
            let now = node.wall_clock().as_millis() / 10;
            let count = if now == self.latest.0 { self.latest.1 + 1 } else { 0 };
            self.latest = (now, count);
            let id = format!("{}-{now}-{count}", node.id());
            node.reply(from, &Payload::GenerateOk { id });
        } else if self.mutation == Mutation::RepliesFirst {
            let id = format!("{}-{}", node.id(), self.next);
            node.reply(from, &Payload::GenerateOk { id });
            self.take(node);
        } else {
            let n = self.take(node);
            let id = format!("{}-{n}", node.id());
            node.reply(from, &Payload::GenerateOk { id });
        }
    }
}

impl MessageHandler for Counter {
    type Payload = Payload;
    type Event = Asked;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.next = serde_json::from_slice(record).unwrap();
        Ok(())
    }

    fn message(
        &mut self,
        node: &mut Node<Asked>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Generate => {
                let Mutation::TakesOver(patience) = self.mutation else {
                    self.own(node, request);
                    return Ok(());
                };
                let leader = node.node_ids()[self.leader].clone();
                if leader == *node.id() {
                    let id = self.take(node).to_string();
                    node.reply(request, &Payload::GenerateOk { id });
                    return Ok(());
                }
                let from = request.clone();
                node.rpc(&leader, &Payload::Ask, patience, move |result| {
                    let answer = result.ok().and_then(|reply| reply.decode().ok());
                    let answer = answer.and_then(|payload| match payload {
                        Payload::Given { n } => Some(n),
                        _ => None,
                    });
                    Asked { from, answer }
                });
            }
            Payload::Ask => {
                let n = self.take(node);
                node.reply(request, &Payload::Given { n });
            }
            Payload::GenerateOk { .. } | Payload::Given { .. } => {}
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Asked>, Asked { from, answer }: Asked) {
        let n = match answer {
            Some(n) => n,
            None => {
                self.leader = node.node_ids().iter().position(|id| id == node.id()).unwrap();
                self.take(node)
            }
        };
        self.next = self.next.max(n + 1);
        node.reply(&from, &Payload::GenerateOk { id: n.to_string() });
    }
}

/// A sweep with one kind of fault.
fn only(fault: Fault) -> Sweep {
    Sweep::new(UniqueIds::default(), [fault])
}

#[test]
fn a_generator_that_persists_first_holds_on_any_disk() {
    let all = Fault::ALL.into_iter().chain(Fault::HARDWARE);
    let good = |_: &NodeId| Counter::new(Mutation::None);
    Sweep::new(UniqueIds::default(), all).test(3, good);
}

#[test]
fn a_failing_disk_shows_that_a_generator_replies_before_it_persists() {
    is_caught(&only(Fault::FailingDisk), "replies before it persists", "duplicated-count", |_| {
        Counter::new(Mutation::RepliesFirst)
    });
}

#[test]
fn a_loss_of_power_shows_that_a_generator_replies_before_it_persists() {
    is_caught(&only(Fault::PowerLoss), "replies first, power loss", "duplicated-count", |_| {
        Counter::new(Mutation::RepliesFirst)
    });
}

#[test]
fn a_slow_link_shows_that_generators_do_not_fence_a_leader_that_is_not_dead() {
    // No reply takes as long as that over good links.
    let build = |_: &NodeId| Counter::new(Mutation::TakesOver(Duration::from_millis(900)));
    Sweep::new(UniqueIds::default(), []).test(5, build);
    is_caught(&only(Fault::SlowLink), "an unfenced leader, slow link", "duplicated-count", build);
}

#[test]
fn a_slow_or_stalled_disk_shows_that_generators_do_not_fence_a_leader_that_is_not_dead() {
    // No reply takes as long as that from a good disk.
    let patience = Duration::from_millis(1_300);
    let build = |_: &NodeId| Counter::new(Mutation::TakesOver(patience));
    Sweep::new(UniqueIds::default(), []).test(5, build);
    is_caught(&only(Fault::SlowDisk), "an unfenced leader, slow disk", "duplicated-count", build);
    is_caught(&only(Fault::StalledDisk), "an unfenced leader, stalled", "duplicated-count", build);
}

#[test]
fn a_clock_that_drifts_shows_that_ids_are_times_of_the_wall_clock() {
    let build = |_: &NodeId| Counter::new(Mutation::WallClock);
    Sweep::new(UniqueIds::default(), []).test(5, build);
    is_caught(&only(Fault::Drift), "times as ids, drift", "duplicated-count", build);
}
