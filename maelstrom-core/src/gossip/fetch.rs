//! Catching up: a node that knows of entries that it lacks fetches them. It fetches a
//! [window](super::window) of batches at a time, from one node at a time. So it receives missing
//! entries only once, and no node is flooded.
//!
//! # Steps
//!
//! 1. `Gossip::note_lacking_entries`: a message shows that its sender has more. The node plans a
//!    fetch from it, later if the entries may still arrive without one.
//! 2. `Gossip::fetch`: the fetch is due, and no other one runs. The node sends it.
//! 3. `Gossip::answer_fetch`: the peer answers with entries, or with pieces of its state if its
//!    logs are trimmed.
//! 4. `Gossip::note_answer`: each message of the answer extends the deadline, and the last one ends
//!    the fetch. If the deadline passes, the node fetches from another peer first.
//! 5. `Gossip::receive_piece`: pieces wait until the snapshot is complete. Then
//!    `Gossip::merge_next` merges it, step by step.
//!
//! # Snapshots
//!
//! A complete snapshot counts as everything that its sender had when it took the last piece,
//! although the other pieces are older. Three properties make that correct:
//!
//! * A change of a state is placed after everything that the state held before. It stays there
//!   until it is changed again. ([`State::piece`] requires that.)
//! * All pieces come from one life of the sender, in which its state only grows.
//! * Each piece begins where the previous one ended, and the sender had at least as much when it
//!   took it. (The version that comes with a piece must cover the version of the previous piece.
//!   Otherwise the piece is refused.)
//!
//! Proof: let the state hold x when the last piece is taken. Let x be at a position between the
//! beginning and the end of some piece P, and let the version name x. If the state already held x
//! when P was taken, then P contains it. Otherwise x came later, so its position is after
//! everything that the state held when P was taken. The end of P, which is not the last piece, is
//! the position of something that the state held then. So x is after P: a contradiction.
//!
//! It does not matter which node appended x, or whether the sender received x as an entry or in a
//! snapshot: the sender names x once its state holds it. The proof does not use the logs, so they
//! may be trimmed in the meantime.
//!
//! So a snapshot contains everything that was appended before its last piece was taken. Afterwards
//! the node lacks only later entries, and the logs still hold those. The node fetches and keeps
//! them while it merges the snapshot, because that may take so long that the logs are trimmed: see
//! [`following`](super::following).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::marks;
use super::members::fetch_slack;
use super::metrics;
use super::peer::Peer;
use super::record::RecordRef;
use super::replica::VersionVector;
use super::window::{Room, Window, batches_max};
use super::wire::{Echo, Fetch, Piece, micros};
use super::{Gossip, MessageParts, State};
use crate::error::Error;
use crate::message::NodeId;
use crate::node::Node;

/// How long to wait for missing entries before fetching them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// They will not arrive without a fetch.
    None,
    /// A message may have been overtaken.
    RoundTrip,
    /// The peer may be about to send them.
    Period,
}

/// The fetches of a node, and the snapshots that it receives.
#[derive(Debug)]
pub(super) struct Fetching<P> {
    asked: Option<Asked>,
    window: Window,
    /// The incomplete snapshots. Each continues where it stopped, even if the node fetched from
    /// another peer in between.
    loading: BTreeMap<NodeId, Loading<P>>,
    /// The pieces of a complete snapshot that are still to be merged. The last piece carries the
    /// version that the whole snapshot covers.
    merging: VecDeque<(P, Option<VersionVector>)>,
    /// The complete snapshot that a monotonic state is joining.
    joining: Option<Joining<P>>,
    /// Whether memory of the last snapshot is still to be freed: that of the state, and these
    /// pieces.
    is_discarding: bool,
    discarded: Vec<P>,
}

/// A complete snapshot for a monotonic state. Its pieces are persisted one at a time. Then the
/// state joins them step by step.
#[derive(Debug)]
struct Joining<P> {
    from: NodeId,
    pieces: Vec<P>,
    /// How many pieces have been persisted.
    recorded: usize,
    /// The next step may not come earlier.
    next_at: Duration,
    version: VersionVector,
}

/// How many incomplete snapshots a node keeps: their pieces wait in memory.
const LOADING_MAX: usize = 4;

/// How long a node waits after it has persisted a piece of a snapshot. The replies to clients wait
/// behind the piece until it is on disk.
const PIECE_INTERVAL: Duration = Duration::from_millis(4);

/// How often the wait doubles before a node fetches again from a peer whose answers bring nothing.
const FRUITLESS_DOUBLINGS_MAX: u32 = 6;

