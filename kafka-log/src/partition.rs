//! One partition as one node sees it: its log, its leader, and its high watermark.
//!
//! A follower's side of replication is here. The leader's side is in [`Leader`]. The invariants:
//!
//! * The epoch never falls, and is durable before the node sends anything in it. So a replica that
//!   has once followed a newer leader never obeys an older one.
//! * A follower appends and acknowledges only once its log is known to be a prefix of its leader's.
//!   In each epoch it first truncates the entries that the leader does not have. It finds them by
//!   the epochs of the entries, never by its own high watermark (KIP-101).
//! * The high watermark never falls, and nothing below it is ever truncated. An [unclean
//!   recovery](crate::recovery) is the only exception.
//! * A follower that starts again behind deleted entries keeps its old log until the new one is
//!   whole on the disk.
//! * A partition follows one log. It refuses messages about a log of another name.
//! * A replica that is the only one of its partition commits its whole log when it restarts.

mod saved;

use std::time::Duration;

use maelstrom_core::NodeId;
use tracing::warn;

use crate::floor::{RECORD_BYTES, Restart, RestartPart};
use crate::indexed::{Index, IndexKeys};
use crate::leader::Leader;
use crate::log::{PartitionLog, Retention, SendLookup};
use crate::meta::Metadata;
use crate::recovery::{Holding, Reason, Recovery, UNCLEAN_EPOCHS};
use crate::role::{LogMatch, Role};
use crate::rules::{Rule, Rules};
use crate::wire::{
    Ack, Append, Entry, Epoch, Floor, LogId, PartitionId, Position, Record, ReplicaId,
};

/// The state of this node's requests to `lin-kv` about a partition's record.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetadataRequest {
    /// True if the node must read the record.
    pub(crate) is_wanted: bool,
    /// The time since which it must.
    pub(crate) since: Duration,
    /// True while a reply of `lin-kv` is awaited.
    pub(crate) is_busy: bool,
    /// True while that reply is the outcome of a compare-and-set.
    pub(crate) is_swapping: bool,
    /// The earliest time of the next request.
    pub(crate) not_before: Duration,
}

/// The state of a partition.
#[derive(Clone, Debug)]
pub struct Partition {
    id: PartitionId,
    rules: Rules,
    pub(crate) log: PartitionLog,
    /// The log's name, 0 while it is not known.
    log_id: LogId,
    /// The high watermark: everything below it is committed, as far as this node knows.
    high: Position,
    epoch: Epoch,
    /// The newest epoch in which this node led, or in which its whole log was known to equal the
    /// beginning of the leader's. It is durable.
    matched: Epoch,
    /// The role of this node in `epoch`.
    pub(crate) role: Role,
    /// The newest leader that this node heard from, and its epoch. It is durable, and never
    /// forgotten.
    last_leader: Option<(Epoch, ReplicaId)>,
    /// The newest change of the record in `lin-kv` that this node asked for, with every replica
    /// that may be in sync since.
    last_proposal: Option<Metadata>,
    pub(crate) metadata: MetadataRequest,
    /// The comparison of the replicas, if `lin-kv` has no record.
    pub(crate) recovery: Option<Recovery>,
    /// The parts of a floor that recovery has read, as long as the last part is missing.
    partial_floor: Option<Box<Floor>>,
    /// The new log of which recovery has read some parts of the floor, as long as the last part is
    /// missing.
    partial_restart: Option<Box<PartitionLog>>,
    /// The time of the last change of the epoch.
    pub(crate) changed_at: Duration,
    /// The time at which something is due.
    pub(crate) due_at: Option<Duration>,
}

impl Index for Partition {
    /// It waits for the followers that lack something. Its size is the size of its snapshot.
    fn index_keys(&self) -> IndexKeys {
        let lagging = self.role.as_leader().into_iter();
        let lagging = lagging.flat_map(|leader| leader.lagging(self.log.end(), self.high));
        IndexKeys {
            due_at: self.due_at,
            waits_for: lagging.cloned().collect(),
            bytes: self.snapshot_bytes(),
            is_restarting: self.is_restarting(),
        }
    }

    fn is_restarting(&self) -> bool {
        self.role.as_follower().is_some_and(|follower| follower.restart.is_some())
    }
}

