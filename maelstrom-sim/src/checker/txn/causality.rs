//! What a transaction must have seen: its causal past, and what had ended before it began.
//!
//! The causal past of a transaction is what reads and sessions lead back to (Cerone et al. 2015:
//! visibility is transitive; Bailis et al. 2013: sticky sessions). It is kept as a clock: for each
//! session, how much of it is in the past.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::order::{Because, Orders, Why};
use super::transactions::{Status, Transactions, TxnId, VersionId};

/// Processes as the transactions that each is known to have done, one after the other.
#[derive(Debug)]
pub(super) struct Sessions {
    all: Vec<Vec<TxnId>>,
    /// Each transaction's session and its place in it.
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

    /// The transactions of the same session before this one, the latest first.
    pub(super) fn before(&self, id: TxnId) -> impl Iterator<Item = TxnId> {
        let (session, place) = self.place(id).unwrap_or_default();
        let ids = self.all.get(session).and_then(|ids| ids.get(..place)).unwrap_or_default();
        ids.iter().rev().copied()
    }
}

/// For each session, how many of its transactions are in the past. Sorted, without zeros.
type Clock = Vec<(usize, usize)>;

fn merge(clock: &mut Clock, other: &[(usize, usize)]) {
    let mut merged = Clock::with_capacity(clock.len().max(other.len()));
    let (mut a, mut b) = (clock.iter().copied().peekable(), other.iter().copied().peekable());
    while let (Some(left), Some(right)) = (a.peek().copied(), b.peek().copied()) {
        if left.0 <= right.0 {
            a.next();
        }
        if right.0 <= left.0 {
            b.next();
        }
        merged.push(match left.0.cmp(&right.0) {
            std::cmp::Ordering::Less => left,
            std::cmp::Ordering::Greater => right,
            std::cmp::Ordering::Equal => left.max(right),
        });
    }
    merged.extend(a);
    merged.extend(b);
    *clock = merged;
}

/// Who wrote a key, by session: places and versions, in order.
type Writers = BTreeMap<usize, Vec<(usize, VersionId)>>;

struct Causality<'a, 'h> {
    all: &'a Transactions<'h>,
    sessions: &'a Sessions,
    writers: Vec<Writers>,
    /// Up to where in the order the writes of each session are read.
    useful: Vec<usize>,
    clocks: Vec<Clock>,
    /// How many that depend on a transaction have not been looked at.
    open: Vec<usize>,
}

/// The orders that follow from causality.
///
/// A clock is kept as long as a transaction that depends on it is to come, and a session in it as
/// long as a read of a key that the session wrote is to come. So with s such sessions at a time
/// (those of the recent past, where keys are replaced by others) time is O(n × s) and memory
/// O(open clocks × s); the worst history of n transactions, each a session of its own that all
/// others depend on, takes O(n²) of both.
///
/// Transactions behind a cycle of reads and sessions are left out; the cycle itself is found as
/// such.
pub(super) fn infer(all: &Transactions<'_>, sessions: &Sessions, orders: &mut Orders) {
    let mut writers = vec![Writers::new(); all.keys.len()];
    for (id, txn) in all.happened() {
        for write in txn.writes() {
            if let (Some(writers), Some((session, place))) =
                (writers.get_mut(write.key), sessions.place(id))
            {
                writers.entry(session).or_default().push((place, write.version));
            }
        }
    }
    let count = all.txns.len();
    let (clocks, open, useful) = (vec![Clock::new(); count], vec![0; count], Vec::new());
    Causality { all, sessions, writers, useful, clocks, open }.run(orders);
}

impl Causality<'_, '_> {
    fn run(&mut self, orders: &mut Orders) {
        let order = self.order();
        self.useful = self.useful(&order);
        for (place, id) in order.into_iter().enumerate() {
            self.visit(place, id, orders);
        }
    }

    /// All transactions, each after those that it depends on (Kahn 1962), and else in the order of
    /// the history: then few are waited for at a time.
    fn order(&mut self) -> Vec<TxnId> {
        let mut waiting = vec![0_usize; self.all.txns.len()];
        let mut dependents = vec![Vec::new(); self.all.txns.len()];
        let mut ready = BinaryHeap::new();
        for (id, _) in self.all.happened() {
            let causes = self.causes(id);
            if causes.is_empty() {
                ready.push(Reverse(id));
            }
            if let Some(waiting) = waiting.get_mut(id) {
                *waiting = causes.len();
            }
            for cause in causes {
                if let Some(dependents) = dependents.get_mut(cause) {
                    dependents.push(id);
                }
            }
        }
        let mut order = Vec::new();
        while let Some(Reverse(id)) = ready.pop() {
            order.push(id);
            for dependent in dependents.get(id).into_iter().flatten() {
                if let Some(waiting) = waiting.get_mut(*dependent) {
                    *waiting -= 1;
                    if *waiting == 0 {
                        ready.push(Reverse(*dependent));
                    }
                }
            }
        }
        for id in &order {
            for cause in self.causes(*id) {
                if let Some(open) = self.open.get_mut(cause) {
                    *open += 1;
                }
            }
        }
        order
    }

