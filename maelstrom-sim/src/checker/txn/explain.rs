//! Collects the findings: each anomaly, the operations that prove it, and its explanation.

use std::collections::BTreeMap;

use petgraph::graph::{EdgeIndex, NodeIndex};
use serde_json::{Map, Value, json};

use super::causality::Sessions;
use super::graph::{Edge, Graph, What, class};
use super::headline;
use super::meaning;
use super::order::{Because, Order, Why};
use super::transactions::{Transactions, TxnId, VersionId};
use crate::checker::Dependency;
use crate::json::to_value;

/// How many findings of a kind the results show in detail.
const SHOWN_MAX: usize = 8;

/// How many operations of a finding the results show.
const OPS_MAX: usize = 16;

/// All findings, by the name of the anomaly.
pub(super) struct Findings<'a, 'h> {
    all: &'a Transactions<'h>,
    kinds: BTreeMap<&'static str, (usize, Vec<Value>)>,
    /// The first finding of each kind, written as part of a sentence.
    headlines: BTreeMap<&'static str, String>,
    /// The first cycle of each kind: in words, and as edges.
    first_cycles: BTreeMap<&'static str, (Vec<String>, Vec<Dependency>)>,
    more_cycles: usize,
    /// Whether a search for cycles reached its limit, so that there may be more.
    pub(super) gave_up: bool,
}

impl<'a, 'h> Findings<'a, 'h> {
    pub(super) fn new(all: &'a Transactions<'h>) -> Self {
        let (kinds, headlines, first_cycles) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { all, kinds, headlines, first_cycles, more_cycles: 0, gave_up: false }
    }

    /// Adds a finding about these transactions.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        ids: &[TxnId],
        headline: impl FnOnce() -> String,
        detail: impl FnOnce() -> Value,
    ) {
        self.headlines.entry(name).or_insert_with(headline);
        let (count, shown) = self.kinds.entry(name).or_default();
        *count += 1;
        if shown.len() < SHOWN_MAX {
            let mut finding = match detail() {
                Value::Object(fields) => fields,
                _ => Map::new(),
            };
            let ops = ids.iter().take(OPS_MAX).map(|id| show_txn(self.all, *id));
            finding.insert("ops".into(), ops.collect());
            shown.push(finding.into());
        }
    }

    /// Adds a finding about a version that was read.
    pub(super) fn add_read(&mut self, name: &'static str, ids: &[TxnId], version: VersionId) {
        let all = self.all;
        let headline = || headline::read(all, name, ids, version);
        self.add(name, ids, headline, || json!({ "read": all.show(version) }));
    }

    /// Adds a cycle.
    pub(super) fn add_cycle(&mut self, graph: &Graph, sessions: &Sessions, edges: &[EdgeIndex]) {
        let cycle: Vec<Step> = edges.iter().filter_map(|edge| step(graph, *edge)).collect();
        let all = self.all;
        let name = classify(all, sessions, &cycle);
        self.first_cycles.entry(name).or_insert_with(|| explain(all, &cycle).into_iter().unzip());
        let ids: Vec<TxnId> =
            cycle.iter().map(|step| step.from).filter(|id| *id < all.txns.len()).collect();
        self.add(
            name,
            &headline::proof(all, &cycle, &ids),
            || headline::cycle(all, &cycle, &ids),
            || {
                let mut steps: Vec<String> =
                    explain(all, &cycle).into_iter().map(|(text, _)| text).collect();
                let more = steps.len().saturating_sub(OPS_MAX);
                if more > 0 {
                    steps.truncate(OPS_MAX);
                    steps.push(format!("… and {more} more, back to the first"));
                }
                json!({ "cycle": steps })
            },
        );
    }

    /// Counts components with cycles for which no cycle was searched.
    pub(super) fn add_more_cycles(&mut self, more: usize) {
        self.more_cycles += more;
    }

    pub(super) fn more_cycles(&self) -> usize {
        self.more_cycles
    }

    /// Removes the anomalies for which `keep` is false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.kinds.retain(|name, _| keep(name));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// The first finding of the first kind and its meaning, written as part of a sentence.
    pub(super) fn headline(&self) -> Option<String> {
        let (name, _) = self.kinds.first_key_value()?;
        let headline = self.headlines.get(name)?;
        let meaning = meaning::of(name).map(|text| format!("; {name} means that {text}"));
        Some(format!("the transactions show {name}: {headline}{}", meaning.unwrap_or_default()))
    }

    /// The first cycle of the first kind, in words and as edges.
    pub(super) fn first_cycle(&mut self) -> (Vec<String>, Vec<Dependency>) {
        let first = self.kinds.first_key_value().map(|(name, _)| *name);
        first.and_then(|name| self.first_cycles.remove(name)).unwrap_or_default()
    }

    /// The names of the anomalies, how often each was found, and examples of each.
    pub(super) fn to_json(&self) -> (Vec<&'static str>, Value, Value) {
        let counts = self.kinds.iter().map(|(name, (count, _))| ((*name).into(), json!(count)));
        let shown = self.kinds.iter().map(|(name, (_, shown))| ((*name).into(), json!(shown)));
        let names = self.kinds.keys().copied().collect();
        (names, Value::Object(counts.collect()), Value::Object(shown.collect()))
    }
}

