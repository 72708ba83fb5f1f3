//! Packets: what comes from a peer is taken apart, and what is to be said to it is put together.

use std::time::Duration;

use maelstrom_core::{Error, Node, NodeId};
use tracing::{debug, info, trace};

use crate::link::{LAZY, part};
use crate::wire::{Ack, Append, Body, Packet, PartitionId};
use crate::{Event, KafkaLog};

/// How soon a peer that was asked to append or to look something up has to say that it got that, if
/// the answer takes longer.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);

/// Who has waited already waits for so small a part of `--linger` more. With a half, two nodes that
/// linger for 5 ms need a seventh less messages and get on 5 % more slowly.
const SOON_PART: u32 = 4;

/// How long a follower waits to be told that what it has is committed, before it looks after its
/// leader.
const UNSURE_MAX: Duration = Duration::from_secs(1);

/// How urgent something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It is news, and may be collected.
    Fresh,
    /// Somebody waits for it who has waited already.
    Soon,
    /// Nobody waits for it.
    Lazy,
}

impl KafkaLog {
    /// Something is in the queue for `peer`.
    pub(crate) fn touch(&mut self, now: Duration, peer: &NodeId, when: When) {
        let linger = self.config.linger;
        if let Some(link) = self.links.get_mut(peer) {
            if link.is_down() {
                // It would wait in vain, unless the peer turns out to be up.
                link.probe(now);
            }
            match when {
                When::Fresh => link.freshen(now),
                When::Soon => link.owe(now.saturating_add(part(linger, SOON_PART))),
                When::Lazy => link.owe(now.saturating_add(LAZY)),
            }
        }
    }

    /// There is something of a partition that a follower has not been told.
    pub(crate) fn touch_follower(
        &mut self,
        now: Duration,
        peer: &NodeId,
        partition: PartitionId,
        when: When,
    ) {
        if let Some(link) = self.links.get_mut(peer) {
            link.queue.appends.insert(partition);
        }
        self.touch(now, peer, when);
    }

    /// The partitions that this node leads and `peer` follows.
    fn led_for(&self, peer: &NodeId) -> Vec<PartitionId> {
        let led = self.partitions.iter().filter(|(_, partition)| {
            partition.lead.as_ref().is_some_and(|lead| lead.followers().any(|node| node == peer))
        });
        led.map(|(id, _)| *id).collect()
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
        let heard = link.hear(now, &packet, life, part(linger, SOON_PART));
        trace!(peer = %src, ?heard, number = packet.number, "hears");
        if heard.is_new_life {
            self.peer_began(now, src);
        }
        if heard.is_back {
            info!(peer = %src, "is back");
            self.peer_is_back(now, src);
        }
        if !heard.counts {
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
        for sent in packet.sent {
            self.sent_by(node, src, &sent);
        }
        for poll in packet.polls {
            self.poll_from(now, src, poll);
        }
        for polled in packet.polled {
            self.polled_by(node, polled);
        }
        if heard.is_answered {
            self.send_again_what_was_lost(now, src);
        }
        Ok(())
    }

    /// The peer has begun a new life: what it has and knows is to be found out anew.
    fn peer_began(&mut self, now: Duration, peer: &NodeId) {
        debug!(peer = %peer, "has begun a life");
        let incarnation = self.links.get(peer).and_then(crate::Link::incarnation);
        for id in self.led_for(peer) {
            if let Some(partition) = self.partitions.get_mut(&id) {
                let end = partition.log.end();
                if let Some(lead) = &mut partition.lead {
                    lead.meet(peer, incarnation, end);
                }
                partition.tend_at = Some(now);
            }
        }
        self.peer_is_back(now, peer);
        // Its records may be gone, and what it led with them.
        let own = self.own.id.clone();
        for (id, partition) in &mut self.partitions {
            let is_led = partition.leader() == Some(peer);
            if is_led && partition.led_by.is_some_and(|led_by| Some(led_by) != incarnation) {
                partition.led_by = None;
                partition.errand.is_wanted |= self.placement.keeps(&own, *id);
                partition.tend_at = Some(now);
            }
        }
    }

    fn peer_is_back(&mut self, now: Duration, peer: &NodeId) {
        for id in self.led_for(peer) {
            self.touch_follower(now, peer, id, When::Fresh);
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.tend_at = Some(now);
            }
        }
        for id in self.sends.at(peer) {
            if let Some(link) = self.links.get_mut(peer) {
                link.queue.sends.insert(id);
            }
        }
        if self.links.get(peer).is_some_and(|link| !link.queue.is_empty()) {
            self.touch(now, peer, When::Fresh);
        }
    }

