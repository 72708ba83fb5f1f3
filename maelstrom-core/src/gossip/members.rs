//! Membership: which peers are up, which one is the hub, and which ones this node serves.
//!
//! 1. `retry_or_mark_down`: a peer is asked again if its answer is late, and is down if it stays
//!    silent.
//! 2. `probe_hub_candidates`: after the hub has failed, the node calls the lowest peers.
//! 3. `refresh_membership`: the best peer with a lower rank than this node is its hub. Without one,
//!    this node is a hub itself.
//! 4. `probe`: the node asks peers again and again if no other node is known to serve them.
//!
//! A node with a hub serves the hub, the peers that use this node as their hub, and those that the
//! hub cannot reach and this node can. A node without a hub serves every peer that is up.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use tracing::{debug, info};

use super::marks;
use super::metrics;
use super::peer::Peer;
use super::push::{LITTLE_BYTES, ROUND_TRIP_VAGUE_MAX};
use super::{Config, Gossip, MessageParts, Slot, State};
use crate::message::NodeId;
use crate::node::Node;

/// The minimum time between two probes of all candidates for a new hub.
const CANDIDATES_INTERVAL: Duration = Duration::from_secs(1);

/// How many nodes a node calls when it has lost its hub: those with the lowest ranks. One of them
/// is the next hub, and passes on all entries that it receives. All nodes on one side of a cut do
/// this at the same time. If each called every other node, the number of messages would be
/// quadratic.
const ROLL_CALL_PEERS_MAX: usize = 8;

/// The minimum time between two probes of all peers in `to_probe`.
const PROBE_ALL_INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take while no round trip is known.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(3);

/// A larger variation comes from a peer that was paused, unless its round trip is longer than this.
const VARIATION_USUAL: Duration = Duration::from_secs(1);

/// The longest wait for an answer, beyond the time that the peer was granted. The wait may become
/// longer if the peer is asked again.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// The results of the last review of all peers.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The facts on which the results depend.
    seen: Seen,
    /// The peers that this node probes while it does not reach them, by name.
    to_probe: Vec<NodeId>,
}

/// As long as this does not change, only a change of a peer itself can change its review.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    hub: Option<NodeId>,
    lost_changes: Option<u64>,
    down_changes: u64,
}

impl<S: State> Gossip<S> {
    /// Asks again each peer that has not confirmed in time, or considers it down. Returns the hub
    /// if it is now down.
    pub(super) fn retry_or_mark_down<E>(
        &mut self,
        node: &mut Node<E>,
        now: Duration,
    ) -> Option<NodeId> {
        let mut gone = None;
        for id in self.peers.overdue(now) {
            let Some(mut peer) = self.peers.get_mut(&id) else {
                continue;
            };
            if peer.is_silent() {
                info!(peer = %id, "a peer is down: it does not answer");
                node.mark(marks::DOWN);
                node.count(&metrics::FAILURES, &[], 1);
                peer.mark_down(now);
                drop(peer);
                self.bursts.remove(&id);
                if self.is_hub(&id) {
                    gone = Some(id);
                }
                continue;
            }
            let slack = slack(&self.config, self.usual_round_trip, &peer);
            peer.told.clone_from(self.replica.version());
            peer.ask_again(now, slack);
            drop(peer);
            let answer_within = Some(Duration::ZERO);
            self.send(node, &id, MessageParts { answer_within, ..MessageParts::default() });
        }
        gone
    }

    /// Calls the lowest nodes after the hub has failed: sends them entries that they may lack, and
    /// asks whether they are up.
    pub(super) fn probe_hub_candidates<E>(
        &mut self,
        node: &mut Node<E>,
        now: Duration,
        gone: &NodeId,
    ) {
        if self.has_just_lost_its_hub(now) {
            return;
        }
        self.candidates_probed = Some(now);
        node.mark(marks::HUB_GONE);
        let known = self.peers.get(gone).map(|peer| peer.known.clone()).unwrap_or_default();
        for id in self.peers.lowest_up(ROLL_CALL_PEERS_MAX) {
            let bytes_max = self.batch_bytes(&id).min(LITTLE_BYTES);
            let Some(mut peer) = self.peers.get_mut(&id).filter(|peer| peer.is_up()) else {
                continue;
            };
            // Every node sends this to the same nodes, so it holds only a little. They fetch the
            // rest.
            let have = [&known, &peer.known];
            let lacking = self.replica.lacking(&have, bytes_max);
            let runs = lacking.map_or(Vec::new(), |(spans, _)| spans);
            let slack = slack(&self.config, self.usual_round_trip, &peer);
            peer.note_told(self.replica.version(), self.generation);
            peer.ask_for_life(now, slack);
            drop(peer);
            let answer_within = Some(Duration::ZERO);
            self.send(node, &id, MessageParts { answer_within, runs, ..MessageParts::default() });
        }
    }

