//! Who is there, who is the hub, and whom this node serves.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use tracing::{debug, info};

use super::marks;
use super::metrics;
use super::peer::Peer;
use super::push::LITTLE_BYTES;
use super::{Config, Gossip, Parcel, Slot, State};
use crate::message::NodeId;
use crate::node::Node;

/// At most so often everyone is asked at once.
const ROLL_CALL_INTERVAL: Duration = Duration::from_secs(1);

/// A node that has lost its hub asks so many of the others, the lowest: one of them is the next
/// hub, and that passes on what it is told. All nodes of a side do this at once, so to ask everyone
/// would cost as many messages as there are pairs.
const ROLL_CALL_PEERS_MAX: usize = 8;

/// At most so often all peers that are down are tried at once.
const PROBE_ALL_INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer takes, as long as none has ever come.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(3);

/// Samples that vary by more are those of a peer that slept, unless it is farther away than that.
const VARIATION_USUAL: Duration = Duration::from_secs(1);

/// No answer is waited for longer, beyond what its sender was allowed to wait.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// The results of the last review of all peers.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The facts that the results follow from.
    seen: Seen,
    /// Those that the hub tries in vain to reach.
    lost_by_hub: BTreeSet<NodeId>,
    /// Those that are down and that this node tries, by name.
    to_probe: Vec<NodeId>,
}

/// As long as this stays the same, only what changes at a peer itself says how to deal with it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    hub: Option<NodeId>,
    lost_changes: Option<u64>,
    down_changes: u64,
}

