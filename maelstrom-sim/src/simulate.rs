//! A test in virtual time: handlers in-process, no threads, no waiting.
//!
//! The handlers are the very objects that the real binaries run, and what they say passes as the
//! same bytes as over pipes. The same seed gives the same run on every machine.
//!
//! Faults that real processes do not get here yet: a node can pause, crash and restart, and its
//! wall clock can be wrong. What a node persists takes a moment to be safe; nothing that it says
//! after that leaves before, and a crash in between takes both away.

mod machine;

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{MessageHandler, NodeId, RawNode};
use rand::Rng;
use rand::seq::IndexedRandom;

use self::machine::Machine;
use crate::generator::random_below;
use crate::options::Options;
use crate::rng::{self, SimRng, Stream};
use crate::world::{Action, Disturbance, World};

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

impl<H: MessageHandler, B: FnMut(&NodeId) -> H> Simulation<H, B> {
    fn new(options: Options, build: B) -> Self {
        let ids = options.nodes.clone();
        let mut rng = rng::stream(options.seed, Stream::Nodes);
        let drawn = SYNC_MAX_MS.choose(&mut rng).copied().unwrap_or_default();
        let sync_max = options.sync_max.unwrap_or(Duration::from_millis(drawn));
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
        let mut sync_time = || random_below(self.sync_max, &mut self.rng);
        while let Some(lines) = machine.next_lines(self.now, &mut sync_time) {
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

#[cfg(test)]
mod tests;
