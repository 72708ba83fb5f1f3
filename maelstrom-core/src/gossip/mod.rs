//! A replication engine: every entry that a node appends reaches every node, and is never lost.
//!
//! Each node appends entries to its own log, and every node applies every log in order. The result
//! is the handler's [`State`]: a set, a counter, a map. An entry has a name (origin, incarnation,
//! sequence). So a version vector says exactly which entries a node has, and duplicates are
//! harmless. Every message carries this small vector, which acknowledges everything that its sender
//! has. Rows of past lives are sent as one digest, so messages do not grow with restarts
//! (`replica/claim.rs`).
//!
//! # Which nodes exchange messages
//!
//! The *hub* of a node is the node with the lowest rank that it believes to be up. A node whose own
//! rank is the lowest has no hub. (The rank of a node is its place in the list of all nodes.) Three
//! rules say which peers a node keeps up to date, or *serves*:
//!
//! 1. A node keeps its hub up to date.
//! 2. A node without a hub keeps every node up to date. A node that others use as their hub keeps
//!    those nodes up to date.
//! 3. A node keeps the nodes up to date that its hub cannot reach, once they have answered it.
//!
//! These rules bring every entry to every node on any connected graph of working links. Proof: let
//! two nodes x and y be connected, and let x have an entry that y lacks. Follow the chain of hubs
//! from x. By rule 1 each of them gets the entry. Their ranks fall, so the chain ends at a node
//! without a hub, which by rule 2 keeps every node up to date. If it cannot reach y, then by rule 3
//! the node before it on the chain keeps y up to date. If that node cannot reach y either, the one
//! before it does, and so on, back to x, which reaches y.
//!
//! The hub is an optimization. A wrong belief, or two nodes that both act as hub, cost messages but
//! never an entry.
//!
//! # When they exchange them
//!
//! A hub passes on new entries once per period. A leaf sends its own just before that (see the
//! source of `beat`). This takes 2(n − 1) messages per period, whatever the load, and an entry
//! reaches every node within a period, a margin and two hops. An idle node sends new entries at
//! once. The period is a little more than two round trips, which every message measures.
//!
//! A node that starts first collects entries for about a period, because its peers may not have
//! started yet. Then each leaf greets its hub, and the hub answers all greetings with its first
//! beat. The hub knows no round trip yet, so it cannot announce the next beat. It asks one of the
//! leaves that it has heard for an answer at once, which shows the round trip. A leaf knows the
//! round trip from the beat, and expects the period that it learned itself. So the start costs one
//! exchange and one message more.
//!
//! # Failures
//!
//! * *A message is lost.* A node sends each entry once. A node that knows of entries that it lacks
//!   fetches them, a few batches at a time, from one node at a time. A node that does not confirm
//!   in time is asked again, less and less often. The question has no entries, but it names those
//!   of its sender. A log has no holes, so a later batch shows that an earlier one is missing.
//! * *A peer does not answer* twice in a row: the node considers it down. If it was the hub, the
//!   node sends the lowest nodes the entries that they may lack, and asks whether they are up. The
//!   new hub is the lowest node that is not known to be down. If that node does not answer either,
//!   the next one becomes hub. Nodes probe a node that is down now and then, at a bounded rate. It
//!   is up again once it answers a message that was sent since. A hub that goes down repeatedly is
//!   trusted less each time.
//! * *The hub cannot reach a peer.* Each of its leaves might reach it. They do not try all at once:
//!   each leaf asks one such peer at a time, drawn at random, at the rate of probes. (In a cluster of
//!   at most nine nodes, each leaf asks all of them at once.) It keeps a peer up to date once the
//!   peer has answered. So the first pair that reach each other connect
//!   the two sides soon, and a peer that nobody reaches costs few messages.
//! * *A node restarts.* Its records restore its own log, which never grows again. New entries go to
//!   a new log with a new incarnation. If the state is monotonic, the records also hold all entries
//!   of other nodes that the node has applied. Every message names the life of its sender. A node
//!   forgets its knowledge of a peer when the peer's life ends. A node that starts greets its hub,
//!   whatever it recovered.
//! * *All nodes restart at once.* Each node continues with its own records, and gets the rest from
//!   the others. Every acknowledged entry is in the records of the node that acknowledged it.
//!   Without records everything is lost, and the nodes start empty.
//! * *A link delivers messages in one direction only.* It counts as cut. Each end asks, gets no
//!   answer, considers the other end down, and probes it now and then. Other nodes bring the new
//!   entries.
//! * *A partition lasts for hours.* Each side continues on its own. A node keeps nothing for the
//!   other side beyond its bounded logs. Afterwards the other side gets the missing entries, or the
//!   state if the logs were trimmed.
//! * *A log has been trimmed.* A node that needs trimmed entries gets the state itself, in pieces,
//!   and merges it when all pieces are there. The pieces include all entries that were appended in
//!   the meantime. More entries are appended after the last piece was taken. While the node merges
//!   the state, it keeps those that arrive, and fetches others that follow the last piece (see the
//!   source of `following`). So only the entries that are appended between the last piece and the
//!   first fetch after it must still be in the logs then. (A log that is trimmed loses its older
//!   half.) Otherwise the next fetch is a snapshot again. That also happens if the merge takes so
//!   long that the kept entries fill their buffer, and the logs are trimmed beyond them.
//! * *A folder is restored from an older copy*, or a disk lies: records are lost that other nodes
//!   know. A node that restarts never appends to a recovered log, but begins a new one, so no two
//!   entries have the same name. The node gets its lost entries back from the others like those of
//!   any other log, and logs a warning.
//! * *A node gets another name* and keeps its records. The logs under its old name stay as they
//!   are, like those of a past life, and the node begins a log under its new name. Another node may
//!   have the old name by now, even with a copy of the same records.
//! * *A node is added.* It receives everything, like a node that restarts without records. All
//!   nodes must restart with the new list of names. A node refuses messages from nodes that are not
//!   on its list (error 12).
//! * *A node is removed.* The others keep their entries, and the rows of its logs forever. Entries
//!   that only its records hold are lost with it. If the state is not monotonic, these may include
//!   all entries that it acknowledged itself. The other nodes know these from gossip only. So they
//!   lose them once all of them have restarted, unless the records of one node hold a snapshot of
//!   its state. The records of the removed node bring everything back, under any name. So keep
//!   them, and ideally start them once more as a node that is added.
//! * *A node is alone* on the list. It continues the log of its earlier life, because no other node
//!   can have more of it. So a cluster must never again use an older copy of its records, or a
//!   second copy with which another node ran alone.
//!
//! # Invariants
//!
//! * No entry is sent to a peer that is known to have it.
//! * A node pushes no entry twice to a peer while it serves it, with one exception: a node that
//!   loses its hub may repeat a few entries to the candidates for the next one.
//! * A message to a live peer that asks for an answer is always followed by one of three events:
//!   the peer confirms, or it is asked again, or it is considered down.
//! * A node *tells* each peer that it serves of everything: it sends the entries, or a version that
//!   names them. The peer fetches the entries that it lacks.
//! * A node keeps O(logs) about a peer. It keeps no copies of entries, except for the few messages
//!   of a burst that wait for an earlier one, and for a bounded number of entries that follow a
//!   snapshot that it merges. A node runs at most one fetch at a time. A log is one
//!   life of a node that appended something.
//! * A request, a message or a tick makes the node look only at peers for which something is due.
//!   It looks at all peers only if some node went down or came back, if its hub changed, or if a
//!   merge ended.
//! * A snapshot is merged in small steps, one for each tick that is due. A request or a message
//!   makes no step; only the message with the last piece makes the first one.
//! * Entries that a beat sends to several peers are encoded once, and wait for the driver in one
//!   copy.
//!
//! # Example
//!
//! Two replicas, without the engine. The second one gets the entries that it lacks:
//!
//! ```
//! use maelstrom_core::gossip::{Entry, Missing, Origin, Replica};
//!
//! #[derive(Clone, serde::Serialize, serde::Deserialize)]
//! struct Word(String);
//!
//! impl Entry for Word {
//!     fn encoded_len(&self) -> usize {
//!         self.0.len() + 3
//!     }
//! }
//!
//! let (mut one, mut other) = (Replica::new(1_000), Replica::new(1_000));
//! let origin = Origin { node: "n1".into(), incarnation: 7 };
//! one.append(&origin, Word("gossip".into()));
//!
//! let missing = one.missing(&[other.version()], 1_000);
//! let Missing::Runs { runs, cut: false } = missing else { panic!("nothing was trimmed") };
//! for run in runs {
//!     if let Some(news) = other.news_in(run) {
//!         other.extend(&news);
//!     }
//! }
//! assert!(other.version().covers(one.version()));
//! assert_eq!(other.version().get(&origin), 1);
//! ```
//!
//! # Sources
//!
//! * Demers et al., *Epidemic Algorithms for Replicated Database Maintenance* (1987): anti-entropy
//!   that repairs a first push
//! * Almeida et al., *Delta State Replicated Data Types* (2018): deltas that are joined in order
//!   preserve causality

