//! The handler under the built-in checker, in virtual time: a fixed set of seeds.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests may fail"
)]

use std::time::Duration;

use kafka_log::marks::MARKS;
use kafka_log::{Acks, Config, GOSSIP_PERIOD_MIN, KafkaLog, Retention, Rules};
use maelstrom_core::{NodeId, gossip};
use maelstrom_sim::Test;
use maelstrom_sim::history::{Op, OpType};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::{Availability, Latency, LatencyDist, Options};
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::{Case, Exhaustive, Sweep};
use maelstrom_sim::workload::Kafka;
use maelstrom_sim::world::World;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::damaged::{Damaged, Reader};
use crate::flooded::{flood, is_flooded};
use crate::forged::{expect_that_only_a_key_helps, sweep_with_forgery};
use crate::forgetful::{Forgetful, with_one_bad_disk};
use crate::seeds::{number_from_env, seeds};

fn all_faults() -> Sweep {
    Sweep::new(Kafka::default(), Fault::ALL)
}

#[test]
fn sweep() {
    all_faults().expecting(MARKS.iter().copied()).test(3, |_| KafkaLog::default());
}

/// Small runs that showed a fault while the rule in the name of the file was broken.
#[test]
fn runs_that_once_showed_a_broken_rule() {
    let config =
        Config { partitions: 1, replication: 5, linger: Duration::ZERO, ..Config::default() };
    let build = |_: &NodeId| KafkaLog::new(config.clone(), gossip::Config::default());
    all_faults().test_regressions("tests/regressions/kafka", build);
}

/// Slow, stalled and failing disks, clocks that drift, slow links and losses of power come on top of
/// all other faults.
#[test]
fn sweep_on_bad_hardware() {
    let faults = Fault::ALL.into_iter().chain(Fault::HARDWARE);
    let sweep = Sweep::new(Kafka::default(), faults).expecting(MARKS.iter().copied());
    sweep.test_cases("kafka-hardware", 2, |mut test| {
        test.options.snapshot_part_bytes = test.options.seed.is_multiple_of(2).then_some(50);
        Case::new(test, |_: &NodeId| KafkaLog::default())
    });
}

#[test]
fn sweep_with_keys_and_forged_messages() {
    sweep_with_forgery(all_faults(), "kafka-forgery", |_| KafkaLog::default());
}

#[test]
fn forged_messages_are_noticed_without_keys() {
    expect_that_only_a_key_helps(&all_faults(), |_| KafkaLog::default());
}

#[test]
fn sweep_with_snapshots() {
    all_faults().test_snapshots("kafka-snapshots", 2, |_| KafkaLog::default());
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    all_faults().test_determinism(0..2, |_| KafkaLog::default());
}

/// Without disks, a crash may lose messages and leave partitions unavailable. Even then no poll
/// returns a wrong message, no message appears twice, and no offset is used again.
#[test]
fn sweep_without_disks() {
    all_faults().test_cases("kafka-no-disks", 2, |Test { workload, mut options }| {
        options.nemesis.insert(Fault::Crash);
        options.forgive_silence = true;
        if options.nodes.len() == 1 {
            // A lone node without records cannot know of the lost messages.
            options = options.with_node_count(2);
        }
        let handler = KafkaLog::default;
        let test = Test { workload, options };
        let test = test.with_workload(|kafka: &mut Kafka| kafka.harmless.push("unseen"));
        Case::new(test, move |_| Forgetful { handler: handler(), is_forgetful: true })
    });
}

/// One node loses its disk in every crash, and two replicas must be in sync. No message is lost,
/// and no partition stays unavailable, even if that node was the last one in sync (KIP-966).
#[test]
fn sweep_with_one_bad_disk() {
    all_faults().test_cases("kafka-bad-disk", 2, |test| {
        let test = with_one_bad_disk(test);
        let bad = test.options.nodes[0].clone();
        let build = move |id: &NodeId| Forgetful::with_two_in_sync(*id == bad, Config::default());
        Case::new(test, build)
    });
}

/// The same, and most messages are deleted soon. That node starts again over and over. Packets are
/// so small that it gets the summary of the deleted entries in parts.
#[test]
fn sweep_of_a_follower_that_begins_anew() {
    all_faults().test_cases("kafka-anew", 2, begins_anew);
}

