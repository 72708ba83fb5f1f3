//! Pushes news to peers: when, to which ones, and how soon they must confirm it.
//!
//! *News* for a peer is anything that this node has not told it. Either the replica has more
//! entries, so its *generation* is newer. Or this node cannot reach other nodes than before, so its
//! *view* is newer. The first news for a peer that this node begins to serve is its *introduction*.
//!
//! A peer that fetches from this node gets new entries with the answers to its fetches. Until it
//! has caught up, news tells it only that there are more.
//!
//! `Gossip::slot_at` says when news goes to the hub. `Beat::due` says when it goes to the other
//! served peers. `Gossip::send_news` sends it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::beat::{COLLECTING, PROVISIONAL, margin};
use super::peer::Peer;
use super::replica::{Entry, Span};
use super::window::batches_max;
use super::{Gossip, MessageParts, State};
use crate::message::NodeId;
use crate::node::Node;

/// A node may send this many bytes without need: they cost little.
pub(super) const LITTLE_BYTES: usize = 16 << 10;

/// How many batches are pushed to a peer at once. The peer fetches the others.
const PUSHED_MAX: usize = 8;

/// The round trip from which to learn a period until one is measured.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(50);

/// The longest round trip from which to learn a period until there are enough samples.
pub(super) const ROUND_TRIP_VAGUE_MAX: Duration = Duration::from_millis(500);

/// How long at least a peer that is not the hub may delay an acknowledgement, to send it with its
/// own news.
const ACKNOWLEDGE_WITHIN_MIN: Duration = Duration::from_secs(2);

/// The longest period that the engine learns.
pub(super) const PERIOD_MAX: Duration = Duration::from_secs(10);

/// The learned period in round trips. It is the longest one with which a value reaches 25 nodes
/// within 600 ms at 100 ms per hop, with some room for nodes that are late.
const PERIOD_ROUND_TRIPS: f64 = 2.27;

impl<S: State> Gossip<S> {
    /// Whether there may be news for a peer.
    pub(super) fn has_news_for(&self, peer: &Peer) -> bool {
        let is_client = || peer.hub.as_ref() == Some(&self.origin.node);
        let news = !peer.is_introduced
            || peer.told_generation < self.generation
            || (peer.view_told < self.lost.1 && is_client());
        news && peer.is_served
    }

    /// The served peers for which there is news, without the hub: they get it with this node's own
    /// beat. In no order, and possibly twice.
    fn others_with_news(&self) -> impl Iterator<Item = &NodeId> {
        // Every peer that was told of an older generation or view has news: see `has_news_for`.
        self.peers.with_news(self.generation, self.lost.1).filter(|id| !self.is_hub(id))
    }

    /// Whether there is news for any peer on this node's own beat.
    pub(super) fn has_news_for_others(&self) -> bool {
        self.others_with_news().next().is_some()
    }

    /// Sends news to the hub if its slot has come. Sends news to all other served peers if a beat
    /// is due.
    pub(super) fn push<E>(&mut self, node: &mut Node<E>, now: Duration) {
        if self.slot_at(now).is_some_and(|at| at <= now)
            && let Some(hub) = self.hub.clone()
        {
            let round_trip = self.round_trip_to(&hub);
            let is_told = self.send_news(node, &hub, self.is_far(&hub));
            self.slot.pass(is_told, now, round_trip, self.period);
        }
        if self.beat.due(now) > now {
            return;
        }
        let mut has_beaten = false;
        let last = self.beat;
        self.beat.begin(now, self.usual_round_trip.map(|_| self.period));
        let told: BTreeSet<NodeId> = self.others_with_news().cloned().collect();
        // One answer is enough to learn the round trip.
        let mut must_ask = self.beat.is_provisional();
        for id in told {
            let asks = must_ask && self.peers.get(&id).is_some_and(Peer::is_known);
            let is_sent = self.send_news(node, &id, asks);
            must_ask &= !(asks && is_sent);
            has_beaten |= is_sent;
        }
        if !has_beaten {
            self.beat = last;
        }
    }

