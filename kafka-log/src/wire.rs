//! What nodes say to each other: packets of one type, `packet`, each with everything that its sender
//! has for its receiver at that moment; and what they keep in `lin-kv`.

use std::collections::BTreeMap;
use std::sync::Arc;

use maelstrom_core::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::meta::Metadata;
use crate::recovery::Holding;
use crate::settings::Settings;

/// Names a partition.
pub type PartitionId = u32;

/// How often a partition has changed its leader: the fencing token. The first is 1; 0 is none.
pub type Epoch = u64;

/// Names one log for ever: a random number, drawn when the partition is created, like Kafka's topic
/// id (KIP-516). Epochs and positions of different logs cannot be compared. 0: not known, in the
/// records of earlier versions.
pub type LogId = u64;

/// A place in a partition's log, over all of its keys. The first is 0.
pub type Position = u64;

/// Offsets by key.
pub type Offsets = BTreeMap<Arc<str>, u64>;

/// Messages by key, each with its offset.
pub type Messages = BTreeMap<Arc<str>, Vec<(u64, Arc<RawValue>)>>;

/// A node together with what it keeps. One that has lost its records is another replica.
///
/// On the wire: `[node, incarnation]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(NodeId, u64)", into = "(NodeId, u64)")]
pub struct ReplicaId {
    /// The node.
    pub node: NodeId,
    /// A number drawn at random when its records began.
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

/// Who sends: one life of one node, so that no two sends ever share a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producer {
    /// The node that took the send from its client.
    pub node: NodeId,
    /// Which life of it.
    pub life: u64,
}

/// One message in a partition's log.
///
/// On the wire: `[epoch, node, life, seq, key, message]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "WireEntry", into = "WireEntry")]
pub struct Entry {
    /// The epoch of the leader that appended it. With its position, this names the entry.
    pub epoch: Epoch,
    /// Who sent it.
    pub producer: Producer,
    /// Which of its producer's sends to this partition it is.
    pub seq: u64,
    /// Whose log it is in.
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
    /// Its length as JSON, in bytes.
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

/// The length of a text as JSON, in bytes, with its quotes and with what `serde_json` escapes.
pub(crate) fn string_len(text: &str) -> usize {
    let more = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | 8 | b'\t' | b'\n' | 12 | b'\r' => 1_usize,
        0..0x20 => 5,
        _ => 0,
    });
    more.fold(text.len().saturating_add(2), usize::saturating_add)
}

/// A leader tells a follower what comes next in its log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Append {
    /// Of which partition.
    pub partition: PartitionId,
    /// Of which log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_id: LogId,
    /// The leader's.
    pub epoch: Epoch,
    /// Where `entries` begin.
    pub at: Position,
    /// The epoch of the entry before that, 0 if there is none.
    pub prev: Epoch,
    /// The leader's high watermark.
    pub high: Position,
    /// Whether leader and follower are all the replicas that have to have an entry: what the
    /// follower has is committed then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sole: bool,
    /// In the order of their positions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Entry>,
    /// The entries before `at` in short, where they have been deleted: the follower begins anew, once
    /// it has all parts of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Box<FloorPart>>,
}

impl Append {
    /// Whether it brings a part of a floor, and not the last one.
    #[must_use]
    pub fn is_partial_floor(&self) -> bool {
        self.floor.as_ref().is_some_and(|part| part.more)
    }
}

/// What is left of the entries that have been deleted before a position.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// The position.
    pub at: Position,
    /// The epoch of the entry before it.
    pub epoch: Epoch,
    /// The next offset of every key.
    pub next: Offsets,
    /// For each producer a sequence number below which its sends are too old to be taken.
    pub producers: Vec<(NodeId, u64, u64)>,
}

/// A part of a [`Floor`] on its way to a follower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloorPart {
    /// Numbers the parts that a leader sends to a follower, from 1.
    pub number: u64,
    /// The part that the follower has confirmed last, 0 if there is none. It takes this one only if
    /// it still holds all up to that one.
    pub after: u64,
    /// Whether there is more to come before the floor can be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// The keys and producers that the leader does not know the follower to hold, or some of them.
    pub floor: Floor,
}

/// A follower tells its leader how much it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Of which partition.
    pub partition: PartitionId,
    /// Of which log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_id: LogId,
    /// The newest epoch that the follower knows.
    pub epoch: Epoch,
    /// Whether its log is the leader's, up to `end`.
    pub matched: bool,
    /// Where its log ends, or where to look for the place from which on it differs.
    pub end: Position,
    /// The epoch of the entry before `end`.
    pub last: Epoch,
    /// Its high watermark.
    pub high: Position,
    /// Whether it was sent something that does not follow what it has: something was lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gap: bool,
    /// The newest part of a floor that it holds, 0 if there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub floor_part: u64,
}

