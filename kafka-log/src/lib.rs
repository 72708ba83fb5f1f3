//! Challenge 5: logs of messages, replicated as Kafka replicates them.
//!
//! Keys hash onto a fixed number of partitions, and partitions onto nodes ([`Placement`]). A
//! partition is one log ([`PartitionLog`]) with the messages of all its keys, in the order in which
//! they were appended. Each key counts its own offsets in that log. One replica of a partition
//! leads: it appends, and the others follow. An entry is *committed* once all replicas *in sync*
//! have it. Sends are acknowledged, and polls show messages, only when they are committed. A
//! committed message is never lost while one replica in sync keeps its records.
//!
//! # Election
//!
//! A record in `lin-kv` ([`Metadata`]) names the leader of a partition, its epoch, and the replicas
//! in sync. Nodes change the record by compare-and-set only. They create it when a client first
//! writes to the partition. They read it only when something goes wrong: in steady state `lin-kv`
//! gets no message. The epoch is the fencing token. Every message of replication carries it. A
//! replica refuses an older epoch, and a leader that meets a newer one steps down.
//!
//! * Only a replica in sync can take over, since only these replicas are sure to have all committed
//!   entries. With `--min-isr`, there is one exception (KIP-966, see [`Metadata::eligible`]). A
//!   replica that left the in-sync set while nothing could be committed can take over if all
//!   replicas in sync are gone.
//! * A leader takes a replica that does not answer out of the in-sync set, and a replica replaces a
//!   leader that does not answer. A node that reaches less than half of all nodes waits 1.5 s
//!   before it does either, so that the other side of a partition can act first.
//! * In a new epoch a follower first truncates its log to the part that it shares with the leader.
//!   It compares the epochs of the entries (KIP-101), never the length of the log or its high
//!   watermark.
//! * A leader counts an entry as committed when every replica has it that *might* be in sync. A
//!   compare-and-set of unknown outcome may have succeeded, or may succeed later.
//! * A leader that restarts begins a new epoch before it serves. So does a node that the record
//!   names as the leader although it does not know that it leads.
//! * A replica is a node *and an incarnation*, a number that the node draws when its records begin.
//!   A node that restarts with its records is the same replica. A node that restarts without them
//!   is another replica. It is out of sync until it has caught up, and the leader removes the old
//!   replica from the in-sync set. If no replica in sync has its records any more, the messages are
//!   lost. The partition then stays unavailable: no election hides the loss.
//! * If `lin-kv` has no record of a partition, but nodes keep records of it, all replicas compare
//!   their logs ([`Comparison`]). The node with the most complete log leads.
//! * Each log has a random name. A replica refuses messages about a log of another name.
//!
//! # Packets
//!
//! All that one node has for another goes into one packet: entries, acknowledgements, high
//! watermarks, forwarded sends and their outcomes, polls. While an answer is under way, new items
//! wait for it. So under load a round trip costs one packet each way. New items also wait for
//! `--linger`, 1 ms by default: at a thousand operations a second that saves a third of the
//! packets. They skip this second wait if each client of the node waits for an answer: then these
//! clients send no new request.
//!
//! * A packet has one budget of bytes for all its items, half of the longest line that a node
//!   reads. The other items stay queued, in order, for the next packet. If the queues have no room
//!   for a send, the node refuses it at once, with error 11.
//! * A node that forwards a send gets it back as an entry. If this node and the leader are the only
//!   replicas in sync, the entry is committed as soon as the node has it. So a send costs two
//!   packets, whichever node takes it.
//! * Acknowledgements are watermarks: a lost, repeated or late one does no harm. So are high
//!   watermarks. They travel with other items, and alone only if nothing else is sent for a while.
//! * A node asks a silent peer again, and after a while suspects it to be down. A node asks for
//!   nothing while no request waits, all nodes are up, and every entry is committed: such a cluster
//!   is silent.
//! * A follower whose log ends before the leader's first entry starts again from there. The leader
//!   sends it a summary of the deleted entries ([`Floor`]) in bounded parts. The follower uses the
//!   summary once it has all parts, and once all of them are on its disk, in bounded parts, too.
//! * A follower that lags gets the entries in bounded pieces. It is in sync again once it has
//!   reached the end of the log. The more often it fell behind, the longer the leader waits before
//!   it lets the follower in again.
//!
//! # Guarantees for clients
//!
//! * A send has a name: the life of its node, the partition, and a sequence number. No log takes a
//!   name twice. So a node can forward a send again, also to the next leader, and it appears once.
//!   A node answers a send within 4 s. An error is definite only if nothing can have happened. If
//!   the outcome is not known, the error says so.
//! * A node answers a poll from its own replica, up to the high watermark that it knows. It asks
//!   another node only about keys that it does not keep.
//! * Committed offsets gossip, and only rise ([`Committed`]). A node acknowledges them once it has
//!   made them durable. The other nodes know them a little later. Only the node that took them is
//!   sure to have them on its disk. Another node that restarts may list lower offsets than before,
//!   until it hears from a node that has them. A node refuses a request with more offsets than fit
//!   into half of a line: gossip could not send them.
//!
//! If the node's driver keeps records, everything is durable before the node acknowledges it.
//!
//! [`life_of_a_send`] follows one message through the code.
//!
//! # Layout
//!
//! | module | purpose |
//! |---|---|
//! | `placement`, `log`, `meta`, `offsets` | keys and nodes, logs, records in `lin-kv`, offsets |
//! | `leader`, `partition`, `role` | both sides of replication: state machines without a `Node` |
//! | `floor` | the summary of deleted entries, on its way to a follower that starts again |
//! | `link` | one peer: its lives, and the times at which packets to it are due |
//! | `failure_detector` | round trips with a peer, and whether it answers |
//! | `queue` | the items that wait for a peer, and the byte budget of a packet |
//! | `sends`, `polls` | clients' requests that wait |
//! | `clients` | the clients that a node heard lately |
//! | `indexed` | a map that finds the values that are due without a look at the rest |
//! | `recovery` | the choice of a leader for a partition that `lin-kv` has no record of |
//! | `packets`, `packing`, `sending`, `reading`, `electing`, `recovering` | the handler, by task |
//! | `traces` | the ids of requests, for the logs of other nodes |
//! | `wire`, `args` | messages and records; flags |
//! | `settings` | the flags with which the records are valid |
//! | `rules` | the rules of the protocol, which tests break one by one |
//!
//! The ideas: Kreps et al., *Kafka: a Distributed Messaging System for Log Processing* (2011), and
//! Kafka's design of replication and its KIPs 98 (idempotent producers), 101 and 279 (leader
//! epochs), and 516 (topic identifiers).

