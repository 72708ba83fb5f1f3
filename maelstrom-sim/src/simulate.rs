//! Runs a test in virtual time, with handlers in-process: no threads, no waiting.
//!
//! The handlers are the same as in the real binaries, and their messages pass as the same bytes as
//! over pipes. The same seed gives the same run on every machine.
//!
//! A crash loses the lines that the node has not read. Lines for a killed node wait for its
//! restart, and reach it before `init`, as with Maelstrom and with real processes. A record takes
//! some time to become durable. Lines that the node prints after the record leave only then, and a
//! crash in between loses both. The nemesis can also shift a node's wall clock, which is not
//! possible with a real process.
//!
//! The clocks of a node can run fast or slow, and its timers with them.
//!
//! A disk can be slow, stall, or fail. If a sync fails, the node ends by itself, as a real one does:
//! nothing that it printed after a record of that sync leaves.

mod clock;
mod disk;
mod machine;
mod sync;

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use maelstrom_core::auth::{ClusterKey, sealed_line_bytes_max};
use maelstrom_core::{Limits, MessageHandler, NodeId, RawNode};
use rand::Rng;
use rand::seq::IndexedRandom;

use self::disk::Disk;
use self::machine::{Machine, Program};
use crate::nemesis::{Fault, NemesisOp};
use crate::options::Losable;
use crate::process::UNREAD_BYTES_MAX;
use crate::rng::{self, SimRng, Stream};
use crate::stagger::random_below;
use crate::test::Test;
use crate::world::{Action, Disturbance, Failure, World};

/// How many steps may happen at the same virtual time. More is a livelock.
const ROUNDS_MAX: u32 = if cfg!(test) { 10_000 } else { 100_000 };

/// How many messages nodes may receive at the same virtual time. More is a livelock.
const BURST_MAX: u32 = if cfg!(test) { 10_000 } else { 100_000 };

/// How many steps to run between two checks of the budget.
const STEPS_PER_LOOK: u32 = 256;

/// The longest times in ms for making a record durable. Each run draws one.
const SYNC_MAX_MS: [u64; 3] = [1, 20, 300];

/// Runs a test to its end. `build` creates the handler of a node, each time the node starts.
///
/// If nodes and world exchange messages forever at the same virtual time, the test
/// [fails](World::failure).
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_sim::Test;
/// use maelstrom_sim::options::Options;
/// use maelstrom_sim::simulate::simulate;
/// use maelstrom_sim::workload::Echo;
///
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Echo { echo: serde_json::Value }, EchoOk { echo: serde_json::Value } }
/// # struct MyNode;
/// # impl MessageHandler for MyNode {
/// #     type Payload = Payload;
/// #     type Event = NoEvent;
/// #     fn message(&mut self, node: &mut Node<NoEvent>, from: &Request, payload: Payload) -> Result<(), Error> {
/// #         if let Payload::Echo { echo } = payload {
/// #             node.reply(from, &Payload::EchoOk { echo });
/// #         }
/// #         Ok(())
/// #     }
/// # }
/// let options = Options { rate: 20.0, time_limit: Duration::from_secs(2), seed: 7, ..Options::default() };
/// let world = simulate(Test::new(Echo::default(), options), |_| MyNode);
/// world.assert_valid();
/// // The operations that the clients saw, and the figures.
/// assert!(world.history().client_ops().count() > 20);
/// assert_eq!(world.net_stats().servers.sent, 0);
/// ```
///
/// # Panics
///
/// If a handler panics, or cannot recover a record that it persisted.
pub fn simulate<H: MessageHandler>(test: Test, mut build: impl FnMut(&NodeId) -> H) -> World {
    let measured = &mut |id: &NodeId, seed| -> Box<dyn Program> {
        let mut node = RawNode::new(build(id), seed, true);
        node.record_marks();
        // Sweeps do not record metrics, because that takes time.
        node.record_metrics();
        Box::new(node)
    };
    let (world, panic) = run(test, measured, None);
    match panic {
        Some(panic) => std::panic::resume_unwind(panic),
        None => world,
    }
}

/// Creates the node with this name and random seed, each time it starts.
pub(crate) type Build<'a, 'h> = dyn FnMut(&NodeId, [u8; 32]) -> Box<dyn Program + 'h> + 'a;

