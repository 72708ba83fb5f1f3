//! A test in virtual time: handlers in-process, no threads, no waiting.
//!
//! The handlers are the very objects that the real binaries run, and what they say passes as the
//! same bytes as over pipes. The same seed gives the same run on every machine.
//!
//! Faults that real processes do not get here yet: a node can pause, crash and restart, and its
//! wall clock can be wrong. What a node persists takes a moment to be safe; nothing that it says
//! after that leaves before, and a crash in between takes both away.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use maelstrom_core::{Clock, MessageHandler, NodeId, Output, RawNode};
use rand::Rng;
use rand::seq::IndexedRandom;

use crate::generator::random_below;
use crate::options::Options;
use crate::rng::{self, SimRng, Stream};
use crate::world::{Action, Disturbance, World};

/// What wall clocks show when a run begins: 2026-01-01.
const WALL_CLOCK_START: Duration = Duration::from_secs(1_767_225_600);

/// How often nodes and world may answer each other while no time passes. More is a livelock.
const ROUNDS_MAX: u32 = 100_000;

/// How long it may take until a record is safe, in ms: chosen for each run.
const SYNC_MAX_MS: [u64; 3] = [1, 20, 300];

/// Runs a test to its end: `build` makes the handler of a node, each time it starts.
///
/// # Panics
///
/// If nodes and world go on for ever without time passing, or a node cannot recover what it has
/// persisted.
pub fn simulate<H: MessageHandler>(options: Options, build: impl FnMut(&NodeId) -> H) -> World {
    let mut simulation = Simulation::new(options, build);
    while !simulation.world.is_done() {
        simulation.step();
    }
    simulation.world
}

struct Simulation<H: MessageHandler, B> {
    now: Duration,
    rounds: u32,
    world: World,
    nodes: BTreeMap<NodeId, Machine<H>>,
    build: B,
    rng: SimRng,
    sync_max: Duration,
}

/// A node and the machine it runs on.
struct Machine<H: MessageHandler> {
    /// `None` while it is down.
    node: Option<RawNode<H>>,
    paused: bool,
    /// What it is to hear when it goes on.
    inbox: VecDeque<Vec<u8>>,
    /// What it has said and what is not yet safe, in order, while a record is being made so.
    outbox: VecDeque<Output>,
    /// When the sync that is under way ends.
    synced_at: Option<Duration>,
    /// How many records it covers: all that waited when it began (group commit).
    syncing: usize,
    /// How many records at the head of the outbox are safe.
    safe: usize,
    disk: Vec<Vec<u8>>,
    clock_offset_ms: i64,
}

impl<H: MessageHandler, B: FnMut(&NodeId) -> H> Simulation<H, B> {
    fn new(options: Options, build: B) -> Self {
        let ids = options.nodes.clone();
        let mut rng = rng::stream(options.seed, Stream::Nodes);
        let sync_max = SYNC_MAX_MS.choose(&mut rng).copied().unwrap_or_default();
        let sync_max = Duration::from_millis(sync_max);
        let now = Duration::ZERO;
        let world = World::new(options, now);
        let mut simulation =
            Self { now, rounds: 0, world, nodes: BTreeMap::new(), build, rng, sync_max };
        for id in ids {
            let node = simulation.start(&id, &[]);
            simulation.nodes.insert(id, Machine::new(node));
        }
        simulation.carry_out();
        simulation
    }

    /// A new process for a node.
    fn start(&mut self, id: &NodeId, records: &[Vec<u8>]) -> RawNode<H> {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let mut node = RawNode::new((self.build)(id), seed, true);
        for record in records {
            let recovered = node.recover(record);
            assert!(recovered.is_ok(), "{id} cannot recover: {recovered:?}");
        }
        node
    }

