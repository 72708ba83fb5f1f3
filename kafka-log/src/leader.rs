//! A partition's leader: the progress of each follower, and the committed part of the log that
//! follows from it.
//!
//! The invariants:
//!
//! * An entry is committed when every replica has it that might be in sync. These are the replicas
//!   in the record in `lin-kv`, and those that a compare-and-set of this leader with unknown
//!   outcome may have added. So any replica that takes over has all committed entries.
//! * The leader may tell a follower that it is the only other replica in sync
//!   ([`Append::sole_follower`]). All entries that it sends with this news are in the log before
//!   another replica begins to join. That replica must first have all of them.
//! * A follower's acknowledgement counts only in the leader's epoch, and only up to the position
//!   that the leader has sent. It counts only for the incarnation that is in sync: another
//!   incarnation may have forgotten that it follows a newer leader.
//! * A send waits since its first attempt: a retry never hides that a follower stalls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maelstrom_core::NodeId;

use crate::floor::FloorSender;
use crate::indexed::{Index, IndexKeys, Indexed};
use crate::log::PartitionLog;
use crate::meta::Metadata;
use crate::queue::{Budget, encoded_len};
use crate::rules::{Rule, Rules};
use crate::wire::{Ack, Append, Epoch, FloorPart, PartitionId, Position, ReplicaId};

/// How long a follower that left the in-sync set waits before it can join again. The time doubles
/// whenever it leaves, up to the maximum.
const REJOIN_BACKOFF_MIN: Duration = Duration::from_millis(250);
const REJOIN_BACKOFF_MAX: Duration = Duration::from_secs(4);

/// How long a follower that is up may delay an entry before it counts as stalled.
const STALLED_AFTER: Duration = Duration::from_millis(2_500);

/// The leader's knowledge of a follower.
#[derive(Clone, Debug)]
struct Progress {
    /// The follower's incarnation, if it is known.
    incarnation: Option<u64>,
    /// The end of the part of the follower's log that equals the leader's; `None` if it is not
    /// known yet.
    matched: Option<Position>,
    /// The position that the leader sends next.
    next: Position,
    /// An acknowledgement beyond this position does not count. It is the end of the log when this
    /// state began, or the end of all entries that were sent since.
    sent: Position,
    /// The last high watermark that the leader sent, and the last one that the follower confirmed.
    sent_high: Position,
    confirmed_high: Position,
    /// False if a message is due even without news. No message of this epoch was sent, or the last
    /// one was lost, or it did not match the follower's log.
    is_probe_sent: bool,
    /// True if the follower keeps a log of another name. It then gets nothing.
    keeps_other_log: bool,
    /// The parts of the floor that it has got.
    floor: FloorSender,
    /// The earliest time at which it may join the in-sync set.
    may_join_at: Duration,
    rejoin_backoff: Duration,
}

impl Progress {
    fn new(end: Position, incarnation: Option<u64>, now: Duration) -> Self {
        Self {
            incarnation,
            matched: None,
            next: end,
            sent: end,
            sent_high: 0,
            confirmed_high: 0,
            is_probe_sent: false,
            keeps_other_log: false,
            floor: FloorSender::default(),
            may_join_at: now,
            rejoin_backoff: REJOIN_BACKOFF_MIN,
        }
    }

    /// The next part of the floor of the log, if it fits into the packet beside the rest of
    /// `append`.
    fn next_floor(
        &mut self,
        append: &Append,
        log: &PartitionLog,
        budget: &Budget,
        rules: Rules,
    ) -> Option<Box<FloorPart>> {
        let head = encoded_len(append).saturating_add(FLOOR_PUNCTUATION);
        let bytes_max = budget.left().saturating_sub(head);
        let next = self.floor.next_part(log, bytes_max, budget.is_empty())?;
        let mut part = self.floor.send_part(next);
        if !rules.hold(Rule::FloorNamesProducers) {
            part.floor.producers.clear();
        }
        Some(Box::new(part))
    }
}

/// Bytes of the field's name, its colon and brackets, and the commas around it.
const ENTRIES_PUNCTUATION: usize = 16;

/// The same for the field `floor`.
const FLOOR_PUNCTUATION: usize = 16;

/// The next entries of a packet to a follower.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// The follower has been sent everything, must first confirm a part of the floor, or keeps
    /// another log.
    Nothing,
    /// There is something to send, but the packet has no room for it.
    Full,
    /// This message, with or without entries.
    Append(Append),
}

/// A send that waits until its entry is committed.
#[derive(Clone, Debug)]
struct Waiting {
    /// The node that took the send from its client.
    origin: NodeId,
    since: Duration,
    /// The length of its message and key, in bytes.
    bytes: usize,
}

