//! Maelstrom's network: a queue for each receiver, latencies, partitions, and statistics.
//!
//! After `maelstrom.net`. The network has some surprising properties of Maelstrom's, because the
//! figures depend on them:
//!
//! * A receiver takes the message with the earliest due time, checks the partition *at that
//!   moment*, and sleeps until the message is due. Meanwhile all other messages wait, even those
//!   that are due earlier.
//! * Messages from and to clients have no latency, but wait in the same queue.
//! * The statistics count every message when it is sent, whether or not it arrives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use maelstrom_core::NodeId;
use rand::RngExt;
use serde_json::value::RawValue;

use crate::excerpt::excerpt;
use crate::options::{Latency, LatencyDist};
use crate::partition::Grudge;
use crate::rng::SimRng;
use crate::service::Services;
use crate::stagger::random_below;
use crate::trace::{Fate, Trace};

mod flood;
mod intruder;
mod receiver;
mod stats;

use crate::delivery::Delivery;
pub use crate::message::Message;

pub(crate) use self::flood::is_too_much;
pub use self::flood::{Flood, WAITING_BYTES_MAX, WAITING_MAX, Waiting};
use self::intruder::{Injected, Intruder};
use self::receiver::{Queued, Receiver};
pub use self::stats::{Counts, NetStats};

/// How many messages after those with a fixed fate the network remembers. Some of them overtake
/// late ones.
const FOLLOWING_MAX: usize = 16;

/// Whether this is the address of a client. As in Maelstrom, the first letter decides. [`Network`]
/// shows it in use.
#[must_use]
pub fn is_client(address: &str) -> bool {
    address.starts_with('c')
}

/// Whether this is the address of a service.
fn is_service(address: &NodeId) -> bool {
    Services::NAMES.contains(&address.as_ref())
}

/// No node, client or service has this address, or it has been removed. [`Network`] shows it
/// in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {} in the network", excerpt(.0))]
pub struct NoSuchAddress(pub NodeId);

/// The network.
///
/// ```
/// # use std::time::Duration;
/// # use maelstrom_core::NodeId;
/// # use maelstrom_sim::{network::{Network, NoSuchAddress, is_client}, options::Latency, rng};
/// let rng = rng::stream(7, rng::Stream::Latency);
/// let mut network = Network::new(Latency { mean_ms: 5, ..Latency::default() }, rng, None);
/// let [n0, n1]: [NodeId; 2] = ["n0".into(), "n1".into()];
/// network.add(n0.clone());
/// network.add(n1.clone());
/// network.send(Duration::ZERO, &n0, &n1, serde_json::from_str(r#"{"type":"hello"}"#)?)?;
/// let unsent = network.send(Duration::ZERO, &n0, &"n9".into(), serde_json::from_str("{}")?);
/// assert_eq!(unsent, Err(NoSuchAddress("n9".into())));
/// network.handle_timeout(Duration::from_millis(5));
/// assert_eq!(network.poll_delivered().map(|message| message.dest), Some(n1));
/// assert!(is_client("c1") && !is_client("n1"));
/// assert_eq!((network.stats().servers.sent, network.stats().clients.sent), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Network {
    latency: Latency,
    rng: SimRng,
    receivers: BTreeMap<NodeId, Receiver>,
    /// Receivers that sleep until the message that they hold is due.
    sleeping: BTreeSet<(Duration, NodeId)>,
    partition: Grudge,
    /// The probability that a message between nodes is lost.
    loss: f64,
    /// The probability that a message between nodes is delivered twice.
    duplication: f64,
    /// Whether messages from and to services are exempt from both.
    spare_services: bool,
    /// Changes and adds messages between nodes.
    intruder: Intruder,
    /// The fate of the next messages between servers.
    deliveries: VecDeque<Delivery>,
    /// The first messages since `deliveries` were set, in the order in which they were sent.
    first: Vec<(u64, Delivery)>,
    /// How many messages `first` may have.
    first_max: usize,
    /// The late messages, by the time at which they enter their receiver's queue, and by number. If
    /// they waited in that queue, the receiver could sleep until one of them is due, and would take
    /// no other message.
    late: BTreeMap<(Duration, u64), Message>,
    /// How many messages between servers were sent since `deliveries` were set.
    sent_since: u64,
    /// The extra latency of all messages from and to an address.
    slow: BTreeMap<NodeId, Duration>,
    /// The extra latency of each slow link (source, destination).
    slow_links: BTreeMap<(NodeId, NodeId), Duration>,
    /// The bandwidth of a link in bytes per second. `None`: unlimited.
    bandwidth: Option<u32>,
    /// The time until which each link (source, destination) is busy.
    busy_until: BTreeMap<(NodeId, NodeId), Duration>,
    delivered: VecDeque<Message>,
    next_id: u64,
    stats: NetStats,
    trace: Option<Trace>,
    /// The first receiver whose queue exceeded a limit.
    flooded: Option<Flood>,
}

