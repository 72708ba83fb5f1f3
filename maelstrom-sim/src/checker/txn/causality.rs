//! Infers version orders from the transactions that a transaction must have seen: those in its
//! causal past, and those that ended before it began.
//!
//! Reads and sessions define the causal past of a transaction: visibility is transitive (Cerone et
//! al. 2015), and sessions are sticky (Bailis et al. 2013). A [clock](super::clock) stores it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::clock::{ChainId, Chains, Clock, Link, Spot};
use super::order::{Because, Orders, Why};
use super::relevance;
use super::transactions::{Status, Transactions, TxnId, VersionId};

/// The sessions: for each process, the transactions that it is known to have executed, in order.
#[derive(Debug)]
pub(super) struct Sessions {
    all: Vec<Vec<TxnId>>,
    /// Each transaction's session, and its position in the session.
    places: Vec<Option<(usize, usize)>>,
}

impl Sessions {
    pub(super) fn of(all: &Transactions<'_>) -> Self {
        let mut by_process: BTreeMap<u64, Vec<TxnId>> = BTreeMap::new();
        for (id, txn) in all.happened() {
            by_process.entry(txn.process).or_default().push(id);
        }
        let sessions: Vec<Vec<TxnId>> = by_process.into_values().collect();
        let mut places = vec![None; all.txns.len()];
        for (session, ids) in sessions.iter().enumerate() {
            for (place, id) in ids.iter().enumerate() {
                if let Some(slot) = places.get_mut(*id) {
                    *slot = Some((session, place));
                }
            }
        }
        Self { all: sessions, places }
    }

    pub(super) fn all(&self) -> &[Vec<TxnId>] {
        &self.all
    }

    pub(super) fn place(&self, id: TxnId) -> Option<(usize, usize)> {
        self.places.get(id).copied().flatten()
    }

    /// Whether this is the last transaction of its session.
    fn is_last(&self, id: TxnId) -> bool {
        let place = self.place(id);
        place.is_some_and(|(session, place)| {
            self.all.get(session).is_some_and(|ids| ids.len() == place + 1)
        })
    }

    /// The transactions of the same session before this one, the latest first.
    pub(super) fn before(&self, id: TxnId) -> impl Iterator<Item = TxnId> {
        let (session, place) = self.place(id).unwrap_or_default();
        let ids = self.all.get(session).and_then(|ids| ids.get(..place)).unwrap_or_default();
        ids.iter().rev().copied()
    }
}

/// A list of related transactions for each transaction, stored in one vector.
#[derive(Debug, Default)]
pub(super) struct Related {
    starts: Vec<usize>,
    ids: Vec<TxnId>,
}

impl Related {
    pub(super) fn of(&self, id: TxnId) -> &[TxnId] {
        let bounds = self.starts.get(id).zip(self.starts.get(id + 1));
        bounds.and_then(|(start, end)| self.ids.get(*start..*end)).unwrap_or_default()
    }

    /// The direct causes of each transaction: the writers that it read from, and the previous one
    /// of its session.
    fn causes(all: &Transactions<'_>, sessions: &Sessions) -> Self {
        let mut related = Self { starts: vec![0], ids: Vec::new() };
        let mut causes = Vec::new();
        for (id, txn) in all.txns.iter().enumerate() {
            if txn.happened {
                causes.extend(txn.reads().filter_map(|(_, read)| all.writer(read.version)));
                causes.extend(sessions.before(id).next());
                causes.sort_unstable();
                causes.dedup();
            }
            related.ids.append(&mut causes);
            related.starts.push(related.ids.len());
        }
        related
    }