impl Partition {
    /// A partition without any state.
    #[must_use]
    pub fn new(id: PartitionId, rules: Rules) -> Self {
        Self {
            id,
            rules,
            log: PartitionLog::default(),
            log_id: 0,
            high: 0,
            epoch: 0,
            matched: 0,
            role: Role::follower(None, 0),
            last_leader: None,
            last_proposal: None,
            metadata: MetadataRequest::default(),
            recovery: None,
            partial_floor: None,
            partial_restart: None,
            changed_at: Duration::ZERO,
            due_at: None,
        }
    }

    /// The same with an empty log that remembers `dedupe_window` sends of each producer.
    #[must_use]
    pub fn with_dedupe_window(mut self, dedupe_window: u64) -> Self {
        self.log = PartitionLog::new(dedupe_window);
        self
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &PartitionLog {
        &self.log
    }

    /// The high watermark: everything below it is committed.
    #[must_use]
    pub fn high(&self) -> Position {
        self.high
    }

    /// The name of the log, 0 while it is not known.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// True if this partition follows a log of that name, or may.
    pub(crate) fn accepts_log(&self, log_id: LogId) -> bool {
        self.log_id == log_id || self.log_id == 0 || log_id == 0
    }

    /// A description of this node's records of the partition, for a comparison.
    pub(crate) fn holding(&self) -> Holding {
        let end = self.log.end();
        let last = self.log.epoch_before(end);
        let (log_id, epoch) = (self.log_id, self.epoch);
        let matched = if self.rules.hold(Rule::CompareMatched) { self.matched } else { 0 };
        let (leader, last_proposal) = (self.last_leader.clone(), self.last_proposal.clone());
        Holding { log_id, epoch, matched, leader, last, end, last_proposal }
    }

    /// True if this node's log cannot grow before the node has heard from others. False while it
    /// leads, or while its own compare-and-set may make it the leader.
    pub(crate) fn may_report_holding(&self) -> bool {
        self.leadership().is_none() && !self.metadata.is_swapping
    }

    /// An epoch above every one that this node knows or has proposed.
    pub(crate) fn next_epoch(&self) -> Epoch {
        self.holding().newest_epoch().saturating_add(1)
    }

    /// The newest epoch that this node knows of.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The leader, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<&NodeId> {
        match &self.role {
            Role::Leader(leader) => Some(&leader.record().leader.node),
            Role::Follower(follower) => follower.leader.as_ref(),
        }
    }

    /// The incarnation of the leader, if this node follows it and has heard from it.
    pub(crate) fn leader_incarnation(&self) -> Option<u64> {
        self.role.as_follower()?.leader_incarnation
    }

    /// The state of this node's leadership, if it leads.
    #[must_use]
    pub fn leadership(&self) -> Option<&Leader> {
        self.role.as_leader()
    }

    /// Enters an epoch of the log, if it is newer, and steps down from an older one. Returns the
    /// record to persist, if there is one.
    pub(crate) fn enter(
        &mut self,
        log_id: LogId,
        epoch: Epoch,
        leader: NodeId,
        now: Duration,
    ) -> Option<Record> {
        if !self.accepts_log(log_id) {
            return None;
        }
        if epoch < self.epoch {
            return None;
        }
        if epoch == self.epoch {
            // Nothing changes, except that the leader may be known only now.
            let follower = self.role.as_follower_mut()?;
            follower.leader.get_or_insert(leader);
            return None;
        }
        (self.epoch, self.changed_at, self.recovery) = (epoch, now, None);
        self.role = Role::follower(Some(leader), self.log.end());
        if self.log_id == 0 {
            self.log_id = log_id;
        }
        self.epoch_to_persist()
    }

    fn epoch_to_persist(&self) -> Option<Record> {
        self.rules.hold(Rule::PersistEpoch).then(|| self.epoch_record())
    }

    /// The leader of the present epoch, if this node has heard from it.
    fn led_in_epoch(&self) -> Option<&ReplicaId> {
        self.last_leader.as_ref().filter(|(epoch, _)| *epoch == self.epoch).map(|(_, id)| id)
    }

    fn epoch_record(&self) -> Record {
        let Self { id: partition, log_id, epoch, .. } = *self;
        let (leader, incarnation) = match self.led_in_epoch().cloned() {
            Some(leader) => (Some(leader.node), Some(leader.incarnation)),
            None => (self.leader().cloned(), None),
        };
        let matched = self.matched == epoch;
        Record::Epoch { partition, log_id, epoch, leader, incarnation, matched }
    }

