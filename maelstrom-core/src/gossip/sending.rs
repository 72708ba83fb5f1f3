//! Sends messages. Entries for several peers are encoded once, and are in memory once.

use std::time::Duration;

use tracing::{error, trace};

use super::burst::Place;
use super::members::slack;
use super::metrics;
use super::replica::{DigestedRows, Span, VersionVector};
use super::wire::{Body, Fetch, Message, Piece, micros};
use super::{Gossip, State};
use crate::message::NodeId;
use crate::metrics::float;
use crate::node::Node;
use crate::outputs::SharedText;

/// The optional parts of a message.
pub(super) struct MessageParts<S: State> {
    pub(super) answer_within: Option<Duration>,
    pub(super) runs: Vec<Span>,
    pub(super) fetch: Option<Fetch>,
    pub(super) fetched: bool,
    pub(super) piece: Option<Piece<S>>,
    pub(super) place: Option<Place>,
}

impl<S: State> Default for MessageParts<S> {
    fn default() -> Self {
        let (runs, fetch, piece, place) = (Vec::new(), None, None, None);
        Self { answer_within: None, runs, fetch, fetched: false, piece, place }
    }
}

impl<S: State> Gossip<S> {
    /// Sends a message to a peer.
    pub(super) fn send<E>(&mut self, node: &mut Node<E>, id: &NodeId, parts: MessageParts<S>) {
        let now = node.now();
        let Some(mut peer) = self.peers.get_mut(id) else {
            return;
        };
        peer.answer_at = None;
        if let Some(within) = parts.answer_within.filter(|_| peer.is_up()) {
            // The message may be lost. Only a message that awaits an answer is sure to be repeated.
            peer.view_told = self.view;
            let slack = slack(&self.config, self.usual_round_trip, &peer);
            peer.ask(now, within, slack);
        }
        let echo = peer.echo(now);
        drop(peer);
        let names_all = parts.piece.is_some() || parts.fetch.is_some();
        let (have, rest) = self.claim(id, names_all);
        let message = Message {
            life: self.life,
            sent: micros(now),
            echo,
            answer_within: parts.answer_within.map(micros),
            have,
            rest,
            hub: self.hub.clone(),
            lost: self.lost.0.clone(),
            view: self.view,
            place: parts.place,
            line: self.own_line_limit(),
            beat: self.beat.last(now).map(|(age, period)| (micros(age), period.map_or(0, micros))),
            // The runs are added when the message is sent, because other peers may get the same
            // runs.
            runs: Vec::new(),
            fetch: parts.fetch,
            fetched: parts.fetched,
            piece: parts.piece,
        };
        let entries = parts.runs.iter().map(Span::len).fold(0, u64::saturating_add);
        trace!(
            peer = %id,
            entries,
            beat = ?message.beat,
            answer_within = message.answer_within,
            fetch = message.fetch.is_some(),
            fetched = message.fetched,
            "tells"
        );
        match self.texts(&parts.runs) {
            Ok(texts) => {
                let line_bytes_max = self.line_bytes_to(id).unwrap_or(usize::MAX);
                let body = Body::Gossip(&message);
                if let Err(error) = node.send_with_list(id, &body, ("runs", texts), line_bytes_max)
                {
                    self.note_unsent(id, &error);
                } else if entries > 0 {
                    node.observe(&metrics::BATCH_ENTRIES, &[], float(entries));
                }
            }
            Err(error) => error!(peer = %id, %error, "entries have no JSON form and are not sent"),
        }
    }

    /// The claim of this node's version for a peer: all rows, or some rows and a digest of the
    /// others.
    fn claim(&self, id: &NodeId, names_all: bool) -> (VersionVector, Option<DigestedRows>) {
        let recent = self.peers.len().saturating_add(1).saturating_mul(2);
        match self.peers.get(id).filter(|_| !names_all) {
            Some(peer) => self.replica.claim(&peer.known, recent),
            None => (self.replica.version().clone(), None),
        }
    }

    /// Completes the claim of a peer, if its digest matches the rows of this node.
    pub(super) fn resolve(&self, message: &mut Message<S>) {
        let rest = message.rest.take();
        if let Some(have) = rest.and_then(|rest| self.replica.resolve(&message.have, &rest)) {
            message.have = have;
        }
    }

    /// The runs as JSON text. A run for several peers is encoded once.
    fn texts(&mut self, spans: &[Span]) -> serde_json::Result<Vec<SharedText>> {
        let mut texts = Vec::with_capacity(spans.len());
        for span in spans {
            let text = if let Some(text) = self.encoded.get(span) {
                text.clone()
            } else {
                let text: SharedText = self.replica.encode(span)?.into();
                self.encoded.insert(span.clone(), text.clone());
                text
            };
            texts.push(text);
        }
        Ok(texts)
    }
}
