//! Tests the propagation latency with figures that can be computed by hand.

use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, NoEvent, Node, NodeId, Request};
use serde::{Deserialize, Serialize};

use super::*;
use crate::Test;
use crate::limits::Limits;
use crate::options::{Latency, LatencyDist, Options};
use crate::report::Report;
use crate::report::figures::figures;
use crate::simulate::simulate;
use crate::workload::{Broadcast, Echo};

/// Passes each value on along the line n0, n1, n2, with a number and in a list.
struct Relay {
    values: Vec<u64>,
    sent: u64,
    /// Whether it passes values on in a form that nobody else understands.
    is_secret: bool,
    /// A number that it sends with each value.
    guess: u64,
    /// Whether it keeps each third value for itself.
    loses_thirds: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Topology {},
    TopologyOk,
    Broadcast {
        message: u64,
    },
    BroadcastOk,
    Read,
    ReadOk {
        messages: Vec<u64>,
    },
    /// Beside the values are a count of messages, which begins like the values, a time, and a
    /// number that may be a value that the sender does not have yet.
    Pass {
        number: u64,
        now: u64,
        guess: u64,
        batch: Vec<u64>,
    },
    Secret {
        text: String,
    },
}

impl Relay {
    fn new(is_secret: bool, guess: u64) -> Self {
        Self { values: Vec::new(), sent: 0, is_secret, guess, loses_thirds: false }
    }

    fn add(&mut self, node: &mut Node<NoEvent>, from: &NodeId, value: u64) {
        self.values.push(value);
        if self.loses_thirds && value.is_multiple_of(3) {
            return;
        }
        let all = std::sync::Arc::clone(node.node_ids());
        let own = all.iter().position(|id| id == node.id()).unwrap();
        for (at, peer) in all.iter().enumerate().filter(|(at, _)| at.abs_diff(own) == 1) {
            if all[at] == *from {
                continue;
            }
            let now = u64::try_from(node.now().as_nanos()).unwrap();
            let (number, guess) = (self.sent, self.guess);
            let pass = Payload::Pass { number, now, guess, batch: vec![value] };
            let secret = Payload::Secret { text: format!("<{value}>") };
            node.send(peer, if self.is_secret { &secret } else { &pass });
            self.sent += 1;
        }
    }
}

impl MessageHandler for Relay {
    type Payload = Payload;
    type Event = NoEvent;

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let from = request.src().clone();
        match payload {
            Payload::Topology {} => node.reply(request, &Payload::TopologyOk),
            Payload::Broadcast { message } => {
                self.add(node, &from, message);
                node.reply(request, &Payload::BroadcastOk);
            }
            Payload::Read => {
                node.reply(request, &Payload::ReadOk { messages: self.values.clone() });
            }
            Payload::Pass { batch, .. } => self.add(node, &from, batch[0]),
            Payload::Secret { text } => {
                let value = text.trim_matches(['<', '>']).parse().unwrap();
                self.add(node, &from, value);
            }
            Payload::TopologyOk | Payload::BroadcastOk | Payload::ReadOk { .. } => {}
        }
        Ok(())
    }
}

/// A run of three nodes in a line, with 100 ms from each to the next. Values come so rarely that
/// none waits for another: a reader that waits for a message lets later ones wait as well.
fn line(is_secret: bool, guess: u64) -> World {
    run(move || Relay::new(is_secret, guess))
}

/// The same, but the nodes do not pass each third value on.
fn lossy_line() -> World {
    run(|| Relay { loses_thirds: true, ..Relay::new(false, u64::MAX) })
}

fn run(new: impl Fn() -> Relay + 'static) -> World {
    let mut options = Options::default().with_node_count(3);
    options.latency = Latency { mean_ms: 100, dist: LatencyDist::Constant };
    options.time_limit = Duration::from_secs(30);
    options.rate = 5.0;
    options.operations = Some((0..200).step_by(5).collect());
    options.trace = true;
    simulate(Test::new(Broadcast::default(), options), move |_| new())
}

/// The latency of each value in milliseconds, as the line has it: 100 from the middle, and 200 from
/// each end.
fn by_hand(world: &World) -> Vec<i64> {
    let messages = world.trace().unwrap().messages();
    let asked = messages.filter(|it| it.body.get().contains(r#""type":"broadcast""#));
    asked.map(|it| if it.dest == "n1" { 100 } else { 200 }).collect()
}

#[test]
fn a_value_takes_as_long_as_its_way_to_the_last_node() {
    let world = line(false, u64::MAX);
    let all = Propagation::of(&world).unwrap();
    let expected = by_hand(&world);
    // A message is due at a whole millisecond.
    let ms = |nanos: i64| (nanos + 999_999) / 1_000_000;
    let took: Vec<i64> = all.values.iter().map(|(_, latency)| ms(*latency)).collect();
    assert_eq!((took, all.missing), (expected.clone(), 0));
    assert!(expected.contains(&100) && expected.iter().filter(|ms| **ms == 200).count() > 2);
    let [least, most] = [0, 1_000].map(|part| all.quantile_ms(part).unwrap().ceil());
    assert_eq!((least, most), (100.0, 200.0));
}

#[test]
fn a_field_whose_sender_did_not_have_the_value_carries_none() {
    let usual = line(false, u64::MAX);
    let asked = usual.trace().unwrap().messages().filter_map(|it| {
        let body: Value = serde_json::from_str(it.body.get()).unwrap();
        body["message"].as_u64()
    });
    // Every message names the last value, long before a client has sent it.
    let last = asked.last().unwrap();
    assert_eq!(Propagation::of(&line(false, last)), Propagation::of(&usual));
}

#[test]
fn the_report_shows_it_beside_the_stable_latency_and_says_why_they_differ() {
    let world = line(false, u64::MAX);
    let results = world.results();
    let all = figures(&world, &results, &Limits::default());
    let value = |name: &str| all.iter().find(|it| it.name == name).map(|it| it.value.clone());
    assert_eq!(value("true propagation latency, median").unwrap(), "200 ms");
    assert_eq!(value("true propagation latency, largest").unwrap(), "200 ms");
    assert!(value("stable latency, largest").is_some());
    let page = Report::new(&world, &results).to_html().unwrap();
    assert!(page.contains("True propagation latency of values"));
    assert!(page.contains("reader sleeps until its earliest message is due"));
}

#[test]
fn a_latency_without_the_lost_values_says_how_many_it_covers() {
    let world = lossy_line();
    let all = Propagation::of(&world).unwrap();
    let (known, missing) = (all.values.len(), all.missing);
    assert!(known > 0 && missing > 0, "{known}, {missing}");
    let figures = figures(&world, &world.results(), &Limits::default());
    let figures = figures.iter().filter(|it| it.name.starts_with("true propagation latency"));
    for figure in figures {
        let end = format!(" ms ({known} of {} values)", known + missing);
        assert!(figure.value.ends_with(&end), "{}", figure.value);
    }
}

#[test]
fn there_is_none_if_no_message_shows_the_values_or_if_values_do_not_spread() {
    assert_eq!(Propagation::of(&line(true, u64::MAX)), None);
    let options = Options { trace: true, time_limit: Duration::from_secs(1), ..Options::default() };
    let world = simulate(Test::new(Echo::default(), options), |_| Relay::new(false, u64::MAX));
    assert_eq!(Propagation::of(&world), None);
}