impl<P> Default for Fetching<P> {
    fn default() -> Self {
        let (loading, merging) = (BTreeMap::new(), VecDeque::new());
        let window = Window::default();
        let (joining, discarded) = (None, Vec::new());
        Self { asked: None, window, loading, merging, joining, is_discarding: false, discarded }
    }
}

/// The current fetch.
#[derive(Debug)]
struct Asked {
    from: NodeId,
    sent: u64,
    deadline: Duration,
    /// When the last message of the answer arrived, or when the fetch was sent.
    heard: Duration,
    /// When the first message of the answer arrived.
    begun: Option<Duration>,
    /// Whether a message of the answer brought something new. `is_gap`: whether a message did not
    /// fit.
    is_news: bool,
    is_gap: bool,
}

/// The outcome of a received piece.
enum Taken<P> {
    /// The piece does not fit.
    Not,
    /// The piece fits, and more will follow.
    Part,
    /// The piece was the last one.
    Whole(Vec<P>),
}

/// The use of a received piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gain {
    /// The piece is of use.
    News,
    /// This node has, or is about to have, everything that the piece could bring.
    Nothing,
    /// The piece does not fit: something before it is missing.
    Gap,
}

/// An incomplete snapshot.
#[derive(Debug)]
struct Loading<P> {
    /// The life of the sender. In another life, its state may differ.
    life: u64,
    /// The position of the next piece.
    position: u64,
    /// The sender's version when it took the last piece received so far. The complete snapshot
    /// contains at least that version.
    version: VersionVector,
    /// The pieces so far, which wait for the last one.
    pieces: Vec<P>,
}

impl<P> Fetching<P> {
    /// The position at which to continue a peer's snapshot. `None` if there is none from this life,
    /// or if a node with `have` does not need it any more.
    fn position(&mut self, id: &NodeId, life: Option<u64>, have: &VersionVector) -> Option<u64> {
        self.loading.retain(|_, loading| !have.covers(&loading.version));
        let loading = self.loading.get(id).filter(|loading| Some(loading.life) == life);
        loading.map(|loading| loading.position)
    }

    /// How many pieces wait in memory.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let loading = self.loading.values().map(|loading| loading.pieces.len());
        let joining = self.joining.as_ref().map_or(0, |joining| joining.pieces.len());
        loading.sum::<usize>().saturating_add(self.merging.len()).saturating_add(joining)
    }

    pub(super) fn is_merging(&self) -> bool {
        !self.merging.is_empty() || self.joining.is_some()
    }

    /// When the next step of a merge is due. `None` if there is nothing to merge and to free.
    pub(super) fn next_step(&self) -> Option<Duration> {
        let next_at = self.joining.as_ref().map(|joining| joining.next_at);
        next_at.or((self.is_merging() || self.is_discarding).then_some(Duration::ZERO))
    }

    /// Adds a piece. It fits if it is the next piece of the peer's incomplete snapshot, or the
    /// first one if there is no such snapshot.
    fn take(
        &mut self,
        (src, life): (&NodeId, u64),
        have: &VersionVector,
        (position, next): (u64, Option<u64>),
        piece: P,
    ) -> Taken<P> {
        let loading = self.loading.get_mut(src).filter(|loading| loading.life == life);
        let mut pieces = match loading {
            // The version check refuses a late or duplicate piece of an earlier snapshot, which
            // lacks later changes.
            Some(loading) if loading.position == position && have.covers(&loading.version) => {
                std::mem::take(&mut loading.pieces)
            }
            None if position == 0 => Vec::new(),
            _ => return Taken::Not,
        };
        pieces.push(piece);
        let Some(position) = next else {
            self.loading.remove(src);
            return Taken::Whole(pieces);
        };
        if self.loading.len() >= LOADING_MAX && !self.loading.contains_key(src) {
            return Taken::Not;
        }
        let version = have.clone();
        self.loading.insert(src.clone(), Loading { life, position, version, pieces });
        Taken::Part
    }
}

impl<S: State> Gossip<S> {
    /// After a message of `src`: schedules a fetch if that peer has entries that this node lacks.
    pub(super) fn note_lacking_entries(&mut self, now: Duration, src: &NodeId, wait: Wait) {
        let Some(mut peer) = self.peers.get_mut(src).filter(|peer| peer.is_up()) else {
            return;
        };
        let versions = [self.replica.version(), self.following.version()];
        if peer.known.is_covered_by(versions) {
            peer.fetch_at = None;
            return;
        }
        let round_trip = fetch_slack(&self.config, self.usual_round_trip, &peer);
        let wait = match wait {
            Wait::None => Duration::ZERO,
            Wait::RoundTrip => round_trip,
            Wait::Period => {
                round_trip.saturating_add(self.slot.period().unwrap_or_default().max(self.period))
            }
        };
        let wait = wait.saturating_mul(1 << peer.fruitless.min(FRUITLESS_DOUBLINGS_MAX));
        let at = now.saturating_add(wait);
        peer.fetch_at = Some(peer.fetch_at.map_or(at, |sooner| sooner.min(at)));
    }

