//! The handler's part for packets: it takes apart the packets of a peer, and acts when a peer stays
//! silent.

use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::{Error, Node, NodeId, trace};
use tracing::{debug, info, trace, warn};

use crate::indexed::Index;
use crate::link::{LAZY, part};
use crate::marks;
use crate::metrics;
use crate::wire::{Ack, Append, Packet, PartitionId, Position, Record};
use crate::{Event, KafkaLog};

/// A request that already waited gets only this fraction of `--linger`: a half. With a quarter, two
/// nodes that linger for 5 ms would answer sends in three quarters of the time, and would send a
/// sixth more messages.
const URGENT_PART: u32 = 2;

/// How long a follower with uncommitted entries waits for a new high watermark before it checks its
/// leader.
const UNSURE_MAX: Duration = Duration::from_secs(1);

/// The shortest time between two rounds in which a node asks all peers whether they are up.
const ASK_ALL_INTERVAL: Duration = Duration::from_secs(1);

/// The urgency of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// The item is new, and lingers: it may wait for others.
    Lingering,
    /// A request waits for the item, and has already waited.
    Urgent,
    /// The item may wait for other items. No request waits for it, or it answers a demand, and the
    /// demand itself sets the time of the answer.
    Lazy,
}

impl KafkaLog {
    /// Schedules a packet to `peer`, for an item that was put into its queue.
    pub(crate) fn schedule_packet(&mut self, now: Duration, peer: &NodeId, urgency: Urgency) {
        let linger = self.config.linger;
        if let Some(link) = self.links.get_mut(peer) {
            if link.is_down() {
                // The item waits as long as the peer is down, so ask whether the peer is up.
                link.probe(now);
            }
            match urgency {
                Urgency::Lingering => link.start_linger(now),
                Urgency::Urgent => link.schedule_by(now.saturating_add(part(linger, URGENT_PART))),
                Urgency::Lazy => link.schedule_by(now.saturating_add(LAZY)),
            }
        }
    }

    /// Schedules a message of replication for a follower.
    pub(crate) fn schedule_append(
        &mut self,
        now: Duration,
        peer: &NodeId,
        partition: PartitionId,
        urgency: Urgency,
    ) {
        if let Some(link) = self.links.get_mut(peer) {
            link.queue.appends.insert(partition);
        }
        self.schedule_packet(now, peer, urgency);
    }

    /// The partitions that this node leads and `peer` follows.
    fn led_for(&self, peer: &NodeId) -> Vec<PartitionId> {
        let led = self.partitions.iter().filter(|(_, partition)| {
            partition.leadership().is_some_and(|lead| lead.followers().any(|node| node == peer))
        });
        led.map(|(id, _)| id).collect()
    }

    /// Takes a message of type `packet`.
    pub(crate) fn packet_from(
        &mut self,
        node: &mut Node<Event>,
        src: &NodeId,
        packet: Packet,
    ) -> Result<(), Error> {
        let (now, life) = (node.now(), self.own.life);
        let Some(link) = self.links.get_mut(src) else {
            return Err(Error::malformed_request("packets are between the nodes of a cluster"));
        };
        let linger = self.config.linger;
        let received = link.receive(now, &packet, life, part(linger, URGENT_PART));
        trace!(peer = %src, heard = ?received, number = packet.number, "hears");
        if let Some(theirs) = received.settings {
            self.compare_settings(src, theirs);
        }
        if received.is_new_life {
            node.mark(marks::NEW_LIFE);
            self.forget_former_life(now, src);
        }
        if received.is_new_life || received.is_back {
            self.recover_with(now, src);
        }
        if received.is_back {
            info!(peer = %src, "a peer is up again");
            node.mark(marks::BACK);
            self.peer_is_back(now, src);
        }
        if !received.counts {
            return Ok(());
        }
        for append in packet.appends {
            self.append_from(node, src, append);
        }
        for ack in &packet.acks {
            self.ack_from(node, src, ack);
        }
        for send in packet.sends {
            self.send_from(node, src, packet.life, send);
        }
        for outcome in packet.send_outcomes {
            self.send_outcome_from(node, src, &outcome);
        }
        for poll in packet.polls {
            self.poll_from(node, src, poll);
        }
        for polled in packet.polled {
            self.polled_by(node, polled);
        }
        for report in packet.holdings {
            self.holding_from(node, src, report);
        }
        if received.is_answered {
            self.resend_lost_entries(node, src);
        }
        Ok(())
    }