/// An edge of a cycle, and the nodes at its ends.
pub(super) struct Step {
    from: usize,
    to: usize,
    pub(super) edge: Edge,
}

fn step(graph: &Graph, edge: EdgeIndex) -> Option<Step> {
    let (from, to): (NodeIndex, NodeIndex) = graph.edge_endpoints(edge)?;
    Some(Step { from: from.index(), to: to.index(), edge: *graph.edge_weight(edge)? })
}

/// The name of a cycle, determined by the classes of its edges.
fn classify(all: &Transactions<'_>, sessions: &Sessions, cycle: &[Step]) -> &'static str {
    let classes = cycle.iter().fold(0, |classes, step| classes | step.edge.class);
    let has = |mask: u16| classes & mask != 0;
    let anti: Vec<bool> = cycle.iter().map(|step| step.edge.class & class::ANTI != 0).collect();
    let adjacent = anti.iter().zip(anti.iter().cycle().skip(1)).any(|(a, b)| *a && *b);
    let kind = match anti.iter().filter(|anti| **anti).count() {
        0 => return without_anti(all, sessions, cycle, classes),
        1 => 0,
        _ if !adjacent => 1,
        _ => 2,
    };
    let names = if has(class::TIMED) {
        ["G-single-realtime", "G-nonadjacent-realtime", "G2-item-realtime"]
    } else if has(class::SESSION | class::CAUSAL) {
        ["G-single-process", "G-nonadjacent-process", "G2-item-process"]
    } else {
        ["G-single", "G-nonadjacent", "G2-item"]
    };
    names.get(kind).copied().unwrap_or("G2-item")
}

/// The name of a cycle without anti-dependencies. If the cycle contains an inferred order, the name
/// says why a transaction must have seen the write.
fn without_anti(
    all: &Transactions<'_>,
    sessions: &Sessions,
    cycle: &[Step],
    classes: u16,
) -> &'static str {
    let has = |mask: u16| classes & mask != 0;
    if has(class::REALTIME_WW) {
        return "stale-read-realtime";
    }
    if has(class::CAUSAL) {
        let kinds: Vec<&str> =
            cycle.iter().filter_map(|step| causal_kind(all, sessions, step)).collect();
        let same = kinds.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
        let others = has(class::VIEW | class::ATOMIC);
        return match kinds.first() {
            Some(&"non-monotonic-read") if same && !others => "non-monotonic-read",
            Some(&"lost-own-write") if same && !others => "lost-own-write",
            _ => "causal-violation",
        };
    }
    match () {
        () if has(class::SESSION) && has(class::VIEW | class::ATOMIC) => "causal-violation",
        () if has(class::ATOMIC) => "fractured-read",
        () if has(class::VIEW) => "non-atomic-view",
        () if has(class::REALTIME) && has(class::WR) => "G1c-realtime",
        () if has(class::REALTIME) => "G0-realtime",
        () if has(class::SESSION) && has(class::WR) => "G1c-process",
        () if has(class::SESSION) => "G0-process",
        () if has(class::WR) => "G1c",
        () => "G0",
    }
}

