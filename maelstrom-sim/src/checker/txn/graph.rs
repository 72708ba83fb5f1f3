//! The dependency graph: the transactions that happened, and why one comes before another.
//!
//! It is Adya's direct serialization graph (1999, §4.4.4) with Elle's session and real-time edges.
//! Every edge has a class, and each consistency model concerns certain classes.
//!
//! A node of the graph is a transaction, the initial state of a key, or a moment in time. A moment
//! stands between transactions that ended before it and those that began after it. So real time
//! takes about two edges for each transaction instead of one for each pair.

use petgraph::graph::{DiGraph, NodeIndex};

use super::causality::Sessions;
use super::order::{Because, Order, Orders, Why};
use super::transactions::{Status, Transactions, TxnId, VersionId};

/// The classes of edges, one bit each.
pub(super) mod class {
    /// The first transaction wrote a version that comes before a version of the second.
    pub(in super::super) const WW: u16 = 1;
    /// The second transaction read a write of the first.
    pub(in super::super) const WR: u16 = 1 << 1;
    /// An anti-dependency: the first transaction read a version that comes before a write of the
    /// second.
    pub(in super::super) const RW: u16 = 1 << 2;
    /// `WW`, with an order inferred from a monotonic view within a transaction.
    pub(in super::super) const VIEW: u16 = 1 << 3;
    /// `WW`, with an order inferred from atomic visibility of transactions.
    pub(in super::super) const ATOMIC: u16 = 1 << 4;
    /// `RW`, with an order of one of these two kinds.
    pub(in super::super) const ATOMIC_RW: u16 = 1 << 5;
    /// The second transaction follows the first in a session.
    pub(in super::super) const SESSION: u16 = 1 << 6;
    /// `WW`, with an order inferred from causality.
    pub(in super::super) const CAUSAL: u16 = 1 << 7;
    /// The first transaction ended before the second one began.
    pub(in super::super) const REALTIME: u16 = 1 << 8;
    /// `WW`, with an order inferred from real time.
    pub(in super::super) const REALTIME_WW: u16 = 1 << 9;
    /// `RW`, with an order inferred from real time.
    pub(in super::super) const REALTIME_RW: u16 = 1 << 10;
    /// All anti-dependencies.
    pub(in super::super) const ANTI: u16 = RW | ATOMIC_RW | REALTIME_RW;
    /// All edges that depend on real time.
    pub(in super::super) const TIMED: u16 = REALTIME | REALTIME_WW | REALTIME_RW;
}

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The first transaction wrote an earlier version.
    Wrote(Order),
    /// The second transaction read a write of the first.
    WasRead(VersionId),
    /// The first transaction read an earlier version than the second one wrote.
    Read(Order),
    /// The second transaction is the next one of the same process.
    Session,
    /// The first transaction ended before the second one began.
    Realtime,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) class: u16,
    pub(super) what: What,
}

impl Edge {
    /// The version order behind the edge, if there is one.
    pub(super) const fn order(&self) -> Option<Order> {
        match self.what {
            What::Wrote(order) | What::Read(order) => Some(order),
            What::WasRead(_) | What::Session | What::Realtime => None,
        }
    }
}

pub(super) type Graph = DiGraph<(), Edge>;

/// Builds the graph of all transactions that happened, with edges of the classes in `mask`.
///
/// The nodes are the transactions in order, then the initial states of the keys, then the moments.
pub(super) fn build(
    all: &Transactions<'_>,
    orders: &[Order],
    sessions: &Sessions,
    mask: u16,
) -> Graph {
    let mut builder = Builder { all, mask, graph: Graph::new() };
    for _ in 0..all.txns.len() + all.keys.len() {
        builder.graph.add_node(());
    }
    for order in orders {
        builder.add_order(*order);
    }
    for (reader, txn) in all.happened() {
        for (_, read) in txn.reads() {
            if let Some(writer) = all.writer(read.version) {
                builder.add(writer, reader, class::WR, What::WasRead(read.version));
            }
        }
    }
    for session in sessions.all() {
        for (first, second) in session.iter().zip(session.iter().skip(1)) {
            builder.add(*first, *second, class::SESSION, What::Session);
        }
    }
    if mask & class::REALTIME != 0 {
        builder.add_realtime();
    }
    builder.graph
}

