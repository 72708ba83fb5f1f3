//! A few nodes, between which messages take no time, on a clock that the test sets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use maelstrom_core::{Clock, LINE_BYTES_MAX, Output, RawNode};
use serde_json::Value;
use txn_rw::{Config, HELD_BYTES_MAX, Registers, TxnRw};

/// Long enough for all nodes to get everything, even if they counted each other as down.
pub(crate) const A_WHILE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    now: Duration,
    config: Config,
    held_bytes_max: usize,
    nodes: BTreeMap<&'static str, RawNode<TxnRw>>,
    /// The records that each node's driver has made durable.
    records: BTreeMap<&'static str, Vec<Vec<u8>>>,
    /// The nodes that get no messages, and whose messages are lost.
    cut_off: BTreeSet<&'static str>,
    /// Lines between nodes, in the order in which they were sent.
    under_way: VecDeque<String>,
    /// Replies that came when time had passed.
    pub(crate) late: Vec<String>,
    lives: u8,
}

impl Cluster {
    pub(crate) fn new(names: &[&'static str]) -> Self {
        Self::with(names, Config::default())
    }

    pub(crate) fn with(names: &[&'static str], config: Config) -> Self {
        Self::with_held_bytes_max(names, config, HELD_BYTES_MAX)
    }

    pub(crate) fn with_held_bytes_max(
        names: &[&'static str],
        config: Config,
        held_bytes_max: usize,
    ) -> Self {
        let mut cluster = Self {
            now: Duration::ZERO,
            config,
            held_bytes_max,
            nodes: BTreeMap::new(),
            records: names.iter().map(|name| (*name, Vec::new())).collect(),
            cut_off: BTreeSet::new(),
            under_way: VecDeque::new(),
            late: Vec::new(),
            lives: 0,
        };
        for name in names {
            cluster.restart(name, usize::MAX);
        }
        cluster
    }

    /// Ends the node and starts it with the first `records_kept` records of its earlier lives.
    pub(crate) fn restart(&mut self, name: &'static str, records_kept: usize) {
        self.lives += 1;
        let map = Registers::with_held_bytes_max(self.held_bytes_max);
        let handler = TxnRw::with_map(self.config.clone(), map);
        let mut node = RawNode::new(handler, [self.lives; 32], true);
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

    /// Adds a record, as an earlier version may have written it.
    pub(crate) fn add_record(&mut self, name: &str, record: String) {
        self.records.get_mut(name).unwrap().push(record.into_bytes());
    }

    pub(crate) fn cut_off(&mut self, name: &'static str) {
        self.cut_off.insert(name);
    }

    pub(crate) fn heal(&mut self) {
        self.cut_off.clear();
    }

    pub(crate) fn node(&self, name: &str) -> &TxnRw {
        self.nodes[name].handler()
    }

    /// The sum of the samples of a metric that have these labels.
    pub(crate) fn metric(&self, name: &str, metric: &str, labels: &[(&str, &str)]) -> f64 {
        self.nodes[name].metrics().unwrap().sum(metric, labels)
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

    /// Runs a transaction, and returns its operations with their results.
    pub(crate) fn txn(&mut self, name: &'static str, operations: &str) -> String {
        let reply = self.ask(name, &format!(r#"{{"type":"txn","msg_id":3,"txn":{operations}}}"#));
        let txn = reply.strip_prefix(r#"{"type":"txn_ok","in_reply_to":3,"txn":"#);
        let txn = txn.unwrap_or_else(|| panic!("{operations}: {reply}"));
        txn.strip_suffix('}').unwrap().to_owned()
    }

    /// The values of these keys after a while. Checks that all nodes agree.
    pub(crate) fn all_read(&mut self, keys: &[&str]) -> Vec<String> {
        self.run_for(A_WHILE);
        let names: Vec<_> = self.nodes.keys().copied().collect();
        let reads: Vec<_> = names.iter().map(|name| self.read(name, keys)).collect();
        assert!(reads.windows(2).all(|pair| pair[0] == pair[1]), "{reads:?}");
        reads[0].clone()
    }

    pub(crate) fn read(&mut self, name: &'static str, keys: &[&str]) -> Vec<String> {
        let reads: Vec<_> = keys.iter().map(|key| format!(r#"["r",{key},null]"#)).collect();
        let txn = self.txn(name, &format!("[{}]", reads.join(",")));
        let values: Vec<Vec<Value>> = serde_json::from_str(&txn).unwrap();
        values.into_iter().map(|operation| operation[2].to_string()).collect()
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
            let replies = self.take_outputs(name);
            self.late.extend(replies);
            sent.extend(self.deliver());
        }
        self.now = end;
        sent
    }

    /// Lets time pass until the next timer of a lone node, and `late` more. Returns the time that
    /// passed.
    pub(crate) fn wait_for_timer(&mut self, late: Duration) -> Duration {
        let before = self.now;
        let next = self.nodes.values().filter_map(RawNode::poll_timeout).min();
        self.now = next.unwrap().max(before) + late;
        self.run_for(Duration::ZERO);
        self.now - before
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
            assert!(line.len() <= LINE_BYTES_MAX, "a line that nobody takes: {}", line.len());
            let message: Value = serde_json::from_str(&line).unwrap();
            let is_cut = ["src", "dest"]
                .iter()
                .any(|end| self.cut_off.contains(message[end].as_str().unwrap()));
            bodies.push(message["body"].clone());
            assert!(bodies.len() < 20_000, "nodes talk for ever");
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
