//! Replication of per-origin logs to every node.
//!
//! A new entry is pushed to all peers at once, without waiting for anyone. What a push did not
//! bring about (a partition, a lost or overtaking message, a peer that restarted) a three-way
//! exchange repairs, Cassandra's SYN, ACK, ACK2:
//!
//! ```text
//! a → b   syn   what a has
//! b → a   ack   what b has, and the entries that a lacks
//! a → b   push  the entries that b lacks
//! ```
//!
//! A peer is *settled* once it has told that it has all that this node has. Every message carries
//! the sender's version vector, so under load most peers settle without an exchange. As long as a
//! peer is not settled, it gets a syn once an interval, and no more; an idle cluster is silent.
//!
//! The invariants:
//!
//! * No entry is sent to a peer that is known to have it: in an exchange the sender knows exactly
//!   what is lacking, and a push is sent once.
//! * On any connected graph all nodes end with the same entries: of two connected nodes with
//!   different ones, at least one has an entry that the other lacks, is not settled with it, and
//!   goes on asking.
//!
//! Epidemic repair after a first push is Demers et al., *Epidemic Algorithms for Replicated
//! Database Maintenance* (1987).

mod replica;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::message::NodeId;
use crate::node::Node;

pub use replica::{Entry, Origin, Replica, Run, VersionVector};

/// How the engine behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long a peer may lack something before it is asked (half of it at the least, drawn anew
    /// each time, so that of two nodes one asks first and spares the other).
    pub exchange_interval: Duration,
    /// About how many bytes of entries go into one message; a single entry always does.
    pub batch_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            exchange_interval: Duration::from_secs(1),
            batch_bytes_max: 1 << 20,
        }
    }
}

/// What nodes say to each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Entry")]
pub struct Message<T> {
    /// What the sender expects.
    pub stage: Stage,
    /// What the sender has, the entries of this message included.
    pub have: VersionVector,
    /// Entries that the receiver lacks.
    pub runs: Vec<Run<T>>,
}

/// What the sender of a [`Message`] expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing.
    Push,
    /// An ack.
    Syn,
    /// A push, if the receiver has something that the sender lacks.
    Ack,
}

/// The body of a [`Message`]: the handler's payload has the same variant.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", bound = "T: Entry")]
enum Body<'a, T> {
    Gossip(&'a Message<T>),
}

/// It is time to see whether a peer has settled. A handler's event type holds it, or is it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    peer: NodeId,
}

/// The engine of one node. The handler passes on to it what concerns it: the start, messages of
/// type `gossip`, and [`Tick`]s.
#[derive(Debug)]
pub struct Gossip<T> {
    config: Config,
    origin: Origin,
    replica: Replica<T>,
    peers: BTreeMap<NodeId, Peer>,
    /// Whether anyone has answered yet. Until then there may be things that a node which has just
    /// come back to life does not know it lacks.
    joined: bool,
}

#[derive(Debug, Default)]
struct Peer {
    /// What it said it has, the last time it spoke.
    known: VersionVector,
    /// Whether a tick is under way.
    ticking: bool,
}

