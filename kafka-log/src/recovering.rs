//! The handler's part for partitions that `lin-kv` has no record of. The handler creates a new
//! partition. It recovers any other partition from the records of its replicas
//! ([`crate::recovery`]).
//!
//! The steps, at each replica:
//!
//! 1. `lin-kv` has no record ([`KafkaLog::record_missing`]). A leader steps down.
//! 2. The replica sends all others a description of its records, and asks for theirs
//!    (`ask_others`). [`KafkaLog::holding_from`] takes them. A new partition in a fresh cluster
//!    costs no message: a peer that holds nothing of any partition has said so in its first
//!    packets, and is not asked.
//! 3. When all descriptions are there, the node with the most complete log creates the record, and
//!    leads ([`KafkaLog::recover_partition`]). The others follow it like any new leader.
//!
//! A node without a disk cannot know of earlier lives. It creates a partition that it knows nothing
//! of.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{Node, NodeId};
use rand::Rng;
use tracing::{debug, info, warn};

use crate::marks;
use crate::meta::Metadata;
use crate::packets::Urgency;
use crate::recovery::{Comparison, Decision, Holding, Reason, UNCLEAN_EPOCHS};
use crate::rules::Rule;
use crate::wire::{HoldingReport, LogId, PartitionId};
use crate::{Event, KafkaLog, Link};

/// Draws the name of a new log. 53 bits: any JSON parser keeps all digits of such a number.
pub(crate) fn draw_name(node: &mut Node<Event>) -> LogId {
    (node.rng().next_u64() >> 11).max(1)
}

impl KafkaLog {
    /// Takes the news that `lin-kv` has no record of a partition.
    pub(crate) fn record_missing(&mut self, node: &mut Node<Event>, id: PartitionId) {
        let now = node.now();
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let compares = self.config.rules.hold(Rule::CompareReplicas);
        if !compares || !(node.is_durable() || partition.holding().has_log()) {
            return self.create(node, id);
        }
        let led = partition.leadership().is_some();
        node.mark(marks::COMPARES);
        partition.metadata.is_wanted = false;
        partition.begin_recovery(now).postpone(now);
        if led {
            self.leader_changed(node, id);
        }
        self.ask_others(node, id);
        self.recover_partition(node, id);
    }

    /// Asks the replicas that have not described their records yet.
    fn ask_others(&mut self, node: &mut Node<Event>, id: PartitionId) {
        let now = node.now();
        for peer in self.silent_replicas(id) {
            let Some(link) = self.links.get_mut(&peer) else { continue };
            if link.life().is_none() {
                // Its first packet may be enough.
                link.probe(now);
            } else {
                link.queue.holdings.insert(id);
                self.schedule_packet(now, &peer, Urgency::Lingering);
            }
        }
    }

    /// The descriptions of the replicas' records that this node has.
    fn holdings(&self, id: PartitionId) -> BTreeMap<NodeId, (u64, Holding)> {
        let Some(partition) = self.partitions.get(&id) else { return BTreeMap::new() };
        let recovery = partition.recovery.as_ref();
        let mut holdings = recovery.map(|recovery| recovery.answers().clone()).unwrap_or_default();
        holdings.insert(self.own.id.clone(), (self.own.incarnation, partition.holding()));
        if holdings.values().all(|(_, holding)| holding.is_empty()) {
            for peer in self.placement.replicas(id) {
                let link = self.links.get(peer).filter(|link| link.reported_no_records());
                if let Some(incarnation) = link.and_then(Link::incarnation) {
                    let told = || (incarnation, Holding::default());
                    holdings.entry(peer.clone()).or_insert_with(told);
                }
            }
        }
        holdings
    }

    /// The other replicas whose records are not known.
    fn silent_replicas(&self, id: PartitionId) -> Vec<NodeId> {
        let holdings = self.holdings(id);
        let silent =
            self.placement.replicas(id).iter().filter(|peer| !holdings.contains_key(*peer));
        silent.cloned().collect()
    }

    /// Takes a peer's description of its records of a partition. The peer may ask for this node's.
    pub(crate) fn holding_from(
        &mut self,
        node: &mut Node<Event>,
        src: &NodeId,
        report: HoldingReport,
    ) {
        let (now, id) = (node.now(), report.partition);
        if ![src, &self.own.id].into_iter().all(|end| self.placement.keeps(end, id)) {
            return debug!(peer = %src, partition = id, "ignored a report about a partition that this node does not keep");
        }
        if let Some(link) = self.links.get_mut(src).filter(|_| !report.holding.is_empty()) {
            link.note_records();
        }
        let incarnation = self.links.get(src).and_then(Link::incarnation);
        let keeps = self.keeps(id);
        let partition = self.open(id);
        let may_report_holding = partition.may_report_holding();
        if let Some(recovery) = &mut partition.recovery {
            recovery.answered(src.clone(), incarnation.unwrap_or(0), report.holding);
            partition.due_at = Some(now);
        } else if keeps && report.asks && !partition.holding().is_empty() {
            // The peer found no record in `lin-kv`. This node looks for itself.
            partition.request_metadata(now);
        }
        if report.asks && may_report_holding {
            if let Some(link) = self.links.get_mut(src) {
                link.queue.holdings.insert(id);
            }
            self.schedule_packet(now, src, Urgency::Urgent);
        }
    }