impl Network {
    /// A network without any address.
    #[must_use]
    pub fn new(latency: Latency, rng: SimRng, trace: Option<Trace>) -> Self {
        Self {
            latency,
            rng,
            receivers: BTreeMap::new(),
            sleeping: BTreeSet::new(),
            partition: Grudge::new(),
            loss: 0.0,
            duplication: 0.0,
            spare_services: false,
            intruder: Intruder::default(),
            deliveries: VecDeque::new(),
            first: Vec::new(),
            first_max: 0,
            late: BTreeMap::new(),
            sent_since: 0,
            slow: BTreeMap::new(),
            slow_links: BTreeMap::new(),
            bandwidth: None,
            busy_until: BTreeMap::new(),
            delivered: VecDeque::new(),
            next_id: 0,
            stats: NetStats::default(),
            trace,
            flooded: None,
        }
    }

    /// Adds an address, which can send and receive from now on.
    pub fn add(&mut self, address: NodeId) {
        self.receivers.insert(address, Receiver::default());
    }

    /// Removes an address, and the messages that wait for it.
    pub fn remove(&mut self, now: Duration, address: &NodeId) {
        let receiver = self.receivers.remove(address);
        self.sleeping.retain(|(_, sleeper)| sleeper != address);
        if let (Some(receiver), Some(trace)) = (receiver, &mut self.trace) {
            for message in receiver.waiting() {
                trace.ended(now, message.id, Fate::NoAddress);
            }
        }
    }

    /// Cuts links: each node in `grudge` refuses messages from the nodes in its set.
    pub fn start_partition(&mut self, grudge: Grudge) {
        for (dest, refused) in grudge {
            self.partition.entry(dest).or_default().extend(refused);
        }
    }

    /// Heals all cuts.
    pub fn heal(&mut self) {
        self.partition.clear();
    }

    /// Sets the probability that a message between nodes is lost.
    pub fn set_loss(&mut self, probability: f64) {
        self.loss = probability;
    }

    /// Sets the probability that a message between nodes is delivered twice.
    pub fn set_duplication(&mut self, probability: f64) {
        self.duplication = probability;
    }

    /// Sets the probability that a message between nodes is changed, or leads to a forged one.
    /// Services do not count as nodes.
    pub fn set_forgery(&mut self, probability: f64) {
        self.intruder.forgery = probability;
    }

    /// Sets the probability that a message between nodes leads to the replay of an earlier one.
    /// Services do not count as nodes.
    pub fn set_replay(&mut self, probability: f64) {
        self.intruder.replay = probability;
    }

    /// Sets the fate of the next messages between servers. Services do not count if they are exempt
    /// from loss.
    pub(crate) fn set_deliveries(&mut self, deliveries: impl IntoIterator<Item = Delivery>) {
        self.deliveries = deliveries.into_iter().collect();
        self.first.clear();
        let fixed = self.deliveries.len();
        self.first_max = if fixed == 0 { 0 } else { fixed.saturating_add(FOLLOWING_MAX) };
        self.sent_since = 0;
    }