/// A node with this handler, which keeps its records.
pub(crate) fn program<'h, H: MessageHandler + 'h>(
    handler: H,
    seed: [u8; 32],
) -> Box<dyn Program + 'h> {
    let mut node = RawNode::new(handler, seed, true);
    node.record_marks();
    Box::new(node)
}

/// The limits of a run. A run that exceeds them is aborted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// The most messages that may be sent.
    pub(crate) messages: u64,
    /// The longest wall-clock time that the run may take.
    pub(crate) time: Duration,
}

/// Runs a test to its end, or until a handler panics or the budget is used up. The test then fails.
pub(crate) fn simulate_within(
    budget: Budget,
    running: &Running,
    test: Test,
    build: &mut Build<'_, '_>,
) -> World {
    run(test, build, Some((budget, running))).0
}

/// The handler that a run is calling: its node, and the virtual time. Another thread can read it.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<Option<(NodeId, Duration)>>);

impl Running {
    /// The handler call that has not returned yet, if there is one.
    pub(crate) fn get(&self) -> Option<(NodeId, Duration)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, running: Option<(NodeId, Duration)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }
}

/// The payload of a handler's panic.
type Panic = Box<dyn Any + Send>;

fn run(
    test: Test,
    build: &mut Build<'_, '_>,
    limits: Option<(Budget, &Running)>,
) -> (World, Option<Panic>) {
    let (budget, running) = limits.unzip();
    let mut simulation = Simulation::new(test, build, running);
    let watch = budget.map(|budget| (budget, Stopwatch::start(GAP_MAX)));
    let mut steps = 0_u32;
    while !simulation.world.is_done() {
        simulation.step();
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(STEPS_PER_LOOK)
            && let Some((budget, watch)) = &watch
        {
            simulation.check(*budget, watch.elapsed());
        }
    }
    simulation.keep_metrics();
    (simulation.world, simulation.panic)
}

struct Simulation<'a, 'b, 'h> {
    now: Duration,
    running: Option<&'a Running>,
    rounds: u32,
    /// How many messages nodes received at this virtual time.
    burst: u32,
    panic: Option<Panic>,
    world: World,
    nodes: BTreeMap<NodeId, Machine<'h>>,
    build: &'a mut Build<'b, 'h>,
    rng: SimRng,
    /// Draws the records that a failing disk keeps.
    disk_rng: SimRng,
    sync_max: Duration,
    line_bytes_max: Option<usize>,
    long_lines_to_clients: bool,
    losable: Option<Losable>,
    cluster_key: Option<ClusterKey>,
    limits: BTreeMap<NodeId, Limits>,
}

impl<'a, 'b, 'h> Simulation<'a, 'b, 'h> {
    fn new(test: Test, build: &'a mut Build<'b, 'h>, running: Option<&'a Running>) -> Self {
        let options = &test.options;
        let ids = options.nodes.clone();
        let mut rng = rng::stream(options.seed, Stream::Nodes);
        let drawn = SYNC_MAX_MS.choose(&mut rng).copied().unwrap_or_default();
        let sync_max = options.sync_max.unwrap_or(Duration::from_millis(drawn));
        let disk_rng = rng::stream(options.seed, Stream::Disks);
        let now = Duration::ZERO;
        let (cluster_key, limits) = (options.cluster_key.clone(), options.node_limits.clone());
        let (part_bytes, line_bytes_max) = (options.snapshot_part_bytes, options.line_bytes_max);
        let line_bytes_max = match &cluster_key {
            Some(_) => line_bytes_max.map(sealed_line_bytes_max),
            None => line_bytes_max,
        };
        let long_lines_to_clients = options.long_lines_to_clients;
        let losable = options.losable.clone();
        let restores = |(_, op): &(Duration, NemesisOp)| matches!(op, NemesisOp::Restore(..));
        let restores = match &options.schedule {
            Some(events) => events.iter().any(restores),
            None => options.nemesis.contains(&Fault::Restore),
        };
        let world = World::new(test, now);
        let mut simulation = Self {
            now,
            running,
            rounds: 0,
            burst: 0,
            panic: None,
            world,
            nodes: BTreeMap::new(),
            build,
            rng,
            disk_rng,
            sync_max,
            line_bytes_max,
            long_lines_to_clients,
            losable,
            cluster_key,
            limits,
        };
        for id in ids {
            if let Some(node) = simulation.guard(&id, |simulation| simulation.start(&id, &[])) {
                let disk = Disk::new(part_bytes).keeping_older(restores);
                simulation.nodes.insert(id, Machine::new(node, disk));
            }
        }
        simulation.carry_out();
        simulation
    }

