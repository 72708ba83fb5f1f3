//! A partition on disk: the records of a snapshot, and how a node recovers them.
//!
//! A snapshot has three sections: the summary of the deleted entries in parts, the other entries,
//! and the rest of the state. Its position is a position of the log, so nothing else is remembered
//! between two parts.

use std::time::Duration;

use maelstrom_core::{Error, Records};

use super::Partition;
use crate::log::Retention;
use crate::role::{LogMatch, Role};
use crate::wire::{Floor, Position, Record, ReplicaId};

/// Estimated size of an entry in a record beside its message, in bytes.
const ENTRY_BYTES: usize = 96;

/// Estimated size of a record with a part of a floor beside the numbers in it, in bytes.
const FLOOR_PART_BYTES: usize = 160;

impl Partition {
    /// Estimated size of a [`snapshot`](Self::snapshot), in bytes.
    pub(super) fn snapshot_bytes(&self) -> usize {
        let entries = self.log.end().saturating_sub(self.log.start());
        let names = usize::try_from(entries).unwrap_or(usize::MAX).saturating_mul(ENTRY_BYTES);
        let bytes = [self.log.bytes(), names, self.log.floor_bytes(), ENTRY_BYTES];
        bytes.into_iter().fold(0, usize::saturating_add)
    }

    /// Adds the records of a snapshot from a position on: about `bytes_max` bytes of the summary of
    /// deleted entries or of entries or, behind the last entry, all other records. Returns the
    /// position of the next part. `None`: this was the last part.
    ///
    /// The log may have changed since the last part. If it was truncated below `at`, the record of
    /// that is among those of the snapshot. If entries from `at` on have been deleted, the snapshot
    /// goes on with the summary of these.
    pub(crate) fn snapshot(
        &self,
        at: Position,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<Position>, Error> {
        let (partition, high) = (self.id, self.high);
        if at < self.log.start() {
            let floor = self.log.floor_part(at, bytes_max.saturating_sub(FLOOR_PART_BYTES));
            let (more, next) = (floor.at < self.log.start(), floor.at);
            records.add(&Record::FloorPart { partition, from: at, more, floor })?;
            return Ok(Some(next));
        }
        let entries = self.log.entries(at, bytes_max);
        if !entries.is_empty() {
            let next = at.saturating_add(entries.len() as u64);
            records.add(&Record::Append { partition, at, high, entries })?;
            return Ok(Some(next));
        }
        // At recovery each record sets the epoch again, so the newest epoch comes last.
        let older = [self.matched_record(), self.last_leader_record()];
        for record in older.into_iter().flatten() {
            records.add(&record)?;
        }
        records.add(&self.epoch_record())?;
        if let Some(record) = self.last_proposal.clone() {
            records.add(&Record::Metadata { partition, record })?;
        }
        Ok(None)
    }

    /// Applies a record that this node made durable in an earlier life. Returns false if the record
    /// does not fit the ones before it. While a snapshot is being recovered, the log `is_partial`:
    /// entries that leave a gap come again later.
    pub(crate) fn recover(
        &mut self,
        record: Record,
        retention: &Retention,
        is_partial: bool,
    ) -> bool {
        match record {
            Record::FloorPart { from, more, floor, .. } => {
                if !self.recover_floor_part(from, more, floor) {
                    return false;
                }
            }
            _ if self.lacks_floor() && !is_partial => return false,
            Record::Replica { .. }
            | Record::Nodes(_)
            | Record::Incarnation(_)
            | Record::SnapshotStart
            | Record::SnapshotEnd => return false,
            Record::Epoch { log_id, epoch, leader, incarnation, matched, .. } => {
                if matched {
                    self.matched = epoch;
                }
                (self.log_id, self.epoch) = (log_id, epoch);
                let led = leader.clone().zip(incarnation).map(ReplicaId::from);
                self.last_leader = led.map(|led| (epoch, led)).or(self.last_leader.take());
                self.role = Role::follower(leader, self.log.end());
            }
            Record::Metadata { record, .. } => self.last_proposal = Some(record),
            Record::Append { at, high, entries, .. } => {
                if at != self.log.end() && !is_partial {
                    return false;
                }
                if at <= self.log.end() {
                    self.extend(at, entries, high, retention, Duration::ZERO);
                    self.raise_high(high);
                }
            }
            Record::Truncate { to, .. } => {
                self.log.truncate(to);
                self.high = self.high.min(self.log.end());
            }
            Record::Floor { floor, .. } => {
                self.partial_floor = None;
                self.high = floor.at;
                self.log.reset(floor);
            }
            Record::RestartPart { from, more, floor, .. } => {
                if !self.recover_restart_part(from, more, floor) {
                    return false;
                }
            }
        }
        self.set_log_match(LogMatch::Unknown { guess: self.log.end() });
        true
    }

    /// True while recovery has read some parts of a floor, and not the last one.
    pub(crate) fn lacks_floor(&self) -> bool {
        self.partial_floor.is_some()
    }

    /// Takes a part of a floor from which the log starts again. Returns false if a part before this
    /// one is missing.
    fn recover_restart_part(&mut self, from: Position, more: bool, floor: Floor) -> bool {
        // The first part ends a restart that an earlier life did not finish.
        let parts = self.partial_restart.take().filter(|_| from > 0);
        let mut log = match parts {
            None if from == 0 => Box::new(self.log.emptied()),
            Some(log) if log.end() == from => log,
            _ => return false,
        };
        log.advance(floor);
        if more {
            self.partial_restart = Some(log);
        } else {
            self.partial_floor = None;
            (self.high, self.log) = (log.end(), *log);
        }
        true
    }

    /// Drops the parts of a restart that an earlier life did not finish: the old log goes on.
    pub(crate) fn end_recovery(&mut self) {
        self.partial_restart = None;
    }

    /// Takes a part of a floor. The log stays as it is until the last part. Returns false if a part
    /// before this one is missing.
    fn recover_floor_part(&mut self, from: Position, more: bool, floor: Floor) -> bool {
        if floor.at <= self.log.end() {
            // Records that the node made during the snapshot brought the whole log.
            self.partial_floor = None;
            return true;
        }
        let mut whole = match self.partial_floor.take() {
            Some(parts) if parts.at == from => parts,
            None if self.log.end() == from => Box::default(),
            _ => return false,
        };
        (whole.at, whole.epoch) = (floor.at, floor.epoch);
        whole.next.extend(floor.next);
        whole.producers.extend(floor.producers);
        if more {
            self.partial_floor = Some(whole);
        } else {
            self.high = whole.at;
            self.log.advance(*whole);
        }
        true
    }
}
