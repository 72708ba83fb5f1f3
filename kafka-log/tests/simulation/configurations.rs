//! The handler under the built-in checker, with settings that are not the defaults. Each seed draws
//! some, the same for all nodes.
#![allow(clippy::unwrap_used, reason = "tests may fail")]

use std::time::Duration;

use kafka_log::marks::{MARKS, MIN_IN_SYNC_MARKS};
use kafka_log::{Acks, Config, KafkaLog};
use maelstrom_core::{NodeId, gossip};
use maelstrom_sim::Test;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::Options;
use maelstrom_sim::rng::{self, Stream};
use maelstrom_sim::sweep::{Case, Sweep};
use maelstrom_sim::workload::Kafka;
use rand::RngExt;
use rand::seq::IndexedRandom;

const NAME: &str = "kafka-configurations";

fn all_faults() -> Sweep {
    Sweep::new(Kafka::default(), Fault::ALL)
}

/// The settings of a seed. Each one is the default in about half of the seeds.
fn config(seed: u64, nodes: usize) -> Config {
    let mut rng = rng::stream(seed, Stream::Settings);
    let mut config = Config::default();
    // Every draw happens in every seed, so that one setting does not depend on another.
    let mut draw = |choices: &[usize]| {
        let choice = choices.choose(&mut rng).copied();
        choice.filter(|_| rng.random_bool(0.5))
    };
    if let Some(partitions) = draw(&[1, 2, 5]) {
        config.partitions = u32::try_from(partitions).unwrap();
    }
    config.replication = draw(&[1, 2, 5]).unwrap_or(config.replication);
    config.batch_bytes = draw(&[1, 100, 300]).unwrap_or(config.batch_bytes);
    config.poll_bytes = draw(&[1, 200, 1_000]).unwrap_or(config.poll_bytes);
    if let Some(ms) = draw(&[1, 5, 50]) {
        config.linger = Duration::from_millis(ms as u64);
    }
    if draw(&[1]).is_some() {
        config.acks = Acks::Leader;
    }
    if let Some(in_sync_min) = draw(&[2, 3]) {
        config.in_sync_min = in_sync_min.min(config.replication).min(nodes);
    }
    config.retention.segment_bytes = draw(&[1, 10, 40]).unwrap_or(config.retention.segment_bytes);
    config.retention.bytes_max = draw(&[0, 30, 200]);
    config.retention.age_max = draw(&[100, 3_000]).map(|ms| Duration::from_millis(ms as u64));
    config.packet_bytes = draw(&[300, 1_000]).unwrap_or(config.packet_bytes);
    config.pending_bytes = draw(&[3_000, 10_000]).unwrap_or(config.pending_bytes);
    config
}

/// The findings of the checker that these settings allow.
fn harmless(config: &Config) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    if config.acks == Acks::Leader {
        // Messages that only a lost leader had are lost, and other messages get their offsets.
        // Another copy of a message may have reached the next leader, where it has another offset.
        kinds.extend(["lost-write", "unseen", "inconsistent-offsets", "duplicate"]);
        kinds.push("nonmonotonic-send");
    }
    if config.retention.bytes_max.is_some() || config.retention.age_max.is_some() {
        // Deleted messages cannot be read any more.
        kinds.extend(["lost-write", "unseen", "poll-skip"]);
    }
    if config.poll_bytes == 1 {
        // With one message per poll, a reader does not reach the end in time.
        kinds.push("unseen");
    }
    kinds
}

/// Every second seed takes snapshots in small parts.
fn case_with_snapshots(mut test: Test) -> Case<impl FnMut(&NodeId) -> KafkaLog> {
    test.options.snapshot_part_bytes = test.options.seed.is_multiple_of(2).then_some(50);
    case(test)
}

fn case(test: Test) -> Case<impl FnMut(&NodeId) -> KafkaLog> {
    let mut config = config(test.options.seed, test.options.nodes.len());
    if test.options.latency.mean_ms >= 100 {
        // In smaller packets, some polls of all keys take longer than the 2 s that they have.
        config.packet_bytes = config.packet_bytes.max(1_000);
    }
    Case {
        about: format!("{config:?}"),
        test: test.with_workload(|kafka: &mut Kafka| kafka.harmless = harmless(&config)),
        build: move |_: &NodeId| KafkaLog::new(config.clone(), gossip::Config::default()),
    }
}

#[test]
fn sweep_configurations() {
    let marks = MARKS.iter().chain(MIN_IN_SYNC_MARKS).copied();
    all_faults().expecting(marks).test_cases(NAME, 4, case_with_snapshots);
}

/// Thousands of operations a second: packets are full, and sends wait for room.
#[test]
fn sweep_at_a_high_rate() {
    all_faults().test_cases("kafka-high-rate", 2, |Test { workload, options }| {
        let config = Config { batch_bytes: 2_000, packet_bytes: 4_000, ..Config::default() };
        let options = Options {
            rate: 3_000.0,
            concurrency: 20 * options.nodes.len(),
            time_limit: Duration::from_secs(4),
            ..options
        };
        let test = Test { workload, options };
        let test = test.with_workload(|kafka: &mut Kafka| kafka.keys.max_writes_per_key = 1_024);
        Case::new(test, move |_| KafkaLog::new(config.clone(), gossip::Config::default()))
    });
}

/// Three mistakes that these seeds once showed. A follower that lacked deleted entries got the news
/// of them for ever. A follower that lagged got all pieces at once, and again for each piece that
/// came out of order. A new leader returned a definite error although the old leader had the
/// message.
#[test]
fn seeds_that_once_showed_a_mistake() {
    all_faults().test_seeds(NAME, [446, 433, 552], case);
}
