//! The handler's part for sends: from a client to the leader, into the log, and back with an
//! offset.
//!
//! [`life_of_a_send`](crate::life_of_a_send) lists the steps with their functions.

use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::{Error, Node, NodeId, Request, trace};
use serde_json::value::RawValue;
use tracing::debug;

use crate::log::SendLookup;
use crate::marks;
use crate::metrics;
use crate::packets::Urgency;
use crate::rules::Rule;
use crate::sends::{GIVE_UP_AFTER, Pending, SENDS_MAX, SendId};
use crate::wire::{
    Entry, Outcome, PartitionId, Position, Producer, ReplicaId, SendOutcome, string_len,
};
use crate::{Acks, Event, KafkaLog, Link, Reply};

/// The shortest time after which a send is tried again.
const RETRY_MIN: Duration = Duration::from_millis(300);

/// The reason for which a leader refuses sends.
const REFUSED: &str =
    "too few replicas are in sync, or too many messages wait for them: try again later";

impl KafkaLog {
    /// Takes a send of a client.
    pub(crate) fn send(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        key: Arc<str>,
        msg: Arc<RawValue>,
    ) -> Result<(), Error> {
        let bytes = string_len(&key).saturating_add(msg.get().len());
        let bytes_max = self.config.message_bytes;
        if bytes > bytes_max {
            let text = format!("field `msg`: longer than {bytes_max} bytes, with the key, as JSON");
            return Err(Error::malformed_request(text));
        }
        // A client's name may be as long as a line.
        let bytes = bytes.saturating_add(request.src().len());
        let now = node.now();
        let partition = self.placement.partition(&key);
        let pending = Pending {
            request: request.clone(),
            key,
            msg,
            deadline: now.saturating_add(GIVE_UP_AFTER),
            retry_at: now,
            target: None,
            tries: 0,
            copies: 0,
            bytes,
        };
        if !self.sends.has_room_for_bytes(bytes, self.config.pending_bytes) {
            node.count_refused_for_pending_bytes();
        }
        let id = self.sends.begin(partition, pending, self.config.pending_bytes)?;
        self.dispatch(node, id);
        Ok(())
    }

    /// Dispatches a send: appends it if this node leads, or queues it for the node that probably
    /// leads.
    pub(crate) fn dispatch(&mut self, node: &mut Node<Event>, id: SendId) {
        let now = node.now();
        if self.is_alone() {
            self.lead_single_node(node, id.0);
        }
        let Some(pending) = self.sends.get(id) else { return };
        let _span = node.request_span(&pending.request).entered();
        let (tries, key, msg) = (pending.tries, pending.key.clone(), pending.msg.clone());
        let request = node.traced_id(&pending.request);
        if self.open(id.0).leadership().is_some() {
            let send = crate::Send { partition: id.0, seq: id.1, key, msg, request };
            return self.append_own(node, send);
        }
        let target = self.choose_target(now, id.0, tries);
        let link = target.as_ref().and_then(|target| self.links.get_mut(target));
        let mut retry_after = RETRY_MIN;
        if let Some(link) = link {
            link.queue.sends.insert(id);
            retry_after = retry_after.max(link.retry_after().saturating_mul(2));
        }
        if let Some(target) = &target {
            self.schedule_packet(now, target, Urgency::Lingering);
        }
        self.set_target(id, target, now.saturating_add(retry_after));
    }

    /// Notes the node that a send goes to, and the time of its next retry. The send leaves the
    /// queue for the node that it went to before.
    fn set_target(&mut self, id: SendId, target: Option<NodeId>, retry_at: Duration) {
        let Some(pending) = self.sends.get_mut(id) else { return };
        pending.retry_at = retry_at;
        if pending.target != target {
            let before = std::mem::replace(&mut pending.target, target);
            self.unqueue_send(before.as_ref(), id);
        }
    }

