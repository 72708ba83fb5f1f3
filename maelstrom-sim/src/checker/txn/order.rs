//! The order in which the versions of a key were written, inferred from the history.
//!
//! Elle's rules (Kingsbury & Alvaro 2020, as Maelstrom uses them): the initial state comes before
//! every version. In a transaction that reads and then writes a key, the version that it read comes
//! before the version that it wrote.
//!
//! Beyond Elle, after Biswas & Enea, *On the Complexity of Checking Transactional Consistency*
//! (2019): suppose a transaction must have seen T's write of a key, but reads another version. Then
//! T's version came before that one. The model decides which writes a transaction must have seen.

use super::local::first_reads;
use super::transactions::{Status, Transactions, TxnId, VersionId};

/// Why one version comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// The first version is the initial state.
    Initial,
    /// This transaction read the first version and wrote the second.
    ReadThenWrote(TxnId),
    /// This transaction read a list with both in this order.
    Listed(TxnId),
    /// This transaction read the longest list of the key, which contains only the first.
    Unread(TxnId),
    /// This transaction must have seen the first version, but read the second.
    Seen(TxnId, Because),
}

impl Why {
    /// The transaction that proves the order. `None` if no transaction is needed.
    pub(super) const fn witness(self) -> Option<TxnId> {
        match self {
            Self::Initial => None,
            Self::ReadThenWrote(id) | Self::Listed(id) | Self::Unread(id) | Self::Seen(id, _) => {
                Some(id)
            }
        }
    }
}

/// Why a reader must have seen a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Because {
    /// The reader had already read another write of it.
    View,
    /// The reader read another write of it later.
    Atomic,
    /// The writer is in the reader's causal past, through sessions and reads.
    Causal,
    /// The writer ended before the reader began.
    Realtime,
}

/// An order: `lower` comes before `upper`, another version of the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) lower: VersionId,
    pub(super) upper: VersionId,
    pub(super) why: Why,
}

/// Collects orders.
#[derive(Debug, Default)]
pub(super) struct Orders(Vec<Order>);

impl Orders {
    pub(super) fn add(&mut self, lower: VersionId, upper: VersionId, why: Why) {
        if lower != upper {
            self.0.push(Order { lower, upper, why });
        }
    }

    /// The pairs of versions. A pair may occur several times.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (VersionId, VersionId)> {
        self.0.iter().map(|order| (order.lower, order.upper))
    }

    /// All orders, sorted by their versions. Each pair occurs once for each kind of reason that a
    /// level can leave out, with the first reason of that kind. Takes O(n log n) time for n orders.
    pub(super) fn into_vec(self) -> Vec<Order> {
        let mut orders = self.0;
        orders.sort_by_key(|order| (order.lower, order.upper));
        let mut kept: Vec<Order> = Vec::new();
        let mut first = 0;
        for order in orders {
            let pair = |order: &Order| (order.lower, order.upper);
            if kept.last().map(pair) != Some(pair(&order)) {
                first = kept.len();
            }
            let mut known = kept.iter().skip(first);
            if !known.any(|known| says_as_much(order.why, known.why)) {
                kept.push(order);
            }
        }
        kept
    }
}

/// Whether every level that includes the reason `why` also includes the reason `known`.
fn says_as_much(why: Why, known: Why) -> bool {
    match (why, known) {
        // A level that includes a later reason includes the earlier ones. But causality gives no
        // anti-dependencies, so it cannot replace real time.
        (Why::Seen(_, Because::Realtime), Why::Seen(_, Because::Causal)) => false,
        (Why::Seen(_, new), Why::Seen(_, old)) => old <= new,
        (Why::Seen(..), _) => true,
        (_, other) => !matches!(other, Why::Seen(..)),
    }
}

/// The orders that hold under every model: those that Elle infers.
pub(super) fn infer(all: &Transactions<'_>, orders: &mut Orders) {
    for (id, txn) in all.txns.iter().enumerate().filter(|(_, txn)| txn.status == Status::Ok) {
        for (_, read) in first_reads(txn).filter(|(_, read)| !all.is_initial(read.version)) {
            for write in txn.writes().filter(|write| write.key == read.key) {
                orders.add(read.version, write.version, Why::ReadThenWrote(id));
            }
        }
    }
    initial(all, orders);
}

/// The orders that follow from atomic visibility.
pub(super) fn infer_views(all: &Transactions<'_>, orders: &mut Orders) {
    for (id, txn) in all.txns.iter().enumerate() {
        for (at, seen) in txn.reads() {
            let Some(writer) = all.writer(seen.version) else {
                continue;
            };
            let writes = all.txn(writer).into_iter().flat_map(|writer| writer.writes());
            for write in writes.filter(|write| write.key != seen.key) {
                let reads = txn.reads().filter(|(_, read)| read.key == write.key);
                for (read_at, read) in reads {
                    let intermediate = all.writer(read.version) == Some(writer);
                    if !intermediate {
                        let because = if at < read_at { Because::View } else { Because::Atomic };
                        orders.add(write.version, read.version, Why::Seen(id, because));
                    }
                }
            }
        }
    }
}

/// Orders the initial state before the versions that have no other known predecessor. The other
/// orders follow.
fn initial(all: &Transactions<'_>, orders: &mut Orders) {
    let mut follows = vec![false; all.versions.len()];
    for (lower, upper) in orders.pairs() {
        if all.writer(lower).is_some()
            && let Some(follows) = follows.get_mut(upper)
        {
            *follows = true;
        }
    }
    for key in &all.keys {
        for version in key.versions() {
            let intermediate = all.versions.get(version).is_none_or(|version| version.intermediate);
            let follows = follows.get(version).copied().unwrap_or_default();
            if !follows && !intermediate && all.writer(version).is_some() {
                orders.add(key.initial, version, Why::Initial);
            }
        }
    }
}
