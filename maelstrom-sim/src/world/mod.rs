//! A whole test, without any I/O: network, clients, nemesis and history in one event loop.
//!
//! # The driver's contract
//!
//! 1. For each line that a node prints: [`World::node_said`]. If a node is gone:
//!    [`World::node_gone`]. If a node does not read its input: [`World::node_flooded`].
//! 2. When the clock reaches [`World::poll_timeout`]: [`World::handle_timeout`].
//! 3. After each of these (and at the very start), carry out all actions that
//!    [`World::poll_action`] hands out.
//! 4. When [`World::is_done`], stop; [`World::results`] judges what happened.
//!
//! Time is a duration since any moment that the driver chooses, and never goes back. The world
//! cannot tell real time from simulated time, nor a process from a state machine.
//!
//! # The course of a test
//!
//! Every node joins the network and gets `init`, then what the workload asks of each node. Then
//! time starts: clients operate and the nemesis acts until the time limit; operations under way
//! come to their end. If the workload has final operations, the network heals, 10 s pass, and each
//! thread does its own.

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

/// How long the network rests between the last fault and the final operations.
const RECOVERY: Duration = Duration::from_secs(10);

/// How many senseless requests to services are told.
const BAD_REQUESTS_MAX: usize = 64;

/// How long a test takes if nothing goes wrong, without the start of the nodes.
#[must_use]
pub fn expected_length(Test { workload, options }: &Test) -> Duration {
    let finale = match workload.generator(options).final_ops() {
        FinalOps::None => Duration::ZERO,
        FinalOps::Once(_) => RECOVERY,
        FinalOps::Many { limit, .. } => RECOVERY + limit,
    };
    options.time_limit + finale
}

/// What the driver has to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Write this line (it ends in a newline) to a node.
    Deliver {
        /// Which.
        node: NodeId,
        /// What.
        line: Vec<u8>,
    },
    /// Tell the person who watches.
    Tell(News),
    /// Do something to a node. Only where such faults were asked for.
    Disturb(Disturbance),
}

/// What can be done to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// Let it do nothing; what it is to hear waits for it.
    Pause(NodeId),
    /// Let it go on.
    Resume(NodeId),
    /// End it, with all that it has not made durable.
    Crash(NodeId),
    /// Start it anew, from what it has made durable. It will be sent `init`.
    Restart(NodeId),
    /// While it is down: replace what it has made durable by an older copy, which lacks this many
    /// percent of the newest records that may be lost.
    Restore(NodeId, u8),
    /// Set its wall clock so many milliseconds off.
    Clock(NodeId, i64),
}

/// Where in its course a test is.
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

/// A test under way. See the [module's documentation](self).
#[derive(Debug)]
pub struct World {
    options: Options,
    workload: Arc<dyn Workload>,
    generator: Box<dyn Generator>,
    network: Network,
    services: Services,
    schedule: Schedule,
    /// The nodes that the nemesis has ended and not started again.
    down: BTreeSet<NodeId>,
    service_mode: ServiceMode,
    service_rng: SimRng,
    stagger: Option<Stagger>,
    rng: SimRng,
    threads: Vec<Thread>,
    /// Whose turn it is: a thread's, or, behind the last one, the nemesis'.
    turn: usize,
    calls: Calls,
    next_client: u64,
    phase: Phase,
    /// Who is still to join the network, and when, in that order.
    joining: VecDeque<(Duration, NodeId)>,
    /// When the clients began.
    began: Duration,
    history: History,
    /// How many operations have been drawn for clients, begun or left out.
    drawn: u64,
    muted: BTreeMap<NodeId, String>,
    /// The nodes that replied twice to one request, each with its first second reply.
    replied_twice: BTreeMap<NodeId, String>,
    /// How often nodes reached each [mark](maelstrom_core::Node::mark).
    marks: BTreeMap<&'static str, u64>,
    metrics: BTreeMap<NodeId, Snapshot>,
    /// Requests to services that make no sense: told once for each node and kind of mistake.
    bad_requests: BTreeSet<(NodeId, BadRequest)>,
    actions: VecDeque<Action>,
    /// How many of the actions are lines for nodes, and their bytes.
    undelivered: (usize, usize),
    failure: Option<Failure>,
}

impl World {
    /// A test that is about to begin at the time `now`.
    #[must_use]
    pub fn new(Test { workload, options }: Test, now: Duration) -> Self {
        let mean_gap = (options.rate > 0.0).then(|| Duration::from_secs_f64(1.0 / options.rate));
        let latencies = rng::stream(options.seed, Stream::Latency);
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
            services: Services::new(rng::stream(options.seed, Stream::Services)),
            schedule: Schedule::new(&options),
            down: BTreeSet::new(),
            service_mode: ServiceMode::Fine,
            service_rng: rng::stream(options.seed, Stream::ServiceErrors),
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

    /// A node has printed a line (with or without its newline). A carriage return ends a line as
    /// well, as it does for Maelstrom.
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
        if self.muted.contains_key(node) {
            if let (Ok(line), Some(trace)) = (line_read, self.network.trace_mut()) {
                trace.unheard(now, (&line.src, &line.dest, &line.body));
            }
            // Its lines may come so fast that the driver never finds a moment without one.
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

    /// A node has closed its stdout and lives on: nothing that it does is heard any more. Maelstrom
    /// does not notice, but for the operations that get no answer.
    pub fn node_closed(&mut self, now: Duration, node: &NodeId) {
        if !self.muted.contains_key(node) {
            self.mute(now, node, "it closed its stdout".into());
        }
        self.advance(now);
    }

    /// The driver cannot go on: the test has failed.
    pub fn give_up(&mut self, failure: Failure) {
        self.fail(failure);
    }

    /// The node that has sent most messages, and how many.
    #[must_use]
    pub fn busiest_node(&self) -> (NodeId, u64) {
        let first = || (self.options.nodes.first().cloned().unwrap_or_default(), 0);
        self.network.busiest().unwrap_or_else(first)
    }

    /// A node is gone, though nobody ended it: the test has failed.
    pub fn node_gone(&mut self, node: &NodeId, why: String) {
        self.fail(Failure::NodeGone(node.clone(), why));
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
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

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
    }

    /// The next thing that the driver has to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        self.handed_out(&action);
        Some(action)
    }

    /// Whether the test is over, well or badly.
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

    /// Lets everything happen that is due.
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

    /// Hands over all messages that have arrived.
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

    /// Puts a node's message into the network, or tells why that cannot be done.
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

    /// Does what the current phase has to do now, and tells whether the next one has begun.
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
