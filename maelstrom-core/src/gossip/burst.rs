//! Messages that are sent at once, and may overtake each other.
//!
//! The engine must take their content in the order in which it was sent: a log has no holes, and a piece
//! of a snapshot follows the one before. So each message of a burst says where it belongs, and one that comes
//! early is held until those before it have come. To the rest of the engine that looks as if the network
//! had taken a little longer, which it may. If one of them is lost, those after it wait until a later
//! burst of that peer comes, which releases them, or until the peer has failed to answer, which makes
//! them as good as lost. Meanwhile the node fetches the missing part, as it does for any lost message.
//!
//! No more than [`EARLY_MAX`] messages wait, of all peers together. One that comes early and finds no
//! place is taken at once: it does not fit, and what it brings is fetched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::window::BATCHES_MAX;
use super::wire::Message;
use super::{Gossip, Parcel, State};
use crate::message::NodeId;
use crate::node::Node;

/// So many messages may wait: those of one burst.
const EARLY_MAX: usize = BATCHES_MAX;

/// Where a message belongs. On the wire: `[burst, index, left]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, usize, usize)", into = "(u64, usize, usize)")]
pub(super) struct Place {
    /// Later bursts of a life have larger numbers.
    burst: u64,
    /// How many messages of the burst were sent before this one.
    index: usize,
    /// How many were sent after it.
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
    /// The index of the message that is taken next.
    next: usize,
    /// Those that came early.
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
    /// How many messages wait in all of them.
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

    /// Drops the messages of a peer that wait for earlier ones: those are as good as lost.
    pub(super) fn remove(&mut self, id: &NodeId) {
        let waiting = self.newest.remove(id).map_or(0, |burst| burst.waiting());
        self.waiting = self.waiting.saturating_sub(waiting);
    }

    /// Returns the messages that can be taken now that this one has come, in order. `note`
    /// sees it if it comes early.
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
    /// Returns the messages that the engine can take now that a message of a peer has come, in order.
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

    /// Sends several messages to a peer at once.
    pub(super) fn send_burst<E>(
        &mut self,
        node: &mut Node<E>,
        id: &NodeId,
        parcels: Vec<Parcel<S>>,
    ) {
        let count = parcels.len();
        self.burst = self.burst.saturating_add(u64::from(count > 1));
        for (index, parcel) in parcels.into_iter().enumerate() {
            let left = count.saturating_sub(index.saturating_add(1));
            let place = (count > 1).then_some(Place { burst: self.burst, index, left });
            self.send(node, id, Parcel { place, ..parcel });
        }
    }
}
