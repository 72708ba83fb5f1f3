//! A whole test without I/O: network, clients, nemesis and history in one event loop.
//!
//! # The driver's contract
//!
//! 1. For each line that a node prints, call [`World::node_said`]. If a node exits, call
//!    [`World::node_gone`], or [`World::disk_failed`] if a failed sync ended it. If a node closes
//!    its stdout but still runs, call [`World::node_closed`]. If a node does not read its input,
//!    call [`World::node_flooded`].
//! 2. When the clock reaches [`World::poll_timeout`], call [`World::handle_timeout`].
//! 3. After each of these calls (and at the very start), execute all actions that
//!    [`World::poll_action`] returns.
//! 4. When [`World::is_done`] is true, stop. [`World::results`] judges the history.
//!
//! Time is the duration since a moment that the driver chooses, and never goes back. The world does
//! not know whether time is real or simulated, or whether nodes are processes or state machines.
//!
//! # The course of a test
//!
//! Every node joins the network and receives `init`, and then the set-up request of the workload.
//! Then time starts: clients execute operations and the nemesis acts until the time limit. Open
//! operations come to their end. If the workload has final operations, all faults end, 10 s pass,
//! and each thread executes its final operations.

mod advice;
mod calls;
mod clients;
mod disturb;
mod facts;
mod failure;
mod finale;
mod limits;
mod lines;
mod reply;
mod services;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::NodeId;
use maelstrom_core::metrics::Snapshot;

pub use self::failure::Failure;
pub use crate::news::News;

use self::calls::{Calls, INIT_TIMEOUT, Outcome, Purpose};
use self::clients::Thread;
use self::lines::{Line, node_line};
use crate::excerpt::{excerpt, sentence};
use crate::history::{History, Op, OpType};
use crate::json::Fields;
use crate::nemesis::{Schedule, ServiceMode};
use crate::network::{Message, Network, is_client};
use crate::options::Options;
use crate::rng::{self, SimRng, Stream};
use crate::service::{BadRequest, Services};
use crate::stagger::Stagger;
use crate::test::Test;
use crate::trace::{Fate, Trace};
use crate::workload::{FinalOps, Generator, RequestBody, Workload};

/// How long the network recovers between the last fault and the final operations.
const RECOVERY: Duration = Duration::from_secs(10);

/// How many invalid requests to services are reported.
const BAD_REQUESTS_MAX: usize = 64;

/// The length of a test in which nothing fails, without the start of the nodes.
/// [`run`](crate::run::run) shows it in use.
#[must_use]
pub fn expected_length(Test { workload, options }: &Test) -> Duration {
    let finale = match workload.generator(options).final_ops() {
        FinalOps::None => Duration::ZERO,
        FinalOps::Once(_) => RECOVERY,
        FinalOps::Many { limit, .. } => RECOVERY + limit,
    };
    options.time_limit + finale
}

/// An action for the driver to execute. [`World`] shows it in use.
#[derive(Clone, Debug)]
pub enum Action {
    /// Write this line, which ends in a newline, to a node.
    Deliver {
        /// The node.
        node: NodeId,
        /// The line.
        line: Vec<u8>,
    },
    /// Show an event to the user.
    Tell(News),
    /// Inject a fault into a node, or repair it. Occurs only if the options ask for such faults.
    Disturb(Disturbance),
}

/// A fault of a node, or its repair. [`Action::Disturb`] carries it. The second example of
/// [`Fault`](crate::nemesis::Fault) shows one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// Pause the node. Lines for it wait.
    Pause(NodeId),
    /// Resume the node.
    Resume(NodeId),
    /// Kill the node. It loses everything that it has not made durable.
    Crash(NodeId),
    /// Start the node again with its durable records. The world will send it `init`.
    Restart(NodeId),
    /// Replace the durable records of a killed node by an older copy, which lacks this percentage
    /// of the newest records that may be lost.
    Restore(NodeId, u8),
    /// Shift the node's wall clock by this many milliseconds.
    Clock(NodeId, i64),
    /// Let the node's clocks run faster by this many thousandths, or slower if it is negative.
    Drift(NodeId, i16),
    /// Let each sync of the node's disk take this much longer.
    SlowDisk(NodeId, Duration),
    /// Stall the node's disk, or end the stall.
    StallDisk(NodeId, bool),
    /// Let the syncs of the node's disk fail, or repair the disk.
    FailDisk(NodeId, bool),
}

/// The phase of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Init,
    Setup,
    Main { end: Duration },
    Draining,
    Recovery { until: Duration },
    Final { until: Duration },
    Done,
}