#[cfg(feature = "cli")]
mod args;
mod beat;
mod burst;
mod config;
mod encoded;
mod fetch;
mod following;
mod forward;
mod limits;
mod listen;
pub mod marks;
mod members;
pub mod metrics;
mod peer;
mod peers;
mod push;
mod record;
mod replica;
mod sending;
mod state;
mod traces;
mod window;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use tracing::warn;

use crate::error::Error;
use crate::message::NodeId;
use crate::node::Node;
use crate::outputs::SharedText;
use beat::{Beat, Slot};
use burst::Bursts;
use fetch::Fetching;
use following::Following;
use members::Membership;
use peer::Peer;
use peers::Peers;
use record::{RecordRef, Recovering};
use replica::Span;
use sending::MessageParts;
use traces::log_entries;

#[cfg(feature = "cli")]
pub use args::{GossipArgs, StateArgs};
pub use config::Config;
pub use limits::LINE_BYTES_MIN;
pub use replica::{Entry, Missing, Origin, Replica, Run, VersionVector};
pub use state::State;
pub use wire::Message;

/// Bounds of the first period: how long nodes that start collect entries before their hub passes
/// them on. With 100 ms per hop, an entry of a leaf that starts a little late is everywhere within
/// 600 ms. A node that restarts lacks entries until it greets its hub, so the period is short, even
/// if the configured one is not.
const FIRST_PERIOD_MIN: Duration = Duration::from_millis(330);
const FIRST_PERIOD_MAX: Duration = Duration::from_secs(2);