    /// The peer has begun a new life. This node must learn again which entries and watermarks the
    /// peer has.
    fn forget_former_life(&mut self, now: Duration, peer: &NodeId) {
        debug!(peer = %peer, "a peer has started");
        let incarnation = self.links.get(peer).and_then(crate::Link::incarnation);
        for id in self.led_for(peer) {
            if let Some(partition) = self.partitions.get_mut(&id) {
                let end = partition.log.end();
                if let Some(lead) = partition.role.as_leader_mut() {
                    lead.reset_progress(peer, incarnation, end);
                }
                partition.due_at = Some(now);
            }
        }
        self.peer_is_back(now, peer);
        // The peer's records may be gone, and its leadership with them.
        let own = self.own.id.clone();
        self.partitions.for_each_mut(|id, partition| {
            if let Some(recovery) = &mut partition.recovery {
                recovery.forget(peer);
            }
            let is_led = partition.leader() == Some(peer);
            let leader_incarnation = partition.leader_incarnation();
            if let Some(follower) = partition.role.as_follower_mut()
                && is_led
                && leader_incarnation.is_some_and(|known| Some(known) != incarnation)
            {
                follower.leader_incarnation = None;
                partition.metadata.is_wanted |= self.placement.keeps(&own, id);
                partition.due_at = Some(now);
            }
        });
    }