impl<T: Entry> Gossip<T> {
    /// An engine that has nothing.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let origin = Origin {
            node: "".into(),
            incarnation: 0,
        };
        let (replica, peers) = (Replica::default(), BTreeMap::new());
        Self {
            config,
            origin,
            replica,
            peers,
            joined: false,
        }
    }

    /// The node has its name: a new life begins, under a new incarnation.
    pub fn start<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        // 53 bits, so that any JSON parser keeps all its digits.
        let incarnation = node.rng().next_u64() >> 11;
        self.origin = Origin {
            node: node.id().clone(),
            incarnation,
        };
        self.peers = node
            .peers()
            .map(|peer| (peer.clone(), Peer::default()))
            .collect();
        self.greet(node);
    }

    /// What this node has.
    #[must_use]
    pub fn replica(&self) -> &Replica<T> {
        &self.replica
    }

    /// Appends an entry to this node's own log and pushes it to everyone.
    pub fn append<E: From<Tick>>(&mut self, node: &mut Node<E>, entry: T) {
        let start = self.replica.append(&self.origin, entry.clone());
        let run = Run {
            origin: self.origin.clone(),
            start,
            entries: vec![entry],
        };
        let message = self.message(Stage::Push, vec![run]);
        for peer in self.peers.keys() {
            node.send(peer, &Body::Gossip(&message));
        }
        self.watch_unsettled(node);
    }

    /// Takes a message of type `gossip` and returns the entries that are new, in an order in which
    /// each origin's are as they were appended.
    ///
    /// # Errors
    ///
    /// Error 12 if the sender is no node of the cluster. Nothing has changed then.
    pub fn message_from<E: From<Tick>>(
        &mut self,
        node: &mut Node<E>,
        src: &NodeId,
        message: Message<T>,
    ) -> Result<Vec<T>, Error> {
        let Some(peer) = self.peers.get_mut(src) else {
            return Err(Error::malformed_request(
                "gossip is between the nodes of a cluster",
            ));
        };
        peer.known = message.have;
        let mut new = Vec::new();
        for run in message.runs {
            // What it appended itself in this life, nobody can know better.
            if run.origin != self.origin {
                new.append(&mut self.replica.apply(run));
            }
        }
        self.answer(node, src, message.stage, !new.is_empty());
        self.watch_unsettled(node);
        Ok(new)
    }

    /// A tick has come back: asks the peer if it has not settled.
    pub fn tick<E: From<Tick>>(&mut self, node: &mut Node<E>, tick: &Tick) {
        let Some(peer) = self.peers.get_mut(&tick.peer) else {
            return;
        };
        peer.ticking = false;
        if !self.joined || !self.is_settled(&tick.peer) {
            self.send(node, &tick.peer, Stage::Syn, Vec::new());
        }
        self.greet(node);
        self.watch_unsettled(node);
    }

    fn answer<E>(&mut self, node: &mut Node<E>, src: &NodeId, stage: Stage, progress: bool) {
        let Some(peer) = self.peers.get(src) else {
            return;
        };
        let lacks = match stage {
            Stage::Push => return,
            Stage::Syn | Stage::Ack => self
                .replica
                .missing(&peer.known, self.config.batch_bytes_max),
        };
        if stage == Stage::Syn {
            return self.send(node, src, Stage::Ack, lacks);
        }
        self.joined = true;
        if progress && !self.replica.version().covers(&peer.known) {
            // The answer was cut at the batch limit: go on at once. Each round brings an entry.
            self.send(node, src, Stage::Syn, lacks);
        } else if !lacks.is_empty() {
            self.send(node, src, Stage::Push, lacks);
        }
    }

    fn is_settled(&self, peer: &NodeId) -> bool {
        self.peers
            .get(peer)
            .is_none_or(|peer| peer.known.covers(self.replica.version()))
    }

    /// Sees to it that every peer that has not settled will be asked.
    fn watch_unsettled<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        for (id, peer) in &mut self.peers {
            if !peer.ticking && !peer.known.covers(self.replica.version()) {
                set_tick(self.config, node, id, peer);
            }
        }
    }

    /// Until anyone has answered, asks somebody once an interval.
    fn greet<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        if self.joined || self.peers.is_empty() || self.peers.values().any(|peer| peer.ticking) {
            return;
        }
        let lucky = node.rng().random_range(0..self.peers.len());
        if let Some((id, peer)) = self.peers.iter_mut().nth(lucky) {
            set_tick(self.config, node, id, peer);
        }
    }

    fn send<E>(&self, node: &mut Node<E>, dest: &NodeId, stage: Stage, runs: Vec<Run<T>>) {
        node.send(dest, &Body::Gossip(&self.message(stage, runs)));
    }

    fn message(&self, stage: Stage, runs: Vec<Run<T>>) -> Message<T> {
        Message {
            stage,
            have: self.replica.version().clone(),
            runs,
        }
    }
}

fn set_tick<E: From<Tick>>(config: Config, node: &mut Node<E>, id: &NodeId, peer: &mut Peer) {
    let factor = node.rng().random_range(0.5..=1.0);
    node.set_timer(
        config.exchange_interval.mul_f64(factor),
        Tick { peer: id.clone() }.into(),
    );
    peer.ticking = true;
}

#[cfg(test)]
mod tests;