    /// Keeps the metrics of the nodes for after the test. After a panic, no node may be called any
    /// more.
    fn keep_metrics(&mut self) {
        if self.panic.is_some() {
            return;
        }
        for (id, machine) in &self.nodes {
            if let Some(metrics) = machine.metrics() {
                self.world.keep_metrics(id, metrics);
            }
        }
    }

    /// Creates the new process of a node.
    fn start(&mut self, id: &NodeId, records: &[Vec<u8>]) -> Box<dyn Program + 'h> {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let mut node = (self.build)(id, seed);
        if let Some(key) = &self.cluster_key {
            node.set_cluster_key(key.clone());
        }
        if let Some(limits) = self.limits.get(id) {
            node.set_limits(limits);
        }
        for record in records {
            let recovered = node.recover(record);
            assert!(recovered.is_ok(), "{id} cannot recover: {recovered:?}");
        }
        node
    }

    /// Advances to the next moment at which something is due.
    fn step(&mut self) {
        let nodes = self.nodes.values().filter_map(Machine::poll_timeout);
        let next = nodes.chain(self.world.poll_timeout(self.now)).min().unwrap_or(self.now);
        self.rounds += 1;
        if next > self.now {
            (self.rounds, self.burst) = (0, 0);
        }
        if self.rounds >= ROUNDS_MAX {
            return self.livelock();
        }
        self.now = next.max(self.now);
        let ids: Vec<NodeId> = self.nodes.keys().cloned().collect();
        for id in ids {
            if self.world.is_done() {
                return;
            }
            let at = self.nodes.get(&id).and_then(Machine::poll_timeout);
            if at.is_some_and(|at| at <= self.now) {
                self.with(&id, |machine, now| machine.handle_timeout(now));
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
                Action::Deliver { line, .. } if is_longer(&line, self.line_bytes_max) => {}
                Action::Deliver { node: id, line } => {
                    self.with(&id, |machine, now| machine.deliver(now, line));
                    self.pass_on(&id);
                    if self.nodes.get(&id).is_some_and(Machine::is_flooded) {
                        self.world.node_flooded(&id, UNREAD_BYTES_MAX);
                    }
                    self.burst += 1;
                    if self.burst >= BURST_MAX {
                        self.livelock();
                    }
                }
            }
            if self.world.is_done() {
                return;
            }
        }
    }

    fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::Pause(id) => self.with(&id, |machine, _| machine.pause()),
            Disturbance::Resume(id) => {
                self.with(&id, Machine::resume);
                self.pass_on(&id);
            }
            Disturbance::Clock(id, ms) => {
                self.with(&id, |machine, _| machine.clock.offset_ms = ms);
            }
            Disturbance::Drift(id, by) => {
                self.with(&id, |machine, now| machine.clock.drift(now, by));
            }
            Disturbance::SlowDisk(id, by) => {
                self.with(&id, |machine, _| machine.sync.slower_by = by);
            }
            Disturbance::StallDisk(id, is_stalled) => {
                self.with(&id, |machine, _| machine.sync.is_stalled = is_stalled);
                self.pass_on(&id);
            }
            Disturbance::FailDisk(id, is_failing) => {
                self.with(&id, |machine, _| machine.sync.is_failing = is_failing);
            }
            Disturbance::Crash(id) => self.with(&id, |machine, _| machine.crash()),
            Disturbance::Restore(id, percent) => {
                let losable = self.losable.clone();
                let may_lose =
                    |record: &[u8]| losable.as_ref().is_none_or(|it| it.is_losable(record));
                self.with(&id, |machine, _| machine.disk.restore(percent, may_lose));
            }
            Disturbance::Restart(id) => {
                let Some(machine) = self.nodes.get_mut(&id) else {
                    return;
                };
                let records = machine.disk.records.clone();
                if let Some(node) = self.guard(&id, |simulation| simulation.start(&id, &records)) {
                    self.with(&id, |machine, now| machine.restart(now, node));
                    self.pass_on(&id);
                }
            }
        }
    }

    /// Calls a function on a node's machine, at the current time.
    fn with(&mut self, id: &NodeId, f: impl FnOnce(&mut Machine<'h>, Duration)) {
        self.guard(id, |simulation| {
            if let Some(machine) = simulation.nodes.get_mut(id) {
                f(machine, simulation.now);
            }
        });
    }

    /// Calls a function that runs a node's handler. If the handler panics, the test fails.
    fn guard<R>(&mut self, id: &NodeId, f: impl FnOnce(&mut Self) -> R) -> Option<R> {
        let _logs = log_as(id, self.now);
        if let Some(running) = self.running {
            running.set(Some((id.clone(), self.now)));
        }
        let result = catch_unwind(AssertUnwindSafe(|| f(self)));
        if let Some(running) = self.running {
            running.set(None);
        }
        result.map_err(|panic| self.panicked(id, panic)).ok()
    }

    /// Fails the test. No handler is called any more.
    fn panicked(&mut self, id: &NodeId, panic: Panic) {
        self.world.give_up(Failure::Panicked(id.clone(), self.now, text_of(&panic)));
        self.panic.get_or_insert(panic);
    }

    fn livelock(&mut self) {
        let (node, sent) = self.world.busiest_node();
        self.world.give_up(Failure::Livelock(node, self.now, sent));
    }

    /// Fails the test if the budget is used up.
    fn check(&mut self, budget: Budget, elapsed: Duration) {
        let sent = self.world.net_stats().all().sent;
        if sent > budget.messages || elapsed > budget.time {
            let (node, from_it) = self.world.busiest_node();
            let about = format!(
                "after {elapsed:.0?} of work and {sent} messages, {from_it} of them from {node}"
            );
            self.world.give_up(Failure::OverBudget(node, self.now, about));
        }
    }

    /// Passes the lines of a node to the world. After a panic, no node may be called any more.
    fn pass_on(&mut self, id: &NodeId) {
        if self.world.is_done() {
            return;
        }
        let Some(machine) = self.nodes.get_mut(id) else {
            return;
        };
        for mark in machine.take_marks() {
            self.world.marked(self.now, id, mark);
        }
        let mut sync_time = || random_below(self.sync_max, &mut self.rng);
        while let Some(lines) = machine.next_lines(self.now, &mut sync_time) {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                if is_longer(line, self.line_bytes_max)
                    && !(self.long_lines_to_clients && self.world.is_to_client(line))
                {
                    let bytes = line.trim_ascii_end().len();
                    let failure = Failure::LongLine(id.clone(), self.now, bytes);
                    return self.world.give_up(failure);
                }
                self.world.node_said(self.now, id, line);
            }
        }
        if machine.sync.has_failed() {
            machine.end_by_disk(&mut self.disk_rng);
            self.world.disk_failed(self.now, id);
        }
    }
}

