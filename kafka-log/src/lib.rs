//! Challenge 5: logs of messages, replicated as Kafka replicates them.
//!
//! Keys hash onto a fixed number of partitions, partitions onto nodes ([`Placement`]). A partition is
//! one log ([`PartitionLog`]) in which the messages of its keys stand in the order they came; a key's
//! offsets count its own. One replica leads: it appends, the others follow, and what all replicas
//! *in sync* have is committed: acknowledged, shown to polls, and never lost while one of them keeps
//! its records.
//!
//! # Who leads
//!
//! A record in `lin-kv` ([`Metadata`]) names the leader, its epoch, and who is in sync. It is changed
//! by compare-and-set only, created when a partition is first written to, and not looked at while all
//! goes well: in steady state `lin-kv` gets no message. The epoch is the fencing token. It is in every
//! word of replication; an older one is refused, and a leader that hears a newer one steps down.
//!
//! * Only a replica that is in sync can take over, since only these are sure to have all that is
//!   committed. With `--min-isr`, replicas that left while nothing could be committed can as well, if
//!   all others are gone (KIP-966, see [`Metadata::eligible`]).
//! * In a new epoch a follower first cuts its log back to where it is the leader's: by the epochs of
//!   the entries (KIP-101), never by how long it is or what it took to be committed.
//! * A leader counts an entry as committed when everybody has it who *might* be in sync: a
//!   compare-and-set whose outcome is not known may have come true, or may yet.
//! * A leader that restarts begins a new epoch before it serves. So does whoever turns out to have been
//!   made leader without having heard so.
//! * A replica is a node *and an incarnation*, drawn when its records begin. Who comes back with its
//!   records is the same replica; who comes back without is another one, out of sync until it has
//!   caught up, and its old self is taken out. If no such replica has its records any more, the messages
//!   are gone, and the partition stays unavailable: no election makes that look well.
//! * If `lin-kv` has no record of a partition that nodes keep records of, all replicas compare what
//!   they hold, and the most complete log goes on ([`Comparison`]).
//! * Each log has a random name. What is said of a log of another name is refused.
//!
//! # What is said
//!
//! All that one node has for another goes into one packet: entries, acknowledgements, high watermarks,
//! sends passed on and their outcomes, polls. While an answer is under way what is new waits for it, so
//! under load a round trip is a packet each way. New items also wait for `--linger`, 1 ms unless
//! told otherwise: with a thousand operations a second that saves a third of the packets.
//!
//! * A packet has one budget of bytes for all that it holds, half of the longest line that a node
//!   reads. The rest stays queued, in order, for the next packet. A send for which the queues have
//!   no room is refused at once, with error 11.
//! * A send that its node passes on comes back as an entry. If the node and the leader are all that
//!   have to have it, having it is knowing that it is committed: two packets for a send, whoever takes
//!   it.
//! * Acknowledgements are watermarks: lost, repeated or late ones do no harm. So are high watermarks,
//!   which go along, and by themselves only when nothing else goes for a while.
//! * A peer that does not answer in time is asked again, and after a while taken to be down. Nothing
//!   is asked of anybody while nobody waits for anything: an idle cluster is silent.
//! * A follower that lags behind what has been deleted begins anew. It is told in bounded parts what
//!   is left of that, and uses it once it has all of it.
//! * A follower that lags gets the entries in bounded pieces, and is in sync again once it has reached
//!   the end; the more often it fell behind, the longer it must keep up first.
//!
//! # What clients see
//!
//! * A send is named by its node's life and a sequence number, and no log takes a name twice: it can be
//!   passed on again, and to the next leader, without appearing twice. It is answered within 4 s. An
//!   error is definite only if nothing can have happened; if the outcome is not known, it says so.
//! * A poll is answered from the node's own replica, up to the high watermark that it knows; only for
//!   keys that it does not keep it asks another node.
//! * Committed offsets gossip, and only rise ([`Committed`]). They are acknowledged once the node that
//!   took them has made them durable, and everywhere a little later. Only that node has them on its
//!   disk: another node that restarts lists lower offsets than before, until it hears from a node that
//!   has them.
//!
//! What is acknowledged is made durable before it is said, if the node's driver keeps records.
//!
//! [`life_of_a_send`] follows one message through the code.
//!
//! # Layout
//!
//! | module | what it is for |
//! |---|---|
//! | `placement`, `log`, `meta`, `offsets` | keys and nodes, one log, the record in `lin-kv`, committed offsets |
//! | `leader`, `partition`, `role` | the two sides of replication: state machines that know no `Node` |
//! | `floor` | what is left of deleted messages, on its way to a follower that begins anew |
//! | `link` | one peer: its lives, and when something is to be said to it |
//! | `failure_detector` | round trips with a peer, and whether it answers |
//! | `queue` | what waits for a peer, and the budget of a packet |
//! | `sends`, `polls` | what clients wait for |
//! | `indexed` | a map that finds what is due without looking at the rest |
//! | `recovery` | who goes on with a partition that `lin-kv` has no record of |
//! | `packets`, `packing`, `sending`, `reading`, `electing`, `recovering` | the handler, by what it does |
//! | `wire`, `args` | what nodes say and keep; flags |
//! | `settings` | which flags the records go with |
//! | `rules` | the rules of the protocol, which tests break one by one |
//!
//! The ideas: Kreps et al., *Kafka: a Distributed Messaging System for Log Processing* (2011), and
//! Kafka's design of replication and its KIPs 98 (idempotent producers), 101 and 279 (leader epochs),
//! and 516 (topic identifiers).

