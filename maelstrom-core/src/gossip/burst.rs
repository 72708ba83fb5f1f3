//! Bursts: several messages sent at once, which may overtake each other.
//!
//! The engine must process their contents in the order of sending: a log has no holes, and a piece
//! of a snapshot follows the previous one. So each message of a burst carries its place. A message
//! that arrives early is held until the messages before it have arrived. To the rest of the engine
//! this looks like a slower network.
//!
//! If a message of the burst is lost, the later ones wait. Either a later burst of the same peer
//! arrives and releases them, or the peer fails to answer and they are dropped. In both cases the
//! node fetches the missing part, as after any lost message.
//!
//! At most [`EARLY_MAX`] messages wait, for all peers together. A message that arrives early and
//! finds no room is processed at once. It does not fit, so the node fetches its contents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::window::BATCHES_MAX;
use super::wire::Message;
use super::{Gossip, MessageParts, State};
use crate::message::NodeId;
use crate::node::Node;

/// How many messages may wait: as many as one burst has.
const EARLY_MAX: usize = BATCHES_MAX;

/// The place of a message in a burst. On the wire: `[burst, index, left]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, usize, usize)", into = "(u64, usize, usize)")]
pub(super) struct Place {
    /// The number of the burst. Later bursts of a life have larger numbers.
    burst: u64,
    /// How many messages of the burst come before this one.
    index: usize,
    /// How many messages of the burst come after it.
    pub(super) left: usize,
}

impl From<(u64, usize, usize)> for Place {
    fn from((burst, index, left): (u64, usize, usize)) -> Self {
        Self { burst, index, left }
    }
}

impl From<Place> for (u64, usize, usize) {
    fn from(Place { burst, index, left }: Place) -> Self {
        (burst, index, left)
    }
}

/// The newest burst of a peer.
pub(super) struct Burst<S: State> {
    life: u64,
    number: u64,
    /// The index of the next message to process.
    next: usize,
    /// The messages that arrived early, by index.
    early: BTreeMap<usize, Message<S>>,
}

impl<S: State> std::fmt::Debug for Burst<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { life, number, next, early } = self;
        let early: Vec<_> = early.keys().collect();
        write!(f, "Burst {number} of life {life}: next {next}, early {early:?}")
    }
}

impl<S: State> Burst<S> {
    fn new(life: u64, number: u64) -> Self {
        Self { life, number, next: 0, early: BTreeMap::new() }
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> usize {
        self.early.len()
    }
}

/// The newest burst of each peer.
#[derive(Debug)]
pub(super) struct Bursts<S: State> {
    newest: BTreeMap<NodeId, Burst<S>>,
    /// How many messages wait, over all peers.
    waiting: usize,
}

impl<S: State> Default for Bursts<S> {
    fn default() -> Self {
        Self { newest: BTreeMap::new(), waiting: 0 }
    }
}

impl<S: State> Bursts<S> {
    /// How many messages wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let waiting = self.newest.values().map(Burst::waiting).sum();
        assert_eq!(self.waiting, waiting);
        waiting
    }

    /// Drops the waiting messages of a peer. The messages before them are lost.
    pub(super) fn remove(&mut self, id: &NodeId) {
        let waiting = self.newest.remove(id).map_or(0, |burst| burst.waiting());
        self.waiting = self.waiting.saturating_sub(waiting);
    }

    /// Returns the messages that are now ready, in order. If `message` is early, it waits, and
    /// `note` is called with it.
    fn in_order(
        &mut self,
        src: &NodeId,
        message: Message<S>,
        place: Place,
        note: impl FnOnce(&Message<S>),
    ) -> Vec<Message<S>> {
        let Place { burst: number, index, .. } = place;
        let newest = self.newest.entry(src.clone());
        let burst = newest.or_insert_with(|| Burst::new(message.life, number));
        let (others, mut ready) = (self.waiting.saturating_sub(burst.waiting()), Vec::new());
        if burst.life != message.life || burst.number < number {
            let old = std::mem::replace(burst, Burst::new(message.life, number));
            ready.extend(old.early.into_values());
        }
        if burst.number == number && burst.next < index && self.waiting < EARLY_MAX {
            note(&message);
            burst.early.insert(index, message);
        } else {
            if burst.number == number && burst.next == index {
                burst.next = burst.next.saturating_add(1);
            }
            ready.push(message);
            while let Some(message) = burst.early.remove(&burst.next) {
                burst.next = burst.next.saturating_add(1);
                ready.push(message);
            }
        }
        self.waiting = others.saturating_add(burst.waiting());
        ready
    }
}

impl<S: State> Gossip<S> {
    /// Returns the messages of a peer that are ready to process after this one has arrived, in
    /// order.
    pub(super) fn in_order(&mut self, src: &NodeId, message: Message<S>) -> Vec<Message<S>> {
        let Some(place) = message.place else {
            return vec![message];
        };
        let Some(mut peer) = self.peers.get_mut(src) else {
            return vec![message];
        };
        self.bursts.in_order(src, message, place, |early| {
            if peer.life() == Some(early.life) {
                peer.known.join(&early.have);
            }
        })
    }

    /// Sends several messages to a peer as one burst.
    pub(super) fn send_burst<E>(
        &mut self,
        node: &mut Node<E>,
        id: &NodeId,
        messages: Vec<MessageParts<S>>,
    ) {
        let count = messages.len();
        self.burst = self.burst.saturating_add(u64::from(count > 1));
        for (index, parts) in messages.into_iter().enumerate() {
            let left = count.saturating_sub(index.saturating_add(1));
            let place = (count > 1).then_some(Place { burst: self.burst, index, left });
            self.send(node, id, MessageParts { place, ..parts });
        }
    }
}
