//! Anomalies of one list, or of two lists of the same key.
//!
//! - `G1a`: a list contains an element that a failed transaction appended (Adya 1999)
//! - `false-failure`: the same, and the reader began after the failure was known
//! - `G1b`: a list ends in the middle of the elements that a transaction appended (Adya 1999)
//! - `dirty-update`: in the longest list, an element of a failed transaction comes before one of a
//!   transaction that succeeded
//! - `internal`: a list contradicts an earlier micro-operation of its transaction
//! - `future-read`: a list contains an element that its own transaction appends later
//! - `duplicate-elements`: a list contains an element twice
//! - `incompatible-order`: two lists of a key of which neither is a prefix of the other
//! - `phantom-read`: a list contains an element that nobody appended
//!
//! All but `false-failure` and `phantom-read` are Elle's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::Rules;
use super::explain::Findings;
use super::headline::{txn_name, version_name};
use super::lists::{distinct, longest};
use super::transactions::{KeyId, ListRead, Status, Transactions, VersionId};
use crate::checker::headline::short;
use crate::excerpt::long_excerpt;

pub(super) fn check(all: &Transactions<'_>, rules: Rules, findings: &mut Findings<'_, '_>) {
    for lists in all.lists.chunk_by(|a, b| a.txn == b.txn) {
        internal(all, lists, rules, findings);
        for list in lists {
            sources(all, list, findings);
            intermediate(all, list, findings);
            duplicates(list, findings);
        }
    }
    incompatible_orders(all, findings);
    dirty_updates(all, findings);
}

/// The list that a transaction must read of a key, given its own earlier operations.
struct Expected {
    /// Whether the whole list is known. If not, `elements` are its last elements.
    whole: bool,
    /// Whether the reply had null in place of the list.
    after_null: bool,
    elements: Vec<VersionId>,
}

impl Expected {
    fn allows(&self, list: &ListRead) -> bool {
        match self.whole {
            // Elle distinguishes null from an empty list.
            true if !self.after_null && self.elements.is_empty() && list.is_null => false,
            true => self.elements == list.elements,
            false => list.elements.ends_with(&self.elements),
        }
    }
}

/// Compares each list with the earlier and later operations of its own transaction.
fn internal(
    all: &Transactions<'_>,
    lists: &[ListRead],
    rules: Rules,
    findings: &mut Findings<'_, '_>,
) {
    let Some((id, txn)) = lists.first().and_then(|list| Some((list.txn, all.txn(list.txn)?)))
    else {
        return;
    };
    let mut reads = lists.iter().peekable();
    let mut expected: BTreeMap<KeyId, Expected> = BTreeMap::new();
    for (at, op) in txn.ops.iter().enumerate() {
        let Some(list) = reads.next_if(|list| list.at == at) else {
            let unknown = || Expected { whole: false, after_null: false, elements: Vec::new() };
            let known = expected.entry(op.key).or_insert_with(unknown);
            // After a null and an append, Elle expects a list of exactly the appended element.
            known.whole |= known.after_null && known.elements.is_empty();
            known.elements.push(op.version);
            continue;
        };
        if expected.get(&op.key).is_some_and(|known| !known.allows(list)) {
            findings.add_read("internal", &[id], op.version);
        }
        let mut later = txn.ops.iter().skip(at).filter(|other| other.write);
        if let Some(own) = later.find(|other| list.elements.contains(&other.version)) {
            findings.add_read("future-read", &[id], own.version);
        }
        let elements = list.elements.clone();
        // After a null, Elle expects nothing.
        let whole = rules == Rules::Strict || !list.is_null;
        let known = Expected { whole, after_null: list.is_null, elements };
        expected.insert(op.key, known);
    }
}