    /// The messages whose fate was fixed and a few after them, by number, in the order in which
    /// they were sent.
    pub(crate) fn first_deliveries(&self) -> &[(u64, Delivery)] {
        &self.first
    }

    /// How many messages between servers were sent since the deliveries were set.
    pub(crate) fn sent_since_deliveries(&self) -> u64 {
        self.sent_since
    }

    /// Exempts messages from and to services from loss and duplication.
    pub fn spare_services(&mut self) {
        self.spare_services = true;
    }

    /// Sets the extra latency of all messages from and to `address`.
    pub fn set_slow(&mut self, address: NodeId, by: Duration) {
        self.slow.insert(address, by);
    }

    /// Sets the extra latency of all messages from `src` to `dest`.
    pub fn set_slow_link(&mut self, src: NodeId, dest: NodeId, by: Duration) {
        if by.is_zero() {
            self.slow_links.remove(&(src, dest));
        } else {
            self.slow_links.insert((src, dest), by);
        }
    }

    /// Sets the bandwidth of each link between nodes or services, in bytes per second and
    /// direction. A link carries one message after the other; the latency is added to that. `None`:
    /// unlimited.
    pub fn set_bandwidth(&mut self, bytes_per_second: Option<u32>) {
        self.bandwidth = bytes_per_second;
    }

    /// The time at which the link has carried a message that is sent now.
    fn carried_at(&mut self, now: Duration, message: &Message) -> Duration {
        let Some(bandwidth) = self.bandwidth else {
            return now;
        };
        let ends = (message.src.clone(), message.dest.clone());
        let busy_until = self.busy_until.entry(ends).or_default();
        let bytes = u32::try_from(message.body.get().len()).unwrap_or(u32::MAX);
        let takes = Duration::from_secs(1).saturating_mul(bytes) / bandwidth.max(1);
        *busy_until = now.max(*busy_until).saturating_add(takes);
        *busy_until
    }

    /// The trace with the fate of every message, if the options ask for it.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// The trace, to add to it.
    pub(crate) fn trace_mut(&mut self) -> Option<&mut Trace> {
        self.trace.as_mut()
    }

