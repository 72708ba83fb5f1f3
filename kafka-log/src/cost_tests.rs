//! The cost of a message does not grow with the number of pending sends or of partitions.
//!
//! The tests count work, and do not measure time: each map counts the values that it looks at
//! ([`crate::indexed`]).
#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use maelstrom_core::{Clock, Output, RawNode, gossip};
use serde_json::{Value, json};

use crate::indexed::LOOKS;
use crate::{Config, KafkaLog};

/// A few nodes, `lin-kv`, and a clock.
struct World {
    nodes: BTreeMap<String, RawNode<KafkaLog>>,
    kv: BTreeMap<String, Value>,
    now: Duration,
    msg_id: usize,
    replies: Vec<Value>,
    under_way: VecDeque<Value>,
    /// The messages of this node are lost.
    silenced: Option<&'static str>,
}

impl World {
    /// A cluster of nodes with these names. Only the first `up` of them exist.
    fn new(partitions: u32, names: &[&str], up: usize) -> Self {
        let mut world = Self {
            nodes: BTreeMap::new(),
            kv: BTreeMap::new(),
            now: Duration::ZERO,
            msg_id: 0,
            replies: Vec::new(),
            under_way: VecDeque::new(),
            silenced: None,
        };
        for name in &names[..up] {
            let config = Config { partitions, linger: Duration::ZERO, ..Config::default() };
            let handler = KafkaLog::new(config, gossip::Config::default());
            let node = RawNode::new(handler, [u8::try_from(name.len()).unwrap(); 32], true);
            world.nodes.insert((*name).to_owned(), node);
            world.ask(name, json!({"type": "init", "node_id": name, "node_ids": names}));
        }
        world.replies.clear();
        world
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.now, wall: Duration::ZERO }
    }

    fn ask(&mut self, name: &str, mut body: Value) {
        self.msg_id += 1;
        body["msg_id"] = json!(self.msg_id);
        self.under_way.push_back(json!({"src": "c1", "dest": name, "body": body}));
        self.deliver();
    }

    fn send(&mut self, key: &str) {
        self.ask("n1", json!({"type": "send", "key": key, "msg": 1}));
    }

    fn deliver(&mut self) {
        loop {
            for node in self.nodes.values_mut() {
                while let Some(output) = node.poll_output() {
                    let Output::Lines(lines) = output else { continue };
                    let lines = String::from_utf8(lines).unwrap();
                    let messages = lines.lines().map(|line| serde_json::from_str(line).unwrap());
                    self.under_way.extend(messages);
                }
            }
            let Some(message) = self.under_way.pop_front() else { return };
            if self.silenced.is_some_and(|node| message["src"] == node) {
                continue;
            }
            let (dest, clock) = (message["dest"].as_str().unwrap(), self.clock());
            if dest == "c1" {
                self.replies.push(message["body"].clone());
            } else if dest == "lin-kv" {
                self.serve(&message);
            } else if let Some(node) = self.nodes.get_mut(dest) {
                node.handle_line(clock, message.to_string().as_bytes());
            }
        }
    }

    /// Answers for `lin-kv`. No two nodes compete here, so a compare-and-set always succeeds.
    fn serve(&mut self, message: &Value) {
        let body = &message["body"];
        let key = body["key"].as_str().unwrap().to_owned();
        let mut reply = match (body["type"].as_str().unwrap(), self.kv.get(&key)) {
            ("read", None) => json!({"type": "error", "code": 20}),
            ("read", Some(value)) => json!({"type": "read_ok", "value": value}),
            _ => {
                self.kv.insert(key, body["to"].clone());
                json!({"type": "cas_ok"})
            }
        };
        reply["in_reply_to"] = body["msg_id"].clone();
        let reply = json!({"src": "lin-kv", "dest": message["src"], "body": reply});
        self.under_way.push_back(reply);
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.nodes.values().filter_map(RawNode::poll_timeout);
            let Some(at) = timers.min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            let clock = self.clock();
            for node in self.nodes.values_mut() {
                if node.poll_timeout().is_some_and(|at| at <= clock.monotonic) {
                    node.handle_timeout(clock);
                }
            }
            self.deliver();
        }
        self.now = end;
    }

    /// A key of each partition.
    fn keys(&self) -> Vec<String> {
        let placement = self.nodes["n1"].handler().placement();
        let mut keys = BTreeMap::new();
        for key in (0..).map(|n| format!("k{n}")) {
            if keys.len() == placement.partitions() as usize {
                break;
            }
            keys.entry(placement.partition(&key)).or_insert(key);
        }
        keys.into_values().collect()
    }

    /// Number of values that the nodes look at during `act`. Checks that `count` replies of that
    /// type come.
    fn looks(&mut self, kind: &str, count: usize, act: impl FnOnce(&mut Self)) -> usize {
        self.replies.clear();
        let before = LOOKS.get();
        act(self);
        assert!(self.replies.iter().all(|reply| reply["type"] == kind), "{:?}", self.replies);
        assert_eq!(self.replies.len(), count);
        LOOKS.get() - before
    }
}

