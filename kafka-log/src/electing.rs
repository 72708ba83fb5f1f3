//! Elections: nodes read and change a partition's record in `lin-kv`, and leaders begin and end.
//!
//! The steps of an election, at a replica that misses its leader:
//!
//! 1. `request_metadata` marks the record as wanted, and [`KafkaLog::drive_partitions`] reads it
//!    from `lin-kv`.
//! 2. [`KafkaLog::record_read`] takes the reply. `apply_metadata` acts on it. The node follows the
//!    leader that the record names. If that leader is gone and the node may lead, it takes over.
//! 3. `propose_to_lead` proposes the next epoch by compare-and-set ([`KafkaLog::swap`]).
//! 4. [`KafkaLog::record_swapped`] takes the outcome. On success, `begin_to_lead` starts to lead.
//!
//! A leader changes the in-sync set of its own epoch by the same compare-and-set
//! (`next_in_sync_change`, `apply_own_metadata`).

use std::cmp::Ordering;
use std::time::Duration;

use maelstrom_core::service::{Cas, KvClient};
use maelstrom_core::{Node, NodeId, RpcError};
use rand::RngExt;
use tracing::{debug, info};

use crate::leader::Leader;
use crate::marks;
use crate::meta::Metadata;
use crate::metrics;
use crate::packets::Urgency;
use crate::recovering::draw_name;
use crate::rules::Rule;
use crate::wire::{Epoch, LogId, PartitionId, ReplicaId};
use crate::{Config, Event, KafkaLog};

/// How long `lin-kv` may take to answer.
const KV_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long after a change of the leader no replica replaces the new leader, even if it seems to be
/// gone. A leader that lost its records is replaced at once.
const GRACE: Duration = Duration::from_millis(1_000);

/// How long a node that reaches less than half of all nodes waits before it acts on the silence of
/// a replica. In this time the other nodes can act on its own silence: they elect another leader,
/// or take this node out of the in-sync set.
const MINORITY_WAIT: Duration = Duration::from_millis(1_500);

/// How long the first leader of a new partition waits for the first packets of its followers.
/// Followers that it knows by then are in sync from the start.
const INTRODUCTION: Duration = Duration::from_millis(250);

/// The time since which a node reaches less than half of all nodes, itself included. `silent`: the
/// times since which other nodes are silent. `None` if it reaches more.
fn minority_since(nodes: usize, mut silent: Vec<Duration>) -> Option<Duration> {
    silent.sort_unstable();
    silent.get(nodes.checked_div(2)?).copied()
}

impl KafkaLog {
    fn kv() -> KvClient {
        KvClient::lin_kv(KV_TIMEOUT)
    }

    /// True if a replica is not available: its node does not answer, or is another incarnation by
    /// now.
    fn is_gone(&self, id: &ReplicaId) -> bool {
        id.node != self.own.id
            && self.links.get(&id.node).is_none_or(|link| {
                link.is_down() || link.incarnation().is_some_and(|known| known != id.incarnation)
            })
    }

    /// The time from which on a silent replica may leave the in-sync set, or lose the leadership. In
    /// a partition of the network, both sides may reach `lin-kv`. A node in the minority gives the
    /// other side the time to act first. `None` if the replica's node answers.
    fn may_go_at(&self, id: &ReplicaId) -> Option<Duration> {
        let since = self.links.get(&id.node)?.down_since()?;
        let silent = self.links.values().filter_map(crate::Link::silent_since);
        let nodes = self.links.len().saturating_add(1);
        Some(match minority_since(nodes, silent.collect()) {
            Some(minority) => since.max(minority).saturating_add(MINORITY_WAIT),
            None => since,
        })
    }

    /// True if a replica that is gone may leave the in-sync set now.
    fn may_go(&self, now: Duration, id: &ReplicaId) -> bool {
        self.has_new_incarnation(id) || self.may_go_at(id).is_none_or(|at| at <= now)
    }

    /// True if the node of a replica has another incarnation by now: it has lost its records.
    fn has_new_incarnation(&self, id: &ReplicaId) -> bool {
        let link = self.links.get(&id.node);
        link.and_then(crate::Link::incarnation).is_some_and(|known| known != id.incarnation)
    }