fn begins_anew(test: Test) -> Case<impl FnMut(&NodeId) -> Forgetful> {
    let test = with_one_bad_disk(test);
    let bad = test.options.nodes[0].clone();
    let test = test.with_workload(|kafka: &mut Kafka| {
        // Deleted messages cannot be read any more.
        kafka.harmless.extend(["lost-write", "unseen", "poll-skip"]);
        kafka.keys.max_writes_per_key = 4;
    });
    Case::new(test, move |id: &NodeId| {
        let retention = Retention { segment_bytes: 10, bytes_max: Some(30), age_max: None };
        let config = Config { partitions: 1, packet_bytes: 150, retention, ..Config::default() };
        Forgetful::with_two_in_sync(*id == bad, config)
    })
}

/// A packet has room for one acknowledgement. The leader once took a packet without an
/// acknowledgement as the sign that a part of the summary was lost, and sent it again for ever.
#[test]
fn seeds_with_small_packets_that_once_showed_a_mistake() {
    all_faults().test_seeds("kafka-anew", [1_581], begins_anew);
}

/// The file of one node is damaged in every second life, and two replicas must be in sync. No
/// message is lost: the node is then a new replica, and does not lead before it has caught up.
#[test]
fn sweep_with_a_damaged_file() {
    all_faults().test_cases("kafka-damaged", 2, |test| {
        let mut test = with_one_bad_disk(test);
        test.options.snapshot_part_bytes = test.options.seed.is_multiple_of(2).then_some(50);
        let bad = test.options.nodes[0].clone();
        Case::new(test, move |id| {
            let reader = if *id == bad { Reader::Refuses } else { Reader::Lucky };
            Damaged::new(reader, Rules::default())
        })
    });
}

/// A replica joins the in-sync set again, and is alone at once.
#[test]
fn sweep_with_joins() {
    all_faults().test_cases("kafka-joins", 1, |test| {
        staged_case(crate::staged::with_joins(test), crate::staged::joining(Rules::default()))
    });
}

/// A leader that was replaced goes on, with the only node that knew of it. In every second run,
/// that node has lost its records.
#[test]
fn sweep_with_a_former_leader() {
    all_faults().test_cases("kafka-former-leader", 2, |test| {
        let test = crate::staged::with_a_former_leader(test);
        let is_bad = test.options.seed.is_multiple_of(2);
        let bad = test.options.nodes[0].clone();
        let build = move |id: &NodeId| Forgetful::with_two_in_sync(is_bad && *id == bad, at_once());
        Case::new(test, build)
    });
}

/// Two nodes crash, one after the other. The last replica did not hear much from either of them.
#[test]
fn sweep_with_two_failovers() {
    all_faults().test_cases("kafka-failovers", 1, |test| {
        let test = crate::staged::with_two_failovers(test);
        staged_case(test, crate::staged::failing_over(Rules::default()))
    });
}

/// A leader commits entries of an earlier epoch, and all nodes end at once.
#[test]
fn sweep_with_older_entries() {
    all_faults().test_cases("kafka-older-entries", 1, |test| {
        let config = crate::staged::committing_older_entries(Rules::default());
        staged_case(crate::staged::with_older_entries(test), config)
    });
}

/// A node leads again, and acknowledgements from the first epoch in which it led come late.
#[test]
fn sweep_with_late_acknowledgements() {
    all_faults().test_cases("kafka-late-acks", 1, |test| {
        let config = crate::staged::acknowledging_late(Rules::default());
        staged_case(crate::staged::with_late_acknowledgements(test), config)
    });
}

/// Most sends are refused, and many of them have two copies under way.
#[test]
fn sweep_with_refusals() {
    all_faults().test_cases("kafka-refusals", 1, |test| {
        staged_case(crate::staged::with_refusals(test), crate::staged::refusing(Rules::default()))
    });
}

/// Messages are deleted before the nodes that forwarded them know their offsets.
#[test]
fn sweep_with_deletions() {
    all_faults().test_cases("kafka-deletions", 1, |test| {
        staged_case(crate::staged::with_deletions(test), crate::staged::deleting(Rules::default()))
    });
}

fn staged_case(test: Test, config: Config) -> Case<impl FnMut(&NodeId) -> KafkaLog> {
    Case::new(test, move |_| KafkaLog::new(config.clone(), gossip::Config::default()))
}

/// All nodes lose power at one instant, again and again, and `lin-kv` is empty after that.
#[test]
fn sweep_with_outages() {
    all_faults().expecting(MARKS.iter().copied()).test_cases("kafka-outages", 2, with_outages);
}

fn with_outages(mut test: Test) -> Case<impl FnMut(&NodeId) -> KafkaLog> {
    test.options.nemesis.insert(Fault::Outage);
    test.options.snapshot_part_bytes = test.options.seed.is_multiple_of(2).then_some(50);
    Case::new(test, |_| KafkaLog::default())
}

