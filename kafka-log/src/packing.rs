//! The handler's part for outgoing packets: it fills them from the peer's queue.
//!
//! The invariant: beside its head, a packet holds no more than
//! [`Config::packet_bytes`](crate::Config), or a single item. Items that do not fit stay queued. If
//! answers are left, the next packet goes at once. If only requests are left, it goes when the peer
//! has answered this packet, or is late.

use std::time::Duration;

use maelstrom_core::trace::TARGET;
use maelstrom_core::{Node, NodeId};
use tracing::{debug, trace};

use crate::leader::Next;
use crate::link::LAZY;
use crate::queue::{Budget, Kind};
use crate::wire::{Body, Packet};
use crate::{Event, KafkaLog};

/// How soon a peer must confirm that it got a send, a poll or a question, if the answer itself
/// takes longer.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);

impl KafkaLog {
    /// Sends the packets that are due.
    pub(crate) fn flush_links(&mut self, node: &mut Node<Event>) {
        let (now, linger) = (node.now(), self.linger(node.now()));
        let due = |link: &crate::Link| link.due(linger).is_some_and(|at| at <= now);
        let due: Vec<NodeId> =
            self.links.iter().filter(|(_, link)| due(link)).map(|(peer, _)| peer.clone()).collect();
        for peer in due {
            self.send_packet(node, &peer);
        }
    }

    fn send_packet(&mut self, node: &mut Node<Event>, peer: &NodeId) {
        let now = node.now();
        let Some(link) = self.links.get(peer) else { return };
        let (mut body, mut is_urgent) = (Packet::default(), false);
        let mut budget = Budget::new(self.config.packet_bytes);
        let is_known = link.life().is_some();
        let takes_requests = is_known && !link.is_down();
        for kind in Kind::round_robin(link.number()) {
            match kind {
                Kind::Acks | Kind::SendOutcomes | Kind::Polled | Kind::Holdings if is_known => {
                    self.pack_answers(peer, kind, &mut body, &mut budget);
                }
                Kind::Appends if takes_requests => {
                    is_urgent = self.pack_appends(peer, &mut body, &mut budget);
                }
                Kind::Sends if takes_requests => {
                    self.pack_sends(node, peer, &mut body, &mut budget);
                }
                Kind::Polls if takes_requests => {
                    self.pack_polls(node, peer, &mut body, &mut budget);
                }
                _ => {}
            }
        }
        let is_introduction = self.links.get(peer).is_some_and(|link| !link.is_introduced());
        let settings = is_introduction.then(|| self.config.peer_settings());
        let has_records = is_introduction && self.has_records();
        let Some(link) = self.links.get_mut(peer) else { return };
        if budget.is_empty() && !link.is_due(now) {
            return link.clear_linger();
        }
        let asks = !body.sends.is_empty() || !body.polls.is_empty();
        let mut within = asks.then_some(ANSWER_WITHIN);
        if !body.appends.is_empty() {
            let soon = if is_urgent { Duration::ZERO } else { LAZY };
            within = Some(within.map_or(soon, |within| within.min(soon)));
        }
        if body.holdings.iter().any(|report| report.asks) {
            within = Some(within.map_or(ANSWER_WITHIN, |within| within.min(ANSWER_WITHIN)));
        }
        let is_waited_for = asks || (is_urgent && !body.appends.is_empty());
        let own = (self.own.life, self.own.incarnation);
        let head = link.head(now, own, within, is_waited_for);
        let Packet { life, incarnation, to, number, within, echo, .. } = head;
        let packet =
            Packet { life, incarnation, to, number, within, echo, settings, has_records, ..body };
        trace!(peer = %peer, ?packet, "tells");
        node.send(peer, &Body::Packet(&packet));
        // The queue may have held more than one packet can take.
        if is_known && link.queue.has_answers() {
            link.schedule_by(now);
        }
        if takes_requests && link.queue.has_requests() {
            link.start_linger(now);
        }
    }

    fn pack_answers(&mut self, peer: &NodeId, kind: Kind, body: &mut Packet, budget: &mut Budget) {
        let Some(link) = self.links.get_mut(peer) else { return };
        match kind {
            Kind::SendOutcomes => {
                return link.queue.send_outcomes.pack(&mut body.send_outcomes, budget);
            }
            Kind::Polled => return link.queue.polled.pack(&mut body.polled, budget),
            Kind::Holdings => return self.pack_holdings(peer, body, budget),
            _ => {}
        }
        while let Some(id) = link.queue.acks.front() {
            let partition = self.refused.get(&id).or_else(|| self.partitions.get(&id));
            if let Some(ack) = partition.map(crate::Partition::ack) {
                if !budget.take_item(&ack) {
                    return;
                }
                body.acks.push(ack);
            }
            link.queue.acks.pop();
        }
    }

