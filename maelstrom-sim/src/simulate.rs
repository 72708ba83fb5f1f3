//! A test in virtual time: handlers in-process, no threads, no waiting.
//!
//! The handlers are the very objects that the real binaries run, and what they say passes as the
//! same bytes as over pipes. The same seed gives the same run on every machine.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{Clock, MessageHandler, NodeId, Output, RawNode};
use rand::Rng;

use crate::options::Options;
use crate::rng::{self, Stream};
use crate::world::{Action, World};

/// What wall clocks show when a run begins: 2026-01-01.
const WALL_CLOCK_START: Duration = Duration::from_secs(1_767_225_600);

/// How often nodes and world may answer each other while no time passes. More is a livelock.
const ROUNDS_MAX: u32 = 100_000;

/// Runs a test to its end: `build` makes the handler of each node.
///
/// # Panics
///
/// If nodes and world go on for ever without time passing.
pub fn simulate<H: MessageHandler>(options: Options, build: impl FnMut(&NodeId) -> H) -> World {
    let mut simulation = Simulation::new(options, build);
    while !simulation.world.is_done() {
        simulation.step();
    }
    simulation.world
}

struct Simulation<H: MessageHandler> {
    now: Duration,
    rounds: u32,
    world: World,
    nodes: BTreeMap<NodeId, RawNode<H>>,
}

impl<H: MessageHandler> Simulation<H> {
    fn new(options: Options, mut build: impl FnMut(&NodeId) -> H) -> Self {
        let mut seeds = rng::stream(options.seed, Stream::Nodes);
        let mut node = |id: &NodeId| {
            let mut seed = [0; 32];
            seeds.fill_bytes(&mut seed);
            (id.clone(), RawNode::new(build(id), seed, false))
        };
        let nodes = options.nodes.iter().map(&mut node).collect();
        let now = Duration::ZERO;
        let mut simulation = Self {
            now,
            rounds: 0,
            world: World::new(options, now),
            nodes,
        };
        simulation.carry_out();
        simulation
    }

    /// Goes on to the next moment at which anything happens.
    fn step(&mut self) {
        let nodes = self.nodes.values().filter_map(RawNode::poll_timeout);
        let next = nodes
            .chain(self.world.poll_timeout(self.now))
            .min()
            .unwrap_or(self.now);
        self.rounds = if next > self.now { 0 } else { self.rounds + 1 };
        assert!(self.rounds < ROUNDS_MAX, "livelock at {:?}", self.now);
        self.now = next.max(self.now);
        let clock = self.clock();
        for (id, node) in &mut self.nodes {
            if node.poll_timeout().is_some_and(|at| at <= self.now) {
                node.handle_timeout(clock);
                pass_on(self.now, &mut self.world, id, node);
            }
        }
        self.world.handle_timeout(self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let clock = self.clock();
        while let Some(action) = self.world.poll_action() {
            let Action::Deliver { node: id, line } = action else {
                continue;
            };
            if let Some(node) = self.nodes.get_mut(&id) {
                node.handle_line(clock, &line);
                pass_on(self.now, &mut self.world, &id, node);
            }
        }
    }

    fn clock(&self) -> Clock {
        Clock {
            monotonic: self.now,
            wall: WALL_CLOCK_START + self.now,
        }
    }
}

/// Tells the world what a node has to say.
fn pass_on<H: MessageHandler>(
    now: Duration,
    world: &mut World,
    id: &NodeId,
    node: &mut RawNode<H>,
) {
    while let Some(output) = node.poll_output() {
        let Output::Lines(lines) = output else {
            continue;
        };
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            world.node_said(now, id, line);
        }
    }
}
