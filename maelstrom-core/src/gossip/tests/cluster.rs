//! A cluster in virtual time, with a network that delays, reorders, loses, duplicates and cuts.
//!
//! Everything derives from one seed. In every test, the cluster checks
//!
//! * each message when it is sent: it holds nothing that its receiver is known to have, at most one
//!   batch, nothing that its sender lacks, and no entry of its sender's own that a crash could
//!   undo;
//! * each entry when it is applied: once, and in its origin's order;
//! * each node when it receives a message: it has nothing that it would not have if every node sent
//!   everything with every message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rand::Rng;

use super::states::{Store, Values};
use super::*;
use crate::RawNode;
use crate::body;
use crate::gossip::record::Record;
use crate::message::Envelope;
use crate::node::Clock;
use crate::outputs::Output;

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", bound = "S: State")]
pub(super) enum Payload<S: State> {
    Append { value: u32 },
    Gossip(Box<Message<S>>),
}

/// The faults of the network.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    /// The delay of each message in ms. Unless the range is a single number, messages overtake each
    /// other.
    pub(super) delay_ms: RangeInclusive<u64>,
    pub(super) loss: f64,
    pub(super) duplication: f64,
}

/// The records with which a node restarts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Records {
    All,
    First(usize),
}

pub(super) const NO_RECORDS: Records = Records::First(0);

/// A message in transit.
#[derive(Clone)]
pub(super) struct Packet<S: State> {
    from: usize,
    to: usize,
    pub(super) message: Box<Message<S>>,
    pub(super) line: Vec<u8>,
    /// All values that the sender may know.
    flood: Arc<BTreeSet<u32>>,
}

/// The last version that a node received from a peer, and the life of that peer.
#[derive(Clone, Default)]
struct Told {
    life: u64,
    have: VersionVector,
}

/// A generator that gives the same numbers from now on.
pub(super) fn copied(rng: &ChaCha8Rng) -> ChaCha8Rng {
    ChaCha8Rng::deserialize_state(&rng.serialize_state())
}

pub(super) struct Cluster<S: Values> {
    pub(super) rng: ChaCha8Rng,
    pub(super) config: Config,
    pub(super) faults: Faults,
    /// Links (from, to) that deliver nothing.
    pub(super) cut: BTreeSet<(usize, usize)>,
    pub(super) now: Duration,
    /// `None`: the node is down.
    nodes: Vec<Option<RawNode<Store<S>>>>,
    records: Vec<Vec<Vec<u8>>>,
    /// The versions that the records of each node hold.
    durable: Vec<VersionVector>,
    /// The offset of each node's clock. It differs from life to life.
    offsets: Vec<Duration>,
    /// Paused nodes, each with the messages that wait for it.
    paused: BTreeMap<usize, Vec<Packet<S>>>,
    /// How long a node waits after each step of the merge of a snapshot. A message that arrives
    /// earlier lets the node make its next step.
    pub(super) step_takes: Duration,
    /// When each node is ready for its next tick.
    ready: Vec<Duration>,
    in_flight: BTreeMap<(Duration, u64), Packet<S>>,
    /// For each pair of nodes: the version that the first received from the second.
    told: BTreeMap<(usize, usize), Told>,
    /// The values that each node would have if every node sent everything with every message.
    model: Vec<Arc<BTreeSet<u32>>>,
    /// How many messages nodes have processed.
    taken: u64,
    /// All values that clients have appended.
    pub(super) appended: BTreeSet<u32>,
    pub(super) messages_sent: u64,
    pub(super) bytes_sent: usize,
    pub(super) entries_sent: usize,
    pub(super) fetches_sent: u64,
    pub(super) pieces_sent: u64,
    /// How many values the pieces contained.
    pub(super) piece_values_sent: usize,
    /// How many lines were longer than their receiver's limit.
    pub(super) skipped: u64,
    /// The last few lines, for debugging a failure.
    transcript: VecDeque<(Duration, String)>,
}

const TRANSCRIPT_LINES_MAX: usize = 40;

/// The index of peers is checked once for this many messages.
const FILED_EVERY: u64 = 7;

pub(super) fn name(index: usize) -> NodeId {
    format!("n{index:03}").into()
}

impl<S: Values> Drop for Cluster<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (at, line) in &self.transcript {
                println!("{at:?} {line}");
            }
        }
    }
}

