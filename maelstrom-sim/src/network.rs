//! Maelstrom's network: a queue for each receiver, latencies, partitions, and counts.
//!
//! After `maelstrom.net`. What it does that one would not expect, because the figures depend on it:
//!
//! * A receiver takes the message that is due first, checks the partition *then*, and sleeps until
//!   the message is due. While it sleeps, whatever comes waits behind it, even if due earlier.
//! * Messages from and to clients take no time of their own, but wait in the same queue.
//! * Every message counts when it is sent, whether or not it arrives.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use maelstrom_core::NodeId;
use rand::RngExt;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::generator::random_below;
use crate::options::{Latency, LatencyDist};
use crate::partition::Grudge;
use crate::rng::SimRng;

/// A message under way.
#[derive(Clone, Debug)]
pub struct Message {
    /// Numbers the messages of a run.
    pub id: u64,
    /// Who sent it.
    pub src: NodeId,
    /// Whom it is for.
    pub dest: NodeId,
    /// What it says.
    pub body: Box<RawValue>,
}

/// Whether an address is a client's. Maelstrom goes by the first letter.
#[must_use]
pub fn is_client(address: &str) -> bool {
    address.starts_with('c')
}

/// No node, client or service has this address (any more).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {0} in the network")]
pub struct NoSuchAddress(pub NodeId);

/// The network.
#[derive(Debug)]
pub struct Network {
    latency: Latency,
    rng: SimRng,
    receivers: BTreeMap<NodeId, Receiver>,
    /// Receivers that sleep until the message they hold is due.
    sleeping: BTreeSet<(Duration, NodeId)>,
    partition: Grudge,
    /// How likely a message between nodes is lost.
    loss: f64,
    /// How likely it is delivered twice.
    duplication: f64,
    /// What is added to the latency of whatever these send and get.
    slow: BTreeMap<NodeId, Duration>,
    delivered: VecDeque<Message>,
    next_id: u64,
    stats: NetStats,
}

#[derive(Debug, Default)]
struct Receiver {
    queue: BinaryHeap<Reverse<Queued>>,
    held: Option<Message>,
}

/// A message in its receiver's queue, in the order of the time at which it is due.
#[derive(Debug)]
struct Queued {
    due: Duration,
    message: Message,
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.message.id).cmp(&(other.due, other.message.id))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Queued {}

impl Network {
    /// A network without addresses.
    #[must_use]
    pub fn new(latency: Latency, rng: SimRng) -> Self {
        Self {
            latency,
            rng,
            receivers: BTreeMap::new(),
            sleeping: BTreeSet::new(),
            partition: Grudge::new(),
            loss: 0.0,
            duplication: 0.0,
            slow: BTreeMap::new(),
            delivered: VecDeque::new(),
            next_id: 0,
            stats: NetStats::default(),
        }
    }

    /// From now on `address` can send and receive.
    pub fn add(&mut self, address: NodeId) {
        self.receivers.insert(address, Receiver::default());
    }

    /// From now on `address` is unknown; what waits for it is gone.
    pub fn remove(&mut self, address: &NodeId) {
        self.receivers.remove(address);
        self.sleeping.retain(|(_, sleeper)| sleeper != address);
    }

    /// Every node refuses what its entry in `grudge` names.
    pub fn start_partition(&mut self, grudge: Grudge) {
        for (dest, refused) in grudge {
            self.partition.entry(dest).or_default().extend(refused);
        }
    }

    /// Nobody refuses anything.
    pub fn heal(&mut self) {
        self.partition.clear();
    }

    /// From now on messages between nodes are lost with this probability.
    pub fn set_loss(&mut self, probability: f64) {
        self.loss = probability;
    }

    /// From now on messages between nodes are delivered twice with this probability.
    pub fn set_duplication(&mut self, probability: f64) {
        self.duplication = probability;
    }

    /// From now on whatever `address` sends and gets takes so much longer.
    pub fn set_slow(&mut self, address: NodeId, by: Duration) {
        self.slow.insert(address, by);
    }