/// A running test. See the [module's documentation](self).
///
/// ```
/// # use std::time::Duration;
/// # use maelstrom_sim::{Test, options::Options, workload::Echo, world::{Action, Failure, World}};
/// let test = Test::new(Echo::default(), Options::default().with_node_count(1));
/// let (mut world, mut now) = (World::new(test, Duration::ZERO), Duration::ZERO);
/// let (node, line) = loop {
///     match world.poll_action() {
///         Some(Action::Deliver { node, line }) => break (node, String::from_utf8(line)?),
///         Some(_) => {}
///         None => now = world.poll_timeout(now).unwrap_or(now),
///     }
///     world.handle_timeout(now);
/// };
/// assert!(line.contains(r#""type":"init""#));
/// world.node_gone(&node, "exited".into());
/// assert!(world.is_done() && matches!(world.failure(), Some(Failure::NodeGone(..))));
/// # Ok::<(), std::string::FromUtf8Error>(())
/// ```
#[derive(Debug)]
pub struct World {
    options: Options,
    workload: Arc<dyn Workload>,
    generator: Box<dyn Generator>,
    network: Network,
    services: Services,
    schedule: Schedule,
    /// The nodes that the nemesis has killed and not restarted, or that a failing disk has ended.
    down: BTreeSet<NodeId>,
    /// The nodes whose disks fail now.
    failing_disks: BTreeSet<NodeId>,
    /// The nodes that are down because a failing disk has ended them.
    ended_by_disk: BTreeSet<NodeId>,
    service_mode: ServiceMode,
    service_rng: SimRng,
    stagger: Option<Stagger>,
    rng: SimRng,
    threads: Vec<Thread>,
    /// The current turn: the index of a thread, or the number of threads for the nemesis.
    turn: usize,
    calls: Calls,
    next_client: u64,
    phase: Phase,
    /// The nodes that have not joined the network yet, each with its time, in the order of these
    /// times.
    joining: VecDeque<(Duration, NodeId)>,
    /// The time at which the clients began.
    began: Duration,
    history: History,
    /// How many operations were drawn for clients. Counts those that were skipped, too.
    drawn: u64,
    muted: BTreeMap<NodeId, String>,
    /// The nodes that replied twice to the same request, each with the first such reply.
    replied_twice: BTreeMap<NodeId, String>,
    /// How often nodes reached each [mark](maelstrom_core::Node::mark).
    marks: BTreeMap<&'static str, u64>,
    metrics: BTreeMap<NodeId, Snapshot>,
    /// Invalid requests to services, one for each node and kind of error.
    bad_requests: BTreeSet<(NodeId, BadRequest)>,
    actions: VecDeque<Action>,
    /// How many of the actions are lines for nodes, and the bytes of these lines.
    undelivered: (usize, usize),
    failure: Option<Failure>,
}

impl World {
    /// A test that begins at the time `now`.
    #[must_use]
    pub fn new(Test { workload, options }: Test, now: Duration) -> Self {
        let mean_gap = (options.rate > 0.0).then(|| Duration::from_secs_f64(1.0 / options.rate));
        let network_seed = options.network_seed.unwrap_or(options.seed);
        let latencies = rng::stream(network_seed, Stream::Latency);
        let trace = options.trace.then(Trace::default);
        let mut network = Network::new(options.latency, latencies, trace);
        network.set_bandwidth(options.bandwidth);
        if options.spare_services {
            network.spare_services();
        }
        let mut world = Self {
            generator: workload.generator(&options),
            workload,
            network,
            services: Services::new(rng::stream(network_seed, Stream::Services)),
            schedule: Schedule::new(&options),
            down: BTreeSet::new(),
            failing_disks: BTreeSet::new(),
            ended_by_disk: BTreeSet::new(),
            service_mode: ServiceMode::Fine,
            service_rng: rng::stream(network_seed, Stream::ServiceErrors),
            stagger: mean_gap.map(Stagger::new),
            rng: rng::stream(options.seed, Stream::Generator),
            threads: clients::threads(&options),
            turn: 0,
            calls: Calls::default(),
            next_client: 0,
            phase: Phase::Init,
            joining: VecDeque::new(),
            began: now,
            history: History::default(),
            drawn: 0,
            muted: BTreeMap::new(),
            replied_twice: BTreeMap::new(),
            marks: BTreeMap::new(),
            metrics: BTreeMap::new(),
            bad_requests: BTreeSet::new(),
            actions: VecDeque::new(),
            undelivered: (0, 0),
            failure: None,
            options,
        };
        if let Err(why) = world.workload.validate(&world.options) {
            let first = world.options.nodes.first().cloned().unwrap_or_default();
            world.fail(Failure::Unsuitable(first, why));
            return world;
        }
        world.init_nodes(now);
        world.advance(now);
        world
    }

    /// Handles a line that a node has printed, with or without its newline. As in Maelstrom, a
    /// carriage return also ends a line.
    pub fn node_said(&mut self, now: Duration, node: &NodeId, line: &[u8]) {
        for line in lines::split(line) {
            if self.is_flooded() {
                return;
            }
            self.line_said(now, node, line);
        }
    }

