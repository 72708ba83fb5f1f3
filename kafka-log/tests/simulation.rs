//! The handler under the built-in checker, in virtual time: a fixed set of seeds.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests may fail"
)]

use std::time::Duration;

use kafka_log::{Acks, Config, GOSSIP_PERIOD_MIN, KafkaLog, Rules};
use maelstrom_core::{NodeId, gossip};
use maelstrom_sim::Test;
use maelstrom_sim::history::{Op, OpType};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::{Availability, Latency, LatencyDist, Options};
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::{Case, Sweep};
use maelstrom_sim::workload::Kafka;
use serde_json::Value;

mod forgetful;

use forgetful::{Forgetful, with_one_bad_disk};

fn all_faults() -> Sweep {
    Sweep::new(Kafka::default(), Fault::ALL)
}

#[test]
fn sweep() {
    all_faults().test(6, |_| KafkaLog::default());
}

#[test]
fn sweep_with_snapshots() {
    all_faults().test_snapshots("kafka-snapshots", 6, |_| KafkaLog::default());
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    all_faults().test_determinism(0..2, |_| KafkaLog::default());
}

/// Where records are lost, messages may be lost with them and partitions stay unavailable: but what
/// is shown is never wrong, nothing appears twice, and no offset is used again.
#[test]
fn sweep_without_disks() {
    all_faults().test_cases("kafka-no-disks", 6, |Test { workload, mut options }| {
        options.nemesis.insert(Fault::Crash);
        options.forgive_silence = true;
        if options.nodes.len() == 1 {
            // Alone, there is nobody that could know better.
            options = options.with_node_count(2);
        }
        let handler = KafkaLog::default;
        let test = Test { workload, options };
        let test = test.with_workload(|kafka: &mut Kafka| kafka.harmless.push("unseen"));
        Case::new(test, move |_| Forgetful { handler: handler(), is_forgetful: true })
    });
}

/// One node loses its disk in every crash, and two replicas must be in sync: nothing is lost, and no
/// partition stays unavailable, even if that node was the last one in sync (KIP-966).
#[test]
fn sweep_with_one_bad_disk() {
    all_faults().test_cases("kafka-bad-disk", 6, |test| {
        let test = with_one_bad_disk(test);
        let bad = test.options.nodes[0].clone();
        let build = move |id: &NodeId| Forgetful::with_two_in_sync(*id == bad, Rules::default());
        Case::new(test, build)
    });
}

/// All nodes lose their power at one instant, again and again, and `lin-kv` is empty after that.
#[test]
fn sweep_with_outages() {
    all_faults().test_cases("kafka-outages", 6, |mut test| {
        test.options.nemesis.insert(Fault::Outage);
        test.options.snapshot_part_bytes = test.options.seed.is_multiple_of(2).then_some(50);
        Case::new(test, |_| KafkaLog::default())
    });
}

/// Runs one test, expects it to be valid, and returns the results.
fn valid(options: Options) -> Value {
    valid_with(options, Config::default).0
}

/// The same, with how long each send took.
fn valid_with(options: Options, config: impl Fn() -> Config) -> (Value, Vec<Duration>) {
    let period_min = GOSSIP_PERIOD_MIN;
    let gossip = || gossip::Config { period_min, ..gossip::Config::default() };
    let world =
        simulate(Test::new(Kafka::default(), options), |_| KafkaLog::new(config(), gossip()));
    world.assert_valid();
    let history = world.history();
    let sends = history.client_ops().filter(|op| op.f == "send" && op.kind == OpType::Ok);
    let took = |op: &Op| op.time - history.invocation(op).unwrap().time;
    (serde_json::to_value(world.results()).unwrap(), sends.map(took).collect())
}

fn options(nodes: usize, seed: u64) -> Options {
    let options = Options::default().with_node_count(nodes);
    Options {
        rate: 1_000.0,
        concurrency: 2 * nodes,
        time_limit: Duration::from_secs(5),
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

/// Messages between servers for each operation.
fn cost(results: &Value) -> f64 {
    results["net"]["servers"]["msgs-per-op"].as_f64().unwrap()
}

#[test]
fn challenge_5c_on_a_network_without_any_latency() {
    // Nothing ever meets on the way: two messages for a send, and what it takes to begin.
    let results = valid(options(2, 0));
    assert!(cost(&results) < 1.05, "{}", cost(&results));
}

#[test]
fn challenge_5c_on_a_fast_network() {
    for (linger, cost_max) in [(0, 1.0), (5, 0.6)] {
        let linger = Duration::from_millis(linger);
        let config = || Config { linger, ..Config::default() };
        let latency = Latency { mean_ms: 1, dist: LatencyDist::Constant };
        // The beginning costs more than its share.
        let time_limit = Duration::from_secs(10);
        let (results, _) = valid_with(Options { latency, time_limit, ..options(2, 0) }, config);
        println!("{linger:?}: {}", cost(&results));
        assert!(cost(&results) < cost_max, "{linger:?}: {}", cost(&results));
    }
}

/// The sizes and speeds of clusters and what they cost, as a table.
#[test]
fn latency_nodes_and_acknowledgements() {
    println!("| nodes | latency | acks | msgs/op | ops/s | send median | send 99 % |");
    println!("|------:|--------:|------|--------:|------:|------------:|----------:|");
    for (nodes, mean_ms) in [(2, 0), (2, 10), (2, 100), (3, 0), (3, 100), (5, 10)] {
        for acks in [Acks::All, Acks::Leader] {
            let config = || Config { acks, ..Config::default() };
            let latency = Latency { mean_ms, dist: LatencyDist::Constant };
            // Where there are few operations, the clients' own crashes are more than one in 1,000.
            let time_limit = Duration::from_secs(3);
            let options = Options { latency, time_limit, availability: None, ..options(nodes, 0) };
            let (results, mut sends) = valid_with(options, config);
            sends.sort_unstable();
            let at = |percent: usize| sends[(sends.len() - 1) * percent / 100].as_millis();
            let rate = results["stats"]["ok-count"].as_f64().unwrap() / 3.0;
            println!(
                "| {nodes} | {mean_ms} ms | {acks:?} | {:.2} | {rate:.0} | {} ms | {} ms |",
                cost(&results),
                at(50),
                at(99)
            );
            // To the leader, to its followers, back, and to who asked; and what waits at either end
            // for an answer that is under way.
            let ways = if acks == Acks::All { 6 } else { 4 };
            assert!(at(50) <= u128::from(ways * mean_ms), "{nodes} {mean_ms} {acks:?}");
        }
    }
}
