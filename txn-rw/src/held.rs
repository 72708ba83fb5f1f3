//! Transactions that have come before something they depend on.
//!
//! The invariant: of each origin these are the ones right after those that are shown, in the order
//! of its log, without a hole; the first of them lacks something, or it would be shown.

use std::collections::{BTreeMap, VecDeque};

use maelstrom_core::gossip::Origin;
use serde::{Deserialize, Serialize};

use crate::clocks::Clocks;
use crate::entry::Transaction;
use crate::json::{Key, Value};

/// A transaction that waits, or several consecutive ones of an origin, to be shown at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// The clock of the last.
    pub(crate) clock: u64,
    /// What has to be shown before.
    pub(crate) after: Clocks,
    /// What they wrote: each key once, with the clock of the transaction that wrote it last.
    pub(crate) writes: Vec<(Key, Value, u64)>,
}

/// What a write takes besides its texts, about.
const WRITE_OVERHEAD_BYTES: usize = 64;

impl Waiting {
    pub(crate) fn new(transaction: &Transaction) -> Self {
        let clock = transaction.clock();
        let writes = transaction.writes().iter();
        let writes = writes.map(|(key, value)| (key.clone(), value.clone(), clock)).collect();
        Self { clock, after: transaction.after().clone(), writes }
    }

    pub(crate) fn bytes(&self) -> usize {
        let of_write = |(key, value, _): &(Key, Value, u64)| {
            let text = key.text().len().saturating_add(value.text().len());
            text.saturating_add(WRITE_OVERHEAD_BYTES)
        };
        let writes = self.writes.iter().map(of_write).fold(0, usize::saturating_add);
        writes.saturating_add(self.after.encoded_len()).saturating_add(WRITE_OVERHEAD_BYTES)
    }
}

/// All that waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Each with a number of the caller's; these rise. No list is empty.
    origins: BTreeMap<Origin, VecDeque<(u64, Waiting)>>,
    bytes: usize,
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
        Some((origin, number, waiting))
    }

    /// Makes one of all that waits of each origin: it takes no more than its keys do, and is shown
    /// when the last of it can be. Tells the numbers that are gone; the new ones are drawn.
    pub(crate) fn collapse(&mut self, mut draw: impl FnMut(&Origin) -> u64) -> Vec<u64> {
        let mut gone = Vec::new();
        for (origin, list) in &mut self.origins {
            if list.len() < 2 {
                continue;
            }
            let (mut clock, mut after, mut writes) = (0, Clocks::default(), BTreeMap::new());
            for (number, waiting) in list.drain(..) {
                gone.push(number);
                self.bytes = self.bytes.saturating_sub(waiting.bytes());
                clock = waiting.clock;
                after.join(&waiting.after);
                let named = |(key, value, clock)| (key, (value, clock));
                writes.extend(waiting.writes.into_iter().map(named));
            }
            let writes = writes.into_iter().map(|(key, (value, clock))| (key, value, clock));
            let waiting = Waiting { clock, after, writes: writes.collect() };
            self.bytes = self.bytes.saturating_add(waiting.bytes());
            list.push_back((draw(origin), waiting));
        }
        gone
    }
}