    fn line_said(&mut self, now: Duration, node: &NodeId, line: &[u8]) {
        let line_read = Line::read(line);
        if self.phase == Phase::Init {
            // A driver that starts processes may be late. A peer of this node may be due to join.
            self.join_due(now);
        }
        if self.muted.contains_key(node) {
            if let (Ok(line), Some(trace)) = (line_read, self.network.trace_mut()) {
                trace.unheard(now, (&line.src, &line.dest, &line.body));
            }
            // Lines may arrive so fast that the driver is never idle. So time must advance here as
            // well.
            return self.advance(now);
        }
        if let Err(why) = line_read.and_then(|line| self.send_line(now, line)) {
            let late = || advice::on_late_reply(line, &why, self.next_client);
            let advice = advice::on(line).or_else(late);
            let text = String::from_utf8_lossy(line);
            let mut why = format!("{why}: {}", excerpt(text.trim_end()));
            if let Some(advice) = advice {
                why.push_str(&format!(" ({advice})"));
            }
            self.mute(now, node, why);
        }
        self.advance(now);
    }

    fn mute(&mut self, now: Duration, node: &NodeId, why: String) {
        self.tell(now, News::Muted { node: node.clone(), why: why.clone() });
        self.muted.insert(node.clone(), why);
    }

    /// Mutes a node that has closed its stdout but still runs. Maelstrom notices only that
    /// operations get no answer.
    pub fn node_closed(&mut self, now: Duration, node: &NodeId) {
        if !self.muted.contains_key(node) {
            self.mute(now, node, "it closed its stdout".into());
        }
        self.advance(now);
    }

    /// Fails the test because the driver cannot continue.
    pub fn give_up(&mut self, failure: Failure) {
        self.fail(failure);
    }

    /// The node that has sent the most messages, and how many.
    #[must_use]
    pub fn busiest_node(&self) -> (NodeId, u64) {
        let first = || (self.options.nodes.first().cloned().unwrap_or_default(), 0);
        self.network.busiest().unwrap_or_else(first)
    }

    /// Fails the test because a node exited without being killed.
    pub fn node_gone(&mut self, node: &NodeId, why: String) {
        self.fail(Failure::NodeGone(node.clone(), why));
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&mut self, now: Duration) -> Option<Duration> {
        let mut next =
            [self.network.poll_timeout(), self.calls.next_deadline()].into_iter().flatten().min();
        let mut at = |time: Duration| next = Some(next.map_or(time, |next| next.min(time)));
        match self.phase {
            Phase::Main { end } => {
                at(end);
                if let Some(time) = self.schedule.next_at() {
                    at(self.began + time);
                }
                let has_free_thread = self.has_free_thread();
                if let Some(stagger) = self.stagger.as_mut().filter(|_| has_free_thread) {
                    at(stagger.next_at(now));
                }
            }
            Phase::Recovery { until } => at(until),
            Phase::Final { .. } => {
                if let Some(time) = self.next_final_at() {
                    at(time);
                }
            }
            Phase::Init => {
                if let Some((time, _)) = self.joining.front() {
                    at(*time);
                }
            }
            Phase::Setup | Phase::Draining | Phase::Done => {}
        }
        next
    }