mod args;
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
mod wire;

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
pub use log::{PartitionLog, Retention, Seen, WINDOW};
pub use meta::Metadata;
pub use offsets::{Committed, Rise};
pub use partition::Partition;
pub use placement::Placement;
pub use recovery::{Comparison, Decision, Holding, Reason, UNCLEAN_AFTER, UNCLEAN_EPOCHS};
pub use rules::{Rule, Rules};
pub use settings::Settings;
pub use wire::{
    Ack, Append, Entry, Epoch, Floor, FloorPart, Found, LogId, Messages, Offsets, Outcome, Packet,
    PartitionId, Poll, Polled, Position, Producer, Record, ReplicaId, Send, Sent,
};

use indexed::Indexed;
use link::Link;
use polls::Polls;
use sends::Sends;

/// The longest message that is taken by default, with its key, as JSON. It still goes into a line for
/// other nodes.
pub const MESSAGE_BYTES_MAX: usize = maelstrom_core::LINE_BYTES_MAX / 4;

/// The shortest period in which committed offsets gossip: they are a few messages, and nobody waits.
pub const GOSSIP_PERIOD_MIN: Duration = Duration::from_secs(1);

/// How long a node that begins waits before it greets the others, who may not have been started.
const SILENCE: Duration = Duration::from_millis(500);

/// The section of a snapshot that holds the committed offsets. Those behind it are the partitions.
/// The offsets come first, so that their snapshot has begun before any record is made that is to
/// follow it.
const OFFSETS_SECTION: u64 = 0;

/// What the node understands.
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
    /// Asks for messages.
    Poll {
        /// From which offset on, of each key.
        offsets: Offsets,
    },
    /// Commits offsets.
    CommitOffsets {
        /// Of each key, the offset up to which messages have been processed.
        offsets: Offsets,
    },
    /// Asks for committed offsets.
    ListCommittedOffsets {
        /// Of these keys.
        keys: Vec<Arc<str>>,
    },
    /// From another node: about logs.
    Packet(Packet),
    /// From another node: about committed offsets.
    Gossip(gossip::Message<Committed>),
}

/// What the node answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The message is stored.
    SendOk {
        /// Its offset.
        offset: u64,
    },
    /// Messages, as many as there are or go into a reply.
    PollOk {
        /// Of each key that has any: offsets and messages, without gaps.
        msgs: Messages,
    },
    /// The offsets are committed.
    CommitOffsetsOk,
    /// What is committed.
    ListCommittedOffsetsOk {
        /// Of each key that has one.
        offsets: Offsets,
    },
}

/// What timers and calls bring back.
#[derive(Debug)]
pub enum Event {
    /// Something may have to be done.
    Tick,
    /// The same for committed offsets.
    Gossip(Tick),
    /// `lin-kv` was asked for a partition's record.
    Read(PartitionId, Result<Option<Metadata>, RpcError>),
    /// A partition's record was to become this one.
    Swapped(PartitionId, Metadata, Result<Cas, RpcError>),
}

impl From<Tick> for Event {
    fn from(tick: Tick) -> Self {
        Self::Gossip(tick)
    }
}

/// Who this node is.
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

