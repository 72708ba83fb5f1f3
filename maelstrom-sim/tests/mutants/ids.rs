//! A generator of unique ids, and an echo.

use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
use maelstrom_sim::results::Results;
use maelstrom_sim::workload::{Echo, UniqueIds};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::hunt::is_caught_when;
use super::{is_caught, is_good, sweep};

#[derive(Clone, Copy, PartialEq)]
enum Mutation {
    None,
    NoIncarnation,
    NoNode,
    WallClockOnly,
    FewRandomBits,
    WaitsForItsClock,
    LyingEcho,
    SilentEcho,
}

struct Ids {
    mutation: Mutation,
    incarnation: u64,
    count: u64,
    /// The latest time that its wall clock has shown.
    latest: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Generate,
    Echo { echo: String },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    GenerateOk { id: String },
    EchoOk { echo: String },
}

impl Ids {
    fn new(mutation: Mutation) -> Self {
        Self { mutation, incarnation: 0, count: 0, latest: Duration::ZERO }
    }

    fn id(&mut self, node: &mut Node<NoEvent>) -> String {
        let (count, life) = (self.count, self.incarnation);
        match self.mutation {
            Mutation::NoIncarnation => format!("{}-{count}", node.id()),
            Mutation::NoNode => format!("{count}"),
            Mutation::WallClockOnly => format!("{}-{}", node.wall_clock().as_millis(), node.id()),
            Mutation::FewRandomBits => format!("{}", node.rng().next_u64() >> 50),
            _ => format!("{}-{life}-{count}", node.id()),
        }
    }
}

impl MessageHandler for Ids {
    type Payload = Payload;
    type Event = NoEvent;

    fn started(&mut self, node: &mut Node<NoEvent>) {
        self.incarnation = node.rng().next_u64();
    }

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        self.count += 1;
        match payload {
            Payload::Generate => {
                let wall_clock = node.wall_clock();
                self.latest = self.latest.max(wall_clock);
                if self.mutation == Mutation::WaitsForItsClock && wall_clock < self.latest {
                    return Ok(());
                }
                let id = self.id(node);
                node.reply(request, &Reply::GenerateOk { id });
            }
            Payload::Echo { echo } if self.count.is_multiple_of(20) => match self.mutation {
                Mutation::LyingEcho => node.reply(request, &Reply::EchoOk { echo: echo + "!" }),
                Mutation::SilentEcho => {}
                _ => node.reply(request, &Reply::EchoOk { echo }),
            },
            Payload::Echo { echo } => node.reply(request, &Reply::EchoOk { echo }),
        }
        Ok(())
    }
}

#[test]
fn the_good_generator_and_echo_are_never_blamed() {
    is_good(UniqueIds::default(), |_| Ids::new(Mutation::None));
    is_good(Echo::default(), |_| Ids::new(Mutation::None));
}

#[test]
fn every_broken_generator_and_echo_is_caught() {
    let ids = UniqueIds::default;
    for (mutation, name) in [
        (Mutation::NoIncarnation, "no incarnation"),
        (Mutation::NoNode, "no node"),
        (Mutation::WallClockOnly, "wall clock only"),
        (Mutation::FewRandomBits, "few random bits"),
    ] {
        is_caught(ids(), name, "duplicated-count", |_| Ids::new(mutation));
    }
    let echo = &sweep(Echo::default());
    is_caught(Echo::default(), "a lying echo", "errors", |_| Ids::new(Mutation::LyingEcho));
    let shows = |results: &Results| results.availability["valid?"] == false;
    is_caught_when(echo, "a silent echo", "availability", shows, |_| {
        Ids::new(Mutation::SilentEcho)
    });
}

#[test]
fn a_generator_that_goes_silent_for_good_is_found() {
    let sweep = sweep(UniqueIds::default());
    let found = (0..20).any(|seed| {
        let result = sweep.run(seed, |_| Ids::new(Mutation::WaitsForItsClock));
        result.is_err_and(|finding| finding.text.contains("all faults were over, generate of"))
    });
    assert!(found);
}
