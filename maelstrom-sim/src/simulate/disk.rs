//! A simulated disk: records, and a snapshot that takes their place part by part.

use maelstrom_core::{Records, SnapshotPosition};

use super::machine::Program;

/// After so many records a snapshot begins. A real node waits much longer.
const RECORDS_BEFORE_SNAPSHOT: usize = 3;

/// What a machine has made durable.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) records: Vec<Vec<u8>>,
    /// About how many bytes a part of a snapshot holds. `None`: there are no snapshots.
    part_bytes: Option<usize>,
    /// How many records have been added since the last snapshot was taken or given up.
    since: usize,
    replacement: Option<Replacement>,
}

/// A snapshot that is not complete.
#[derive(Debug, Default)]
struct Replacement {
    records: Vec<Vec<u8>>,
    next_part: SnapshotPosition,
}

impl Disk {
    pub(super) fn new(part_bytes: Option<usize>) -> Self {
        Self { part_bytes, ..Self::default() }
    }

    /// A record is safe.
    pub(super) fn add(&mut self, record: Vec<u8>) {
        self.since += 1;
        if let Some(replacement) = &mut self.replacement {
            replacement.records.push(record.clone());
        }
        self.records.push(record);
    }

    /// The process has ended. A snapshot that it had not completed is gone.
    pub(super) fn crash(&mut self) {
        self.replacement = None;
    }

    /// Takes the next part of a snapshot of a node whose records are all safe, if there are to be any.
    ///
    /// # Panics
    ///
    /// If the node cannot write its snapshot.
    pub(super) fn take_part(&mut self, node: &dyn Program) {
        let Some(part_bytes) = self.part_bytes else { return };
        if node.snapshot_bytes().is_none() {
            return;
        }
        if self.replacement.is_none() && self.since < RECORDS_BEFORE_SNAPSHOT {
            return;
        }
        let replacement = self.replacement.get_or_insert_default();
        let mut add = |record: &[u8]| replacement.records.push(record.to_vec());
        let mut records = Records::new(&mut add);
        let next = node.snapshot(replacement.next_part, part_bytes, &mut records);
        assert!(next.is_ok(), "a snapshot cannot be written: {:?}", next.err());
        if let Ok(Some(next)) = next {
            replacement.next_part = next;
        } else if let Some(replacement) = self.replacement.take() {
            self.records = replacement.records;
            self.since = 0;
        }
    }
}