    /// Whether the hub was lost a moment ago. If so, perhaps no node is about to send the missing
    /// entries.
    pub(super) fn has_just_lost_its_hub(&self, now: Duration) -> bool {
        self.candidates_probed.is_some_and(|last| now < last.saturating_add(CANDIDATES_INTERVAL))
    }

    /// Whether all peers in `to_probe` were probed a moment ago. If so, answers of peers that are
    /// back may be in transit.
    pub(super) fn has_just_tried_all(&self, now: Duration) -> bool {
        self.probed_all.is_some_and(|last| now < last.saturating_add(PROBE_ALL_INTERVAL))
    }

    /// Determines the hub, the peers that are down, and the peers that this node serves.
    pub(super) fn refresh_membership(&mut self, now: Duration) {
        let best = self.peers.best(now).filter(|(rank, _)| *rank < self.rank);
        let hub = best.map(|(_, id)| id);
        if hub != self.hub {
            debug!(?hub, "the hub changed");
            let old = std::mem::replace(&mut self.hub, hub);
            self.view = self.view.saturating_add(1);
            self.slot = Slot::default();
            if let Some(mut peer) = old.and_then(|old| self.peers.get_mut(&old)) {
                // Answers the old hub, so that it learns of the change and stops serving this node.
                peer.answer_at = Some(now).filter(|_| peer.is_up());
            }
        }
        let unclassified = self.peers.take_unclassified();
        let hub = self.hub.as_ref().and_then(|hub| self.peers.get(hub));
        let seen = Seen {
            hub: self.hub.clone(),
            lost_changes: hub.map(|hub| hub.lost_changes),
            down_changes: self.peers.down_changes(),
        };
        if seen == self.membership.seen {
            unclassified.iter().for_each(|id| self.reclassify(id));
            return;
        }
        let lost_by_hub: BTreeSet<NodeId> =
            hub.map(|hub| hub.lost.iter().cloned().collect()).unwrap_or_default();
        let ids = self.peers.ids();
        let mut is_newly_lost = false;
        for id in &ids {
            let is_lost = lost_by_hub.contains(id);
            if let Some(mut peer) = self.peers.get_mut(id) {
                is_newly_lost |= is_lost && !peer.is_lost_by_hub();
                peer.note_hub_reaches(now, !is_lost);
            }
        }
        if is_newly_lost && ids.len() <= ROLL_CALL_PEERS_MAX {
            // So few nodes may all ask all lost peers at once.
            (self.probe_all, self.probe_at) = (true, Some(now));
        }
        let lost: Vec<NodeId> = self.peers.down().cloned().collect();
        if lost != self.lost.0 {
            self.view = self.view.saturating_add(1);
            self.lost = (lost, self.view);
        }
        self.membership.seen = seen;
        self.membership.to_probe = ids.iter().filter(|id| self.is_to_probe(id)).cloned().collect();
        self.peers.take_unclassified();
        ids.iter().for_each(|id| self.reclassify(id));
    }

    /// Determines whether this node serves a peer.
    fn reclassify(&mut self, id: &NodeId) {
        let Some(is_served) = self.peers.get(id).map(|peer| self.serves(id, peer)) else {
            return;
        };
        if let Some(mut peer) = self.peers.get_mut(id) {
            peer.is_served = is_served;
            // Another node serves the peer now. If this node serves it again, it introduces itself
            // again.
            peer.is_introduced &= is_served;
        }
    }

    /// Whether this node serves a peer: keeps it up to date.
    fn serves(&self, id: &NodeId, peer: &Peer) -> bool {
        peer.is_up()
            && self.hub.as_ref().is_none_or(|hub| {
                id == hub
                    || peer.hub.as_ref() == Some(&self.origin.node)
                    || (peer.is_lost_by_hub() && peer.is_reached())
            })
    }