    fn unqueue_send(&mut self, target: Option<&NodeId>, id: SendId) {
        if let Some(link) = target.and_then(|target| self.links.get_mut(target)) {
            link.queue.sends.remove(&id);
        }
    }

    /// Ends a send. It leaves the queue for the node that it went to.
    fn end_send(&mut self, id: SendId) -> Option<Pending> {
        let pending = self.sends.end(id)?;
        self.unqueue_send(pending.target.as_ref(), id);
        Some(pending)
    }

    /// The node to forward a send to, if this node does not lead the partition. Retries go through
    /// the leader and the other replicas in turn. `None`: no other node is up, or it is this
    /// replica's turn. A replica then reads the record in `lin-kv`.
    fn choose_target(&mut self, now: Duration, id: PartitionId, tries: usize) -> Option<NodeId> {
        let own = self.own.id.clone();
        let keeps = self.keeps(id);
        let partition = self.open(id);
        let leader = partition.leader().filter(|leader| **leader != own).cloned();
        let is_up = |peer: &NodeId| self.links.get(peer).is_some_and(|link| !link.is_down());
        let replicas = self.placement.replicas(id);
        let candidates =
            leader.iter().chain(replicas.iter().filter(|node| leader.as_ref() != Some(*node)));
        let candidates: Vec<NodeId> =
            candidates.filter(|node| **node == own || is_up(node)).cloned().collect();
        let choice = tries.checked_rem(candidates.len()).and_then(|at| candidates.get(at)).cloned();
        let is_leader_up = leader.as_ref().is_some_and(is_up);
        if keeps && (choice.as_ref() == Some(&own) || (leader.is_some() && !is_leader_up)) {
            self.open(id).request_metadata(now);
        }
        if candidates.iter().all(|node| *node == own) {
            // No other replica is up, as far as this node knows.
            for replica in self.placement.replicas(id) {
                self.links.get_mut(replica).into_iter().for_each(|link| link.probe(now));
            }
        }
        choice.filter(|node| *node != own)
    }

    /// Appends a send of this node's own client. This node leads.
    fn append_own(&mut self, node: &mut Node<Event>, send: crate::Send) {
        let (producer, own) = (self.own.producer(), self.own.id.clone());
        let (now, id) = (node.now(), (send.partition, send.seq));
        match self.append_or_dedupe(node, &own, producer, send) {
            Some(Outcome::Refused) => {
                self.reply_refused(node, id, 0);
                // A log may already have another copy, so the send waits until this leader accepts
                // it.
                return self.set_target(id, None, now.saturating_add(RETRY_MIN));
            }
            Some(Outcome::NotLeader { .. }) | None => {}
            Some(Outcome::Offset(offset)) => self.reply_send_ok(node, id, offset),
        }
        if let Some(pending) = self.sends.get_mut(id) {
            pending.copies = pending.copies.saturating_add(1);
        }
        self.set_target(id, None, now.saturating_add(GIVE_UP_AFTER));
        self.advance_high_watermark(node, id.0);
    }