/// All nodes lose power at one instant, again and again: they lose all unsynced records.
/// `lin-kv` keeps its records, which may name an epoch or an in-sync set that no node knows any
/// more.
#[test]
fn sweep_with_power_losses() {
    all_faults().expecting(MARKS.iter().copied()).test_cases("kafka-power", 2, |mut test| {
        test.options.nemesis.insert(Fault::PowerLoss);
        test.options.snapshot_part_bytes = test.options.seed.is_multiple_of(2).then_some(50);
        Case::new(test, |_| KafkaLog::default())
    });
}

/// Packets of a node's earlier life came later than those of its next one. The peer then took the
/// next one for an earlier life for ever.
#[test]
fn seeds_with_outages_that_once_showed_a_mistake() {
    all_faults().test_seeds("kafka-outages", [1_872], with_outages);
}

/// A log remembers the last four sends of each node, and nodes have many more to send. Most sends
/// are refused, and retries are at the edge of the window.
#[test]
fn sweep_with_a_small_window() {
    all_faults().test_cases("kafka-window", 2, |Test { workload, options }| {
        let options = Options {
            rate: 8.0 * options.rate,
            concurrency: 8 * options.nodes.len(),
            time_limit: Duration::from_secs(8),
            ..options
        };
        let test = Test { workload, options };
        let test = test.with_workload(|kafka: &mut Kafka| kafka.keys.max_writes_per_key = 1_024);
        Case::new(test, |_| {
            let config = Config { partitions: 1, dedupe_window: 4, ..Config::default() };
            KafkaLog::new(config, gossip::Config::default())
        })
    });
}

/// Messages are up to a quarter of the longest line in every second seed, and up to half of it in
/// the others. Some are longer, and are refused. No node prints a line that the others would skip.
/// Most messages are small. A poll returns one or two large ones, and in the end every reader gets
/// all of them.
#[test]
fn sweep_with_large_values() {
    all_faults().test_cases("kafka-large", 2, |mut test| {
        let parts = if test.options.seed.is_multiple_of(2) { 4 } else { 2 };
        let message_bytes = crate::sized::LINE_BYTES / parts;
        test.options.rate /= 2.0;
        let lengths = [vec![20; 30], crate::sized::lengths(message_bytes)].concat();
        let test = crate::sized::with_lengths(test, lengths);
        Case::new(test, move |_| crate::sized::node(message_bytes))
    });
}

/// The same messages on links that carry few bytes a second. A leader with much to send must not
/// send entries again that are still on their way, and a packet that takes seconds must not make a
/// peer look gone for ever.
#[test]
fn sweep_on_slow_links() {
    all_faults().test_cases("kafka-slow-links", 2, |mut test| {
        let seed = usize::try_from(test.options.seed).unwrap();
        test.options.bandwidth = Some([40_000, 100_000, 300_000][seed % 3]);
        let message_bytes = crate::sized::LINE_BYTES / [4, 2][seed % 2];
        test.options.rate /= 2.0;
        let lengths = [vec![20; 30], crate::sized::lengths(message_bytes)].concat();
        let test = crate::sized::with_lengths(test, lengths);
        Case::new(test, move |_| crate::sized::node(message_bytes))
    });
}

/// Parts of the marks that nodes reach in partitions.
const PARTITION_MARKS: [&str; 4] =
    ["left a leader time", "took over from a leader", "out of the in-sync", "into the in-sync"];

/// Maelstrom's partitions: all nodes reach the services, whatever nodes they reach.
#[test]
fn sweep_with_maelstroms_partitions() {
    let faults = [Fault::Partition, Fault::Crash, Fault::Pause];
    let marks = MARKS.iter().filter(|mark| PARTITION_MARKS.iter().any(|part| mark.contains(part)));
    let sweep = Sweep::new(Kafka::default(), faults).expecting(marks.copied());
    sweep.test_cases("kafka-partitions", 4, |mut test| {
        test.options.spare_services = true;
        let five = test.options.seed.is_multiple_of(2);
        test.options = test.options.with_node_count(if five { 5 } else { 3 });
        Case::new(test, |_| KafkaLog::default())
    });
}

/// Small messages, on links that carry only a few dozen of them a second.
#[test]
fn sweep_on_very_slow_links() {
    all_faults().test_cases("kafka-very-slow-links", 2, |mut test| {
        let seed = usize::try_from(test.options.seed).unwrap();
        test.options.bandwidth = Some([5_000, 10_000, 30_000][seed % 3]);
        Case::new(test, |_| KafkaLog::default())
    });
}