mod args;
#[cfg(test)]
mod bounds_tests;
mod clients;
#[cfg(test)]
mod cost_tests;
mod electing;
mod failure_detector;
mod floor;
mod indexed;
mod leader;
mod link;
mod log;
pub mod marks;
mod meta;
pub mod metrics;
mod offsets;
mod packets;
mod packing;
mod partition;
mod placement;
mod polls;
mod queue;
mod reading;
mod recovering;
mod recovery;
mod role;
mod rules;
mod sending;
mod sends;
mod settings;
#[cfg(test)]
mod test_requests;
mod traces;
mod wire;

/// The crate's chapter of the guide. Its links to files work in the repository.
#[cfg(doc)]
#[doc = include_str!("../README.md")]
pub mod guide {}

#[doc = include_str!("life_of_a_send.md")]
pub mod life_of_a_send {}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::gossip::{self, Gossip, Tick};
use maelstrom_core::metrics::{Gauges, Metric};
use maelstrom_core::service::Cas;
use maelstrom_core::{
    Error, MessageHandler, Node, NodeId, Records, Request, RpcError, SnapshotPosition,
};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use args::{Acks, Config, LogArgs};
pub use leader::Leader;
pub use log::{DEDUPE_WINDOW, PartitionLog, Retention, SendLookup};
pub use meta::Metadata;
pub use offsets::{Committed, OffsetUpdate};
pub use partition::Partition;
pub use placement::Placement;
pub use recovery::{Comparison, Decision, Holding, Reason, UNCLEAN_AFTER, UNCLEAN_EPOCHS};
pub use rules::{Rule, Rules};
pub use settings::{Guarantees, PeerSettings, Settings};
pub use wire::{
    Ack, Append, Entry, Epoch, Floor, FloorPart, HoldingReport, LogId, Messages, Offsets, Outcome,
    Packet, PartitionId, Poll, Polled, Position, Producer, Record, ReplicaId, Send, SendOutcome,
};

