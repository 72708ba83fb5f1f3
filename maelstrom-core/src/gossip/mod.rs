//! One replication engine: everything that a node appends reaches every node and is never lost.
//!
//! Each node appends entries to a log of its own, every node applies every log in order, and what
//! comes of it is the handler's [`State`]: a set, a counter, a map. Entries are named (origin,
//! incarnation, sequence), so a version vector says exactly what a node has, duplicates are
//! harmless, and the acknowledgement of everything is one small vector that rides on every message.
//! Rows of past lives go as one digest, so messages do not grow with restarts (`replica/claim.rs`).
//!
//! # Who talks to whom
//!
//! Everyone's *hub* is the lowest-ranked node that it believes to be up. Three rules:
//!
//! 1. I see to it that my hub has all that I have.
//! 2. A node that has no hub (since it is the lowest itself), or is a hub to somebody, sees to it that
//!    these have all that it has; the former serves everyone.
//! 3. I serve those that my hub tries in vain to reach.
//!
//! These make every node have everything on any connected graph of working links. (Of two connected
//! nodes, let x have what y lacks. Follow the hubs from x: each has it by rule 1, and their ranks
//! fall, so there is a last one, which serves everyone. If it does not reach y, then by rule 3 who
//! takes it for its hub serves y, and if that does not reach y either, who takes *that* one for its
//! hub does, and so on, down to x, which reaches y.) The hub is a shortcut: a wrong belief, or two
//! nodes that both take themselves for the hub, cost messages and never an entry.
//!
//! # When
//!
//! A hub passes on what is new once a period, and a leaf times its word so that it comes just before
//! that (see the source of `beat`): 2(n − 1) messages a period whatever the load, and an entry is
//! everywhere within a period and two hops. While there is little to say, it is said at once. The
//! period is a little more than two round trips, which every message measures. A hub that knows no
//! round trip yet beats once and waits for an answer; a leaf that knows none waits for its hub's.
//!
//! # What if
//!
//! * *A message is lost.* Entries are sent once. A node that has been told of more than it has fetches
//!   the rest, a few batches at a time, from one node at a time; a node that does not confirm in time is
//!   told again, less and less often. A log has no holes, so a later batch shows that one is missing.
//! * *A peer does not answer*, twice in a row: it is believed to be down. If it was the hub,
//!   the lowest nodes are told what they may lack, and asked whether they are there. The new hub is
//!   the lowest that is not known to be down: if that does not answer either, the next. A node that
//!   went down is asked now and then, at a bounded rate, and is up again once it answers something
//!   that was sent since. A hub that comes and goes is trusted less each time.
//! * *A node restarts.* Its own log comes back from its records, and stays as it is. New entries go to
//!   a new log, under a new incarnation. (Where the state must not go back, all that the node was told
//!   is on record as well.)
//!   Every message says which life of its sender speaks, and what is known of a peer is
//!   forgotten with its life. A node that begins greets its hub, whatever it recovered.
//! * *All nodes restart at once*: each goes on with what its own records hold, and gets the rest from
//!   the others. All that was acknowledged is on the record of the node that did so. Without records
//!   everything is gone, and the nodes begin anew.
//! * *A link carries messages in one direction only*: it counts as cut. Each end that wants an answer
//!   gets none, takes the other for down, and tries it now and then. Other nodes bring what is new.
//! * *A partition lasts for hours*: each side goes on by itself. Nodes keep no more for the other side
//!   than their logs hold anyway. Afterwards it gets entries, or the state if these were trimmed.
//! * *A log has been trimmed*: a node that needs what is no longer there gets the state itself, in
//!   pieces, and joins it when all of them are there. (All that is appended meanwhile is in
//!   it. Entries that are appended after the last piece was taken, until the node has joined the state
//!   and asks for more, must
//!   fit into half of the logs, or the next fetch is one of the whole state again.)
//! * *A folder is restored from an older copy*, or a disk lies: records are gone that others know of.
//!   A node that restarts never appends to a log that it has recovered: it begins a new one. So no two
//!   entries share a name. The node gets lost entries back from the others like those of any other
//!   log, and logs a warning.
//! * *A node gets another name* and keeps its records: the logs of its old name stay as they are, like
//!   those of a past life, and the node begins a log under its new name. It does not matter whether
//!   another node has the old name by now, nor whether that one has a copy of the same records.
//! * *A node is added*: it gets everything, as a node does that comes back with nothing. All nodes must
//!   be restarted with the new list of names. A node that is not on a node's list is refused (error 12).
//! * *A node is removed*: the others keep what they have, and the rows of its logs for ever. Entries
//!   that only its records held go with it. Where the state may go back, that is all that it acknowledged itself:
//!   the others know that from gossip alone, so it is lost once all of them have restarted, unless they
//!   have snapshots of their own state on record. Its records bring everything back under any name.
//!   So they should be kept, and best be run once more under the name of a node that is added.
//! * *A node is alone* on the list: it goes on with the log of its earlier life, since nobody can have
//!   more of that. So neither an older copy of its records, nor a second copy on which another node ran
//!   alone, may ever be used in a cluster again.
//!
//! The invariants:
//!
//! * No entry is sent to a peer that is known to have it, nor pushed twice to one that stays up.
//! * Each message that wants an answer of a peer that is up is awaited: it is confirmed, or told
//!   again, or the peer is down.
//! * A peer is *told* of everything or it is down: whatever of that it lacks, it fetches.
//! * A node keeps O(logs) about a peer, and no copies of entries, but for the few messages of a burst
//!   that wait for an earlier one. At most one fetch of a node is under way, and a log is one
//!   life of a node that appended something.
//! * A request, a message or a tick makes the node look only at peers that something is due for.
//! * A snapshot is merged in small steps, one for each tick that is due. A request or a message makes
//!   no step, except for the first one, which the last piece makes.
//! * What a beat tells several peers is encoded once, and waits for the driver in one copy.
//!
//! The ideas: epidemic repair after a first push is Demers et al., *Epidemic Algorithms for
//! Replicated Database Maintenance* (1987); deltas that are joined in order keep causality, Almeida
//! et al., *Delta State Replicated Data Types* (2018).

