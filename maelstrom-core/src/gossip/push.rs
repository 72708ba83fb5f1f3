//! Telling others what is new: when, to whom, and how soon they shall confirm it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::beat::margin;
use super::peer::Peer;
use super::replica::Span;
use super::window::batches_max;
use super::{Gossip, Parcel, State};
use crate::message::NodeId;
use crate::node::Node;

/// What costs so little that it may be sent in vain.
pub(super) const LITTLE_BYTES: usize = 16 << 10;

/// So many batches a peer is told of at once, at the most. The others, it fetches.
const PUSHED_MAX: usize = 8;

/// What a period is learned from until there is a better guess.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(50);

/// What a period is learned from at most until there are samples enough.
const ROUND_TRIP_VAGUE_MAX: Duration = Duration::from_millis(500);

/// How long a node that is no hub may keep an acknowledgement, to send it with something else.
const ACKNOWLEDGE_WITHIN_MIN: Duration = Duration::from_millis(1_500);

/// No period is learned that is longer.
pub(super) const PERIOD_MAX: Duration = Duration::from_secs(10);

/// A learned period, in round trips.
const PERIOD_ROUND_TRIPS: f64 = 2.05;

impl<S: State> Gossip<S> {
    /// Whether a peer may have to be told something.
    pub(super) fn has_news_for(&self, peer: &Peer) -> bool {
        let is_client = || peer.hub.as_ref() == Some(&self.origin.node);
        let news = !peer.is_introduced
            || peer.told_generation < self.generation
            || (peer.view_told < self.lost.1 && is_client());
        news && peer.is_served
    }

    /// Peers on this node's own beat, for which there is news. In no order, and maybe twice.
    fn others_with_news(&self) -> impl Iterator<Item = &NodeId> {
        // A peer that was told of less than the newest generation or view has news: see `has_news_for`.
        self.peers.with_news(self.generation, self.lost.1).filter(|id| !self.is_hub(id))
    }

    /// Whether there is news for any peer on this node's own beat.
    pub(super) fn has_news_for_others(&self) -> bool {
        self.others_with_news().next().is_some()
    }

    /// Tells the hub when its slot has come, and all others that this node serves on its own beat.
    pub(super) fn push<E>(&mut self, node: &mut Node<E>, now: Duration) {
        if self.slot_at(now).is_some_and(|at| at <= now)
            && let Some(hub) = self.hub.clone()
        {
            let round_trip = self.round_trip_to(&hub);
            let is_told = self.tell(node, &hub);
            self.slot.pass(is_told, now, round_trip, self.period);
        }
        if self.beat.due(now) > now {
            return;
        }
        let mut has_beaten = false;
        let last = self.beat;
        self.beat.begin(now, self.period);
        let told: BTreeSet<NodeId> = self.others_with_news().cloned().collect();
        for id in told {
            has_beaten |= self.tell(node, &id);
        }
        if !has_beaten {
            self.beat = last;
        }
    }

    /// When the hub is to be told, if there is anything to tell.
    pub(super) fn slot_at(&mut self, now: Duration) -> Option<Duration> {
        let hub = self.hub.as_ref().and_then(|hub| self.peers.get(hub))?;
        if !self.has_news_for(hub) {
            return None;
        }
        if !hub.is_introduced {
            return Some(now);
        }
        Some(self.slot.flush_at(now, hub.round_trip.estimate(), hub.round_trip.variation()))
    }

    fn round_trip_to(&self, id: &NodeId) -> Duration {
        self.peers.get(id).and_then(|peer| peer.round_trip.estimate()).unwrap_or_default()
    }

    /// The median round trip, and a period of a little more than twice that.
    pub(super) fn learn(&mut self) {
        let (usual, sure) = self.peers.round_trips();
        self.usual_round_trip = usual;
        // This node may have slept, and nothing is known but how long.
        let vague = || usual.map(|usual| usual.min(ROUND_TRIP_VAGUE_MAX));
        let round_trip = sure.or_else(vague).unwrap_or(ROUND_TRIP_UNKNOWN);
        let learned = round_trip.mul_f64(PERIOD_ROUND_TRIPS).min(PERIOD_MAX);
        self.period = self.config.period.unwrap_or(learned.max(self.config.period_min));
    }

