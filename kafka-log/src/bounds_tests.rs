//! The memory that a node uses for others is bounded, whichever peers answer.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{Clock, Output, RawNode, gossip};
use serde_json::{Value, json};

use crate::{Config, KafkaLog, NodeId};

const NAMES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// One node of five, with one partition. The test plays the others.
struct Lone {
    name: NodeId,
    node: RawNode<KafkaLog>,
    now: Duration,
    msg_id: u64,
    /// The error code of each reply to a client; 0, if it is no error.
    codes: BTreeMap<u64, u64>,
    /// The packets to the other nodes, from the last time on that a test took them.
    packets: Vec<Value>,
    /// The records of each event.
    records: Vec<Vec<usize>>,
}

impl Lone {
    /// A node that keeps the partition, or one that does not.
    fn new(keeps: bool, config: Config) -> Self {
        let config = Config { partitions: 1, linger: Duration::ZERO, ..config };
        let ids: Vec<NodeId> = NAMES.iter().map(|name| (*name).into()).collect();
        let placement = crate::Placement::new(&ids, 1, config.replication);
        let name = ids.iter().find(|id| placement.keeps(id, 0) == keeps).unwrap();
        let handler = KafkaLog::new(config, gossip::Config::default());
        let mut lone = Self {
            name: name.clone(),
            node: RawNode::new(handler, [1; 32], true),
            now: Duration::ZERO,
            msg_id: 0,
            codes: BTreeMap::new(),
            packets: Vec::new(),
            records: Vec::new(),
        };
        lone.ask("c1", json!({"type": "init", "node_id": name, "node_ids": NAMES}));
        lone.run_for(Duration::from_secs(1));
        lone
    }

    fn handle(&mut self, src: &str, body: &Value) {
        let line = json!({"src": src, "dest": *self.name, "body": body}).to_string();
        let clock = Clock { monotonic: self.now, wall: Duration::ZERO };
        self.node.handle_line(clock, line.as_bytes());
        self.take_outputs();
    }

    /// A client's request. Returns its message id.
    fn ask(&mut self, client: &str, mut body: Value) -> u64 {
        self.msg_id += 1;
        body["msg_id"] = json!(self.msg_id);
        self.handle(client, &body);
        self.msg_id
    }

    fn take_outputs(&mut self) {
        let mut records = Vec::new();
        while let Some(output) = self.node.poll_output() {
            let lines = match output {
                Output::Lines(lines) => lines,
                Output::Record(record) => {
                    records.push(record.len());
                    continue;
                }
            };
            for line in String::from_utf8(lines).unwrap().lines() {
                let message: Value = serde_json::from_str(line).unwrap();
                let body = &message["body"];
                if body["type"] == "packet" {
                    self.packets.push(message);
                } else if message["dest"].as_str().unwrap().starts_with('c') {
                    let id = body["in_reply_to"].as_u64().unwrap();
                    self.codes.insert(id, body["code"].as_u64().unwrap_or(0));
                }
            }
        }
        if !records.is_empty() {
            self.records.push(records);
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.node.handle_timeout(Clock { monotonic: self.now, wall: Duration::ZERO });
            self.take_outputs();
        }
        self.now = end;
    }

    /// All peers answer the packets that they got, with nothing in them.
    fn hear_all(&mut self) {
        for packet in std::mem::take(&mut self.packets) {
            let (peer, body) = (packet["dest"].as_str().unwrap(), &packet["body"]);
            let (to, number) = (&body["life"], body["number"].as_u64().unwrap());
            let answer = json!({"type": "packet", "life": 7, "incarnation": 8, "to": to,
                "number": number, "echo": number});
            self.handle(peer, &answer);
        }
    }

    /// The number of names in the queues of polls and of sends.
    fn queued(&self) -> (usize, usize) {
        let queues = || self.node.handler().links.values().map(|link| &link.queue);
        (queues().map(|q| q.polls.len()).sum(), queues().map(|q| q.sends.len()).sum())
    }

    /// The number of open remote polls, and of open sends.
    fn open(&self) -> (usize, usize) {
        let handler = self.node.handler();
        (handler.polls.len(), handler.sends.len())
    }
}

fn poll() -> Value {
    json!({"type": "poll", "offsets": {"k": 0}})
}

fn send() -> Value {
    json!({"type": "send", "key": "k", "msg": 1})
}

#[test]
fn queues_for_peers_that_are_down_name_only_open_requests() {
    for keeps in [false, true] {
        for is_heard in [false, true] {
            let mut lone = Lone::new(keeps, Config::default());
            if is_heard {
                lone.hear_all();
            }
            for _ in 0..600 {
                lone.ask("c1", poll());
                lone.ask("c1", send());
                lone.run_for(Duration::from_millis(100));
                let (queued, open) = (lone.queued(), lone.open());
                assert!(queued.0 <= open.0 && queued.1 <= open.1, "{queued:?} of {open:?}");
            }
            lone.run_for(Duration::from_secs(10));
            assert_eq!((lone.queued(), lone.open()), ((0, 0), (0, 0)), "{keeps} {is_heard}");
            assert_eq!(lone.codes.len(), 1_201, "all requests were answered");
        }
    }
}

