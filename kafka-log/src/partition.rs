//! One partition as one node sees it: its log, who leads, and what is committed.
//!
//! A follower's side of replication is here, the leader's in [`Leader`]. The invariants:
//!
//! * The epoch never falls, and is durable before anything is said in it: whoever has once followed
//!   a newer leader has nothing to do with an older one.
//! * A follower appends and acknowledges only once its log is known to be its leader's: in each
//!   epoch it first cuts off what the leader does not have (Kafka's KIP-101: by the epochs of the
//!   entries, never by its own high watermark).
//! * The high watermark never falls, and nothing below it is ever cut off, but after an
//!   [unclean recovery](crate::recovery).
//! * A partition follows one log. What is said of a log of another name is refused.
//! * The only replica of a partition that restarts has committed all that is in its log.

use std::collections::BTreeSet;
use std::time::Duration;

use maelstrom_core::{Error, NodeId, Records};
use tracing::warn;

use crate::indexed::{Facts, Index};
use crate::leader::Leader;
use crate::log::{PartitionLog, Retention};
use crate::meta::Metadata;
use crate::mutants::{Mutant, is_any_on, is_on};
use crate::recovery::{Holding, Reason, Recovery, UNCLEAN_EPOCHS};
use crate::wire::{Ack, Append, Entry, Epoch, LogId, PartitionId, Position, Record, ReplicaId};

/// What an entry takes in a record besides its message, about.
const ENTRY_BYTES: usize = 96;

/// What a node does about a partition's record in `lin-kv`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errand {
    /// Whether the record must be looked at.
    pub(crate) is_wanted: bool,
    /// Since when.
    pub(crate) since: Duration,
    /// Whether an answer of `lin-kv` is awaited.
    pub(crate) is_busy: bool,
    /// Whether it is the answer to a compare-and-set.
    pub(crate) is_swapping: bool,
    /// Not before then.
    pub(crate) not_before: Duration,
}

/// The state of a partition.
#[derive(Clone, Debug)]
pub struct Partition {
    id: PartitionId,
    pub(crate) log: PartitionLog,
    /// Names the log; 0 as long as it is not known.
    log_id: LogId,
    /// Everything below it is committed, as far as this node knows.
    high: Position,
    epoch: Epoch,
    /// Who leads in `epoch`, or is thought to.
    leader: Option<NodeId>,
    /// The newest leader that was heard from, and its epoch: on the record, and not forgotten.
    last_leader: Option<(Epoch, ReplicaId)>,
    /// Which incarnation of the leader has been heard to lead.
    pub(crate) led_by: Option<u64>,
    /// A follower's: whether its log is known to be the leader's.
    is_matched: bool,
    /// Where the follower says that its log may be its leader's.
    guess: Position,
    /// A follower's: whether it was sent something that does not follow what it has.
    has_gap: bool,
    /// This node's, if it leads.
    pub(crate) lead: Option<Leader>,
    /// The newest change of the record in `lin-kv` that this node asked for, with every replica that
    /// may be in sync since.
    known: Option<Metadata>,
    pub(crate) errand: Errand,
    /// The comparison of the replicas, if `lin-kv` turned out to have no record.
    pub(crate) recovery: Option<Recovery>,
    /// When the epoch last changed.
    pub(crate) changed_at: Duration,
    /// When something is to be done for it.
    pub(crate) tend_at: Option<Duration>,
}

impl Index for Partition {
    /// It waits for the followers that lack something. Its weight is that of its snapshot.
    fn facts(&self) -> Facts {
        let behind = self.lead.iter().flat_map(|lead| lead.behind(self.log.end(), self.high));
        Facts {
            due_at: self.tend_at,
            waits_for: behind.cloned().collect(),
            bytes: self.snapshot_bytes(),
        }
    }
}

