//! A cluster of nodes in virtual time, driven by the bytes of a case: clients, strangers and
//! damaged messages; delay, loss and duplication; timers; crashes and recoveries; snapshots.
//!
//! # Invariants of every handler
//!
//! * A reply answers a request of that client that this life of the node received. Each request
//!   gets at most one reply.
//! * The output of a node is whole lines. Each line is a message with the node as its source.
//! * The output and the records of a node are bounded by its input (`World::bound`).
//! * A node recovers from any prefix of its outputs: either from all records before the crash, or
//!   from a snapshot and the records since.
//!
//! A [`Subject`] adds the rest: the requests of clients, and the replies that are allowed. The
//! world consults it only until it delivers a damaged message, since a lying peer may make a node
//! say anything.

mod lives;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use maelstrom_core::{Clock, MessageHandler, Output, RawNode, SnapshotPosition};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::input::Input;
use crate::odd;
use crate::service::LinKv;
use crate::trace;

/// The set-up of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Number of nodes.
    pub nodes: usize,
    /// Whether records are kept.
    pub is_durable: bool,
    /// Whether the nodes may receive damaged messages, and messages of strangers.
    pub is_hostile: bool,
    /// A number for the handler's own options.
    pub choice: usize,
}

/// A request of a client.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The client and the id of the message.
    pub name: (&'a str, u64),
    /// The node that receives it.
    pub node: usize,
    /// The life of the node: the number of its starts.
    pub life: u64,
    /// The fields, as text.
    pub request: &'a str,
    /// Whether the client sent this id before, to any node.
    pub is_retry: bool,
}

/// A reply to a client.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The node that replied.
    pub node: usize,
    /// The life of the node: the number of its starts.
    pub life: u64,
    /// The client and the id of the request.
    pub asked: (&'a str, u64),
    /// The fields of the request, as text.
    pub request: &'a str,
    /// The fields of the reply.
    pub fields: &'a BTreeMap<String, Box<RawValue>>,
}

impl Reply<'_> {
    /// The reply's type.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.fields["type"].get().trim_matches('"')
    }

    /// A field of the reply.
    #[must_use]
    pub fn field<'de, T: Deserialize<'de>>(&'de self, name: &str) -> T {
        serde_json::from_str(self.fields[name].get()).unwrap()
    }
}

/// A handler, with the requests of its clients and the rules for its replies.
pub trait Subject {
    /// The handler.
    type Handler: MessageHandler;

    /// A new handler, for a new life of a node.
    fn handler(&self) -> Self::Handler;

