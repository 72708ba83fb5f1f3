//! Checks transactions over registers or lists: which consistency models a history violates, and
//! how.
//!
//! The invariant: the checker never blames a history that a correct implementation of the models
//! could produce. The models imply every order between two versions or transactions that it infers,
//! and every finding names the operations that prove it.
//!
//! # Anomalies
//!
//! 1. Anomalies of single transactions and versions: `G1a`, `G1b`, `internal`, `lost-update`, …
//! 2. Cycles in the dependency graph: Adya's G0, G1c, G-single, G2-item. If the model includes
//!    sessions or real time, so do the cycles (`-process`, `-realtime`).
//! 3. Beyond Elle, cycles with version orders inferred from the transactions that a transaction
//!    must have seen:
//!
//! - `non-atomic-view`: T reads from T1, and then a version older than a write of T1 (Bailis et al.
//!   2013, MAV)
//! - `fractured-read`: the same two reads, in any order (Bailis et al. 2014, RAMP)
//! - `non-monotonic-read`: a session reads a version, and then an older one (Bailis et al. 2013)
//! - `lost-own-write`: a session writes a version, and then reads an older one (Bailis et al. 2013)
//! - `causal-violation`: T depends on a transaction, but reads a version older than its write
//!   (Cerone et al. 2015)
//! - `stale-read-realtime`: T reads a version older than a write that ended before T began
//!
//! 4. If there are final transactions, replicas that do not converge: `divergence`, `lost-write`.
//!
//! 5. Transactions that do not depend on each other: `empty-transaction-graph`. Maelstrom calls a
//!    test without any dependency invalid, and so does this checker.
//!
//! For lists the order of versions is known, so the checker finds more anomalies in reads:
//! `dirty-update`, `duplicate-elements`, `incompatible-order`, …
//!
//! The requested [`Model`]s decide which of these count.
//!
//! The verdict by Maelstrom's rules uses only the anomalies that Elle finds: `G1a`, `G1b`,
//! `internal`, `lost-update` and `empty-transaction-graph`, and the cycles of (2) whose version
//! orders Elle infers. For lists, Elle also finds `future-read`, `dirty-update`,
//! `duplicate-elements` and `incompatible-order`. Maelstrom's verdict is unknown if Elle fails: if
//! keys have several types, or if no ended transaction appended an element of a longest list.
//!
//! # Complexity
//!
//! For n operations, reading the history and ordering the versions takes O(n log n) time. Each
//! search for components takes O(n). Causality takes O(n × k) for k sessions, as in AWDIT; most
//! sessions that have ended do not count. Real time takes O(n log n) if few transactions overlap.
//!
//! # Sources
//!
//! * Adya, *Weak Consistency* (PhD thesis, MIT 1999)
//! * Bailis et al., *Highly Available Transactions: Virtues and Limitations* (VLDB 2013)
//! * Bailis et al., *Scalable Atomic Visibility with RAMP Transactions* (SIGMOD 2014)
//! * Cerone, Bernardi, Gotsman, *A Framework for Transactional Consistency Models with Atomic
//!   Visibility* (CONCUR 2015)
//! * Biswas & Enea, *On the Complexity of Checking Transactional Consistency* (OOPSLA 2019)
//! * Møldrup & Pavlogiannis, *AWDIT: An Optimal Weak Database Isolation Tester* (PLDI 2025)
//! * Kingsbury & Alvaro, *Elle: Inferring Isolation Anomalies from Experimental Observations*
//!   (VLDB 2020)

pub mod adya;
mod causality;
mod clock;
mod cycles;
mod explain;
mod finals;
mod graph;
mod headline;
mod key_types;
mod list_anomalies;
mod lists;
mod local;
mod meaning;
mod model;
mod order;
mod relevance;
mod transactions;

use std::collections::BTreeSet;

use serde_json::{Value, json};

pub use self::model::Model;
pub use self::transactions::{parse, parse_lists};

use self::causality::Sessions;
use self::explain::Findings;
use self::graph::class;
use self::model::{Anti, Level};
use self::order::Orders;
use self::transactions::{Data, Transactions, Trust};
use super::{Verdict, WorkloadResults, indexes_in, object};
use crate::history::History;