/// The engine's timer event. A handler's event type contains it, or is it.
/// [`forward_to_gossip!`](crate::forward_to_gossip) shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick(());

/// The engine of one node, with its state. The handler forwards three things to it: the start,
/// messages of type `gossip`, and [`Tick`]s. [`forward_to_gossip!`](crate::forward_to_gossip) shows
/// it in use.
#[derive(Debug)]
pub struct Gossip<S: State> {
    config: Config,
    state: S,
    replica: Replica<S::Entry>,
    /// Increases with every change of the replica.
    generation: u64,
    /// The log to which this node appends.
    origin: Origin,
    /// The log to which an earlier life appended, and its length in the records. Never appended to
    /// again.
    recovered: Option<(Origin, u64)>,
    /// The current life of this node.
    life: u64,
    rank: usize,
    peers: Peers,
    hub: Option<NodeId>,
    membership: Membership,
    /// Increases with every change of `hub` and `lost`.
    view: u64,
    /// The peers that are down, and the view since which that is so.
    lost: (Vec<NodeId>, u64),
    period: Duration,
    /// The median round trip over all peers that are up.
    usual_round_trip: Option<Duration>,
    beat: Beat,
    slot: Slot,
    /// How many bursts this node has sent.
    burst: u64,
    bursts: Bursts<S>,
    fetching: Fetching<S::Piece>,
    following: Following<S::Entry>,
    probe_at: Option<Duration>,
    /// Whether the next probe goes to all peers in `Membership::to_probe`, instead of one.
    probe_all: bool,
    /// When all of them were last probed at once.
    probed_all: Option<Duration>,
    /// When all candidates for a new hub were last probed.
    candidates_probed: Option<Duration>,
    /// A starting node sends nothing until then, because its peers may not have started yet. A
    /// message from a peer ends the wait. The greeting of the node carries the entries that clients
    /// have caused in the meantime.
    silent_until: Option<Duration>,
    /// The node's own snapshot that is being recovered.
    recovering: Option<Recovering<S>>,
    /// The pieces of a peer's snapshot that are being recovered, if the records hold them one by
    /// one.
    recovered_parts: Vec<S::Piece>,
    /// The runs in JSON that were encoded since the last `drive` ended. Several peers may get the
    /// same run.
    encoded: BTreeMap<Span, SharedText>,
    /// The time of the next tick that counts.
    tick_at: Option<Duration>,
}

