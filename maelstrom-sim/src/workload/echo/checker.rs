//! Checks that every reply equals its request. As in Maelstrom, an echo that a node refused is an
//! error, but an echo with an unknown outcome is not.

use serde_json::{Value, json};

use crate::checker::{Verdict, WorkloadResults, object};
use crate::excerpt::excerpt;
use crate::history::{History, Op, OpType};
use crate::json::{canonical, to_value};

/// Judges the history of an `echo` test. The example of
/// [`unique_ids::check`](crate::workload::unique_ids::check) shows how to call it.
#[must_use]
pub fn check(history: &History) -> WorkloadResults {
    let mut answers: Vec<Option<&Op>> = vec![None; history.ops().len()];
    for op in history.client_ops() {
        if let Some(slot) = op.invocation.and_then(|index| answers.get_mut(index)) {
            *slot = Some(op);
        }
    }
    let (mut errors, mut evidence) = (Vec::new(), Vec::new());
    for op in history.client_ops().filter(|op| op.kind == OpType::Invoke) {
        let answer = answers.get(op.index).copied().flatten();
        match answer {
            Some(answer) if answer.kind == OpType::Ok && text(answer) != text(op) => {
                errors.push(json!({ "expected": shown(op), "received": shown(answer) }));
                evidence.push(answer.index);
            }
            Some(answer) if answer.kind == OpType::Fail => {
                errors.push(json!({ "expected": shown(op), "error": answer.error }));
                evidence.push(answer.index);
            }
            _ => {}
        }
    }
    let valid = Verdict::invalid_if(!errors.is_empty());
    let first = errors.first();
    let cause = first
        .map(|error| excerpt(&error.to_string()))
        .map(|error| format!("{} echos were refused or differ, such as {error}", errors.len()));
    WorkloadResults::new(valid, valid, object(json!({ "errors": errors })))
        .because(cause)
        .proved_by(evidence)
}

fn shown(op: &Op) -> Option<Value> {
    op.value.as_deref().map(|raw| to_value(raw.get()))
}

fn text(op: &Op) -> Option<String> {
    op.value.as_deref().map(canonical)
}