/// A client's send, passed on to the leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Send {
    /// To which partition.
    pub partition: PartitionId,
    /// Which of the sender's sends to this partition it is.
    pub seq: u64,
    /// To which key.
    pub key: Arc<str>,
    /// What.
    pub msg: Arc<RawValue>,
}

/// What came of a [`Send`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// To which partition.
    pub partition: PartitionId,
    /// Which of them.
    pub seq: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a [`Send`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is committed at this offset.
    Offset(u64),
    /// The node that was asked does not lead the partition.
    Ask {
        /// The leader, as far as that node knows.
        leader: Option<NodeId>,
        /// In this epoch.
        epoch: Epoch,
        /// Of this log.
        log_id: LogId,
    },
    /// Too few replicas are in sync, or no message can be taken: nothing has been appended.
    Refused,
}

/// Asks for what is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Names the question.
    pub id: u64,
    /// From where on, for each key.
    pub offsets: Offsets,
}

/// The answer to a [`Poll`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Polled {
    /// The question's.
    pub id: u64,
    /// What there is.
    pub msgs: Messages,
}

/// A replica tells another one what it holds of a partition of which `lin-kv` has no record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Of which partition.
    pub partition: PartitionId,
    /// What it holds.
    pub holding: Holding,
    /// Whether the sender asks the receiver for the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
}

/// Everything that one node has to tell another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Packet {
    /// Which life of the sender speaks: a number drawn at random when it began.
    pub life: u64,
    /// The incarnation of what the sender keeps.
    pub incarnation: u64,
    /// The life of the receiver that is spoken to; none if it is not known. Only who is meant may
    /// look at the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Numbers the packets to the receiver, from 1.
    pub number: u64,
    /// Within how many microseconds an answer is wanted, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<u64>,
    /// The newest packet of the receiver that wanted an answer, 0 if there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub echo: u64,
    /// The sender's settings, until the receiver is known to know the sender's life and to have been
    /// sent them once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// Goes with the settings: whether the sender holds anything of any partition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_records: bool,
    /// To a follower.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub appends: Vec<Append>,
    /// To a leader.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acks: Vec<Ack>,
    /// To a leader.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sends: Vec<Send>,
    /// From a leader.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Sent>,
    /// To a replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub polls: Vec<Poll>,
    /// From a replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub polled: Vec<Polled>,
    /// To a replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Found>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The body of a [`Packet`]: the handler's payload has the same variant.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Body<'a> {
    Packet(&'a Packet),
}

/// What a node makes durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first record: which replica this is.
    Replica {
        /// Which incarnation of its node.
        incarnation: u64,
        /// The settings with which all records are written.
        settings: Settings,
    },
    /// The nodes of the cluster, sorted: all records are valid for these only.
    Nodes(Vec<NodeId>),
    /// A snapshot begins, part by part. Records that were made between the parts are among them, and
    /// may be about entries that a later part brings.
    SnapshotStart,
    /// It ends.
    SnapshotEnd,
    /// The first record that earlier versions wrote, which did not name the settings.
    Incarnation(u64),
    /// A node has entered an epoch, and who leads in it.
    Epoch {
        /// Of which partition.
        partition: PartitionId,
        /// Of which log.
        #[serde(default, skip_serializing_if = "is_zero")]
        log_id: LogId,
        /// The epoch.
        epoch: Epoch,
        /// Its leader, if that is known.
        leader: Option<NodeId>,
        /// The leader's incarnation, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incarnation: Option<u64>,
    },
    /// A node has changed the record in `lin-kv`, or is about to.
    Metadata {
        /// Of which partition.
        partition: PartitionId,
        /// The newest version, with every replica that may be in sync.
        record: Metadata,
    },
    /// Entries have been appended.
    Append {
        /// To which partition.
        partition: PartitionId,
        /// Where.
        at: Position,
        /// The high watermark, as far as it was known.
        high: Position,
        /// What.
        entries: Vec<Entry>,
    },
    /// The entries from a position on have been removed.
    Truncate {
        /// Of which partition.
        partition: PartitionId,
        /// The position.
        to: Position,
    },
    /// The log begins anew behind what has been deleted elsewhere.
    Floor {
        /// Of which partition.
        partition: PartitionId,
        /// What is left of that.
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

    #[test]
    fn a_text_is_as_long_as_serde_json_writes_it() {
        for byte in 0..0x300 {
            let text: String = char::from_u32(byte).into_iter().collect();
            assert_eq!(string_len(&text), serde_json::to_string(&text).unwrap().len(), "{text:?}");
        }
    }
}