/// Judges the history of a `txn-rw-register` test by these models.
///
/// ```
/// # use maelstrom_sim::history::{History, Op, OpType, Process};
/// use maelstrom_sim::checker::{Verdict, txn};
///
/// # let mut history = History::default();
/// # let mut happened = |f, begin: &str, end: &str| {
/// #     let raw = |json: &str| serde_json::value::RawValue::from_string(json.into()).ok();
/// #     let (client, is_final) = (Process::Client(0), f == "read");
/// #     let op = Op { value: raw(begin), is_final, ..Op::new(client, OpType::Invoke, f) };
/// #     let invocation = Some(history.push(op));
/// #     let op = Op { value: raw(end), invocation, ..Op::new(client, OpType::Ok, f) };
/// #     history.push(Op { is_final, ..op });
/// # };
/// // A transaction as requested, and as the node answered it. It misses its own write.
/// happened("txn", r#"[["w", 1, 5], ["r", 1, null]]"#, r#"[["w", 1, 5], ["r", 1, null]]"#);
/// let results = txn::check(&history, &[txn::Model::ReadAtomic].into());
/// assert_eq!(results.valid, Verdict::Invalid);
/// assert!(results.fields["anomaly-types"].to_string().contains("internal"));
/// ```
#[must_use]
pub fn check(history: &History, models: &BTreeSet<Model>) -> WorkloadResults {
    check_as(history, models, Data::Registers)
}

/// Judges the history of a `txn-list-append` test by these models. [`check`] shows how to call it.
#[must_use]
pub fn check_lists(history: &History, models: &BTreeSet<Model>) -> WorkloadResults {
    check_as(history, models, Data::Lists)
}

fn check_as(history: &History, models: &BTreeSet<Model>, data: Data) -> WorkloadResults {
    let all = Transactions::of(history, data, Trust::OwnRequest);
    let any_reply = any_reply(&all);
    let as_elle = any_reply.as_ref().unwrap_or(&all);
    let mut results = judge(&all, as_elle, models);
    if has_empty_graph(as_elle, models) {
        if let Some(Value::Array(names)) = results.fields.get_mut("anomaly-types") {
            names.push("empty-transaction-graph".into());
        }
        results.is_uninformative = results.valid != Verdict::Invalid;
        (results.valid, results.maelstrom_valid) = (Verdict::Invalid, Verdict::Invalid);
        let cause = "no transaction depends on another one: there is nothing to judge";
        results.cause.get_or_insert_with(|| cause.into());
    }
    if data == Data::Lists && lists::elle_fails(as_elle) {
        results.maelstrom_valid = Verdict::Unknown;
    }
    let key_types = key_types::of(history, data);
    if key_types.len() > 1 {
        results.maelstrom_valid = Verdict::Unknown;
        results.fields.insert("key-types".into(), json!(key_types));
    }
    results
}

/// Whether no transaction depends on another one, as far as Elle sees.
fn has_empty_graph(all: &Transactions<'_>, models: &BTreeSet<Model>) -> bool {
    let orders = basic_orders(all, Rules::Elle);
    let levels = models.iter().flat_map(|model| model.levels());
    graph::is_empty(
        all,
        &orders,
        &Sessions::of(all),
        levels.fold(0, |mask, level| mask | level.mask),
    )
}

/// The version orders that hold under every model.
fn basic_orders(all: &Transactions<'_>, rules: Rules) -> Orders {
    let mut orders = Orders::default();
    match all.data {
        Data::Registers => order::infer(all, &mut orders),
        Data::Lists => lists::infer(all, rules, &mut orders),
    }
    orders
}

/// The transactions as Elle sees them, if they differ. Elle trusts every reply, even one that does
/// not match its request.
fn any_reply<'h>(all: &Transactions<'h>) -> Option<Transactions<'h>> {
    let is_altered = all.txns.iter().any(|txn| txn.altered);
    is_altered.then(|| Transactions::of(all.history, all.data, Trust::AnyReply))
}

