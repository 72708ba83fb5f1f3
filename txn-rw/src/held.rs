//! Transactions that came before one that they depend on. They are held until that one is visible.
//!
//! The invariant: the held transactions of an origin directly follow its visible ones, in the order
//! of its log, without a gap. The first of them misses a dependency. If it did not, it would be
//! visible.
//!
//! # Folding
//!
//! If a great many transactions are held, those of an origin are folded into one. It becomes
//! visible when the dependencies of all its parts are there. Its size grows only with the keys of
//! its parts. But folding can make a cycle. Assume that the ninth transaction of `a` depends on the
//! eighth of `b`, and the third of `b` on the second of `a`. If both logs are folded, the two
//! results depend on each other. So once anything is folded, the map looks for a
//! [set](Held::closed) of transactions that can become visible together, and not only for single
//! ones.

use std::collections::{BTreeMap, VecDeque};

use maelstrom_core::LINE_BYTES_MAX;
use maelstrom_core::gossip::Origin;
use serde::{Deserialize, Serialize};

use crate::entry::{Transaction, fault_of_writes};
use crate::json::{Key, Value};
use crate::registers::CLOCK_MAX;
use crate::vector_clock::VectorClock;

/// A held transaction, or several consecutive ones of an origin that become visible together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldTransaction {
    /// The clock of the last one.
    pub(crate) clock: u64,
    /// Their dependencies.
    #[serde(rename = "after")]
    pub(crate) dependencies: VectorClock,
    /// Their writes: each key once, with the clock of the transaction that wrote it last.
    pub(crate) writes: Vec<(Key, Value, u64)>,
    /// True if it stands for several transactions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    folded: bool,
}

/// Estimated size of a write beside its texts, in bytes.
const WRITE_OVERHEAD_BYTES: usize = 64;

/// The largest size of a folded transaction: it must fit into a line.
const FOLDED_BYTES_MAX: usize = LINE_BYTES_MAX / 2;

fn bytes_of_write(key: &Key, value: &Value) -> usize {
    key.text().len().saturating_add(value.text().len()).saturating_add(WRITE_OVERHEAD_BYTES)
}

impl HeldTransaction {
    pub(crate) fn new(transaction: &Transaction) -> Self {
        let clock = transaction.clock();
        let writes = transaction.writes().iter();
        let writes = writes.map(|(key, value)| (key.clone(), value.clone(), clock)).collect();
        Self { clock, dependencies: transaction.dependencies().clone(), writes, folded: false }
    }

    /// The fault of this transaction, if it has one: see [`Transaction::fault`]. All dependencies
    /// have smaller clocks, also if it stands for several transactions.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.clock > CLOCK_MAX {
            return Some("its clock is beyond the largest one");
        }
        if self.dependencies.max() >= self.clock {
            return Some("it depends on a transaction that is not older");
        }
        if self.writes.iter().any(|(.., clock)| *clock > self.clock) {
            return Some("a write is newer than its transaction");
        }
        fault_of_writes(self.writes.iter().map(|(key, value, _)| (key, value)))
    }

    pub(crate) fn bytes(&self) -> usize {
        let writes = self.writes.iter().map(|(key, value, _)| bytes_of_write(key, value));
        let writes = writes.fold(0, usize::saturating_add);
        writes.saturating_add(self.dependencies.encoded_len()).saturating_add(WRITE_OVERHEAD_BYTES)
    }
}

/// Consecutive transactions of an origin that are being folded into one.
struct Fold {
    held: HeldTransaction,
    writes: BTreeMap<Key, (Value, u64)>,
    bytes: usize,
}

impl Fold {
    fn new(mut first: HeldTransaction) -> Self {
        let bytes = first.bytes();
        let writes = std::mem::take(&mut first.writes).into_iter();
        let writes = writes.map(|(key, value, clock)| (key, (value, clock))).collect();
        Self { held: first, writes, bytes }
    }

    /// Adds the next transaction. Returns it if the result would be too large.
    fn push(&mut self, next: HeldTransaction) -> Result<(), HeldTransaction> {
        let old = |(key, ..): &(Key, Value, u64)| {
            self.writes.get(key).map_or(0, |(value, _)| bytes_of_write(key, value))
        };
        let old = next.writes.iter().map(old).fold(0, usize::saturating_add);
        let bytes = self.bytes.saturating_add(next.bytes()).saturating_sub(old);
        if bytes > FOLDED_BYTES_MAX {
            return Err(next);
        }
        self.bytes = bytes;
        self.held.folded = true;
        self.held.clock = next.clock;
        self.held.dependencies.join(&next.dependencies);
        let writes = next.writes.into_iter();
        self.writes.extend(writes.map(|(key, value, clock)| (key, (value, clock))));
        Ok(())
    }

    fn finish(self) -> HeldTransaction {
        let writes = self.writes.into_iter().map(|(key, (value, clock))| (key, value, clock));
        HeldTransaction { writes: writes.collect(), ..self.held }
    }
}