    /// The reversed relation.
    fn turned(&self) -> Self {
        let count = self.starts.len().saturating_sub(1);
        let mut pairs: Vec<(TxnId, TxnId)> = Vec::with_capacity(self.ids.len());
        for id in 0..count {
            pairs.extend(self.of(id).iter().map(|cause| (*cause, id)));
        }
        pairs.sort_unstable();
        let mut turned = Self { starts: vec![0], ids: Vec::with_capacity(pairs.len()) };
        let mut pairs = pairs.into_iter().peekable();
        for cause in 0..count {
            while let Some((_, id)) = pairs.next_if(|(other, _)| *other == cause) {
                turned.ids.push(id);
            }
            turned.starts.push(turned.ids.len());
        }
        turned
    }

    /// All transactions in topological order (Kahn 1962), otherwise in the order of the history.
    /// The order of the history keeps the number of open clocks small.
    fn order(&self, all: &Transactions<'_>) -> Vec<TxnId> {
        let dependents = self.turned();
        let mut waiting: Vec<usize> = (0..all.txns.len()).map(|id| self.of(id).len()).collect();
        let ready = all.happened().map(|(id, _)| id).filter(|id| self.of(*id).is_empty());
        let mut ready: BinaryHeap<Reverse<TxnId>> = ready.map(Reverse).collect();
        let mut order = Vec::with_capacity(all.txns.len());
        while let Some(Reverse(id)) = ready.pop() {
            order.push(id);
            for dependent in dependents.of(id) {
                if let Some(waiting) = waiting.get_mut(*dependent) {
                    *waiting -= 1;
                    if *waiting == 0 {
                        ready.push(Reverse(*dependent));
                    }
                }
            }
        }
        order
    }

    /// For each transaction, the position in this order of the last transaction that depends on it,
    /// directly or not.
    fn until(&self, order: &[TxnId]) -> Vec<usize> {
        let mut until = vec![0; self.starts.len()];
        for (place, id) in order.iter().enumerate().rev() {
            let theirs = until.get(*id).map_or(place, |until| place.max(*until));
            for cause in self.of(*id) {
                until.get_mut(*cause).into_iter().for_each(|until| *until = theirs.max(*until));
            }
        }
        until
    }
}

/// A write of a key that may still matter.
#[derive(Clone, Copy, Debug)]
struct Write {
    /// The position of its transaction in the chain.
    place: u32,
    version: VersionId,
    /// The last position in the order at which it matters.
    matters: usize,
}

/// The writes of a key so far, by chain, in the order of the chain.
type Writers = BTreeMap<ChainId, Vec<Write>>;

struct Causality<'a, 'h> {
    all: &'a Transactions<'h>,
    sessions: &'a Sessions,
    causes: Related,
    writers: Vec<Writers>,
    /// The last position in the order at which each version matters.
    matters: Vec<usize>,
    chains: Chains,
    /// Each transaction's chain, and its position in the chain.
    spots: Vec<Spot>,
    clocks: Vec<Clock>,
    /// How many direct dependents of each transaction are still to be visited.
    open: Vec<usize>,
    /// The position in the order of the last transaction that depends on each transaction.
    until: Vec<usize>,
    steps: usize,
}

