//! The parts of a snapshot. A node answers nobody while it encodes one part. So the pause depends
//! on the bytes of a part, and not on the bytes of the state.

use std::time::Duration;

use kafka_log::{
    Config, Entry, Floor, KafkaLog, PartitionLog, Producer, Record, Retention, SendLookup,
};
use maelstrom_core::{Clock, Output, RawNode, Records, SnapshotPosition, gossip};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

/// The size of a part that the tests ask for.
const PART_BYTES: usize = 16 << 10;

/// A node without peers. It keeps more offsets for peers than a part may hold.
struct Lone(RawNode<KafkaLog>);

impl Lone {
    fn new(config: Config) -> Self {
        Self::recovered(config, &[], 1)
    }

    /// A node that starts with these records. Each life of a node has another seed.
    fn recovered(config: Config, records: &[Vec<u8>], seed: u8) -> Self {
        let gossip = gossip::Config { log_bytes_max: 8 * PART_BYTES, ..gossip::Config::default() };
        let handler = KafkaLog::new(config, gossip);
        let mut lone = Self(RawNode::new(handler, [seed; 32], true));
        records.iter().for_each(|record| lone.0.recover(record).unwrap());
        lone.ask(json!({"type": "init", "node_id": "n1", "node_ids": ["n1"]}), 0);
        lone
    }

    /// Returns the reply.
    fn ask(&mut self, mut body: Value, seconds: u64) -> Value {
        body["msg_id"] = json!(1);
        let line = json!({"src": "c1", "dest": "n1", "body": body}).to_string();
        let clock = Clock { monotonic: Duration::from_secs(seconds), wall: Duration::ZERO };
        self.0.handle_line(clock, line.as_bytes());
        self.answer()
    }

    /// Plays an empty `lin-kv` that accepts every change. Returns the last reply of the node.
    fn answer(&mut self) -> Value {
        let mut last = Value::Null;
        while let Some(output) = self.0.poll_output() {
            let Output::Lines(lines) = output else { continue };
            for line in String::from_utf8(lines).unwrap().lines() {
                let message: Value = serde_json::from_str(line).unwrap();
                let body = &message["body"];
                let mut reply = match body["type"].as_str().unwrap() {
                    "read" => json!({"type": "error", "code": 20, "text": "no such key"}),
                    "cas" => json!({"type": "cas_ok"}),
                    kind if kind.ends_with("_ok") => {
                        last = body.clone();
                        continue;
                    }
                    _ => panic!("{message}"),
                };
                reply["in_reply_to"] = body["msg_id"].clone();
                let line = json!({"src": "lin-kv", "dest": "n1", "body": reply}).to_string();
                let clock = Clock { monotonic: Duration::from_secs(2), wall: Duration::ZERO };
                self.0.handle_line(clock, line.as_bytes());
            }
        }
        last
    }

    /// The records of each part of a snapshot.
    fn snapshot(&self) -> Vec<Vec<Vec<u8>>> {
        let (mut parts, mut next) = (Vec::new(), Some(SnapshotPosition::default()));
        while let Some(from) = next {
            let mut part = Vec::new();
            let mut add = |record: &[u8]| part.push(record.to_vec());
            next = self.0.snapshot(from, PART_BYTES, &mut Records::new(&mut add)).unwrap();
            parts.push(part);
        }
        parts
    }

    /// The sizes of the records of each part of a snapshot.
    fn parts(&self) -> Vec<Vec<usize>> {
        let parts = self.snapshot().into_iter();
        parts.map(|part| part.iter().map(Vec::len).collect()).collect()
    }

    fn log(&self) -> &PartitionLog {
        self.0.handler().partition(0).unwrap().log()
    }

    /// The floor of partition 0, with its producers sorted.
    fn floor(&self) -> Floor {
        let mut floor = self.log().floor();
        floor.producers.sort();
        floor
    }
}

/// Checks that no part is longer than asked for by more than its last records. Returns the size of
/// the whole snapshot.
fn check(parts: &[Vec<usize>], record_bytes_max: usize) -> usize {
    for part in parts {
        let (bytes, longest) = (part.iter().sum::<usize>(), part.iter().max().unwrap());
        assert!(*longest <= record_bytes_max, "a record of {longest} bytes");
        assert!(bytes < PART_BYTES + 2 * record_bytes_max, "a part of {bytes} bytes");
    }
    parts.iter().flatten().sum()
}

fn send(key: &str, msg: &str) -> Value {
    json!({"type": "send", "key": key, "msg": msg})
}

