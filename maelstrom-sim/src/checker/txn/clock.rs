//! Vector clocks over chains: for each chain of transactions, how many are in the causal past of a
//! transaction.
//!
//! A chain is a sequence of transactions in which each is in the causal past of the next. It begins
//! as a session. When the session ends, the chain drops the transactions at its end on which no
//! later transaction depends. If the first transaction of another session depends on the last one
//! of the rest, that session continues the chain. This keeps clocks short when new processes appear
//! all the time.

use super::transactions::TxnId;

/// A chain's number.
pub(super) type ChainId = u32;

/// A transaction's chain, and its position there.
pub(super) type Spot = (ChainId, u32);

/// For each chain, how many of its transactions are in the past. Sorted by chain, without zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    chains: Vec<ChainId>,
    counts: Vec<u32>,
}

impl Clock {
    /// How many transactions of this chain are in the past. Takes constant time if the clock
    /// contains all chains before it, otherwise O(log k).
    pub(super) fn get(&self, chain: ChainId) -> u32 {
        let near = usize::try_from(chain).unwrap_or(usize::MAX);
        let at = match self.chains.get(near) {
            Some(found) if *found == chain => Ok(near),
            _ => self.chains.binary_search(&chain),
        };
        at.ok().and_then(|at| self.counts.get(at)).copied().unwrap_or_default()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Spot> {
        self.chains.iter().copied().zip(self.counts.iter().copied())
    }

    pub(super) fn len(&self) -> usize {
        self.chains.len()
    }

    /// Adds the first `count` transactions of a chain to the past.
    pub(super) fn raise(&mut self, chain: ChainId, count: u32) {
        match self.chains.binary_search(&chain) {
            Ok(at) => {
                if let Some(known) = self.counts.get_mut(at) {
                    *known = count.max(*known);
                }
            }
            Err(at) => {
                self.chains.insert(at, chain);
                self.counts.insert(at, count);
            }
        }
    }

    /// Adds another past to this one, in O(k).
    pub(super) fn merge(&mut self, other: &Self) {
        if self.chains == other.chains {
            for (count, theirs) in self.counts.iter_mut().zip(&other.counts) {
                *count = (*theirs).max(*count);
            }
            return;
        }
        let mut merged = Self::default();
        merged.chains.reserve(self.len().max(other.len()));
        merged.counts.reserve(self.len().max(other.len()));
        let (mut ours, mut theirs) = (self.entries().peekable(), other.entries().peekable());
        while let (Some(a), Some(b)) = (ours.peek().copied(), theirs.peek().copied()) {
            if a.0 <= b.0 {
                ours.next();
            }
            if b.0 <= a.0 {
                theirs.next();
            }
            merged.push(match a.0.cmp(&b.0) {
                std::cmp::Ordering::Less => a,
                std::cmp::Ordering::Greater => b,
                std::cmp::Ordering::Equal => a.max(b),
            });
        }
        ours.chain(theirs).for_each(|entry| merged.push(entry));
        *self = merged;
    }

    fn push(&mut self, (chain, count): Spot) {
        self.chains.push(chain);
        self.counts.push(count);
    }

    /// Removes all chains for which `keep` is false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(ChainId) -> bool) {
        if self.chains.iter().all(|chain| keep(*chain)) {
            return;
        }
        let kept = self.entries().filter(|(chain, _)| keep(*chain));
        let (chains, counts) = kept.unzip();
        (self.chains, self.counts) = (chains, counts);
    }
}

/// The current use of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// A session continues it.
    Session,
    /// Its session has ended, but its writes may still matter to a later read.
    Past,
    /// It does not matter any more, so any session may take it.
    Idle,
}

/// A transaction to put on a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) id: TxnId,
    /// Its position in the order of all transactions.
    pub(super) place: usize,
    /// The position of the last transaction that depends on it.
    pub(super) until: usize,
    /// The last position at which one of its writes matters.
    pub(super) useful: usize,
}

#[derive(Debug)]
struct Chain {
    /// The length of the chain when it was last idle.
    base: u32,
    /// Its transactions since then, each with the position of the last transaction that depends on
    /// it. The positions never increase along the chain.
    links: Vec<(TxnId, usize)>,
    /// The last position at which one of its writes matters.
    useful: usize,
    used: Use,
}

impl Chain {
    fn len(&self) -> u32 {
        self.base.saturating_add(u32::try_from(self.links.len()).unwrap_or(u32::MAX))
    }
}

/// All chains.
#[derive(Debug, Default)]
pub(super) struct Chains {
    all: Vec<Chain>,
    idle: Vec<ChainId>,
    /// Transactions that are not on a chain any more, and where each was.
    dropped: Vec<(TxnId, Spot)>,
}

impl Chains {
    fn get(&mut self, chain: ChainId) -> Option<&mut Chain> {
        self.all.get_mut(usize::try_from(chain).ok()?)
    }