/// Whether Elle's dependency graph has no edge at all, so that no transaction depends on another
/// one. Session and real-time edges count if their classes are in `mask`.
pub(super) fn is_empty(
    all: &Transactions<'_>,
    orders: &Orders,
    sessions: &Sessions,
    mask: u16,
) -> bool {
    let differ = |first: Option<TxnId>, second: Option<TxnId>| {
        first.zip(second).is_some_and(|(first, second)| first != second)
    };
    let mut reads = all.happened().flat_map(|(id, txn)| txn.reads().map(move |(_, op)| (id, op)));
    let has_wr = reads.any(|(id, op)| differ(all.writer(op.version), Some(id)));
    let has_ww_or_rw = orders.pairs().any(|(lower, upper)| {
        let writer = all.possible_writer(upper);
        differ(all.writer(lower), writer)
            || all.readers(lower).iter().any(|reader| differ(Some(*reader), writer))
    });
    let has_session =
        mask & class::SESSION != 0 && sessions.all().iter().any(|session| session.len() > 1);
    let has_realtime = mask & class::REALTIME != 0 && {
        let ended = all.happened().filter(|(_, txn)| txn.status == Status::Ok);
        let first_end = ended.filter_map(|(_, txn)| txn.ended).min();
        let last_begin = all.happened().map(|(_, txn)| txn.begun).max();
        first_end.zip(last_begin).is_some_and(|(end, begin)| end < begin)
    };
    !(has_wr || has_ww_or_rw || has_session || has_realtime)
}

struct Builder<'a, 'h> {
    all: &'a Transactions<'h>,
    mask: u16,
    graph: Graph,
}

impl Builder<'_, '_> {
    fn add(&mut self, from: usize, to: usize, class: u16, what: What) {
        if from != to && class & self.mask != 0 {
            let (from, to) = (NodeIndex::new(from), NodeIndex::new(to));
            self.graph.add_edge(from, to, Edge { class, what });
        }
    }

    /// The node of a version: its writer, or the initial state of its key.
    fn node(&self, version: VersionId) -> Option<usize> {
        let key = self.all.versions.get(version)?.key;
        match self.all.is_initial(version) {
            true => Some(self.all.txns.len() + key),
            false => self.all.writer(version),
        }
    }

    fn add_order(&mut self, order: Order) {
        let (wrote, read) = match order.why {
            Why::Initial | Why::ReadThenWrote(_) | Why::Listed(_) | Why::Unread(_) => {
                (class::WW, class::RW)
            }
            Why::Seen(_, Because::View) => (class::VIEW, class::ATOMIC_RW),
            Why::Seen(_, Because::Atomic) => (class::ATOMIC, class::ATOMIC_RW),
            // Causality gives many orders, and no level needs their anti-dependencies.
            Why::Seen(_, Because::Causal) => (class::CAUSAL, 0),
            Why::Seen(_, Because::Realtime) => (class::REALTIME_WW, class::REALTIME_RW),
        };
        if let (Some(lower), Some(upper)) = (self.node(order.lower), self.node(order.upper)) {
            self.add(lower, upper, wrote, What::Wrote(order));
        }
        if let Some(writer) = self.all.writer(order.upper)
            && read & self.mask != 0
        {
            let all = self.all;
            for reader in all.readers(order.lower) {
                self.add(*reader, writer, read, What::Read(order));
            }
        }
    }

    /// Adds a node for each moment between the end of a transaction and the beginning of a later
    /// one.
    fn add_realtime(&mut self) {
        let mut events: Vec<(usize, bool, TxnId)> = Vec::new();
        for (id, txn) in self.all.happened() {
            events.push((txn.begun, false, id));
            let ended = txn.ended.filter(|_| txn.status == Status::Ok);
            events.extend(ended.map(|ended| (ended, true, id)));
        }
        events.sort_unstable();
        let (mut moment, mut ended): (Option<usize>, Vec<TxnId>) = (None, Vec::new());
        for (_, is_end, id) in events {
            if is_end {
                ended.push(id);
                continue;
            }
            if !ended.is_empty() {
                let next = self.graph.add_node(()).index();
                for earlier in ended.drain(..).chain(moment) {
                    self.add(earlier, next, class::REALTIME, What::Realtime);
                }
                moment = Some(next);
            }
            if let Some(moment) = moment {
                self.add(moment, id, class::REALTIME, What::Realtime);
            }
        }
    }
}