impl Partition {
    /// A partition of which nothing is known.
    #[must_use]
    pub fn new(id: PartitionId) -> Self {
        Self {
            id,
            log: PartitionLog::default(),
            log_id: 0,
            high: 0,
            epoch: 0,
            leader: None,
            last_leader: None,
            led_by: None,
            is_matched: false,
            guess: 0,
            has_gap: false,
            lead: None,
            known: None,
            errand: Errand::default(),
            recovery: None,
            changed_at: Duration::ZERO,
            tend_at: None,
        }
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &PartitionLog {
        &self.log
    }

    /// The high watermark: everything below it is committed.
    #[must_use]
    pub fn high(&self) -> Position {
        self.high
    }

    /// The name of the log; 0 as long as it is not known.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Whether this partition follows a log of that name, or may.
    pub(crate) fn is_of(&self, log_id: LogId) -> bool {
        self.log_id == log_id || self.log_id == 0 || log_id == 0
    }

    /// Describes the records of this node about it.
    pub(crate) fn holding(&self) -> Holding {
        let end = self.log.end();
        let last = self.log.epoch_before(end);
        let (log_id, epoch) = (self.log_id, self.epoch);
        let (leader, known) = (self.last_leader.clone(), self.known.clone());
        Holding { log_id, epoch, leader, last, end, known }
    }

    /// Whether this node's log stays as it is until the node has heard from others. False while it
    /// leads, or may be about to.
    pub(crate) fn may_tell(&self) -> bool {
        self.lead.is_none() && !self.errand.is_swapping
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

    /// Who leads, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<&NodeId> {
        self.leader.as_ref()
    }

    /// The state of this node's leadership, if it leads.
    #[must_use]
    pub fn leadership(&self) -> Option<&Leader> {
        self.lead.as_ref()
    }

    /// Enters an epoch of the log, if it is newer, and steps down from an older one.
    pub(crate) fn enter(
        &mut self,
        log_id: LogId,
        epoch: Epoch,
        leader: NodeId,
        now: Duration,
    ) -> Option<Record> {
        if !self.is_of(log_id) {
            return None;
        }
        if epoch < self.epoch || (epoch == self.epoch && self.leader.is_some()) {
            return None;
        }
        let is_new = epoch > self.epoch;
        (self.epoch, self.leader) = (epoch, Some(leader.clone()));
        is_new.then_some(())?;
        (self.is_matched, self.guess, self.changed_at) = (false, self.log.end(), now);
        (self.led_by, self.has_gap) = (None, false);
        (self.lead, self.recovery) = (None, None);
        if self.log_id == 0 {
            self.log_id = log_id;
        }
        Some(self.epoch_record())
    }

    /// The replica that leads in the present epoch, if it was heard from.
    fn led_in_epoch(&self) -> Option<&ReplicaId> {
        self.last_leader.as_ref().filter(|(epoch, _)| *epoch == self.epoch).map(|(_, id)| id)
    }

    fn epoch_record(&self) -> Record {
        let Self { id: partition, log_id, epoch, .. } = *self;
        let (leader, incarnation) = match self.led_in_epoch().cloned() {
            Some(leader) => (Some(leader.node), Some(leader.incarnation)),
            None => (self.leader.clone(), None),
        };
        Record::Epoch { partition, log_id, epoch, leader, incarnation }
    }

    /// The record that names the newest leader that was heard from, if a newer epoch is known.
    fn last_leader_record(&self) -> Option<Record> {
        let Self { id: partition, log_id, .. } = *self;
        let (epoch, leader) = self.last_leader.clone().filter(|(epoch, _)| *epoch < self.epoch)?;
        let (leader, incarnation) = (Some(leader.node), Some(leader.incarnation));
        Some(Record::Epoch { partition, log_id, epoch, leader, incarnation })
    }

    /// The leader of the epoch is this incarnation of its node. A record, if that is news.
    pub(crate) fn meet_leader(&mut self, incarnation: u64) -> Option<Record> {
        self.led_by = Some(incarnation);
        self.led_in_epoch().is_none().then_some(())?;
        let node = self.leader.clone()?;
        self.last_leader = Some((self.epoch, ReplicaId { node, incarnation }));
        Some(self.epoch_record())
    }

    /// The record in `lin-kv` must be looked at.
    pub(crate) fn want(&mut self, now: Duration) {
        if !self.errand.is_wanted {
            (self.errand.is_wanted, self.errand.since) = (true, now);
        }
        self.tend_at = Some(self.tend_at.map_or(now, |at| at.min(now)));
    }

    /// The node that this one takes for the leader does not lead, and the leader is not known.
    pub(crate) fn forget_leader(&mut self) {
        self.leader = None;
    }

    /// `lin-kv` has no record: the replicas compare what they hold, and nobody leads until then.
    pub(crate) fn begin_recovery(&mut self, now: Duration) -> &mut Recovery {
        (self.lead, self.leader, self.led_by) = (None, None, None);
        self.recovery.get_or_insert_with(|| Recovery::new(now))
    }

    /// Why nobody can lead, if that is known.
    pub(crate) fn unavailable(&self) -> Option<&Reason> {
        self.recovery.as_ref()?.reason.as_ref()
    }

    /// `lin-kv` holds `record`, which this node asked for.
    pub(crate) fn know(&mut self, record: Metadata) -> Record {
        self.known = Some(record.clone());
        Record::Metadata { partition: self.id, record }
    }

    /// `lin-kv` is about to be asked to replace `from` by `to`. Every replica that may be in sync
    /// from then on is in the record that is returned, also if earlier changes of `from` may have
    /// come true.
    pub(crate) fn propose(&mut self, from: &Metadata, to: &Metadata) -> Record {
        let mut in_sync: BTreeSet<ReplicaId> = from.in_sync.union(&to.in_sync).cloned().collect();
        if let Some(earlier) = self.known.as_ref().filter(|known| known.version > from.version) {
            in_sync.extend(earlier.in_sync.iter().cloned());
        }
        self.know(Metadata { in_sync, ..to.clone() })
    }

    /// Takes what a node says who leads. The records are to be made durable before anything is
    /// said; then the follower owes an [`ack`](Self::ack).
    pub(crate) fn append_from(
        &mut self,
        leader: &NodeId,
        append: Append,
        retention: &Retention,
        now: Duration,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        if !self.is_of(append.log_id) {
            return records;
        }
        if append.epoch < self.epoch {
            if !is_on(Mutant::NoFencing) {
                return records;
            }
            (self.epoch, self.leader, self.lead) = (append.epoch, Some(leader.clone()), None);
            self.is_matched = false;
        }
        records.extend(self.enter(append.log_id, append.epoch, leader.clone(), now));
        if self.lead.is_some() || self.leader.as_ref() != Some(leader) {
            warn!(partition = self.id, epoch = self.epoch, peer = %leader, "two lead in one epoch");
            debug_assert!(is_any_on(), "two lead in one epoch");
            return Vec::new();
        }
        let Append { at, prev, high, sole, entries, floor, .. } = append;
        // Who has fallen behind what has been deleted by now begins anew as well.
        let is_behind = floor.is_some() && at > self.log.end();
        if !self.is_matched || is_behind {
            records.extend(self.match_log(at, prev, floor.map(|floor| *floor)));
        }
        self.has_gap = self.is_matched && at > self.log.end();
        if !self.is_matched || self.has_gap {
            return records;
        }
        let told = at.saturating_add(entries.len() as u64);
        records.extend(self.extend(at, entries, high, retention, now));
        self.raise_high(if sole { told.max(high) } else { high });
        records
    }

    /// Cuts off what the leader does not have, if this log is the leader's up to `at`; or says where
    /// to look next, which is always further down.
    fn match_log(
        &mut self,
        at: Position,
        prev: Epoch,
        floor: Option<crate::wire::Floor>,
    ) -> Option<Record> {
        let partition = self.id;
        let is_there = (self.log.start()..=self.log.end()).contains(&at);
        if is_there && is_on(Mutant::NoTruncation) {
            self.is_matched = true;
            return None;
        }
        if is_there && self.log.epoch_before(at) == prev {
            if at < self.high {
                let is_unclean = self.epoch >= UNCLEAN_EPOCHS;
                debug_assert!(is_unclean || is_any_on(), "nothing that is committed is cut off");
                let count = self.high.saturating_sub(at);
                warn!(partition, count, "an unclean recovery did without these messages");
                self.high = at;
            }
            self.is_matched = true;
            let is_longer = self.log.end() > at;
            self.log.truncate(at);
            return is_longer.then_some(Record::Truncate { partition, to: at });
        }
        if let Some(floor) = floor.filter(|floor| floor.at == at) {
            self.is_matched = true;
            self.log.reset(floor.clone());
            self.high = at;
            return Some(Record::Floor { partition, floor });
        }
        self.guess = self.log.not_after_epoch(at, prev);
        None
    }

    /// Appends those of the entries that are new.
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
            self.log.append(entry.clone(), retention, now);
        }
        let (partition, high) = (self.id, high.min(self.log.end()).max(self.high));
        (!entries.is_empty()).then_some(Record::Append { partition, at: start, high, entries })
    }

    /// What the follower has to say to its leader.
    pub(crate) fn ack(&self) -> Ack {
        let end = if self.is_matched { self.log.end() } else { self.guess };
        Ack {
            partition: self.id,
            log_id: self.log_id,
            epoch: self.epoch,
            matched: self.is_matched,
            end,
            last: self.log.epoch_before(end),
            high: self.high,
            gap: self.has_gap,
        }
    }

    /// Appends an entry as the leader. Its position and offset, and what is to be made durable.
    pub(crate) fn append_as_leader(
        &mut self,
        mut entry: Entry,
        retention: &Retention,
        now: Duration,
    ) -> (Position, u64, Record) {
        debug_assert!(self.lead.is_some());
        entry.epoch = self.epoch;
        let at = self.log.end();
        let offset = self.log.append(entry.clone(), retention, now);
        let (partition, high) = (self.id, self.high);
        (at, offset, Record::Append { partition, at, high, entries: vec![entry] })
    }

    /// Leads from now on.
    pub(crate) fn lead(&mut self, leader: Leader, now: Duration) -> Vec<Record> {
        let metadata = leader.record().clone();
        let Metadata { log_id, epoch, .. } = metadata;
        let entered = self.enter(log_id, epoch, metadata.leader.node.clone(), now);
        let met = self.meet_leader(metadata.leader.incarnation);
        self.lead = Some(leader);
        met.or(entered).into_iter().chain([self.know(metadata)]).collect()
    }

    /// Everything below `high` is committed. Whether that is news.
    pub(crate) fn raise_high(&mut self, high: Position) -> bool {
        let high = high.min(self.log.end());
        let is_news = high > self.high;
        self.high = self.high.max(high);
        is_news
    }

    /// About how many bytes its [`snapshot`](Self::snapshot) takes.
    fn snapshot_bytes(&self) -> usize {
        let entries = self.log.end().saturating_sub(self.log.start());
        let names = usize::try_from(entries).unwrap_or(usize::MAX).saturating_mul(ENTRY_BYTES);
        self.log.bytes().saturating_add(names).saturating_add(ENTRY_BYTES)
    }

    /// Adds the records of a snapshot from a position on: about `bytes_max` bytes of entries, or, if
    /// there are none, all else. Returns their size, and where to go on, unless that was all.
    ///
    /// The log may have changed since the last part. If it was cut off below `at`, the record that
    /// says so is among the snapshot's. If entries from `at` on have been deleted, it goes on behind
    /// them.
    pub(crate) fn snapshot(
        &self,
        at: Position,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<(usize, Option<Position>), Error> {
        let (partition, high) = (self.id, self.high);
        if at < self.log.start() {
            records.add(&Record::Floor { partition, floor: self.log.floor() })?;
        }
        let at = at.max(self.log.start());
        let entries = self.log.entries(at, bytes_max);
        if !entries.is_empty() {
            let bytes = entries.iter().map(Entry::encoded_len).fold(0, usize::saturating_add);
            let next = at.saturating_add(entries.len() as u64);
            records.add(&Record::Append { partition, at, high, entries })?;
            return Ok((bytes, Some(next)));
        }
        if let Some(record) = self.last_leader_record() {
            records.add(&record)?;
        }
        records.add(&self.epoch_record())?;
        if let Some(record) = self.known.clone() {
            records.add(&Record::Metadata { partition, record })?;
        }
        Ok((ENTRY_BYTES, None))
    }

    /// Takes back what this node made durable in an earlier life. Whether it makes sense. While a
    /// snapshot is being recovered, the log `is_partial`: entries that do not follow come later.
    pub(crate) fn recover(
        &mut self,
        record: Record,
        retention: &Retention,
        is_partial: bool,
    ) -> bool {
        match record {
            Record::Replica { .. }
            | Record::Incarnation(_)
            | Record::SnapshotStart
            | Record::SnapshotEnd => return false,
            Record::Epoch { log_id, epoch, leader, incarnation, .. } => {
                (self.log_id, self.epoch) = (log_id, epoch);
                let led = leader.clone().zip(incarnation).map(ReplicaId::from);
                self.last_leader = led.map(|led| (epoch, led)).or(self.last_leader.take());
                self.leader = leader;
            }
            Record::Metadata { record, .. } => self.known = Some(record),
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
                self.high = floor.at;
                self.log.reset(floor);
            }
        }
        self.guess = self.log.end();
        true
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