impl<S: Values> Cluster<S> {
    pub(super) fn new(seed: u64, size: usize, config: Config, faults: Faults) -> Self {
        let mut cluster = Self::without_nodes(seed, size, config, faults);
        for index in 0..size {
            cluster.start(index, Records::All);
        }
        cluster
    }

    /// A cluster in which all nodes are down.
    pub(super) fn without_nodes(seed: u64, size: usize, config: Config, faults: Faults) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            config,
            faults,
            cut: BTreeSet::new(),
            now: Duration::ZERO,
            nodes: (0..size).map(|_| None).collect(),
            records: vec![Vec::new(); size],
            durable: vec![VersionVector::default(); size],
            offsets: vec![Duration::ZERO; size],
            paused: BTreeMap::new(),
            step_takes: Duration::ZERO,
            ready: vec![Duration::ZERO; size],
            in_flight: BTreeMap::new(),
            told: BTreeMap::new(),
            model: vec![Arc::default(); size],
            taken: 0,
            appended: BTreeSet::new(),
            messages_sent: 0,
            bytes_sent: 0,
            entries_sent: 0,
            fetches_sent: 0,
            pieces_sent: 0,
            piece_values_sent: 0,
            skipped: 0,
            transcript: VecDeque::new(),
        }
    }

    /// A new run of nodes that start with these records of this run. No message is in transit.
    pub(super) fn next_run(&self, records: Vec<Vec<Vec<u8>>>) -> Self {
        let (config, faults) = (self.config.clone(), self.faults.clone());
        let mut next = Self::without_nodes(0, records.len(), config, faults);
        (next.rng, next.now) = (copied(&self.rng), self.now);
        next.appended = self.appended.clone();
        next.records = records;
        for index in 0..next.size() {
            next.start(index, Records::All);
        }
        next
    }

    /// All records that node `index` has written.
    pub(super) fn records(&self, index: usize) -> Vec<Vec<u8>> {
        self.records[index].clone()
    }

    pub(super) fn size(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_alive(&self, index: usize) -> bool {
        self.nodes[index].is_some()
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.size()).filter(|index| self.is_alive(*index))
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.note(format!("n{index} dies"));
        self.nodes[index] = None;
        self.paused.remove(&index);
        self.told.retain(|(to, _), _| *to != index);
        self.model[index] = Arc::default();
    }

    /// Starts a life of node `index`, with these of its records.
    pub(super) fn start(&mut self, index: usize, records: Records) {
        self.note(format!("n{index} begins with records: {records:?}"));
        if let Records::First(count) = records {
            self.records[index].truncate(count);
        }
        let store = Store::<S>::new(self.config.clone());
        let mut node = RawNode::new(store, self.rng.random(), true);
        for record in &self.records[index] {
            node.recover(record).unwrap();
        }
        self.durable[index] = node.handler().gossip.replica().version().clone();
        self.model[index] = Arc::new(node.handler().gossip.state().values());
        let names: Vec<_> = (0..self.size()).map(name).collect();
        let init = serde_json::json!({"src": "c0", "dest": name(index),
            "body": {"type": "init", "node_id": name(index), "node_ids": names}});
        self.offsets[index] = secs(self.rng.random_range(0..1_000));
        node.handle_line(self.clock(index), init.to_string().as_bytes());
        self.nodes[index] = Some(node);
        self.send_out(index);
    }

    pub(super) fn restart(&mut self, index: usize, records: Records) {
        self.kill(index);
        self.start(index, records);
    }

    /// Pauses node `index`. When it resumes, it processes everything at once.
    pub(super) fn pause(&mut self, index: usize) {
        self.note(format!("n{index} falls asleep"));
        self.paused.entry(index).or_default();
    }

    pub(super) fn resume(&mut self, index: usize) {
        self.note(format!("n{index} wakes up"));
        for packet in self.paused.remove(&index).unwrap_or_default() {
            self.deliver(packet);
        }
    }

    pub(super) fn resume_all(&mut self) {
        while let Some((&index, _)) = self.paused.first_key_value() {
            self.resume(index);
        }
    }

    /// Appends a new value at node `index`, as a client does.
    pub(super) fn append(&mut self, index: usize) -> u32 {
        let value = u32::try_from(self.appended.len()).unwrap();
        self.appended.insert(value);
        Arc::make_mut(&mut self.model[index]).insert(value);
        self.hear(index, "c0", &format!(r#"{{"type":"append","value":{value}}}"#));
        value
    }

    /// Appends `count` new values, each at some running node.
    pub(super) fn append_anywhere(&mut self, count: usize) {
        let there: Vec<_> = self.alive().filter(|index| !self.paused.contains_key(index)).collect();
        for _ in 0..count {
            if !there.is_empty() {
                let index = self.rng.random_range(0..there.len());
                self.append(there[index]);
            }
        }
    }

    /// Delivers a message to a node directly, and returns its replies other than gossip.
    pub(super) fn hear(&mut self, index: usize, src: &str, body: &str) -> Vec<String> {
        let dest = name(index);
        let line = format!(r#"{{"src":"{src}","dest":"{dest}","body":{body}}}"#);
        let clock = self.clock(index);
        self.nodes[index].as_mut().unwrap().handle_line(clock, line.as_bytes());
        self.send_out(index)
    }

    /// Cuts both directions between two groups of nodes.
    pub(super) fn cut_between(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            if a != b {
                self.cut.extend([(a, b), (b, a)]);
            }
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let steps_max = 50_000 + time.as_millis() * self.size() as u128;
        let until = self.now + time;
        for _ in 0..steps_max {
            let packet = self.in_flight.first_key_value().map(|((at, _), _)| *at);
            let timer = (0..self.size()).filter_map(|index| self.timeout(index)).min();
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

    fn clock(&self, index: usize) -> Clock {
        Clock { monotonic: self.now + self.offsets[index], wall: Duration::ZERO }
    }

    fn timeout(&self, index: usize) -> Option<Duration> {
        if self.paused.contains_key(&index) {
            return None;
        }
        let at = self.nodes[index].as_ref().and_then(RawNode::poll_timeout)?;
        Some(at.saturating_sub(self.offsets[index]).max(self.ready[index]))
    }

    fn fire(&mut self) {
        let now = self.now;
        for index in 0..self.size() {
            if self.timeout(index).is_some_and(|at| at <= now) {
                if self.engine(index).is_merging() {
                    self.ready[index] = now + self.step_takes;
                }
                let clock = self.clock(index);
                self.nodes[index].as_mut().unwrap().handle_timeout(clock);
                self.send_out(index);
            }
        }
    }

    /// Removes the messages in transit from one node to another, and returns them.
    pub(super) fn intercept(&mut self, from: usize, to: usize) -> Vec<Packet<S>> {
        let is_it = |packet: &mut Packet<S>| packet.from == from && packet.to == to;
        self.in_flight.extract_if(.., |_, packet| is_it(packet)).map(|(_, packet)| packet).collect()
    }

    pub(super) fn deliver(&mut self, packet: Packet<S>) {
        let Packet { from, to, .. } = packet;
        if self.cut.contains(&(from, to)) || !self.is_alive(to) {
            return;
        }
        if let Some(waiting) = self.paused.get_mut(&to) {
            return waiting.push(packet);
        }
        self.note(format!("n{to} <- n{from} {}", packet.message.sent));
        // Without the newline.
        if packet.line.len() - 1 > self.engine(to).config.line_bytes_max {
            self.skipped += 1;
            return;
        }
        // The set may be shared, and then it is copied before it grows. Usually nothing is new.
        if !packet.flood.is_subset(&self.model[to]) {
            Arc::make_mut(&mut self.model[to]).extend(packet.flood.iter());
        }
        let clock = self.clock(to);
        self.nodes[to].as_mut().unwrap().handle_line(clock, &packet.line);
        self.remember(&packet);
        self.send_out(to);
        self.taken += 1;
        // A check of all peers takes long, and an error in the index stays for a while.
        let is_turn = self.taken.is_multiple_of(FILED_EVERY);
        let is_index_right = || self.engine(to).peers.is_index_right();
        assert!(!is_turn || is_index_right(), "n{to} does not know what is due");
        let is_told = self.engine(to).state().is_within(&self.model[to]);
        assert!(is_told, "n{to} has entries that no node can have told it");
    }

    /// Remembers a version that a node attributes to a peer's current life, and on which the node
    /// may rely.
    fn remember(&mut self, packet: &Packet<S>) {
        let Packet { from, to, message, .. } = packet;
        if self.engine(*to).peers.get(&name(*from)).unwrap().life() != Some(message.life) {
            return;
        }
        let told = self.told.entry((*to, *from)).or_default();
        if told.life != message.life {
            *told = Told { life: message.life, have: VersionVector::default() };
        }
        told.have.join(&message.have);
    }

    /// Puts the messages of a node on the network, and returns those that are not gossip.
    fn send_out(&mut self, from: usize) -> Vec<String> {
        let mut others = Vec::new();
        while let Some(output) = self.nodes[from].as_mut().and_then(RawNode::poll_output) {
            match output {
                Output::Record(record) => {
                    let durable = match Record::<S>::read(&record).unwrap() {
                        Record::Own(run) | Record::Others(run) => {
                            let end = run.end();
                            vec![(run.origin.node, run.origin.incarnation, end)].into()
                        }
                        Record::Part(..) => VersionVector::default(),
                        Record::Whole(version) => version,
                        _ => panic!("a node persists no part of a snapshot of its own"),
                    };
                    self.durable[from].join(&durable);
                    self.records[from].push(record);
                }
                Output::Lines(lines) => {
                    let lines = lines.split_inclusive(|byte| *byte == b'\n');
                    others.extend(lines.filter_map(|line| self.send(from, line)));
                }
            }
        }
        others
    }

    fn send(&mut self, from: usize, line: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(line).into_owned();
        let Envelope { dest, body, .. } = serde_json::from_slice(line).unwrap();
        let is_reply = text.contains("in_reply_to");
        let to = (0..self.size()).find(|to| !is_reply && *name(*to) == *dest);
        let Some(to) = to else {
            return Some(text);
        };
        self.note(format!("n{from} -> n{to} {body}"));
        let Payload::Gossip(message) = body::decode("gossip", body).unwrap() else {
            panic!("nodes gossip and nothing else");
        };
        self.check(from, to, &message);
        self.bytes_sent += line.len();
        let mut copies = usize::from(!self.rng.random_bool(self.faults.loss));
        copies += usize::from(self.rng.random_bool(self.faults.duplication));
        let flood = Arc::clone(&self.model[from]);
        let packet = Packet { from, to, message, line: line.to_vec(), flood };
        for _ in 0..copies {
            let delay = self.rng.random_range(self.faults.delay_ms.clone());
            let at = (self.now + Duration::from_millis(delay), self.rng.next_u64());
            self.in_flight.insert(at, packet.clone());
        }
        None
    }

    /// Checks the properties of each message.
    fn check(&mut self, from: usize, to: usize, message: &Message<S>) {
        let told = self.told.entry((from, to)).or_default();
        for run in &message.runs {
            assert!(!run.entries.is_empty(), "an empty run");
            // A node may answer a fetch of a new life before it knows that the life is new.
            let is_other_life = message.echo.is_some_and(|echo| echo.life != told.life);
            let known = if is_other_life { 0 } else { told.have.get(&run.origin) };
            let is_new = if S::Entry::CUMULATIVE { run.end() > known } else { run.start >= known };
            assert!(is_new, "n{from} sends n{to} entries that it is known to have: {}", run.start);
            assert!(run.end() <= message.have.get(&run.origin), "more than there is");
        }
        let version = self.version(from);
        assert!(version.covers(&message.have), "n{from} claims entries that it does not have yet");
        let own = self.engine(from).origin();
        assert!(message.have.get(own) <= self.durable[from].get(own), "a crash would undo this");
        let entries = message.runs.iter().flat_map(|run| &run.entries);
        let bytes: usize = entries.clone().map(Entry::encoded_len).sum();
        let entries = entries.count();
        assert!(entries <= 1 || bytes <= self.config.batch_bytes_max, "{bytes} bytes in a message");
        assert!(!message.lost.contains(&name(from)) && message.hub != Some(name(from)));
        self.messages_sent += 1;
        self.entries_sent += entries;
        self.fetches_sent += u64::from(message.fetch.is_some());
        self.pieces_sent += u64::from(message.piece.is_some());
        let values = message.piece.as_ref().map_or(0, |piece| S::values_in(&piece.part));
        self.piece_values_sent += values;
    }

    /// How many entries and pieces are in transit from a node.
    pub(super) fn under_way_from(&self, index: usize) -> (usize, usize) {
        let packets = self.in_flight.values().filter(|packet| packet.from == index);
        packets.fold((0, 0), |(entries, pieces), Packet { message, .. }| {
            let more: usize = message.runs.iter().map(|run| run.entries.len()).sum();
            (entries + more, pieces + usize::from(message.piece.is_some()))
        })
    }

    /// How many values are in transit from a node in answers to fetches, as entries and in pieces.
    pub(super) fn values_in_answers_from(&self, index: usize) -> usize {
        let packets = self.in_flight.values().filter(|packet| packet.from == index);
        let packets = packets.filter(|packet| packet.message.fetched);
        packets.fold(0, |values, Packet { message, .. }| {
            let entries: usize = message.runs.iter().map(|run| run.entries.len()).sum();
            let piece = message.piece.as_ref().map_or(0, |piece| S::values_in(&piece.part));
            values + entries + piece
        })
    }

    fn note(&mut self, line: String) {
        if self.transcript.len() >= TRANSCRIPT_LINES_MAX {
            self.transcript.pop_front();
        }
        self.transcript.push_back((self.now, line));
    }

    pub(super) fn engine(&self, index: usize) -> &Gossip<S> {
        &self.nodes[index].as_ref().unwrap().handler().gossip
    }

    /// The version of node `index`.
    pub(super) fn version(&self, index: usize) -> &VersionVector {
        self.engine(index).replica.version()
    }

    /// All entries that node `index` still keeps.
    pub(super) fn logs(&self, index: usize) -> Vec<Run<S::Entry>> {
        let replica = &self.engine(index).replica;
        let all = replica.missing(&[&VersionVector::default()], usize::MAX);
        let Missing::Runs { runs, .. } = all else { panic!("a log has been trimmed") };
        runs
    }

    /// The values that node `index` has.
    pub(super) fn values(&self, index: usize) -> BTreeSet<u32> {
        self.engine(index).state().values()
    }

    /// All values that some node can name. (The values of an incomplete snapshot have no names: if
    /// no other node has them any more, they may stay with the node that received them.)
    pub(super) fn union(&self) -> BTreeSet<u32> {
        self.alive().flat_map(|index| self.engine(index).state().applied()).collect()
    }

    pub(super) fn hub(&self, index: usize) -> Option<usize> {
        let hub = self.engine(index).hub.clone()?;
        (0..self.size()).find(|index| name(*index) == hub)
    }

    /// Whether all nodes have the first `count` values that were appended.
    pub(super) fn all_have_first(&self, count: usize) -> bool {
        let count = u32::try_from(count).unwrap();
        let have = |index| self.engine(index).state().has_first(count);
        self.alive().all(have)
    }

    /// Whether all nodes have all of `expected`.
    pub(super) fn all_have(&self, expected: &BTreeSet<u32>) -> bool {
        self.alive().all(|index| self.engine(index).state().len() >= expected.len())
            && self.alive().all(|index| self.values(index).is_superset(expected))
    }

    /// Whether all running nodes have all appended values, under the same names.
    pub(super) fn is_converged(&self) -> bool {
        let Some(first) = self.alive().next() else {
            return true;
        };
        self.all_have(&self.appended)
            && self.alive().all(|index| self.version(index) == self.version(first))
    }

    pub(super) fn assert_converged(&self) {
        self.assert_have(&self.appended.clone());
        let first = self.alive().next().unwrap();
        for index in self.alive() {
            assert_eq!(self.version(index), self.version(first), "n{index} and n{first}");
        }
    }

    pub(super) fn assert_have(&self, expected: &BTreeSet<u32>) {
        for index in self.alive() {
            let values = self.values(index);
            let lacks: Vec<_> = expected.difference(&values).collect();
            assert!(lacks.is_empty(), "at {:?} n{index} lacks {lacks:?}", self.now);
        }
    }

    /// Runs until `happened` returns true, and returns how long that took.
    pub(super) fn run_until(
        &mut self,
        time_max: Duration,
        happened: impl Fn(&Self) -> bool,
    ) -> Duration {
        let start = self.now;
        while !happened(self) {
            if self.now - start >= time_max {
                println!("it does not happen within {time_max:?}");
                self.assert_converged();
                panic!("it does not happen within {time_max:?}");
            }
            self.run_for(Duration::from_millis(1));
        }
        self.now - start
    }

    /// The number of messages that are sent in `time`.
    pub(super) fn messages_in(&mut self, time: Duration) -> u64 {
        let before = self.messages_sent;
        self.run_for(time);
        self.messages_sent - before
    }
}
