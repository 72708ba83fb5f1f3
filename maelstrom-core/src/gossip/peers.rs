//! All peers, with an index for each kind of work that may be due for some of them.
//!
//! The work must not grow with the number of peers for which nothing is due. So the engine never
//! scans all peers for work: an index lists them in the order in which they become due. Only a
//! change of the membership and the end of a merge concern all peers.
//!
//! The invariant: the index always agrees with the peers. A peer can only be changed through a
//! [`Changing`], which updates the index when it is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::peer::Peer;
use crate::message::NodeId;

/// All peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    all: BTreeMap<NodeId, IndexedPeer>,
    index: Index,
    /// How many peers were looked at, in all.
    #[cfg(test)]
    pub(super) looks: std::cell::Cell<usize>,
}

/// A peer, and its entries in the index.
#[derive(Debug)]
struct IndexedPeer {
    peer: Peer,
    place: Place,
}

/// The entries of a peer in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    is_down: bool,
    awaited: Option<Duration>,
    answer: Option<Duration>,
    fetch: Option<Duration>,
    distrusted: Option<Duration>,
    candidate: Option<usize>,
    told: Option<u64>,
    view_told: Option<u64>,
    round_trip: Option<Duration>,
    sure_round_trip: Option<Duration>,
    /// Whether it is up, whether it is introduced, whether this node is its hub, and
    /// [`Peer::is_reached`].
    standing: (bool, bool, bool, bool),
}

/// Peers ordered by one of their values. Peers without that value are left out.
#[derive(Debug)]
pub(super) struct Order<K>(BTreeSet<(K, NodeId)>);

impl<K> Default for Order<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Copy> Order<K> {
    fn reindex(&mut self, id: &NodeId, from: Option<K>, to: Option<K>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.0.remove(&(from, id.clone()));
        }
        if let Some(to) = to {
            self.0.insert((to, id.clone()));
        }
    }

    /// The lowest value.
    pub(super) fn first(&self) -> Option<K> {
        self.0.first().map(|(key, _)| *key)
    }
}

/// Values in ascending order, for their median.
#[derive(Debug, Default)]
struct Sorted(Vec<Duration>);

impl Sorted {
    fn reindex(&mut self, from: Option<Duration>, to: Option<Duration>) {
        if from == to {
            return;
        }
        if let Some(Ok(at)) = from.map(|from| self.0.binary_search(&from)) {
            self.0.remove(at);
        }
        if let Some(to) = to {
            self.0.insert(self.0.partition_point(|other| *other < to), to);
        }
    }

    fn median(&self) -> Option<Duration> {
        self.0.get(self.0.len().saturating_sub(1) / 2).copied()
    }
}

#[derive(Debug, Default)]
struct Index {
    /// The name of this node.
    own: Option<NodeId>,
    /// The time up to which distrust was evaluated.
    now: Duration,
    /// The peers that are down.
    down: BTreeSet<NodeId>,
    /// Increases with every change of `down`.
    down_changes: u64,
    awaited: Order<Duration>,
    answers: Order<Duration>,
    fetches: Order<Duration>,
    /// The peers that may not be a hub yet, by the time at which they may.
    distrusted: Order<Duration>,
    /// The other peers that are up, by rank.
    candidates: Order<usize>,
    /// The peers that this node serves, by the generation that they were told; 0 if they are not
    /// introduced.
    told: Order<u64>,
    /// The served peers that use this node as their hub, ordered by the last view this node told
    /// them.
    views: Order<u64>,
    round_trips: Sorted,
    sure_round_trips: Sorted,
    /// The peers for which `is_served` may have changed.
    unclassified: BTreeSet<NodeId>,
}