/// Whether a line has more than `max` bytes before its newline.
fn is_longer(line: &[u8], max: Option<usize>) -> bool {
    max.is_some_and(|max| line.trim_ascii_end().len() > max)
}

/// The message of a panic, if it has one.
pub(crate) fn text_of(panic: &Panic) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".into())
}

/// The most that the time between two looks at the budget of a run counts. A process that is
/// suspended for long does not work meanwhile.
const GAP_MAX: Duration = Duration::from_secs(5);

/// Measures how long a run works. It can only end a run, and influences nothing else.
pub(crate) struct Stopwatch {
    gap_max: Duration,
    looked: Cell<Instant>,
    worked: Cell<Duration>,
}

#[expect(clippy::disallowed_methods, reason = "a budget is about real time")]
impl Stopwatch {
    /// Starts. Of the time between two looks, only `gap_max` counts.
    pub(crate) fn start(gap_max: Duration) -> Self {
        Self { gap_max, looked: Cell::new(Instant::now()), worked: Cell::default() }
    }

    /// The time since the start. Of a time in which the process was suspended, little counts.
    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed_at(Instant::now())
    }

    fn elapsed_at(&self, now: Instant) -> Duration {
        let gap = now.saturating_duration_since(self.looked.replace(now));
        self.worked.set(self.worked.get().saturating_add(gap.min(self.gap_max)));
        self.worked.get()
    }
}

/// Marks log lines with this node and the virtual time.
fn log_as(id: &NodeId, now: Duration) -> tracing::span::EnteredSpan {
    tracing::info_span!("sim", node = %id, at = ?now).entered()
}

#[cfg(test)]
mod tests;