    /// The time at which the next part of the answer is late.
    ///
    /// After a pause, a node counts the pause as part of the round trip, and so plans to wait too
    /// long. The first part of the answer corrects the round trip. This function uses the corrected
    /// value, in case the rest of the answer is lost.
    fn fetch_deadline(&self, asked: &Asked) -> Duration {
        let expected = self.peers.get(&asked.from).map(|peer| {
            let slack = fetch_slack(&self.config, self.usual_round_trip, peer);
            asked.heard.saturating_add(slack)
        });
        expected.map_or(asked.deadline, |expected| expected.min(asked.deadline))
    }

    /// The time at which the answer to the current fetch is late, if there is a fetch.
    pub(super) fn next_fetch_deadline(&self) -> Option<Duration> {
        self.fetching.asked.as_ref().map(|asked| self.fetch_deadline(asked))
    }

    /// Fetches the missing entries from one peer. While a snapshot is being merged, fetches those
    /// that follow it.
    pub(super) fn fetch<E>(&mut self, node: &mut Node<E>, now: Duration) {
        let is_merging_unknown = self.fetching.is_merging() && self.following.is_idle();
        if is_merging_unknown || self.following.has_no_room() {
            return;
        }
        if let Some(asked) = &self.fetching.asked {
            if now < self.fetch_deadline(asked) {
                return;
            }
            if let Some(mut peer) = self.peers.get_mut(&asked.from).filter(|peer| peer.is_up()) {
                // Fetches from other peers first.
                let slack = fetch_slack(&self.config, self.usual_round_trip, &peer);
                peer.fetch_at = Some(now.saturating_add(slack));
            }
            node.mark(marks::LATE);
            node.count(&metrics::FETCHES_LATE, &[], 1);
            self.bursts.remove(&asked.from);
            (self.fetching.asked, self.fetching.window) = (None, Window::default());
        }
        for id in self.peers.to_fetch(now) {
            let batch_bytes = self.batch_bytes(&id);
            let Some(mut peer) = self.peers.get_mut(&id) else {
                continue;
            };
            peer.fetch_at = None;
            let versions = [self.replica.version(), self.following.version()];
            if peer.known.is_covered_by(versions) || self.following.is_trimmed(&id) {
                continue;
            }
            let slack = fetch_slack(&self.config, self.usual_round_trip, &peer);
            let round_trip = peer.round_trip.estimate().or(self.usual_round_trip);
            let most = batches_max(batch_bytes, round_trip.unwrap_or_default());
            let batches = self.fetching.window.batches(most);
            let life = peer.life();
            drop(peer);
            let coming = self.coming_version();
            let position = if coming.is_empty() {
                self.fetching.position(&id, life, self.replica.version())
            } else {
                None
            };
            if position.is_some() {
                node.mark(marks::GOES_ON);
            }
            node.count(&metrics::FETCHES, &[], 1);
            let (sent, deadline) = (micros(now), now.saturating_add(slack));
            let (from, heard, begun, is_news, is_gap) = (id.clone(), now, None, false, false);
            let asked = Asked { from, sent, deadline, heard, begun, is_news, is_gap };
            self.fetching.asked = Some(asked);
            let (answer_within, fetch) =
                (Some(Duration::ZERO), Some(Fetch { position, batches, coming }));
            return self.send(
                node,
                &id,
                MessageParts { answer_within, fetch, ..MessageParts::default() },
            );
        }
    }