impl Index for Waiting {
    /// Due when the entry has waited so long that a replica without it counts as stalled.
    fn index_keys(&self) -> IndexKeys {
        let due_at = Some(self.since.saturating_add(STALLED_AFTER));
        IndexKeys { due_at, bytes: self.bytes, ..IndexKeys::default() }
    }
}

/// The state of a leader in one epoch.
#[derive(Clone, Debug)]
pub struct Leader {
    /// The record in `lin-kv`, as far as this leader knows.
    record: Metadata,
    /// The other replicas that must have an entry before it is committed.
    commit_set: BTreeSet<ReplicaId>,
    followers: BTreeMap<NodeId, Progress>,
    /// The sends that wait, by the position of their entry.
    waiting: Indexed<Position, Waiting>,
    /// The replica that is about to join, and the position that its log must reach first.
    joining: Option<(ReplicaId, Position)>,
    /// The replicas that would be in sync if the proposals since `record` had succeeded.
    proposed: BTreeSet<ReplicaId>,
    /// Number of replicas that must be in sync before anything is committed.
    in_sync_min: usize,
    rules: Rules,
}

impl Leader {
    /// The leader of the epoch in `record`, with a log that ends at `end`.
    #[must_use]
    pub fn new(
        record: Metadata,
        replicas: &[NodeId],
        end: Position,
        in_sync_min: usize,
        now: Duration,
    ) -> Self {
        let others = replicas.iter().filter(|node| **node != record.leader.node);
        let progress = |node: &NodeId| (node.clone(), Progress::new(end, None, now));
        let mut leader = Self {
            followers: others.map(progress).collect(),
            commit_set: BTreeSet::new(),
            waiting: Indexed::default(),
            joining: None,
            proposed: BTreeSet::new(),
            in_sync_min,
            rules: Rules::default(),
            record,
        };
        leader.update_commit_set();
        leader
    }