    /// Appends a send of `origin` as the leader, unless the log has it. Returns the outcome if it
    /// is known already.
    fn append_or_dedupe(
        &mut self,
        node: &mut Node<Event>,
        origin: &NodeId,
        producer: Producer,
        send: crate::Send,
    ) -> Option<Outcome> {
        let crate::Send { partition: id, seq, key, msg, request } = send;
        let now = node.now();
        let Self { config, partitions, links, .. } = self;
        let partition = partitions.get_mut(&id)?;
        let (high, epoch) = (partition.high(), partition.epoch());
        let lead = partition.role.as_leader_mut()?;
        let is_early = config.acks == Acks::Leader;
        let lookup = partition.log.lookup_send(&producer, seq);
        let bytes = string_len(&key).saturating_add(msg.get().len());
        match if config.rules.hold(Rule::AppendOnce) { lookup } else { SendLookup::Never } {
            SendLookup::At { position, offset } if position < high || is_early => {
                node.mark(marks::RETRY_COMMITTED);
                return Some(Outcome::Offset(offset));
            }
            SendLookup::At { position, .. } => {
                node.mark(marks::RETRY_WAITS);
                lead.wait(position, origin.clone(), bytes, now);
                return None;
            }
            SendLookup::Stale => return None,
            SendLookup::Never => {}
        }
        let is_long = lead.waiting_bytes().saturating_add(bytes) > config.pending_bytes;
        let is_full = lead.waiting() >= SENDS_MAX || (is_long && lead.is_waited_for());
        if !lead.can_commit() {
            node.mark(marks::BELOW_MIN_IN_SYNC);
        }
        if !lead.can_commit() || is_full {
            let reason = if lead.can_commit() { "no_room" } else { "few_in_sync" };
            node.count(&metrics::REFUSALS, &[reason], 1);
            debug!(target: trace::TARGET, partition = id, seq, "refused");
            return Some(Outcome::Refused);
        }
        let entry = Entry { epoch, producer, seq, key, msg };
        let followers: Vec<NodeId> = lead.followers().cloned().collect();
        let is_down = |replica: &ReplicaId| links.get(&replica.node).is_some_and(Link::is_down);
        let misses_replicas = lead.record().in_sync.iter().any(is_down);
        let (position, offset, record) = partition.append_as_leader(entry, &config.retention, now);
        if misses_replicas {
            // These replicas were down before this entry existed. No timer drives the partition, so
            // this does.
            partition.due_at = Some(now);
        }
        if let Some(lead) = partition.role.as_leader_mut().filter(|_| !is_early) {
            lead.wait(position, origin.clone(), bytes, now);
        }
        node.persist(&record);
        debug!(target: trace::TARGET, partition = id, position, offset, "appended");
        if let Some(request) = request.filter(|_| node.traces_requests()) {
            self.traces.insert(id, position, request);
        }
        for follower in followers {
            // The origin waits for its own send to come back as an entry.
            let urgency = if follower == *origin { Urgency::Urgent } else { Urgency::Lingering };
            self.schedule_append(now, &follower, id, urgency);
        }
        is_early.then_some(Outcome::Offset(offset))
    }

    /// Takes a send that a peer forwarded.
    pub(crate) fn send_from(
        &mut self,
        node: &mut Node<Event>,
        src: &NodeId,
        life: u64,
        send: crate::Send,
    ) {
        let (now, id, seq) = (node.now(), send.partition, send.seq);
        let _span = send.request.as_ref().map(|id| trace::span(id).entered());
        debug!(target: trace::TARGET, peer = %src, partition = id, seq, "forwarded by a peer");
        if self.placement.partition(&send.key) != id {
            return debug!(peer = %src, partition = id, "refused a send: its key belongs to another partition");
        }
        let producer = Producer { node: src.clone(), life };
        let outcome = if self.open(id).leadership().is_some() {
            let outcome = self.append_or_dedupe(node, src, producer, send);
            self.advance_high_watermark(node, id);
            outcome
        } else {
            node.mark(marks::REDIRECTS);
            node.count(&metrics::REDIRECTS, &[], 1);
            debug!(target: trace::TARGET, peer = %src, partition = id, seq, "redirected");
            Some(self.redirect(now, id))
        };
        if let Some(outcome) = outcome
            && let Some(link) = self.links.get_mut(src)
        {
            let outcome = SendOutcome { partition: id, seq, outcome };
            link.queue.send_outcomes.push(outcome, self.config.pending_bytes);
            self.schedule_packet(now, src, Urgency::Urgent);
        }
    }