    /// Looks again at the partitions that are being recovered, since a peer may now describe other
    /// records.
    pub(crate) fn recover_with(&mut self, now: Duration, peer: &NodeId) {
        let placement = &self.placement;
        self.partitions.for_each_mut(|id, partition| {
            if partition.recovery.is_some() && placement.keeps(peer, id) {
                partition.due_at = Some(now);
            }
        });
    }

    /// True if the recovery of a partition waits for a peer's description.
    pub(crate) fn is_waited_for_by_recovery(&self, peer: &NodeId) -> bool {
        let mut all = self.partitions.iter();
        all.any(|(id, partition)| {
            let recovery = partition.recovery.as_ref();
            recovery.is_some_and(|recovery| recovery.lacks(peer)) && self.placement.keeps(peer, id)
        })
    }

    /// Takes the news that `lin-kv` names another log than this node's records. The node keeps the
    /// records, and does not use them.
    pub(crate) fn refuse_log(
        &mut self,
        node: &mut Node<Event>,
        id: PartitionId,
        record: &Metadata,
    ) {
        warn!(
            partition = id,
            "lin-kv names another log than the one that this node keeps, and does not use: start the \
             node with an empty folder to have it follow the other nodes"
        );
        if let Some(old) = self.partitions.remove(&id) {
            self.refused.insert(id, old);
        }
        let Metadata { log_id, epoch, leader, .. } = record;
        self.observe_leader(node, id, &leader.node, (*log_id, *epoch));
    }

    /// Tells a leader of another log that this node does not follow it.
    pub(crate) fn refuse_leader_of_other_log(
        &mut self,
        now: Duration,
        leader: &NodeId,
        id: PartitionId,
    ) {
        if let Some(link) = self.links.get_mut(leader) {
            link.queue_ack(id);
        }
        self.schedule_packet(now, leader, Urgency::Lazy);
    }

    /// Logs why a partition is unavailable. Logs a reason once, even if several partitions have it.
    fn report(&mut self, id: PartitionId, reason: Reason) {
        if self.reported.as_ref() != Some(&reason) {
            warn!(partition = id, "{reason}: the partition is unavailable");
            self.reported = Some(reason);
        }
    }

    /// True if this node has records of any partition.
    pub(crate) fn has_records(&self) -> bool {
        let mut all = self.partitions.iter();
        !self.refused.is_empty()
            || all.any(|(id, partition)| self.keeps(id) && !partition.holding().is_empty())
    }

    /// Decides on the partition, if enough of the replicas' records is known, and acts on the
    /// decision.
    pub(crate) fn recover_partition(&mut self, node: &mut Node<Event>, id: PartitionId) {
        let now = node.now();
        let Some(recovery) = self.partitions.get(&id).and_then(|p| p.recovery.as_ref()) else {
            return;
        };
        let unclean_at = self.config.unclean_recovery.then(|| recovery.unclean_at());
        let is_unclean = unclean_at.is_some_and(|at| at <= now);
        let skipped = UNCLEAN_EPOCHS.saturating_add(node.rng().next_u64() % UNCLEAN_EPOCHS);
        let unclean = is_unclean.then_some(skipped);
        let comparison = Comparison {
            replicas: self.placement.replicas(id),
            holdings: self.holdings(id),
            unclean,
        };
        let (waits_for, reason) = match comparison.decide(&self.own.id) {
            Decision::Create => return self.create(node, id),
            Decision::Lead(mut record) => {
                if record.log_id == 0 {
                    record.log_id = draw_name(node);
                }
                info!(
                    partition = id,
                    epoch = record.epoch,
                    is_unclean,
                    "leads the partition after a recovery"
                );
                node.mark(marks::RECOVERS);
                return self.swap(node, id, record.clone(), record, true);
            }
            Decision::Follow(leader) if self.links.get(&leader).is_some_and(Link::is_down) => {
                // That node described its records, and failed before it led. It counts as silent
                // until it does so again.
                let partition = self.partitions.get_mut(&id);
                if let Some(recovery) = partition.and_then(|p| p.recovery.as_mut()) {
                    recovery.forget(&leader);
                }
                return self.recover_partition(node, id);
            }
            Decision::Follow(leader) => {
                node.mark(marks::FOLLOWS_MORE);
                (vec![leader], None)
            }
            Decision::Wait(Reason::Silent(nodes)) => (nodes.clone(), Some(Reason::Silent(nodes))),
            Decision::Wait(reason) => (Vec::new(), Some(reason)),
        };
        // Nodes that are down are not asked. The link to such a node notices when it is back.
        let is_down = |peer: &NodeId| self.links.get(peer).is_some_and(Link::is_down);
        let is_in_vain = !waits_for.is_empty() && waits_for.iter().all(is_down);
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let Some(recovery) = &mut partition.recovery else { return };
        recovery.reason = reason;
        if !is_in_vain && recovery.retry_at <= now {
            // A node that should lead and does not may have other records by now.
            waits_for.iter().for_each(|peer| recovery.forget(peer));
            return partition.request_metadata(now);
        }
        let retry_at = (!is_in_vain).then_some(recovery.retry_at);
        let unclean_at = unclean_at.filter(|at| *at > now);
        let to_log = recovery.reason_to_log(now);
        let times = [retry_at, unclean_at, recovery.log_at()];
        partition.due_at = times.into_iter().flatten().min();
        if let Some(reason) = to_log {
            self.report(id, reason);
        }
    }
}