    /// Records a message that may be part of an answer, of which `left` more messages follow. For
    /// the last message of the answer to the current fetch, returns whether the answer brought
    /// anything new. A late or duplicate message is not part of that answer and must not trigger
    /// another fetch.
    pub(super) fn note_answer(
        &mut self,
        now: Duration,
        (src, echo): (&NodeId, Option<Echo>),
        left: Option<usize>,
        (is_news, is_gap): (bool, bool),
    ) -> Option<bool> {
        let peer = self.peers.get(src)?;
        let deadline = now.saturating_add(fetch_slack(&self.config, self.usual_round_trip, peer));
        let Fetching { asked, window, .. } = &mut self.fetching;
        let echoed = echo.map(|echo| echo.sent);
        let is_it = |asked: &&mut Asked| asked.from == *src && echoed >= Some(asked.sent);
        let (awaited, left) = asked.as_mut().filter(is_it).zip(left)?;
        awaited.heard = now;
        awaited.begun.get_or_insert(now);
        awaited.is_news |= is_news;
        awaited.is_gap |= is_gap;
        if left > 0 {
            awaited.deadline = awaited.deadline.max(deadline);
            return None;
        }
        let Asked { is_news, is_gap, begun, .. } = asked.take()?;
        if is_gap {
            *window = Window::default();
        } else if is_news {
            window.adapt(begun.map(|begun| now.saturating_sub(begun)).unwrap_or_default());
        }
        Some(is_news)
    }

    /// Answers a fetch: sends a peer that has `have` the entries or pieces that it lacks, as many
    /// as it asked for.
    pub(super) fn answer_fetch<E>(
        &mut self,
        node: &mut Node<E>,
        id: &NodeId,
        have: VersionVector,
        fetch: Fetch,
        sent: u64,
    ) {
        let request = Some((sent, fetch.clone(), have.clone()));
        match self.peers.get_mut(id) {
            // The request was duplicated. A second burst would only disturb the first.
            Some(peer) if fetch.batches > 1 && peer.answered == request => {
                return node.mark(marks::REPEATED);
            }
            Some(mut peer) => peer.answered = request,
            None => return,
        }
        let bytes_max = self.batch_bytes(id);
        let count = fetch.batches.min(batches_max(bytes_max, Duration::MAX));
        let position = fetch.position;
        let mut batches = None;
        if position.is_none() {
            batches = self.batches(&[&have, &fetch.coming], (count, bytes_max));
        }
        if batches.is_none() && !fetch.coming.is_empty() {
            // The peer takes no other snapshot now. An empty answer is an answer.
            batches = Some((vec![Vec::new()], false));
        }
        let parts = || MessageParts { fetched: true, ..MessageParts::default() };
        node.mark(if batches.is_some() { marks::ANSWERED } else { marks::PIECES });
        let with = if batches.is_some() { "entries" } else { "state" };
        node.count(&metrics::REPAIRS, &[with], 1);
        let (messages, is_cut): (Vec<_>, bool) = if let Some((batches, is_cut)) = batches {
            let messages = batches.into_iter().map(|runs| MessageParts { runs, ..parts() });
            (messages.collect(), is_cut)
        } else {
            let pieces = self.pieces(position.unwrap_or(0), count, bytes_max);
            let is_cut = pieces.last().is_some_and(|piece| piece.next.is_some());
            let messages =
                pieces.into_iter().map(|piece| MessageParts { piece: Some(piece), ..parts() });
            (messages.collect(), is_cut)
        };
        if let Some(mut peer) = self.peers.get_mut(id) {
            let slack = fetch_slack(&self.config, self.usual_round_trip, &peer);
            peer.fetches_until = is_cut.then(|| node.now().saturating_add(slack));
        }
        self.send_burst(node, id, messages);
    }

    /// Consecutive parts of the state, of about `bytes_max` each: at most `count`, as many as have
    /// [`Room`], and at least one.
    fn pieces(&self, mut position: u64, count: usize, bytes_max: usize) -> Vec<Piece<S>> {
        let (mut pieces, mut room) = (Vec::new(), Room::default());
        loop {
            let (part, next) = self.state.piece(position, bytes_max);
            // An answer of a single piece needs no size.
            let bytes = if count > 1 { S::piece_bytes(&part) } else { 0 };
            if !room.take(bytes as u64) {
                return pieces;
            }
            pieces.push(Piece { position, next, part });
            position = match next {
                Some(next) if pieces.len() < count => next,
                _ => return pieces,
            };
        }
    }

    /// The version to name in a fetch during a merge: the rows of the coming version that exceed
    /// the node's own. If none does, because entries arrived another way, all rows: a fetch that
    /// names none would get another snapshot, which this node takes only after the merge.
    fn coming_version(&self) -> VersionVector {
        let beyond = self.following.beyond(self.replica.version());
        let is_caught_up = self.fetching.is_merging() && beyond.is_empty();
        if is_caught_up { self.following.version().clone() } else { beyond }
    }