#[cfg(feature = "cli")]
mod args;
mod beat;
mod burst;
mod fetch;
mod forward;
mod limits;
mod listen;
pub mod marks;
mod members;
pub mod metrics;
mod parcel;
mod peer;
mod peers;
mod push;
mod record;
mod replica;
mod window;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::error::Error;
use crate::message::{LINE_BYTES_MAX, NodeId};
use crate::node::Node;
use crate::outputs::SharedText;
use beat::{Beat, Slot};
use burst::Bursts;
use fetch::Fetching;
use members::Around;
use parcel::Parcel;
use peer::Peer;
use peers::Peers;
use record::{RecordRef, Recovering};
use replica::Span;

#[cfg(feature = "cli")]
pub use args::{GossipArgs, StateArgs};
pub use limits::LINE_BYTES_MIN;
pub use replica::{Entry, Missing, Origin, Replica, Run, VersionVector};
pub use wire::Message;

/// How the engine behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a hub collects before it passes on; `None`: a little more than two round trips.
    pub period: Option<Duration>,
    /// The shortest period that is learned.
    pub period_min: Duration,
    /// About how many bytes of entries go into one message; a single entry always does. No more
    /// than a quarter of the receiver's `line_bytes_max`, whatever this says.
    pub batch_bytes_max: usize,
    /// Longer lines are skipped by this node's driver. Others are told, and send none.
    pub line_bytes_max: usize,
    /// About how many bytes the newest entries may take, that are kept for who lacks them.
    pub log_bytes_max: usize,
    /// How many bytes the state may take for [`check_room_for`](Gossip::check_room_for) to let a client
    /// write more. Entries of other nodes are applied all the same.
    pub state_bytes_max: usize,
    /// How long beyond the round trip an answer may take, at the least, before a peer is asked
    /// again; the second time it is believed to be down.
    pub patience_min: Duration,
    /// How often peers that are down are tried (half of it at the least, drawn anew each time).
    pub probe_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            period: None,
            period_min: Duration::from_millis(5),
            batch_bytes_max: 256 << 10,
            line_bytes_max: LINE_BYTES_MAX,
            log_bytes_max: 4 << 20,
            state_bytes_max: usize::MAX,
            patience_min: Duration::from_millis(100),
            probe_interval: Duration::from_secs(1),
        }
    }
}

/// What the entries make: a join of all that was applied, in whatever order the origins' logs came.
pub trait State {
    /// What nodes append.
    type Entry: Entry;

    /// A part of a snapshot.
    type Piece: Clone + std::fmt::Debug + Serialize + DeserializeOwned;