/// The handler.
#[derive(Debug)]
pub struct KafkaLog {
    config: Config,
    own: Identity,
    /// Whether the records name the incarnation and the settings.
    has_settings: bool,
    /// The nodes that the records are valid for, sorted. Empty: the records do not say.
    nodes: Vec<NodeId>,
    /// Why this node serves nothing, if that is so: its records are of another cluster.
    refusal: Option<String>,
    /// Whether a snapshot is being recovered.
    is_recovering_snapshot: bool,
    placement: Placement,
    partitions: Indexed<PartitionId, Partition>,
    /// What this node has records of, although `lin-kv` names another log.
    refused: Indexed<PartitionId, Partition>,
    /// Why partitions are unavailable, as was logged last.
    reported: Option<Reason>,
    links: BTreeMap<NodeId, Link>,
    sends: Sends,
    polls: Polls,
    offsets: Gossip<Committed>,
    /// What of them this node itself has made durable.
    own_offsets: Committed,
    /// Until then a new node greets nobody, unless it is spoken to.
    silent_until: Option<Duration>,
    /// When the next tick comes that counts.
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
            sends: Sends::new(config.window),
            polls: Polls::default(),
            offsets: Gossip::new(gossip, Committed::default()),
            own_offsets: Committed::default(),
            config,
            silent_until: None,
            tick_at: None,
        }
    }

    /// What this node knows of a partition.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.partitions.get(&id)
    }

    /// Where partitions are kept.
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

    /// Adds a part of a snapshot of the partitions, from a position in one of them on. Returns where
    /// the next part begins.
    fn snapshot_partitions(
        &self,
        (first, mut at): (PartitionId, Position),
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<(PartitionId, Position)>, Error> {
        let mut left = bytes_max.max(1);
        if !self.partitions.contains_key(&first) {
            at = 0;
        }
        for (id, partition) in self.partitions.range(first..) {
            let partition = self.refused.get(&id).unwrap_or(partition);
            loop {
                if left == 0 {
                    return Ok(Some((id, at)));
                }
                let bytes_max = left.min(self.config.batch_bytes);
                let (bytes, next) = partition.snapshot(at, bytes_max, records)?;
                left = left.saturating_sub(bytes);
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

    /// The state of a partition, new if there is none.
    fn open(&mut self, id: PartitionId) -> &mut Partition {
        let Config { rules, window, .. } = self.config;
        let new = || Partition::new(id, rules).with_window(window);
        self.partitions.get_or_insert_with(id, new)
    }

    /// Greets everybody, once it is sure that they have been started.
    fn greet(&mut self, now: Duration) {
        if self.silent_until.take().is_some() {
            for link in self.links.values_mut() {
                link.probe(now);
            }
        }
    }

    /// Does all that is due, and has itself woken for the rest.
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
        let Some(next) = self.next_deadline() else { return };
        let next = next.max(now);
        if self.tick_at.is_none_or(|at| next < at) {
            self.tick_at = Some(next);
            node.set_timer(next.saturating_sub(now), Event::Tick);
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let links = self.links.values();
        let links = links.flat_map(|link| [link.due(self.config.linger), link.deadline()]);
        let (sends, polls) = (self.sends.next_due(), self.polls.next_due());
        let own = [self.silent_until, sends, polls, self.partitions.next_due()];
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
        // What stands for a refused log among the partitions is empty, and counts as such.
        let logs = self.partitions.bytes().saturating_add(self.refused.bytes());
        debug_assert_eq!(logs, self.partitions.sum().saturating_add(self.refused.sum()));
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
        // 53 bits, so that any JSON parser keeps all their digits.
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
        // What it led it leads again, in a new epoch, if nobody else does by now; and what it may
        // have been about to lead, unless somebody else turns out to lead it.
        let own = self.own.id.clone();
        self.partitions.for_each_mut(|_, partition| {
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
        let result = match payload {
            Payload::Send { key, msg } => self.send(node, request, key, msg.into()),
            Payload::Poll { offsets } => self.poll(node, request, offsets),
            Payload::CommitOffsets { offsets } => {
                self.commit_offsets(node, request, offsets);
                Ok(())
            }
            Payload::ListCommittedOffsets { keys } => {
                self.list_committed_offsets(node, request, keys);
                Ok(())
            }
            Payload::Packet(packet) => self.packet_from(node, request.src(), packet),
            Payload::Gossip(message) => self.offsets.message_from(node, request.src(), message),
        };
        self.drive(node);
        result
    }

    fn gauges(&self, now: Duration, gauges: &mut Gauges) {
        self.tell_gauges(gauges);
        self.offsets.gauges(now, gauges);
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Tick => {
                if self.tick_at.is_some_and(|at| at <= node.now()) {
                    self.tick_at = None;
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
