//! Replication of per-origin logs to every node.
//!
//! A new entry is pushed to all peers at once, without waiting for anyone. What a push did not
//! bring about (a partition, a lost or overtaking message, a peer that restarted) a three-way
//! exchange repairs, Cassandra's SYN, ACK, ACK2:
//!
//! ```text
//! a → b   syn   what a has
//! b → a   ack   what b has, and the entries that a lacks
//! a → b   ack2  the entries that b lacks
//! ```
//!
//! Whoever finds that an ack or ack2 was cut at the batch limit goes on with a syn at once.
//!
//! A peer is *settled* once it has told that it has what this node has, no less and no more. Every
//! message carries the sender's version vector, so under load most peers settle without an
//! exchange: a tick asks only for what had not settled when it was set, an interval earlier, and so
//! not for what is still on its way. As long as a peer is not settled, it gets a syn once an
//! interval, and no more; an idle cluster is silent.
//!
//! A node that comes back to life without its memory may lack what others believe it has. So every
//! node greets its peers with a syn, one an interval, until it has heard from each; and every
//! message carries the sender's incarnation, so that what a peer said is forgotten with the life in
//! which it said it. (Within one life what a peer has only grows: a late message takes nothing
//! back.)
//!
//! The invariants:
//!
//! * No entry is sent to a peer that is known to have it: an exchange sends only what the peer has
//!   never told of, and a push is sent once.
//! * On any connected graph all nodes end with the same entries: of two connected nodes with
//!   different ones, at least one has an entry that the other lacks, is not settled with it, and
//!   goes on asking. Or the other came back to life since, and asks.
//!
//! Epidemic repair after a first push is Demers et al., *Epidemic Algorithms for Replicated
//! Database Maintenance* (1987).

mod replica;

use std::cmp::Reverse;
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
        Self { exchange_interval: Duration::from_secs(1), batch_bytes_max: 1 << 20 }
    }
}

/// What nodes say to each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "T: Entry")]
pub struct Message<T> {
    /// What the sender expects.
    pub stage: Stage,
    /// Which life of the sender speaks. See [`Origin::incarnation`].
    pub incarnation: u64,
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
    /// An ack2, if the receiver has something that the sender lacks.
    Ack,
    /// Nothing, unless there is more than went into it.
    Ack2,
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
}

#[derive(Debug, Default)]
struct Peer {
    /// Its life, as far as it has spoken in this node's life.
    incarnation: Option<u64>,
    /// What it said it has, in that life.
    known: VersionVector,
    /// What this node had when it last asked.
    asked: VersionVector,
    /// There while a tick is under way.
    watch: Option<Watch>,
    /// How often its turn to be greeted has come.
    greetings: u32,
}

/// What this node and a peer had when a tick was set.
#[derive(Debug)]
struct Watch {
    ours: VersionVector,
    theirs: VersionVector,
}

impl Peer {
    fn listen(&mut self, incarnation: u64, have: &VersionVector) {
        if self.incarnation == Some(incarnation) {
            self.known.join(have);
        } else {
            self.incarnation = Some(incarnation);
            self.known = have.clone();
        }
    }

    fn is_settled(&self, version: &VersionVector) -> bool {
        self.known == *version
    }

    /// Whether the peer still has not all of `watch`, or this node has not.
    fn is_overdue(&self, watch: &Watch, version: &VersionVector) -> bool {
        !self.known.covers(&watch.ours) || !version.covers(&watch.theirs)
    }

    /// Whether it is being greeted, or needs to be.
    fn is_unheard(&self) -> bool {
        self.incarnation.is_none()
    }
}