/// Why the reader must have seen a write, for an order inferred from causality.
fn causal_kind(all: &Transactions<'_>, sessions: &Sessions, step: &Step) -> Option<&'static str> {
    let What::Wrote(Order { lower, why: Why::Seen(reader, Because::Causal), .. }) = step.edge.what
    else {
        return None;
    };
    let session = |id: TxnId| sessions.place(id).map(|(session, _)| session);
    if session(step.from) == session(reader) {
        return Some("lost-own-write");
    }
    let before = sessions.before(reader).filter_map(|id| all.txn(id));
    let mut reads = before.flat_map(|txn| txn.reads());
    match reads.any(|(_, read)| read.version == lower) {
        true => Some("non-monotonic-read"),
        false => Some("causal-violation"),
    }
}

/// Describes the steps of a cycle. Skips the nodes that stand for moments in time.
fn explain(all: &Transactions<'_>, cycle: &[Step]) -> Vec<(String, Dependency)> {
    let is_moment = |node: usize| node >= all.txns.len() + all.keys.len();
    // Begin with a transaction.
    let skip = cycle.iter().position(|step| !is_moment(step.from)).unwrap_or(0);
    let turned = cycle.iter().cycle().skip(skip).take(cycle.len());
    let (mut words, mut from) = (Vec::new(), None);
    for step in turned {
        let first = *from.get_or_insert(step.from);
        if !is_moment(step.to) {
            words.push((explain_step(all, first, step), dependency(all, first, step)));
            from = None;
        }
    }
    words
}

fn dependency(all: &Transactions<'_>, from: usize, step: &Step) -> Dependency {
    let event = |node: usize| all.txn(node).map(|txn| txn.ended.unwrap_or(txn.begun));
    let kind = match step.edge.what {
        What::Wrote(_) => "its write came first",
        What::WasRead(_) => "its write was read",
        What::Read(_) => "it read an older value",
        What::Session => "same process",
        What::Realtime => "ended before",
    };
    Dependency { from: event(from), to: event(step.to), kind }
}

fn explain_step(all: &Transactions<'_>, from: usize, step: &Step) -> String {
    let (from, to) = (name(all, from), name(all, step.to));
    match step.edge.what {
        What::Wrote(order) => {
            let (lower, upper) = (all.show(order.lower), all.show(order.upper));
            format!("{from} wrote {lower}, which came before {upper} of {to}{}", why(all, order))
        }
        What::WasRead(version) => format!("{from} wrote {}, which {to} read", all.show(version)),
        What::Read(order) => {
            let (lower, upper) = (all.show(order.lower), all.show(order.upper));
            format!("{from} read {lower}, which came before {upper} of {to}{}", why(all, order))
        }
        What::Session => format!("{from} was followed by {to} in the same process"),
        What::Realtime => format!("{from} had ended before {to} began"),
    }
}

fn why(all: &Transactions<'_>, order: Order) -> String {
    let Order { lower, upper, why } = order;
    match why {
        Why::Initial => String::new(),
        Why::ReadThenWrote(id) => {
            format!(", since {} read the one and wrote the other", name(all, id))
        }
        Why::Listed(id) => format!(", since {} read both in this order", name(all, id)),
        Why::Unread(id) => {
            format!(", since {} read the longest list, and it was not there yet", name(all, id))
        }
        Why::Seen(id, because) => {
            let because = match because {
                Because::View => "had read from its writer before",
                Because::Atomic => "read from its writer as well",
                Because::Causal => "depends on its writer",
                Because::Realtime => "began after its writer had ended",
            };
            let (lower, upper) = (all.show(lower), all.show(upper));
            format!(
                ", since {} read {upper} though it must have seen {lower}: it {because}",
                name(all, id)
            )
        }
    }
}

/// The name of a transaction: the index of its end in the history, or of its beginning if it has no
/// end.
pub(super) fn name(all: &Transactions<'_>, node: usize) -> String {
    match all.txn(node) {
        Some(txn) => format!("op {}", txn.ended.unwrap_or(txn.begun)),
        None => "the initial state".into(),
    }
}

fn show_txn(all: &Transactions<'_>, id: TxnId) -> Value {
    let Some(txn) = all.txn(id) else {
        return Value::Null;
    };
    let op = all.history.ops().get(txn.ended.unwrap_or(txn.begun));
    let value = op.and_then(|op| op.value.as_ref());
    let value: Option<Value> = value.map(|value| to_value(value.get()));
    json!({
        "index": txn.ended.unwrap_or(txn.begun),
        "invoked": txn.begun,
        "process": txn.process,
        "type": op.map(|op| op.kind),
        "txn": value,
    })
}
