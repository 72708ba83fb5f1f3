//! A cluster of nodes in memory, with `lin-kv` and clients.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_log::{Config, KafkaLog, Partition};
use maelstrom_core::{
    Clock, Error, LINE_BYTES_MAX, Output, RawNode, Records, SnapshotPosition, gossip,
};
use serde_json::{Value, json};

/// Long enough for all nodes to get everything, even if they counted each other as down.
pub(crate) const A_WHILE: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    config: Config,
    /// The longest line that a node reads.
    line_bytes_max: usize,
    pub(crate) now: Duration,
    names: Vec<&'static str>,
    /// The nodes that are up.
    nodes: BTreeMap<&'static str, RawNode<KafkaLog>>,
    /// The records that each node's driver has made durable.
    records: BTreeMap<&'static str, Vec<Vec<u8>>>,
    /// The nodes that get no messages, and whose messages are lost. `lin-kv` may be one of them.
    cut_off: BTreeSet<&'static str>,
    /// True if nodes that are cut off still reach `lin-kv`, as in Maelstrom's partitions.
    pub(crate) spares_services: bool,
    /// Changes a message between nodes on its way.
    pub(crate) on_the_way: Option<fn(&mut Value)>,
    /// Number of messages between nodes that were longer than a node reads.
    pub(crate) too_long: usize,
    /// How long a message between nodes takes.
    pub(crate) latency: Duration,
    /// How long a message to or from `lin-kv` takes.
    pub(crate) kv_latency: Duration,
    /// The messages under way, by time of arrival and order.
    under_way: BTreeMap<(Duration, u64), Value>,
    count: u64,
    pub(crate) kv: BTreeMap<String, Value>,
    lives: u8,
    msg_id: u64,
    replies: BTreeMap<u64, Value>,
    /// All messages between nodes, and to and from `lin-kv`.
    pub(crate) said: Vec<Value>,
    /// The logs of nodes.
    pub(crate) logs: BTreeMap<&'static str, tracing::Dispatch>,
}

impl Cluster {
    pub(crate) fn new(names: &[&'static str], config: Config) -> Self {
        Self::with_lines(names, config, LINE_BYTES_MAX)
    }

    /// Nodes that read lines of up to that many bytes.
    pub(crate) fn with_lines(
        names: &[&'static str],
        config: Config,
        line_bytes_max: usize,
    ) -> Self {
        let mut cluster = Self {
            config,
            line_bytes_max,
            now: Duration::ZERO,
            names: names.to_vec(),
            nodes: BTreeMap::new(),
            records: names.iter().map(|name| (*name, Vec::new())).collect(),
            cut_off: BTreeSet::new(),
            spares_services: false,
            on_the_way: None,
            too_long: 0,
            latency: Duration::ZERO,
            kv_latency: Duration::ZERO,
            under_way: BTreeMap::new(),
            count: 0,
            kv: BTreeMap::new(),
            lives: 0,
            msg_id: 0,
            replies: BTreeMap::new(),
            said: Vec::new(),
            logs: BTreeMap::new(),
        };
        for name in names {
            cluster.start(name);
        }
        cluster.run_for(Duration::from_secs(2));
        cluster.said.clear();
        cluster
    }

    /// One partition, on three nodes that send every message at once.
    pub(crate) fn three() -> Self {
        let config = Config { partitions: 1, linger: Duration::ZERO, ..Config::default() };
        Self::new(&["n1", "n2", "n3"], config)
    }

    /// Starts a node from its records.
    pub(crate) fn start(&mut self, name: &'static str) {
        self.lives += 1;
        let node = self.recovered(name, self.config.clone()).unwrap();
        self.nodes.insert(name, node);
        let init = json!({"type": "init", "node_id": name, "node_ids": self.names});
        assert_eq!(self.ask(name, init)["type"], "init_ok");
    }

    /// Makes all nodes that are up trace requests.
    pub(crate) fn trace_requests(&mut self) {
        self.nodes.values_mut().for_each(|node| node.set_trace_requests(true));
    }

    /// Makes events go to the log of a node, if it has one.
    fn enter_log(&self, name: &str) -> Option<tracing::dispatcher::DefaultGuard> {
        self.logs.get(name).map(tracing::dispatcher::set_default)
    }

    /// Gives these node names to nodes that start from now on.
    pub(crate) fn rename(&mut self, names: &[&'static str]) {
        self.names = names.to_vec();
        for name in names {
            self.records.entry(name).or_default();
        }
    }

    /// Gives this configuration to nodes that start from now on.
    pub(crate) fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// A process of that node with this configuration. It has recovered its records, and waits for
    /// `init`.
    pub(crate) fn recovered(&self, name: &str, config: Config) -> Result<RawNode<KafkaLog>, Error> {
        let line_bytes_max = self.line_bytes_max;
        let gossip = gossip::Config { line_bytes_max, ..gossip::Config::default() };
        let handler = KafkaLog::new(config, gossip);
        let mut node = RawNode::new(handler, [self.lives; 32], true);
        node.record_metrics();
        self.records[name].iter().try_for_each(|record| node.recover(record))?;
        Ok(node)
    }

    /// The sum of the samples of a metric that have these labels.
    pub(crate) fn metric(&self, name: &str, metric: &str, labels: &[(&str, &str)]) -> f64 {
        self.nodes[name].metrics().unwrap().sum(metric, labels)
    }

    /// Number of clients' requests that a node refused since too many bytes were pending.
    pub(crate) fn refused_for_bytes(&self, name: &str) -> f64 {
        self.metric(name, "maelstrom_refused_total", &[("limit", "pending_bytes")])
    }

    /// The records that are durable on the node's disk.
    pub(crate) fn records(&mut self, name: &str) -> &mut Vec<Vec<u8>> {
        self.records.get_mut(name).unwrap()
    }

    /// Replaces the records of a node by a snapshot.
    pub(crate) fn compact(&mut self, name: &str) {
        let mut snapshot = Vec::new();
        let mut add = |record: &[u8]| snapshot.push(record.to_vec());
        let mut records = Records::new(&mut add);
        let mut next = Some(SnapshotPosition::default());
        while let Some(from) = next {
            next = self.nodes[name].snapshot(from, 100, &mut records).unwrap();
        }
        *self.records(name) = snapshot;
    }

    pub(crate) fn crash(&mut self, name: &'static str) {
        self.nodes.remove(name);
    }

    pub(crate) fn lose_records(&mut self, name: &'static str) {
        self.records.insert(name, Vec::new());
    }

    pub(crate) fn cut_off(&mut self, name: &'static str) {
        self.cut_off.insert(name);
    }

    pub(crate) fn heal(&mut self) {
        self.cut_off.clear();
    }

    pub(crate) fn handler(&self, name: &str) -> &KafkaLog {
        self.nodes[name].handler()
    }

    pub(crate) fn partition(&self, name: &str) -> &Partition {
        self.handler(name).partition(0).unwrap()
    }

    /// True if a node has any of the messages.
    pub(crate) fn has_messages(&self, name: &str) -> bool {
        let partition = self.nodes[name].handler().partition(0);
        partition.is_some_and(|partition| partition.log().end() > 0)
    }

    /// The nodes that think that they lead.
    pub(crate) fn leaders(&self) -> Vec<&'static str> {
        let leads = |node: &RawNode<KafkaLog>| {
            node.handler().partition(0).is_some_and(|partition| partition.leadership().is_some())
        };
        self.nodes.iter().filter(|(_, node)| leads(node)).map(|(name, _)| *name).collect()
    }

    pub(crate) fn leader(&self) -> &'static str {
        let leaders = self.leaders();
        assert_eq!(leaders.len(), 1, "{leaders:?}");
        leaders[0]
    }

    /// The nodes that do not lead.
    pub(crate) fn followers(&self) -> Vec<&'static str> {
        let leader = self.leader();
        self.names.iter().filter(|name| **name != leader).copied().collect()
    }