    /// Tells a peer what is new to it, if anything is. Whether there was a message.
    fn tell<E>(&mut self, node: &mut Node<E>, id: &NodeId) -> bool {
        let within = self.acknowledge_within(id);
        let Some(peer) = self.peers.get(id) else {
            return false;
        };
        let (mut batches, cut) = if peer.is_introduced {
            let round_trip = self.round_trip_to(id);
            let bytes_max = self.batch_bytes(id);
            let count = batches_max(bytes_max, round_trip).min(PUSHED_MAX);
            self.batches(&[&peer.known, &peer.told], (count, bytes_max))
                .unwrap_or((Vec::new(), true))
        } else {
            (vec![self.introduction(id)], true)
        };
        let Some(mut peer) = self.peers.get_mut(id) else {
            return false;
        };
        peer.tell(self.replica.version(), self.generation);
        let view = peer.view_told < self.lost.1;
        drop(peer);
        if batches.iter().all(Vec::is_empty) && !cut && !view {
            return false;
        }
        let answer_within = Some(if cut { Duration::ZERO } else { within });
        let last =
            Parcel { answer_within, runs: batches.pop().unwrap_or_default(), ..Parcel::default() };
        let others = batches.into_iter().map(|runs| Parcel { runs, ..Parcel::default() });
        self.send_burst(node, id, others.chain([last]).collect());
        true
    }

    /// How soon a peer shall confirm what it is told: a hub with its next beat, the others when
    /// they have something to say, or after a while.
    fn acknowledge_within(&self, id: &NodeId) -> Duration {
        if self.is_hub(id) {
            let period = self.slot.period().unwrap_or(self.period);
            let slack = margin(period, Duration::ZERO).saturating_mul(2);
            period.saturating_add(slack).max(self.config.patience_min)
        } else {
            self.period.saturating_mul(2).max(ACKNOWLEDGE_WITHIN_MIN)
        }
    }

    /// What a peer that is told of everything gets as well. A hub gives all that is missing. The
    /// others give their own entries, which nobody else will: what is older, the peer fetches from
    /// one node. While there is little, all of it goes without saying.
    fn introduction(&self, id: &NodeId) -> Vec<Span> {
        let Some(peer) = self.peers.get(id) else {
            return Vec::new();
        };
        let (have, bytes_max) = ([&peer.known], self.batch_bytes(id));
        let is_client = self.hub.is_none() || peer.hub.as_ref() == Some(&self.origin.node);
        let missing = if self.replica.log_bytes() < LITTLE_BYTES || (is_client && peer.is_known()) {
            self.replica.lacking(&have, bytes_max)
        } else {
            self.replica.lacking_from(&self.origin, &have, bytes_max)
        };
        missing.map_or(Vec::new(), |(spans, _)| spans)
    }

    /// Peers that wait for an answer. One that is not known to hear this node is asked whether it does.
    pub(super) fn acknowledge<E>(&mut self, node: &mut Node<E>, now: Duration) {
        for id in self.peers.to_answer(now) {
            let introduction = self.introduction(&id);
            let within = self.acknowledge_within(&id);
            let Some(mut peer) = self.peers.get_mut(&id) else {
                continue;
            };
            // A leaf keeps time with its hub only if it knows how far that is.
            let is_far = peer.round_trip.estimate().is_none() && self.hub.as_ref() == Some(&id);
            let mut answer_within = (peer.is_doubted || is_far).then_some(Duration::ZERO);
            let mut runs = Vec::new();
            if peer.is_served && !peer.is_introduced {
                peer.tell(self.replica.version(), self.generation);
                runs = introduction;
                answer_within = answer_within.or(Some(within));
            }
            drop(peer);
            self.send(node, &id, Parcel { answer_within, runs, ..Parcel::default() });
        }
    }
}