    /// How many messages were sent and received.
    #[must_use]
    pub fn stats(&self) -> NetStats {
        self.stats
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// If the address of the sender or the receiver is unknown. The statistics do not count such a
    /// message.
    pub fn send(
        &mut self,
        now: Duration,
        src: &NodeId,
        dest: &NodeId,
        body: Box<RawValue>,
    ) -> Result<(), NoSuchAddress> {
        // As in Maelstrom, a refused message gets a number too.
        let mut message = self.numbered(src.clone(), dest.clone(), body);
        let unknown = [src, dest].into_iter().find(|end| !self.receivers.contains_key(*end));
        if let Some(unknown) = unknown {
            self.trace_sent(now, &message, 1, Some(Fate::NoAddress));
            return Err(NoSuchAddress(unknown.clone()));
        }
        let to_client = is_client(src) || is_client(dest);
        let injected = self.intercept(&mut message);
        let bytes = message.body.get().len() as u64;
        self.stats.count(to_client, |counts| {
            counts.sent += 1;
            counts.sent_bytes += bytes;
        });
        let carried_at = if to_client { now } else { self.carried_at(now, &message) };
        let is_spared =
            to_client || (self.spare_services && [src, dest].into_iter().any(is_service));
        let fixed = if is_spared { None } else { self.next_delivery(message.id) };
        let copies = fixed.map_or_else(|| self.copies(is_spared), Delivery::copies);
        if let Some(Delivery::Late(delay)) = fixed {
            self.trace_sent(now, &message, copies, None);
            self.late.insert((carried_at + delay, message.id), message);
        } else {
            self.put_under_way(now, carried_at, &message, copies);
        }
        for (src, dest, body) in injected {
            let message = self.numbered(src, dest, body);
            self.put_under_way(now, now, &message, 1);
        }
        Ok(())
    }

    fn numbered(&mut self, src: NodeId, dest: NodeId, body: Box<RawValue>) -> Message {
        let id = self.next_id;
        self.next_id += 1;
        Message { id, src, dest, body }
    }

    /// Lets the intruder change the message. Returns the messages that it adds.
    fn intercept(&mut self, message: &mut Message) -> Vec<Injected> {
        let is_node = |address: &NodeId| !is_client(address) && !is_service(address);
        if !self.intruder.is_there() || !is_node(&message.src) || !is_node(&message.dest) {
            return Vec::new();
        }
        let nodes: Vec<NodeId> = self.receivers.keys().filter(|id| is_node(id)).cloned().collect();
        self.intruder.intercept(message, &nodes, &mut self.rng)
    }

    /// Records in the trace that a message was sent, and queues this many copies of it.
    fn put_under_way(
        &mut self,
        now: Duration,
        carried_at: Duration,
        message: &Message,
        copies: usize,
    ) {
        let lost = (copies == 0).then_some(Fate::Lost);
        self.trace_sent(now, message, copies.max(1), lost);
        self.enqueue(now, carried_at, message, copies);
    }

    /// Puts copies of a message into its receiver's queue, once the link has carried it.
    fn enqueue(&mut self, now: Duration, carried_at: Duration, message: &Message, copies: usize) {
        let Message { src, dest, .. } = message;
        let to_client = is_client(src) || is_client(dest);
        for _ in 0..copies {
            let latency = if to_client { Duration::ZERO } else { self.draw_latency(src, dest) };
            let Some(receiver) = self.receivers.get_mut(dest) else {
                break;
            };
            receiver.count(src);
            receiver.push(carried_at + latency, message.clone());
        }
        if self.receivers.get(dest).is_some_and(|receiver| receiver.held.is_none()) {
            self.receive(now, dest);
        }
        self.check_limits(dest);
    }

    fn check_limits(&mut self, dest: &NodeId) {
        let Some(receiver) = self.receivers.get(dest).filter(|_| self.flooded.is_none()) else {
            return;
        };
        let (messages, bytes) = (receiver.queue.len(), receiver.queue_bytes);
        if is_too_much(messages, bytes) {
            self.flooded = Some(self.flood(dest, Waiting::InNetwork(messages, bytes)));
        }
    }

    /// The first receiver whose queue exceeded [`WAITING_MAX`] or [`WAITING_BYTES_MAX`].
    #[must_use]
    pub fn flooded(&self) -> Option<&Flood> {
        self.flooded.as_ref()
    }

    /// Describes the flood of a receiver: the waiting messages, and the node or service that sent
    /// most.
    pub(crate) fn flood(&self, to: &NodeId, waiting: Waiting) -> Flood {
        let senders = self.receivers.get(to).into_iter().flat_map(|receiver| &receiver.sent_by);
        let most = senders.max_by_key(|(_, sent)| **sent);
        let most = most.map(|(from, sent)| (from.clone(), *sent));
        let (replies, most) = match most {
            Some((from, sent)) if is_service(&from) => (Some((from, sent)), None),
            most => (None, most),
        };
        Flood { to: to.clone(), waiting, most, replies }
    }

    /// The node that has sent the most messages, and how many.
    pub(crate) fn busiest(&self) -> Option<(NodeId, u64)> {
        let mut sent: BTreeMap<&NodeId, u64> = BTreeMap::new();
        let counts = self.receivers.values().flat_map(|receiver| &receiver.sent_by);
        for (from, count) in counts.filter(|(from, _)| !is_service(from)) {
            *sent.entry(from).or_default() += count;
        }
        let most = sent.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(node, count)| (node.clone(), count))
    }

    fn trace_sent(&mut self, now: Duration, message: &Message, copies: usize, end: Option<Fate>) {
        if let Some(trace) = &mut self.trace {
            trace.sent(now, message, copies);
            if let Some(fate) = end {
                trace.ended(now, message.id, fate);
            }
        }
    }

