//! The messages between nodes, the values in `lin-kv`, and the records on disk.
//!
//! Nodes exchange messages of one type, `packet`. Each packet has everything that its sender has
//! for its receiver at that moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use maelstrom_core::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::meta::Metadata;
use crate::recovery::Holding;
use crate::settings::{PeerSettings, Settings};

/// The number of a partition.
pub type PartitionId = u32;

/// A number that rises with every change of a partition's leader: the fencing token. The first
/// epoch is 1, and 0 means none.
pub type Epoch = u64;

/// The name of one log: a random number, drawn when the partition is created, like Kafka's topic id
/// (KIP-516). Epochs and positions of different logs cannot be compared. 0 means not known, in the
/// records of earlier versions.
pub type LogId = u64;

/// A place in a partition's log, over all of its keys. The first is 0.
pub type Position = u64;

/// Offsets by key.
pub type Offsets = BTreeMap<Arc<str>, u64>;

/// Messages by key, each with its offset.
pub type Messages = BTreeMap<Arc<str>, Vec<(u64, Arc<RawValue>)>>;

/// A node together with its records. A node that has lost its records is another replica.
///
/// On the wire: `[node, incarnation]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(NodeId, u64)", into = "(NodeId, u64)")]
pub struct ReplicaId {
    /// The node.
    pub node: NodeId,
    /// A random number, drawn when the node's records began.
    pub incarnation: u64,
}

impl From<(NodeId, u64)> for ReplicaId {
    fn from((node, incarnation): (NodeId, u64)) -> Self {
        Self { node, incarnation }
    }
}

impl From<ReplicaId> for (NodeId, u64) {
    fn from(id: ReplicaId) -> Self {
        (id.node, id.incarnation)
    }
}

/// The sender of a send: one life of one node. So no two sends ever share a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producer {
    /// The node that took the send from its client.
    pub node: NodeId,
    /// The life of the node.
    pub life: u64,
}

/// One message in a partition's log.
///
/// On the wire: `[epoch, node, life, seq, key, message]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "WireEntry", into = "WireEntry")]
pub struct Entry {
    /// The epoch of the leader that appended it. Epoch and position together name the entry.
    pub epoch: Epoch,
    /// The producer of its send.
    pub producer: Producer,
    /// The number of the send, among the producer's sends to this partition.
    pub seq: u64,
    /// The key to whose log it belongs.
    pub key: Arc<str>,
    /// Any JSON.
    pub msg: Arc<RawValue>,
}

type WireEntry = (Epoch, NodeId, u64, u64, Arc<str>, Arc<RawValue>);

impl From<WireEntry> for Entry {
    fn from((epoch, node, life, seq, key, msg): WireEntry) -> Self {
        Self { epoch, producer: Producer { node, life }, seq, key, msg }
    }
}

impl From<Entry> for WireEntry {
    fn from(entry: Entry) -> Self {
        let Producer { node, life } = entry.producer;
        (entry.epoch, node, life, entry.seq, entry.key, entry.msg)
    }
}

impl Entry {
    /// The length as JSON, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let texts = string_len(&self.producer.node).saturating_add(string_len(&self.key));
        let numbers = [self.epoch, self.producer.life, self.seq].map(number_len);
        let parts = numbers.into_iter().chain([self.msg.get().len(), ENTRY_PUNCTUATION]);
        parts.fold(texts, usize::saturating_add)
    }
}

/// Two brackets and five commas.
const ENTRY_PUNCTUATION: usize = 7;

/// The length of a number as JSON, in bytes.
pub(crate) fn number_len(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| (log as usize).saturating_add(1))
}

/// The length of a text as JSON, in bytes, with its quotes and the escapes of `serde_json`.
pub(crate) fn string_len(text: &str) -> usize {
    let mut len = text.len().saturating_add(2);
    // A plain loop is fast without optimization, too.
    for &byte in text.as_bytes() {
        let more = match byte {
            b'"' | b'\\' | 8 | b'\t' | b'\n' | 12 | b'\r' => 1,
            0..0x20 => 5,
            _ => continue,
        };
        len = len.saturating_add(more);
    }
    len
}