    /// The identity of a peer that is up and has told its incarnation.
    fn live_replica(&self, node: &NodeId) -> Option<ReplicaId> {
        let link = self.links.get(node).filter(|link| !link.is_down())?;
        Some(ReplicaId { node: node.clone(), incarnation: link.incarnation()? })
    }

    /// Does everything that is due for partitions.
    pub(crate) fn drive_partitions(&mut self, node: &mut Node<Event>) {
        let now = node.now();
        for id in self.partitions.due(now) {
            self.drive_partition(node, id);
        }
    }

    fn drive_partition(&mut self, node: &mut Node<Event>, id: PartitionId) {
        let now = node.now();
        if self.is_alone() {
            return self.lead_single_node(node, id);
        }
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        partition.due_at = None;
        if partition.metadata.is_busy {
            return;
        }
        if partition.metadata.not_before > now {
            let is_waiting = partition.leadership().is_some() || partition.recovery.is_some();
            if partition.metadata.is_wanted || is_waiting {
                partition.due_at = Some(partition.metadata.not_before);
            }
            return;
        }
        if partition.metadata.is_wanted {
            partition.metadata.is_busy = true;
            return Self::kv().read(node, Metadata::key(id), move |result| Event::Read(id, result));
        }
        if partition.recovery.is_some() {
            return self.recover_partition(node, id);
        }
        if partition.leadership().is_none() {
            return self.check_leader(now, id);
        }
        if let Some((from, to)) = self.next_in_sync_change(now, id) {
            debug!(partition = id, ?to, "proposes a change of the record");
            let is_smaller = to.in_sync.len() < from.in_sync.len();
            node.mark(if is_smaller { marks::SHRINKS } else { marks::EXPANDS });
            self.swap(node, id, from, to, false);
        }
    }

    /// Makes sure that the partition has a leader, even if no client waits. Only a follower that
    /// may have uncommitted entries, or has not heard from the leader, checks this.
    fn check_leader(&mut self, now: Duration, id: PartitionId) {
        let keeps = self.keeps(id);
        let Some(partition) = self.partitions.get_mut(&id).filter(|_| keeps) else { return };
        if partition.leader_incarnation().is_some() && partition.high() >= partition.log.end() {
            return;
        }
        let leader = partition.leader().cloned();
        partition.due_at = Some(now.saturating_add(GRACE));
        let link = leader.and_then(|leader| self.links.get_mut(&leader));
        match link.filter(|link| partition.leader_incarnation().is_some() && !link.is_down()) {
            Some(link) => link.probe(now),
            None => partition.request_metadata(now),
        }
    }

    /// The change of the in-sync set that the leader needs now: the old record and the new one. If
    /// there is none, sets the time of the next check.
    fn next_in_sync_change(
        &mut self,
        now: Duration,
        id: PartitionId,
    ) -> Option<(Metadata, Metadata)> {
        // The partition is taken out of the map, so that `self` can be read while its leader
        // changes.
        let mut partition = self.partitions.remove(&id)?;
        let change = self.in_sync_change_of(now, &mut partition);
        self.partitions.insert(id, partition);
        change
    }

    fn in_sync_change_of(
        &self,
        now: Duration,
        partition: &mut crate::Partition,
    ) -> Option<(Metadata, Metadata)> {
        let (high, end) = (partition.high(), partition.log.end());
        let lead = partition.role.as_leader_mut()?;
        let may_go = |replica: &ReplicaId| self.may_go(now, replica);
        let is_gone = |replica: &ReplicaId| {
            self.has_new_incarnation(replica) || (high < end && self.is_gone(replica))
        };
        let next = lead.shrunk_in_sync(now, is_gone, may_go);
        let next =
            next.or_else(|| lead.expanded_in_sync(now, high, end, |node| self.live_replica(node)));
        if let Some(next) = next {
            lead.note_proposal(&next);
            return Some((lead.record().clone(), next));
        }
        let times = [lead.stalled_at(), lead.may_join_at(now)].into_iter().flatten();
        let silent = lead.record().in_sync.iter().filter_map(|replica| self.may_go_at(replica));
        partition.due_at = times.chain(silent).filter(|at| *at > now).min();
        None
    }