    /// The answer to a peer that takes this node for the leader. It names the leader, if that one
    /// is up. The peer may doubt the leader, so this node probes it.
    fn redirect(&mut self, now: Duration, id: PartitionId) -> Outcome {
        let keeps = self.keeps(id);
        let partition = self.open(id);
        let (leader, epoch) = (partition.leader().cloned(), partition.epoch());
        let log_id = partition.log_id();
        let is_down = match leader.as_ref().and_then(|leader| self.links.get_mut(leader)) {
            Some(link) => {
                link.probe(now);
                link.is_down()
            }
            None => true,
        };
        if keeps && is_down {
            self.open(id).request_metadata(now);
        }
        Outcome::NotLeader { leader: leader.filter(|_| !is_down), epoch, log_id }
    }

    /// Takes the outcome of a send from a peer.
    pub(crate) fn send_outcome_from(
        &mut self,
        node: &mut Node<Event>,
        src: &NodeId,
        sent: &SendOutcome,
    ) {
        let id = (sent.partition, sent.seq);
        let request = self.sends.get(id).map(|pending| &pending.request);
        let _span = request.map(|request| node.request_span(request).entered());
        debug!(target: trace::TARGET, peer = %src, outcome = ?sent.outcome, "outcome");
        match &sent.outcome {
            Outcome::Offset(offset) => {
                self.reply_send_ok(node, id, *offset);
            }
            Outcome::Refused => {
                let pending = self.sends.get(id);
                if pending.is_some_and(|pending| pending.target.as_ref() == Some(src)) {
                    self.reply_refused(node, id, 1);
                }
            }
            Outcome::NotLeader { leader, epoch, log_id } => {
                // If this is news, all sends that wait go to that leader. If not, that leader has
                // been tried, or will be.
                if let Some(leader) = leader {
                    self.observe_leader(node, sent.partition, leader, (*log_id, *epoch));
                }
            }
        }
    }

    /// Takes a leader's refusal of a send. It covers `refused` forwarded copies. If there is no
    /// other copy, the client gets a definite error. If there is one, it may be under way or in a
    /// log, so the send stays.
    fn reply_refused(&mut self, node: &mut Node<Event>, id: SendId, refused: u32) {
        let is_sure =
            |copies: u32| copies <= refused || !self.config.rules.hold(Rule::RefuseUnsent);
        if self.sends.get(id).is_some_and(|pending| is_sure(pending.copies))
            && let Some(pending) = self.end_send(id)
        {
            let error = Error::temporarily_unavailable(REFUSED);
            node.mark(marks::REFUSES);
            node.reply_error(&pending.request, &error);
        } else if self.sends.get(id).is_some() {
            node.mark(marks::KEEPS_REFUSED);
        }
    }

    /// Dispatches all sends of a partition again, since its leader has changed or is not known any
    /// more.
    pub(crate) fn leader_changed(&mut self, node: &mut Node<Event>, id: PartitionId) {
        self.traces.forget(id);
        for send in self.sends.of(id) {
            if let Some(pending) = self.sends.get_mut(send) {
                pending.tries = 0;
            }
            self.dispatch(node, send);
        }
    }

    /// Ends a send, and tells its client the offset.
    fn reply_send_ok(&mut self, node: &mut Node<Event>, id: SendId, offset: u64) {
        if let Some(pending) = self.end_send(id) {
            node.reply(&pending.request, &Reply::SendOk { offset });
        }
    }

    /// Answers this node's own sends to a partition that are committed now, from the position
    /// `from` on.
    pub(crate) fn reply_to_committed(
        &mut self,
        node: &mut Node<Event>,
        id: PartitionId,
        from: Position,
    ) {
        let Some(partition) = self.partitions.get(&id) else { return };
        let (producer, high) = (self.own.producer(), partition.high());
        let seqs = partition.log.seqs_of(&producer, from..high).into_iter();
        let committed = seqs.filter_map(|seq| match partition.log.lookup_send(&producer, seq) {
            SendLookup::At { position, offset } if position < high => Some((seq, offset)),
            _ => None,
        });
        for (seq, offset) in committed.collect::<Vec<_>>() {
            self.reply_send_ok(node, (id, seq), offset);
        }
    }

