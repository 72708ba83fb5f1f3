//! Clocks: how much of each chain of transactions is in the past of one.
//!
//! A chain is a sequence of transactions of which each is in the causal past of the next. A session
//! is one. When a session ends, its chain loses the last transactions if they are in the past of
//! nothing to come. A session whose first transaction depends on the last one of the rest goes on in
//! that chain. So clocks stay shorter where new processes keep coming.

use super::transactions::TxnId;

/// A chain's number.
pub(super) type ChainId = u32;

/// A transaction's chain, and its place there.
pub(super) type Spot = (ChainId, u32);

/// For each chain, how many of its transactions are in the past. Sorted, without zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    chains: Vec<ChainId>,
    counts: Vec<u32>,
}

impl Clock {
    /// How many transactions of this chain are in the past. Takes constant time where all chains
    /// before it are in the clock, and O(log k) else.
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

    /// Puts `count` transactions of a chain into the past.
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

    /// Puts all of another past into this one, in O(k).
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

    /// Leaves chains out of the past.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(ChainId) -> bool) {
        if self.chains.iter().all(|chain| keep(*chain)) {
            return;
        }
        let kept = self.entries().filter(|(chain, _)| keep(*chain));
        let (chains, counts) = kept.unzip();
        (self.chains, self.counts) = (chains, counts);
    }
}

/// The use of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// A session goes on.
    Session,
    /// No session; but what the chain wrote may matter to a later read.
    Past,
    /// None.
    Idle,
}

/// A transaction to put on a chain, at a place in the order of all transactions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) id: TxnId,
    /// The place now.
    pub(super) place: usize,
    /// Up to which place it is in the past of another one.
    pub(super) until: usize,
    /// Up to which place what it wrote matters.
    pub(super) useful: usize,
}

#[derive(Debug)]
struct Chain {
    /// How many transactions it had before it was last idle.
    base: u32,
    /// Its transactions since then, and up to where each is in the past of another one: never
    /// further than the one before it.
    links: Vec<(TxnId, usize)>,
    /// Up to where in the order of the transactions it matters what it wrote.
    useful: usize,
    used: Use,
}

impl Chain {
    fn len(&self) -> u32 {
        self.base.saturating_add(u32::try_from(self.links.len()).unwrap_or(u32::MAX))
    }
}

/// All chains so far, as transactions are put on them.
#[derive(Debug, Default)]
pub(super) struct Chains {
    all: Vec<Chain>,
    idle: Vec<ChainId>,
    /// Transactions that are on no chain any more, and where each was.
    dropped: Vec<(TxnId, Spot)>,
}

impl Chains {
    fn get(&mut self, chain: ChainId) -> Option<&mut Chain> {
        self.all.get_mut(usize::try_from(chain).ok()?)
    }

    /// Puts a transaction with this past on a chain: that of its session (`own`), or else one whose
    /// last transaction is in its past.
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

    /// Takes the transactions that have lost their places since the last call.
    pub(super) fn dropped(&mut self) -> Vec<(TxnId, Spot)> {
        std::mem::take(&mut self.dropped)
    }

    /// Takes a chain of no session whose last transaction is in the past.
    fn ended(&mut self, clock: &Clock, place: usize) -> Option<ChainId> {
        let found = clock.entries().find(|(id, count)| self.trim(*id, place) == Some(*count));
        let (id, _) = found?;
        self.begin(id);
        Some(id)
    }

    /// Cuts off a past chain's last transactions, as far as they are in the past of nothing that is
    /// to come. Returns how long it is then. Returns `None` for a chain that is not past.
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

    /// A chain for any transaction: what an idle one wrote is forgotten, so that it does not matter
    /// that it is taken for the past of what follows.
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

    /// Looks for past chains that do not matter any more, or of which no transaction is in the past
    /// of what is to come.
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

    /// The chain's session has ended.
    pub(super) fn end(&mut self, chain: ChainId) {
        if let Some(chain) = self.get(chain) {
            chain.used = Use::Past;
        }
    }

    /// A past chain becomes an idle one.
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

    /// Leaves out of the clock whatever does not matter after this place in the order.
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