/// Infers the version orders that follow from causality. Returns the number of steps: the entries
/// of clocks and of lists of writers that it visited.
///
/// A transaction reads a version of a key. For each [chain](Chains), take the last write of the key
/// in the causal past of the transaction. That write came before the version that was read. The
/// chain's earlier writes came before that last write. If the write is in the causal past of the
/// version's writer, the order is not new, and is left out.
///
/// With n operations and k chains, this takes O(n × k) time. A factor of O(log n) applies where a
/// chain's last write of a key is not in the past yet. It takes O(n + open clocks × k) memory. A
/// clock is open until the last transaction that depends on it is visited. A clock contains a chain
/// as long as a write of the chain [matters](relevance).
///
/// There are at most as many chains as sessions. When a session ends, its chain drops the
/// transactions at its end on which no later transaction depends. Another session continues the
/// chain if its first transaction depends on the last one of the rest, or if the rest does not
/// matter any more.
///
/// So the time is near-linear for a fixed number of sessions. A client begins a new session after
/// each operation whose outcome it does not know. So k, and the time for each operation, grow with
/// the number of unknown outcomes.
///
/// AWDIT (Møldrup & Pavlogiannis, PLDI 2025) checks causal consistency in O(n × k) time for k
/// sessions. The rule itself is that of Biswas & Enea (2019).
///
/// Transactions that depend on a cycle of reads and sessions are left out. The search for cycles
/// finds that cycle itself.
pub(super) fn infer(all: &Transactions<'_>, sessions: &Sessions, orders: &mut Orders) -> usize {
    let causes = Related::causes(all, sessions);
    let order = causes.order(all);
    let mut open = vec![0; all.txns.len()];
    let until = causes.until(&order);
    let matters = relevance::of(all, &causes, &order, &until);
    for id in &order {
        for cause in causes.of(*id) {
            open.get_mut(*cause).into_iter().for_each(|open| *open += 1);
        }
    }
    let mut causality = Causality {
        all,
        sessions,
        causes,
        writers: vec![Writers::new(); all.keys.len()],
        matters,
        chains: Chains::default(),
        spots: vec![(0, 0); all.txns.len()],
        clocks: vec![Clock::default(); all.txns.len()],
        open,
        until,
        steps: 0,
    };
    for (place, id) in order.into_iter().enumerate() {
        causality.visit(place, id, orders);
    }
    causality.steps
}

impl Causality<'_, '_> {
    fn spot(&self, id: TxnId) -> Spot {
        self.spots.get(id).copied().unwrap_or_default()
    }

    fn matters(&self, version: VersionId) -> usize {
        self.matters.get(version).copied().unwrap_or_default()
    }

    fn visit(&mut self, place: usize, id: TxnId, orders: &mut Orders) {
        let mut clock = self.past(id);
        self.look_at_reads(place, id, &clock, orders);
        self.close(id);
        let own = self.sessions.before(id).next().map(|before| self.spot(before).0);
        let all = self.all;
        let writes = || all.txn(id).into_iter().flat_map(|txn| txn.writes());
        let useful = writes().map(|write| self.matters(write.version)).max().unwrap_or_default();
        let until = self.until.get(id).copied().unwrap_or_default();
        let spot = self.chains.put(own, &clock, Link { id, place, until, useful });
        self.forget_dropped();
        for write in writes() {
            let (version, matters) = (write.version, self.matters(write.version));
            if let Some(writers) = self.writers.get_mut(write.key).filter(|_| matters > place) {
                let writes = writers.entry(spot.0).or_default();
                writes.push(Write { place: spot.1, version, matters });
            }
        }
        self.spots.get_mut(id).into_iter().for_each(|slot| *slot = spot);
        if self.sessions.is_last(id) {
            self.chains.end(spot.0);
        }
        self.chains.prune(&mut clock, place);
        if self.open.get(id).is_some_and(|open| *open > 0)
            && let Some(slot) = self.clocks.get_mut(id)
        {
            *slot = clock;
        }
    }

    /// Forgets the writes of transactions that are not on a chain any more.
    fn forget_dropped(&mut self) {
        for (id, (chain, place)) in self.chains.dropped() {
            for write in self.all.txn(id).into_iter().flat_map(|txn| txn.writes()) {
                let Some(writers) = self.writers.get_mut(write.key) else {
                    continue;
                };
                if let Some(writes) = writers.get_mut(&chain) {
                    writes.truncate(writes.partition_point(|write| write.place < place));
                    if writes.is_empty() {
                        writers.remove(&chain);
                    }
                }
            }
        }
    }

    /// The causal past of a transaction, without the transaction itself.
    fn past(&mut self, id: TxnId) -> Clock {
        let mut clock = Clock::default();
        for cause in self.causes.of(id) {
            if let Some(theirs) = self.clocks.get(*cause) {
                clock.merge(theirs);
                self.steps += clock.len() + 1;
            }
        }
        for cause in self.causes.of(id) {
            let (chain, place) = self.spot(*cause);
            clock.raise(chain, place + 1);
        }
        clock
    }

