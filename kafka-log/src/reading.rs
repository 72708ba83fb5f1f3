//! The handler's part for polls and committed offsets. A node answers from its own records where it
//! can.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::{Error, Node, NodeId, Request, trace};
use tracing::debug;

use crate::offsets::{OFFSET_BYTES, offsets_len};
use crate::packets::Urgency;
use crate::polls::PollResult;
use crate::wire::{Offsets, Poll, Polled, string_len};
use crate::{Event, KafkaLog, Reply};

/// The shortest time after which a node forwards a poll again.
const RETRY_MIN: Duration = Duration::from_millis(300);

/// The largest number of messages of a key in the answer to a poll.
const MESSAGES_MAX: usize = 1_000;

/// Collects the keys that this node does not keep into remote polls that fit into a packet.
struct RemotePolls {
    bytes_max: usize,
    /// The longest key that any message can have.
    key_bytes_max: usize,
    /// The last remote poll to each node, and its length.
    open: BTreeMap<NodeId, (Offsets, usize)>,
    full: Vec<(NodeId, Offsets)>,
}

impl RemotePolls {
    fn new(bytes_max: usize, key_bytes_max: usize) -> Self {
        Self { bytes_max, key_bytes_max, open: BTreeMap::new(), full: Vec::new() }
    }

    fn add(&mut self, target: NodeId, key: Arc<str>, from: u64) {
        let key_bytes = string_len(&key);
        if key_bytes > self.key_bytes_max {
            // No message can have such a key.
            return;
        }
        let (offsets, bytes) = self.open.entry(target.clone()).or_default();
        let more = key_bytes.saturating_add(OFFSET_BYTES);
        if bytes.saturating_add(more) > self.bytes_max && !offsets.is_empty() {
            self.full.push((target, std::mem::take(offsets)));
            *bytes = 0;
        }
        *bytes = bytes.saturating_add(more);
        offsets.insert(key, from);
    }

    fn done(mut self) -> Vec<(NodeId, Offsets)> {
        self.full.extend(self.open.into_iter().map(|(target, (offsets, _))| (target, offsets)));
        self.full
    }
}

impl KafkaLog {
    /// The committed messages of these keys, as far as this node keeps and knows them.
    fn read(&self, offsets: &Offsets) -> PollResult {
        let mut result = PollResult::new(self.config.poll_bytes.min(self.config.packet_bytes));
        for (key, from) in offsets {
            let partition = self.partitions.get(&self.placement.partition(key));
            let Some(partition) = partition.filter(|_| !result.is_full()) else { continue };
            let list = partition.log.read(key, *from, partition.high());
            result.add(key, list.take(MESSAGES_MAX));
        }
        result
    }

    /// Takes a poll of a client.
    pub(crate) fn poll(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        offsets: Offsets,
    ) -> Result<(), Error> {
        let now = node.now();
        let mut kept = Offsets::new();
        let mut elsewhere = RemotePolls::new(self.config.packet_bytes, self.config.message_bytes);
        for (key, from) in offsets {
            let id = self.placement.partition(&key);
            if self.keeps(id) {
                kept.insert(key, from);
            } else if let Some(target) = self.poll_target(id, 0) {
                elsewhere.add(target, key, from);
            }
        }
        let remote_polls = elsewhere.done();
        let result = self.read(&kept);
        if remote_polls.is_empty() {
            node.reply(request, &Reply::PollOk { msgs: result.into_msgs() });
            return Ok(());
        }
        let bytes_max = self.config.pending_bytes;
        if !self.polls.has_room_for_bytes(request, &result, &remote_polls, bytes_max) {
            node.count_refused_for_pending_bytes();
        }
        if !self.polls.has_room(request, &result, &remote_polls, bytes_max) {
            let text = "too many polls are under way: try again when some have been answered";
            return Err(Error::temporarily_unavailable(text));
        }
        let (request, is_any) = (request.clone(), !kept.is_empty());
        let forwarded = self.polls.begin(request, result, is_any, remote_polls, now, RETRY_MIN);
        for (id, target) in forwarded {
            self.forward_poll(now, id, &target);
        }
        Ok(())
    }

    /// Queues a remote poll for a node. It leaves the queue when it is packed, when it ends, or
    /// when it goes to another node.
    fn forward_poll(&mut self, now: Duration, id: u64, target: &NodeId) {
        if let Some(link) = self.links.get_mut(target) {
            link.queue.polls.insert(id);
        }
        self.schedule_packet(now, target, Urgency::Lingering);
    }

    fn unqueue_poll(&mut self, id: u64, target: &NodeId) {
        if let Some(link) = self.links.get_mut(target) {
            link.queue.polls.remove(&id);
        }
    }