    /// Whether readers must never see the state go back, nor hold a part of a snapshot. Then all
    /// that is applied is made durable, not only what this node appends, and a snapshot is merged
    /// when it is whole.
    ///
    /// Otherwise only what this node appends is on its records: a handler that promises a client
    /// something [appends](Gossip::append) it, even if the state has it from another node.
    const MONOTONIC: bool = false;

    /// Whether entries make sense that come next in the log of `origin` and are about to be applied.
    ///
    /// # Errors
    ///
    /// If they do not. They are not taken, and neither is what comes after them in that log.
    fn check(&self, origin: &Origin, entries: &[Self::Entry]) -> Result<(), Error> {
        let _ = (origin, entries);
        Ok(())
    }

    /// Applies entries of one origin, each exactly once and in their order, unless
    /// [`merge`](Self::merge) has brought them before.
    fn apply(&mut self, origin: &Origin, entries: Vec<Self::Entry>);

    /// The part of the state that begins at `position` (0 at first) and takes about `bytes_max`
    /// bytes, and where the next part begins.
    ///
    /// Each change that is applied or merged later stands behind all that the state holds now. Where
    /// it changes something that stands in an earlier part, that moves to the end: it comes again. From
    /// the first to the last, the parts thus hold all that is in the state when the last is taken, and
    /// those of a [monotonic](Self::MONOTONIC) state nothing else.
    fn piece(&self, position: u64, bytes_max: usize) -> (Self::Piece, Option<u64>);

    /// About how many bytes all parts of it take.
    fn bytes(&self) -> usize;

    /// Joins parts of another node's state into this one: all of them, from the first to the last,
    /// if this state is [monotonic](Self::MONOTONIC), and one at a time, as they come, if it is not.
    ///
    /// # Errors
    ///
    /// If they make no sense. The state is as before then.
    fn merge(&mut self, pieces: Vec<Self::Piece>) -> Result<(), Error>;

    /// Joins a little of another node's state into this [monotonic](Self::MONOTONIC) one: `pieces` are
    /// all its parts, from the first to the last. Returns whether all of it is joined. Until then
    /// nothing of it is shown, and the engine calls this again with the same parts. By default
    /// everything is joined at once.
    ///
    /// # Errors
    ///
    /// If they make no sense. Nothing of them is shown then.
    fn merge_step(&mut self, pieces: &[Self::Piece]) -> Result<bool, Error> {
        self.merge(pieces.to_vec()).map(|()| true)
    }

    /// Frees a little of the memory that [`merge_step`](Self::merge_step) has left. Returns whether
    /// nothing is left.
    fn discard_step(&mut self) -> bool {
        true
    }
}

/// Something may have to be done. A handler's event type holds it, or is it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick(());

/// The engine of one node, and the state. The handler passes on to it what concerns it: the start,
/// messages of type `gossip`, and [`Tick`]s.
#[derive(Debug)]
pub struct Gossip<S: State> {
    config: Config,
    state: S,
    replica: Replica<S::Entry>,
    /// Rises with every change of the replica.
    generation: u64,
    /// Whose log is appended to.
    origin: Origin,
    /// The log that an earlier life appended to, and its length according to the records. Nothing is
    /// appended to it.
    recovered: Option<(Origin, u64)>,
    /// Which life of this node it is.
    life: u64,
    rank: usize,
    peers: Peers,
    hub: Option<NodeId>,
    around: Around,
    /// Rises with every change of `hub` and `lost`.
    view: u64,
    /// Who is down, and the view since which that is so.
    lost: (Vec<NodeId>, u64),
    period: Duration,
    /// The median of all peers.
    usual_round_trip: Option<Duration>,
    beat: Beat,
    slot: Slot,
    /// How many times it has sent several messages at once.
    burst: u64,
    bursts: Bursts<S>,
    fetching: Fetching<S::Piece>,
    probe_at: Option<Duration>,
    /// Whether all that are down are to be tried at once, next time.
    probe_all: bool,
    /// When that was last done.
    probed_all: Option<Duration>,
    /// When the lowest nodes were last told that the hub is gone.
    roll_called: Option<Duration>,
    /// Until then a new node is silent: its peers may not have been started yet.
    silent_until: Option<Duration>,
    /// The snapshot that is being recovered.
    recovering: Option<Recovering<S>>,
    /// The parts of a peer's snapshot that are being recovered, if they come one by one.
    recovered_parts: Vec<S::Piece>,
    /// Entries in JSON as the last peer got them: the next peer may get the same.
    encoded: BTreeMap<Span, SharedText>,
    /// When the next tick comes that counts.
    tick_at: Option<Duration>,
}