    fn append_from(&mut self, node: &mut Node<Event>, src: &NodeId, append: Append) {
        let (now, id, epoch) = (node.now(), append.partition, append.epoch);
        if !self.keeps(id) || !self.placement.keeps(src, id) {
            return debug!(peer = %src, partition = id, "appends to what is not kept here");
        }
        let retention = self.config.retention.clone();
        let incarnation = self.links.get(src).and_then(crate::Link::incarnation);
        let partition = self.open(id);
        let before = (partition.epoch(), partition.leader().cloned());
        let records = partition.append_from(src, append, &retention, now);
        if partition.leader() == Some(src) {
            partition.led_by = incarnation;
            if partition.high() < partition.log.end() {
                let at = now.saturating_add(UNSURE_MAX);
                partition.tend_at = Some(partition.tend_at.map_or(at, |due| due.min(at)));
            }
        }
        let is_change = before != (partition.epoch(), partition.leader().cloned());
        let ack = partition.ack();
        let is_soon = !ack.matched || ack.gap || ack.epoch > epoch;
        Self::persist(node, records);
        if let Some(link) = self.links.get_mut(src) {
            link.queue.acks.insert(id);
        }
        self.touch(now, src, if is_soon { When::Soon } else { When::Lazy });
        if is_change {
            debug!(partition = id, epoch, leader = %src, "follows");
            self.leader_changed(node, id);
        }
        self.complete(node, id);
    }

    fn ack_from(&mut self, node: &mut Node<Event>, src: &NodeId, ack: &Ack) {
        let (now, id) = (node.now(), ack.partition);
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let Some(lead) = &mut partition.lead else { return };
        if ack.epoch > lead.epoch() {
            info!(partition = id, epoch = ack.epoch, peer = %src, "knows a newer leader");
            partition.lead = None;
            partition.forget_leader();
            partition.want(now);
            return self.leader_changed(node, id);
        }
        lead.acknowledged(src, ack, &partition.log);
        partition.tend_at = Some(now);
        if !ack.matched || ack.gap {
            self.touch_follower(now, src, id, When::Fresh);
        }
        self.settle(node, id);
    }

    /// All that was demanded of a peer has been answered: what it still lacks got lost.
    fn send_again_what_was_lost(&mut self, now: Duration, peer: &NodeId) {
        for id in self.led_for(peer) {
            let Some(partition) = self.partitions.get_mut(&id) else { continue };
            let (end, high) = (partition.log.end(), partition.high());
            let Some(lead) = &mut partition.lead else { continue };
            if !lead.is_done_with(peer, end, high) {
                lead.rewind(peer);
                let is_behind = !lead.has_all(peer, end);
                let when = if is_behind { When::Fresh } else { When::Lazy };
                self.touch_follower(now, peer, id, when);
            }
        }
    }

    /// Repeats what was not answered in time, and takes who stays silent to be down.
    pub(crate) fn time_out_links(&mut self, node: &mut Node<Event>) {
        let now = node.now();
        let late =
            self.links.iter().filter(|(_, link)| link.deadline().is_some_and(|at| at <= now));
        let late: Vec<NodeId> = late.map(|(peer, _)| peer.clone()).collect();
        for peer in late {
            let goes_on = self.is_wanted(&peer);
            let falls = self.links.get_mut(&peer).is_some_and(|link| link.time_out(now, goes_on));
            for id in self.led_for(&peer) {
                if let Some(lead) = self.partitions.get_mut(&id).and_then(|p| p.lead.as_mut()) {
                    lead.rewind(&peer);
                }
                if let Some(link) = self.links.get_mut(&peer) {
                    link.queue.appends.insert(id);
                }
            }
            if falls {
                info!(peer = %peer, "does not answer");
                self.peer_fell(node, &peer);
            }
        }
    }

    /// Whether anything depends on whether this peer is there.
    fn is_wanted(&self, peer: &NodeId) -> bool {
        let is_behind = |id: &PartitionId| {
            self.partitions.get(id).is_some_and(|partition| {
                let (end, high) = (partition.log.end(), partition.high());
                let lead = partition.lead.as_ref();
                lead.is_some_and(|lead| !lead.is_done_with(peer, end, high))
            })
        };
        !self.sends.at(peer).is_empty()
            || self.partitions.values().any(|p| p.errand.is_wanted && p.leader() == Some(peer))
            || self.links.get(peer).is_some_and(|link| link.life().is_none())
            || self.led_for(peer).iter().any(is_behind)
    }

    fn peer_fell(&mut self, node: &mut Node<Event>, peer: &NodeId) {
        let now = node.now();
        for partition in self.partitions.values_mut() {
            if partition.lead.is_some() || partition.errand.is_wanted {
                partition.tend_at = Some(now);
            }
        }
        for id in self.sends.at(peer) {
            self.dispatch(node, id);
        }
    }