impl<S: State> Gossip<S> {
    /// An engine with an empty `state` and no entries.
    #[must_use]
    pub fn new(config: Config, state: S) -> Self {
        // Recovery needs the records of a monotonic state without gaps, and cumulative entries have
        // gaps.
        const { assert!(!(S::MONOTONIC && S::Entry::CUMULATIVE), "MONOTONIC and CUMULATIVE") };
        Self {
            replica: Replica::new(config.log_bytes_max),
            following: Following::new(config.log_bytes_max),
            period: config.period.unwrap_or(config.period_min),
            config,
            state,
            generation: 1,
            origin: Origin { node: "".into(), incarnation: 0 },
            recovered: None,
            life: 0,
            rank: 0,
            peers: Peers::default(),
            hub: None,
            membership: Membership::default(),
            view: 1,
            lost: (Vec::new(), 1),
            usual_round_trip: None,
            beat: Beat::default(),
            slot: Slot::default(),
            burst: 0,
            bursts: Bursts::default(),
            fetching: Fetching::default(),
            probe_at: None,
            probe_all: false,
            probed_all: None,
            candidates_probed: None,
            silent_until: None,
            recovering: None,
            recovered_parts: Vec::new(),
            encoded: BTreeMap::new(),
            tick_at: None,
        }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The log to which this node appends. It changes when the node starts, and when another node
    /// turns out to have more of the log.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether a snapshot is being merged. If so, the state may hold entries that this node cannot
    /// name yet. It could not pass them on, and would not recover them after a restart.
    #[must_use]
    pub fn is_merging(&self) -> bool {
        self.fetching.is_merging()
    }

    /// The logs: which entries this node has, and the entries that it has not trimmed.
    #[must_use]
    pub fn replica(&self) -> &Replica<S::Entry> {
        &self.replica
    }

    /// Starts a new life of the node, which has its name now.
    ///
    /// The engine never appends to the log from the node's records, unless there are no other
    /// nodes: the records may be an older copy, and other nodes may have later entries of that log.
    pub fn start<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        // 53 bits, so that any JSON parser keeps all digits.
        self.life = node.rng().next_u64() >> 11;
        if self.origin.node == *node.id() {
            let end = self.replica.version().get(&self.origin);
            self.recovered = node.peers().next().map(|_| (self.origin.clone(), end));
        }
        if self.origin.node != *node.id() || self.recovered.is_some() {
            self.origin = Origin { node: node.id().clone(), incarnation: self.life };
        }
        self.recovered_parts = Vec::new();
        self.peers.set_own(node.id());
        for (rank, id) in node.node_ids().iter().enumerate() {
            if id == node.id() {
                self.rank = rank;
            } else {
                self.peers.insert(id.clone(), Peer::new(rank));
            }
        }
        self.check_room(node);
        self.update_period();
        // The hub waits for the greetings of the others, which saves one message per node.
        let period = self.config.period.unwrap_or_default();
        let wait = period.clamp(FIRST_PERIOD_MIN, FIRST_PERIOD_MAX);
        let wait = if self.rank == 0 {
            wait.saturating_add(beat::COLLECTING)
        } else {
            wait.saturating_sub(beat::COLLECTING)
        };
        self.silent_until = Some(node.now().saturating_add(wait));
        self.drive(node);
    }