/// A leader sends a follower the next part of its log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Append {
    /// The partition.
    pub partition: PartitionId,
    /// The log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_id: LogId,
    /// The leader's epoch.
    pub epoch: Epoch,
    /// The position of the first entry.
    pub at: Position,
    /// The epoch of the entry before `at`, 0 if there is none.
    pub prev: Epoch,
    /// The leader's high watermark.
    pub high: Position,
    /// True if leader and follower are the only replicas that must have an entry. Everything that
    /// the follower has is then committed.
    #[serde(default, rename = "sole", skip_serializing_if = "std::ops::Not::not")]
    pub sole_follower: bool,
    /// Entries, in the order of their positions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Entry>,
    /// A part of the summary of the entries before `at`, if those have been deleted. The follower
    /// starts again from `at` once it has all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Box<FloorPart>>,
    /// The ids of the clients' requests that became entries, by position, if the leader traces
    /// requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<(Position, Arc<str>)>,
}

impl Append {
    /// True if the message has a part of a floor, and not the last one.
    #[must_use]
    pub fn is_partial_floor(&self) -> bool {
        self.floor.as_ref().is_some_and(|part| part.more)
    }
}

/// A summary of the entries before a position, which have been deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// The position.
    pub at: Position,
    /// The epoch of the entry before that position.
    pub epoch: Epoch,
    /// The next offset of each key.
    pub next: Offsets,
    /// For each producer, a sequence number. The log refuses sends of the producer below it as too
    /// old.
    pub producers: Vec<(NodeId, u64, u64)>,
}

/// A part of a [`Floor`] on its way to a follower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloorPart {
    /// The number of the part: a leader numbers the parts for a follower from 1.
    pub number: u64,
    /// The newest part that the follower has confirmed, 0 if there is none. The follower takes this
    /// part only if it still holds all parts up to that one.
    pub after: u64,
    /// True if more parts must come before the follower can use the floor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Some or all of the keys and producers that the follower is not known to hold.
    pub floor: Floor,
}

/// A follower tells its leader how far its log goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The partition.
    pub partition: PartitionId,
    /// The log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_id: LogId,
    /// The newest epoch that the follower knows.
    pub epoch: Epoch,
    /// True if its log equals the leader's up to `end`.
    pub matched: bool,
    /// The end of its log. If `matched` is false, the position that the leader must compare next.
    pub end: Position,
    /// The epoch of the entry before `end`.
    pub last: Epoch,
    /// The follower's high watermark.
    pub high: Position,
    /// True if the follower got entries that do not follow its log: entries before them were lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gap: bool,
    /// The newest part of a floor that the follower holds, 0 if there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub floor_part: u64,
}

/// A client's send that its node forwards to the leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Send {
    /// The partition.
    pub partition: PartitionId,
    /// The number of the send, among the sender's sends to this partition.
    pub seq: u64,
    /// The key.
    pub key: Arc<str>,
    /// The message.
    pub msg: Arc<RawValue>,
    /// The id of the client's request, if the sender traces requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Arc<str>>,
}

/// The outcome of a [`Send`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendOutcome {
    /// The partition of the send.
    pub partition: PartitionId,
    /// The number of the send.
    pub seq: u64,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome of a [`Send`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has this offset. It is committed, or only appended with `--acks leader`.
    Offset(u64),
    /// The receiver of the send does not lead the partition.
    #[serde(rename = "ask")]
    NotLeader {
        /// The leader, as far as the receiver knows.
        leader: Option<NodeId>,
        /// The epoch of that leader.
        epoch: Epoch,
        /// The log of that leader.
        log_id: LogId,
    },
    /// The leader appended nothing: too few replicas are in sync, or too many sends wait.
    Refused,
}

/// A poll for committed messages that a node forwards to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// The name of the poll.
    pub id: u64,
    /// The first offset, by key.
    pub offsets: Offsets,
    /// The id of the client's request, if the sender traces requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Arc<str>>,
}

/// The answer to a [`Poll`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Polled {
    /// The name of the poll.
    pub id: u64,
    /// The messages.
    pub msgs: Messages,
}

