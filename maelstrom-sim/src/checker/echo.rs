//! Every reply equals its request. An echo that brought no reply is an error as well, as it is for
//! Maelstrom.

use serde_json::{Value, json};

use super::{Verdict, WorkloadResults, object};
use crate::history::{History, Op, OpType};

/// Judges the history of an `echo` test.
#[must_use]
pub fn check(history: &History) -> WorkloadResults {
    let mut answers: Vec<Option<&Op>> = vec![None; history.ops().len()];
    for op in history.client_ops() {
        if let Some(slot) = op.invocation.and_then(|index| answers.get_mut(index)) {
            *slot = Some(op);
        }
    }
    let mut errors = Vec::new();
    for op in history.client_ops().filter(|op| op.kind == OpType::Invoke) {
        let answer = answers.get(op.index).copied().flatten();
        let echoed = answer.filter(|answer| answer.kind == OpType::Ok).and_then(parsed);
        if echoed.is_none() || echoed != parsed(op) {
            let received =
                answer.map(|answer| json!({ "value": parsed(answer), "error": answer.error }));
            errors.push(json!({ "expected": parsed(op), "received": received }));
        }
    }
    let valid = Verdict::invalid_if(!errors.is_empty());
    WorkloadResults { valid, fields: object(json!({ "errors": errors })) }
}

fn parsed(op: &Op) -> Option<Value> {
    serde_json::from_str(op.value.as_ref()?.get()).ok()
}