    /// Appends an entry to this node's own log, persists it, applies it, and replicates it to all
    /// nodes.
    pub fn append<E: From<Tick>>(&mut self, node: &mut Node<E>, entry: S::Entry) {
        let start = self.replica.append(&self.origin, entry.clone());
        self.generation = self.generation.saturating_add(1);
        self.slot.note_append();
        let run = Run { origin: self.origin.clone(), start, entries: vec![entry] };
        node.persist(&RecordRef::<S>::Own(&run));
        log_entries("appended", &run);
        self.state.apply(&run.origin, run.entries);
        self.drive(node);
    }

    /// Processes a message of type `gossip`.
    ///
    /// # Errors
    ///
    /// Error 12 if the sender is not a node of the cluster, or if a part of the message is invalid.
    /// The engine ignores that part.
    pub fn message_from<E: From<Tick>>(
        &mut self,
        node: &mut Node<E>,
        src: &NodeId,
        mut message: Message<S>,
    ) -> Result<(), Error> {
        if !self.peers.contains(src) {
            return Err(Error::malformed_request("gossip is between the nodes of a cluster"));
        }
        self.resolve(&mut message);
        let mut result = Ok(());
        let ready = self.in_order(src, message);
        if ready.is_empty() {
            // The message names entries that have not arrived. If they do not arrive soon, they are
            // lost.
            self.note_lacking_entries(node.now(), src, fetch::Wait::RoundTrip);
            self.drive(node);
        }
        for message in ready {
            result = result.and(self.handle_message(node, src, message));
        }
        result
    }

    /// Handles a tick.
    pub fn tick<E: From<Tick>>(&mut self, node: &mut Node<E>, _tick: Tick) {
        if self.tick_at.is_some_and(|at| at <= node.now()) {
            self.tick_at = None;
            // Only a tick merges. Otherwise each request and message would wait for a step, and
            // those behind it for all these steps.
            if let Err(error) = self.merge_next(node) {
                warn!(%error, "a snapshot is invalid: the rest of it is ignored");
            }
            if let Err(error) = self.apply_next_following(node) {
                warn!(%error, "entries after a snapshot are invalid and were ignored");
            }
        }
        if self.silent_until.is_some_and(|until| until <= node.now()) {
            self.silent_until = None;
        }
        self.drive(node);
    }

    /// Does everything that is due, and sets a timer for the rest.
    fn drive<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        let now = node.now();
        if self.silent_until.is_none() {
            let gone = self.retry_or_mark_down(node, now);
            let hub = self.hub.clone();
            self.refresh_membership(now);
            if self.hub != hub {
                node.count(&metrics::HUB_CHANGES, &[], 1);
            }
            if let Some(hub) = gone {
                self.probe_hub_candidates(node, now, &hub);
            }
            self.fetch(node, now);
            self.settle_beat(now);
            self.acknowledge(node, now);
            self.push(node, now);
            self.probe(node, now);
        }
        self.encoded.clear();
        let Some(next) = self.next_deadline(now) else {
            return;
        };
        if self.tick_at.is_none_or(|at| next < at) {
            self.tick_at = Some(next);
            node.set_timer(next.saturating_sub(now), Tick(()).into());
        }
    }

    fn is_hub(&self, id: &NodeId) -> bool {
        self.hub.as_ref() == Some(id)
    }

    fn next_deadline(&mut self, now: Duration) -> Option<Duration> {
        if self.silent_until.is_some() {
            return self.silent_until;
        }
        let beat = self.has_news_for_others().then(|| self.beat.due(now));
        let slot = self.slot_at(now);
        let fetch = self.next_fetch_deadline();
        let next_fetch = self.peers.next_fetch().filter(|_| fetch.is_none());
        let follows = || (!self.following.is_idle()).then_some(now);
        let merge = self.fetching.next_step().or_else(follows);
        let peers = self.peers.next_deadline();
        let all = [beat, slot, fetch, next_fetch, merge, self.probe_at, peers];
        all.into_iter().flatten().min().map(|at| at.max(now))
    }
}

#[cfg(test)]
mod tests;