    /// Notes that the log is known to equal the beginning of the leader's. Returns a record if this
    /// is news. It must follow the record of a truncation: a log with more than the leader's is
    /// not the most complete one of this epoch.
    pub(crate) fn note_match(&mut self) -> Option<Record> {
        (self.is_matched() && self.matched < self.epoch).then_some(())?;
        self.matched = self.epoch;
        self.epoch_to_persist()
    }

    /// The record of the newest leader that this node heard from, if a newer epoch is known.
    fn last_leader_record(&self) -> Option<Record> {
        let Self { id: partition, log_id, .. } = *self;
        let (epoch, leader) = self.last_leader.clone().filter(|(epoch, _)| *epoch < self.epoch)?;
        let (leader, incarnation) = (Some(leader.node), Some(leader.incarnation));
        let matched = self.matched == epoch;
        Some(Record::Epoch { partition, log_id, epoch, leader, incarnation, matched })
    }

    /// The record of the newest epoch in which the log was known to match, if a newer epoch is
    /// known.
    fn matched_record(&self) -> Option<Record> {
        let Self { id: partition, log_id, matched: epoch, .. } = *self;
        let (leader, incarnation, matched) = (None, None, true);
        let is_older = 0 < epoch && epoch < self.epoch;
        is_older.then_some(Record::Epoch { partition, log_id, epoch, leader, incarnation, matched })
    }

    /// Notes that this incarnation leads the epoch. Returns a record if this is news.
    pub(crate) fn learn_leader(&mut self, incarnation: u64) -> Option<Record> {
        if let Some(follower) = self.role.as_follower_mut() {
            follower.leader_incarnation = Some(incarnation);
        }
        self.led_in_epoch().is_none().then_some(())?;
        let node = self.leader().cloned()?;
        self.last_leader = Some((self.epoch, ReplicaId { node, incarnation }));
        self.epoch_to_persist()
    }

    /// Asks for a read of the record in `lin-kv`.
    pub(crate) fn request_metadata(&mut self, now: Duration) {
        if !self.metadata.is_wanted {
            (self.metadata.is_wanted, self.metadata.since) = (true, now);
        }
        self.due_at = Some(self.due_at.map_or(now, |at| at.min(now)));
    }

    /// Stops leading. The new leader is not known.
    pub(crate) fn step_down(&mut self) {
        if self.leadership().is_some() {
            self.role = Role::follower(None, self.log.end());
        }
    }

    /// Begins to compare the replicas, since `lin-kv` has no record. No replica leads until the
    /// comparison ends.
    pub(crate) fn begin_recovery(&mut self, now: Duration) -> &mut Recovery {
        self.step_down();
        if let Some(follower) = self.role.as_follower_mut() {
            (follower.leader, follower.leader_incarnation) = (None, None);
            // The log must not change from now on.
            follower.restart = None;
        }
        self.recovery.get_or_insert_with(|| Recovery::new(now))
    }

    /// The reason why no replica can lead, if there is one.
    pub(crate) fn unavailable(&self) -> Option<&Reason> {
        self.recovery.as_ref()?.reason.as_ref()
    }

    /// Notes that `lin-kv` may hold `record` from now on: this node asks for that change. The
    /// returned disk record says the same.
    pub(crate) fn record_proposal(&mut self, record: Metadata) -> Record {
        self.last_proposal = Some(record.clone());
        Record::Metadata { partition: self.id, record }
    }

    /// Prepares for a request to `lin-kv` to replace `from` by `to`. The record that this returns
    /// names every replica that may be in sync from then on. Earlier changes of `from` may have
    /// succeeded, so it includes their replicas.
    pub(crate) fn propose(&mut self, from: &Metadata, to: &Metadata) -> Record {
        let earlier = self.last_proposal.iter().filter(|record| record.version > from.version);
        let all = [from, to].into_iter().chain(earlier);
        let all = all.flat_map(|record| record.in_sync.union(&record.eligible));
        let in_sync = all.cloned().collect();
        self.record_proposal(Metadata { in_sync, ..to.clone() })
    }