    /// Sends what is due.
    pub(crate) fn flush_links(&mut self, node: &mut Node<Event>) {
        let (now, linger) = (node.now(), self.config.linger);
        let due = |link: &crate::Link| link.due(linger).is_some_and(|at| at <= now);
        let due: Vec<NodeId> =
            self.links.iter().filter(|(_, link)| due(link)).map(|(peer, _)| peer.clone()).collect();
        for peer in due {
            self.flush(node, &peer);
        }
    }

    fn flush(&mut self, node: &mut Node<Event>, peer: &NodeId) {
        let now = node.now();
        let Some(link) = self.links.get_mut(peer) else { return };
        let (mut body, mut within) = (Packet::default(), None);
        if link.life().is_some() {
            body.sent = std::mem::take(&mut link.queue.sent);
            body.polled = std::mem::take(&mut link.queue.polled);
            for id in std::mem::take(&mut link.queue.acks) {
                body.acks.extend(self.partitions.get(&id).map(crate::Partition::ack));
            }
        }
        let mut is_waited_for = false;
        if link.life().is_some() && !link.is_down() {
            self.pack_requests(peer, &mut body);
            is_waited_for = !body.sends.is_empty() || !body.polls.is_empty();
            within = is_waited_for.then_some(ANSWER_WITHIN);
            let is_urgent = self.pack_appends(peer, &mut body);
            if !body.appends.is_empty() {
                let soon = if is_urgent { Duration::ZERO } else { LAZY };
                within = Some(within.map_or(soon, |within: Duration| within.min(soon)));
                is_waited_for |= is_urgent;
            }
        }
        let Some(link) = self.links.get_mut(peer) else { return };
        let Packet { appends, acks, sends, sent, polls, polled, .. } = body;
        let is_empty = appends.is_empty()
            && acks.is_empty()
            && sends.is_empty()
            && sent.is_empty()
            && polls.is_empty()
            && polled.is_empty();
        if is_empty && !link.is_owed(now) {
            return link.calm();
        }
        let own = (self.own.life, self.own.incarnation);
        let head = link.head(now, own, within, is_waited_for);
        let packet = Packet { appends, acks, sends, sent, polls, polled, ..head };
        trace!(peer = %peer, ?packet, "tells");
        node.send(peer, &Body::Packet(&packet));
        if !link.queue.appends.is_empty() && !link.is_down() && link.life().is_some() {
            // There was more than goes into a packet.
            link.freshen(now);
        }
    }

    fn pack_requests(&mut self, peer: &NodeId, body: &mut Packet) {
        let Some(link) = self.links.get_mut(peer) else { return };
        for id in std::mem::take(&mut link.queue.sends) {
            let pending = self.sends.get_mut(id);
            let Some(pending) = pending.filter(|pending| pending.target.as_ref() == Some(peer))
            else {
                continue;
            };
            pending.copies = pending.copies.saturating_add(1);
            let (key, msg) = (pending.key.clone(), pending.msg.clone());
            body.sends.push(crate::Send { partition: id.0, seq: id.1, key, msg });
        }
        for id in std::mem::take(&mut link.queue.polls) {
            if let Some(question) = self.polls.question(id) {
                body.polls.push(crate::Poll { id, offsets: question.offsets.clone() });
            }
        }
    }

    /// Puts in what the peer lacks of the partitions that this node leads, as much as goes into a
    /// packet, and tells whether somebody waits for the answer, be it to send more.
    fn pack_appends(&mut self, peer: &NodeId, body: &mut Packet) -> bool {
        let (mut room, mut is_urgent) = (self.config.batch_bytes, false);
        let Some(link) = self.links.get_mut(peer) else { return false };
        for id in std::mem::take(&mut link.queue.appends) {
            if room == 0 {
                link.queue.appends.insert(id);
                continue;
            }
            let Some(partition) = self.partitions.get_mut(&id) else { continue };
            let high = partition.high();
            let Some(lead) = &mut partition.lead else { continue };
            let Some(append) = lead.next_append(peer, id, &partition.log, high, room) else {
                continue;
            };
            let bytes = append.entries.iter().map(crate::Entry::encoded_len);
            room = room.saturating_sub(bytes.fold(0, usize::saturating_add));
            is_urgent |= lead.is_urgent_for(peer);
            let end = append.at.saturating_add(append.entries.len() as u64);
            if end < partition.log.end() {
                link.queue.appends.insert(id);
                room = 0;
            }
            body.appends.push(append);
        }
        // Whoever lags is sent the next piece when this one has been answered, not all at once.
        is_urgent || !link.queue.appends.is_empty()
    }
}
