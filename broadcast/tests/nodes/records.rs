//! A node that keeps records: each value that it acknowledged is among them, even if it learned of
//! the value from gossip.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use broadcast::Broadcast;
use maelstrom_core::gossip::Config;
use maelstrom_core::{Clock, Output, RawNode};
use proptest::prelude::*;
use serde_json::{Value, json};

const NAMES: [&str; 2] = ["n1", "n2"];

/// How long a message is under way.
const HOP: Duration = Duration::from_millis(1);

/// Longer than any period or timeout of the gossip engine on such a network.
const A_WHILE: Duration = Duration::from_secs(5);

/// Two nodes, a network that delivers one message at a time, and a disk for each node.
struct Pair {
    nodes: [RawNode<Broadcast>; 2],
    disks: [Vec<Vec<u8>>; 2],
    is_durable: bool,
    config: Config,
    is_cut: bool,
    /// Messages between the nodes, each with the index of its receiver.
    under_way: VecDeque<(usize, Value)>,
    /// The bytes of all messages between the nodes.
    gossip_bytes: usize,
    now: Duration,
    lives: u64,
}

impl Pair {
    fn new(is_durable: bool, config: Config) -> Self {
        let node = || RawNode::new(Broadcast::new(config.clone()), [0; 32], is_durable);
        let nodes = [node(), node()];
        let (disks, now) = (Default::default(), Duration::ZERO);
        let mut pair = Self {
            nodes,
            disks,
            is_durable,
            config,
            is_cut: false,
            under_way: VecDeque::new(),
            gossip_bytes: 0,
            now,
            lives: 0,
        };
        pair.restart(0);
        pair.restart(1);
        pair.run();
        pair
    }

    fn durable() -> Self {
        Self::new(true, Config::default())
    }

    /// Kills a node. Its next life has the records on its disk.
    fn restart(&mut self, at: usize) {
        self.lives += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.lives.to_le_bytes());
        let mut node = RawNode::new(Broadcast::new(self.config.clone()), seed, self.is_durable);
        for record in &self.disks[at] {
            node.recover(record).unwrap();
        }
        self.nodes[at] = node;
        let init = json!({"type": "init", "msg_id": 1, "node_id": NAMES[at], "node_ids": NAMES});
        assert_eq!(self.ask(at, &init)["type"], "init_ok");
    }

    /// Kills a node and empties its disk.
    fn replace(&mut self, at: usize) {
        self.disks[at].clear();
        self.restart(at);
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.now, wall: self.now }
    }

    fn handle(&mut self, src: &str, at: usize, body: &Value) {
        let line = json!({"src": src, "dest": NAMES[at], "body": body}).to_string();
        let clock = self.clock();
        self.nodes[at].handle_line(clock, line.as_bytes());
    }

    /// The reply to a client.
    fn ask(&mut self, at: usize, body: &Value) -> Value {
        self.handle("c1", at, body);
        self.flush(at).pop().unwrap()
    }

    /// Handles all outputs of a node, and their consequences. Returns the replies to clients.
    fn flush(&mut self, at: usize) -> Vec<Value> {
        let mut replies = Vec::new();
        self.take_outputs(at, &mut replies);
        for count in 0.. {
            let Some((to, body)) = self.under_way.pop_front() else { break };
            assert!(count < 10_000, "the nodes talk for ever: {body}");
            if !self.is_cut {
                self.now += HOP;
                self.handle(NAMES[1 - to], to, &body);
                self.take_outputs(to, &mut replies);
            }
        }
        replies
    }

    fn take_outputs(&mut self, at: usize, replies: &mut Vec<Value>) {
        while let Some(output) = self.nodes[at].poll_output() {
            match output {
                Output::Record(record) => self.disks[at].push(record),
                Output::Lines(lines) => {
                    let lines = std::str::from_utf8(&lines).unwrap();
                    for line in lines.lines() {
                        let mut message: Value = serde_json::from_str(line).unwrap();
                        let body = message["body"].take();
                        if message["dest"] == "c1" {
                            replies.push(body);
                        } else {
                            self.gossip_bytes += line.len();
                            self.under_way.push_back((1 - at, body));
                        }
                    }
                }
            }
        }
    }

    fn add(&mut self, at: usize, value: u64) {
        let body = json!({"type": "broadcast", "msg_id": 2, "message": value});
        assert_eq!(self.ask(at, &body)["type"], "broadcast_ok");
    }

    fn read(&mut self, at: usize) -> BTreeSet<u64> {
        let reply = self.ask(at, &json!({"type": "read", "msg_id": 3}));
        serde_json::from_value(reply["messages"].clone()).unwrap()
    }

    /// Lets both nodes run for a while.
    fn run(&mut self) {
        let end = self.now + A_WHILE;
        loop {
            let next = |node: &RawNode<Broadcast>| node.poll_timeout();
            let due = self.nodes.iter().filter_map(next).min().filter(|at| *at <= end);
            self.now = due.unwrap_or(end).max(self.now);
            for at in 0..2 {
                let clock = self.clock();
                self.nodes[at].handle_timeout(clock);
                self.flush(at);
            }
            if due.is_none() {
                return;
            }
        }
    }
}