impl<S: State> Gossip<S> {
    /// Peers that have not confirmed in time what they were told. The hub, if it has been given up.
    pub(super) fn press<E>(&mut self, node: &mut Node<E>, now: Duration) -> Option<NodeId> {
        let mut gone = None;
        for id in self.peers.overdue(now) {
            let Some(mut peer) = self.peers.get_mut(&id) else {
                continue;
            };
            if peer.is_silent() {
                info!(peer = %id, "does not answer");
                node.mark(marks::DOWN);
                node.count(&metrics::FAILURES, &[], 1);
                peer.fall(now);
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
            self.send(node, &id, Parcel { answer_within, ..Parcel::default() });
        }
        gone
    }

    /// The hub is gone: the lowest nodes get what they may lack, and shall say whether they are
    /// there.
    pub(super) fn roll_call<E>(&mut self, node: &mut Node<E>, now: Duration, gone: &NodeId) {
        if self.has_just_lost_its_hub(now) {
            return;
        }
        self.roll_called = Some(now);
        node.mark(marks::HUB_GONE);
        let known = self.peers.get(gone).map(|peer| peer.known.clone()).unwrap_or_default();
        for id in self.peers.lowest_up(ROLL_CALL_PEERS_MAX) {
            let bytes_max = self.batch_bytes(&id).min(LITTLE_BYTES);
            let Some(mut peer) = self.peers.get_mut(&id).filter(|peer| peer.is_up()) else {
                continue;
            };
            // Everyone says this to everyone: more than a little is for them to fetch.
            let have = [&known, &peer.known];
            let lacking = self.replica.lacking(&have, bytes_max);
            let runs = lacking.map_or(Vec::new(), |(spans, _)| spans);
            let slack = slack(&self.config, self.usual_round_trip, &peer);
            peer.tell(self.replica.version(), self.generation);
            peer.ask_for_life(now, slack);
            drop(peer);
            let answer_within = Some(Duration::ZERO);
            self.send(node, &id, Parcel { answer_within, runs, ..Parcel::default() });
        }
    }

    /// Then nobody may be about to bring what it lacks.
    pub(super) fn has_just_lost_its_hub(&self, now: Duration) -> bool {
        self.roll_called.is_some_and(|last| now < last.saturating_add(ROLL_CALL_INTERVAL))
    }

    /// Then the answers of peers that are back may be under way.
    pub(super) fn has_just_tried_all(&self, now: Duration) -> bool {
        self.probed_all.is_some_and(|last| now < last.saturating_add(PROBE_ALL_INTERVAL))
    }

    /// Who is the hub, and who is lost?
    pub(super) fn look_around(&mut self, now: Duration) {
        let best = self.peers.best(now).filter(|(rank, _)| *rank < self.rank);
        let hub = best.map(|(_, id)| id);
        if hub != self.hub {
            debug!(?hub, "has another hub");
            let old = std::mem::replace(&mut self.hub, hub);
            self.view = self.view.saturating_add(1);
            self.slot = Slot::default();
            if let Some(mut peer) = old.and_then(|old| self.peers.get_mut(&old)) {
                // So that it does not go on to serve this node.
                peer.answer_at = Some(now).filter(|_| peer.is_up());
            }
        }
        let unreviewed = self.peers.take_unreviewed();
        let hub = self.hub.as_ref().and_then(|hub| self.peers.get(hub));
        let seen = Seen {
            hub: self.hub.clone(),
            lost_changes: hub.map(|hub| hub.lost_changes),
            down_changes: self.peers.down_changes(),
        };
        if seen == self.around.seen {
            unreviewed.iter().for_each(|id| self.review(id));
            return;
        }
        let lost_by_hub = hub.map(|hub| hub.lost.iter().cloned().collect());
        self.around.lost_by_hub = lost_by_hub.unwrap_or_default();
        let lost: Vec<NodeId> = self.peers.down().cloned().collect();
        if lost != self.lost.0 {
            self.view = self.view.saturating_add(1);
            self.lost = (lost, self.view);
        }
        self.around.seen = seen;
        self.around.to_probe =
            self.peers.down().filter(|id| self.is_to_probe(id)).cloned().collect();
        self.peers.ids().iter().for_each(|id| self.review(id));
    }

    /// Finds out whether this node serves a peer.
    fn review(&mut self, id: &NodeId) {
        let Some(is_served) = self.peers.get(id).map(|peer| self.serves(id, peer)) else {
            return;
        };
        if let Some(mut peer) = self.peers.get_mut(id) {
            peer.is_served = is_served;
            // Others bring it what is new; if this node serves it again, they begin anew.
            peer.is_introduced &= is_served;
        }
    }

    /// Whether this node sees to it that the peer has all that it has.
    fn serves(&self, id: &NodeId, peer: &Peer) -> bool {
        peer.is_up()
            && self.hub.as_ref().is_none_or(|hub| {
                id == hub
                    || peer.hub.as_ref() == Some(&self.origin.node)
                    || self.around.lost_by_hub.contains(id)
            })
    }

    /// Whether this node serves a peer because its hub tries that in vain.
    pub(super) fn is_lost_by_hub(&self, id: &NodeId) -> bool {
        self.around.lost_by_hub.contains(id)
    }

    /// Whether this node tries a peer that is down: nobody else is known to serve it.
    fn is_to_probe(&self, id: &NodeId) -> bool {
        let rank = |id| self.peers.get(id).map(|peer| peer.rank);
        let Some(hub) = &self.hub else {
            return true;
        };
        self.around.lost_by_hub.contains(id) || rank(id) < rank(hub)
    }

    /// Tries peers that are down and that nobody else is known to serve: one now and then, or all
    /// of them where one has just come back.
    pub(super) fn probe<E>(&mut self, node: &mut Node<E>, now: Duration) {
        if self.around.to_probe.is_empty() {
            self.probe_at = None;
            return;
        }
        let delay = self.probe_delay(node);
        let at = *self.probe_at.get_or_insert(now.saturating_add(delay));
        if at > now {
            return;
        }
        self.probe_at = Some(now.saturating_add(delay));
        let (first, count) = if std::mem::take(&mut self.probe_all) {
            self.probed_all = Some(now);
            (0, self.around.to_probe.len())
        } else {
            (node.rng().random_range(0..self.around.to_probe.len()), 1)
        };
        let chosen = self.around.to_probe.iter().skip(first).take(count);
        node.mark(marks::PROBED);
        for id in chosen.cloned().collect::<Vec<_>>() {
            let answer_within = Some(Duration::ZERO);
            self.send(node, &id, Parcel { answer_within, ..Parcel::default() });
        }
    }

    /// A node that serves many has others to try as well: together they do not try more often.
    pub(super) fn probe_delay<E>(&self, node: &mut Node<E>) -> Duration {
        let share = if self.hub.is_some() { (self.peers.len() / 8).clamp(1, 8) } else { 1 };
        let share = u32::try_from(share).unwrap_or(1);
        let delay = self.config.probe_interval.mul_f64(node.rng().random_range(0.5..=1.0));
        delay.saturating_mul(share)
    }
}

/// How long an answer of a peer may take. One that has never answered is taken to be as far away as
/// the others, `usual`.
pub(super) fn slack(config: &Config, usual: Option<Duration>, peer: &Peer) -> Duration {
    let Some(round_trip) = peer.round_trip.estimate().or(usual) else {
        return PATIENCE_UNKNOWN;
    };
    let least = round_trip.mul_f64(if peer.round_trip.is_vague() { 2.0 } else { 0.5 });
    let most = round_trip.saturating_mul(4).min(round_trip.max(VARIATION_USUAL));
    let more = peer.round_trip.variation().saturating_mul(6).max(least);
    let more = more.min(most).max(config.patience_min);
    round_trip.saturating_add(more).min(PATIENCE_MAX)
}
