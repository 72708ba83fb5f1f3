//! A cluster in virtual time, whose links come and go.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use broadcast::Broadcast;
use maelstrom_core::{Clock, Output, RawNode, gossip};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const SIZE: usize = 3;
const INTERVAL: Duration = Duration::from_secs(1);
const DELAY_MS_MAX: u64 = 100;

/// Two ticks and an exchange of three messages.
const BOUND: Duration = Duration::from_millis(2_000 + 3 * DELAY_MS_MAX);

/// Three nodes, and messages that overtake each other.
struct Cluster {
    rng: ChaCha8Rng,
    now: Duration,
    nodes: Vec<RawNode<Broadcast>>,
    in_flight: BTreeMap<(Duration, u64), (usize, usize, String)>,
    /// The node that no other one reaches.
    isolated: Option<usize>,
    /// What each node answered to the last read.
    reads: Vec<Vec<Value>>,
    acknowledged: Vec<u64>,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = gossip::Config { exchange_interval: INTERVAL, ..gossip::Config::default() };
        let mut node = || RawNode::new(Broadcast::new(config), rng.random(), false);
        let nodes = (0..SIZE).map(|_| node()).collect();
        let mut cluster = Self {
            rng,
            now: Duration::ZERO,
            nodes,
            in_flight: BTreeMap::new(),
            isolated: None,
            reads: vec![Vec::new(); SIZE],
            acknowledged: Vec::new(),
        };
        for index in 0..SIZE {
            let body = format!(
                r#"{{"type":"init","msg_id":1,"node_id":"n{index}","node_ids":["n0","n1","n2"]}}"#
            );
            assert_eq!(cluster.ask(index, &body)["type"], "init_ok");
        }
        cluster
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.now, wall: Duration::ZERO }
    }

    /// What a client is answered.
    fn ask(&mut self, index: usize, body: &str) -> Value {
        let line = format!(r#"{{"src":"c1","dest":"n{index}","body":{body}}}"#);
        let clock = self.clock();
        self.nodes[index].handle_line(clock, line.as_bytes());
        self.send_out(index).expect("an answer")
    }

    fn broadcast(&mut self, index: usize, value: u64) {
        let body = format!(r#"{{"type":"broadcast","msg_id":1,"message":{value}}}"#);
        assert_eq!(self.ask(index, &body)["type"], "broadcast_ok");
        self.acknowledged.push(value);
    }

    /// Reads everywhere; what was there before must still be, in the same order.
    fn read_all(&mut self) {
        for index in 0..SIZE {
            let mut body = self.ask(index, r#"{"type":"read","msg_id":1}"#);
            let read: Vec<Value> = serde_json::from_value(body["messages"].take()).unwrap();
            assert!(read.starts_with(&self.reads[index]), "n{index} reordered its values");
            self.reads[index] = read;
        }
    }

    /// Puts on the network what is for other nodes, and returns the body of what is for a client.
    fn send_out(&mut self, from: usize) -> Option<Value> {
        let mut answer = None;
        while let Some(Output::Lines(lines)) = self.nodes[from].poll_output() {
            for line in String::from_utf8(lines).unwrap().lines() {
                let mut message: Value = serde_json::from_str(line).unwrap();
                let dest = message["dest"].as_str().unwrap();
                let Some(to) = dest.strip_prefix('n') else {
                    answer = Some(message["body"].take());
                    continue;
                };
                let delay = Duration::from_millis(self.rng.random_range(0..=DELAY_MS_MAX));
                let at = (self.now + delay, self.rng.next_u64());
                let packet = (from, to.parse().unwrap(), line.to_owned());
                self.in_flight.insert(at, packet);
            }
        }
        answer
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..100_000 {
            let packet = self.in_flight.keys().next().map(|(at, _)| *at);
            let timers = self.nodes.iter().map(RawNode::poll_timeout).enumerate();
            let timer = timers.filter_map(|(i, at)| Some((at?, i))).min();
            let next = packet.into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = next.max(self.now);
            let clock = self.clock();
            if packet == Some(next) {
                let (_, (from, to, line)) = self.in_flight.pop_first().unwrap();
                if ![Some(from), Some(to)].contains(&self.isolated) {
                    self.nodes[to].handle_line(clock, line.as_bytes());
                    self.send_out(to);
                }
            } else if let Some((_, index)) = timer {
                self.nodes[index].handle_timeout(clock);
                self.send_out(index);
            }
        }
        panic!("the cluster is busy without end");
    }

    fn assert_converged(&mut self) {
        self.read_all();
        self.acknowledged.sort_unstable();
        self.acknowledged.dedup();
        for read in &self.reads {
            let mut values: Vec<u64> = read.iter().map(|value| value.as_u64().unwrap()).collect();
            values.sort_unstable();
            assert_eq!(values, self.acknowledged);
        }
    }
}

#[test]
fn a_partition_holds_values_back_and_its_end_brings_them_within_the_bound() {
    let mut cluster = Cluster::new(1);
    cluster.isolated = Some(0);
    for value in 0..30 {
        cluster.broadcast(usize::try_from(value).unwrap() % SIZE, value);
        cluster.run_for(Duration::from_millis(300));
    }
    cluster.run_for(BOUND);
    cluster.read_all();
    let lengths: Vec<usize> = cluster.reads.iter().map(Vec::len).collect();
    assert_eq!(lengths, [10, 20, 20]);
    cluster.isolated = None;
    cluster.run_for(BOUND);
    cluster.assert_converged();
}

#[test]
fn whoever_is_cut_off_and_whenever_all_acknowledged_values_end_up_everywhere() {
    for seed in 0..40 {
        let mut cluster = Cluster::new(seed);
        for _ in 0..40 {
            if cluster.rng.random_bool(0.2) {
                let choices = [None, Some(0), Some(1), Some(2)];
                cluster.isolated = choices[cluster.rng.random_range(0..choices.len())];
            }
            // Now and then a value that was sent before, perhaps to another node.
            let value = cluster.rng.random_range(0..60);
            let index = cluster.rng.random_range(0..SIZE);
            cluster.broadcast(index, value);
            let pause = Duration::from_millis(cluster.rng.random_range(0..200));
            cluster.run_for(pause);
            cluster.read_all();
        }
        cluster.isolated = None;
        cluster.run_for(BOUND);
        cluster.assert_converged();
    }
}