impl Index {
    fn place(&self, peer: &Peer) -> Place {
        let (is_up, introduced) = (peer.is_up(), peer.is_introduced);
        let is_client = peer.hub.is_some() && peer.hub == self.own;
        let is_distrusted = peer.trusted_from > self.now;
        let round_trip = peer.round_trip.estimate().filter(|_| is_up);
        Place {
            is_down: !is_up,
            awaited: peer.awaited.as_ref().map(|awaited| awaited.deadline),
            answer: peer.answer_at,
            fetch: peer.fetch_at,
            distrusted: is_distrusted.then_some(peer.trusted_from),
            candidate: (is_up && !is_distrusted).then_some(peer.rank),
            told: peer.is_served.then_some(if introduced { peer.told_generation } else { 0 }),
            view_told: (peer.is_served && is_client).then_some(peer.view_told),
            round_trip,
            sure_round_trip: round_trip.filter(|_| !peer.round_trip.is_vague()),
            standing: (is_up, introduced, is_client, peer.is_reached()),
        }
    }

    fn reindex(&mut self, id: &NodeId, indexed: &mut IndexedPeer) {
        let to = self.place(&indexed.peer);
        if indexed.place == to {
            return;
        }
        let from = mem::replace(&mut indexed.place, to);
        if from.is_down != to.is_down {
            self.down_changes = self.down_changes.saturating_add(1);
            if to.is_down {
                self.down.insert(id.clone());
            } else {
                self.down.remove(id);
            }
        }
        if from.standing != to.standing {
            self.unclassified.insert(id.clone());
        }
        self.awaited.reindex(id, from.awaited, to.awaited);
        self.answers.reindex(id, from.answer, to.answer);
        self.fetches.reindex(id, from.fetch, to.fetch);
        self.distrusted.reindex(id, from.distrusted, to.distrusted);
        self.candidates.reindex(id, from.candidate, to.candidate);
        self.told.reindex(id, from.told, to.told);
        self.views.reindex(id, from.view_told, to.view_told);
        self.round_trips.reindex(from.round_trip, to.round_trip);
        self.sure_round_trips.reindex(from.sure_round_trip, to.sure_round_trip);
    }
}

/// A peer that may be changed. Dropping it updates the index.
pub(super) struct Changing<'a> {
    id: &'a NodeId,
    indexed: &'a mut IndexedPeer,
    index: &'a mut Index,
}

impl Deref for Changing<'_> {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.indexed.peer
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.indexed.peer
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.index.reindex(self.id, self.indexed);
    }
}

impl Peers {
    /// Sets the name of this node.
    pub(super) fn set_own(&mut self, own: &NodeId) {
        self.index.own = Some(own.clone());
    }

    /// Adds a peer.
    pub(super) fn insert(&mut self, id: NodeId, peer: Peer) {
        self.all.insert(id.clone(), IndexedPeer { peer, place: Place::default() });
        // Dropping the guard adds the peer to the index.
        drop(self.get_mut(&id));
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn contains(&self, id: &NodeId) -> bool {
        self.all.contains_key(id)
    }

    pub(super) fn get(&self, id: &NodeId) -> Option<&Peer> {
        self.look();
        self.all.get(id).map(|indexed| &indexed.peer)
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<Changing<'_>> {
        self.look();
        let Self { all, index, .. } = self;
        let (id, indexed) = all.range_mut::<NodeId, _>(id..=id).next()?;
        Some(Changing { id, indexed, index })
    }

    /// The names of all peers, in order.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.all.keys().inspect(|_| self.look()).cloned().collect()
    }

    fn look(&self) {
        #[cfg(test)]
        self.looks.set(self.looks.get().saturating_add(1));
    }