#[test]
fn a_value_known_from_gossip_is_on_record_once_it_is_acknowledged() {
    let mut pair = Pair::durable();
    pair.add(1, 7);
    pair.run();
    assert_eq!(pair.read(0), [7].into());
    pair.add(0, 7);
    // The disk of the node that acknowledged the value last is the only one left.
    pair.is_cut = true;
    pair.replace(1);
    pair.restart(0);
    assert_eq!(pair.read(0), [7].into());
    // The value is in an entry there, by which the other node learns of it.
    pair.is_cut = false;
    pair.run();
    assert_eq!(pair.read(1), [7].into());
}

#[test]
fn a_value_known_from_a_snapshot_is_on_record_once_it_is_acknowledged() {
    // The log keeps only the newest entry, and a piece of a snapshot has about three values.
    let config = Config { log_bytes_max: 0, batch_bytes_max: 6, ..Config::default() };
    let mut pair = Pair::new(true, config);
    pair.is_cut = true;
    for value in 0..20 {
        pair.add(1, value);
    }
    pair.is_cut = false;
    pair.run();
    pair.run();
    assert_eq!(pair.read(0), (0..20).collect());
    pair.add(0, 3);
    pair.is_cut = true;
    pair.replace(1);
    pair.restart(0);
    assert!(pair.read(0).contains(&3));
}

#[test]
fn a_value_goes_on_record_once_however_often_it_is_sent() {
    let mut pair = Pair::durable();
    pair.add(1, 7);
    pair.run();
    for _ in 0..3 {
        for _ in 0..3 {
            pair.add(0, 7);
            pair.add(0, 8);
        }
        assert_eq!(pair.disks[0].len(), 2);
        pair.restart(0);
        pair.run();
    }
}

/// A node without records has no such cost.
#[test]
fn without_records_a_known_value_costs_no_message() {
    let mut pair = Pair::new(false, Config::default());
    pair.add(1, 7);
    pair.run();
    let before = pair.gossip_bytes;
    pair.add(0, 7);
    pair.run();
    assert_eq!(pair.gossip_bytes, before);
}

/// The last piece of the snapshot is invalid. So its values never become entries here, and their
/// sender may be gone.
#[test]
fn a_value_that_is_sent_while_a_snapshot_is_being_merged_gets_a_name() {
    let mut node = RawNode::new(Broadcast::default(), [0; 32], false);
    let clock = Clock { monotonic: Duration::ZERO, wall: Duration::ZERO };
    let mut hear = |src: &str, body: Value| {
        let line = json!({"src": src, "dest": "n1", "body": body}).to_string();
        node.handle_line(clock, line.as_bytes());
        let gossip = node.handler().gossip();
        (gossip.is_merging(), gossip.replica().version().get(gossip.origin()))
    };
    hear("c1", json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": NAMES}));
    let parts = [json!([7]), json!([8]), json!([9]), json!({"not": "a list"})];
    for (position, part) in (0_u64..).zip(parts) {
        let next = (position < 3).then_some(position + 1);
        let piece = json!({"position": position, "next": next, "part": part});
        let (is_merging, _) = hear(
            "n2",
            json!({"type": "gossip", "life": 5, "sent": position, "view": 1,
                "have": [["n3", 1, 3]], "piece": piece}),
        );
        assert_eq!(is_merging, next.is_none());
    }
    let (_, appended) = hear("c1", json!({"type": "broadcast", "msg_id": 2, "message": 7}));
    assert_eq!(appended, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Add(usize, u64),
    Run,
    /// Cuts or heals the network.
    Cut(bool),
    Restart(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, 0..8_u64).prop_map(|(at, value)| Step::Add(at, value)),
        3 => Just(Step::Run),
        1 => any::<bool>().prop_map(Step::Cut),
        1 => (0..2_usize).prop_map(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn each_node_alone_recovers_all_that_it_acknowledged(
        steps in prop::collection::vec(any_step(), 1..40),
        log_bytes_max in prop_oneof![Just(0_usize), Just(1 << 20)],
        batch_bytes_max in prop_oneof![Just(1_usize), Just(6), Just(1 << 10)],
    ) {
        let mut pair =
            Pair::new(true, Config { log_bytes_max, batch_bytes_max, ..Config::default() });
        let mut told = [BTreeSet::new(), BTreeSet::new()];
        for step in steps {
            match step {
                Step::Add(at, value) => {
                    pair.add(at, value);
                    told[at].insert(value);
                }
                Step::Run => pair.run(),
                Step::Cut(is_cut) => pair.is_cut = is_cut,
                Step::Restart(at) => pair.restart(at),
            }
        }
        pair.is_cut = true;
        for (at, told) in told.iter().enumerate() {
            pair.restart(at);
            let shown = pair.read(at);
            prop_assert!(shown.is_superset(told), "n{}: {shown:?} of {told:?}", at + 1);
        }
    }
}