use clients::{CLIENTS_MAX, Clients};
use indexed::Indexed;
use link::Link;
use polls::Polls;
use sends::Sends;
use traces::Traces;

/// The default for the longest message that a node takes, in bytes of JSON, with its key. Such a
/// message fits into a line for other nodes.
pub const MESSAGE_BYTES_MAX: usize = maelstrom_core::LINE_BYTES_MAX / 4;

/// The shortest gossip period of committed offsets. They are a few messages, and no client waits
/// for them.
pub const GOSSIP_PERIOD_MIN: Duration = Duration::from_secs(1);

/// How long a node that starts waits before it greets the others, which may not have started yet.
const SILENCE: Duration = Duration::from_millis(500);

/// The section of a snapshot that holds the committed offsets. The sections after it are the
/// partitions. The offsets come first: their snapshot must begin before any record of offsets that
/// the node makes while it writes the snapshot.
const OFFSETS_SECTION: u64 = 0;

/// The requests that the node understands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "decoded, taken apart, and gone")]
pub enum Payload {
    /// Appends a message to a key's log.
    Send {
        /// The key.
        key: Arc<str>,
        /// Any JSON.
        msg: Box<RawValue>,
    },
    /// Reads messages.
    Poll {
        /// The first offset to read, by key.
        offsets: Offsets,
    },
    /// Commits the offsets of processed messages.
    CommitOffsets {
        /// The committed offset, by key.
        offsets: Offsets,
    },
    /// Reads committed offsets.
    ListCommittedOffsets {
        /// The keys to list.
        keys: Vec<Arc<str>>,
    },
    /// From another node: replication, forwarded requests and their answers.
    Packet(Packet),
    /// From another node: committed offsets.
    Gossip(gossip::Message<Committed>),
}

/// The replies of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The message is stored.
    SendOk {
        /// Its offset.
        offset: u64,
    },
    /// The messages that exist, as far as they fit into one reply.
    PollOk {
        /// By key, if it has any: offsets and messages, without gaps.
        msgs: Messages,
    },
    /// The offsets are durable on this node.
    CommitOffsetsOk,
    /// The committed offsets.
    ListCommittedOffsetsOk {
        /// By key, if it has one.
        offsets: Offsets,
    },
}

/// The results of timers and calls.
#[derive(Debug)]
pub enum Event {
    /// Something may be due.
    Tick,
    /// Gossip of committed offsets is due.
    Gossip(Tick),
    /// The reply of `lin-kv` to a read of a partition's record.
    Read(PartitionId, Result<Option<Metadata>, RpcError>),
    /// The outcome of a compare-and-set of a partition's record to this value.
    Swapped(PartitionId, Metadata, Result<Cas, RpcError>),
}

impl From<Tick> for Event {
    fn from(tick: Tick) -> Self {
        Self::Gossip(tick)
    }
}

/// The identity of this node.
#[derive(Clone, Debug)]
struct Identity {
    id: NodeId,
    life: u64,
    incarnation: u64,
}

impl Identity {
    fn replica(&self) -> ReplicaId {
        ReplicaId { node: self.id.clone(), incarnation: self.incarnation }
    }

    fn producer(&self) -> Producer {
        Producer { node: self.id.clone(), life: self.life }
    }
}