#[test]
fn a_message_costs_the_same_however_many_sends_are_pending() {
    let looks = [0, 16_000].map(|pending| {
        let mut world = World::new(64, &["n1", "n2"], 1);
        (0..pending).for_each(|key| world.send(&format!("k{key}")));
        assert_eq!(world.nodes["n1"].unanswered(), pending);
        let poll = json!({"type": "poll", "offsets": {"k1": 0}});
        let poll = world.looks("poll_ok", 1, |world| world.ask("n1", poll));
        (poll, world.looks("send_ok", 0, |world| world.send("k1")))
    });
    let [(poll, send), (poll_with_many, send_with_many)] = looks;
    assert!(poll_with_many <= poll, "a poll: {poll_with_many} instead of {poll}");
    // The very first send also makes the node look for a leader.
    assert!(send_with_many <= 2 * send, "a send: {send_with_many} instead of {send}");
}

#[test]
fn a_packet_of_the_leader_costs_a_follower_the_same_however_many_sends_are_pending() {
    let looks = [1, 400].map(|pending| {
        let mut world = World::new(1, &["n1", "n2"], 2);
        world.run_for(Duration::from_secs(2));
        world.send("k");
        world.run_for(Duration::from_secs(2));
        let partition =
            |world: &World, name: &str| world.nodes[name].handler().partition(0).cloned().unwrap();
        let is_led = partition(&world, "n1").leadership().is_some();
        let (leader, follower) = if is_led { ("n1", "n2") } else { ("n2", "n1") };
        assert!(partition(&world, leader).leadership().is_some());
        let send = json!({"type": "send", "key": "k", "msg": 1});
        world.silenced = Some(follower);
        (0..pending).for_each(|_| world.ask(follower, send.clone()));
        // All of these sends have been forwarded, and no answer has come.
        world.run_for(Duration::from_millis(20));
        assert_eq!(world.nodes[follower].unanswered(), pending);
        let before = partition(&world, follower).log().end();
        let looks = world.looks("send_ok", 0, |world| world.ask(leader, send));
        assert_eq!(partition(&world, follower).log().end(), before + 1);
        looks
    });
    assert!(looks[1] <= looks[0] + looks[0] / 4, "{looks:?}");
}

/// Opens all partitions. Then counts the looks for one more send to each of a few partitions.
fn looks_for_sends(partitions: u32, names: &[&str]) -> usize {
    let mut world = World::new(partitions, names, names.len());
    world.run_for(Duration::from_secs(2));
    let keys = world.keys();
    keys.iter().for_each(|key| world.send(key));
    world.run_for(Duration::from_secs(4));
    assert_eq!(world.replies.len(), keys.len());
    world.looks("send_ok", 8, |world| {
        keys.iter().take(8).for_each(|key| world.send(key));
        world.run_for(Duration::from_secs(1));
    })
}

#[test]
fn a_send_costs_the_same_however_many_partitions_there_are() {
    for (names, partitions) in [(&["n1"][..], 4_096), (&["n1", "n2", "n3"], 512)] {
        let (few, many) = (looks_for_sends(64, names), looks_for_sends(partitions, names));
        assert!(many <= few + few / 4, "{names:?}: {many} instead of {few}");
    }
}
