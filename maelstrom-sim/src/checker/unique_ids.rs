//! No id comes twice. After Jepsen's `unique-ids`.
//!
//! Other than Jepsen's, ids are compared digit by digit (`1.0` is another id than `1.00`), and ids of
//! different types are ids like any other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Verdict, WorkloadResults, object};
use crate::history::{History, OpType};
use crate::json::canonical;

/// How many of the repeated ids are shown.
const SHOWN_MAX: usize = 48;

/// Judges the history of a `unique-ids` test. O(n log n) in the number of ids.
#[must_use]
pub fn check(history: &History) -> WorkloadResults {
    let (mut attempted, mut acknowledged) = (0_u64, 0_u64);
    let mut ids: BTreeMap<String, u64> = BTreeMap::new();
    for op in history.client_ops() {
        match op.kind {
            OpType::Invoke => attempted += 1,
            OpType::Ok => {
                acknowledged += 1;
                let id = op.value.as_ref().map_or_else(|| "null".into(), |raw| name(raw));
                *ids.entry(id).or_default() += 1;
            }
            OpType::Fail | OpType::Info => {}
        }
    }
    let range = [ids.first_key_value(), ids.last_key_value()];
    let range = range.map(|pair| pair.and_then(|(id, _)| serde_json::from_str::<Value>(id).ok()));
    let mut repeated: Vec<(String, u64)> =
        ids.into_iter().filter(|(_, count)| *count > 1).collect();
    repeated.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let valid = Verdict::invalid_if(!repeated.is_empty());
    let shown: serde_json::Map<String, Value> =
        repeated.iter().take(SHOWN_MAX).map(|(id, count)| (id.clone(), json!(count))).collect();
    let maelstrom_valid = as_maelstrom(history);
    let fields = object(json!({
        "attempted-count": attempted,
        "acknowledged-count": acknowledged,
        "duplicated-count": repeated.len(),
        "duplicated": shown,
        "range": range,
    }));
    let first = repeated.first();
    let cause = first.map(|(id, count)| format!("the id {id} came {count} times"));
    WorkloadResults::new(valid, maelstrom_valid, fields).because(cause)
}

/// Maelstrom's verdict: numbers with a fraction or an exponent are equal if they are as doubles, and
/// ids that cannot be compared with each other break its search for the lowest and the highest.
fn as_maelstrom(history: &History) -> Verdict {
    let ok = history.client_ops().filter(|op| op.kind == OpType::Ok);
    let ids: Vec<&RawValue> = ok.filter_map(|op| op.value.as_deref()).collect();
    let kinds: BTreeSet<Kind> = ids.iter().map(|id| kind(id)).collect();
    let comparable =
        !kinds.contains(&Kind::Object) && kinds.iter().filter(|k| **k != Kind::Null).count() <= 1;
    if ids.len() > 1 && !comparable {
        return Verdict::Unknown;
    }
    let distinct: BTreeSet<String> = ids.iter().map(|id| canonical(id)).collect();
    Verdict::invalid_if(distinct.len() < ids.len())
}

/// What an id can be compared with.
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

/// One text for all ways to write a value down: an object's order of keys, a string's escapes and
/// blanks make no other id. Numbers stay as they came, with all their digits.
fn name(id: &RawValue) -> String {
    if kind(id) == Kind::Number { id.get().to_owned() } else { canonical(id) }
}
