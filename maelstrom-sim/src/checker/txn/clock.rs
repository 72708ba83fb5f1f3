//! Clocks: how much of each chain of transactions is in the past of one.
//!
//! A chain is a sequence of transactions of which each is in the causal past of the next. A session
//! is one. A session that begins after it depends on the last transaction of another session goes on
//! in that one's chain, so that clocks stay short where ever new processes come.

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

/// What a chain is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// A session goes on.
    Session,
    /// No session; but a later read may be of what the chain wrote.
    Past,
    /// None.
    Idle,
}

#[derive(Debug)]
struct Chain {
    len: u32,
    /// Up to where in the order of the transactions the keys are read that it wrote.
    useful: usize,
    used: Use,
}

/// All chains so far, as transactions are put on them.
#[derive(Debug, Default)]
pub(super) struct Chains {
    all: Vec<Chain>,
    idle: Vec<ChainId>,
    /// How many are past.
    past: usize,
}

impl Chains {
    fn get(&mut self, chain: ChainId) -> Option<&mut Chain> {
        self.all.get_mut(usize::try_from(chain).ok()?)
    }

    /// Puts a transaction with this past on a chain: that of its session (`own`) or a lower one
    /// whose last transaction is in its past. What it writes is read up to `useful`.
    pub(super) fn put(&mut self, own: Option<ChainId>, clock: &Clock, useful: usize) -> Spot {
        let chosen = self.ended(own, clock);
        if let Some(chosen) = chosen {
            self.past -= 1;
            self.begin(chosen);
            own.into_iter().for_each(|own| self.end(own));
        }
        let chosen = chosen.or(own).unwrap_or_else(|| self.fresh());
        let Some(chain) = self.get(chosen) else {
            return (chosen, 0);
        };
        let spot = (chosen, chain.len);
        chain.len += 1;
        chain.useful = useful.max(chain.useful);
        spot
    }

    /// A chain of no session whose last transaction is in the past.
    fn ended(&self, own: Option<ChainId>, clock: &Clock) -> Option<ChainId> {
        if self.past == 0 {
            return None;
        }
        let lower = clock.entries().take_while(|(chain, _)| own.is_none_or(|own| *chain < own));
        let mut lower = lower.filter_map(|(id, count)| {
            let chain = self.all.get(usize::try_from(id).ok()?)?;
            (chain.used == Use::Past && chain.len == count).then_some(id)
        });
        lower.next()
    }

    /// A chain for any transaction: what an idle one wrote is read no more, so that it does not
    /// matter that it is taken for the past of what follows.
    fn fresh(&mut self) -> ChainId {
        if let Some(chain) = self.idle.pop() {
            self.begin(chain);
            return chain;
        }
        self.all.push(Chain { len: 0, useful: 0, used: Use::Session });
        ChainId::try_from(self.all.len() - 1).unwrap_or(ChainId::MAX)
    }

    fn begin(&mut self, chain: ChainId) {
        if let Some(chain) = self.get(chain) {
            chain.used = Use::Session;
        }
    }

    /// The chain's session has ended, or goes on elsewhere.
    pub(super) fn end(&mut self, chain: ChainId) {
        if let Some(chain) = self.get(chain) {
            chain.used = Use::Past;
            self.past += 1;
        }
    }

    /// Leaves out of the clock whatever is not read after this place in the order.
    pub(super) fn prune(&mut self, clock: &mut Clock, place: usize) {
        clock.retain(|id| {
            let Some(chain) = self.get(id) else {
                return false;
            };
            let is_useful = chain.useful > place;
            if !is_useful && chain.used == Use::Past {
                chain.used = Use::Idle;
                self.past -= 1;
                self.idle.push(id);
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