    /// Goes on to the next moment at which anything happens.
    fn step(&mut self) {
        let nodes = self.nodes.values().filter_map(Machine::poll_timeout);
        let next = nodes.chain(self.world.poll_timeout(self.now)).min().unwrap_or(self.now);
        self.rounds = if next > self.now { 0 } else { self.rounds + 1 };
        assert!(self.rounds < ROUNDS_MAX, "livelock at {:?}", self.now);
        self.now = next.max(self.now);
        let ids: Vec<NodeId> = self.nodes.keys().cloned().collect();
        for id in ids {
            if let Some(machine) = self.nodes.get_mut(&id)
                && machine.poll_timeout().is_some_and(|at| at <= self.now)
            {
                let _logs = log_as(&id, self.now);
                machine.handle_timeout(self.now);
                self.pass_on(&id);
            }
        }
        self.world.handle_timeout(self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.world.poll_action() {
            match action {
                Action::Tell(_) => {}
                Action::Disturb(disturbance) => self.disturb(disturbance),
                Action::Deliver { node: id, line } => {
                    if let Some(machine) = self.nodes.get_mut(&id) {
                        let _logs = log_as(&id, self.now);
                        machine.hear(self.now, line);
                        self.pass_on(&id);
                    }
                }
            }
        }
    }

    fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::Pause(id) => self.with(&id, |machine| machine.paused = true),
            Disturbance::Resume(id) => {
                let now = self.now;
                let _logs = log_as(&id, now);
                self.with(&id, |machine| machine.resume(now));
                self.pass_on(&id);
            }
            Disturbance::Clock(id, ms) => self.with(&id, |machine| machine.clock_offset_ms = ms),
            Disturbance::Crash(id) => self.with(&id, Machine::crash),
            Disturbance::Restart(id) => {
                let Some(machine) = self.nodes.get_mut(&id) else {
                    return;
                };
                let records = machine.disk.clone();
                let node = self.start(&id, &records);
                self.with(&id, |machine| machine.node = Some(node));
            }
        }
    }

    fn with(&mut self, id: &NodeId, f: impl FnOnce(&mut Machine<H>)) {
        if let Some(machine) = self.nodes.get_mut(id) {
            f(machine);
        }
    }

    /// Tells the world what a node has to say.
    fn pass_on(&mut self, id: &NodeId) {
        let Some(machine) = self.nodes.get_mut(id) else {
            return;
        };
        while let Some(lines) = machine.next_lines(self.now, self.sync_max, &mut self.rng) {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                self.world.node_said(self.now, id, line);
            }
        }
    }
}

/// Marks what is logged as this node's, with the time of the run.
fn log_as(id: &NodeId, now: Duration) -> tracing::span::EnteredSpan {
    tracing::info_span!("sim", node = %id, at = ?now).entered()
}

impl<H: MessageHandler> Machine<H> {
    fn new(node: RawNode<H>) -> Self {
        Self {
            node: Some(node),
            paused: false,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            synced_at: None,
            syncing: 0,
            safe: 0,
            disk: Vec::new(),
            clock_offset_ms: 0,
        }
    }

    fn clock(&self, now: Duration) -> Clock {
        let wall = WALL_CLOCK_START + now;
        let offset = Duration::from_millis(self.clock_offset_ms.unsigned_abs());
        let wall = if self.clock_offset_ms < 0 { wall - offset } else { wall + offset };
        Clock { monotonic: now, wall }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let node = self.node.as_ref().filter(|_| !self.paused);
        let timer = node.and_then(RawNode::poll_timeout);
        timer.into_iter().chain(self.synced_at).min()
    }

    fn handle_timeout(&mut self, now: Duration) {
        let clock = self.clock(now);
        if let Some(node) = self.node.as_mut().filter(|_| !self.paused) {
            node.handle_timeout(clock);
        }
    }

    /// What a node that is down is sent is lost; what a paused one is sent waits.
    fn hear(&mut self, now: Duration, line: Vec<u8>) {
        let clock = self.clock(now);
        match &mut self.node {
            Some(_) if self.paused => self.inbox.push_back(line),
            Some(node) => node.handle_line(clock, &line),
            None => {}
        }
    }

    fn resume(&mut self, now: Duration) {
        self.paused = false;
        let clock = self.clock(now);
        if let Some(node) = &mut self.node {
            for line in self.inbox.drain(..) {
                node.handle_line(clock, &line);
            }
        }
    }

    fn crash(&mut self) {
        self.node = None;
        self.paused = false;
        self.inbox.clear();
        self.outbox.clear();
        (self.synced_at, self.syncing, self.safe) = (None, 0, 0);
    }

    /// The next lines that may leave: not those behind a record that is not safe yet.
    fn next_lines(
        &mut self,
        now: Duration,
        sync_max: Duration,
        rng: &mut SimRng,
    ) -> Option<Vec<u8>> {
        if let Some(node) = &mut self.node {
            self.outbox.extend(std::iter::from_fn(|| node.poll_output()));
        }
        loop {
            if matches!(self.outbox.front()?, Output::Record(_))
                && !self.is_head_safe(now, || now + random_below(sync_max, rng))
            {
                return None;
            }
            match self.outbox.pop_front()? {
                Output::Lines(lines) => return Some(lines),
                Output::Record(record) => {
                    self.safe = self.safe.saturating_sub(1);
                    self.disk.push(record);
                }
            }
        }
    }

    /// Whether the record at the head of the outbox is safe. If no sync is under way, one begins.
    fn is_head_safe(&mut self, now: Duration, ends: impl FnOnce() -> Duration) -> bool {
        if self.safe > 0 {
            return true;
        }
        if self.synced_at.is_none() {
            let records = self.outbox.iter().filter(|output| matches!(output, Output::Record(_)));
            self.syncing = records.count();
        }
        if *self.synced_at.get_or_insert_with(ends) > now {
            return false;
        }
        self.synced_at = None;
        self.safe = self.syncing;
        true
    }
}

#[cfg(test)]
mod tests;