    /// A node that does not keep the partition.
    pub(crate) fn without_a_replica(&self) -> &'static str {
        let replicas = self.nodes[self.names[0]].handler().placement().replicas(0).to_vec();
        let keeps = |name: &str| replicas.iter().any(|replica| **replica == *name);
        self.names.iter().copied().find(|name| !keeps(name)).unwrap()
    }

    /// The names of the nodes in sync, according to `lin-kv`.
    pub(crate) fn in_sync(&self) -> Vec<String> {
        let all = self.kv["partition-0"]["in_sync"].as_array().unwrap();
        all.iter().map(|id| id[0].as_str().unwrap().to_owned()).collect()
    }

    /// Sends a request without waiting. Returns its message id.
    pub(crate) fn begin(&mut self, name: &'static str, body: Value) -> u64 {
        self.begin_as("c1", name, body)
    }

    /// The same, as this client.
    pub(crate) fn begin_as(&mut self, client: &str, name: &'static str, mut body: Value) -> u64 {
        self.msg_id += 1;
        body["msg_id"] = json!(self.msg_id);
        let line = json!({"src": client, "dest": name, "body": body}).to_string();
        let clock = self.clock();
        let log = self.enter_log(name);
        self.nodes.get_mut(name).unwrap().handle_line(clock, line.as_bytes());
        drop(log);
        self.take_outputs(name);
        self.deliver();
        self.msg_id
    }

    /// The reply to a request, if it has come.
    pub(crate) fn reply(&mut self, msg_id: u64) -> Option<Value> {
        self.replies.remove(&msg_id)
    }

    /// Sends a request, and waits for the reply, up to 5 s.
    pub(crate) fn ask(&mut self, name: &'static str, body: Value) -> Value {
        let what = body.to_string();
        let msg_id = self.begin(name, body);
        for _ in 0..500 {
            if let Some(reply) = self.reply(msg_id) {
                return reply;
            }
            self.run_for(Duration::from_millis(10));
        }
        panic!("no reply to {what}");
    }

    /// Sends a message, and expects this offset.
    pub(crate) fn send(&mut self, name: &'static str, msg: u64, offset: u64) {
        let reply = self.ask(name, json!({"type": "send", "key": "k", "msg": msg}));
        assert_eq!(
            (&reply["type"], &reply["offset"]),
            (&json!("send_ok"), &json!(offset)),
            "{reply}"
        );
    }

    /// The messages of the key that a poll of this node returns.
    pub(crate) fn poll(&mut self, name: &'static str, from: u64) -> Value {
        let mut reply = self.ask(name, json!({"type": "poll", "offsets": {"k": from}}));
        assert_eq!(reply["type"], "poll_ok", "{reply}");
        reply["msgs"]["k"].take()
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.deliver();
        loop {
            let timeout = |(name, node): (&&'static str, &RawNode<_>)| {
                node.poll_timeout().map(|at| (at, *name))
            };
            let timer = self.nodes.iter().filter_map(timeout).min();
            let arrival = self.under_way.keys().next().map(|(at, _)| *at);
            let times = timer.map(|(at, _)| at).into_iter().chain(arrival);
            let Some(at) = times.min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            let Some((_, name)) = timer.filter(|(timer, _)| *timer <= at) else {
                self.deliver();
                continue;
            };
            let clock = self.clock();
            let log = self.enter_log(name);
            self.nodes.get_mut(name).unwrap().handle_timeout(clock);
            drop(log);
            self.take_outputs(name);
            self.deliver();
        }
        self.now = end;
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.now, wall: Duration::ZERO }
    }

    fn take_outputs(&mut self, name: &'static str) {
        while let Some(output) = self.nodes.get_mut(name).unwrap().poll_output() {
            match output {
                Output::Record(record) => self.records.get_mut(name).unwrap().push(record),
                Output::Lines(bytes) => {
                    for line in String::from_utf8(bytes).unwrap().lines() {
                        let message = serde_json::from_str(line).unwrap();
                        self.post(message);
                    }
                }
            }
        }
    }

    fn post(&mut self, message: Value) {
        let ends = [&message["src"], &message["dest"]];
        let is_between = ends.iter().all(|end| self.names.iter().any(|name| **end == *name));
        let latency = match ends.iter().any(|end| **end == "lin-kv") {
            true => self.kv_latency,
            false if is_between => self.latency,
            false => Duration::ZERO,
        };
        let at = self.now + latency;
        self.count += 1;
        self.under_way.insert((at, self.count), message);
    }

    /// Delivers a message that was sent earlier and did not arrive.
    pub(crate) fn deliver_late(&mut self, message: Value) {
        self.count += 1;
        self.under_way.insert((self.now, self.count), message);
        self.deliver();
    }

    fn deliver(&mut self) {
        let mut count = 0;
        while let Some(entry) = self.under_way.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let mut message = entry.remove();
            count += 1;
            assert!(count < 10_000, "nodes talk for ever");
            let dest = message["dest"].as_str().unwrap().to_owned();
            if dest.starts_with('c') {
                let msg_id = message["body"]["in_reply_to"].as_u64().unwrap();
                self.replies.insert(msg_id, message["body"].clone());
                continue;
            }
            let ends = [message["src"].as_str().unwrap(), &dest];
            let is_spared = self.spares_services && ends.contains(&"lin-kv");
            let is_cut = !is_spared && ends.iter().any(|end| self.cut_off.contains(end));
            if let Some(change) = self.on_the_way {
                change(&mut message);
            }
            if message["body"]["type"] != "gossip" {
                self.said.push(message.clone());
            }
            if is_cut {
                continue;
            }
            if dest == "lin-kv" {
                self.serve(&message);
                continue;
            }
            self.hand_over(&dest, message);
        }
    }

    /// Gives a message to its receiver. A node's driver skips a line that is too long.
    fn hand_over(&mut self, dest: &str, message: Value) {
        let line = message.to_string();
        if line.len() > self.line_bytes_max {
            self.too_long += 1;
            return;
        }
        let clock = self.clock();
        let name = *self.names.iter().find(|name| **name == dest).unwrap();
        let log = self.enter_log(name);
        if let Some(node) = self.nodes.get_mut(name) {
            node.handle_line(clock, line.as_bytes());
            drop(log);
            self.take_outputs(name);
        }
    }

    /// Answers for `lin-kv`.
    fn serve(&mut self, message: &Value) {
        let body = &message["body"];
        let key = body["key"].as_str().unwrap().to_owned();
        let stored = self.kv.get(&key).cloned();
        let mut reply = match (body["type"].as_str().unwrap(), stored) {
            ("read", Some(value)) => json!({"type": "read_ok", "value": value}),
            ("cas", Some(value)) if value != body["from"] => json!({"type": "error", "code": 22}),
            ("cas", None) if body["create_if_not_exists"] != true => {
                json!({"type": "error", "code": 20})
            }
            ("cas", _) => {
                self.kv.insert(key, body["to"].clone());
                json!({"type": "cas_ok"})
            }
            _ => json!({"type": "error", "code": 20}),
        };
        reply["in_reply_to"] = body["msg_id"].clone();
        let reply = json!({"src": "lin-kv", "dest": message["src"], "body": reply});
        self.post(reply);
    }
}