    /// The same leader under these rules.
    #[must_use]
    pub(crate) fn under(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    fn update_commit_set(&mut self) {
        let joining = self.joining.iter().map(|(id, _)| id);
        let joining = joining.filter(|_| self.rules.hold(Rule::CountJoining));
        let all = self.record.in_sync.iter().chain(&self.proposed).chain(joining);
        self.commit_set = all.filter(|id| id.node != self.record.leader.node).cloned().collect();
    }

    /// True if enough replicas are in sync to commit, and the record names no eligible replica.
    #[must_use]
    pub fn can_commit(&self) -> bool {
        let are_enough = self.record.in_sync.len() >= self.in_sync_min;
        let can_commit = are_enough && self.record.eligible.is_empty();
        can_commit || !self.rules.hold(Rule::MinInSync)
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    /// The record in `lin-kv`, as far as this leader knows.
    #[must_use]
    pub fn record(&self) -> &Metadata {
        &self.record
    }

    /// The nodes of the other replicas.
    pub fn followers(&self) -> impl Iterator<Item = &NodeId> {
        self.followers.keys()
    }

    /// Number of entries that each follower may lack, of a log that ends at `end`.
    pub(crate) fn lags(&self, end: Position) -> impl Iterator<Item = (&NodeId, u64)> {
        let lag = move |known: &Progress| end.saturating_sub(known.matched.unwrap_or_default());
        self.followers.iter().map(move |(node, known)| (node, lag(known)))
    }

    /// True if a send waits for its entry to be committed.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Number of sends that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of the messages and keys of these sends.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// Notes that a send of `origin` waits until the entry at `position`, of `bytes` bytes, is
    /// committed. A retry keeps the time of the first attempt. So retries do not reset the clock by
    /// which the leader finds followers that stall.
    pub fn wait(&mut self, position: Position, origin: NodeId, bytes: usize, now: Duration) {
        self.waiting.get_or_insert_with(position, || Waiting { origin, since: now, bytes });
    }

    /// Removes and returns the sends whose entries are below `high`, in order: positions and
    /// origins.
    pub fn take_committed(&mut self, high: Position) -> Vec<(Position, NodeId)> {
        let done: Vec<Position> = self.waiting.range(..high).map(|(at, _)| at).collect();
        let origin = |at| Some((at, self.waiting.remove(&at)?.origin));
        done.into_iter().filter_map(origin).collect()
    }

    /// The end of the part of the log that a replica has. Another incarnation of the node is
    /// another replica: it may have forgotten that it follows a newer leader.
    fn matched(&self, id: &ReplicaId) -> Position {
        let progress = self.followers.get(&id.node);
        let counts = |known: &&Progress| known.incarnation == Some(id.incarnation);
        let any_counts = !self.rules.hold(Rule::CheckIncarnation);
        let progress = progress.filter(|known| any_counts || counts(known));
        progress.and_then(|progress| progress.matched).unwrap_or(0)
    }

    /// The identity of a follower, if it is known.
    fn identity(&self, node: &NodeId) -> Option<ReplicaId> {
        let incarnation = self.followers.get(node)?.incarnation?;
        Some(ReplicaId { node: node.clone(), incarnation })
    }

    /// True if the follower must have an entry before it is committed.
    #[must_use]
    pub fn is_in_commit_set(&self, node: &NodeId) -> bool {
        self.identity(node).is_some_and(|id| self.commit_set.contains(&id))
    }

    /// True if `node` is the only follower that must have an entry, and enough replicas are in sync
    /// to commit.
    fn is_sole_follower(&self, node: &NodeId) -> bool {
        let is_only = self.commit_set.len() == 1 || !self.rules.hold(Rule::SoleFollower);
        is_only && self.is_in_commit_set(node) && self.can_commit()
    }

    /// True if a send waits for this follower's acknowledgement. If the follower is the only one in
    /// sync, it knows by itself that its own sends are committed, so these do not count.
    #[must_use]
    pub fn is_urgent_for(&self, node: &NodeId) -> bool {
        let matched = self.followers.get(node).and_then(|progress| progress.matched).unwrap_or(0);
        let is_sole_follower = self.is_sole_follower(node);
        let mut waiting = self.waiting.range(matched..);
        self.is_in_commit_set(node)
            && waiting.any(|(_, waiting)| !is_sole_follower || waiting.origin != *node)
    }

    /// True if a follower has confirmed a high watermark of at least `high`.
    #[must_use]
    pub fn knows(&self, node: &NodeId, high: Position) -> bool {
        self.followers.get(node).is_some_and(|progress| progress.confirmed_high >= high)
    }

    /// True if a follower has all entries up to `end`, or takes none.
    #[must_use]
    pub fn has_all(&self, node: &NodeId, end: Position) -> bool {
        let has_all = |known: &Progress| known.keeps_other_log || known.matched == Some(end);
        self.followers.get(node).is_none_or(has_all)
    }

    /// True if a follower has all entries and the newest high watermark, or takes none.
    #[must_use]
    pub fn is_up_to_date(&self, node: &NodeId, end: Position, high: Position) -> bool {
        let knows = |known: &Progress| known.keeps_other_log || known.confirmed_high >= high;
        self.has_all(node, end) && self.followers.get(node).is_none_or(knows)
    }

    /// The followers that lack an entry or the newest high watermark.
    pub(crate) fn lagging(&self, end: Position, high: Position) -> impl Iterator<Item = &NodeId> {
        self.followers().filter(move |node| !self.is_up_to_date(node, end, high))
    }

    /// Notes that the follower keeps a log of another name. It gets nothing from this leader until
    /// it begins a new life. Returns true if this is news.
    pub fn mark_other_log(&mut self, node: &NodeId) -> bool {
        let progress = self.followers.get_mut(node);
        progress.is_some_and(|progress| !std::mem::replace(&mut progress.keeps_other_log, true))
    }

    /// Makes the follower's next message of replication. It has about `batch` bytes of entries, or
    /// a single entry, and no more than the packet's budget allows. Takes its length from the
    /// budget.
    pub(crate) fn next_append(
        &mut self,
        node: &NodeId,
        partition: PartitionId,
        log: &PartitionLog,
        high: Position,
        batch: usize,
        budget: &mut Budget,
    ) -> Next {
        let sole_follower = self.is_sole_follower(node);
        let Metadata { log_id, epoch, .. } = self.record;
        let Some(progress) = self.followers.get_mut(node).filter(|known| !known.keeps_other_log)
        else {
            return Next::Nothing;
        };
        let is_news =
            progress.next < log.end() || progress.sent_high < high || !progress.is_probe_sent;
        if !is_news {
            return Next::Nothing;
        }
        let needs_floor = progress.next < log.start();
        if needs_floor && progress.floor.is_under_way() {
            return Next::Nothing;
        }
        let at = progress.next.max(log.start());
        let (prev, entries, floor) = (log.epoch_before(at), Vec::new(), None);
        let mut append = Append {
            partition,
            log_id,
            epoch,
            at,
            prev,
            high,
            sole_follower,
            entries,
            floor,
            requests: Vec::new(),
        };
        if needs_floor {
            append.floor = progress.next_floor(&append, log, budget, self.rules);
            if append.floor.is_none() {
                return Next::Full;
            }
        }
        let head = encoded_len(&append).saturating_add(ENTRIES_PUNCTUATION);
        let first = log.entry(at).map_or(0, |entry| entry.encoded_len().saturating_add(1));
        // A floor can go without entries. Entries go one by one.
        let is_alone = budget.is_empty() && append.floor.is_none();
        if append.is_partial_floor() {
            budget.take(head);
            progress.sent = progress.sent.max(at);
            return Next::Append(append);
        }
        if is_alone || head.saturating_add(first) <= budget.left() {
            append.entries = log.entries(at, batch.min(budget.left().saturating_sub(head)));
        } else if append.floor.is_none() {
            return Next::Full;
        }
        let entries = append.entries.iter().map(|entry| entry.encoded_len().saturating_add(1));
        budget.take(entries.fold(head, usize::saturating_add));
        progress.next = at.saturating_add(append.entries.len() as u64);
        progress.sent = progress.sent.max(progress.next);
        (progress.sent_high, progress.is_probe_sent) = (high, true);
        Next::Append(append)
    }

    /// Takes an acknowledgement. It counts only in this epoch.
    pub fn acknowledged(&mut self, node: &NodeId, ack: &Ack, log: &PartitionLog) {
        let counts = ack.epoch == self.record.epoch || !self.rules.hold(Rule::CheckAckEpoch);
        let Some(progress) = self.followers.get_mut(node).filter(|_| counts) else { return };
        progress.floor.confirm(ack.floor_part);
        if !ack.matched {
            if progress.matched.is_none() {
                progress.next = ack.end.min(log.end_of_epoch(ack.last));
                progress.is_probe_sent = false;
            }
            return;
        }
        if ack.end > progress.sent {
            return;
        }
        let matched = progress.matched.unwrap_or(0).max(ack.end);
        progress.matched = Some(matched);
        progress.next = if ack.gap { matched } else { progress.next.max(matched) };
        progress.confirmed_high = progress.confirmed_high.max(ack.high.min(matched));
        if matched >= log.start() {
            progress.floor.begin_again();
        }
    }

    /// The follower has answered all packets, or is silent. Entries that it has not acknowledged
    /// are sent again.
    pub fn rewind(&mut self, node: &NodeId) {
        if let Some(progress) = self.followers.get_mut(node) {
            match progress.matched {
                Some(matched) => progress.next = matched,
                None => progress.is_probe_sent = false,
            }
            progress.sent_high = progress.confirmed_high;
            progress.floor.lose();
        }
    }

    /// Notes the follower's incarnation. If its life is new, the leader knows nothing else of it.
    pub fn reset_progress(&mut self, node: &NodeId, incarnation: Option<u64>, end: Position) {
        if let Some(progress) = self.followers.get_mut(node) {
            let kept = (progress.may_join_at, progress.rejoin_backoff);
            // The follower may still have parts of the floor, so no number of a part may come
            // again.
            let mut floor = std::mem::take(&mut progress.floor);
            floor.begin_again();
            *progress = Progress { floor, ..Progress::new(end, incarnation, Duration::ZERO) };
            (progress.may_join_at, progress.rejoin_backoff) = kept;
        }
    }

    /// The end of the committed part of the log. `None`: too few replicas are in sync to commit.
    #[must_use]
    pub fn committed(&self, end: Position) -> Option<Position> {
        self.can_commit().then_some(())?;
        if !self.rules.hold(Rule::CommitWithFollowers) {
            return Some(end);
        }
        let all = self.commit_set.iter().map(|id| self.matched(id));
        if !self.rules.hold(Rule::CommitWithAll) {
            return all.max().or(Some(end));
        }
        Some(all.fold(end, Position::min))
    }

    /// The record without the replicas that hold up commits, if `may_go` allows it. These are the
    /// ones that are `gone`, and the ones that stall: they lack an entry that a send has waited for
    /// too long.
    #[must_use]
    pub fn shrunk_in_sync(
        &self,
        now: Duration,
        gone: impl Fn(&ReplicaId) -> bool,
        may_go: impl Fn(&ReplicaId) -> bool,
    ) -> Option<Metadata> {
        let holds_up = |id: &ReplicaId| gone(id) || self.is_stalled_by(id, now);
        let goes =
            |id: &ReplicaId| id.node != self.record.leader.node && holds_up(id) && may_go(id);
        // The outcome of the proposal is unknown. Any later change settles it, so the leader makes
        // one now.
        let is_due = !self.proposed.is_empty()
            || self.record.has_needless_eligible(self.in_sync_min)
            || self.record.in_sync.iter().any(goes);
        is_due.then(|| self.record.without(goes)).flatten().map(|next| self.adding_eligible(next))
    }

    /// A changed record, with the replicas that are eligible after the change.
    fn adding_eligible(&self, next: Metadata) -> Metadata {
        if self.rules.hold(Rule::ClearEligible) {
            return next.with_eligible(&self.record, self.in_sync_min);
        }
        let eligible = self.record.in_sync.union(&self.record.eligible).cloned().collect();
        Metadata { eligible, ..next }
    }

    /// True if a replica lacks an entry that a send has waited for too long.
    fn is_stalled_by(&self, id: &ReplicaId, now: Duration) -> bool {
        if self.waiting.next_due().is_none_or(|at| at >= now) {
            return false;
        }
        let is_late = |waiting: &Waiting| now.saturating_sub(waiting.since) > STALLED_AFTER;
        let stalled = self.waiting.iter().find(|(_, waiting)| is_late(waiting));
        stalled.is_some_and(|(position, _)| self.matched(id) <= position)
    }

    /// The time at which the first send will have waited for too long.
    #[must_use]
    pub fn stalled_at(&self) -> Option<Duration> {
        Some(self.waiting.next_due()?.saturating_add(Duration::from_millis(1)))
    }

    /// The record with one more follower that has caught up. The follower joins in two steps: first
    /// it becomes one of the replicas that must have an entry before it is committed. The record
    /// names it once it has all entries that came before. `may` gives the identity of a node that
    /// is up.
    pub fn expanded_in_sync(
        &mut self,
        now: Duration,
        high: Position,
        end: Position,
        may: impl Fn(&NodeId) -> Option<ReplicaId>,
    ) -> Option<Metadata> {
        let joining = self.joining.as_ref().map(|(id, _)| id.clone());
        let is_over =
            |id: &ReplicaId| may(&id.node).as_ref() != Some(id) || self.is_stalled_by(id, now);
        if let Some(id) = joining.filter(is_over) {
            self.joining = None;
            self.update_commit_set();
            self.delay_rejoin(&id.node, now);
        }
        if self.joining.is_none() {
            let candidates = self.followers.iter().filter(|(_, progress)| {
                progress.matched.is_some_and(|matched| matched >= high)
                    && progress.may_join_at <= now
            });
            let present = candidates.filter_map(|(node, _)| may(node));
            let id = present.into_iter().find(|id| !self.record.in_sync.contains(id))?;
            self.joining = Some((id, end));
            self.update_commit_set();
        }
        let (id, target) = self.joining.as_ref()?;
        let is_caught_up = self.matched(id) >= *target || !self.rules.hold(Rule::JoinCaughtUp);
        is_caught_up.then(|| self.adding_eligible(self.record.with(id.clone())))
    }

    /// The next time after `now` at which a follower may join.
    #[must_use]
    pub fn may_join_at(&self, now: Duration) -> Option<Duration> {
        let out = self.followers.iter().filter(|(node, _)| !self.is_in_commit_set(node));
        out.map(|(_, progress)| progress.may_join_at).filter(|at| *at > now).min()
    }

    /// Prepares for a compare-and-set to `record`. From now on, replicas that are in sync in
    /// `record` must have an entry before it is committed.
    pub fn note_proposal(&mut self, record: &Metadata) {
        if self.rules.hold(Rule::CountProposed) {
            self.proposed.extend(record.in_sync.iter().cloned());
        }
        self.joining = None;
        self.update_commit_set();
    }

    /// Takes a newer version of the record of this epoch. No earlier proposal can succeed any more.
    pub fn adopt(&mut self, record: Metadata, now: Duration) {
        debug_assert!(record.epoch == self.record.epoch && record.version > self.record.version);
        let before = std::mem::replace(&mut self.record, record);
        for node in before.nodes() {
            if self.record.in_sync_as(node).is_none() {
                self.delay_rejoin(node, now);
            }
        }
        self.joining = None;
        self.proposed.clear();
        self.update_commit_set();
    }

    fn delay_rejoin(&mut self, node: &NodeId, now: Duration) {
        if let Some(progress) = self.followers.get_mut(node) {
            progress.may_join_at = now.saturating_add(progress.rejoin_backoff);
            progress.rejoin_backoff =
                progress.rejoin_backoff.saturating_mul(2).min(REJOIN_BACKOFF_MAX);
        }
    }
}

#[cfg(test)]
#[path = "leader_tests.rs"]
mod tests;