/// Checks the writers of the elements of a list.
fn sources(all: &Transactions<'_>, list: &ListRead, findings: &mut Findings<'_, '_>) {
    let begun = all.txn(list.txn).map_or(0, |txn| txn.begun);
    for element in distinct(list) {
        let writer = all.versions.get(element).and_then(|version| version.writer);
        let Some((id, writer)) = writer.and_then(|id| Some((id, all.txn(id)?))) else {
            findings.add_read("phantom-read", &[list.txn], element);
            continue;
        };
        if writer.status == Status::Failed {
            findings.add_read("G1a", &[list.txn, id], element);
            if writer.ended.is_some_and(|ended| ended < begun) {
                findings.add_read("false-failure", &[list.txn, id], element);
            }
        }
    }
}

/// Checks whether a list ends in the middle of the appends of another transaction.
fn intermediate(all: &Transactions<'_>, list: &ListRead, findings: &mut Findings<'_, '_>) {
    let last = list.elements.last().and_then(|last| Some((*last, all.versions.get(*last)?)));
    if let Some((last, version)) = last
        && version.intermediate
        && let Some(writer) = version.writer.filter(|writer| *writer != list.txn)
    {
        findings.add_read("G1b", &[list.txn, writer], last);
    }
}

fn duplicates(list: &ListRead, findings: &mut Findings<'_, '_>) {
    let mut seen = BTreeSet::new();
    if let Some(twice) = list.elements.iter().find(|element| !seen.insert(**element)) {
        findings.add_read("duplicate-elements", &[list.txn], *twice);
    }
}

/// For each key, reports the first list that is not a prefix of the longest one.
fn incompatible_orders(all: &Transactions<'_>, findings: &mut Findings<'_, '_>) {
    let longest = longest(all);
    let mut found: BTreeSet<KeyId> = BTreeSet::new();
    for list in &all.lists {
        let Some(longest) = longest.get(list.key).copied().flatten() else {
            continue;
        };
        if longest.elements.starts_with(&list.elements) || !found.insert(list.key) {
            continue;
        }
        let headline = || {
            let [one, other] = [list, longest].map(|list| txn_name(all, list.txn));
            let key = all.keys.get(list.key).map_or("?", |key| &key.name);
            format!("{one} and {other} read {} in different orders", short(key))
        };
        let detail = || json!({ "read": [show(all, list), show(all, longest)] });
        findings.add("incompatible-order", &[list.txn, longest.txn], headline, detail);
    }
}

/// Finds elements of failed transactions with a later element of a successful one.
fn dirty_updates(all: &Transactions<'_>, findings: &mut Findings<'_, '_>) {
    for list in longest(all).into_iter().flatten() {
        let mut aborted = None;
        for element in distinct(list) {
            let writer = all.versions.get(element).and_then(|version| version.writer);
            let Some((id, txn)) = writer.and_then(|id| Some((id, all.txn(id)?))) else {
                continue;
            };
            match txn.status {
                Status::Failed => _ = aborted.get_or_insert((element, id)),
                Status::Unknown => {}
                Status::Ok => {
                    if let Some((dirty, failed)) = aborted.take() {
                        let headline = || {
                            let [failed, ok] = [failed, id].map(|id| txn_name(all, id));
                            let [dirty, clean] = [dirty, element].map(|v| version_name(all, v));
                            format!("{failed} wrote {dirty} and failed, and {ok} {clean} upon it")
                        };
                        let detail = || json!({ "read": show(all, list) });
                        findings.add("dirty-update", &[failed, id, list.txn], headline, detail);
                    }
                }
            }
        }
    }
}

/// Describes the list that was read.
fn show(all: &Transactions<'_>, list: &ListRead) -> String {
    let name = all.keys.get(list.key).map_or("?", |key| &key.name);
    let elements = list.elements.iter().filter_map(|element| all.versions.get(*element));
    let elements: Vec<&str> = elements.filter_map(|version| version.value.as_deref()).collect();
    long_excerpt(&format!("{name} = [{}]", elements.join(", ")))
}