impl<T: Entry> Gossip<T> {
    /// An engine that has nothing.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let origin = Origin { node: "".into(), incarnation: 0 };
        let (replica, peers) = (Replica::default(), BTreeMap::new());
        Self { config, origin, replica, peers }
    }

    /// The node has its name: a new life begins, under a new incarnation.
    pub fn start<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        // 53 bits, so that any JSON parser keeps all its digits.
        let incarnation = node.rng().next_u64() >> 11;
        self.origin = Origin { node: node.id().clone(), incarnation };
        self.peers = node.peers().map(|peer| (peer.clone(), Peer::default())).collect();
        self.greet(node);
    }

    /// What this node has.
    #[must_use]
    pub fn replica(&self) -> &Replica<T> {
        &self.replica
    }

    /// Takes back an entry that [`append`](Self::append) made durable in an earlier life, and
    /// returns what is new of it. Only before [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// If the record is none of this engine's, or one before it is missing.
    pub fn recover(&mut self, record: &[u8]) -> Result<Vec<T>, Error> {
        let run: Run<T> = serde_json::from_slice(record)
            .map_err(|error| Error::crash(format!("a record makes no sense: {error}")))?;
        if run.start > self.replica.version().get(&run.origin) {
            return Err(Error::crash("a record is missing before this one"));
        }
        Ok(self.replica.apply(run))
    }

    /// Appends an entry to this node's own log, makes it durable and pushes it to everyone.
    pub fn append<E: From<Tick>>(&mut self, node: &mut Node<E>, entry: T) {
        let start = self.replica.append(&self.origin, entry.clone());
        let run = Run { origin: self.origin.clone(), start, entries: vec![entry] };
        node.persist(&run);
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
            return Err(Error::malformed_request("gossip is between the nodes of a cluster"));
        };
        peer.listen(message.incarnation, &message.have);
        let mut new = Vec::new();
        for run in message.runs {
            // What it appended itself in this life, nobody can know better.
            if run.origin != self.origin {
                new.append(&mut self.replica.apply(run));
            }
        }
        self.answer(node, src, message.stage, &message.have);
        self.watch_unsettled(node);
        Ok(new)
    }

    /// A tick has come back: asks the peer if it has not settled.
    pub fn tick<E: From<Tick>>(&mut self, node: &mut Node<E>, tick: &Tick) {
        let Some(peer) = self.peers.get_mut(&tick.peer) else {
            return;
        };
        let Some(watch) = peer.watch.take() else {
            return;
        };
        if peer.is_unheard() || peer.is_overdue(&watch, self.replica.version()) {
            self.ask(node, &tick.peer, Vec::new());
        }
        self.greet(node);
        self.watch_unsettled(node);
    }

    fn answer<E>(&mut self, node: &mut Node<E>, src: &NodeId, stage: Stage, have: &VersionVector) {
        let Some(peer) = self.peers.get(src) else {
            return;
        };
        let version = self.replica.version();
        let lacks = match stage {
            Stage::Push | Stage::Ack2 => Vec::new(),
            Stage::Syn | Stage::Ack => {
                self.replica.missing(&peer.known, self.config.batch_bytes_max)
            }
        };
        match stage {
            Stage::Push => {}
            Stage::Syn => self.send(node, src, Stage::Ack, lacks),
            // It was cut at the batch limit: go on at once. Each round brings an entry.
            Stage::Ack | Stage::Ack2 if !version.covers(have) && peer.asked != *version => {
                self.ask(node, src, lacks);
            }
            Stage::Ack | Stage::Ack2 if lacks.is_empty() => {}
            Stage::Ack | Stage::Ack2 => self.send(node, src, Stage::Ack2, lacks),
        }
    }

    /// Sees to it that every peer that has not settled will be asked.
    fn watch_unsettled<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        let version = self.replica.version();
        for (id, peer) in &mut self.peers {
            if peer.watch.is_none() && !peer.is_settled(version) {
                set_tick(self.config, node, id, peer, version);
            }
        }
    }

    /// Until everyone has been heard from, asks somebody once an interval, and nobody twice before
    /// all others once.
    fn greet<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        let unheard = self.peers.iter_mut().filter(|(_, peer)| peer.is_unheard());
        let next = unheard.min_by_key(|(_, peer)| {
            let ticking = peer.watch.is_some();
            (Reverse(ticking), peer.greetings, node.rng().next_u64())
        });
        if let Some((id, peer)) = next
            && peer.watch.is_none()
        {
            peer.greetings = peer.greetings.saturating_add(1);
            set_tick(self.config, node, id, peer, self.replica.version());
        }
    }

    fn ask<E>(&mut self, node: &mut Node<E>, dest: &NodeId, runs: Vec<Run<T>>) {
        if let Some(peer) = self.peers.get_mut(dest) {
            peer.asked.clone_from(self.replica.version());
        }
        self.send(node, dest, Stage::Syn, runs);
    }

    fn send<E>(&self, node: &mut Node<E>, dest: &NodeId, stage: Stage, runs: Vec<Run<T>>) {
        node.send(dest, &Body::Gossip(&self.message(stage, runs)));
    }

    fn message(&self, stage: Stage, runs: Vec<Run<T>>) -> Message<T> {
        Message {
            stage,
            incarnation: self.origin.incarnation,
            have: self.replica.version().clone(),
            runs,
        }
    }
}

fn set_tick<E: From<Tick>>(
    config: Config,
    node: &mut Node<E>,
    id: &NodeId,
    peer: &mut Peer,
    version: &VersionVector,
) {
    let factor = node.rng().random_range(0.5..=1.0);
    node.set_timer(config.exchange_interval.mul_f64(factor), Tick { peer: id.clone() }.into());
    peer.watch = Some(Watch { ours: version.clone(), theirs: peer.known.clone() });
}

#[cfg(test)]
mod tests;