    /// Takes a message of replication from a node that says it leads. The caller makes the records
    /// durable before the follower sends its [`ack`](Self::ack).
    pub(crate) fn replicate(
        &mut self,
        leader: &NodeId,
        append: Append,
        retention: &Retention,
        now: Duration,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        if !self.accepts_log(append.log_id) {
            return records;
        }
        if append.epoch < self.epoch {
            if self.rules.hold(Rule::Fencing) {
                return records;
            }
            self.epoch = append.epoch;
            self.role = Role::follower(Some(leader.clone()), self.log.end());
        }
        let before = self.epoch;
        records.extend(self.enter(append.log_id, append.epoch, leader.clone(), now));
        if self.epoch > before && !self.rules.hold(Rule::TruncateByEpoch) {
            self.log.truncate(self.high);
            let to = self.log.end();
            self.role = Role::follower(Some(leader.clone()), to);
            records.push(Record::Truncate { partition: self.id, to });
        }
        if self.leadership().is_some() || self.leader() != Some(leader) {
            warn!(partition = self.id, epoch = self.epoch, peer = %leader, "two leaders in one epoch");
            debug_assert!(!self.rules.all_hold(), "two leaders in one epoch");
            return Vec::new();
        }
        if self.is_restarting() {
            // The log that this message is about is not there yet.
            return records;
        }
        let Append { at, prev, high, sole_follower, entries, floor, .. } = append;
        // A follower whose log ends before the leader's first entry starts again, too.
        let is_behind = at > self.log.end();
        let floor = floor.filter(|_| !self.is_matched() || is_behind);
        let floor = floor.and_then(|part| self.role.as_follower_mut()?.floor.take(*part));
        let is_behind = is_behind && floor.is_some();
        if !self.is_matched() || is_behind {
            records.extend(self.match_log(at, prev, floor));
        }
        records.extend(self.note_match());
        let (is_matched, end) = (self.is_matched(), self.log.end());
        if let Some(follower) = self.role.as_follower_mut() {
            follower.has_gap = is_matched && at > end;
        }
        if !is_matched || at > end {
            return records;
        }
        let sent_end = at.saturating_add(entries.len() as u64);
        records.extend(self.extend(at, entries, high, retention, now));
        self.raise_high(if sole_follower { sent_end.max(high) } else { high });
        records
    }

    /// True if this node follows, and its log is known to be a prefix of its leader's.
    fn is_matched(&self) -> bool {
        self.role.as_follower().is_some_and(|follower| follower.log_match == LogMatch::Whole)
    }

    fn set_log_match(&mut self, log_match: LogMatch) {
        if let Some(follower) = self.role.as_follower_mut() {
            follower.log_match = log_match;
        }
    }

    /// Truncates the entries that the leader does not have, if this log equals the leader's up to
    /// `at`. If not, chooses a position for the leader to compare next. If the epochs before it
    /// still differ, the leader goes further down ([`Leader::acknowledged`]).
    fn match_log(&mut self, at: Position, prev: Epoch, floor: Option<Floor>) -> Option<Record> {
        let partition = self.id;
        let is_there = (self.log.start()..=self.log.end()).contains(&at);
        if is_there && !self.rules.hold(Rule::Truncate) {
            self.set_log_match(LogMatch::Whole);
            return None;
        }
        if is_there && self.log.epoch_before(at) == prev {
            if at < self.high {
                let may_happen = self.epoch >= UNCLEAN_EPOCHS || !self.rules.all_hold();
                debug_assert!(may_happen, "nothing that is committed is cut off");
                let count = self.high.saturating_sub(at);
                if self.epoch >= UNCLEAN_EPOCHS {
                    warn!(partition, count, "an unclean recovery lost these messages");
                } else {
                    warn!(partition, count, "committed messages are cut off: this must not happen");
                }
                self.high = at;
            }
            self.set_log_match(LogMatch::Whole);
            let is_longer = self.log.end() > at;
            self.log.truncate(at);
            return is_longer.then_some(Record::Truncate { partition, to: at });
        }
        if let Some(floor) = floor.filter(|floor| floor.at == at) {
            return self.restart(floor);
        }
        self.set_log_match(LogMatch::Unknown { guess: self.log.not_after_epoch(at, prev) });
        None
    }

    /// Starts again behind the entries that the leader has deleted. If the floor is long, only
    /// begins to do so: see [`restart_next`](Self::restart_next).
    fn restart(&mut self, floor: Floor) -> Option<Record> {
        let mut restart = Restart::new(&self.log, floor);
        let part = restart.take_part(RECORD_BYTES);
        let follower = self.role.as_follower_mut()?;
        if part.more {
            follower.floor.hold();
            follower.restart = Some(Box::new(restart));
            return Some(self.restart_record(part));
        }
        self.finish_restart(restart);
        Some(Record::Floor { partition: self.id, floor: part.floor })
    }