    /// The node to ask about a partition that this node does not keep. Retries go through the
    /// leader and the other replicas in turn.
    fn poll_target(&self, id: crate::PartitionId, tries: usize) -> Option<NodeId> {
        let leader = self.partitions.get(&id).and_then(|partition| partition.leader());
        let replicas = self.placement.replicas(id).iter().filter(|node| leader != Some(*node));
        let all: Vec<&NodeId> = leader.into_iter().chain(replicas).collect();
        let is_up = |node: &NodeId| self.links.get(node).is_some_and(|link| !link.is_down());
        let up: Vec<&NodeId> = all.iter().filter(|node| is_up(node)).copied().collect();
        let from = if up.is_empty() { all } else { up };
        tries.checked_rem(from.len()).and_then(|at| from.get(at)).map(|node| (*node).clone())
    }

    /// Takes a poll of a peer.
    pub(crate) fn poll_from(&mut self, node: &Node<Event>, src: &NodeId, poll: Poll) {
        let _span = poll.request.as_ref().map(|id| trace::span(id).entered());
        debug!(target: trace::TARGET, peer = %src, poll = poll.id, "read for a peer");
        let msgs = self.read(&poll.offsets).into_msgs();
        if let Some(link) = self.links.get_mut(src) {
            // If there is no room, the peer asks again, or asks another node.
            let polled = Polled { id: poll.id, msgs };
            link.queue.polled.push(polled, self.config.pending_bytes);
        }
        self.schedule_packet(node.now(), src, Urgency::Urgent);
    }

    /// Takes a peer's answer.
    pub(crate) fn polled_by(&mut self, node: &mut Node<Event>, polled: Polled) {
        let Some(remote_poll) = self.polls.remote_poll(polled.id) else { return };
        let target = remote_poll.target.clone();
        let request = self.polls.request(remote_poll);
        let _span = request.map(|request| node.request_span(request).entered());
        debug!(target: trace::TARGET, peer = %target, poll = polled.id, "polled");
        self.unqueue_poll(polled.id, &target);
        let bytes_max = self.config.pending_bytes;
        if let Some(answer) = self.polls.answered(polled.id, polled.msgs, bytes_max) {
            let msgs = answer.msgs.unwrap_or_default();
            node.reply(&answer.request, &Reply::PollOk { msgs });
        }
    }

    /// Asks again where no answer has come, and ends the polls that ran out of time.
    pub(crate) fn retry_polls(&mut self, node: &mut Node<Event>) {
        let now = node.now();
        let (answers, ended) = self.polls.give_up(now);
        for (id, target) in ended {
            self.unqueue_poll(id, &target);
        }
        for answer in answers {
            match answer.msgs {
                Some(msgs) => node.reply(&answer.request, &Reply::PollOk { msgs }),
                None => {
                    let error = Error::temporarily_unavailable("no replica answers");
                    node.reply_error(&answer.request, &error);
                }
            }
        }
        for id in self.polls.due(now) {
            let Some(remote_poll) = self.polls.remote_poll(id) else { continue };
            let (tries, before) = (remote_poll.tries.saturating_add(1), remote_poll.target.clone());
            // The keys may be in several partitions, which other nodes keep.
            let mut parts: BTreeMap<NodeId, Offsets> = BTreeMap::new();
            for (key, from) in &remote_poll.offsets {
                let target = self.poll_target(self.placement.partition(key), tries);
                let target = target.unwrap_or_else(|| before.clone());
                parts.entry(target).or_default().insert(key.clone(), *from);
            }
            let retry_at = now.saturating_add(RETRY_MIN);
            let parts = parts.into_iter().collect();
            self.unqueue_poll(id, &before);
            for (id, target) in self.polls.forward_again(id, parts, tries, retry_at) {
                self.forward_poll(now, id, &target);
            }
        }
    }

    /// Refuses offsets of these keys if they take more than half of a line. Gossip could not send a
    /// longer entry, nor anything that this node commits after it. A longer reply would reach no
    /// client that reads lines of that length.
    fn check_offsets_len<'a>(
        &self,
        field: &str,
        keys: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> Result<(), Error> {
        let bytes_max = self.offsets_bytes_max;
        if offsets_len(keys) <= bytes_max {
            return Ok(());
        }
        let text = format!(
            "field `{field}`: the keys and their offsets take more than {bytes_max} bytes as JSON"
        );
        Err(Error::malformed_request(text))
    }

    /// Commits offsets: here, and soon on all nodes. This node makes all of them durable that it
    /// has not made durable itself, even if another node has.
    pub(crate) fn commit_offsets(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        offsets: Offsets,
    ) -> Result<(), Error> {
        self.check_offsets_len("offsets", offsets.keys())?;
        let update = self.own_offsets.newer(offsets);
        if !update.0.is_empty() {
            self.own_offsets.merge_update(update.clone());
            self.offsets.append(node, update);
        }
        node.reply(request, &Reply::CommitOffsetsOk);
        Ok(())
    }

    pub(crate) fn list_committed_offsets(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        keys: Vec<Arc<str>>,
    ) -> Result<(), Error> {
        self.check_offsets_len("keys", &keys)?;
        let committed = self.offsets.state();
        let offset = |key: Arc<str>| committed.get(&key).map(|offset| (key, offset));
        let offsets = keys.into_iter().filter_map(offset).collect();
        node.reply(request, &Reply::ListCommittedOffsetsOk { offsets });
        Ok(())
    }
}