impl<S: State> Gossip<S> {
    /// An engine that has nothing but `state`, which is empty.
    #[must_use]
    pub fn new(config: Config, state: S) -> Self {
        Self {
            replica: Replica::new(config.log_bytes_max),
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
            around: Around::default(),
            view: 1,
            lost: (Vec::new(), 1),
            usual_round_trip: None,
            beat: Beat::default(),
            slot: Slot::default(),
            burst: 0,
            bursts: Bursts::default(),
            fetching: Fetching::default(),
            probe_at: None,
            probe_all: true,
            probed_all: None,
            roll_called: None,
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

    /// The log that this node appends to. It changes when the node starts, and when others turn out
    /// to know more of it than this node does.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether a snapshot is being merged. Then the state may hold what this node cannot name yet,
    /// and so would not pass on nor find again if it restarted now.
    #[must_use]
    pub fn is_merging(&self) -> bool {
        self.fetching.is_merging()
    }

    /// What this node has, and how much of it is still there as entries.
    #[must_use]
    pub fn replica(&self) -> &Replica<S::Entry> {
        &self.replica
    }

    /// The node has its name: a new life begins.
    ///
    /// Nothing is appended to the log that comes from its records, unless there are no other nodes:
    /// the records may be an older copy, and other nodes may have later entries of that log.
    pub fn start<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        // 53 bits, so that any JSON parser keeps all its digits.
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
        self.learn();
        // A hub waits to be greeted, which is one message less for each.
        let wait = if self.rank == 0 { self.config.probe_interval } else { Duration::ZERO };
        let wait = wait.saturating_add(self.probe_delay(node));
        self.silent_until = Some(node.now().saturating_add(wait));
        self.drive(node);
    }

    /// Appends an entry to this node's own log, makes it durable, applies it, and sees to it that
    /// everyone gets it.
    pub fn append<E: From<Tick>>(&mut self, node: &mut Node<E>, entry: S::Entry) {
        let start = self.replica.append(&self.origin, entry.clone());
        self.generation = self.generation.saturating_add(1);
        let run = Run { origin: self.origin.clone(), start, entries: vec![entry] };
        node.persist(&RecordRef::<S>::Own(&run));
        self.state.apply(&run.origin, run.entries);
        self.silent_until = None;
        self.drive(node);
    }

    /// Takes a message of type `gossip`.
    ///
    /// # Errors
    ///
    /// Error 12 if the sender is no node of the cluster, or sends something that makes no sense:
    /// that has not been taken then.
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
            // It tells of more than has come. If that does not come soon, it is lost.
            self.note_what_is_lacking(node.now(), src, fetch::Wait::RoundTrip);
            self.drive(node);
        }
        for message in ready {
            result = result.and(self.take(node, src, message));
        }
        result
    }

    /// A tick has come back.
    pub fn tick<E: From<Tick>>(&mut self, node: &mut Node<E>, _tick: Tick) {
        if self.tick_at.is_some_and(|at| at <= node.now()) {
            self.tick_at = None;
            // Here only: requests and messages would each wait for a step, and those behind them for
            // all of these steps.
            if let Err(error) = self.merge_next(node) {
                warn!(%error, "a snapshot makes no sense: what is left of it is not taken");
            }
        }
        if self.silent_until.is_some_and(|until| until <= node.now()) {
            self.silent_until = None;
        }
        self.drive(node);
    }

    /// Does all that is due, and has itself woken for the rest.
    fn drive<E: From<Tick>>(&mut self, node: &mut Node<E>) {
        let now = node.now();
        if self.silent_until.is_none() {
            let gone = self.press(node, now);
            let hub = self.hub.clone();
            self.look_around(now);
            if self.hub != hub {
                node.count(&metrics::HUB_CHANGES, &[], 1);
            }
            if let Some(hub) = gone {
                self.roll_call(node, now, &hub);
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
        let merge = self.fetching.has_work().then_some(now);
        let peers = self.peers.next_deadline();
        let all = [beat, slot, fetch, next_fetch, merge, self.probe_at, peers];
        all.into_iter().flatten().min().map(|at| at.max(now))
    }
}

#[cfg(test)]
mod tests;