/// Without faults, every message within the limit is stored, and every longer one is refused.
#[test]
fn messages_of_every_length_that_nodes_take_are_stored() {
    let message_bytes = crate::sized::LINE_BYTES / 2;
    for nodes in [1, 3, 5] {
        let options = Options {
            rate: 30.0,
            time_limit: Duration::from_secs(4),
            latency: Latency { mean_ms: 5, dist: LatencyDist::Uniform },
            availability: None,
            ..options(nodes, 0)
        };
        let test = Test::new(Kafka::default(), options);
        let test = crate::sized::with_lengths(test, crate::sized::lengths(message_bytes));
        let world = simulate(test, |_| crate::sized::node(message_bytes));
        world.assert_valid();
        let (history, mut stored) = (world.history(), 0);
        for op in history.client_ops().filter(|op| op.f == "send" && op.kind != OpType::Invoke) {
            let sent = history.invocation(op).unwrap().value.as_ref().unwrap();
            let (key, message): (String, Box<RawValue>) = serde_json::from_str(sent.get()).unwrap();
            let fits = key.len() + 2 + message.get().len() <= message_bytes;
            let kind = if fits { OpType::Ok } else { OpType::Fail };
            assert_eq!(op.kind, kind, "{} bytes, {:?}", message.get().len(), op.error);
            stored += usize::from(fits);
        }
        assert!(stored > 15, "{stored}");
    }
}

/// A node that sends every message at once.
fn at_once() -> Config {
    Config { linger: Duration::ZERO, ..Config::default() }
}

/// Runs one test, checks that it is valid, and returns the results.
fn valid(options: Options) -> Value {
    valid_with(options, Config::default).0
}

/// The same, and the time that each send took.
fn valid_with(options: Options, config: impl Fn() -> Config) -> (Value, Vec<Duration>) {
    let period_min = GOSSIP_PERIOD_MIN;
    let gossip = || gossip::Config { period_min, ..gossip::Config::default() };
    let world =
        simulate(Test::new(Kafka::default(), options), |_| KafkaLog::new(config(), gossip()));
    let results = world.assert_valid();
    let history = world.history();
    let sends = history.client_ops().filter(|op| op.f == "send" && op.kind == OpType::Ok);
    let took = |op: &Op| op.time - history.invocation(op).unwrap().time;
    (serde_json::to_value(results).unwrap(), sends.map(took).collect())
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
    let results = valid(Options { time_limit: Duration::from_secs(2), ..options(1, 0) });
    assert_eq!(results["net"]["servers"]["send-count"], 0);
}

/// The flooded node leads some partitions and follows in the others. So each send of another node's
/// client needs it: as a leader or as a replica in sync.
#[test]
fn a_flooded_node_serves_the_sends_of_other_nodes() {
    for seed in seeds(1) {
        let flooded = flood(Kafka::default(), seed, |_| KafkaLog::default());
        let test = Test::new(Kafka::default(), crate::flooded::options(seed));
        let usual = simulate(test, |_| KafkaLog::default());
        let (count, slow) = sends_of_others(&flooded);
        let (usual_count, usual_slow) = sends_of_others(&usual);
        println!("seed {seed}: {count} sends, 99 % within {slow:?}; usually {usual_slow:?}");
        assert!(count * 5 > usual_count * 4, "{count}, usually {usual_count}");
        assert!(slow < usual_slow.mul_f64(1.1), "{slow:?}, usually {usual_slow:?}");
    }
}

/// The number of sends at the nodes that nobody floods, and the time within which 99 % ended.
fn sends_of_others(world: &World) -> (usize, Duration) {
    let history = world.history();
    let sends = history.client_ops().filter(|op| op.f == "send" && op.kind == OpType::Ok);
    let took = |op: &Op| op.time - history.invocation(op).unwrap().time;
    let mut took: Vec<Duration> = sends.filter(|op| !is_flooded(op)).map(took).collect();
    took.sort();
    (took.len(), took[took.len() * 99 / 100])
}

/// Messages between servers for each operation.
fn cost(results: &Value) -> f64 {
    results["net"]["servers"]["msgs-per-op"].as_f64().unwrap()
}

#[test]
fn challenge_5c_on_a_network_without_any_latency() {
    // No packet takes another item along: two messages for a send, and the messages at the start.
    let time_limit = Duration::from_secs(4);
    let (results, _) = valid_with(Options { time_limit, ..options(2, 0) }, at_once);
    assert!(cost(&results) < 1.05, "{}", cost(&results));
}