    /// Puts a transaction with this past on a chain: the chain of its session (`own`), a past chain
    /// whose last transaction is in its past, or else an idle or new chain.
    pub(super) fn put(&mut self, own: Option<ChainId>, clock: &Clock, link: Link) -> Spot {
        let chosen = own.or_else(|| self.ended(clock, link.place));
        let chosen = chosen.unwrap_or_else(|| self.fresh(link.place));
        let Some(chain) = self.get(chosen) else {
            return (chosen, 0);
        };
        let spot = (chosen, chain.len());
        chain.links.push((link.id, link.until));
        chain.useful = link.useful.max(chain.useful);
        spot
    }

    /// Takes the transactions that were dropped from their chains since the last call.
    pub(super) fn dropped(&mut self) -> Vec<(TxnId, Spot)> {
        std::mem::take(&mut self.dropped)
    }

    /// Finds a past chain whose last transaction is in this past, and begins a session on it.
    fn ended(&mut self, clock: &Clock, place: usize) -> Option<ChainId> {
        let found = clock.entries().find(|(id, count)| self.trim(*id, place) == Some(*count));
        let (id, _) = found?;
        self.begin(id);
        Some(id)
    }

    /// Drops the transactions at the end of a past chain on which no later transaction depends.
    /// Returns the new length, or `None` if the chain is not past.
    fn trim(&mut self, id: ChainId, place: usize) -> Option<u32> {
        let chain = self.all.get_mut(usize::try_from(id).ok()?)?;
        if chain.used != Use::Past {
            return None;
        }
        while let Some((txn, _)) = chain.links.pop_if(|(_, until)| *until < place) {
            self.dropped.push((txn, (id, chain.len())));
        }
        Some(chain.len())
    }

    /// Returns a chain for any transaction. The transactions of an idle chain are forgotten, so it
    /// does no harm that clocks now count them as past.
    fn fresh(&mut self, place: usize) -> ChainId {
        if self.idle.is_empty() {
            self.find_idle(place);
        }
        if let Some(id) = self.idle.pop() {
            self.begin(id);
            return id;
        }
        self.all.push(Chain { base: 0, links: Vec::new(), useful: 0, used: Use::Session });
        ChainId::try_from(self.all.len() - 1).unwrap_or(ChainId::MAX)
    }

    /// Marks past chains as idle if their writes do not matter any more, or if no later transaction
    /// depends on them.
    fn find_idle(&mut self, place: usize) {
        for id in (0..self.all.len()).filter_map(|id| ChainId::try_from(id).ok()) {
            if self.trim(id, place).is_some()
                && let Some(chain) = self.get(id)
                && (chain.links.is_empty() || chain.useful <= place)
            {
                self.rest(id);
            }
        }
    }

    fn begin(&mut self, chain: ChainId) {
        if let Some(chain) = self.get(chain) {
            chain.used = Use::Session;
        }
    }

    /// Ends the session on this chain.
    pub(super) fn end(&mut self, chain: ChainId) {
        if let Some(chain) = self.get(chain) {
            chain.used = Use::Past;
        }
    }

    /// Turns a past chain into an idle one.
    fn rest(&mut self, id: ChainId) {
        let chain = usize::try_from(id).ok().and_then(|at| self.all.get_mut(at));
        if let Some(chain) = chain {
            let len = chain.len();
            while let Some((txn, _)) = chain.links.pop() {
                self.dropped.push((txn, (id, chain.len())));
            }
            (chain.base, chain.used) = (len, Use::Idle);
            self.idle.push(id);
        }
    }

    /// Removes the chains from a clock that do not matter after this position in the order.
    pub(super) fn prune(&mut self, clock: &mut Clock, place: usize) {
        clock.retain(|id| {
            let Some(chain) = self.get(id) else {
                return false;
            };
            let is_useful = chain.useful > place;
            if !is_useful && chain.used == Use::Past {
                self.rest(id);
            }
            is_useful
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn clock(entries: &BTreeMap<u32, u32>) -> Clock {
        let (chains, counts) = entries.iter().unzip();
        Clock { chains, counts }
    }

    proptest! {
        #[test]
        fn merging_clocks_takes_the_larger_count_of_each_chain(
            a in proptest::collection::btree_map(0u32..9, 1u32..9, 0..9),
            b in proptest::collection::btree_map(0u32..9, 1u32..9, 0..9),
            same in any::<bool>(),
        ) {
            let b = if same { a.iter().map(|(chain, n)| (*chain, 10 - n)).collect() } else { b };
            let mut merged = clock(&a);
            merged.merge(&clock(&b));
            let mut raised = clock(&a);
            let mut expected = a;
            for (chain, count) in b {
                let known = expected.entry(chain).or_default();
                *known = count.max(*known);
                raised.raise(chain, count);
            }
            prop_assert_eq!(&merged, &clock(&expected));
            prop_assert_eq!(&raised, &merged);
            for chain in 0..9 {
                let known = expected.get(&chain).copied().unwrap_or_default();
                prop_assert_eq!(merged.get(chain), known);
            }
        }
    }
}
