//! Checks that no id occurs twice. After Jepsen's `unique-ids`.
//!
//! Two ids are equal if Maelstrom considers them equal: `1.0` equals `1.00`, but not `1`. If ids
//! have several types, or are objects, Jepsen fails to find the lowest and the highest one, and its
//! verdict is unknown. Stricter than Jepsen: if an id occurs twice among such ids, the test is
//! invalid.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::checker::{Verdict, WorkloadResults, object};
use crate::excerpt::excerpt;
use crate::history::{History, Op, OpType};
use crate::json::{canonical, to_value};

/// Nested lists are compared down to this depth.
const DEPTH_MAX: usize = 100;

/// How many of the repeated ids the results show.
const SHOWN_MAX: usize = 48;

/// Judges the history of a `unique-ids` test. O(n log n) in the number of ids.
///
/// ```
/// # use maelstrom_sim::history::{History, Op, OpType, Process};
/// use maelstrom_sim::workload::unique_ids;
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
/// happened("generate", "null", "7");
/// happened("generate", "null", "7");
/// assert_eq!(unique_ids::check(&history).cause.as_deref(), Some("the id 7 came 2 times"));
/// ```
#[must_use]
pub fn check(history: &History) -> WorkloadResults {
    let (mut attempted, mut acknowledged) = (0_u64, 0_u64);
    let mut ids: BTreeMap<String, u64> = BTreeMap::new();
    for op in history.client_ops() {
        match op.kind {
            OpType::Invoke => attempted += 1,
            OpType::Ok => {
                acknowledged += 1;
                *ids.entry(id_of(op)).or_default() += 1;
            }
            OpType::Fail | OpType::Info => {}
        }
    }
    let range = [ids.first_key_value(), ids.last_key_value()];
    let range = range.map(|pair| pair.map(|(id, _)| to_value(id)));
    let mut repeated: Vec<(String, u64)> =
        ids.into_iter().filter(|(_, count)| *count > 1).collect();
    repeated.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let comparable = are_comparable(history);
    let valid = match Verdict::invalid_if(!repeated.is_empty()) {
        Verdict::Valid if !comparable => Verdict::Unknown,
        verdict => verdict,
    };
    let maelstrom_valid = if comparable { valid } else { Verdict::Unknown };
    let shown: serde_json::Map<String, Value> =
        repeated.iter().take(SHOWN_MAX).map(|(id, count)| (excerpt(id), json!(count))).collect();
    let fields = object(json!({
        "attempted-count": attempted,
        "acknowledged-count": acknowledged,
        "duplicated-count": repeated.len(),
        "duplicated": shown,
        "range": range,
    }));
    let first = repeated.first();
    let cause = first.map(|(id, count)| format!("the id {} came {count} times", excerpt(id)));
    let mixed = "some ids cannot be compared: objects, or several types";
    let cause = match (cause, comparable) {
        (Some(cause), false) => Some(format!("{cause}; {mixed}")),
        (None, false) => Some(mixed.to_owned()),
        (cause, true) => cause,
    };
    let evidence = first.map(|(id, _)| with_id(history, id)).unwrap_or_default();
    WorkloadResults::new(valid, maelstrom_valid, fields).because(cause).proved_by(evidence)
}

/// The operations that returned this id.
fn with_id(history: &History, id: &str) -> Vec<usize> {
    let ok = history.client_ops().filter(|op| op.kind == OpType::Ok);
    ok.filter(|op| id_of(op) == id).map(|op| op.index).collect()
}

fn id_of(op: &Op) -> String {
    op.value.as_ref().map_or_else(|| "null".into(), |raw| canonical(raw))
}

/// Whether Jepsen can find the lowest and the highest id.
fn are_comparable(history: &History) -> bool {
    let ok = history.client_ops().filter(|op| op.kind == OpType::Ok);
    let ids: Vec<&RawValue> = ok.filter_map(|op| op.value.as_deref()).collect();
    ids.len() < 2 || all_comparable(&ids, DEPTH_MAX)
}

/// Whether any two of these values can be compared: values of the same type, and null with
/// anything. Lists are compared by their length, and lists of the same length element by element.
fn all_comparable(values: &[&RawValue], depth: usize) -> bool {
    let kinds: BTreeSet<Kind> = values.iter().map(|value| kind(value)).collect();
    let others = kinds.iter().filter(|kind| **kind != Kind::Null).count();
    if others > 1 || kinds.contains(&Kind::Object) {
        return false;
    }
    if !kinds.contains(&Kind::List) || depth == 0 {
        return true;
    }
    let mut by_length: BTreeMap<usize, Vec<Vec<&RawValue>>> = BTreeMap::new();
    for value in values {
        let list: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
        by_length.entry(list.len()).or_default().push(list);
    }
    by_length.iter().filter(|(_, lists)| lists.len() > 1).all(|(length, lists)| {
        (0..*length).all(|place| {
            let column: Vec<&RawValue> =
                lists.iter().filter_map(|list| list.get(place).copied()).collect();
            all_comparable(&column, depth - 1)
        })
    })
}

/// The types of JSON values. Ids of the same type can be compared with each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Null,
    Boolean,
    Number,
    String,
    List,
    Object,
}

fn kind(id: &RawValue) -> Kind {
    match id.get().as_bytes().first() {
        Some(b'n') | None => Kind::Null,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'"') => Kind::String,
        Some(b'[') => Kind::List,
        Some(b'{') => Kind::Object,
        Some(_) => Kind::Number,
    }
}
