//! Many values: their size in memory, and the time in which an empty node catches up.
//!
//! With a million values:
//! `VALUES=1000000 cargo test --release -p broadcast --test nodes many:: -- --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and so do its helpers"
)]
#![expect(clippy::disallowed_methods, reason = "a test has no other command line")]

use std::collections::BTreeMap;
use std::time::Duration;

use broadcast::Broadcast;
use maelstrom_core::gossip::Config;
use maelstrom_core::{Clock, Output, RawNode};

const NODES: usize = 5;
const HOP: Duration = Duration::from_millis(10);

/// Five nodes, 10 ms apart.
struct Cluster {
    now: Duration,
    nodes: Vec<RawNode<Broadcast>>,
    in_flight: BTreeMap<(Duration, u64), (usize, Vec<u8>)>,
    sent: u64,
    longest: usize,
}

impl Cluster {
    fn new() -> Self {
        let nodes = (0..NODES).map(|index| new_node(index, 0)).collect();
        let in_flight = BTreeMap::new();
        let mut cluster = Self { now: Duration::ZERO, nodes, in_flight, sent: 0, longest: 0 };
        cluster.run_for(Duration::from_secs(3));
        cluster
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.now, wall: self.now }
    }

    fn broadcast(&mut self, index: usize, value: u64) {
        let line = format!(
            r#"{{"src":"c1","dest":"n{index}","body":{{"type":"broadcast","message":{value}}}}}"#
        );
        let clock = self.clock();
        self.nodes[index].handle_line(clock, line.as_bytes());
        self.send_out(index);
    }

    fn send_out(&mut self, from: usize) {
        while let Some(output) = self.nodes[from].poll_output() {
            let Output::Lines(lines) = output else { continue };
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                let text = std::str::from_utf8(line).unwrap();
                let dest = text.split_once(r#""dest":"n"#).map(|(_, rest)| rest[..1].parse());
                let Some(Ok(to)) = dest else { continue };
                self.sent += 1;
                self.longest = self.longest.max(line.len());
                self.in_flight.insert((self.now + HOP, self.sent), (to, line.to_vec()));
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let packet = self.in_flight.first_key_value().map(|((at, _), _)| *at);
            let timer = self.nodes.iter().filter_map(RawNode::poll_timeout).min();
            let next = packet.into_iter().chain(timer).min().filter(|at| *at <= until);
            let Some(next) = next else {
                self.now = until;
                return;
            };
            self.now = next.max(self.now);
            let clock = self.clock();
            if packet == Some(next) {
                let (_, (to, line)) = self.in_flight.pop_first().unwrap();
                self.nodes[to].handle_line(clock, &line);
                self.send_out(to);
                continue;
            }
            for index in 0..NODES {
                if self.nodes[index].poll_timeout().is_some_and(|at| at <= next) {
                    self.nodes[index].handle_timeout(clock);
                    self.send_out(index);
                }
            }
        }
    }

    fn count(&self, index: usize) -> usize {
        self.nodes[index].handler().gossip().state().len()
    }
}

fn new_node(index: usize, life: u8) -> RawNode<Broadcast> {
    let mut seed = [life; 32];
    seed[0] = u8::try_from(index).unwrap();
    let mut node = RawNode::new(Broadcast::default(), seed, false);
    let init = format!(
        r#"{{"src":"c0","dest":"n{index}","body":{{"type":"init","node_id":"n{index}","node_ids":["n0","n1","n2","n3","n4"]}}}}"#
    );
    node.handle_line(Clock::default(), init.as_bytes());
    while node.poll_output().is_some() {}
    node
}

#[test]
fn memory_stays_close_to_the_values_and_an_empty_node_catches_up_in_bounded_pieces() {
    let values: u64 = std::env::var("VALUES").map_or(20_000, |text| text.parse().unwrap());
    let mut cluster = Cluster::new();
    for value in 0..values {
        cluster.broadcast(usize::try_from(value % 5).unwrap(), value);
        if value % 100 == 0 {
            cluster.run_for(Duration::from_millis(10));
        }
    }
    cluster.run_for(Duration::from_secs(2));
    let total = usize::try_from(values).unwrap();
    for index in 0..NODES {
        assert_eq!(cluster.count(index), total);
    }
    let gossip = cluster.nodes[3].handler().gossip();
    let (text, state) = (gossip.state().text().len(), gossip.state().memory_bytes());
    let logs = gossip.replica().log_bytes();
    let log_max = Config::default().log_bytes_max;
    println!(
        "{values} values of {text} bytes: {state} bytes of state, {logs} bytes of logs, \
         {} messages, the longest {} bytes",
        cluster.sent, cluster.longest
    );
    assert!(logs <= log_max, "{logs}");
    // Vectors and tables double when they are full: up to twice the 13 bytes, and twice the text.
    assert!(state <= 2 * (text + 13 * total) + 1_000, "{state}");

    cluster.nodes[3] = new_node(3, 1);
    let (begun, sent) = (cluster.now, cluster.sent);
    while cluster.count(3) < total {
        assert!(cluster.now < begun + Duration::from_secs(60), "it never catches up");
        cluster.run_for(Duration::from_millis(10));
    }
    let messages = cluster.sent - sent;
    println!("an empty node has all after {:?} and {messages} messages", cluster.now - begun);
    let pieces = u64::try_from(text / Config::default().batch_bytes_max).unwrap();
    assert!(messages <= 4 * pieces + 30, "{messages}");
    // A piece, and a version vector beside it.
    assert!(cluster.longest <= Config::default().batch_bytes_max + 10_000, "{}", cluster.longest);
}