/// An answer may come from a node that was asked before.
#[test]
fn a_request_that_is_answered_leaves_the_queue_of_every_peer() {
    let mut lone = Lone::new(false, Config::default());
    lone.hear_all();
    lone.ask("c1", poll());
    lone.run_for(Duration::from_secs(3));
    // All replicas count as down by now, so the remote polls wait for them.
    let ids = [lone.ask("c1", poll()), lone.ask("c1", poll())];
    lone.run_for(Duration::from_millis(100));
    assert_eq!((lone.queued().0, lone.open().0), (2, 2));
    let handler = lone.node.handler();
    let (peer, _) = handler.links.iter().find(|(_, link)| link.queue.polls.is_empty()).unwrap();
    let polled: Vec<Value> =
        handler.polls.names().map(|id| json!({"id": id, "msgs": {}})).collect();
    let answer = json!({"type": "packet", "life": 7, "incarnation": 8, "to": handler.own.life,
        "number": 1_000, "polled": polled});
    lone.handle(&peer.clone(), &answer);
    assert_eq!(ids.map(|id| lone.codes.get(&id).copied()), [Some(0), Some(0)]);
    assert_eq!((lone.queued().0, lone.open().0), (0, 0));
}

/// The outcome comes from a node that got another copy.
#[test]
fn a_send_that_is_answered_leaves_the_queue_of_its_peer() {
    let mut lone = Lone::new(false, Config::default());
    // No peer has said anything yet, so the send waits.
    let id = lone.ask("c1", send());
    let handler = lone.node.handler();
    let (peer, _) = handler.links.iter().find(|(_, link)| link.queue.sends.is_empty()).unwrap();
    let answer = json!({"type": "packet", "life": 7, "incarnation": 8, "to": handler.own.life,
        "number": 1_000, "sent": [{"partition": 0, "seq": 0, "outcome": {"offset": 0}}]});
    assert_eq!((lone.queued().1, lone.codes.get(&id)), (1, None));
    lone.handle(&peer.clone(), &answer);
    assert_eq!((lone.queued().1, lone.codes.get(&id)), (0, Some(&0)));
}

#[test]
fn requests_of_clients_with_long_names_count_with_the_names() {
    let config = || Config { pending_bytes: 1_000, ..Config::default() };
    let client = "c".repeat(400);
    for body in [poll(), send()] {
        let mut lone = Lone::new(false, config());
        lone.hear_all();
        let ids = [(); 3].map(|()| lone.ask(&client, body.clone()));
        let codes = ids.map(|id| lone.codes.get(&id).copied());
        assert_eq!(codes, [None, None, Some(11)], "{body}");
        // Requests that have ended make room.
        lone.run_for(Duration::from_secs(5));
        let id = lone.ask(&client, body);
        assert_eq!(lone.codes.get(&id), None);
    }
}

/// The driver syncs after each event. So no sync is longer than one part.
#[test]
fn a_follower_writes_one_part_of_a_long_floor_at_a_time_and_takes_no_snapshot_meanwhile() {
    let mut lone = Lone::new(true, Config::default());
    lone.hear_all();
    let next: serde_json::Map<String, Value> =
        (0..4_000).map(|n| (format!("{n} {}", "x".repeat(400)), json!(1))).collect();
    let floor = json!({"number": 1, "after": 0,
        "floor": {"at": 5_000, "epoch": 1, "next": next, "producers": []}});
    let append = json!({"partition": 0, "log_id": 7, "epoch": 1, "at": 5_000, "prev": 1,
        "high": 5_000, "floor": floor});
    let replicas = lone.node.handler().placement().replicas(0).to_vec();
    let leader = replicas.iter().find(|id| **id != lone.name).unwrap();
    let packet = json!({"type": "packet", "life": 7, "incarnation": 8,
        "to": lone.node.handler().own.life, "number": 1_000, "appends": [append]});
    assert!(lone.node.snapshot_bytes().is_some());
    lone.records.clear();
    lone.handle(leader, &packet);
    // More messages come before the next part.
    lone.ask("c1", poll());
    assert_eq!((lone.node.snapshot_bytes(), lone.records.len()), (None, 1));
    lone.run_for(Duration::from_millis(1));
    assert!(lone.node.snapshot_bytes().is_some());
    let sizes: Vec<usize> = lone.records.iter().map(|records| records.iter().sum()).collect();
    assert!((6..12).contains(&sizes.len()), "{sizes:?}");
    assert!(sizes.iter().all(|bytes| *bytes < 300_000), "{sizes:?}");
    assert_eq!(lone.node.handler().partition(0).unwrap().log().end(), 5_000);
    // The leader learns that its log is there.
    lone.run_for(Duration::from_millis(1));
    let acks = lone.packets.iter().flat_map(|packet| packet["body"]["acks"].as_array());
    let acks: Vec<&Value> = acks.flatten().filter(|ack| ack["end"] == 5_000).collect();
    assert_eq!(acks.last().map(|ack| &ack["matched"]), Some(&json!(true)), "{acks:?}");
}
