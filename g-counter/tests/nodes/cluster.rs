//! A few nodes, between which messages take no time, on a clock that the test sets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use g_counter::{GCounter, PERIOD_MIN};
use maelstrom_core::gossip::Config;
use maelstrom_core::{Clock, Output, RawNode};
use serde_json::Value;

/// Long enough for all nodes to get everything, even if they counted each other as down.
pub(crate) const A_WHILE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    now: Duration,
    nodes: BTreeMap<&'static str, RawNode<GCounter>>,
    /// The records that each node's driver has made durable.
    records: BTreeMap<&'static str, Vec<Vec<u8>>>,
    /// The nodes that get no messages, and whose messages are lost.
    cut_off: BTreeSet<&'static str>,
    /// Lines between nodes, in the order in which they were sent.
    under_way: VecDeque<String>,
    lives: u8,
    last_msg_id: u64,
}

impl Cluster {
    pub(crate) fn new(names: &[&'static str]) -> Self {
        let mut cluster = Self {
            now: Duration::ZERO,
            nodes: BTreeMap::new(),
            records: names.iter().map(|name| (*name, Vec::new())).collect(),
            cut_off: BTreeSet::new(),
            under_way: VecDeque::new(),
            lives: 0,
            last_msg_id: 1_000,
        };
        for name in names {
            cluster.restart(name, usize::MAX);
        }
        cluster
    }

    /// Ends the node and starts it with the first `records_kept` records of its earlier lives.
    pub(crate) fn restart(&mut self, name: &'static str, records_kept: usize) {
        self.lives += 1;
        let config = Config { period_min: PERIOD_MIN, ..Config::default() };
        let mut node = RawNode::new(GCounter::new(config), [self.lives; 32], true);
        node.record_metrics();
        let records = self.records.get_mut(name).unwrap();
        records.truncate(records_kept);
        for record in records {
            node.recover(record).unwrap();
        }
        self.nodes.insert(name, node);
        let names: Vec<_> = self.records.keys().collect();
        let names = serde_json::to_string(&names).unwrap();
        self.ask(
            name,
            &format!(r#"{{"type":"init","msg_id":1,"node_id":"{name}","node_ids":{names}}}"#),
        );
    }

    pub(crate) fn records(&self, name: &str) -> usize {
        self.records[name].len()
    }

    pub(crate) fn cut_off(&mut self, name: &'static str) {
        self.cut_off.insert(name);
    }

    pub(crate) fn heal(&mut self) {
        self.cut_off.clear();
    }

    pub(crate) fn node(&self, name: &str) -> &GCounter {
        self.nodes[name].handler()
    }

    /// The number of a metric without labels.
    pub(crate) fn metric(&self, name: &str, metric: &str) -> f64 {
        self.nodes[name].metrics().unwrap().sum(metric, &[])
    }

    /// Sends a body, and returns the bodies that come back.
    pub(crate) fn send(&mut self, name: &'static str, client: &str, body: &str) -> Vec<String> {
        let line = format!(r#"{{"src":"{client}","dest":"{name}","body":{body}}}"#);
        let clock = self.clock();
        self.nodes.get_mut(name).unwrap().handle_line(clock, line.as_bytes());
        self.take_outputs(name)
    }

    /// Sends a request as the client c1, and returns the one reply.
    pub(crate) fn ask(&mut self, name: &'static str, body: &str) -> String {
        let mut replies = self.send(name, "c1", body);
        assert_eq!(replies.len(), 1, "one reply to {body}");
        replies.remove(0)
    }

    /// Adds, in a request of its own.
    pub(crate) fn add(&mut self, name: &'static str, delta: u64) {
        self.last_msg_id += 1;
        self.add_as(name, "c1", self.last_msg_id, delta);
    }

    pub(crate) fn add_as(&mut self, name: &'static str, client: &str, msg_id: u64, delta: u64) {
        let body = format!(r#"{{"type":"add","msg_id":{msg_id},"delta":{delta}}}"#);
        let ok = format!(r#"{{"type":"add_ok","in_reply_to":{msg_id}}}"#);
        assert_eq!(self.send(name, client, &body), [ok]);
    }

    pub(crate) fn read(&mut self, name: &'static str) -> u128 {
        let reply = self.ask(name, r#"{"type":"read","msg_id":3}"#);
        let value = reply.strip_prefix(r#"{"type":"read_ok","in_reply_to":3,"value":"#).unwrap();
        value.strip_suffix('}').unwrap().parse().unwrap()
    }

    pub(crate) fn read_all(&mut self) -> Vec<u128> {
        let names: Vec<_> = self.nodes.keys().copied().collect();
        names.into_iter().map(|name| self.read(name)).collect()
    }

    /// Checks that all nodes read this value, after a while.
    pub(crate) fn assert_all_read(&mut self, value: u128) {
        self.run_for(A_WHILE);
        assert_eq!(self.read_all(), vec![value; self.nodes.len()]);
    }

    /// Lets time pass, and returns the bodies that nodes have sent each other.
    pub(crate) fn run_for(&mut self, time: Duration) -> Vec<Value> {
        let end = self.now + time;
        let mut sent = self.deliver();
        loop {
            let timeout = |(name, node): (&&'static str, &RawNode<_>)| {
                node.poll_timeout().map(|at| (at, *name))
            };
            let Some((at, name)) = self.nodes.iter().filter_map(timeout).min() else { break };
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            let clock = self.clock();
            self.nodes.get_mut(name).unwrap().handle_timeout(clock);
            assert!(self.take_outputs(name).is_empty(), "a reply to nothing");
            sent.extend(self.deliver());
        }
        self.now = end;
        sent
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.now, wall: Duration::ZERO }
    }

    /// Keeps the records and the lines to nodes, and returns the bodies of messages to clients.
    fn take_outputs(&mut self, name: &'static str) -> Vec<String> {
        let mut replies = Vec::new();
        while let Some(output) = self.nodes.get_mut(name).unwrap().poll_output() {
            match output {
                Output::Record(record) => self.records.get_mut(name).unwrap().push(record),
                Output::Lines(bytes) => {
                    for line in String::from_utf8(bytes).unwrap().lines() {
                        let (head, body) = line.split_once(r#","body":"#).unwrap();
                        if head.contains(r#""dest":"c"#) {
                            replies.push(body.strip_suffix('}').unwrap().to_owned());
                        } else {
                            self.under_way.push_back(line.to_owned());
                        }
                    }
                }
            }
        }
        replies
    }

    /// Delivers the messages under way, and returns their bodies.
    fn deliver(&mut self) -> Vec<Value> {
        let mut bodies = Vec::new();
        while let Some(line) = self.under_way.pop_front() {
            let message: Value = serde_json::from_str(&line).unwrap();
            let is_cut = ["src", "dest"]
                .iter()
                .any(|end| self.cut_off.contains(message[end].as_str().unwrap()));
            bodies.push(message["body"].clone());
            assert!(bodies.len() < 10_000, "nodes talk for ever");
            let (name, clock) = (message["dest"].as_str().unwrap(), self.clock());
            let (name, node) = self.nodes.iter_mut().find(|(id, _)| **id == name).unwrap();
            if !is_cut {
                node.handle_line(clock, line.as_bytes());
                let name = *name;
                assert!(self.take_outputs(name).is_empty(), "gossip is not answered");
            }
        }
        bodies
    }
}