    fn peer_is_back(&mut self, now: Duration, peer: &NodeId) {
        for id in self.led_for(peer) {
            self.schedule_append(now, peer, id, Urgency::Lingering);
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.due_at = Some(now);
            }
        }
        for id in self.sends.at(peer) {
            if let Some(link) = self.links.get_mut(peer) {
                link.queue.sends.insert(id);
            }
        }
        if self.links.get(peer).is_some_and(|link| !link.queue.is_empty()) {
            self.schedule_packet(now, peer, Urgency::Lingering);
        }
    }

    fn append_from(&mut self, node: &mut Node<Event>, src: &NodeId, mut append: Append) {
        let (now, id, epoch) = (node.now(), append.partition, append.epoch);
        if self.refused.contains_key(&id) {
            return self.refuse_leader_of_other_log(now, src, id);
        }
        if !self.keeps(id) || !self.placement.keeps(src, id) {
            return debug!(peer = %src, partition = id, "ignored an append to a partition that this node does not keep");
        }
        let retention = self.config.retention.clone();
        if let Some(link) = self.links.get_mut(src) {
            link.note_records();
        }
        let incarnation = self.links.get(src).and_then(crate::Link::incarnation);
        let partition = self.open(id);
        let keeps_other_log = !partition.accepts_log(append.log_id);
        let before = (partition.epoch(), partition.leader().cloned());
        if epoch < partition.epoch() && !keeps_other_log {
            node.mark(marks::FENCED);
        }
        // An unclean recovery may truncate committed entries, and the high watermark with them.
        // Sends from the lower position on may be committed now.
        let committed = partition.high().min(append.at);
        let requests = std::mem::take(&mut append.requests);
        let mut records = partition.replicate(src, append, &retention, now);
        log_replicated(src, id, &requests, &records);
        if partition.leader() == Some(src) && partition.epoch() == epoch && !keeps_other_log {
            records.extend(incarnation.and_then(|incarnation| partition.learn_leader(incarnation)));
            if partition.high() < partition.log.end() {
                let at = now.saturating_add(UNSURE_MAX);
                partition.due_at = Some(partition.due_at.map_or(at, |due| due.min(at)));
            }
        }
        let is_change = before != (partition.epoch(), partition.leader().cloned());
        let ack = partition.ack();
        let is_urgent = !ack.matched || ack.gap || ack.epoch > epoch;
        if records.iter().any(|record| matches!(record, Record::Truncate { .. })) {
            node.mark(marks::TRUNCATES);
            node.count(&metrics::TRUNCATIONS, &[], 1);
        }
        if !ack.matched && !keeps_other_log {
            node.mark(marks::MISMATCH);
        }
        if ack.gap {
            node.mark(marks::GAP);
        }
        if keeps_other_log {
            partition.request_metadata(now);
        }
        Self::persist(node, records);
        if let Some(link) = self.links.get_mut(src) {
            link.queue_ack(id);
        }
        self.schedule_packet(now, src, if is_urgent { Urgency::Urgent } else { Urgency::Lazy });
        if is_change {
            debug!(partition = id, epoch, leader = %src, "follows a leader");
            self.leader_changed(node, id);
        }
        self.reply_to_committed(node, id, committed);
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.log.retain(&retention, partition.high(), now);
        }
    }

    /// Writes the next part of a leader's floor, if a partition starts again.
    pub(crate) fn write_next_floor_part(&mut self, node: &mut Node<Event>) {
        let Some(id) = self.partitions.restarting() else { return };
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let committed = partition.high();
        let part = partition.restart_next();
        let records = part.into_iter().chain(partition.note_match());
        let is_done = !partition.is_restarting();
        let leader = partition.leader().cloned();
        Self::persist(node, records);
        if let Some(leader) = leader.filter(|_| is_done) {
            if let Some(link) = self.links.get_mut(&leader) {
                link.queue_ack(id);
            }
            self.schedule_packet(node.now(), &leader, Urgency::Urgent);
            self.reply_to_committed(node, id, committed);
        }
    }

    fn ack_from(&mut self, node: &mut Node<Event>, src: &NodeId, ack: &Ack) {
        let (now, id) = (node.now(), ack.partition);
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let keeps_other_log = !partition.accepts_log(ack.log_id);
        let Some(lead) = partition.role.as_leader_mut() else { return };
        if keeps_other_log {
            if lead.mark_other_log(src) {
                warn!(partition = id, peer = %src, "a peer keeps another log of this partition");
                // This node's log may be the wrong one.
                partition.request_metadata(now);
            }
            return;
        }
        if ack.epoch > lead.epoch() {
            info!(partition = id, epoch = ack.epoch, peer = %src, "a peer knows a newer leader");
            node.mark(marks::STEPS_DOWN);
            node.count(&metrics::STEP_DOWNS, &[], 1);
            partition.step_down();
            partition.request_metadata(now);
            return self.leader_changed(node, id);
        }
        lead.acknowledged(src, ack, &partition.log);
        partition.due_at = Some(now);
        if !ack.matched || ack.gap {
            self.schedule_append(now, src, id, Urgency::Lingering);
        }
        self.advance_high_watermark(node, id);
    }

    /// The peer has answered all demands, so entries that it still lacks were lost.
    fn resend_lost_entries(&mut self, node: &mut Node<Event>, peer: &NodeId) {
        let now = node.now();
        for id in self.partitions.waiting_for(peer) {
            let Some(partition) = self.partitions.get_mut(&id) else { continue };
            let end = partition.log.end();
            let Some(lead) = partition.role.as_leader_mut() else { continue };
            lead.rewind(peer);
            let is_behind = !lead.has_all(peer, end);
            if is_behind {
                node.mark(marks::LOST_PACKETS);
            }
            let urgency = if is_behind { Urgency::Lingering } else { Urgency::Lazy };
            self.schedule_append(now, peer, id, urgency);
        }
    }

    /// Asks again where answers are late, and marks peers that stay silent as down.
    pub(crate) fn time_out_links(&mut self, node: &mut Node<Event>) {
        let now = node.now();
        let late =
            self.links.iter().filter(|(_, link)| link.deadline().is_some_and(|at| at <= now));
        let is_doubted = late.clone().any(|(_, link)| !link.is_down());
        let late: Vec<NodeId> = late.map(|(peer, _)| peer.clone()).collect();
        if is_doubted {
            self.ask_all(now);
        }
        for peer in late {
            let goes_on = self.is_wanted(&peer);
            let falls = self.links.get_mut(&peer).is_some_and(|link| link.time_out(now, goes_on));
            for id in self.led_for(&peer) {
                if let Some(lead) =
                    self.partitions.get_mut(&id).and_then(|p| p.role.as_leader_mut())
                {
                    lead.rewind(&peer);
                }
                if let Some(link) = self.links.get_mut(&peer) {
                    link.queue.appends.insert(id);
                }
            }
            if falls {
                info!(peer = %peer, "a peer is down: it does not answer");
                node.mark(marks::DOWN);
                node.count(&metrics::FAILURES, &[], 1);
                self.peer_failed(node, &peer);
            }
        }
    }

    /// Asks all peers whether they are up, at most once per [`ASK_ALL_INTERVAL`]. An answer is late.
    /// So this node has to know whether it is in the minority. A peer that is down may be back.
    fn ask_all(&mut self, now: Duration) {
        let is_early = |last: Duration| now < last.saturating_add(ASK_ALL_INTERVAL);
        if self.asked_all_at.is_some_and(is_early) {
            return;
        }
        self.asked_all_at = Some(now);
        self.links.values_mut().for_each(|link| link.probe(now));
    }

    /// True if this node needs to know whether the peer is up.
    fn is_wanted(&self, peer: &NodeId) -> bool {
        !self.sends.at(peer).is_empty()
            || self.links.get(peer).is_some_and(|link| link.life().is_none())
            || !self.partitions.waiting_for(peer).is_empty()
            || self.partitions.iter().any(|(_, p)| p.metadata.is_wanted && p.leader() == Some(peer))
            || self.is_waited_for_by_recovery(peer)
    }

    fn peer_failed(&mut self, node: &mut Node<Event>, peer: &NodeId) {
        let now = node.now();
        self.partitions.for_each_mut(|_, partition| {
            let is_concerned = partition.metadata.is_wanted || partition.leader() == Some(peer);
            if is_concerned || partition.leadership().is_some() {
                partition.due_at = Some(now);
            }
        });
        for id in self.sends.at(peer) {
            self.dispatch(node, id);
        }
    }
}

/// Logs the clients' requests whose entries are in these records.
fn log_replicated(
    leader: &NodeId,
    partition: PartitionId,
    requests: &[(Position, Arc<str>)],
    records: &[Record],
) {
    if requests.is_empty() || !trace::is_enabled() {
        return;
    }
    let has = |record: &Record, position: Position| match record {
        Record::Append { at, entries, .. } => {
            (*at..at.saturating_add(entries.len() as u64)).contains(&position)
        }
        _ => false,
    };
    for (position, request) in requests {
        if records.iter().any(|record| has(record, *position)) {
            let _span = trace::span(request).entered();
            debug!(target: trace::TARGET, peer = %leader, partition, position, "replicated");
        }
    }
}