    /// Handles everything that is due at this time.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
    }

    /// The next action for the driver.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        self.handed_out(&action);
        Some(action)
    }

    /// Whether the test has ended, successfully or not.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.failure.is_some() || self.phase == Phase::Done
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    fn tell(&mut self, now: Duration, news: News) {
        if let Some(trace) = self.network.trace_mut() {
            trace.happened(now, news.clone());
        }
        self.actions.push_back(Action::Tell(news));
    }

    /// Handles everything that is due.
    fn advance(&mut self, now: Duration) {
        self.network.handle_timeout(now);
        self.deliver(now);
        self.check_network();
        while let Some((address, purpose)) = self.calls.pop_due(now) {
            self.call_ended(now, &address, purpose, &Outcome::Timeout);
        }
        while self.failure.is_none() && self.next_phase(now) {}
        self.deliver(now);
    }

    /// Delivers all messages that have arrived.
    fn deliver(&mut self, now: Duration) {
        while let Some(message) = self.network.poll_delivered() {
            if let Some(trace) = self.network.trace_mut() {
                let is_service = Services::NAMES.contains(&message.dest.as_ref());
                if is_service && self.service_mode == ServiceMode::Unreachable {
                    trace.ended(now, message.id, Fate::Unreachable);
                } else {
                    trace.arrived(now, &message);
                }
            }
            if is_client(&message.dest) {
                self.client_received(now, message);
            } else if Services::NAMES.contains(&message.dest.as_ref()) {
                self.service_received(now, &message);
            } else {
                self.hand_out(message.dest.clone(), node_line(&message));
            }
        }
    }

    fn client_received(&mut self, now: Duration, message: Message) {
        let fields = Fields::of(&message.body).ok();
        let in_reply_to = fields.and_then(|fields| fields.get("in_reply_to"));
        let in_reply_to = in_reply_to.and_then(|id| id.get().parse().ok());
        if let Some(purpose) = self.calls.reply(&message.dest, in_reply_to) {
            self.call_ended(now, &message.dest, purpose, &Outcome::Reply(message.body));
        } else if self.calls.was_answered(&message.dest, in_reply_to) {
            let body = excerpt(message.body.get());
            let at = now.saturating_sub(self.began);
            let text = format!("after {at:.3?}, to {}: {body}", message.dest);
            self.replied_twice.entry(message.src).or_insert(text);
        }
    }

    /// Sends a node's message through the network, or explains why that is impossible.
    fn send_line(&mut self, now: Duration, line: Line) -> Result<(), String> {
        let (src, dest) = (line.src.into(), line.dest.into());
        match self.network.send(now, &src, &dest, line.body) {
            Err(_) if self.options.forgive_late_replies && is_client(&dest) => Ok(()),
            sent => sent.map_err(|error| error.to_string()),
        }
    }

    fn open_address(&mut self) -> NodeId {
        let address: NodeId = format!("c{}", self.next_client).into();
        self.next_client += 1;
        self.network.add(address.clone());
        address
    }

    fn call(
        &mut self,
        now: Duration,
        address: &NodeId,
        dest: &NodeId,
        msg_id: u64,
        request: &RequestBody,
        purpose: Purpose,
    ) {
        let timeout = match purpose {
            Purpose::Init(_) => INIT_TIMEOUT,
            Purpose::Setup(_) | Purpose::Op(_) => self.workload.call_timeout(&self.options),
        };
        self.calls.begin(address.clone(), msg_id, now + timeout, purpose);
        let sent = match calls::encode(request, msg_id) {
            Ok(body) => self.network.send(now, address, dest, body).is_ok(),
            Err(_) => false,
        };
        debug_assert!(sent, "clients and nodes are in the network");
    }

    fn call_ended(&mut self, now: Duration, address: &NodeId, purpose: Purpose, outcome: &Outcome) {
        match purpose {
            Purpose::Init(node) => {
                self.network.remove(now, address);
                self.init_ended(node, outcome);
            }
            Purpose::Setup(node) => {
                let f = self.generator.setup().map_or("", |request| request.kind);
                let ending = reply::ending(self.workload.as_ref(), f, f, outcome);
                if ending.kind != OpType::Ok {
                    let why = sentence(&ending.error.unwrap_or_default());
                    self.fail(Failure::SetupRefused(node, why));
                }
            }
            Purpose::Op(thread) => self.call_answered(now, thread, outcome),
        }
    }

    /// Executes the current phase. Returns whether the next phase has begun.
    fn next_phase(&mut self, now: Duration) -> bool {
        self.phase = match self.phase {
            Phase::Init => {
                self.join_due(now);
                if !self.joining.is_empty() || !self.calls.is_empty() {
                    return false;
                }
                self.set_up(now);
                Phase::Setup
            }
            Phase::Setup if self.calls.is_empty() => {
                self.began = now;
                self.network.set_deliveries(self.options.deliveries.iter().copied());
                if let Some(trace) = self.network.trace_mut() {
                    trace.begin(now);
                }
                self.tell(now, News::Phase("testing"));
                Phase::Main { end: now + self.options.time_limit }
            }
            Phase::Main { end } => {
                while let Some(op) = self.schedule.pop_due(now.saturating_sub(self.began)) {
                    self.nemesis_did(now, op);
                }
                self.run_clients(now, end);
                if now < end {
                    return false;
                }
                Phase::Draining
            }
            Phase::Draining if !self.calls.has_ops() => {
                if matches!(self.generator.final_ops(), FinalOps::None) {
                    Phase::Done
                } else {
                    for op in self.schedule.finish() {
                        self.nemesis_did(now, op);
                    }
                    self.tell(now, News::Phase("waiting for recovery"));
                    Phase::Recovery { until: now + RECOVERY }
                }
            }
            Phase::Recovery { until } if now >= until => {
                self.tell(now, News::Phase("final operations"));
                Phase::Final { until: self.begin_finale(now) }
            }
            Phase::Final { until } => {
                self.run_finale(now, until);
                if self.next_final_at().is_some() || self.calls.has_ops() {
                    return false;
                }
                Phase::Done
            }
            _ => return false,
        };
        true
    }

    fn record(&mut self, at: Duration, op: Op) -> usize {
        self.history.push(Op { time: at.saturating_sub(self.began), ..op })
    }
}

#[cfg(test)]
mod tests;