    /// Whether this node serves a peer because its hub cannot reach that peer.
    pub(super) fn is_lost_by_hub(&self, id: &NodeId) -> bool {
        self.peers.get(id).is_some_and(Peer::is_lost_by_hub)
    }

    /// Whether this node probes a peer, because no other node is known to serve it: a peer that is
    /// down, or one that the hub cannot reach and that this node has not reached since. If the hub
    /// can still reach a peer that is down, this node probes it only if it would be a better hub.
    fn is_to_probe(&self, id: &NodeId) -> bool {
        let Some(peer) = self.peers.get(id) else {
            return false;
        };
        let Some(hub) = self.hub.as_ref().and_then(|hub| self.peers.get(hub)) else {
            return !peer.is_up();
        };
        if peer.is_lost_by_hub() {
            return !peer.is_up() || !peer.is_reached();
        }
        !peer.is_up() && peer.rank < hub.rank
    }

    /// Probes the peers that no other node is known to serve: one peer at a time, or all of them
    /// after one has come back.
    pub(super) fn probe<E>(&mut self, node: &mut Node<E>, now: Duration) {
        if self.membership.to_probe.is_empty() {
            self.probe_at = None;
            return;
        }
        let delay = self.probe_delay(node);
        // Nodes that lose a peer at the same time ask it at different times.
        let first = delay.mul_f64(node.rng().random_range(0.0..1.0));
        let at = *self.probe_at.get_or_insert(now.saturating_add(first));
        if at > now {
            return;
        }
        self.probe_at = Some(now.saturating_add(delay));
        let mut chosen = std::mem::take(&mut self.membership.to_probe);
        chosen.retain(|id| self.is_to_probe(id));
        self.membership.to_probe.clone_from(&chosen);
        if std::mem::take(&mut self.probe_all) {
            self.probed_all = Some(now);
        } else if !chosen.is_empty() {
            chosen = vec![chosen.swap_remove(node.rng().random_range(0..chosen.len()))];
        }
        for id in chosen {
            node.mark(marks::PROBED);
            let answer_within = Some(Duration::ZERO);
            self.send(node, &id, MessageParts { answer_within, ..MessageParts::default() });
        }
    }

    /// The time until the next probe. In a large cluster, several nodes probe the same peers. So a
    /// node with a hub waits longer.
    pub(super) fn probe_delay<E>(&self, node: &mut Node<E>) -> Duration {
        let share = if self.hub.is_some() { (self.peers.len() / 8).clamp(1, 8) } else { 1 };
        let share = u32::try_from(share).unwrap_or(1);
        let delay = self.config.probe_interval.mul_f64(node.rng().random_range(0.5..=1.0));
        delay.saturating_mul(share)
    }
}

/// How long an answer of a peer may take. For a peer that has never answered, assumes the round
/// trip `usual` of the others.
pub(super) fn slack(config: &Config, usual: Option<Duration>, peer: &Peer) -> Duration {
    slack_of(config, peer.round_trip.estimate().or(usual), peer)
}

/// Like [`slack`], for the answer to a fetch, but with a limit on a round trip that has a single
/// sample. That sample may be a pause of this node. If the peer is cut off, this node would
/// otherwise wait as long before it fetches from another one.
pub(super) fn fetch_slack(config: &Config, usual: Option<Duration>, peer: &Peer) -> Duration {
    let round_trip = peer.round_trip.estimate().or(usual);
    let limit = usual.map(|usual| usual.max(ROUND_TRIP_VAGUE_MAX));
    let limited = round_trip.min(limit.or(round_trip));
    slack_of(config, if peer.round_trip.is_single() { limited } else { round_trip }, peer)
}

fn slack_of(config: &Config, round_trip: Option<Duration>, peer: &Peer) -> Duration {
    let slack = match round_trip {
        None => PATIENCE_UNKNOWN,
        Some(round_trip) => {
            let least = round_trip.mul_f64(if peer.round_trip.is_vague() { 2.0 } else { 0.5 });
            let most = round_trip.saturating_mul(4).min(round_trip.max(VARIATION_USUAL));
            let more = peer.round_trip.variation().saturating_mul(6).max(least);
            let more = more.min(most).max(config.patience_min);
            round_trip.saturating_add(more).min(PATIENCE_MAX)
        }
    };
    slack.max(config.patience_min)
}
