//! Processes a message: its information about the sender, its entries, and its requests.

use std::time::Duration;

use rand::Rng;
use tracing::{info, warn};

use super::fetch::{Gain, Wait};
use super::marks;
use super::members::slack;
use super::metrics;
use super::peer::Standing;
use super::record::RecordRef;
use super::replica::{Run, VersionVector};
use super::traces::log_entries;
use super::wire::{Message, micros};
use super::{Gossip, State, Tick, push};
use crate::error::Error;
use crate::message::NodeId;
use crate::node::Node;

fn mark_standing<E>(node: &mut Node<E>, standing: Standing, was_known: bool) {
    match standing {
        Standing::Reborn if was_known => node.mark(marks::NEW_LIFE),
        Standing::Unclear => node.mark(marks::UNCLEAR),
        Standing::Reborn | Standing::Same => {}
    }
}

fn note_gap<E>(node: &mut Node<E>) {
    node.mark(marks::GAP);
    node.count(&metrics::GAPS, &[], 1);
}

impl<S: State> Gossip<S> {
    /// Processes a message that is ready.
    pub(super) fn handle_message<E: From<Tick>>(
        &mut self,
        node: &mut Node<E>,
        src: &NodeId,
        message: Message<S>,
    ) -> Result<(), Error> {
        let now = node.now();
        let Some(mut peer) = self.peers.get_mut(src) else {
            return Ok(());
        };
        let echo = message.echo.filter(|echo| echo.life == self.life && echo.sent <= micros(now));
        let was_known = peer.is_known();
        let standing = peer.record_message(now, message.life, message.sent, echo);
        mark_standing(node, standing, was_known);
        let is_told = message.answer_within == Some(0);
        if standing == Standing::Unclear {
            peer.require_proof(now);
            drop(peer);
        } else {
            drop(peer);
            self.update_peer(node, src, &message);
        }
        self.leave_log_known_to_others(node, src, &message.have);
        let is_empty = message.runs.is_empty() && message.piece.is_none();
        let (mut is_gap, mut is_kept) = (false, false);
        let (before, mut result) = (self.generation, Ok(()));
        for run in message.runs {
            // No other node can have more of the log of this life than this node itself.
            if run.origin != self.origin {
                is_kept |= self.keep_following(&run);
                is_gap |= self.is_gap_before(&run);
                result = result.and(self.apply_and_record(node, run));
            }
        }
        let mut is_piece = false;
        // A late piece from an earlier life must not replace the current snapshot.
        if let Some(piece) = message.piece.filter(|_| standing != Standing::Unclear) {
            let taken = self.receive_piece(node, src, message.life, &message.have, piece);
            is_piece = taken == Ok(Gain::News);
            is_gap |= !matches!(taken, Ok(Gain::News | Gain::Nothing));
            result = result.and(taken.map(drop));
        }
        // A peer whose answer brings nothing has no more entries, so it is not asked again at once.
        let is_news = is_piece || is_kept || self.generation > before;
        if is_gap {
            note_gap(node);
        }
        let left = message.fetched.then(|| message.place.map_or(0, |place| place.left));
        let answer = self.note_answer(now, (src, echo), left, (is_news, is_gap));
        if let Some(mut peer) = self.peers.get_mut(src).filter(|_| answer.is_some() || is_news) {
            let is_fruitful = is_news || answer == Some(true);
            peer.fruitless = if is_fruitful { 0 } else { peer.fruitless.saturating_add(1) };
        }
        if answer == Some(false) {
            node.mark(marks::FRUITLESS);
            if is_empty {
                self.note_trimmed(src);
            }
        }
        let is_alone = self.has_just_lost_its_hub(now) && answer.is_none();
        let wait = if is_told || is_alone || answer == Some(true) {
            Wait::None
        } else if is_gap {
            Wait::RoundTrip
        } else {
            Wait::Period
        };
        if let Some(fetch) = message.fetch {
            let mut have = message.have;
            if let Some(peer) = self.peers.get(src).filter(|_| standing != Standing::Unclear) {
                // The request may be late or duplicated, and the peer may have more entries by now.
                have.join(&peer.known);
            }
            self.answer_fetch(node, src, have, fetch, message.sent);
        }
        self.note_lacking_entries(now, src, wait);
        self.drive(node);
        result
    }