/// The handler of all messages and timers of a node.
#[derive(Debug)]
pub struct KafkaLog {
    config: Config,
    own: Identity,
    /// True if the records name the incarnation and the settings.
    has_settings: bool,
    /// The nodes that the records are valid for, sorted. Empty: the records do not name them.
    nodes: Vec<NodeId>,
    /// Set if this node serves nothing, because its records belong to another cluster: the reason.
    refusal: Option<String>,
    /// True while recovery is between the start and the end of a snapshot.
    is_recovering_snapshot: bool,
    placement: Placement,
    partitions: Indexed<PartitionId, Partition>,
    /// The logs that this node has records of although `lin-kv` names another log for the
    /// partition.
    refused: Indexed<PartitionId, Partition>,
    /// The reason for unavailable partitions that was logged last.
    reported: Option<Reason>,
    links: BTreeMap<NodeId, Link>,
    /// The time at which this node last asked all peers whether they are up.
    asked_all_at: Option<Duration>,
    sends: Sends,
    polls: Polls,
    clients: Clients,
    traces: Traces,
    offsets: Gossip<Committed>,
    /// The largest size of the offsets of a request, as JSON: half of a line.
    offsets_bytes_max: usize,
    /// The offsets that this node itself has made durable.
    own_offsets: Committed,
    /// Until then a node that started greets no peer, unless a message comes first.
    silent_until: Option<Duration>,
    /// The time of the next timer that counts.
    tick_at: Option<Duration>,
}

impl Default for KafkaLog {
    fn default() -> Self {
        Self::new(Config::default(), gossip::Config::default())
    }
}

impl KafkaLog {
    /// A node that keeps nothing yet.
    #[must_use]
    pub fn new(config: Config, gossip: gossip::Config) -> Self {
        Self {
            placement: Placement::new(&[], config.partitions, config.replication),
            own: Identity { id: "".into(), life: 0, incarnation: 0 },
            has_settings: false,
            nodes: Vec::new(),
            refusal: None,
            is_recovering_snapshot: false,
            partitions: Indexed::default(),
            refused: Indexed::default(),
            reported: None,
            links: BTreeMap::new(),
            asked_all_at: None,
            sends: Sends::new(config.dedupe_window),
            polls: Polls::default(),
            clients: Clients::new(config.linger),
            traces: Traces::default(),
            // Every node reads lines of the default length.
            offsets_bytes_max: gossip.line_bytes_max.min(maelstrom_core::LINE_BYTES_MAX) / 2,
            offsets: Gossip::new(gossip, Committed::default()),
            own_offsets: Committed::default(),
            config,
            silent_until: None,
            tick_at: None,
        }
    }

