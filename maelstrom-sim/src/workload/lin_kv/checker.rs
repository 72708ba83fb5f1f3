//! Checks registers: each key by itself must be linearizable.
//!
//! Stricter than Maelstrom: a read of null is legal only for a key that does not exist. In
//! Maelstrom's model it is always legal.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::checker::headline::short;
use crate::checker::linearizable::{
    Explanation, Limits, Operation, Outcome, Parts, Register, RegisterOp, check_by_key,
};
use crate::checker::{Verdict, WorkloadResults};
use crate::history::{History, Op, OpType};
use crate::json::{canonical, to_value};

/// How many keys that are not linearizable the results show.
const SHOWN_MAX: usize = 8;

/// How many operations before the one that cannot be linearized are part of the evidence.
const BEFORE: usize = 3;

/// A value in its canonical form. Shown to people without quotes around it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Text(String);

impl Text {
    fn of(raw: &RawValue) -> Self {
        Self(canonical(raw))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&short(&self.0))
    }
}

/// An operation with its key.
type Keyed = (Text, Operation<RegisterOp<Text>>);

/// Judges the history of a `lin-kv` test. The example of
/// [`unique_ids::check`](crate::workload::unique_ids::check) shows how to call it.
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
        format!("key {} is not linearizable: {}", short(&key.0), explanation.headline())
    });
    let unknown = || {
        let (key, reason) = parts.by_key.iter().find_map(|(key, outcome)| match outcome {
            Outcome::Unknown(reason) => Some((key, reason)),
            _ => None,
        })?;
        Some(format!("whether key {} is linearizable is unknown: {reason}", short(&key.0)))
    };
    let cause = cause.or_else(unknown);
    let lines = parts.first_error().map(|(_, explanation)| explanation.to_string());
    let lines: Vec<String> =
        lines.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    let evidence = parts.first_error().map(|(_, explanation)| evidence(explanation));
    let evidence = evidence.into_iter().flatten().filter_map(|at| indexes.get(at).copied());
    WorkloadResults::new(valid, maelstrom_valid, fields(&parts, history, &indexes))
        .because(cause)
        .explained_by(lines)
        .proved_by(evidence)
}

/// The operation that cannot be linearized, the last ones before it, and the concurrent ones.
fn evidence(explanation: &Explanation) -> impl Iterator<Item = usize> {
    let Explanation { operation, prefix, window, .. } = explanation;
    let last = prefix.iter().rev().take(BEFORE);
    std::iter::once(*operation).chain(last.chain(window).copied())
}

fn verdict(parts: &Parts<Text>) -> Verdict {
    match parts.is_linearizable() {
        Some(linearizable) => Verdict::invalid_if(!linearizable),
        None => Verdict::Unknown,
    }
}

/// The keys that are not linearizable, each with an explanation.
fn fields(parts: &Parts<Text>, history: &History, indexes: &[usize]) -> Map<String, Value> {
    let bad = parts.by_key.iter().filter(|(_, outcome)| !outcome.is_linearizable());
    let failures: Vec<Value> = bad.clone().map(|(key, _)| to_value(&key.0)).collect();
    let results = bad.take(SHOWN_MAX).map(|(key, outcome)| {
        let place = match outcome {
            Outcome::NotLinearizable(explanation) => indexes.get(explanation.operation),
            Outcome::Linearizable { .. } | Outcome::Unknown(_) => None,
        };
        let result = json!({
            "valid?": if outcome.is_not_linearizable() { json!(false) } else { json!("unknown") },
            "explanation": outcome.to_string().lines().collect::<Vec<_>>(),
            "op": place.and_then(|at| history.ops().get(*at)).map(shown),
        });
        (key.0.clone(), result)
    });
    let mut fields = Map::new();
    fields.insert("key-count".into(), json!(parts.by_key.len()));
    fields.insert("results".into(), Value::Object(results.collect()));
    fields.insert("failures".into(), json!(failures));
    fields
}

fn shown(op: &Op) -> Value {
    json!({
        "index": op.index,
        "process": op.process,
        "type": op.kind,
        "f": op.f,
        "value": op.value.as_ref().map(|raw| to_value(raw.get())),
    })
}

/// The operations that happened or may have happened, each with the index of its end (or of its
/// invocation, if it has no end).
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
        "read" => RegisterOp::Read((value.get() != "null").then(|| Text::of(value))),
        "write" => RegisterOp::Write(Text::of(value)),
        _ => {
            let (from, to): (&RawValue, &RawValue) = serde_json::from_str(value.get()).ok()?;
            RegisterOp::Cas { from: Some(Text::of(from)), to: Text::of(to) }
        }
    };
    let returned = (kind == OpType::Ok).then_some(end?.index as u64);
    let index = end.map_or(begin.index, |end| end.index);
    let op = Operation { op, call: begin.index as u64, returned };
    Some(((Text::of(key), op), index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tests::history;

    fn verdicts(text: &str) -> (Verdict, Verdict) {
        let results = check(&history(text));
        (results.valid, results.maelstrom_valid)
    }

    #[test]
    fn a_stale_read_is_found_and_named() {
        let text = "0 1 invoke write [7,1]
                    1 1 ok write [7,1]
                    2 1 invoke cas [7,[1,2]]
                    3 1 ok cas [7,[1,2]]
                    4 2 invoke read [7,null]
                    5 2 ok read [7,1]";
        assert_eq!(verdicts(text), (Verdict::Invalid, Verdict::Invalid));
        let results = check(&history(text));
        let cause = results.cause.unwrap();
        assert!(cause.starts_with("key 7 is not linearizable: read 1 "), "{cause}");
        assert_eq!(results.fields["failures"], json!([7]));
        assert_eq!(results.fields["results"]["7"]["op"]["index"], 5);
    }

    #[test]
    fn keys_are_judged_apart_and_failed_operations_did_not_happen() {
        let good = "0 1 invoke write [7,1]
                    1 1 ok write [7,1]
                    2 1 invoke write [8,2]
                    3 1 ok write [8,2]
                    4 2 invoke cas [7,[1,5]]
                    5 2 fail cas [7,[1,5]]
                    6 2 invoke read [7,null]
                    7 2 ok read [7,1]";
        assert_eq!(verdicts(good), (Verdict::Valid, Verdict::Valid));
        let refused = good.replace("ok read [7,1]", "ok read [7,5]");
        assert_eq!(verdicts(&refused), (Verdict::Invalid, Verdict::Invalid));
        let unknown = refused.replace("fail cas", "info cas");
        assert_eq!(verdicts(&unknown), (Verdict::Valid, Verdict::Valid));
    }

    #[test]
    fn null_fits_a_key_without_a_value_and_for_maelstrom_any() {
        let read = "0 2 invoke read [7,null]\n1 2 ok read [7,null]";
        assert_eq!(verdicts(read), (Verdict::Valid, Verdict::Valid));
        let late = format!("0 1 invoke write [7,1]\n0 1 ok write [7,1]\n{read}");
        assert_eq!(verdicts(&late), (Verdict::Invalid, Verdict::Valid));
    }
}