/// All held transactions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// The held transactions of each origin. The caller gives each one a number. The numbers of an
    /// origin rise. No list is empty.
    origins: BTreeMap<Origin, VecDeque<(u64, HeldTransaction)>>,
    bytes: usize,
    /// Number of folded ones among them.
    folded: usize,
    /// The size that the last folding left, or the size now if it is smaller.
    bytes_left: usize,
    /// Number of foldings.
    folds: u64,
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.origins.values().map(VecDeque::len).sum()
    }

    /// Estimated size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The numbers of all held transactions, with their origins.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (&Origin, u64)> {
        let of = |(origin, list)| {
            let list: &VecDeque<(u64, HeldTransaction)> = list;
            list.iter().map(move |(number, _)| (origin, *number))
        };
        self.origins.iter().flat_map(of)
    }

    /// The clock of an origin's last held transaction.
    pub(crate) fn last(&self, origin: &Origin) -> Option<u64> {
        self.origins.get(origin)?.back().map(|(_, held)| held.clock)
    }

    pub(crate) fn get(&self, origin: &Origin, number: u64) -> Option<&HeldTransaction> {
        let list = self.origins.get(origin)?;
        let at = list.binary_search_by_key(&number, |(other, _)| *other).ok()?;
        list.get(at).map(|(_, held)| held)
    }

    pub(crate) fn push(&mut self, origin: &Origin, number: u64, held: HeldTransaction) {
        self.bytes = self.bytes.saturating_add(held.bytes());
        self.folded = self.folded.saturating_add(usize::from(held.folded));
        self.origins.entry(origin.clone()).or_default().push_back((number, held));
    }

    /// Removes the first transaction of some origin for which `is_due` holds, and returns it.
    pub(crate) fn pop(
        &mut self,
        is_due: impl Fn(&Origin, &HeldTransaction) -> bool,
    ) -> Option<(Origin, u64, HeldTransaction)> {
        let due = |(origin, list): (&Origin, &VecDeque<(u64, HeldTransaction)>)| {
            list.front().filter(|(_, first)| is_due(origin, first)).map(|_| origin.clone())
        };
        let origin = self.origins.iter().find_map(due)?;
        let list = self.origins.get_mut(&origin)?;
        let (number, held) = list.pop_front()?;
        if list.is_empty() {
            self.origins.remove(&origin);
        }
        self.bytes = self.bytes.saturating_sub(held.bytes());
        self.bytes_left = self.bytes_left.min(self.bytes);
        self.folded = self.folded.saturating_sub(usize::from(held.folded));
        Some((origin, number, held))
    }

    /// The largest closed set of held transactions, as a number of transactions of each origin. A
    /// set is closed if it or `visible` has all dependencies of its members. Such a set can become
    /// visible as a whole.
    ///
    /// Begins with all held transactions. Drops each one that misses a dependency, and all later
    /// ones of its log, until no transaction misses any. Transactions that were never folded depend
    /// on smaller clocks. So there are few rounds: at most as many as there are origins and folded
    /// transactions.
    fn closed(&self, visible: &VectorClock) -> Vec<(Origin, usize)> {
        let all = self.origins.iter();
        let mut all: Vec<_> = all.map(|(origin, list)| (origin, list, list.len())).collect();
        loop {
            let mut there = visible.clone();
            for (origin, list, count) in &all {
                if let Some((_, last)) = count.checked_sub(1).and_then(|at| list.get(at)) {
                    there.raise(origin, last.clock);
                }
            }
            let mut is_closed = true;
            for (_, list, count) in &mut all {
                let in_it = list.iter().take(*count);
                let fit = in_it.take_while(|(_, held)| there.covers(&held.dependencies)).count();
                is_closed &= fit == *count;
                *count = fit;
            }
            if is_closed {
                return all.into_iter().map(|(origin, _, count)| (origin.clone(), count)).collect();
            }
        }
    }

    /// Removes and returns the transactions that can only become visible together. There can be
    /// some only if anything is folded.
    pub(crate) fn pop_closed(
        &mut self,
        visible: &VectorClock,
    ) -> Vec<(Origin, u64, HeldTransaction)> {
        let closed = if self.folded > 0 { self.closed(visible) } else { Vec::new() };
        let mut popped = Vec::new();
        for (origin, count) in closed {
            let take = |_| self.pop(|other, _| *other == origin);
            popped.extend((0..count).filter_map(take));
        }
        popped
    }

    /// Number of foldings.
    pub(crate) fn folds(&self) -> u64 {
        self.folds
    }

    /// True if a folding is due: the size is above `bytes_max`, and at least twice the size that
    /// the last folding left. Each folding looks at all held transactions, so it must be worth its
    /// cost.
    pub(crate) fn needs_folding(&self, bytes_max: usize) -> bool {
        self.bytes > bytes_max.max(self.bytes_left.saturating_mul(2))
    }

    /// Folds the held transactions of each origin into one, or into a few if they are large. The
    /// result takes no more room than its keys do, and becomes visible when its last part can.
    /// Returns the numbers that are gone. `draw` gives the new ones.
    pub(crate) fn fold(&mut self, mut draw: impl FnMut(&Origin) -> u64) -> Vec<u64> {
        let mut gone = Vec::new();
        for (origin, mut list) in std::mem::take(&mut self.origins) {
            let mut folds: Vec<Fold> = Vec::new();
            for (number, held) in list.drain(..) {
                gone.push(number);
                let rest = match folds.last_mut() {
                    Some(fold) => fold.push(held),
                    None => Err(held),
                };
                folds.extend(rest.err().map(Fold::new));
            }
            list.extend(folds.into_iter().map(|fold| (draw(&origin), fold.finish())));
            self.origins.insert(origin, list);
        }
        let all = || self.origins.values().flatten().map(|(_, held)| held);
        self.bytes = all().map(HeldTransaction::bytes).fold(0, usize::saturating_add);
        self.folded = all().filter(|held| held.folded).count();
        self.bytes_left = self.bytes;
        self.folds = self.folds.saturating_add(1);
        gone
    }
}
