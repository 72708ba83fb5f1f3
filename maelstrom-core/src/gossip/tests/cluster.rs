//! A cluster in virtual time, and a network that delays, reorders, loses, duplicates and cuts.
//!
//! Everything derives from one seed. Whatever a test is about, each message is checked as it
//! leaves: it holds nothing that its receiver is known to have, and no more than a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::body;
use crate::message::{Envelope, Request};
use crate::node::{Clock, Output};
use crate::{MessageHandler, RawNode};

/// Appends what clients send and keeps what it learns, in order.
struct Store {
    gossip: Gossip<u32>,
    learned: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Append { value: u32 },
    Gossip(Message<u32>),
}

impl MessageHandler for Store {
    type Payload = Payload;
    type Event = Tick;

    fn started(&mut self, node: &mut Node<Tick>) {
        self.gossip.start(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Tick>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Append { value } => {
                self.learned.push(value);
                self.gossip.append(node, value);
            }
            Payload::Gossip(message) => {
                let new = self.gossip.message_from(node, request.src(), message)?;
                self.learned.extend(new);
            }
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Tick>, tick: Tick) {
        self.gossip.tick(node, &tick);
    }
}

/// What the network does to messages.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    /// How long each takes, in ms; they overtake each other where this is not one number.
    pub(super) delay_ms: RangeInclusive<u64>,
    pub(super) loss: f64,
    pub(super) duplication: f64,
}

/// A message under way.
struct Packet {
    from: usize,
    to: usize,
    message: Message<u32>,
    line: Vec<u8>,
}

/// What a node was told by a peer: by which life of it, and what that has.
#[derive(Default)]
struct Told {
    incarnation: u64,
    have: VersionVector,
}

pub(super) struct Cluster {
    pub(super) rng: ChaCha8Rng,
    pub(super) config: Config,
    pub(super) faults: Faults,
    /// Links (from, to) that carry nothing.
    pub(super) cut: BTreeSet<(usize, usize)>,
    pub(super) now: Duration,
    size: usize,
    nodes: Vec<RawNode<Store>>,
    in_flight: BTreeMap<(Duration, u64), Packet>,
    /// What the first of each pair was told by the second.
    told: BTreeMap<(usize, usize), Told>,
    /// All that clients have appended.
    pub(super) appended: Vec<u32>,
    pub(super) messages_sent: u64,
    pub(super) entries_sent: usize,
}

fn clock(now: Duration) -> Clock {
    Clock { monotonic: now, wall: Duration::ZERO }
}

fn name(index: usize) -> String {
    format!("n{index}")
}

impl Cluster {
    pub(super) fn new(seed: u64, size: usize, config: Config, faults: Faults) -> Self {
        let mut cluster = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            config,
            faults,
            cut: BTreeSet::new(),
            now: Duration::ZERO,
            size,
            nodes: Vec::new(),
            in_flight: BTreeMap::new(),
            told: BTreeMap::new(),
            appended: Vec::new(),
            messages_sent: 0,
            entries_sent: 0,
        };
        for index in 0..size {
            let node = cluster.new_node(index);
            cluster.nodes.push(node);
        }
        for index in 0..size {
            cluster.send_out(index);
        }
        cluster
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn new_node(&mut self, index: usize) -> RawNode<Store> {
        let store = Store { gossip: Gossip::new(self.config), learned: Vec::new() };
        let mut node = RawNode::new(store, self.rng.random(), false);
        let names: Vec<String> = (0..self.size()).map(name).collect();
        let init = serde_json::json!({"src": "c0", "dest": name(index),
            "body": {"type": "init", "node_id": name(index), "node_ids": names}});
        node.handle_line(clock(self.now), init.to_string().as_bytes());
        node
    }

    /// Node `index` dies, and comes back with nothing but its name.
    pub(super) fn restart(&mut self, index: usize) {
        self.told.retain(|(from, _), _| *from != index);
        let node = self.new_node(index);
        self.nodes[index] = node;
        self.send_out(index);
    }

