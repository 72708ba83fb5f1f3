//! The settings that all nodes of a cluster must share.
//!
//! Some decide which partition a key is in, and which nodes keep it ([`Settings`]). The records on
//! a node's disk are valid with these settings only. A guarantee depends on the others
//! ([`Guarantees`]): it is as weak as on the node that gives the weakest one. Records stay valid
//! with other guarantees, so a cluster can change them.
//!
//! The invariants:
//!
//! * The first record that a node makes durable names its settings, and so does each snapshot. A
//!   node does not start from records with other settings.
//! * Records of earlier versions name no settings. The node accepts them if each of their keys is
//!   in its partition. It then adds a record with the settings.
//! * Another record names the nodes of the cluster, since they decide where partitions are. A node
//!   that gets another list in `init` serves nothing. If it served, a partition with only new
//!   replicas would start again, without its acknowledged messages. (A node that is new in the list
//!   has no records to compare with. It may still begin partitions that only new nodes keep.)
//! * Nodes exchange the settings of both kinds when they first meet ([`PeerSettings`]). A node logs
//!   one warning for a peer with other settings. It logs another one if that peer comes back with
//!   yet other settings. Peers of earlier versions do not name their guarantees, and are not
//!   compared by them.

use std::fmt;

use maelstrom_core::{Error, ErrorCode, Node, NodeId};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::wire::{PartitionId, Record};
use crate::{Acks, Config, Event, KafkaLog};

/// The settings with which records are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Number of partitions.
    pub partitions: PartitionId,
    /// Number of nodes that keep a partition; all, if there are fewer.
    pub replication: u64,
}

impl fmt::Display for Settings {
    /// Writes the settings as flags.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partitions, replication } = self;
        write!(f, "--partitions {partitions} --replication-factor {replication}")
    }
}

/// The settings that a guarantee for clients depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantees {
    /// Number of replicas that must be in sync. If all nodes have the same number, a partition is
    /// lost only if at least this many replicas lose their records.
    pub min_isr: u64,
    /// The time at which a leader acknowledges a send. It answers sends of other nodes' clients,
    /// too.
    pub acks: Acks,
    /// True if the node may lead a partition without the acknowledged messages of others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unclean_recovery: bool,
    /// Bytes of messages that a partition keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// How long messages are kept at least, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
}

impl fmt::Display for Guarantees {
    /// Writes the settings as flags.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acks = match self.acks {
            Acks::All => "all",
            Acks::Leader => "leader",
        };
        write!(f, " --min-isr {} --acks {acks}", self.min_isr)?;
        if self.unclean_recovery {
            write!(f, " --unclean-recovery")?;
        }
        if let Some(bytes) = self.retention_bytes {
            write!(f, " --retention-bytes {bytes}")?;
        }
        self.retention_ms.map_or(Ok(()), |ms| write!(f, " --retention-time {ms}ms"))
    }
}

/// The settings that a node names to its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSettings {
    /// Those with which its records are valid.
    #[serde(flatten)]
    pub records: Settings,
    /// Those that a guarantee depends on. `None`: the node is of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantees: Option<Guarantees>,
}

impl fmt::Display for PeerSettings {
    /// Writes the settings as flags.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.records.fmt(f)?;
        self.guarantees.map_or(Ok(()), |guarantees| guarantees.fmt(f))
    }
}

impl Config {
    /// The settings that a node names to its peers.
    #[must_use]
    pub fn peer_settings(&self) -> PeerSettings {
        let age_max = self.retention.age_max;
        let guarantees = Guarantees {
            min_isr: u64::try_from(self.in_sync_min).unwrap_or(u64::MAX),
            acks: self.acks,
            unclean_recovery: self.unclean_recovery,
            retention_bytes: self.retention.bytes_max.map(|bytes| bytes as u64),
            retention_ms: age_max.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        };
        PeerSettings { records: self.settings(), guarantees: Some(guarantees) }
    }

    /// The settings with which the node's records are valid.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let replication = u64::try_from(self.replication).unwrap_or(u64::MAX);
        Settings { partitions: self.partitions.max(1), replication: replication.max(1) }
    }
}

impl KafkaLog {
    /// The record that names this replica, and the settings with which its records are written.
    pub(crate) fn replica_record(&self) -> Record {
        Record::Replica { incarnation: self.own.incarnation, settings: self.config.settings() }
    }