/// The verdict on a history with dependencies.
fn judge(
    all: &Transactions<'_>,
    as_elle: &Transactions<'_>,
    models: &BTreeSet<Model>,
) -> WorkloadResults {
    let mut findings = find(all, models, Rules::Strict);
    let unclear = !all.written_twice.is_empty();
    let verdict = |found: bool| if unclear { Verdict::Unknown } else { Verdict::invalid_if(found) };
    let mut valid = verdict(!findings.is_empty());
    let gave_up = findings.gave_up && valid == Verdict::Valid;
    if gave_up {
        valid = Verdict::Unknown;
    }
    // A history without a finding under all rules has none under a part of them.
    let maelstrom_valid =
        verdict(!findings.is_empty() && !find(as_elle, models, Rules::Elle).is_empty());
    let (names, counts, examples) = findings.to_json();
    let first = names.first().and_then(|name| examples.get(name)?.get(0)?.get("ops"));
    let evidence = first.map(indexes_in).unwrap_or_default();
    let written_twice: Vec<String> =
        all.written_twice.iter().map(|version| all.show(*version)).collect();
    let mut fields = object(json!({
        "anomaly-types": names,
        "anomaly-counts": counts,
        "anomalies": examples,
        "more-cycles": findings.more_cycles(),
        "consistency-models": models.iter().map(|model| model.name()).collect::<Vec<_>>(),
        "txn-count": all.txns.len(),
    }));
    if unclear {
        fields.insert("written-twice".into(), json!(written_twice));
    }
    let cause = findings.headline();
    let cause = cause.or_else(|| unclear.then(|| "two writes of a key have the same value".into()));
    let limit = || "the search for cycles with one anti-dependency has reached its limit".into();
    let cause = cause.or_else(|| gave_up.then(limit));
    let (lines, dependencies) = findings.first_cycle();
    let results = WorkloadResults::new(valid, maelstrom_valid, fields).explained_by(lines);
    WorkloadResults { dependencies, ..results }
        .because(cause)
        .proved_by(evidence)
        .with_unanswered_finals(all.history)
}

/// The rules by which to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// All rules of this checker.
    Strict,
    /// The rules of Elle that Maelstrom uses.
    Elle,
}

/// Finds everything that the models forbid under these rules.
fn find<'a, 'h>(
    all: &'a Transactions<'h>,
    models: &BTreeSet<Model>,
    rules: Rules,
) -> Findings<'a, 'h> {
    let mut findings = Findings::new(all);
    local::check(all, rules, &mut findings);
    findings.retain(|name| models.iter().any(|model| model.forbids(name)));
    if rules == Rules::Elle {
        let judges = models.iter().any(|model| !model.is_of_single_operations());
        findings.retain(|name| judges && local::is_elles(name, all.data));
    }
    cycles(all, models, rules, &mut findings);
    findings
}

/// Looks for cycles at all levels that the models require, and for anomalies of the final
/// transactions.
fn cycles(
    all: &Transactions<'_>,
    models: &BTreeSet<Model>,
    rules: Rules,
    findings: &mut Findings<'_, '_>,
) {
    let levels = models.iter().flat_map(|model| model.levels().iter().copied());
    // Searches smaller parts of the graph first, so that a cycle gets the name of the weakest model
    // that forbids it.
    let levels: BTreeSet<Level> = levels.collect();
    let mask = levels.iter().fold(0, |mask, level| mask | level.mask);
    let sessions = Sessions::of(all);
    let mut orders = basic_orders(all, rules);
    if rules == Rules::Strict {
        order::infer_views(all, &mut orders);
        if mask & class::CAUSAL != 0 {
            causality::infer(all, &sessions, &mut orders);
        }
        if mask & class::REALTIME_WW != 0 {
            causality::infer_realtime(all, &mut orders);
        }
    }
    let orders = orders.into_vec();
    if rules == Rules::Strict {
        finals::check(all, &orders, findings);
    }
    let graph = cycles::core(&graph::build(all, &orders, &sessions, mask));
    if graph.edge_count() == 0 {
        return;
    }
    let mut done: Vec<Level> = Vec::new();
    for level in levels {
        // A cycle whose edges all belong to a smaller part was found there.
        let parts = done.iter().filter(|part| part.mask & !level.mask == 0);
        let largest = parts.filter(|part| part.anti == Anti::Any).map(|part| part.mask);
        let largest = largest.max_by_key(|mask| mask.count_ones()).unwrap_or_default();
        let fresh = level.mask & !largest;
        let found = cycles::find(&graph, level, fresh, |edge| edge.class);
        for cycle in &found.cycles {
            let classes = cycle.iter().filter_map(|edge| graph.edge_weight(*edge));
            let classes: Vec<u16> = classes.map(|edge| edge.class).collect();
            if !done.iter().any(|part| part.has_cycle(&classes)) {
                findings.add_cycle(&graph, &sessions, cycle);
            }
        }
        findings.add_more_cycles(found.components - found.cycles.len());
        findings.gave_up |= found.gave_up;
        done.push(level);
    }
}

#[cfg(test)]
mod tests;