    /// This node's state of a partition.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.partitions.get(&id)
    }

    /// The placement of partitions on nodes.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The committed offsets.
    #[must_use]
    pub fn committed(&self) -> &Committed {
        self.offsets.state()
    }

    fn keeps(&self, partition: PartitionId) -> bool {
        self.placement.keeps(&self.own.id, partition) && !self.refused.contains_key(&partition)
    }

    /// Adds a part of a snapshot of the partitions, from a position in partition `first` on.
    /// Returns the partition and the position at which the next part begins.
    fn snapshot_partitions(
        &self,
        (first, mut at): (PartitionId, Position),
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<(PartitionId, Position)>, Error> {
        let full = records.bytes().saturating_add(bytes_max.max(1));
        if !self.partitions.contains_key(&first) {
            at = 0;
        }
        for (id, partition) in self.partitions.range(first..) {
            let partition = self.refused.get(&id).unwrap_or(partition);
            loop {
                // Keys and records besides the entries can take more bytes than the entries.
                let left = full.saturating_sub(records.bytes());
                if left == 0 {
                    return Ok(Some((id, at)));
                }
                let bytes_max = left.min(self.config.batch_bytes);
                let next = partition.snapshot(at, bytes_max, records)?;
                at = next.unwrap_or(0);
                if next.is_none() {
                    break;
                }
            }
        }
        Ok(None)
    }

    fn is_alone(&self) -> bool {
        self.links.is_empty()
    }

    /// The high watermark of a partition with a single replica is the end of its log: an entry is
    /// committed as soon as all replicas have it.
    fn commit_sole_replicas(&mut self) {
        self.partitions.for_each_mut(|id, partition| {
            if self.placement.replicas(id) == [self.own.id.clone()] {
                partition.raise_high(partition.log.end());
            }
        });
    }

    /// The state of a partition. Creates it if there is none.
    fn open(&mut self, id: PartitionId) -> &mut Partition {
        let Config { rules, dedupe_window, .. } = self.config;
        let new = || Partition::new(id, rules).with_dedupe_window(dedupe_window);
        self.partitions.get_or_insert_with(id, new)
    }

    /// Probes all peers, once, when they have probably started.
    fn greet(&mut self, now: Duration) {
        if self.silent_until.take().is_some() {
            for link in self.links.values_mut() {
                link.probe(now);
            }
        }
    }

    /// Does everything that is due, and sets a timer for the next deadline.
    fn drive(&mut self, node: &mut Node<Event>) {
        let now = node.now();
        if self.silent_until.is_some_and(|until| until <= now) {
            self.greet(now);
        }
        self.retry_sends(node);
        self.retry_polls(node);
        self.drive_partitions(node);
        self.time_out_links(node);
        self.flush_links(node);
        let Some(next) = self.next_deadline(now) else { return };
        let next = next.max(now);
        if self.tick_at.is_none_or(|at| next < at) {
            self.tick_at = Some(next);
            node.set_timer(next.saturating_sub(now), Event::Tick);
        }
    }

    /// True if the client waits for an answer. Not known, and false, if many requests wait.
    fn waits(&self, client: &NodeId) -> bool {
        let (sends, polls) = (self.sends.clients(), self.polls.clients());
        self.sends.len() <= CLIENTS_MAX
            && self.polls.pending() <= CLIENTS_MAX
            && sends.chain(polls).any(|other| other == client)
    }

    /// How long a new item waits for others: not at all if none can come.
    fn linger(&self, now: Duration) -> Duration {
        let lingers = self.links.values().any(Link::lingers);
        if lingers && self.clients.all_wait(now, |client| self.waits(client)) {
            return Duration::ZERO;
        }
        self.config.linger
    }

    fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let (links, linger) = (self.links.values(), self.linger(now));
        let links = links.flat_map(|link| [link.due(linger), link.deadline()]);
        let (sends, polls) = (self.sends.next_due(), self.polls.next_due());
        // At once, but after the requests and messages that wait.
        let restart = self.partitions.restarting().map(|_| Duration::ZERO);
        let own = [self.silent_until, sends, polls, self.partitions.next_due(), restart];
        own.into_iter().chain(links).flatten().min()
    }

    fn persist(node: &mut Node<Event>, records: impl IntoIterator<Item = Record>) {
        for record in records {
            node.persist(&record);
        }
    }
}

impl MessageHandler for KafkaLog {
    type Payload = Payload;
    type Event = Event;

    const RECORD_FORMAT: Option<&'static str> = Some("kafka-log 1");

    const METRICS: &'static [&'static [&'static Metric]] =
        &[metrics::METRICS, gossip::metrics::METRICS];

    const REPLY_WITHIN: Option<Duration> = Some(Duration::from_secs(5));

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        match serde_json::from_slice::<Record>(record) {
            Ok(record) => self.recover_own(record),
            Err(_) => self.offsets.recover(record),
        }
    }

    fn snapshot_bytes(&self) -> Option<usize> {
        if self.partitions.restarting().is_some() {
            // A snapshot would lack the parts of the floor that are on the disk.
            return None;
        }
        // An empty partition takes the place of a refused log, and counts as well.
        let logs = self.partitions.bytes().saturating_add(self.refused.bytes());
        debug_assert_eq!(
            logs,
            self.partitions.recount_bytes().saturating_add(self.refused.recount_bytes())
        );
        Some(self.offsets.snapshot_bytes()?.saturating_add(logs))
    }

    fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        if from == SnapshotPosition::default() {
            records.add(&self.replica_record())?;
            records.add(&Record::Nodes(self.nodes.clone()))?;
            records.add(&Record::SnapshotStart)?;
        }
        let Some(section) = from.section.checked_sub(OFFSETS_SECTION + 1) else {
            let bytes_max = bytes_max.min(self.config.batch_bytes);
            let next = self.offsets.snapshot(from, bytes_max, records)?;
            let first = SnapshotPosition { section: OFFSETS_SECTION + 1, offset: 0 };
            return Ok(Some(next.unwrap_or(first)));
        };
        let id = PartitionId::try_from(section).unwrap_or(PartitionId::MAX);
        let next = self.snapshot_partitions((id, from.offset), bytes_max, records)?;
        let Some((id, offset)) = next else {
            records.add(&Record::SnapshotEnd)?;
            return Ok(None);
        };
        let section = u64::from(id).saturating_add(OFFSETS_SECTION + 1);
        Ok(Some(SnapshotPosition { section, offset }))
    }

    fn started(&mut self, node: &mut Node<Event>) {
        // 53 bits: any JSON parser keeps all digits of such a number.
        self.own.life = node.rng().next_u64() >> 11;
        self.own.id = node.id().clone();
        if self.own.incarnation == 0 {
            self.own.incarnation = (node.rng().next_u64() >> 11).max(1);
        }
        if !std::mem::replace(&mut self.has_settings, true) {
            node.persist(&self.replica_record());
        }
        self.check_nodes(node);
        if self.refusal.is_some() {
            return;
        }
        let Config { partitions, replication, .. } = self.config;
        self.placement = Placement::new(node.node_ids(), partitions, replication);
        self.links = node.peers().map(|peer| (peer, Link::default())).collect();
        self.offsets.start(node);
        self.own_offsets = self.offsets.state().clone();
        let jitter = Duration::from_millis(node.rng().random_range(0..200));
        let until = node.now().saturating_add(SILENCE).saturating_add(jitter);
        self.silent_until = (!self.is_alone()).then_some(until);
        self.commit_sole_replicas();
        // A partition that this node led before: read its record, and lead again in a new epoch if
        // no other node leads by now. Any other partition: an earlier life may have been about to
        // lead it, so check a little later whether another node leads.
        let own = self.own.id.clone();
        self.partitions.for_each_mut(|_, partition| {
            partition.end_recovery();
            let leads = partition.leader() == Some(&own);
            partition.metadata.is_wanted = leads;
            let wait = if leads { Duration::ZERO } else { SILENCE };
            partition.due_at = Some(until.saturating_add(wait));
        });
        self.drive(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        if let Some(why) = &self.refusal {
            return Err(Error::temporarily_unavailable(why.clone()));
        }
        let now = node.now();
        self.greet(now);
        if !matches!(payload, Payload::Packet(_) | Payload::Gossip(_)) {
            self.clients.hear(now, request.src(), self.waits(request.src()));
        }
        let result = match payload {
            Payload::Send { key, msg } => self.send(node, request, key, msg.into()),
            Payload::Poll { offsets } => self.poll(node, request, offsets),
            Payload::CommitOffsets { offsets } => self.commit_offsets(node, request, offsets),
            Payload::ListCommittedOffsets { keys } => {
                self.list_committed_offsets(node, request, keys)
            }
            Payload::Packet(packet) => self.packet_from(node, request.src(), packet),
            Payload::Gossip(message) => self.offsets.message_from(node, request.src(), message),
        };
        self.drive(node);
        result
    }

    fn gauges(&self, now: Duration, gauges: &mut Gauges) {
        self.collect_gauges(gauges);
        self.offsets.gauges(now, gauges);
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Tick => {
                if self.tick_at.is_some_and(|at| at <= node.now()) {
                    self.tick_at = None;
                    // Only a tick does this. Otherwise each message of a chunk would, before the
                    // next sync.
                    self.write_next_floor_part(node);
                }
            }
            Event::Gossip(tick) => return self.offsets.tick(node, tick),
            Event::Read(partition, result) => self.record_read(node, partition, result),
            Event::Swapped(partition, record, result) => {
                self.record_swapped(node, partition, record, result);
            }
        }
        self.drive(node);
    }
}