    /// Applies the new entries of another node's run. Persists them if the state is monotonic.
    pub(super) fn apply_and_record<E>(
        &mut self,
        node: &mut Node<E>,
        run: Run<S::Entry>,
    ) -> Result<(), Error> {
        self.apply(run, |news| {
            log_entries("applied", news);
            if S::MONOTONIC {
                node.persist(&RecordRef::<S>::Others(news));
            }
        })
    }

    /// Applies the new entries of a run, and calls `note` with them.
    pub(super) fn apply(
        &mut self,
        run: Run<S::Entry>,
        note: impl FnOnce(&Run<S::Entry>),
    ) -> Result<(), Error> {
        let Some(news) = self.replica.news_in(run) else {
            return Ok(());
        };
        self.state.check(&news.origin, &news.entries)?;
        note(&news);
        self.replica.extend(&news);
        self.generation = self.generation.saturating_add(1);
        self.state.apply(&news.origin, news.entries);
        Ok(())
    }

    /// Processes the information about the sender in a message from its current life: everything
    /// but entries, pieces and fetches.
    fn update_peer<E>(&mut self, node: &mut Node<E>, src: &NodeId, message: &Message<S>) {
        let now = node.now();
        self.hear_line_limit(src, message.line);
        // A greeting is the first message of a node. A node that has heard an earlier life of this
        // one expects an answer soon.
        if self.silent_until.take().is_some() && message.echo.is_none() {
            self.beat.begin_collecting(now);
        }
        let Some(mut peer) = self.peers.get_mut(src) else {
            return;
        };
        let slack = slack(&self.config, self.usual_round_trip, &peer);
        peer.acknowledged(now, &message.have, slack);
        if message.fetched {
            // On a slow link, the answer to a question follows the rest of this answer to a fetch.
            peer.wait_until(now.saturating_add(slack));
        }
        peer.note_view(message.view, message.hub.as_ref(), &message.lost);
        if let Some(within) = message.answer_within.filter(|_| message.fetch.is_none()) {
            let at = now.saturating_add(Duration::from_micros(within));
            peer.answer_at = Some(peer.answer_at.map_or(at, |sooner| sooner.min(at)));
        }
        let is_back = peer.mark_up(now);
        peer.is_doubted = !peer.is_up();
        drop(peer);
        self.update_period();
        if let Some(beat) = message.beat.filter(|_| self.is_hub(src)) {
            self.hear_beat(now, src, beat);
        }
        if is_back {
            info!(peer = %src, "a peer is up again");
            node.mark(marks::BACK);
            let best = self.hub.as_ref().and_then(|hub| self.peers.get(hub)).map(|hub| hub.rank);
            let rank = self.peers.get(src).map(|peer| peer.rank);
            if (best.is_none() || rank < best) && !self.has_just_tried_all(now) {
                // Peers often come back together.
                (self.probe_all, self.probe_at) = (true, Some(now));
            }
        }
    }

    /// Records the age of the hub's last beat, and its period. A hub that knows no round trip yet
    /// sends 0 as its period. If this node knows the round trip, it then uses the period that it
    /// learned itself.
    fn hear_beat(&mut self, now: Duration, hub: &NodeId, (age, period): (u64, u64)) {
        let (age, period) = (Duration::from_micros(age), Duration::from_micros(period));
        if !period.is_zero() {
            // Limits the period, so that no hub can make a node wait forever.
            let period = period.min(push::PERIOD_MAX.max(self.period));
            self.slot.hear_beat(now, age, period, false);
        } else if !self.is_far(hub) {
            self.slot.hear_beat(now, age, self.period, true);
        }
    }

    /// Checks a peer's claim about the logs of this node. If the peer has more of the recovered log
    /// than the records held, records were lost. If it has more of the current log than this node
    /// itself, the node begins a new log, whatever the reason: no two entries may have the same
    /// name.
    fn leave_log_known_to_others<E>(
        &mut self,
        node: &mut Node<E>,
        src: &NodeId,
        have: &VersionVector,
    ) {
        if let Some((origin, end)) = &self.recovered {
            let lost = have.get(origin).saturating_sub(*end);
            if lost > 0 {
                warn!(peer = %src, lost, "this node lost records: it gets them from other nodes");
                node.mark(marks::LOST_RECORDS);
                self.recovered = None;
            }
        }
        if have.get(&self.origin) > self.replica.version().get(&self.origin) {
            self.origin.incarnation = node.rng().next_u64() >> 11;
        }
    }
}