    /// What has been sent and received.
    #[must_use]
    pub fn stats(&self) -> NetStats {
        self.stats
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// If the sender's or the receiver's address is unknown. The message does not count then.
    pub fn send(
        &mut self,
        now: Duration,
        src: &NodeId,
        dest: &NodeId,
        body: Box<RawValue>,
    ) -> Result<(), NoSuchAddress> {
        if !self.receivers.contains_key(src) {
            return Err(NoSuchAddress(src.clone()));
        }
        if !self.receivers.contains_key(dest) {
            return Err(NoSuchAddress(dest.clone()));
        }
        let to_client = is_client(src) || is_client(dest);
        self.stats.count(to_client, |counts| counts.sent += 1);
        let message = Message { id: self.next_id, src: src.clone(), dest: dest.clone(), body };
        self.next_id += 1;
        for _ in 0..self.copies(to_client) {
            let latency = if to_client { Duration::ZERO } else { self.draw_latency(src, dest) };
            let Some(receiver) = self.receivers.get_mut(dest) else {
                break;
            };
            let (due, message) = (now + latency, message.clone());
            receiver.queue.push(Reverse(Queued { due, message }));
        }
        if self.receivers.get(dest).is_some_and(|receiver| receiver.held.is_none()) {
            self.receive(now, dest);
        }
        Ok(())
    }

    /// How many copies of a message arrive. Without such faults no random number is drawn.
    fn copies(&mut self, to_client: bool) -> usize {
        if to_client {
            return 1;
        }
        let mut chance = |p: f64| p > 0.0 && self.rng.random_bool(p);
        match (chance(self.loss), chance(self.duplication)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    /// When a message will next be due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.sleeping.first().map(|(due, _)| *due)
    }

    /// Delivers what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
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

    /// The next message that has arrived.
    pub fn poll_delivered(&mut self) -> Option<Message> {
        self.delivered.pop_front()
    }

    /// The receiver is awake: it takes messages until it has to wait for one.
    fn receive(&mut self, now: Duration, dest: &NodeId) {
        let refused = self.partition.get(dest).cloned().unwrap_or_default();
        while let Some(receiver) = self.receivers.get_mut(dest) {
            let Some(Reverse(Queued { due, message })) = receiver.queue.pop() else {
                return;
            };
            if refused.contains(&message.src) {
                continue;
            }
            // Maelstrom sleeps whole milliseconds.
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
        // Maelstrom draws whole milliseconds.
        let millis = u64::try_from(drawn.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(millis) + slow.into_iter().sum::<Duration>()
    }
}

/// How many messages there were, those of the clients apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Messages that a client sent or is sent.
    pub clients: Counts,
    /// All others: between nodes, and between nodes and services.
    pub servers: Counts,
}

/// How many messages of a kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Sent.
    #[serde(rename = "send-count")]
    pub sent: u64,
    /// Arrived.
    #[serde(rename = "recv-count")]
    pub received: u64,
}

impl NetStats {
    fn count(&mut self, client: bool, f: impl FnOnce(&mut Counts)) {
        f(if client { &mut self.clients } else { &mut self.servers });
    }

    /// Both kinds together.
    #[must_use]
    pub fn all(&self) -> Counts {
        Counts {
            sent: self.clients.sent + self.servers.sent,
            received: self.clients.received + self.servers.received,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::{Stream, stream};

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn network(mean_ms: u64, dist: LatencyDist) -> Network {
        let mut network = Network::new(Latency { mean_ms, dist }, stream(1, Stream::Latency));
        for address in ["n1", "n2", "c1", "lin-kv"] {
            network.add(address.into());
        }
        network
    }

    fn send(network: &mut Network, at: u64, src: &str, dest: &str, text: &str) {
        let body = RawValue::from_string(format!("\"{text}\"")).unwrap();
        network.send(ms(at), &src.into(), &dest.into(), body).unwrap();
    }

    fn arrived(network: &mut Network, at: u64) -> String {
        network.handle_timeout(ms(at));
        let texts = std::iter::from_fn(|| network.poll_delivered());
        texts.map(|m| m.body.get().replace('"', "")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn clients_are_at_once_and_nodes_and_services_take_the_latency() {
        let mut network = network(100, LatencyDist::Constant);
        send(&mut network, 0, "c1", "n1", "a");
        send(&mut network, 0, "n2", "c1", "b");
        assert_eq!(arrived(&mut network, 0), "a b");
        send(&mut network, 5, "n1", "n2", "c");
        send(&mut network, 5, "n1", "lin-kv", "d");
        assert_eq!(network.poll_timeout(), Some(ms(105)));
        assert_eq!(arrived(&mut network, 104), "");
        assert_eq!(arrived(&mut network, 105), "d c");
        assert_eq!(network.poll_timeout(), None);
    }

    #[test]
    fn a_message_that_is_not_due_yet_holds_back_a_client() {
        let mut network = network(100, LatencyDist::Constant);
        send(&mut network, 0, "n2", "n1", "held");
        send(&mut network, 50, "c1", "n1", "client");
        assert_eq!(arrived(&mut network, 99), "");
        assert_eq!(arrived(&mut network, 100), "held client");
    }

    #[test]
    fn a_partition_is_checked_when_a_message_is_taken_up() {
        let mut network = network(100, LatencyDist::Constant);
        let grudge = Grudge::from([("n1".into(), BTreeSet::from(["n2".into()]))]);
        send(&mut network, 0, "n2", "n1", "taken up before");
        send(&mut network, 1, "n2", "n1", "taken up later");
        network.start_partition(grudge);
        send(&mut network, 2, "n1", "n2", "other way");
        assert_eq!(arrived(&mut network, 300), "taken up before other way");
        network.heal();
        send(&mut network, 300, "n2", "n1", "healed");
        assert_eq!(arrived(&mut network, 400), "healed");
        let stats = network.stats().servers;
        assert_eq!((stats.sent, stats.received), (4, 3));
    }

    #[test]
    fn an_unknown_address_is_an_error_and_does_not_count() {
        let mut network = network(0, LatencyDist::Constant);
        let body = || RawValue::from_string("1".into()).unwrap();
        let (known, unknown): (NodeId, NodeId) = ("n1".into(), "n9".into());
        assert!(network.send(ms(0), &known, &unknown, body()).is_err());
        assert!(network.send(ms(0), &unknown, &known, body()).is_err());
        send(&mut network, 0, "n1", "c1", "x");
        network.remove(&"c1".into());
        assert!(network.send(ms(0), &known, &"c1".into(), body()).is_err());
        assert_eq!(network.stats().all().sent, 1);
    }

    #[test]
    fn messages_between_nodes_can_be_lost_doubled_and_slow_but_never_those_of_clients() {
        let mut network = network(10, LatencyDist::Constant);
        network.set_loss(1.0);
        send(&mut network, 0, "n1", "n2", "lost");
        send(&mut network, 0, "c1", "n2", "client");
        assert_eq!(arrived(&mut network, 99), "client");
        network.set_loss(0.0);
        network.set_duplication(1.0);
        send(&mut network, 100, "n1", "n2", "twice");
        send(&mut network, 110, "n2", "c1", "client");
        assert_eq!(arrived(&mut network, 110), "client twice twice");
        network.set_duplication(0.0);
        network.set_slow("lin-kv".into(), ms(500));
        send(&mut network, 200, "n1", "lin-kv", "slow");
        assert_eq!(network.poll_timeout(), Some(ms(710)));
        assert_eq!(network.stats().servers.sent, 3);
    }

    #[test]
    fn partitions_add_up_until_they_are_healed() {
        let mut network = network(0, LatencyDist::Constant);
        for refused in ["n2", "lin-kv"] {
            let refused = BTreeSet::from([refused.into()]);
            network.start_partition(Grudge::from([("n1".into(), refused)]));
        }
        send(&mut network, 0, "n2", "n1", "a");
        send(&mut network, 0, "lin-kv", "n1", "b");
        assert_eq!(arrived(&mut network, 0), "");
        network.heal();
        send(&mut network, 0, "n2", "n1", "c");
        assert_eq!(arrived(&mut network, 0), "c");
    }

    #[test]
    fn a_receiver_sleeps_whole_milliseconds_as_maelstrom_does() {
        let mut network = network(10, LatencyDist::Constant);
        let body = RawValue::from_string("\"x\"".into()).unwrap();
        let sent = Duration::from_micros(500);
        network.send(sent, &"n2".into(), &"n1".into(), body.clone()).unwrap();
        // Due after 10 ms, taken up at once.
        assert_eq!(network.poll_timeout(), Some(sent + ms(10)));
        network.handle_timeout(sent);
        let late = Duration::from_micros(10_100);
        network.send(late, &"n2".into(), &"n1".into(), body).unwrap();
        network.handle_timeout(sent + ms(10));
        // Due at 20.1 ms, taken up at 10.5 ms: 9.6 ms are 9.
        assert_eq!(network.poll_timeout(), Some(sent + ms(19)));
    }

    #[test]
    fn latencies_are_whole_milliseconds_in_their_range() {
        let mut network = network(3, LatencyDist::Uniform);
        let (n1, n2): (NodeId, NodeId) = ("n1".into(), "n2".into());
        let draws: BTreeSet<Duration> =
            (0..1_000).map(|_| network.draw_latency(&n1, &n2)).collect();
        assert_eq!(draws.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5].map(ms));
    }

    #[test]
    fn latencies_have_their_mean_and_can_overtake() {
        for (dist, max) in [(LatencyDist::Uniform, 200), (LatencyDist::Exponential, 5_000)] {
            let mut network = network(100, dist);
            let (n1, n2): (NodeId, NodeId) = ("n1".into(), "n2".into());
            let draws: Vec<u128> =
                (0..10_000).map(|_| network.draw_latency(&n1, &n2).as_millis()).collect();
            let mean = draws.iter().sum::<u128>() / 10_000;
            assert!((95..105).contains(&mean), "{dist:?}: {mean}");
            assert!(draws.iter().all(|d| *d < max));
        }
    }
}
