//! Transactions that have come before something they depend on.
//!
//! The invariant: of each origin these are the ones right after those that are shown, in the order
//! of its log, without a hole; the first of them lacks something, or it would be shown.
//!
//! # Folding
//!
//! Where there are very many, those of an origin become one, which is shown when all that any of
//! them needs is. That takes no more than their keys do, but it can make a circle: if the ninth of
//! a needs the eighth of b, and the third of b needs the second of a, then the two folded ones need
//! each other. So where anything is folded, what can be shown is looked for as a
//! [set](Held::closed), and not one by one.

use std::collections::{BTreeMap, VecDeque};

use maelstrom_core::LINE_BYTES_MAX;
use maelstrom_core::gossip::Origin;
use serde::{Deserialize, Serialize};

use crate::clocks::Clocks;
use crate::entry::{Transaction, fault_of_writes};
use crate::json::{Key, Value};
use crate::registers::CLOCK_MAX;

/// A transaction that waits, or several consecutive ones of an origin, to be shown at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// The clock of the last.
    pub(crate) clock: u64,
    /// What has to be shown before.
    pub(crate) after: Clocks,
    /// What they wrote: each key once, with the clock of the transaction that wrote it last.
    pub(crate) writes: Vec<(Key, Value, u64)>,
    /// Whether it stands for several.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    folded: bool,
}

/// What a write takes besides its texts, about.
const WRITE_OVERHEAD_BYTES: usize = 64;

/// What is folded becomes no larger than this, so that it can be sent in a line.
const FOLDED_BYTES_MAX: usize = LINE_BYTES_MAX / 2;

fn bytes_of_write(key: &Key, value: &Value) -> usize {
    key.text().len().saturating_add(value.text().len()).saturating_add(WRITE_OVERHEAD_BYTES)
}

impl Waiting {
    pub(crate) fn new(transaction: &Transaction) -> Self {
        let clock = transaction.clock();
        let writes = transaction.writes().iter();
        let writes = writes.map(|(key, value)| (key.clone(), value.clone(), clock)).collect();
        Self { clock, after: transaction.after().clone(), writes, folded: false }
    }

    /// What is wrong with it, if anything: see [`Transaction::fault`]. Of those that it may stand
    /// for, each needs what has smaller clocks.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.clock > CLOCK_MAX {
            return Some("its clock is beyond the largest one");
        }
        if self.after.max() >= self.clock {
            return Some("it needs what is newer");
        }
        if self.writes.iter().any(|(.., clock)| *clock > self.clock) {
            return Some("a write is newer than its transaction");
        }
        fault_of_writes(self.writes.iter().map(|(key, value, _)| (key, value)))
    }

    pub(crate) fn bytes(&self) -> usize {
        let writes = self.writes.iter().map(|(key, value, _)| bytes_of_write(key, value));
        let writes = writes.fold(0, usize::saturating_add);
        writes.saturating_add(self.after.encoded_len()).saturating_add(WRITE_OVERHEAD_BYTES)
    }
}

/// Several consecutive ones of an origin that become one.
struct Fold {
    waiting: Waiting,
    writes: BTreeMap<Key, (Value, u64)>,
    bytes: usize,
}

impl Fold {
    fn new(mut first: Waiting) -> Self {
        let bytes = first.bytes();
        let writes = std::mem::take(&mut first.writes).into_iter();
        let writes = writes.map(|(key, value, clock)| (key, (value, clock))).collect();
        Self { waiting: first, writes, bytes }
    }

    /// Takes in the next one, or gives it back if that makes too much.
    fn push(&mut self, next: Waiting) -> Result<(), Waiting> {
        let old = |(key, ..): &(Key, Value, u64)| {
            self.writes.get(key).map_or(0, |(value, _)| bytes_of_write(key, value))
        };
        let old = next.writes.iter().map(old).fold(0, usize::saturating_add);
        let bytes = self.bytes.saturating_add(next.bytes()).saturating_sub(old);
        if bytes > FOLDED_BYTES_MAX {
            return Err(next);
        }
        self.bytes = bytes;
        self.waiting.folded = true;
        self.waiting.clock = next.clock;
        self.waiting.after.join(&next.after);
        let writes = next.writes.into_iter();
        self.writes.extend(writes.map(|(key, value, clock)| (key, (value, clock))));
        Ok(())
    }

    fn finish(self) -> Waiting {
        let writes = self.writes.into_iter().map(|(key, (value, clock))| (key, value, clock));
        Waiting { writes: writes.collect(), ..self.waiting }
    }
}