    fn pack_holdings(&mut self, peer: &NodeId, body: &mut Packet, budget: &mut Budget) {
        let Some(link) = self.links.get_mut(peer) else { return };
        while let Some(id) = link.queue.holdings.front() {
            let partition = self.refused.get(&id).or_else(|| self.partitions.get(&id));
            if partition.is_some_and(|partition| !partition.may_report_holding()) {
                // The peer asks again, if it still needs the answer.
                link.queue.holdings.pop();
                continue;
            }
            let holding = partition.map(crate::Partition::holding).unwrap_or_default();
            let recovery = partition.and_then(|partition| partition.recovery.as_ref());
            let asks = recovery.is_some_and(|recovery| recovery.lacks(peer));
            let report = crate::HoldingReport { partition: id, holding, asks };
            if !budget.take_item(&report) {
                return;
            }
            body.holdings.push(report);
            link.queue.holdings.pop();
        }
    }

    fn pack_sends(
        &mut self,
        node: &Node<Event>,
        peer: &NodeId,
        body: &mut Packet,
        budget: &mut Budget,
    ) {
        let Some(link) = self.links.get_mut(peer) else { return };
        while let Some(id) = link.queue.sends.front() {
            let pending = self.sends.get_mut(id);
            // The send may have ended, or may go to another node by now.
            let pending = pending.filter(|pending| pending.target.as_ref() == Some(peer));
            if let Some(pending) = pending {
                let (key, msg) = (pending.key.clone(), pending.msg.clone());
                let request = node.traced_id(&pending.request);
                let send = crate::Send { partition: id.0, seq: id.1, key, msg, request };
                if !budget.take_item(&send) {
                    return;
                }
                pending.copies = pending.copies.saturating_add(1);
                let _span = node.request_span(&pending.request).entered();
                debug!(target: TARGET, %peer, partition = id.0, seq = id.1, "forwarded");
                body.sends.push(send);
            }
            link.queue.sends.pop();
        }
    }

    fn pack_polls(
        &mut self,
        node: &Node<Event>,
        peer: &NodeId,
        body: &mut Packet,
        budget: &mut Budget,
    ) {
        let Some(link) = self.links.get_mut(peer) else { return };
        while let Some(id) = link.queue.polls.front() {
            let remote_poll = self.polls.remote_poll(id).filter(|poll| poll.target == *peer);
            if let Some(remote_poll) = remote_poll {
                let client = self.polls.request(remote_poll);
                let request = client.and_then(|client| node.traced_id(client));
                let poll = crate::Poll { id, offsets: remote_poll.offsets.clone(), request };
                if !budget.take_item(&poll) {
                    return;
                }
                let _span = client.map(|client| node.request_span(client).entered());
                debug!(target: TARGET, %peer, poll = id, "forwarded");
                body.polls.push(poll);
            }
            link.queue.polls.pop();
        }
    }

    /// Adds the entries that the peer lacks of the partitions that this node leads, as many as fit.
    /// Returns true if the answer is urgent: a send waits for it, or the next piece does.
    fn pack_appends(&mut self, peer: &NodeId, body: &mut Packet, budget: &mut Budget) -> bool {
        let (mut batch, mut is_urgent) = (self.config.batch_bytes.max(1), false);
        let Some(link) = self.links.get_mut(peer) else { return false };
        // A partition that has more entries goes to the end, so that the others have their turn
        // first.
        for _ in 0..link.queue.appends.len() {
            let Some(id) = link.queue.appends.front().filter(|_| batch > 0) else { break };
            let next = self.partitions.get_mut(&id).and_then(|partition| {
                let (high, log) = (partition.high(), &partition.log);
                let lead = partition.role.as_leader_mut()?;
                let next = lead.next_append(peer, id, log, high, batch, budget);
                Some((next, lead.is_urgent_for(peer), log.end()))
            });
            match next {
                Some((Next::Full, ..)) => break,
                Some((Next::Append(mut append), is_urgent_here, end)) => {
                    append.requests =
                        self.traces.pack((id, append.at), append.entries.len(), budget);
                    let bytes = append.entries.iter().map(crate::Entry::encoded_len);
                    batch = batch.saturating_sub(bytes.fold(0, usize::saturating_add));
                    // The follower gets the next part of a floor when it has confirmed this one.
                    let is_partial = append.is_partial_floor();
                    is_urgent |= is_urgent_here || is_partial;
                    link.queue.appends.pop();
                    if !is_partial && append.at.saturating_add(append.entries.len() as u64) < end {
                        link.queue.appends.insert(id);
                        batch = 0;
                    }
                    body.appends.push(append);
                }
                Some((Next::Nothing, ..)) | None => {
                    link.queue.appends.pop();
                }
            }
        }
        // A follower that lags gets the next piece when it has answered this one.
        is_urgent || !link.queue.appends.is_empty()
    }
}