    /// A client appends `value` at node `index`.
    pub(super) fn append(&mut self, index: usize, value: u32) {
        self.appended.push(value);
        let body = format!(r#"{{"type":"append","value":{value}}}"#);
        self.tell(index, "c0", &body);
    }

    /// Hands a node a message past the network, and returns what it answers but gossip.
    pub(super) fn tell(&mut self, index: usize, src: &str, body: &str) -> Vec<String> {
        let dest = name(index);
        let line = format!(r#"{{"src":"{src}","dest":"{dest}","body":{body}}}"#);
        self.nodes[index].handle_line(clock(self.now), line.as_bytes());
        self.send_out(index)
    }

    /// Appends `count` new values, each somewhere.
    pub(super) fn append_anywhere(&mut self, count: usize) {
        for _ in 0..count {
            let index = self.rng.random_range(0..self.size());
            let value = u32::try_from(self.appended.len()).unwrap();
            self.append(index, value);
        }
    }

    /// Cuts both directions between two groups of nodes.
    pub(super) fn cut_between(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            self.cut.extend([(a, b), (b, a)]);
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        const STEPS_MAX: usize = 20_000;
        let until = self.now + time;
        for _ in 0..STEPS_MAX {
            let packet = self.in_flight.first_key_value().map(|((at, _), _)| *at);
            let timer = self.nodes.iter().filter_map(RawNode::poll_timeout).min();
            let Some(next) = packet.into_iter().chain(timer).min().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = next.max(self.now);
            if packet == Some(next) {
                let (_, packet) = self.in_flight.pop_first().unwrap();
                self.deliver(packet);
            } else {
                self.fire();
            }
        }
        panic!("the cluster is busy without end");
    }

    fn fire(&mut self) {
        for index in 0..self.size() {
            if self.nodes[index].poll_timeout().is_some_and(|at| at <= self.now) {
                self.nodes[index].handle_timeout(clock(self.now));
                self.send_out(index);
            }
        }
    }

    fn deliver(&mut self, packet: Packet) {
        if self.cut.contains(&(packet.from, packet.to)) {
            return;
        }
        let told = self.told.entry((packet.to, packet.from)).or_default();
        let Message { incarnation, have, .. } = packet.message;
        if told.incarnation == incarnation {
            told.have.join(&have);
        } else {
            *told = Told { incarnation, have };
        }
        self.nodes[packet.to].handle_line(clock(self.now), &packet.line);
        self.send_out(packet.to);
    }

    /// Puts what a node says on the network, and returns what is no gossip.
    fn send_out(&mut self, from: usize) -> Vec<String> {
        let mut others = Vec::new();
        while let Some(output) = self.nodes[from].poll_output() {
            let Output::Lines(lines) = output else {
                panic!("nothing is persisted here");
            };
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                others.extend(self.send(from, line));
            }
        }
        others
    }

    fn send(&mut self, from: usize, line: &[u8]) -> Option<String> {
        let Envelope { dest, body, .. } = serde_json::from_slice(line).unwrap();
        let refusal = body.get().starts_with(r#"{"type":"error""#);
        let Some(to) = (0..self.size()).find(|to| !refusal && name(*to) == dest) else {
            return Some(String::from_utf8_lossy(line).into_owned());
        };
        let Payload::Gossip(message) = body::decode("gossip", body).unwrap() else {
            panic!("nodes gossip and nothing else");
        };
        self.check(from, to, &message);
        let mut copies = usize::from(!self.rng.random_bool(self.faults.loss));
        copies += usize::from(self.rng.random_bool(self.faults.duplication));
        for _ in 0..copies {
            let delay = self.rng.random_range(self.faults.delay_ms.clone());
            let at = (self.now + Duration::from_millis(delay), self.rng.next_u64());
            let packet = Packet { from, to, message: message.clone(), line: line.to_vec() };
            self.in_flight.insert(at, packet);
        }
        None
    }

    /// What holds for each message.
    fn check(&mut self, from: usize, to: usize, message: &Message<u32>) {
        let told = self.told.entry((from, to)).or_default();
        for run in &message.runs {
            assert!(!run.entries.is_empty(), "an empty run");
            assert!(
                run.start >= told.have.get(&run.origin),
                "n{from} sends n{to} what it is known to have: {run:?}"
            );
        }
        let entries = message.runs.iter().flat_map(|run| &run.entries);
        let bytes: usize = entries.clone().map(Entry::encoded_len).sum();
        let entries = entries.count();
        assert!(entries <= 1 || bytes <= self.config.batch_bytes_max, "{bytes} bytes in a message");
        assert!(entries <= self.appended.len(), "more than there is");
        self.messages_sent += 1;
        self.entries_sent += entries;
    }

    /// The life that node `index` lives.
    pub(super) fn incarnation(&self, index: usize) -> u64 {
        self.nodes[index].handler().gossip.origin.incarnation
    }

    /// What node `index` has.
    pub(super) fn version(&self, index: usize) -> &VersionVector {
        self.nodes[index].handler().gossip.replica.version()
    }

    /// What node `index` learned, in order.
    pub(super) fn learned(&self, index: usize) -> &[u32] {
        &self.nodes[index].handler().learned
    }

    /// All logs of node `index`.
    pub(super) fn logs(&self, index: usize) -> Vec<Run<u32>> {
        let replica = &self.nodes[index].handler().gossip.replica;
        replica.missing(&VersionVector::default(), usize::MAX)
    }

    /// Whether all replicas are the same.
    pub(super) fn is_converged(&self) -> bool {
        (1..self.size()).all(|index| self.logs(index) == self.logs(0))
    }

    /// Every replica is the same, and each node has learned exactly what was appended.
    pub(super) fn assert_converged(&self) {
        let mut expected = self.appended.clone();
        expected.sort_unstable();
        for index in 0..self.size() {
            let mut learned = self.learned(index).to_vec();
            learned.sort_unstable();
            assert_eq!(learned, expected, "what n{index} learned");
            assert_eq!(self.logs(index), self.logs(0), "n{index} and n0");
        }
    }

    /// How many messages are sent in `time`.
    pub(super) fn messages_in(&mut self, time: Duration) -> u64 {
        let before = self.messages_sent;
        self.run_for(time);
        self.messages_sent - before
    }
}