    /// When to send news to the hub. `None` if there is none.
    pub(super) fn slot_at(&mut self, now: Duration) -> Option<Duration> {
        let hub = self.hub.as_ref().and_then(|hub| self.peers.get(hub))?;
        if !self.has_news_for(hub) {
            return None;
        }
        if !hub.is_introduced {
            return Some(now);
        }
        if let Some(asked) = hub.asked_at().filter(|_| hub.round_trip.estimate().is_none()) {
            // The answer in transit will show the hub's round trip and its beat.
            return Some(asked.saturating_add(PROVISIONAL).max(now));
        }
        Some(self.slot.flush_at(now, hub.round_trip.estimate(), hub.round_trip.variation()))
    }

    /// Ends a provisional beat: an answer has shown the round trip, so the hub knows its period. The
    /// next beat waits a little longer than that, because the leaves guess the period. If the period
    /// is over, the next beat still waits a little for other answers.
    pub(super) fn settle_beat(&mut self, now: Duration) {
        if self.usual_round_trip.is_some() && self.beat.is_provisional() {
            let age = self.beat.last(now).map(|(age, _)| age).unwrap_or_default();
            let margin = margin(self.period, Duration::ZERO);
            let grace = margin.checked_div(2).unwrap_or_default();
            let wait = self.period.saturating_add(grace).saturating_sub(age).max(margin);
            self.beat.settle(now, wait, self.period);
        }
    }

    /// Whether this peer is the hub and its round trip is unknown. A leaf can keep its slot only
    /// with a known round trip.
    pub(super) fn is_far(&self, id: &NodeId) -> bool {
        let peer = self.peers.get(id).filter(|_| self.is_hub(id));
        peer.is_some_and(|hub| hub.round_trip.estimate().is_none())
    }

    fn round_trip_to(&self, id: &NodeId) -> Duration {
        self.peers.get(id).and_then(|peer| peer.round_trip.estimate()).unwrap_or_default()
    }

    /// Updates the median round trip, and a period of a little more than twice that.
    pub(super) fn update_period(&mut self) {
        let (usual, sure) = self.peers.round_trips();
        self.usual_round_trip = usual;
        // A first sample may include a pause of this node of unknown length.
        let vague = || usual.map(|usual| usual.min(ROUND_TRIP_VAGUE_MAX));
        let round_trip = sure.or_else(vague).unwrap_or(ROUND_TRIP_UNKNOWN);
        let learned = round_trip.mul_f64(PERIOD_ROUND_TRIPS).min(PERIOD_MAX);
        self.period = self.config.period.unwrap_or(learned.max(self.config.period_min));
    }

    /// Sends a peer its news, if there is any. The peer answers at once if `is_question`. Returns
    /// whether a message was sent.
    fn send_news<E>(&mut self, node: &mut Node<E>, id: &NodeId, is_question: bool) -> bool {
        let within = self.acknowledge_within(id);
        let Some(peer) = self.peers.get(id) else {
            return false;
        };
        // New entries would arrive before those that the peer still lacks, and a log has no holes.
        let has_order = !S::Entry::CUMULATIVE;
        let is_fetching = has_order && peer.is_introduced && peer.is_fetching(node.now());
        let (mut batches, cut) = if is_fetching {
            (Vec::new(), false)
        } else if peer.is_introduced {
            let round_trip = self.round_trip_to(id);
            let bytes_max = self.batch_bytes(id);
            let count = batches_max(bytes_max, round_trip).min(PUSHED_MAX);
            self.batches(&[&peer.known, &peer.told], (count, bytes_max))
                .unwrap_or((Vec::new(), true))
        } else {
            let (spans, cut) = self.introduction(id);
            (vec![spans], cut || !peer.is_known())
        };
        let Some(mut peer) = self.peers.get_mut(id) else {
            return false;
        };
        let was_introduced = peer.is_introduced;
        peer.note_told(self.replica.version(), self.generation);
        let view = peer.view_told < self.lost.1;
        let is_known = peer.known.covers(self.replica.version());
        drop(peer);
        let is_empty = batches.iter().all(Vec::is_empty) && (!is_fetching || is_known);
        if was_introduced && is_empty && !cut && !view {
            return false;
        }
        let answer_within = Some(if cut || is_question { Duration::ZERO } else { within });
        let last = MessageParts {
            answer_within,
            runs: batches.pop().unwrap_or_default(),
            ..MessageParts::default()
        };
        let others =
            batches.into_iter().map(|runs| MessageParts { runs, ..MessageParts::default() });
        self.send_burst(node, id, others.chain([last]).collect());
        if !was_introduced && self.is_lost_by_hub(id) {
            // The peer did not answer the hub, so a single silence is enough.
            if let Some(mut peer) = self.peers.get_mut(id) {
                peer.expect_life();
            }
        }
        true
    }

