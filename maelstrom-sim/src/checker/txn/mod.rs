//! Transactions over registers or lists: which consistency models a history breaks, and how.
//!
//! The invariant: a history that a correct implementation of the models could have made is never
//! blamed. Every order between two versions or transactions is one that the models imply, and every
//! finding names the operations that prove it.
//!
//! # What is looked for
//!
//! 1. Anomalies of single transactions and versions: `G1a`, `G1b`, `internal`, `lost-update`, …
//! 2. Cycles in the dependency graph: Adya's G0, G1c, G-single, G2-item, with sessions
//!    (`-process`) and real time (`-realtime`) where the model knows them.
//! 3. Beyond Elle, cycles with orders that follow from what a transaction must have seen:
//!
//! - `non-atomic-view`: T reads from T1, and then something older than what T1 wrote (Bailis et al.
//!   2013, MAV)
//! - `fractured-read`: the same, in any order (Bailis et al. 2014, RAMP)
//! - `non-monotonic-read`: a session reads a version, and then an older one (Bailis et al. 2013)
//! - `lost-own-write`: a session writes a version, and then reads an older one (Bailis et al. 2013)
//! - `causal-violation`: T reads something older than what a transaction wrote that it depends on
//!   (Cerone et al. 2015)
//! - `stale-read-realtime`: T reads something older than what was written when it began
//!
//! 4. Where there are final transactions, replicas that do not converge: `divergence`,
//!    `lost-write`.
//!
//! 5. Transactions that tell nothing about each other: `empty-transaction-graph`. Maelstrom calls a
//!    test with no dependency at all invalid, and so does this checker.
//!
//! Of lists the order of versions is known, and more is looked for in what was read:
//! `dirty-update`, `duplicate-elements`, `incompatible-order`, …
//!
//! Which of these count is a matter of the [`Model`]s that are asked for.
//!
//! The verdict by Maelstrom's rules comes from Elle's part of these alone: the anomalies `G1a`,
//! `G1b`, `internal` and `lost-update`, and cycles (2) whose version orders Elle infers. Elle
//! looks for more in lists: for all but `false-failure` and `phantom-read`. Maelstrom's verdict is
//! unknown where Elle fails: since keys are of several types, or since nobody appended an element
//! of a list.
//!
//! # How long it takes
//!
//! For n operations, reading the history and ordering what was read takes O(n log n) time, and each
//! search for components O(n). Causality takes O(n × k) for k sessions, as in AWDIT. Most sessions
//! that are over do not count. Real time takes O(n log n) where few transactions overlap.
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
#[must_use]
pub fn check(history: &History, models: &BTreeSet<Model>) -> WorkloadResults {
    check_as(history, models, Data::Registers)
}

/// Judges the history of a `txn-list-append` test by these models.
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

/// The orders of versions that hold under every model.
fn basic_orders(all: &Transactions<'_>, rules: Rules) -> Orders {
    let mut orders = Orders::default();
    match all.data {
        Data::Registers => order::infer(all, &mut orders),
        Data::Lists => lists::infer(all, rules, &mut orders),
    }
    orders
}

/// The transactions as Elle has them, if those are others. Elle believes every reply, even one that
/// does not belong to its request.
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
    // Without a finding by all rules there is none by some of them.
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

/// By which rules to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// All of this checker's.
    Strict,
    /// Those of Elle that Maelstrom asks for.
    Elle,
}

/// All that the models forbid, as far as these rules find it.
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

/// Looks for cycles at all levels that the models demand, and at the end of the history.
fn cycles(
    all: &Transactions<'_>,
    models: &BTreeSet<Model>,
    rules: Rules,
    findings: &mut Findings<'_, '_>,
) {
    let levels = models.iter().flat_map(|model| model.levels().iter().copied());
    // Smaller parts of the graph first, so that a cycle gets the name of the weakest model that
    // forbids it.
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
        // What has no edge outside of a smaller part has been found there.
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