    /// Asks `lin-kv` to replace a record, or to create it. This node makes the proposal durable
    /// first.
    pub(crate) fn swap(
        &mut self,
        node: &mut Node<Event>,
        id: PartitionId,
        from: Metadata,
        mut to: Metadata,
        create: bool,
    ) {
        // A replica that lost its records cannot lead.
        to.eligible.retain(|id| !self.has_new_incarnation(id));
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        (partition.metadata.is_busy, partition.metadata.is_swapping) = (true, true);
        node.persist(&partition.propose(&from, &to));
        if !self.config.rules.hold(Rule::CompareAndSet) {
            let then = to.clone();
            return Self::kv().write(node, Metadata::key(id), to, move |result| {
                Event::Swapped(id, then, result.map(|()| Cas::Swapped))
            });
        }
        let then = to.clone();
        Self::kv().cas(node, Metadata::key(id), from, to, create, move |result| {
            Event::Swapped(id, then, result)
        });
    }

    /// Tries `lin-kv` again after a random time in this range, in milliseconds.
    fn retry_lin_kv(&mut self, node: &mut Node<Event>, id: PartitionId, by: std::ops::Range<u64>) {
        let wait = Duration::from_millis(node.rng().random_range(by));
        let at = node.now().saturating_add(wait);
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.metadata.not_before = at;
            partition.due_at = Some(at);
        }
    }

    /// Takes the reply of `lin-kv` to a read of the record.
    pub(crate) fn record_read(
        &mut self,
        node: &mut Node<Event>,
        id: PartitionId,
        result: Result<Option<Metadata>, RpcError>,
    ) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        partition.metadata.is_busy = false;
        match result {
            Ok(Some(record)) => {
                partition.metadata.is_wanted = false;
                self.apply_metadata(node, id, record);
            }
            Ok(None) => self.record_missing(node, id),
            Err(error) => {
                debug!(partition = id, %error, "lin-kv cannot be read");
                self.retry_lin_kv(node, id, 100..300);
            }
        }
    }

    /// Creates the record of a new partition, with this node as the leader. Waits a moment for the
    /// followers that have not said anything yet.
    pub(crate) fn create(&mut self, node: &mut Node<Event>, id: PartitionId) {
        let now = node.now();
        let replicas = self.placement.replicas(id).to_vec();
        let others = replicas.iter().filter(|node| **node != self.own.id);
        let present: Vec<ReplicaId> =
            others.clone().filter_map(|node| self.live_replica(node)).collect();
        let is_all = present.len() >= others.count();
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        if !is_all && now.saturating_sub(partition.metadata.since) < INTRODUCTION {
            return self.retry_lin_kv(node, id, 20..40);
        }
        partition.metadata.is_wanted = false;
        let first = Metadata::first(draw_name(node), self.own.replica(), present);
        self.swap(node, id, first.clone(), first, true);
    }

    /// Acts on the record that `lin-kv` holds.
    fn apply_metadata(&mut self, node: &mut Node<Event>, id: PartitionId, record: Metadata) {
        let now = node.now();
        let own = self.own.replica();
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        if !partition.accepts_log(record.log_id) {
            return self.refuse_log(node, id, &record);
        }
        if partition.recovery.take().is_some() {
            self.reported = None;
        }
        if let Some(lead) =
            partition.role.as_leader_mut().filter(|lead| lead.epoch() == record.epoch)
        {
            // The leader now handles the events that came while it read the record.
            let is_news = record.version > lead.record().version;
            partition.due_at = Some(now);
            if is_news {
                self.apply_own_metadata(node, id, record);
            }
            return;
        }
        if record.leader == own {
            // An earlier life of this node led. Or this life leads and does not know it: its
            // compare-and-set succeeded, and the reply was lost. The node leads on in a new epoch,
            // so that messages and changes of the old epoch come too late.
            // It replaces no other leader, so it does not wait in the minority.
            node.mark(marks::LEADS_ON);
            return self.propose_to_lead(node, id, &record);
        }
        let Metadata { log_id, epoch, leader, .. } = record.clone();
        self.observe_leader(node, id, &leader.node, (log_id, epoch));
        if !self.may_lead(&record) || !self.is_gone(&leader) {
            // An eligible replica may lead only if all replicas in sync are gone, so it probes all
            // of them. Any other replica probes the leader only.
            let is_eligible = record.eligible.contains(&own);
            for replica in record.in_sync.iter().filter(|id| is_eligible || **id == leader) {
                self.links.get_mut(&replica.node).into_iter().for_each(|link| link.probe(now));
            }
            return;
        }
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let changed_at = Some(partition.changed_at).filter(|at| *at > Duration::ZERO);
        let peace = changed_at.map(|at| at.saturating_add(GRACE)).max(self.may_go_at(&leader));
        if let Some(peace) = peace.filter(|at| *at > now && !self.has_new_incarnation(&leader)) {
            node.mark(marks::LEAVES_IN_PEACE);
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.request_metadata(now);
                (partition.metadata.not_before, partition.due_at) = (peace, Some(peace));
            }
            return;
        }
        let is_eligible = !record.in_sync.contains(&own);
        node.mark(if is_eligible { marks::ELIGIBLE_TAKES_OVER } else { marks::TAKES_OVER });
        self.propose_to_lead(node, id, &record);
    }

    /// True if this replica is certain to have all committed entries, and so may take over.
    fn may_lead(&self, record: &Metadata) -> bool {
        let own = self.own.replica();
        record.in_sync.contains(&own)
            || self.is_last_resort(record)
            || !self.config.rules.hold(Rule::ElectInSync)
    }

    /// True if this replica is eligible, and all replicas in sync are gone.
    fn is_last_resort(&self, record: &Metadata) -> bool {
        let own = self.own.replica();
        record.eligible.contains(&own) && record.in_sync.iter().all(|id| self.is_gone(id))
    }

    /// Takes a newer version of the record for the epoch in which this node leads.
    fn apply_own_metadata(&mut self, node: &mut Node<Event>, id: PartitionId, record: Metadata) {
        let now = node.now();
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        node.persist(&partition.record_proposal(record.clone()));
        partition.due_at = Some(now);
        if let Some(lead) = partition.role.as_leader_mut() {
            let change = match record.in_sync.len().cmp(&lead.record().in_sync.len()) {
                Ordering::Less => Some("shrink"),
                Ordering::Equal => None,
                Ordering::Greater => Some("expand"),
            };
            if let Some(change) = change {
                node.count(&metrics::IN_SYNC_CHANGES, &[change], 1);
            }
            lead.adopt(record, now);
        }
        self.advance_high_watermark(node, id);
    }

    fn propose_to_lead(&mut self, node: &mut Node<Event>, id: PartitionId, record: &Metadata) {
        let Some(partition) = self.partitions.get(&id) else { return };
        let epoch = partition.next_epoch();
        let mut from = record.clone();
        if self.is_last_resort(record) || !self.config.rules.hold(Rule::ElectInSync) {
            from.in_sync.insert(self.own.replica());
        }
        let now = node.now();
        let goes = |id: &ReplicaId| self.is_gone(id) && self.may_go(now, id);
        let next = from.taken_over(&self.own.replica(), goes);
        if let Some(next) = next {
            let mut next = next.with_eligible(record, self.config.in_sync_min);
            next.epoch = next.epoch.max(epoch);
            info!(partition = id, epoch = next.epoch, from = %record.leader.node, "asks lin-kv for the leadership of the partition");
            self.swap(node, id, record.clone(), next, false);
        }
    }

    /// Takes the outcome of a compare-and-set.
    pub(crate) fn record_swapped(
        &mut self,
        node: &mut Node<Event>,
        id: PartitionId,
        record: Metadata,
        result: Result<Cas, RpcError>,
    ) {
        let now = node.now();
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        (partition.metadata.is_busy, partition.metadata.is_swapping) = (false, false);
        match result {
            Ok(Cas::Swapped) => {
                partition.due_at = Some(now);
                match partition.leadership() {
                    Some(lead) if lead.epoch() == record.epoch => {
                        self.apply_own_metadata(node, id, record);
                    }
                    _ => self.begin_to_lead(node, id, record),
                }
            }
            Ok(Cas::Mismatch) => {
                node.mark(marks::CAS_MISMATCH);
                partition.request_metadata(now);
            }
            Ok(Cas::Missing) => {
                partition.request_metadata(now);
                self.retry_lin_kv(node, id, 100..300);
            }
            Err(error) => {
                debug!(partition = id, %error, "lin-kv cannot be changed");
                node.mark(marks::CAS_UNKNOWN);
                if partition.leadership().is_none() {
                    partition.request_metadata(now);
                }
                self.retry_lin_kv(node, id, 100..300);
            }
        }
    }

    fn begin_to_lead(&mut self, node: &mut Node<Event>, id: PartitionId, record: Metadata) {
        let now = node.now();
        let replicas = self.placement.replicas(id).to_vec();
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        if record.epoch <= partition.epoch() || record.leader != self.own.replica() {
            return;
        }
        info!(partition = id, epoch = record.epoch, "leads the partition");
        node.count(&metrics::ELECTIONS, &[], 1);
        if !self.config.rules.hold(Rule::LeadWithWholeLog) {
            let to = partition.high();
            partition.log.truncate(to);
            node.persist(&crate::Record::Truncate { partition: id, to });
        }
        let end = partition.log.end();
        let Config { in_sync_min, rules, .. } = self.config;
        let mut leader = Leader::new(record, &replicas, end, in_sync_min, now).under(rules);
        for follower in &replicas {
            let incarnation = self.links.get(follower).and_then(crate::Link::incarnation);
            leader.reset_progress(follower, incarnation, end);
        }
        let records = partition.become_leader(leader, now);
        Self::persist(node, records);
        for follower in &replicas {
            self.schedule_append(now, follower, id, Urgency::Lingering);
        }
        self.advance_high_watermark(node, id);
        self.leader_changed(node, id);
    }

    /// Leads a partition in a cluster of one node. It needs no record in `lin-kv`.
    pub(crate) fn lead_single_node(&mut self, node: &mut Node<Event>, id: PartitionId) {
        let own = self.own.replica();
        let partition = self.open(id);
        partition.due_at = None;
        if partition.leadership().is_none() {
            let epoch = partition.epoch().saturating_add(1);
            let log_id = if partition.log_id() == 0 { draw_name(node) } else { partition.log_id() };
            let record = Metadata { epoch, ..Metadata::first(log_id, own, []) };
            self.begin_to_lead(node, id, record);
        }
    }

    /// Takes the news that `leader` leads a log in an epoch. Enters that epoch, if it is newer.
    pub(crate) fn observe_leader(
        &mut self,
        node: &mut Node<Event>,
        id: PartitionId,
        leader: &NodeId,
        (log_id, epoch): (LogId, Epoch),
    ) {
        let now = node.now();
        let keeps = self.keeps(id);
        let crate::Config { rules, dedupe_window, .. } = self.config;
        let partition = self.open(id);
        if !partition.accepts_log(log_id) {
            if keeps {
                return partition.request_metadata(now);
            }
            // This node keeps no replica of the partition, so it follows any log of it that it
            // hears of.
            *partition = crate::Partition::new(id, rules).with_dedupe_window(dedupe_window);
        }
        let before = (partition.epoch(), partition.leader().cloned());
        let record = partition.enter(log_id, epoch, leader.clone(), now);
        let is_change = before != (partition.epoch(), partition.leader().cloned());
        Self::persist(node, record.filter(|_| keeps));
        if is_change {
            self.leader_changed(node, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_in_the_minority_since_it_reaches_less_than_half_of_all_nodes() {
        for (nodes, silent, since) in [
            (1, &[][..], None),
            (2, &[5], None),
            (3, &[5], None),
            (3, &[9, 5], Some(9)),
            (4, &[9, 5], None),
            (4, &[9, 5, 7], Some(9)),
            (5, &[9, 5, 7], Some(9)),
            (5, &[9, 5, 7, 11], Some(9)),
        ] {
            let silent = silent.iter().copied().map(Duration::from_secs).collect();
            assert_eq!(minority_since(nodes, silent), since.map(Duration::from_secs), "{nodes}");
        }
    }
}
