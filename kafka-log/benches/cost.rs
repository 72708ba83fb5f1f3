//! The cost of one message as the node's state grows: `cargo bench -p kafka-log`.
//!
//! Each figure is the median over batches of messages, so that load on the machine matters less.
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::print_stdout, reason = "this is where the results go")]
#![expect(clippy::panic, reason = "a benchmark of the wrong thing must not go on")]
#![expect(clippy::arithmetic_side_effects, reason = "figures of times")]

use std::time::{Duration, Instant};

use kafka_log::{Config, KafkaLog};
use maelstrom_core::{Clock, Output, RawNode, gossip};

const BATCHES: usize = 50;
const BATCH: usize = 40;

/// Number of messages in a large log.
const MANY: usize = 1_000_000;

struct Bench {
    node: RawNode<KafkaLog>,
    msg_id: usize,
    /// The records of the node, if they are kept.
    records: Option<Vec<Vec<u8>>>,
}

impl Bench {
    fn new(partitions: u32, node_ids: &str) -> Self {
        let config = Config { partitions, ..Config::default() };
        let handler = KafkaLog::new(config, gossip::Config::default());
        let node = RawNode::new(handler, [7; 32], true);
        let mut bench = Self { node, msg_id: 0, records: None };
        let init = format!(r#""type":"init","node_id":"n1","node_ids":{node_ids}"#);
        bench.ask(&init);
        bench
    }

    /// Hands over a request as a driver does, and returns the lines that come of it.
    fn ask(&mut self, body: &str) -> Vec<u8> {
        self.msg_id += 1;
        let id = self.msg_id;
        let line = format!(r#"{{"src":"c1","dest":"n1","body":{{"msg_id":{id},{body}}}}}"#);
        let clock = Clock { monotonic: Duration::from_secs(1), wall: Duration::ZERO };
        self.node.handle_line(clock, line.as_bytes());
        let (mut said, mut is_commit) = (Vec::new(), false);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Lines(lines) => said.extend(lines),
                Output::Record(record) => {
                    is_commit = true;
                    self.records.iter_mut().for_each(|records| records.push(record.clone()));
                }
            }
        }
        if is_commit {
            std::hint::black_box(self.node.snapshot_bytes());
        }
        said
    }

    fn send(&mut self, key: usize) -> Vec<u8> {
        self.ask(&format!(r#""type":"send","key":"k{key}","msg":1"#))
    }

    /// A key of each partition.
    fn keys(&self) -> Vec<usize> {
        let placement = self.node.handler().placement();
        let mut keys = std::collections::BTreeMap::new();
        for key in 0.. {
            if keys.len() == placement.partitions() as usize {
                break;
            }
            keys.entry(placement.partition(&format!("k{key}"))).or_insert(key);
        }
        keys.into_values().collect()
    }

    /// The median time of a request.
    fn time(&mut self, mut request: impl FnMut(&mut Self) -> Vec<u8>, answer: &str) -> Duration {
        let mut times = Vec::new();
        for _ in 0..BATCHES {
            let start = Instant::now();
            for _ in 0..BATCH {
                let said = request(self);
                if !String::from_utf8_lossy(&said).contains(answer) {
                    panic!("{}", String::from_utf8_lossy(&said));
                }
            }
            times.push(start.elapsed() / u32::try_from(BATCH).unwrap_or(u32::MAX));
        }
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

/// The memory of this process, in bytes. `None` where it cannot be read.
fn resident_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<usize>().ok()? * 4_096)
}

/// A lone node with many messages of one byte on one key: memory, polls and a restart.
fn measure_many_messages() {
    let mut bench = Bench::new(1, r#"["n1"]"#);
    let before = resident_bytes();
    (0..MANY).for_each(|_| drop(bench.send(0)));
    let bytes = resident_bytes().zip(before).map(|(after, before)| (after - before) / MANY);
    let bytes = bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes} bytes"));
    println!("| memory for a message of one byte | {MANY} messages on one key | {bytes} |");
    for (place, from) in [("begin", 0), ("middle", MANY / 2), ("end", MANY - 100)] {
        let body = format!(r#""type":"poll","offsets":{{"k0":{from}}}"#);
        let time = bench.time(|bench| bench.ask(&body), &format!("[{from},1]"));
        println!("| poll at the {place} | {MANY} messages on one key | {time:.2?} |");
    }
    let mut bench = Bench::new(1, r#"["n1"]"#);
    bench.records = Some(Vec::new());
    (0..MANY).for_each(|_| drop(bench.send(0)));
    let config = Config { partitions: 1, ..Config::default() };
    let handler = KafkaLog::new(config, gossip::Config::default());
    let (start, mut node) = (Instant::now(), RawNode::new(handler, [8; 32], true));
    for record in bench.records.iter().flatten() {
        if let Err(error) = node.recover(record) {
            panic!("{error}");
        }
    }
    let time = start.elapsed();
    println!("| restart, without the disk | {MANY} messages on one key | {time:.2?} |");
}

fn main() {
    println!("| message | of | time |");
    println!("|---------|----|-----:|");
    for pending in [0, 1_000, 16_000] {
        let mut bench = Bench::new(64, r#"["n1","n2"]"#);
        // The other node never answers.
        (0..pending).for_each(|key| drop(bench.send(key)));
        if bench.node.unanswered() != pending {
            panic!("{} sends are pending", bench.node.unanswered());
        }
        let poll = |bench: &mut Bench| bench.ask(r#""type":"poll","offsets":{"k":0}"#);
        let time = bench.time(poll, "poll_ok");
        println!("| poll | {pending} pending sends | {time:.2?} |");
    }
    for before in [0, 16_000 - BATCHES * BATCH] {
        let mut bench = Bench::new(64, r#"["n1","n2"]"#);
        (0..before).for_each(|key| drop(bench.send(key)));
        let mut key = before;
        let send = |bench: &mut Bench| {
            key += 1;
            bench.send(key)
        };
        let time = bench.time(send, "");
        println!("| send without a leader | {before} pending sends and more | {time:.2?} |");
    }
    for partitions in [64, 4_096] {
        let mut bench = Bench::new(partitions, r#"["n1"]"#);
        let keys = bench.keys();
        keys.iter().for_each(|key| drop(bench.send(*key)));
        let mut turn = keys.iter().cycle();
        let send = |bench: &mut Bench| bench.send(turn.next().copied().unwrap_or(0));
        let time = bench.time(send, "send_ok");
        println!("| send on a lone node | {partitions} partitions | {time:.2?} |");
    }
    measure_many_messages();
}
