//! Judges registers: each key by itself must be linearizable.
//!
//! Stricter than Maelstrom: a read of null fits a key that does not exist, and nothing else. For
//! Maelstrom's model it fits anywhere.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::checker::headline::short;
use crate::checker::linearizable::{
    Explanation, Limits, Operation, Outcome, Parts, Register, RegisterOp, check_by_key,
};
use crate::checker::{Verdict, WorkloadResults};
use crate::history::{History, Op, OpType};
use crate::json::{canonical, to_value};

/// How many keys that are not linearizable are shown.
const SHOWN_MAX: usize = 8;

/// A value in its canonical form.
type Text = String;

/// An operation of a key.
type Keyed = (Text, Operation<RegisterOp<Text>>);

/// Judges the history of a `lin-kv` test.
#[must_use]
pub fn check(history: &History) -> WorkloadResults {
    let (ops, indexes): (Vec<Keyed>, Vec<usize>) = operations(history).into_iter().unzip();
    let model = Register::new();
    let parts = check_by_key(&model, ops.iter().cloned(), Limits::default());
    let valid = verdict(&parts);
    let is_null_read = |op: &Keyed| op.1.op == RegisterOp::Read(None);
    let maelstrom_valid = if valid != Verdict::Valid && ops.iter().any(is_null_read) {
        let others = ops.iter().filter(|op| !is_null_read(op)).cloned();
        verdict(&check_by_key(&model, others, Limits::default()))
    } else {
        valid
    };
    let cause = parts.first_error().map(|(key, explanation)| {
        format!("key {} is not linearizable: {}", short(key), first_line(explanation))
    });
    let unknown = || {
        let (key, reason) = parts.by_key.iter().find_map(|(key, outcome)| match outcome {
            Outcome::Unknown(reason) => Some((key, reason)),
            _ => None,
        })?;
        Some(format!("whether key {} is linearizable is unknown: {reason}", short(key)))
    };
    let cause = cause.or_else(unknown);
    WorkloadResults::new(valid, maelstrom_valid, fields(&parts, history, &indexes)).because(cause)
}

fn first_line(explanation: &Explanation) -> String {
    explanation.to_string().lines().next().unwrap_or_default().to_owned()
}

fn verdict(parts: &Parts<Text>) -> Verdict {
    match parts.is_linearizable() {
        Some(linearizable) => Verdict::invalid_if(!linearizable),
        None => Verdict::Unknown,
    }
}

/// The keys that are not linearizable, and why.
fn fields(parts: &Parts<Text>, history: &History, indexes: &[usize]) -> Map<String, Value> {
    let bad = parts.by_key.iter().filter(|(_, outcome)| !outcome.is_linearizable());
    let failures: Vec<Value> = bad.clone().map(|(key, _)| to_value(key)).collect();
    let results = bad.take(SHOWN_MAX).map(|(key, outcome)| {
        let place = match outcome {
            Outcome::NotLinearizable(explanation) => indexes.get(explanation.operation),
            Outcome::Linearizable { .. } | Outcome::Unknown(_) => None,
        };
        let result = json!({
            "valid?": if outcome.is_not_linearizable() { json!(false) } else { json!("unknown") },
            "explanation": outcome.to_string().lines().collect::<Vec<_>>(),
            "op": place.and_then(|at| history.ops().get(*at)),
        });
        (key.clone(), result)
    });
    let mut fields = Map::new();
    fields.insert("key-count".into(), json!(parts.by_key.len()));
    fields.insert("results".into(), Value::Object(results.collect()));
    fields.insert("failures".into(), json!(failures));
    fields
}

/// The operations that happened or may have, with the index of their end (or beginning, if they have
/// no end).
fn operations(history: &History) -> Vec<(Keyed, usize)> {
    let mut ends: BTreeMap<usize, &Op> = BTreeMap::new();
    for op in history.client_ops() {
        if let Some(invocation) = op.invocation {
            ends.insert(invocation, op);
        }
    }
    let begins = history.client_ops().filter(|op| op.kind == OpType::Invoke);
    begins.filter_map(|begin| operation(begin, ends.get(&begin.index).copied())).collect()
}

fn operation(begin: &Op, end: Option<&Op>) -> Option<(Keyed, usize)> {
    let kind = end.map_or(OpType::Info, |end| end.kind);
    let told = match (kind, begin.f) {
        (OpType::Fail, _) | (OpType::Info, "read") => return None,
        (OpType::Ok, "read") => end?,
        _ => begin,
    };
    let (key, value): (&RawValue, &RawValue) =
        serde_json::from_str(told.value.as_ref()?.get()).ok()?;
    let op = match begin.f {
        "read" => RegisterOp::Read((value.get() != "null").then(|| canonical(value))),
        "write" => RegisterOp::Write(canonical(value)),
        _ => {
            let (from, to): (&RawValue, &RawValue) = serde_json::from_str(value.get()).ok()?;
            RegisterOp::Cas { from: Some(canonical(from)), to: canonical(to) }
        }
    };
    let returned = (kind == OpType::Ok).then_some(end?.index as u64);
    let index = end.map_or(begin.index, |end| end.index);
    let op = Operation { op, call: begin.index as u64, returned };
    Some(((canonical(key), op), index))
}