/// A replica describes its records of a partition that `lin-kv` has no record of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldingReport {
    /// The partition.
    pub partition: PartitionId,
    /// The description.
    pub holding: Holding,
    /// True if the sender asks the receiver for its own description.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
}

/// Everything that one node has for another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Packet {
    /// The life of the sender: a number drawn at random when the process started.
    pub life: u64,
    /// The incarnation of the sender's records.
    pub incarnation: u64,
    /// The life of the receiver, if the sender knows it. Only that life may use the items of the
    /// packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// The number of the packet: a sender numbers its packets to each receiver from 1.
    pub number: u64,
    /// The time within which the sender wants an answer, in microseconds, if it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<u64>,
    /// All packets of the receiver up to this number that wanted an answer have it, 0 if none came.
    /// Acknowledgements that did not fit into this packet hold the number back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub echo: u64,
    /// The sender's settings. It sends them until the receiver is known to know the sender's life
    /// and to have been sent them once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<PeerSettings>,
    /// With the settings: true if the sender holds anything of any partition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_records: bool,
    /// From the leader: entries for a follower.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub appends: Vec<Append>,
    /// From a follower: acknowledgements for the leader.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acks: Vec<Ack>,
    /// Forwarded sends, for the leader.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sends: Vec<Send>,
    /// From a leader: the outcomes of sends.
    #[serde(default, rename = "sent", skip_serializing_if = "Vec::is_empty")]
    pub send_outcomes: Vec<SendOutcome>,
    /// Forwarded polls, for a replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub polls: Vec<Poll>,
    /// From a replica: answers to polls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub polled: Vec<Polled>,
    /// Between replicas: descriptions of their records.
    #[serde(default, rename = "found", skip_serializing_if = "Vec::is_empty")]
    pub holdings: Vec<HoldingReport>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The body of a [`Packet`]. The handler's payload has the same variant.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Body<'a> {
    Packet(&'a Packet),
}

/// A record that a node makes durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first record: the identity of this replica.
    Replica {
        /// The incarnation of its node.
        incarnation: u64,
        /// The settings with which all records are written.
        settings: Settings,
    },
    /// The nodes of the cluster, sorted. All records are valid for this cluster only.
    Nodes(Vec<NodeId>),
    /// A snapshot begins. It comes in parts. Records that were made between the parts are among
    /// them, and may be about entries that a later part brings.
    SnapshotStart,
    /// A snapshot ends.
    SnapshotEnd,
    /// The first record that earlier versions wrote. It does not name the settings.
    Incarnation(u64),
    /// The node entered an epoch.
    Epoch {
        /// The partition.
        partition: PartitionId,
        /// The log.
        #[serde(default, skip_serializing_if = "is_zero")]
        log_id: LogId,
        /// The epoch.
        epoch: Epoch,
        /// The leader of the epoch, if it is known.
        leader: Option<NodeId>,
        /// The leader's incarnation, if it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incarnation: Option<u64>,
        /// True if the node led in this epoch, or if its whole log was known to equal the beginning
        /// of the leader's.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        matched: bool,
    },
    /// The node changed the record in `lin-kv`, or is about to.
    Metadata {
        /// The partition.
        partition: PartitionId,
        /// The newest version, with every replica that may be in sync.
        record: Metadata,
    },
    /// Entries were appended.
    Append {
        /// The partition.
        partition: PartitionId,
        /// The position of the first entry.
        at: Position,
        /// The high watermark, as far as the node knew it.
        high: Position,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// The entries from a position on were removed.
    Truncate {
        /// The partition.
        partition: PartitionId,
        /// The position.
        to: Position,
    },
    /// The log starts again behind entries that the leader has deleted.
    Floor {
        /// The partition.
        partition: PartitionId,
        /// The summary of the deleted entries.
        floor: Floor,
    },
    /// A part of a snapshot: numbers of keys and producers with deleted entries.
    FloorPart {
        /// The partition.
        partition: PartitionId,
        /// The position at which the part before this one ended: that of the summary in it, or the
        /// end of the log.
        from: Position,
        /// True if more parts must come before the log can use the summary.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
        /// The numbers of all keys and producers whose last deleted entries are between `from` and
        /// the position in this summary.
        floor: Floor,
    },
    /// A part of a leader's summary of deleted entries. The log starts again behind these entries
    /// with the last part. Until then it stays as it is.
    RestartPart {
        /// The partition.
        partition: PartitionId,
        /// The position in the part before this one. 0: this is the first part.
        #[serde(default, skip_serializing_if = "is_zero")]
        from: Position,
        /// True if more parts must come before the log starts again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
        /// Some of the summary's numbers. The position in the last part is the summary's. In an
        /// earlier part, the position only tells the order of the parts.
        floor: Floor,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_is_as_long_as_serde_json_writes_it(
            numbers: [u64; 3],
            shift in 0..64_u32,
            texts: [String; 3],
        ) {
            let [epoch, life, seq] = numbers.map(|number| number >> shift);
            let [node, key, msg] = texts;
            let producer = Producer { node: NodeId::from(node.as_str()), life };
            let msg: Arc<RawValue> = serde_json::value::to_raw_value(&msg).unwrap().into();
            let entry = Entry { epoch, producer, seq, key: key.as_str().into(), msg };
            let written = serde_json::to_string(&entry).unwrap();
            prop_assert_eq!(entry.encoded_len(), written.len(), "{}", written);
        }
    }

    /// Nodes of all versions use these names, whatever the names of the fields are.
    #[test]
    fn a_packet_has_fixed_names_on_the_wire() {
        let text = [
            r#"{"life":1,"incarnation":2,"to":3,"number":4,"within":5,"echo":6,"#,
            r#""settings":{"partitions":64,"replication":3,"guarantees":{"min_isr":2,"#,
            r#""acks":"leader","unclean_recovery":true,"retention_bytes":5,"retention_ms":6}},"#,
            r#""has_records":true,"appends":[{"partition":7,"log_id":8,"epoch":9,"at":1,"prev":2,"#,
            r#""high":3,"sole":true}],"#,
            r#""acks":[{"partition":7,"log_id":8,"epoch":9,"matched":true,"end":1,"last":2,"#,
            r#""high":3,"gap":true,"floor_part":4}],"sends":[{"partition":7,"seq":1,"key":"k","#,
            r#""msg":2}],"sent":[{"partition":7,"seq":1,"outcome":{"offset":2}},"#,
            r#"{"partition":7,"seq":3,"outcome":{"ask":{"leader":"n1","epoch":9,"log_id":8}}},"#,
            r#"{"partition":7,"seq":4,"outcome":"refused"}],"polls":[{"id":1,"offsets":{"k":2}}],"#,
            r#""polled":[{"id":1,"msgs":{"k":[[2,3]]}}],"found":[{"partition":7,"holding":"#,
            r#"{"log_id":8,"epoch":9,"leader":[9,["n1",1]],"last":9,"end":2,"known":{"log_id":8,"#,
            r#""version":1,"epoch":9,"leader":["n1",1],"in_sync":[["n1",1]],"#,
            r#""eligible":[["n2",2]]}},"asks":true}]}"#,
        ];
        let text = text.concat();
        let packet: Packet = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&packet).unwrap(), text);
    }

    #[test]
    fn ids_of_requests_have_fixed_names_on_the_wire() {
        let text = [
            r#"{"life":1,"incarnation":2,"number":4,"appends":[{"partition":7,"epoch":9,"at":1,"#,
            r#""prev":2,"high":3,"requests":[[1,"n1/c1/5"]]}],"sends":[{"partition":7,"seq":1,"#,
            r#""key":"k","msg":2,"request":"n1/c1/6"}],"polls":[{"id":1,"offsets":{"k":2},"#,
            r#""request":"n1/c1/7"}]}"#,
        ];
        let text = text.concat();
        let packet: Packet = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&packet).unwrap(), text);
    }

    #[test]
    fn a_text_is_as_long_as_serde_json_writes_it() {
        for byte in 0..0x300 {
            let text: String = char::from_u32(byte).into_iter().collect();
            assert_eq!(string_len(&text), serde_json::to_string(&text).unwrap().len(), "{text:?}");
        }
    }
}