/// All that waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Each with a number of the caller's; these rise. No list is empty.
    origins: BTreeMap<Origin, VecDeque<(u64, Waiting)>>,
    bytes: usize,
    /// How many of them stand for several.
    folded: usize,
    /// What the last folding has left, or less.
    bytes_left: usize,
    /// How often it was folded.
    folds: u64,
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.origins.values().map(VecDeque::len).sum()
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of each, with its origin.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (&Origin, u64)> {
        let of = |(origin, list)| {
            let list: &VecDeque<(u64, Waiting)> = list;
            list.iter().map(move |(number, _)| (origin, *number))
        };
        self.origins.iter().flat_map(of)
    }

    /// The clock of the last one of an origin.
    pub(crate) fn last(&self, origin: &Origin) -> Option<u64> {
        self.origins.get(origin)?.back().map(|(_, waiting)| waiting.clock)
    }

    pub(crate) fn get(&self, origin: &Origin, number: u64) -> Option<&Waiting> {
        let list = self.origins.get(origin)?;
        let at = list.binary_search_by_key(&number, |(other, _)| *other).ok()?;
        list.get(at).map(|(_, waiting)| waiting)
    }

    pub(crate) fn push(&mut self, origin: &Origin, number: u64, waiting: Waiting) {
        self.bytes = self.bytes.saturating_add(waiting.bytes());
        self.folded = self.folded.saturating_add(usize::from(waiting.folded));
        self.origins.entry(origin.clone()).or_default().push_back((number, waiting));
    }

    /// Takes out the first one of an origin for which `is_due` holds.
    pub(crate) fn pop(
        &mut self,
        is_due: impl Fn(&Origin, &Waiting) -> bool,
    ) -> Option<(Origin, u64, Waiting)> {
        let due = |(origin, list): (&Origin, &VecDeque<(u64, Waiting)>)| {
            list.front().filter(|(_, first)| is_due(origin, first)).map(|_| origin.clone())
        };
        let origin = self.origins.iter().find_map(due)?;
        let list = self.origins.get_mut(&origin)?;
        let (number, waiting) = list.pop_front()?;
        if list.is_empty() {
            self.origins.remove(&origin);
        }
        self.bytes = self.bytes.saturating_sub(waiting.bytes());
        self.bytes_left = self.bytes_left.min(self.bytes);
        self.folded = self.folded.saturating_sub(usize::from(waiting.folded));
        Some((origin, number, waiting))
    }

    /// How many of each origin's can be shown together: the largest set that is closed, that is,
    /// with each of its members it has, or `shown` covers, all that this one needs.
    ///
    /// From all that waits it drops what lacks something, with all that comes later in that log,
    /// until nothing is left that does. Those that were never folded need what has smaller clocks;
    /// so there are few rounds: no more than there are origins and folded ones.
    fn closed(&self, shown: &Clocks) -> Vec<(Origin, usize)> {
        let all = self.origins.iter();
        let mut all: Vec<_> = all.map(|(origin, list)| (origin, list, list.len())).collect();
        loop {
            let mut there = shown.clone();
            for (origin, list, count) in &all {
                if let Some((_, last)) = count.checked_sub(1).and_then(|at| list.get(at)) {
                    there.raise(origin, last.clock);
                }
            }
            let mut is_closed = true;
            for (_, list, count) in &mut all {
                let in_it = list.iter().take(*count);
                let fit = in_it.take_while(|(_, waiting)| there.covers(&waiting.after)).count();
                is_closed &= fit == *count;
                *count = fit;
            }
            if is_closed {
                return all.into_iter().map(|(origin, _, count)| (origin.clone(), count)).collect();
            }
        }
    }

    /// Takes out what can be shown together and not one by one, which is so only where anything is
    /// folded.
    pub(crate) fn pop_closed(&mut self, shown: &Clocks) -> Vec<(Origin, u64, Waiting)> {
        let closed = if self.folded > 0 { self.closed(shown) } else { Vec::new() };
        let mut popped = Vec::new();
        for (origin, count) in closed {
            let take = |_| self.pop(|other, _| *other == origin);
            popped.extend((0..count).filter_map(take));
        }
        popped
    }

    /// How often it was folded.
    pub(crate) fn folds(&self) -> u64 {
        self.folds
    }

    /// Whether it takes more than `bytes_max`, and so much more than the last folding has left that
    /// another one is worth its while: each looks at all that there is.
    pub(crate) fn is_to_be_folded(&self, bytes_max: usize) -> bool {
        self.bytes > bytes_max.max(self.bytes_left.saturating_mul(2))
    }

    /// Makes one of all that waits of each origin, or a few if it is very large: that takes no more
    /// than its keys do, and is shown when the last of it can be. Tells the numbers that are gone;
    /// the new ones are drawn.
    pub(crate) fn fold(&mut self, mut draw: impl FnMut(&Origin) -> u64) -> Vec<u64> {
        let mut gone = Vec::new();
        for (origin, mut list) in std::mem::take(&mut self.origins) {
            let mut folds: Vec<Fold> = Vec::new();
            for (number, waiting) in list.drain(..) {
                gone.push(number);
                let rest = match folds.last_mut() {
                    Some(fold) => fold.push(waiting),
                    None => Err(waiting),
                };
                folds.extend(rest.err().map(Fold::new));
            }
            list.extend(folds.into_iter().map(|fold| (draw(&origin), fold.finish())));
            self.origins.insert(origin, list);
        }
        let all = || self.origins.values().flatten().map(|(_, waiting)| waiting);
        self.bytes = all().map(Waiting::bytes).fold(0, usize::saturating_add);
        self.folded = all().filter(|waiting| waiting.folded).count();
        self.bytes_left = self.bytes;
        self.folds = self.folds.saturating_add(1);
        gone
    }
}