    /// Forgets the clocks that only this transaction still needed.
    fn close(&mut self, id: TxnId) {
        for cause in self.causes.of(id) {
            if let (Some(open), Some(clock)) =
                (self.open.get_mut(*cause), self.clocks.get_mut(*cause))
            {
                *open -= 1;
                if *open == 0 {
                    *clock = Clock::default();
                }
            }
        }
    }

    fn look_at_reads(&mut self, at: usize, id: TxnId, clock: &Clock, orders: &mut Orders) {
        for (_, read) in self.all.txn(id).into_iter().flat_map(|txn| txn.reads()) {
            let source = self.all.writer(read.version);
            let mut writers =
                self.writers.get_mut(read.key).map(std::mem::take).unwrap_or_default();
            self.steps += writers.len();
            writers.retain(|chain, writes| {
                while writes.pop_if(|write| write.matters < at).is_some() {}
                if let Some(write) = last_before(writes, clock.get(*chain)) {
                    let spot = (*chain, write.place);
                    let known = source.is_some_and(|source| self.is_past(spot, source));
                    if !known {
                        let why = Why::Seen(id, Because::Causal);
                        orders.add(write.version, read.version, why);
                    }
                }
                !writes.is_empty()
            });
            if let Some(slot) = self.writers.get_mut(read.key) {
                *slot = writers;
            }
        }
    }

    /// Whether the transaction at this spot is `id` or in its causal past. The clock of `id` must
    /// be open.
    fn is_past(&self, spot: Spot, id: TxnId) -> bool {
        let (chain, place) = self.spot(id);
        let in_clock = |clock: &Clock| spot.1 < clock.get(spot.0);
        match spot.0 == chain {
            true => spot.1 <= place,
            false => self.clocks.get(id).is_some_and(in_clock),
        }
    }
}

/// The last of these writes among the first `seen` transactions of their chain.
fn last_before(writes: &[Write], seen: u32) -> Option<Write> {
    let count = match writes.last() {
        Some(write) if write.place < seen => writes.len(),
        _ => writes.partition_point(|write| write.place < seen),
    };
    writes.get(count.checked_sub(1)?).copied()
}

/// The version orders that follow from real time: a transaction that begins after a write has ended
/// sees that write, or a later one.
pub(super) fn infer_realtime(all: &Transactions<'_>, orders: &mut Orders) {
    /// A write: its end, its beginning, and its version.
    type Write = (usize, usize, VersionId);
    let mut writes: Vec<Vec<Write>> = vec![Vec::new(); all.keys.len()];
    for (_, txn) in all.happened().filter(|(_, txn)| txn.status == Status::Ok) {
        for write in txn.writes() {
            if let (Some(writes), Some(ended)) = (writes.get_mut(write.key), txn.ended) {
                writes.push((ended, txn.begun, write.version));
            }
        }
    }
    writes.iter_mut().for_each(|writes| writes.sort_unstable());
    for (id, txn) in all.happened() {
        for (_, read) in txn.reads() {
            let source = all.writer(read.version);
            let writes = writes.get(read.key).map_or(&[][..], |writes| writes);
            let ended = writes.partition_point(|(ended, ..)| *ended < txn.begun);
            let mut latest_begun = 0;
            for (ended, begun, version) in writes.iter().take(ended).rev() {
                // The remaining writes ended before a write that was already visited began. So
                // their order is implied.
                if *ended < latest_begun {
                    break;
                }
                latest_begun = latest_begun.max(*begun);
                if all.writer(*version) != source {
                    orders.add(*version, read.version, Why::Seen(id, Because::Realtime));
                }
            }
        }
    }
}