    /// Compares the nodes in the records with those in `init`. If the records name none, writes a
    /// record with those of `init`.
    pub(crate) fn check_nodes(&mut self, node: &mut Node<Event>) {
        let mut nodes = node.node_ids().to_vec();
        nodes.sort_unstable();
        if self.nodes.is_empty() {
            node.persist(&Record::Nodes(nodes.clone()));
            self.nodes = nodes;
        } else if self.nodes != nodes {
            let text = format!(
                "the records were written by a cluster of the nodes {}, but this one has the nodes {}: \
                 start the cluster that it was before, or begin with empty folders",
                self.nodes.join(", "),
                nodes.join(", ")
            );
            error!("{text}");
            self.refusal = Some(text);
        }
    }

    /// Applies one record, of this version or of an earlier one. The records of committed offsets
    /// are not among them.
    ///
    /// # Errors
    ///
    /// Error 22 if the record was written with other settings. Error 13 if a record before it is
    /// missing.
    pub(crate) fn recover_own(&mut self, record: Record) -> Result<(), Error> {
        if !self.has_settings {
            self.check_places(&record)?;
        }
        let partition = match &record {
            Record::Replica { incarnation, settings } => {
                self.own.incarnation = *incarnation;
                self.has_settings = true;
                return self.check_settings(*settings);
            }
            Record::Incarnation(incarnation) => {
                self.own.incarnation = *incarnation;
                return Ok(());
            }
            Record::Nodes(nodes) => {
                self.nodes.clone_from(nodes);
                return Ok(());
            }
            Record::SnapshotStart | Record::SnapshotEnd => {
                self.is_recovering_snapshot = matches!(record, Record::SnapshotStart);
                let is_end = !self.is_recovering_snapshot;
                if is_end && self.partitions.iter().any(|(_, partition)| partition.lacks_floor()) {
                    return Err(Error::crash("a part of a floor is missing before this record"));
                }
                return Ok(());
            }
            Record::Epoch { partition, .. }
            | Record::Metadata { partition, .. }
            | Record::Append { partition, .. }
            | Record::Truncate { partition, .. }
            | Record::Floor { partition, .. }
            | Record::FloorPart { partition, .. }
            | Record::RestartPart { partition, .. } => *partition,
        };
        let retention = self.config.retention.clone();
        let is_partial = self.is_recovering_snapshot;
        if self.open(partition).recover(record, &retention, is_partial) {
            return Ok(());
        }
        Err(Error::crash("a record is missing before this one"))
    }

    /// Warns if a peer was started with other settings than this node.
    pub(crate) fn compare_settings(&self, peer: &NodeId, theirs: PeerSettings) {
        let own = self.config.peer_settings();
        let is_other = theirs.guarantees.is_some_and(|theirs| Some(theirs) != own.guarantees);
        if theirs.records != own.records || is_other {
            warn!(peer = %peer, %theirs, %own, "a peer has other settings: give all nodes the same ones");
        }
    }

    fn check_settings(&self, found: Settings) -> Result<(), Error> {
        let own = self.config.settings();
        if found == own {
            return Ok(());
        }
        let what = format!(
            "the records were written with {found}, but the node was started with {own}: start it \
             with the settings of the records, or with an empty folder"
        );
        Err(Error::new(ErrorCode::PreconditionFailed, what))
    }

    /// Refuses a record that cannot have been written with this number of partitions.
    fn check_places(&self, record: &Record) -> Result<(), Error> {
        let is_in = |id: PartitionId, key: &str| self.placement.partition(key) == id;
        let (id, is_in_place) = match record {
            Record::Replica { .. }
            | Record::Nodes(_)
            | Record::Incarnation(_)
            | Record::SnapshotStart
            | Record::SnapshotEnd => return Ok(()),
            Record::Append { partition: id, entries, .. } => {
                (*id, entries.iter().all(|entry| is_in(*id, &entry.key)))
            }
            Record::Floor { partition: id, floor }
            | Record::FloorPart { partition: id, floor, .. }
            | Record::RestartPart { partition: id, floor, .. } => {
                (*id, floor.next.keys().all(|key| is_in(*id, key)))
            }
            Record::Epoch { partition: id, .. }
            | Record::Metadata { partition: id, .. }
            | Record::Truncate { partition: id, .. } => (*id, *id < self.placement.partitions()),
        };
        if is_in_place {
            return Ok(());
        }
        let Settings { partitions, .. } = self.config.settings();
        let what = format!(
            "the records of partition {id} were not written with --partitions {partitions}: start \
             the node with the number of partitions that it had before, or with an empty folder"
        );
        Err(Error::new(ErrorCode::PreconditionFailed, what))
    }
}