    /// The fields of a request.
    fn request(&mut self, input: &mut Input<'_>) -> String;

    /// Called before a request goes to a node.
    fn asked(&mut self, _asked: &Asked<'_>) {}

    /// Called when a node has replied.
    fn replied(&mut self, reply: &Reply<'_>);

    /// The fields of a request that shows a node's state.
    fn probe(&self) -> Option<String> {
        None
    }

    /// Called when a crashed node has recovered and shows the state `after`. `before` is the state
    /// that it showed just before the crash, if nothing happened in between.
    fn recovered(&mut self, _node: usize, _before: Option<&str>, _after: &str) {}

    /// Called when a node has crashed. `is_lost`: it keeps no records, so it lost its state.
    fn crashed(&mut self, _node: usize, _is_lost: bool) {}

    /// Whether the nodes show everything that they must show once all messages are delivered.
    ///
    /// # Errors
    ///
    /// A description of the difference.
    fn settled(&self, _shown: &[String]) -> Result<(), String> {
        Ok(())
    }
}

/// A request that a life of a node received, and whether it may still be answered.
struct Ask {
    node: usize,
    life: u64,
    request: String,
    is_open: bool,
}

/// A snapshot that is being taken.
struct Replacing {
    next: SnapshotPosition,
    records: Vec<Vec<u8>>,
}

/// One node of the cluster, up or down.
struct Slot<H: MessageHandler> {
    raw: Option<RawNode<H>>,
    life: u64,
    records: Vec<Vec<u8>>,
    replacing: Option<Replacing>,
    /// The state that it showed when it crashed.
    shown: Option<String>,
}

/// A message on the network, with the index of its destination. The service comes after the last
/// node.
type Message = (usize, String);

/// Limit on the messages on the network. Beyond it, the oldest are lost.
const NET_MAX: usize = 256;

/// Bytes that a node may output for an empty input.
const INPUT_BYTES: usize = 16 << 10;

/// The cluster.
pub struct World<'a, S: Subject> {
    subject: S,
    setup: Setup,
    input: Input<'a>,
    slots: Vec<Slot<S::Handler>>,
    net: VecDeque<Message>,
    /// The last messages between nodes, delivered or not.
    history: VecDeque<Message>,
    service: LinKv,
    now: Duration,
    wall: Duration,
    asks: BTreeMap<(String, u64), Vec<Ask>>,
    next_msg_id: u64,
    /// Bytes of all inputs of nodes, and of all their messages except replies.
    bytes: usize,
    is_spoilt: bool,
    /// The reply to the last probe.
    probed: Option<String>,
}

/// A line as a client reads it.
#[derive(Deserialize)]
struct Line {
    src: String,
    dest: String,
    body: BTreeMap<String, Box<RawValue>>,
}

fn node_name(node: usize) -> String {
    format!("n{}", node + 1)
}

impl<'a, S: Subject> World<'a, S> {
    /// Runs a case: the first two bytes are the set-up, and the rest are steps.
    pub fn run(bytes: &'a [u8], new: impl FnOnce(Setup) -> S) {
        let mut input = Input::new(bytes);
        let (flags, choice) = (input.byte(), input.below(256));
        let setup = Setup {
            nodes: 1 + usize::from(flags & 3).min(2),
            is_durable: flags & 4 == 0,
            is_hostile: flags & 8 != 0,
            choice,
        };
        trace(|| format!("{setup:?}"));
        let mut world = World {
            subject: new(setup),
            setup,
            input,
            slots: Vec::new(),
            net: VecDeque::new(),
            history: VecDeque::new(),
            service: LinKv::default(),
            now: Duration::ZERO,
            wall: Duration::from_secs(1_750_000_000),
            asks: BTreeMap::new(),
            next_msg_id: 0,
            bytes: 0,
            is_spoilt: false,
            probed: None,
        };
        for node in 0..setup.nodes {
            let slot =
                Slot { raw: None, life: 0, records: Vec::new(), replacing: None, shown: None };
            world.slots.push(slot);
            world.start(node, false);
        }
        while !world.input.is_empty() {
            world.step();
        }
        world.settle();
    }

    fn step(&mut self) {
        let op = self.input.below(32);
        let node = self.input.below(self.setup.nodes);
        match op {
            0..=8 => self.request(node, false),
            9 => self.request(node, true),
            10..=15 => self.deliver_one(true),
            16 => self.deliver_one(false),
            17 => self.deliver_all(),
            18 => {
                let at = self.input.below(self.net.len().max(1));
                self.net.remove(at);
            }
            19..=21 => {
                let ms = self.input.pick(&[1, 2, 5, 20, 50, 100, 200, 420, 700, 1000, 3000, 6000]);
                self.advance(Duration::from_millis(ms));
            }
            22 => self.advance_to_next(),
            23 => self.crash(node, None),
            24 => {
                let outputs = self.input.below(4);
                self.crash(node, Some(outputs));
            }
            25 => self.restart(node),
            26 | 27 => self.snapshot_part(node),
            28 => self.jump(),
            29 => self.stranger(node),
            _ => self.damage(),
        }
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.now, wall: self.wall }
    }

    fn jump(&mut self) {
        let max = Duration::from_millis(u64::MAX);
        let base = Duration::from_secs(1_750_000_000);
        self.wall = self.input.pick(&[base, Duration::ZERO, max, base * 2]);
    }

    // Clients.

    fn request(&mut self, node: usize, is_retry: bool) {
        let client = self.input.pick(&["c1", "c2"]);
        if is_retry {
            let mut asks = self.asks.iter().filter(|(_, asks)| !asks[0].request.is_empty());
            let at = self.input.below(asks.clone().count().max(1));
            let Some(((client, id), asks)) = asks.nth(at) else { return };
            let (client, id, request) = (client.clone(), *id, asks[0].request.clone());
            return self.send(node, (&client, id), &request, usize::MAX);
        }
        let request = self.subject.request(&mut self.input);
        let id = self.next_id();
        self.send(node, (client, id), &request, usize::MAX);
    }

    fn next_id(&mut self) -> u64 {
        self.next_msg_id += 1;
        self.next_msg_id
    }

    /// Sends a request of a client, and takes up to `outputs_max` outputs.
    fn send(&mut self, node: usize, name: (&str, u64), request: &str, outputs_max: usize) {
        if self.slots[node].raw.is_none() {
            return;
        }
        let (client, id) = name;
        let life = self.slots[node].life;
        let asks = self.asks.entry((client.to_owned(), id)).or_default();
        let is_retry = !asks.is_empty();
        asks.push(Ask { node, life, request: request.to_owned(), is_open: true });
        if !self.is_spoilt {
            self.subject.asked(&Asked { name, node, life, request, is_retry });
        }
        let dest = node_name(node);
        let body = format!(r#"{{"msg_id":{id},{request}}}"#);
        let line = format!(r#"{{"src":"{client}","dest":"{dest}","body":{body}}}"#);
        self.give_and_take(node, line.as_bytes(), outputs_max);
    }

    /// Asks a node for its state. Returns the reply if it comes at once.
    fn probe(&mut self, node: usize) -> Option<String> {
        let request = self.subject.probe()?;
        let id = self.next_id();
        self.probed = None;
        self.send(node, ("probe", id), &request, usize::MAX);
        self.probed.take()
    }

    /// Sends a random message, from a name that the node may know or not.
    fn stranger(&mut self, node: usize) {
        let src = self.input.pick(&["c1", "n1", "n2", "n9", "lin-kv", ""]);
        let fields = odd::fields(&mut self.input);
        if !self.setup.is_hostile || self.slots[node].raw.is_none() {
            return;
        }
        self.is_spoilt = true;
        // The handler may reply to this id once.
        let id = self.next_id();
        let life = self.slots[node].life;
        let ask = Ask { node, life, request: fields.clone(), is_open: true };
        self.asks.entry((src.to_owned(), id)).or_default().push(ask);
        let is_named = fields.contains(r#""msg_id""#);
        let msg_id = if is_named { String::new() } else { format!(r#","msg_id":{id}"#) };
        let dest = node_name(node);
        let line = format!(r#"{{"src":"{src}","dest":"{dest}","body":{{{fields}{msg_id}}}}}"#);
        self.give(node, line.as_bytes());
    }

    /// Delivers a message between nodes with damage in one place.
    fn damage(&mut self) {
        let at = self.input.below(self.history.len().max(1));
        let Some((node, line)) = self.history.get(at).cloned() else { return };
        let line = odd::damaged(&line, &mut self.input);
        if !self.setup.is_hostile || node >= self.setup.nodes || self.slots[node].raw.is_none() {
            return;
        }
        self.is_spoilt = true;
        self.give(node, &line);
    }

    // The network.

    fn deliver_one(&mut self, is_taken: bool) {
        let at = self.input.below(self.net.len().max(1));
        let message = if is_taken { self.net.remove(at) } else { self.net.get(at).cloned() };
        if let Some(message) = message {
            self.deliver(message);
        }
    }

    /// Delivers the first message for a node, and takes up to `outputs_max` outputs.
    fn deliver_one_to(&mut self, node: usize, outputs_max: usize) {
        let at = self.net.iter().position(|(dest, _)| *dest == node);
        if let Some((_, line)) = at.and_then(|at| self.net.remove(at)) {
            self.give_and_take(node, line.as_bytes(), outputs_max);
        }
    }

    fn deliver_all(&mut self) {
        for _ in 0..self.net.len() {
            if let Some(message) = self.net.pop_front() {
                self.deliver(message);
            }
        }
    }

    fn deliver(&mut self, (dest, line): Message) {
        if dest == self.setup.nodes {
            if let Some((client, reply)) = self.service.answer(&line) {
                let node = client.trim_start_matches('n').parse().unwrap_or(1) - 1;
                self.post((node, reply));
            }
        } else if self.slots[dest].raw.is_some() {
            self.give(dest, line.as_bytes());
        }
    }

    fn post(&mut self, message: Message) {
        if self.net.len() == NET_MAX {
            self.net.pop_front();
        }
        if self.history.len() == 64 {
            self.history.pop_front();
        }
        self.history.push_back(message.clone());
        self.net.push_back(message);
    }

    // Inputs and outputs.

    fn give(&mut self, node: usize, line: &[u8]) {
        self.give_and_take(node, line, usize::MAX);
    }

    /// Gives a line to a node, and takes up to `outputs_max` outputs.
    fn give_and_take(&mut self, node: usize, line: &[u8], outputs_max: usize) {
        let clock = self.clock();
        self.bytes += line.len();
        trace(|| format!("{:?} > {}", self.now, String::from_utf8_lossy(line)));
        if let Some(raw) = &mut self.slots[node].raw {
            raw.handle_line(clock, line);
        }
        self.drain(node, outputs_max);
    }

    /// Limit on the bytes that a node may output after one input: for each destination, a constant
    /// and a multiple of all bytes so far.
    fn bound(&self) -> usize {
        (INPUT_BYTES + 4 * self.bytes) * (self.setup.nodes + 1)
    }

    /// Takes up to `outputs_max` outputs of a node.
    fn drain(&mut self, node: usize, outputs_max: usize) {
        let Some(raw) = &mut self.slots[node].raw else { return };
        let outputs: Vec<Output> =
            std::iter::from_fn(|| raw.poll_output()).take(outputs_max).collect();
        let waiting = raw.unanswered();
        let bound = self.bound();
        let mut said = 0;
        for output in outputs {
            match output {
                Output::Record(record) => {
                    trace(|| format!("    keeps {}", String::from_utf8_lossy(&record)));
                    said += record.len();
                    self.keep(node, record);
                }
                Output::Lines(lines) => {
                    said += lines.len();
                    let lines = String::from_utf8(lines).expect("lines are UTF-8");
                    assert!(lines.ends_with('\n'), "no whole line: {lines}");
                    for line in lines.lines() {
                        trace(|| format!("    {line}"));
                        self.route(node, line);
                    }
                }
            }
        }
        assert!(said <= bound, "{said} bytes were said, and at most {bound} may be");
        let life = self.slots[node].life;
        let open = self.asks.values().flatten();
        let open = open.filter(|ask| ask.is_open && (ask.node, ask.life) == (node, life)).count();
        assert!(waiting <= open || self.is_spoilt, "{waiting} of {open} requests wait");
    }

    fn keep(&mut self, node: usize, record: Vec<u8>) {
        assert!(self.setup.is_durable, "a record where none is kept");
        let slot = &mut self.slots[node];
        if let Some(replacing) = &mut slot.replacing {
            replacing.records.push(record.clone());
        }
        slot.records.push(record);
    }

    fn route(&mut self, node: usize, text: &str) {
        let line: Line = serde_json::from_str(text).unwrap_or_else(|error| {
            panic!("{error}: {text}");
        });
        assert_eq!(line.src, node_name(node), "{text}");
        if let Some(id) = line.body.get("in_reply_to") {
            let id = id.get().parse().expect("a name for a message");
            return self.reply(node, &line.dest, id, &line.body);
        }
        self.bytes += text.len();
        let places = (0..self.setup.nodes).map(node_name).chain(["lin-kv".to_owned()]);
        let dest = places.into_iter().position(|place| place == line.dest);
        // A stranger may have used any name.
        assert!(dest.is_some() || self.is_spoilt, "nobody has that name: {text}");
        if let Some(dest) = dest {
            self.post((dest, text.to_owned()));
        }
    }

    fn reply(&mut self, node: usize, to: &str, id: u64, fields: &BTreeMap<String, Box<RawValue>>) {
        let life = self.slots[node].life;
        let asks = self.asks.get_mut(&(to.to_owned(), id));
        let asks = asks.into_iter().flatten();
        let ask = asks.into_iter().find(|ask| ask.is_open && (ask.node, ask.life) == (node, life));
        let Some(ask) = ask else {
            // A damaged request may carry an id that no client chose.
            assert!(self.is_spoilt, "a reply to no request, or one too many: {to} {id} {fields:?}");
            return;
        };
        ask.is_open = false;
        let reply = Reply { node, life, asked: (to, id), request: &ask.request, fields };
        if to == "probe" && reply.kind() != "error" {
            let shown = fields.iter().filter(|(key, _)| *key != "in_reply_to");
            self.probed = Some(shown.map(|(key, value)| format!("{key}={value}\n")).collect());
        }
        if !self.is_spoilt && !ask.request.is_empty() {
            self.subject.replied(&reply);
        }
    }

    // Time.

    fn next_timeout(&self) -> Option<Duration> {
        let raws = self.slots.iter().filter_map(|slot| slot.raw.as_ref());
        raws.filter_map(RawNode::poll_timeout).min()
    }

    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        // The limit ends a series of timers that each set another one for the same instant.
        for _ in 0..64 {
            let Some(at) = self.next_timeout().filter(|at| *at <= end) else { break };
            self.fire(at);
        }
        self.fire(end);
    }

    fn advance_to_next(&mut self) {
        if let Some(at) = self.next_timeout() {
            self.fire(at.min(self.now + Duration::from_secs(60)));
        }
    }

    fn fire(&mut self, at: Duration) {
        let at = at.max(self.now);
        self.wall = self.wall.saturating_add(at - self.now);
        self.now = at;
        let clock = self.clock();
        for node in 0..self.setup.nodes {
            let Some(raw) = &mut self.slots[node].raw else { continue };
            if raw.poll_timeout().is_some_and(|due| due <= at) {
                raw.handle_timeout(clock);
                self.drain(node, usize::MAX);
            }
        }
    }
}