    /// The fate of this message, if it is fixed.
    fn next_delivery(&mut self, id: u64) -> Option<Delivery> {
        self.sent_since += 1;
        let fixed = self.deliveries.pop_front();
        if self.first.len() < self.first_max {
            self.first.push((id, fixed.unwrap_or_default()));
        }
        fixed
    }

    /// How many copies of a message arrive. Draws random numbers only if such a fault is active.
    fn copies(&mut self, is_spared: bool) -> usize {
        if is_spared {
            return 1;
        }
        let mut chance = |p: f64| p > 0.0 && self.rng.random_bool(p);
        match (chance(self.loss), chance(self.duplication)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    /// The time at which the next message is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let late = self.late.keys().next().map(|(due, _)| *due);
        self.sleeping.first().map(|(due, _)| *due).into_iter().chain(late).min()
    }

    /// Delivers the messages that are due.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(late) = self.late.first_entry().filter(|late| late.key().0 <= now) {
            let message = late.remove();
            self.enqueue(now, now, &message, 1);
        }
        while let Some((due, address)) = self.sleeping.pop_first() {
            if due > now {
                self.sleeping.insert((due, address));
                return;
            }
            let held = self.receivers.get_mut(&address).and_then(|r| r.held.take());
            if let Some(message) = held {
                self.deliver(message);
            }
            self.receive(due, &address);
        }
    }

    /// Takes the next delivered message.
    pub fn poll_delivered(&mut self) -> Option<Message> {
        self.delivered.pop_front()
    }

    /// Lets an awake receiver take messages until it has to wait for one.
    fn receive(&mut self, now: Duration, dest: &NodeId) {
        let refused = self.partition.get(dest).cloned().unwrap_or_default();
        while let Some(receiver) = self.receivers.get_mut(dest) {
            let Some(Queued { due, message }) = receiver.pop() else {
                return;
            };
            if refused.contains(&message.src) {
                if let Some(trace) = &mut self.trace {
                    trace.ended(now, message.id, Fate::Refused);
                }
                continue;
            }
            // Maelstrom sleeps for whole milliseconds.
            let wait = Duration::from_millis(
                u64::try_from(due.saturating_sub(now).as_millis()).unwrap_or(u64::MAX),
            );
            if wait.is_zero() {
                self.deliver(message);
            } else {
                receiver.held = Some(message);
                self.sleeping.insert((now + wait, dest.clone()));
                return;
            }
        }
    }

    fn deliver(&mut self, message: Message) {
        let to_client = is_client(&message.src) || is_client(&message.dest);
        self.stats.count(to_client, |counts| counts.received += 1);
        self.delivered.push_back(message);
    }

    fn slow_link(&self, src: &NodeId, dest: &NodeId) -> Duration {
        if self.slow_links.is_empty() {
            return Duration::ZERO;
        }
        let ends = (src.clone(), dest.clone());
        self.slow_links.get(&ends).copied().unwrap_or_default()
    }

    fn draw_latency(&mut self, src: &NodeId, dest: &NodeId) -> Duration {
        let slow = [src, dest].map(|end| self.slow.get(end).copied().unwrap_or_default());
        let mean = Duration::from_millis(self.latency.mean_ms);
        let drawn = match self.latency.dist {
            LatencyDist::Constant => mean,
            LatencyDist::Uniform => random_below(mean * 2, &mut self.rng),
            LatencyDist::Exponential => {
                let unit: f64 = self.rng.random_range(f64::MIN_POSITIVE..1.0);
                mean.mul_f64(-unit.ln())
            }
        };
        // Maelstrom draws latencies in whole milliseconds.
        let millis = u64::try_from(drawn.as_millis()).unwrap_or(u64::MAX);
        let millis = Duration::from_millis(millis);
        millis + slow.into_iter().sum::<Duration>() + self.slow_link(src, dest)
    }
}

#[cfg(test)]
mod tests;