    /// Up to where in the order the writes of each session are read.
    fn useful(&self, order: &[TxnId]) -> Vec<usize> {
        let mut last_read = vec![0; self.all.keys.len()];
        for (place, id) in order.iter().enumerate() {
            for (_, read) in self.all.txn(*id).into_iter().flat_map(|txn| txn.reads()) {
                if let Some(last) = last_read.get_mut(read.key) {
                    *last = place;
                }
            }
        }
        let mut useful = vec![0; self.sessions.all().len()];
        for (writers, last) in self.writers.iter().zip(last_read) {
            for session in writers.keys() {
                if let Some(useful) = useful.get_mut(*session) {
                    *useful = last.max(*useful);
                }
            }
        }
        useful
    }

    /// What a transaction depends on directly.
    fn causes(&self, id: TxnId) -> Vec<TxnId> {
        let reads = self.all.txn(id).into_iter().flat_map(|txn| txn.reads());
        let writers = reads.filter_map(|(_, read)| self.all.writer(read.version));
        let mut causes: Vec<TxnId> = writers.chain(self.sessions.before(id).next()).collect();
        causes.sort_unstable();
        causes.dedup();
        causes
    }

    fn visit(&mut self, place: usize, id: TxnId, orders: &mut Orders) {
        let mut clock = Clock::new();
        for cause in self.causes(id) {
            if let Some(theirs) = self.clocks.get(cause) {
                merge(&mut clock, theirs);
            }
            if let Some((session, nth)) = self.sessions.place(cause) {
                merge(&mut clock, &[(session, nth + 1)]);
            }
            if let (Some(open), Some(theirs)) =
                (self.open.get_mut(cause), self.clocks.get_mut(cause))
            {
                *open -= 1;
                if *open == 0 {
                    *theirs = Clock::new();
                }
            }
        }
        self.look_at_reads(id, &clock, orders);
        clock.retain(|(session, _)| self.useful.get(*session).is_some_and(|last| *last > place));
        if self.open.get(id).is_some_and(|open| *open > 0)
            && let Some(slot) = self.clocks.get_mut(id)
        {
            *slot = clock;
        }
    }

    fn look_at_reads(&self, id: TxnId, clock: &Clock, orders: &mut Orders) {
        for (_, read) in self.all.txn(id).into_iter().flat_map(|txn| txn.reads()) {
            let source = self.all.writer(read.version);
            for (session, writes) in self.writers.get(read.key).into_iter().flatten() {
                let Ok(at) = clock.binary_search_by_key(session, |entry| entry.0) else {
                    continue;
                };
                let seen = clock.get(at).map_or(0, |entry| entry.1);
                let seen = writes.partition_point(|(place, _)| *place < seen);
                // The session's earlier writes come before its last one anyway.
                let last = seen.checked_sub(1).and_then(|last| writes.get(last));
                if let Some((_, version)) = last
                    && self.all.writer(*version) != source
                {
                    orders.add(*version, read.version, Why::Seen(id, Because::Causal));
                }
            }
        }
    }
}

/// The orders that follow from real time: who begins after a write has ended sees it, or what was
/// written after it.
pub(super) fn infer_realtime(all: &Transactions<'_>, orders: &mut Orders) {
    /// A write: when it ended and began, and what.
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
                // Those before this one come before one of those that have been looked at.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn merging_clocks_takes_the_larger_count_of_each_session(
            a in proptest::collection::btree_map(0usize..9, 1usize..9, 0..9),
            b in proptest::collection::btree_map(0usize..9, 1usize..9, 0..9),
        ) {
            let mut clock: Clock = a.clone().into_iter().collect();
            merge(&mut clock, &b.clone().into_iter().collect::<Clock>());
            let mut expected = a;
            for (session, count) in b {
                let known = expected.entry(session).or_default();
                *known = count.max(*known);
            }
            prop_assert_eq!(clock, expected.into_iter().collect::<Clock>());
        }
    }
}