    /// How soon a peer must confirm. A hub confirms with its next beat. Other peers confirm when
    /// they have news themselves, or after a while.
    fn acknowledge_within(&self, id: &NodeId) -> Duration {
        if self.is_hub(id) {
            let period = self.slot.period().unwrap_or(self.period);
            let slack = margin(period, Duration::ZERO).saturating_mul(2);
            period.saturating_add(slack).max(self.config.patience_min)
        } else {
            self.period.saturating_mul(2).max(ACKNOWLEDGE_WITHIN_MIN)
        }
    }

    /// The entries in the first message to a peer that this node begins to serve: at most one
    /// batch. A hub that has heard the peer sends all that the peer lacks. Any other node sends its
    /// own entries, which no other node may have yet. The peer fetches older entries from one node.
    /// If all logs are small, any node sends all entries. Also returns whether the peer may lack
    /// more than that.
    fn introduction(&self, id: &NodeId) -> (Vec<Span>, bool) {
        let Some(peer) = self.peers.get(id) else {
            return (Vec::new(), true);
        };
        let (have, bytes_max) = ([&peer.known], self.batch_bytes(id));
        let is_client = self.hub.is_none() || peer.hub.as_ref() == Some(&self.origin.node);
        if self.replica.log_bytes() < LITTLE_BYTES || (is_client && peer.is_known()) {
            self.replica.lacking(&have, bytes_max).unwrap_or((Vec::new(), true))
        } else {
            let own = self.replica.lacking_from(&self.origin, &have, bytes_max);
            (own.map_or(Vec::new(), |(spans, _)| spans), true)
        }
    }

    /// Whether a peer that waits for an answer gets it with the next beat, which is due soon. If
    /// so, delays the answer until then.
    fn answers_with_beat(&mut self, id: &NodeId, now: Duration) -> bool {
        let due = self.beat.due(now);
        let margin = margin(self.period, Duration::ZERO);
        let soon = if self.beat.is_collecting() { COLLECTING } else { margin };
        let is_soon = due <= now.saturating_add(soon);
        let is_told = |peer: &Peer| !peer.is_doubted && self.has_news_for(peer);
        let waits = is_soon && !self.is_hub(id) && self.peers.get(id).is_some_and(is_told);
        if let Some(mut peer) = self.peers.get_mut(id).filter(|_| waits) {
            peer.answer_at = Some(due);
        }
        waits
    }

    /// Whether an answer to the hub also asks for its round trip, and there is news to send with
    /// it.
    fn answers_with_news(&self, id: &NodeId) -> bool {
        let peer = self.peers.get(id).filter(|_| self.is_far(id));
        peer.is_some_and(|hub| hub.is_introduced && !hub.is_doubted && self.has_news_for(hub))
    }

    /// Answers the peers that wait for an answer. If a peer may not hear this node, the answer asks
    /// whether it does.
    pub(super) fn acknowledge<E>(&mut self, node: &mut Node<E>, now: Duration) {
        for id in self.peers.to_answer(now) {
            if self.answers_with_beat(&id, now) {
                continue;
            }
            if self.answers_with_news(&id) {
                let round_trip = self.round_trip_to(&id);
                if self.send_news(node, &id, true) {
                    self.slot.pass(true, now, round_trip, self.period);
                    continue;
                }
            }
            let (introduction, _) = self.introduction(&id);
            let within = self.acknowledge_within(&id);
            let is_far = self.is_far(&id);
            let Some(mut peer) = self.peers.get_mut(&id) else {
                continue;
            };
            let mut answer_within = (peer.is_doubted || is_far).then_some(Duration::ZERO);
            let mut runs = Vec::new();
            if peer.is_served && !peer.is_introduced {
                peer.note_told(self.replica.version(), self.generation);
                runs = introduction;
                answer_within = answer_within.or(Some(within));
            }
            drop(peer);
            self.send(node, &id, MessageParts { answer_within, runs, ..MessageParts::default() });
        }
    }
}
