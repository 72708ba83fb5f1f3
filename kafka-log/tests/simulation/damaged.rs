//! Nodes whose file of records is sometimes damaged when they start.
//!
//! The damage can be at any record, and so at the last one. The store of a real node does not read
//! such a file: the node refuses to start, and starts without records after somebody has removed
//! the folder. A simulated disk only grows. So a mark on it tells how many of the records before it
//! are left.

use kafka_log::{Config, Event, KafkaLog, Payload, Rules};
use maelstrom_core::{Error, MessageHandler, Node, Records, Request, SnapshotPosition, gossip};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The fate of a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The file is never damaged.
    Lucky,
    /// The node notices the damage, and somebody removes the file.
    Refuses,
    /// The node reads the records before the damage, as if there had never been others.
    Cuts,
}

/// Number of records before this one that are left.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    records_left: usize,
}

/// A node of a cluster in which two replicas must be in sync.
pub(crate) struct Damaged {
    handler: KafkaLog,
    reader: Reader,
    file: Vec<Vec<u8>>,
    /// False until the handler has its records. Until then there is no snapshot, either.
    is_started: bool,
}

impl Damaged {
    pub(crate) fn new(reader: Reader, rules: Rules) -> Self {
        let config = Config { partitions: 2, in_sync_min: 2, rules, ..Config::default() };
        let handler = KafkaLog::new(config, gossip::Config::default());
        Self { handler, reader, file: Vec::new(), is_started: false }
    }

    /// Damages the file in every second life.
    fn damage(&mut self, node: &mut Node<Event>) {
        let is_whole = self.file.is_empty() || node.rng().random_bool(0.5);
        if is_whole || self.reader == Reader::Lucky {
            return;
        }
        // In half of the cases, the damage is at the last record.
        let last = self.file.len().saturating_sub(1);
        let first = if node.rng().random_bool(0.5) { last } else { 0 };
        let damaged = node.rng().random_range(first..=last);
        let records_left = if self.reader == Reader::Cuts { damaged } else { 0 };
        self.file.truncate(records_left);
        node.persist(&Mark { records_left });
    }
}

impl MessageHandler for Damaged {
    type Payload = Payload;
    type Event = Event;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        match serde_json::from_slice::<Mark>(record) {
            Ok(mark) => self.file.truncate(mark.records_left),
            Err(_) => self.file.push(record.to_vec()),
        }
        Ok(())
    }

    fn snapshot_bytes(&self) -> Option<usize> {
        self.is_started.then(|| self.handler.snapshot_bytes()).flatten()
    }

    fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        self.handler.snapshot(from, bytes_max, records)
    }

    fn started(&mut self, node: &mut Node<Event>) {
        self.damage(node);
        self.is_started = true;
        for record in std::mem::take(&mut self.file) {
            self.handler.recover(&record).unwrap();
        }
        self.handler.started(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        self.handler.message(node, request, payload)
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        self.handler.event(node, event);
    }
}