#[test]
fn no_part_is_longer_than_asked_for_whatever_the_size_of_the_state() {
    let mut lone = Lone::new(Config { partitions: 5, ..Config::default() });
    for n in 0..3_000 {
        lone.ask(send(&format!("k{}", n % 50), &"x".repeat(n % 1_200)), 2);
    }
    for n in 0..100 {
        let offsets = (0..50).map(|key| (format!("{n}-{key}"), json!(7)));
        let offsets: Value = Value::Object(offsets.collect());
        lone.ask(json!({"type": "commit_offsets", "offsets": offsets}), 2);
    }
    let bytes = check(&lone.parts(), PART_BYTES + 1_000);
    assert!(bytes > 1_800_000, "{bytes}");
}

/// An offset takes more time than as many bytes of a message.
#[test]
fn a_part_with_offsets_is_as_short_as_a_batch() {
    const BATCH: usize = 2 << 10;
    let mut lone = Lone::new(Config { batch_bytes: BATCH, ..Config::default() });
    for n in 0..200 {
        let offsets = (0..10).map(|key| (format!("{n}-{key}"), json!(7)));
        let offsets: Value = Value::Object(offsets.collect());
        lone.ask(json!({"type": "commit_offsets", "offsets": offsets}), 2);
    }
    let parts = lone.parts();
    assert!(parts.len() > 40, "{} parts", parts.len());
    for part in parts {
        let bytes: usize = part.iter().sum();
        assert!(bytes < 2 * BATCH, "a part of {bytes} bytes");
    }
}

/// A log keeps the number of deleted messages of each key.
#[test]
fn deleted_messages_of_many_keys_in_many_partitions_do_not_make_a_part_longer() {
    let retention = Retention { segment_bytes: 1, bytes_max: Some(0), age_max: None };
    let mut lone = Lone::new(Config { partitions: 64, retention, ..Config::default() });
    for n in 0..8_000 {
        lone.ask(send(&format!("key {n} {}", "x".repeat(20)), "m"), 2);
    }
    // A partition has about 125 keys, of about 36 bytes each.
    let bytes = check(&lone.parts(), PART_BYTES);
    assert!(bytes > 240_000, "{bytes}");
}

/// Number of keys and of producers in the test of one partition.
const KEYS: u64 = 5_000;
const PRODUCERS: u64 = 1_000;

/// A node whose only partition has deleted a message of each of many keys from many producers.
fn with_a_large_floor(config: &Config) -> Lone {
    let mut lone = Lone::new(config.clone());
    lone.ask(send("first", "m"), 2);
    let (at, mut records) = (lone.log().end(), lone.snapshot().concat());
    let entries = (0..KEYS).map(|n| Entry {
        epoch: lone.log().epoch_before(at),
        producer: Producer { node: "n1".into(), life: n % PRODUCERS },
        seq: n / PRODUCERS,
        key: format!("key {n}").into(),
        msg: to_raw_value(&n).unwrap().into(),
    });
    let append = Record::Append { partition: 0, at, high: at, entries: entries.collect() };
    records.push(serde_json::to_vec(&append).unwrap());
    let mut lone = Lone::recovered(config.clone(), &records, 2);
    lone.ask(send("last", "m"), 3);
    assert_eq!((lone.log().start(), lone.log().end()), (KEYS + 1, KEYS + 2));
    lone
}

#[test]
fn deleted_messages_of_many_keys_and_producers_in_one_partition_do_not_make_a_part_longer() {
    let retention = Retention { segment_bytes: 1, bytes_max: Some(0), age_max: None };
    let config = Config { partitions: 1, retention, ..Config::default() };
    let mut lone = with_a_large_floor(&config);
    lone.ask(json!({"type": "commit_offsets", "offsets": {"key 7": 1}}), 6);
    let bytes = check(&lone.parts(), PART_BYTES);
    assert!(bytes > 4 * PART_BYTES, "{bytes}");
    let estimate = lone.0.snapshot_bytes().unwrap();
    assert!((bytes / 2..bytes * 2).contains(&estimate), "{estimate} of {bytes}");

    let mut restarted = Lone::recovered(config, &lone.snapshot().concat(), 3);
    assert_eq!(restarted.floor(), lone.floor());
    assert_eq!(restarted.floor().next.len() as u64, KEYS + 1);
    for n in 0..KEYS {
        let producer = Producer { node: "n1".into(), life: n % PRODUCERS };
        let found = restarted.log().lookup_send(&producer, n / PRODUCERS);
        assert_eq!(found, SendLookup::Stale, "a send that is not new: {n}");
    }
    for node in [&mut lone, &mut restarted] {
        let keys = json!({"type": "list_committed_offsets", "keys": ["key 7"]});
        assert_eq!(node.ask(keys, 7)["offsets"], json!({"key 7": 1}));
        assert_eq!(node.ask(send("key 7", "m"), 7)["offset"], json!(1));
        let poll = node.ask(json!({"type": "poll", "offsets": {"key 7": 0}}), 7);
        assert_eq!(poll["msgs"]["key 7"], json!([[1, "m"]]), "{poll}");
    }
}
