//! No id comes twice. After Jepsen's `unique-ids`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Verdict, WorkloadResults, object};
use crate::history::{History, OpType};

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
                let id = op.value.as_ref().map_or_else(|| "null".into(), |raw| name(raw.get()));
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
    let fields = object(json!({
        "attempted-count": attempted,
        "acknowledged-count": acknowledged,
        "duplicated-count": repeated.len(),
        "duplicated": shown,
        "range": range,
    }));
    WorkloadResults { valid, fields }
}

/// One text for all ways to write a value down: an object's order of keys, a string's escapes and
/// blanks make no other id. Numbers stay as they came, with all their digits.
fn name(json: &str) -> String {
    if json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return json.to_owned();
    }
    serde_json::from_str::<Value>(json).map_or_else(|_| json.to_owned(), |value| value.to_string())
}