    /// The first peers of an order, as long as `end` is true for their values.
    fn before<'a, K: Ord>(
        &'a self,
        order: &'a Order<K>,
        end: impl Fn(&K) -> bool + 'a,
    ) -> impl Iterator<Item = &'a NodeId> {
        let first = order.0.iter().inspect(|_| self.look());
        first.take_while(move |(key, _)| end(key)).map(|(_, id)| id)
    }

    /// The peers that are due in an order, by name.
    fn due(&self, order: &Order<Duration>, now: Duration) -> Vec<NodeId> {
        let mut due: Vec<_> = self.before(order, |at| *at <= now).cloned().collect();
        due.sort_unstable();
        due
    }

    /// The peers that have not confirmed in time.
    pub(super) fn overdue(&self, now: Duration) -> Vec<NodeId> {
        self.due(&self.index.awaited, now)
    }

    /// The peers that are due for an answer.
    pub(super) fn to_answer(&self, now: Duration) -> Vec<NodeId> {
        self.due(&self.index.answers, now)
    }

    /// The peers from which to fetch now. All of them are up.
    pub(super) fn to_fetch(&self, now: Duration) -> Vec<NodeId> {
        self.due(&self.index.fetches, now)
    }

    /// The served peers that were told of an older generation. Also those that were told of an
    /// older view, if this node is their hub. In no order, and possibly twice.
    pub(super) fn with_news(&self, generation: u64, view: u64) -> impl Iterator<Item = &NodeId> {
        let told = self.before(&self.index.told, move |told| *told < generation);
        told.chain(self.before(&self.index.views, move |told| *told < view))
    }

    /// The next time at which something is due for a peer: its answer, an answer to it, or the end
    /// of a distrust.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let Index { awaited, answers, distrusted, .. } = &self.index;
        [awaited, answers, distrusted].into_iter().filter_map(Order::first).min()
    }

    /// The next time at which to fetch from a peer.
    pub(super) fn next_fetch(&self) -> Option<Duration> {
        self.index.fetches.first()
    }

    /// The peer with the lowest rank that may be a hub now.
    pub(super) fn best(&mut self, now: Duration) -> Option<(usize, NodeId)> {
        self.index.now = now;
        for id in self.due(&self.index.distrusted, now) {
            drop(self.get_mut(&id));
        }
        self.look();
        self.index.candidates.0.first().cloned()
    }

    /// The peers with the lowest ranks that are up and may be hubs: at most `count`.
    pub(super) fn lowest_up(&self, count: usize) -> Vec<NodeId> {
        let lowest = self.index.candidates.0.iter().take(count).inspect(|_| self.look());
        lowest.map(|(_, id)| id.clone()).collect()
    }

    /// The peers that are down, by name.
    pub(super) fn down(&self) -> impl Iterator<Item = &NodeId> {
        self.index.down.iter().inspect(|_| self.look())
    }

    /// How many peers are down.
    pub(super) fn down_count(&self) -> usize {
        self.index.down.len()
    }

    /// A number that increases when a peer goes down or comes back.
    pub(super) fn down_changes(&self) -> u64 {
        self.index.down_changes
    }

    /// Takes the peers that have changed in a way that may begin or end this node's service for
    /// them.
    pub(super) fn take_unclassified(&mut self) -> BTreeSet<NodeId> {
        mem::take(&mut self.index.unclassified)
    }

    /// The median round trip to the peers that are up, and to those of them with enough samples.
    pub(super) fn round_trips(&self) -> (Option<Duration>, Option<Duration>) {
        (self.index.round_trips.median(), self.index.sure_round_trips.median())
    }

    /// Whether the index agrees with all peers.
    #[cfg(test)]
    pub(super) fn is_index_right(&self) -> bool {
        let Index { down, told, awaited, candidates, .. } = &self.index;
        let count = |has: fn(&Place) -> bool| {
            self.all.values().filter(|indexed| has(&indexed.place)).count()
        };
        self.all.values().all(|indexed| indexed.place == self.index.place(&indexed.peer))
            && down.len() == count(|place| place.is_down)
            && told.0.len() == count(|place| place.told.is_some())
            && awaited.0.len() == count(|place| place.awaited.is_some())
            && candidates.0.len() == count(|place| place.candidate.is_some())
            && self.index.round_trips.0.len() == count(|place| place.round_trip.is_some())
    }
}