    /// Takes the next part of the leader's floor. After the last one, the new log takes the place
    /// of the old one. Returns the record to persist.
    pub(crate) fn restart_next(&mut self) -> Option<Record> {
        let mut restart = self.role.as_follower_mut()?.restart.take()?;
        let part = restart.take_part(RECORD_BYTES);
        if !part.more {
            self.finish_restart(*restart);
        } else if let Some(follower) = self.role.as_follower_mut() {
            follower.restart = Some(restart);
        }
        Some(self.restart_record(part))
    }

    fn restart_record(&self, RestartPart { from, more, floor }: RestartPart) -> Record {
        Record::RestartPart { partition: self.id, from, more, floor }
    }

    fn finish_restart(&mut self, restart: Restart) {
        self.log = restart.into_log();
        self.high = self.log.end();
        self.set_log_match(LogMatch::Whole);
        if let Some(follower) = self.role.as_follower_mut() {
            follower.has_gap = false;
            follower.floor.release();
        }
    }

    /// Appends an entry as the leader, and returns its offset.
    fn append(&mut self, entry: Entry, retention: &Retention, now: Duration) -> u64 {
        let is_next = || self.log.epoch_before(self.log.end()) <= entry.epoch;
        let is_new =
            || !matches!(self.log.lookup_send(&entry.producer, entry.seq), SendLookup::At { .. });
        debug_assert!(is_next() || !self.rules.all_hold(), "epochs never fall");
        debug_assert!(is_new() || !self.rules.all_hold(), "appended twice");
        self.log.append(entry, retention, now)
    }

    /// Appends the entries that are new.
    fn extend(
        &mut self,
        at: Position,
        entries: Vec<Entry>,
        high: Position,
        retention: &Retention,
        now: Duration,
    ) -> Option<Record> {
        let start = self.log.end();
        let known = usize::try_from(start.saturating_sub(at)).unwrap_or(usize::MAX);
        let entries: Vec<Entry> = entries.into_iter().skip(known).collect();
        for entry in &entries {
            // Not `append()`: its assertions are about leaders. A damaged message may name a send
            // twice.
            self.log.append(entry.clone(), retention, now);
        }
        let (partition, high) = (self.id, high.min(self.log.end()).max(self.high));
        (!entries.is_empty()).then_some(Record::Append { partition, at: start, high, entries })
    }

    /// The follower's acknowledgement for its leader.
    pub(crate) fn ack(&self) -> Ack {
        let follower = self.role.as_follower();
        let end = match follower.map(|follower| follower.log_match) {
            Some(LogMatch::Unknown { guess }) => guess,
            _ => self.log.end(),
        };
        Ack {
            partition: self.id,
            log_id: self.log_id,
            epoch: self.epoch,
            matched: self.is_matched(),
            end,
            last: self.log.epoch_before(end),
            high: self.high,
            gap: follower.is_some_and(|follower| follower.has_gap),
            floor_part: follower.map_or(0, |follower| follower.floor.held()),
        }
    }

    /// Appends an entry as the leader. Returns its position, its offset, and the record to persist.
    pub(crate) fn append_as_leader(
        &mut self,
        mut entry: Entry,
        retention: &Retention,
        now: Duration,
    ) -> (Position, u64, Record) {
        debug_assert!(self.leadership().is_some());
        entry.epoch = self.epoch;
        let at = self.log.end();
        let offset = self.append(entry.clone(), retention, now);
        let (partition, high) = (self.id, self.high);
        (at, offset, Record::Append { partition, at, high, entries: vec![entry] })
    }

    /// Begins to lead. Returns the records to persist.
    pub(crate) fn become_leader(&mut self, leader: Leader, now: Duration) -> Vec<Record> {
        let metadata = leader.record().clone();
        let Metadata { log_id, epoch, .. } = metadata;
        let entered = self.enter(log_id, epoch, metadata.leader.node.clone(), now);
        self.matched = self.epoch;
        let met = self.learn_leader(metadata.leader.incarnation);
        self.role = Role::Leader(Box::new(leader));
        met.or(entered).into_iter().chain([self.record_proposal(metadata)]).collect()
    }

    /// Raises the high watermark to `high`. Returns true if this is news.
    pub(crate) fn raise_high(&mut self, high: Position) -> bool {
        let high = high.min(self.log.end());
        let is_news = high > self.high;
        self.high = self.high.max(high);
        is_news
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]
#[path = "partition_tests.rs"]
mod tests;