    /// Raises the high watermark of a partition that this node leads, as far as followers have
    /// acknowledged. Answers the sends that are committed now.
    pub(crate) fn advance_high_watermark(&mut self, node: &mut Node<Event>, id: PartitionId) {
        let now = node.now();
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let Some(lead) = partition.role.as_leader_mut() else { return };
        let Some(committed) = lead.committed(partition.log.end()) else { return };
        let before = partition.high();
        if !partition.raise_high(committed) {
            return;
        }
        let high = partition.high();
        let Some(lead) = partition.role.as_leader_mut() else { return };
        let done = lead.take_committed(high);
        let followers: Vec<NodeId> = lead.followers().cloned().collect();
        for (position, origin) in done {
            if let Some(request) = self.traces.get(id, position) {
                let _span = trace::span(request).entered();
                debug!(target: trace::TARGET, partition = id, position, "committed");
            }
            self.tell_committed(now, id, position, &origin);
        }
        for follower in followers {
            let knows =
                |p: &crate::Partition| p.leadership().is_some_and(|l| l.knows(&follower, high));
            if !self.partitions.get(&id).is_some_and(knows) {
                self.schedule_append(now, &follower, id, Urgency::Lazy);
            }
        }
        self.reply_to_committed(node, id, before);
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.log.retain(&self.config.retention, high, now);
        }
    }

    /// Tells the origin of a send that it is committed. A follower in sync learns it from the high
    /// watermark. Any other node gets the offset.
    fn tell_committed(&mut self, now: Duration, id: PartitionId, position: u64, origin: &NodeId) {
        let Some(partition) = self.partitions.get(&id) else { return };
        let Some(lead) = partition.leadership().filter(|_| *origin != self.own.id) else { return };
        if lead.is_in_commit_set(origin) {
            if !lead.knows(origin, position.saturating_add(1)) {
                self.schedule_append(now, origin, id, Urgency::Urgent);
            }
            return;
        }
        let Some(entry) = partition.log.entry(position) else { return };
        let SendLookup::At { offset, .. } = partition.log.lookup_send(&entry.producer, entry.seq)
        else {
            return;
        };
        if let Some(link) = self.links.get_mut(origin)
            && link.life() == Some(entry.producer.life)
        {
            let outcome = Outcome::Offset(offset);
            let outcome = SendOutcome { partition: id, seq: entry.seq, outcome };
            link.queue.send_outcomes.push(outcome, self.config.pending_bytes);
            self.schedule_packet(now, origin, Urgency::Urgent);
        }
    }

    /// Tries sends again that made no progress, and ends those that ran out of time.
    pub(crate) fn retry_sends(&mut self, node: &mut Node<Event>) {
        let now = node.now();
        for id in self.sends.due(now) {
            let Some(pending) = self.sends.get_mut(id) else { continue };
            if pending.deadline <= now {
                let partition = self.partitions.get(&id.0);
                let error = match partition.and_then(crate::Partition::unavailable) {
                    Some(reason) => pending.failure(reason.to_string()),
                    None => pending.failure("no leader has confirmed the message in time"),
                };
                node.mark(marks::GIVES_UP);
                node.count(&metrics::TIMED_OUT, &[], 1);
                if let Some(pending) = self.end_send(id) {
                    node.reply_error(&pending.request, &error);
                }
                continue;
            }
            let link = pending.target.as_ref().and_then(|target| self.links.get(target));
            if link.is_some_and(|link| !link.is_down() && link.queue.sends.contains(&id)) {
                // The send still waits in the queue for its turn.
                pending.retry_at = now.saturating_add(RETRY_MIN);
                continue;
            }
            pending.tries = pending.tries.saturating_add(1);
            self.dispatch(node, id);
        }
    }
}