#[test]
fn challenge_5c_on_a_fast_network() {
    let default = Config::default().linger;
    let ms = Duration::from_millis;
    // The start costs more than its share: without a linger it takes ten seconds until the cost is
    // below 1.
    for (linger, cost_max, seconds) in
        [(Duration::ZERO, 1.05, 3), (default, 0.95, 2), (ms(5), 0.6, 3)]
    {
        let config = || Config { linger, ..Config::default() };
        let latency = Latency { mean_ms: 1, dist: LatencyDist::Constant };
        let time_limit = Duration::from_secs(seconds);
        // In so short a run, a crash of a client is more than one operation in 1,000.
        let availability = Some(Availability::AtLeast(0.995));
        let options = Options { latency, time_limit, availability, ..options(2, 0) };
        let (results, _) = valid_with(options, config);
        println!("{linger:?}: {}", cost(&results));
        assert!(cost(&results) < cost_max, "{linger:?}: {}", cost(&results));
    }
}

/// The cost of clusters by size and latency, as a table. Each run takes `SECONDS` of virtual time.
#[test]
fn latency_nodes_and_acknowledgements() {
    println!("| nodes | latency | acks | msgs/op | ops/s | send median | send 99 % |");
    println!("|------:|--------:|------|--------:|------:|------------:|----------:|");
    for (nodes, mean_ms) in [(2, 0), (2, 10), (2, 100), (3, 0), (3, 10), (5, 10)] {
        for acks in [Acks::All, Acks::Leader] {
            if mean_ms == 0 && acks == Acks::Leader {
                // The same as with all, except for messages that no request waits for.
                continue;
            }
            let config = || Config { acks, ..at_once() };
            let latency = Latency { mean_ms, dist: LatencyDist::Constant };
            // Where there are few operations, the clients' own crashes are more than one in 1,000.
            let seconds = number_from_env("SECONDS").unwrap_or(if mean_ms < 100 { 1 } else { 2 });
            let time_limit = Duration::from_secs(seconds);
            let options = Options { latency, time_limit, availability: None, ..options(nodes, 0) };
            let (results, mut sends) = valid_with(options, config);
            sends.sort_unstable();
            let at = |percent: usize| sends[(sends.len() - 1) * percent / 100].as_millis();
            let rate = results["stats"]["ok-count"].as_f64().unwrap() / seconds as f64;
            println!(
                "| {nodes} | {mean_ms} ms | {acks:?} | {:.2} | {rate:.0} | {} ms | {} ms |",
                cost(&results),
                at(50),
                at(99)
            );
            // To the leader, to its followers, back, and to the origin. At either end, items also
            // wait for an answer that is under way.
            let ways = if acks == Acks::All { 6 } else { 4 };
            assert!(at(50) <= u128::from(ways * mean_ms), "{nodes} {mean_ms} {acks:?}");
        }
    }
}

#[test]
fn metrics_tell_of_elections_and_that_followers_caught_up() {
    let time_limit = Duration::from_secs(20);
    let mut options = Options { rate: 50.0, time_limit, availability: None, ..options(5, 0) };
    options.nemesis.insert(Fault::Partition);
    options.nemesis_interval = Duration::from_secs(3);
    let world = simulate(Test::new(Kafka::default(), options), |_| KafkaLog::default());
    world.assert_valid();
    let sum = |name: &str, labels: &[(&str, &str)]| -> f64 {
        let nodes = world.options().nodes.iter();
        nodes.map(|id| world.metrics(id).unwrap().sum(name, labels)).sum()
    };
    // Each partition had an election at the start, and some had more during network partitions.
    let led = sum("kafka_partitions_led", &[]);
    assert!(led > 0.0 && sum("kafka_elections_total", &[]) > led);
    assert!(sum("kafka_in_sync_changes_total", &[("change", "shrink")]) > 0.0);
    assert!(sum("kafka_in_sync_changes_total", &[("change", "expand")]) > 0.0);
    assert!(sum("kafka_failures_total", &[]) > 0.0);
    // Network partitions ended long before the test did.
    for name in [
        "kafka_partitions_under_replicated",
        "kafka_partitions_unavailable",
        "kafka_follower_lag_entries",
        "kafka_uncommitted_entries",
        "kafka_sends_pending",
    ] {
        assert_eq!(sum(name, &[]), 0.0, "{name}");
    }
    assert!(sum("kafka_in_sync_replicas", &[]) >= led);
    assert!(sum("kafka_log_entries", &[]) > 0.0);
}

/// Two clients and a few operations: all combinations of deliveries of the first messages.
#[test]
fn exhaustive() {
    let options = Options {
        rate: 10.0,
        time_limit: Duration::from_millis(400),
        ..Options::default().with_node_count(2)
    };
    let test = Test::new(Kafka::default(), options);
    Exhaustive::new(test)
        .with_depth(3)
        .with_late_orders()
        .test("kafka-tiny", |_| KafkaLog::default());
}