    /// Takes a piece of a snapshot. Returns the use of the piece.
    ///
    /// A complete snapshot is merged a few pieces at a time, so that clients get replies in
    /// between. A monotonic state shows all pieces at once. No piece is merged before the snapshot
    /// is complete. Otherwise the sender could fail, and the state would show entries that this
    /// node cannot name, so no other node could fetch them.
    pub(super) fn receive_piece<E>(
        &mut self,
        node: &mut Node<E>,
        src: &NodeId,
        life: u64,
        have: &VersionVector,
        piece: Piece<S>,
    ) -> Result<Gain, Error> {
        if have.is_covered_by([self.replica.version(), self.following.version()]) {
            self.fetching.loading.remove(src);
            return Ok(Gain::Nothing);
        }
        let Piece { position, next, part } = piece;
        let loading = &mut self.fetching.loading;
        if loading.len() >= LOADING_MAX && !loading.contains_key(src) {
            // A peer that is down may never continue.
            loading.retain(|id, _| self.peers.get(id).is_some_and(Peer::is_up));
        }
        let pieces = match self.fetching.take((src, life), have, (position, next), part) {
            Taken::Not => {
                node.mark(marks::UNFIT);
                return Ok(Gain::Gap);
            }
            Taken::Part => return Ok(Gain::News),
            Taken::Whole(pieces) => pieces,
        };
        node.mark(marks::WHOLE);
        if S::MONOTONIC {
            if self.fetching.joining.is_some() {
                return Ok(Gain::Nothing);
            }
            self.following.expect(have);
            let (from, version) = (src.clone(), have.clone());
            self.fetching.joining =
                Some(Joining { from, pieces, recorded: 0, next_at: node.now(), version });
            return self.merge_next(node).map(|()| Gain::News);
        }
        self.following.expect(have);
        self.fetching.merging.extend(pieces.into_iter().map(|piece| (piece, None)));
        if let Some((_, covers)) = self.fetching.merging.back_mut() {
            *covers = Some(have.clone());
        }
        self.merge_next(node).map(|()| Gain::News)
    }

    /// Does the next step with a complete snapshot.
    pub(super) fn merge_next<E>(&mut self, node: &mut Node<E>) -> Result<(), Error> {
        let is_piece_left = self.fetching.discarded.pop().is_some();
        if let Some(joining) = self.fetching.joining.take() {
            return self.join_step(node, joining);
        }
        if self.fetching.is_discarding {
            self.fetching.is_discarding = !self.state.discard_step() || is_piece_left;
        }
        let Some((piece, covers)) = self.fetching.merging.pop_front() else {
            return Ok(());
        };
        if let Err(error) = self.state.merge(vec![piece]) {
            let mut is_last = covers.is_some();
            while !is_last {
                is_last = self.fetching.merging.pop_front().is_none_or(|(_, last)| last.is_some());
            }
            self.forget_following(node);
            return Err(error);
        }
        if let Some(version) = covers {
            self.advance(&version);
        }
        Ok(())
    }

    /// Persists the next piece of a snapshot, or joins a part of it. After the last step, the whole
    /// snapshot is persisted before the state shows it.
    fn join_step<E>(
        &mut self,
        node: &mut Node<E>,
        mut joining: Joining<S::Piece>,
    ) -> Result<(), Error> {
        let number = joining.recorded;
        if node.now() < joining.next_at {
            // Another deadline has woken the node.
        } else if let Some(piece) = joining.pieces.get(number).filter(|_| node.is_durable()) {
            node.persist(&RecordRef::<S>::Part(number, piece));
            joining.recorded = number.saturating_add(1);
            joining.next_at = node.now().saturating_add(PIECE_INTERVAL);
        } else {
            self.fetching.is_discarding = true;
            match self.state.merge_step(&joining.pieces) {
                Ok(false) => {}
                Ok(true) => {
                    node.persist(&RecordRef::<S>::Whole(&joining.version));
                    self.advance(&joining.version);
                    self.fetching.discarded.extend(joining.pieces);
                    return Ok(());
                }
                Err(error) => {
                    self.fetching.discarded.extend(joining.pieces);
                    if let Some(mut peer) = self.peers.get_mut(&joining.from) {
                        // Does not fetch the same again at once.
                        peer.fruitless = FRUITLESS_DOUBLINGS_MAX;
                    }
                    self.forget_following(node);
                    return Err(error);
                }
            }
        }
        self.fetching.joining = Some(joining);
        Ok(())
    }

    fn advance(&mut self, version: &VersionVector) {
        // The version never exceeds this node's own log: see `leave_log_known_to_others`.
        self.replica.advance(version);
        self.generation = self.generation.saturating_add(1);
    }
}
