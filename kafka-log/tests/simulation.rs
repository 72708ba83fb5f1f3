//! The handler under the built-in checker, in virtual time: a fixed set of seeds.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "tests may fail")]

use std::time::Duration;

use kafka_log::{Event, KafkaLog, Payload};
use maelstrom_core::{Error, MessageHandler, Node, Request};
use maelstrom_sim::checker::Verdict;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::{Availability, Options};
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::WorkloadKind;
use serde_json::Value;

fn all_faults() -> Sweep {
    Sweep { workload: WorkloadKind::Kafka, faults: Fault::ALL.to_vec() }
}

#[test]
fn sweep() {
    all_faults().test(40, |_| KafkaLog::default());
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    all_faults().test_determinism(0..3, |_| KafkaLog::default());
}

/// A node whose disk is lost in every crash.
struct Forgetful(KafkaLog);

impl MessageHandler for Forgetful {
    type Payload = Payload;
    type Event = Event;

    fn recover(&mut self, _record: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn started(&mut self, node: &mut Node<Event>) {
        self.0.started(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        self.0.message(node, request, payload)
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        self.0.event(node, event);
    }
}

/// Where records are lost, messages may be lost with them and partitions stay unavailable: but what
/// is shown is never wrong, nothing appears twice, and no offset is used again.
#[test]
fn sweep_without_disks() {
    const HARMLESS: [&str; 2] = ["unseen", "nonmonotonic-commit"];
    let sweep = all_faults();
    let seeds = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    for seed in 0..seeds {
        let mut options = sweep.options(seed);
        options.nemesis.insert(Fault::Crash);
        if options.nodes.len() == 1 {
            // There is nothing that could be fenced off.
            continue;
        }
        let world = simulate(options, |_| Forgetful(KafkaLog::default()));
        let fields = world.results().workload.fields;
        let found = fields["bad-error-types"].as_array().unwrap();
        let bad = found.iter().filter(|kind| !HARMLESS.contains(&kind.as_str().unwrap()));
        assert_eq!(bad.count(), 0, "seed {seed}: {found:?} {fields:?}");
    }
}

/// Runs one test, expects it to be valid, and returns the results.
fn valid(options: Options) -> Value {
    let what = format!("{options:?}");
    let world = simulate(options, |_| KafkaLog::default());
    assert_eq!(world.failure(), None, "{what}");
    assert!(world.muted().is_empty(), "{what}");
    let results = world.results();
    assert_eq!(results.valid, Verdict::Valid, "{what}: {:?}", results.workload.fields);
    serde_json::to_value(results).unwrap()
}

fn options(nodes: usize, seed: u64) -> Options {
    let options = Options::new(WorkloadKind::Kafka).with_node_count(nodes);
    Options {
        rate: 1_000.0,
        concurrency: 2 * nodes,
        time_limit: Duration::from_secs(20),
        sync_max: Some(Duration::ZERO),
        availability: Some(Availability::AtLeast(0.999)),
        seed,
        ..options
    }
}

#[test]
fn challenge_5a() {
    let results = valid(options(1, 0));
    assert_eq!(results["net"]["servers"]["send-count"], 0);
}

#[test]
fn challenge_5c() {
    for nodes in [2, 3, 5] {
        let results = valid(options(nodes, 0));
        println!("{} {} {}", results["net"]["servers"], results["stats"], results["availability"]);
    }
}
