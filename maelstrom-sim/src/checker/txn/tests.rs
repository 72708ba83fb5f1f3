//! Hand-written histories: for each anomaly one history that has it, and near misses that do not.

mod headlines;
mod lists;
mod million;
mod models;
mod properties;
mod scale;

pub(super) use self::models::IMPLIED;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Data, Model, Transactions, Trust, any_reply, check, check_lists};
use crate::checker::{Verdict, WorkloadResults};
use crate::history::{History, Op, OpType, Process};

/// Parses a history from lines of `process type micro-ops`. `ok`, `fail`, `info` and `final` begin
/// and end a transaction. `begin` only begins one, and `end` ends it. A micro-op is `x=1` for a
/// write and `x?1` for a read; `x?` reads null.
fn history(text: &str) -> History {
    history_of(text, micro_op)
}

fn history_of(text: &str, micro_op: impl Fn(&str) -> Value) -> History {
    let mut history = History::default();
    let mut open: BTreeMap<u64, (usize, Value)> = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let process: u64 = words.next().unwrap().parse().unwrap();
        let what = words.next().unwrap();
        let ops: Vec<Value> = words.map(&micro_op).collect();
        if what == "end" {
            let (begun, txn) = open.remove(&process).unwrap();
            push(&mut history, process, OpType::Ok, &txn, Some(begun), false);
            continue;
        }
        let is_final = what == "final";
        let asked: Value = ops.iter().map(asked).collect();
        let begun = push(&mut history, process, OpType::Invoke, &asked, None, is_final);
        let kind = match what {
            "begin" => {
                open.insert(process, (begun, ops.into()));
                continue;
            }
            "ok" | "final" => OpType::Ok,
            "fail" => OpType::Fail,
            "info" => OpType::Info,
            other => panic!("{other}"),
        };
        let value = if kind == OpType::Ok { ops.into() } else { asked };
        push(&mut history, process, kind, &value, Some(begun), is_final);
    }
    history
}

fn push(
    history: &mut History,
    process: u64,
    kind: OpType,
    value: &Value,
    invocation: Option<usize>,
    is_final: bool,
) -> usize {
    let value = serde_json::value::to_raw_value(value).ok();
    let op = Op::new(Process::Client(process), kind, "txn");
    history.push(Op { value, invocation, is_final, ..op })
}

fn micro_op(text: &str) -> Value {
    let value = |text: &str| text.parse::<u64>().map_or(Value::Null, Value::from);
    match text.split_once('=') {
        Some((key, text)) => json!(["w", key, value(text)]),
        None => {
            let (key, text) = text.split_once('?').unwrap();
            json!(["r", key, value(text)])
        }
    }
}

fn asked(op: &Value) -> Value {
    if op[0] == "r" { json!(["r", op[1], null]) } else { op.clone() }
}

fn judge(model: Model, history: &History) -> WorkloadResults {
    judge_as(model, history, Data::Registers)
}

fn judge_as(model: Model, history: &History, data: Data) -> WorkloadResults {
    let all = Transactions::of(history, data, Trust::OwnRequest);
    let any_reply = any_reply(&all);
    let results = super::judge(&all, any_reply.as_ref().unwrap_or(&all), &BTreeSet::from([model]));
    for name in results.fields["anomaly-types"].as_array().unwrap() {
        assert!(super::meaning::of(name.as_str().unwrap()).is_some(), "{name} has no meaning");
    }
    results
}

/// The anomalies that a model finds.
fn anomalies(model: Model, text: &str) -> Vec<String> {
    let results = judge(model, &history(text));
    let names: Vec<String> =
        serde_json::from_value(results.fields["anomaly-types"].clone()).unwrap();
    assert_eq!(results.valid, Verdict::invalid_if(!names.is_empty()));
    names
}

/// Checks that exactly these of the usual models find exactly these anomalies. Also checks that a
/// stronger model has a finding if a weaker one does.
#[track_caller]
fn expect(text: &str, found: &[(Model, &[&str])]) {
    let found: BTreeMap<Model, &[&str]> = found.iter().copied().collect();
    for model in USUAL {
        let expected = found.get(&model).copied().unwrap_or_default();
        assert_eq!(anomalies(model, text), expected, "{model:?}");
    }
    for (strong, weaker) in IMPLIED {
        let weak = weaker.iter().find(|weak| !anomalies(**weak, text).is_empty());
        let holds = weak.is_none() || !anomalies(*strong, text).is_empty();
        assert!(holds, "{strong:?} finds nothing, {weak:?} does");
    }
    if found.is_empty() {
        Model::ALL
            .iter()
            .for_each(|model| assert!(anomalies(*model, text).is_empty(), "{model:?}"));
    }
}

use Model::{
    CausalCerone as Causal, MonotonicAtomicView as Mav, ReadAtomic as Ra, ReadCommitted as Rc,
    ReadUncommitted as Ru, RepeatableRead as Rr, Serializable as Ser, SnapshotIsolation as Si,
    StrictSerializable as Strict,
};

/// The models that most hand-written histories use, weaker ones first.
const USUAL: [Model; 9] = [Ru, Rc, Mav, Ra, Causal, Si, Rr, Ser, Strict];

/// All models but the weakest.
fn above_ru(names: &'static [&'static str]) -> Vec<(Model, &'static [&'static str])> {
    USUAL.into_iter().skip(1).map(|model| (model, names)).collect()
}

fn everywhere(names: &'static [&'static str]) -> Vec<(Model, &'static [&'static str])> {
    USUAL.into_iter().map(|model| (model, names)).collect()
}

#[test]
fn maelstrom_does_not_judge_keys_of_several_types() {
    let mut history = History::default();
    let begun = push(&mut history, 1, OpType::Invoke, &json!([["w", 1, 1]]), None, false);
    push(&mut history, 1, OpType::Ok, &json!([["w", "1", 1]]), Some(begun), false);
    let begun = push(&mut history, 1, OpType::Invoke, &json!([["r", 1, null]]), None, false);
    push(&mut history, 1, OpType::Ok, &json!([["r", "1", 1]]), Some(begun), false);
    let results = check(&history, &BTreeSet::from([Strict]));
    assert_eq!((results.valid, results.maelstrom_valid), (Verdict::Invalid, Verdict::Unknown));
    assert_eq!(results.fields["key-types"], json!(["integer", "text"]));
}

#[test]
fn transactions_one_after_the_other_are_fine() {
    expect(
        "1 ok x? x=1 y=1
         2 ok x?1 y?1 y=2 y?2
         1 ok y?2 x=2
         3 ok x?2 y?2",
        &[],
    );
}

#[test]
fn writes_that_follow_each_other_in_circles_are_g0() {
    let cycle = "1 begin x?1 x=2 y=1
                 2 begin y?1 y=2 x=1
                 1 end
                 2 end";
    assert_eq!(anomalies(Ru, cycle), ["G0"]);
    assert!(anomalies(Rc, cycle).contains(&"G0".to_owned()));
    // Only one of the orders is known.
    let near = "1 begin x?1 x=2 y=1
                2 begin y=2 x=1
                1 end
                2 end";
    expect(near, &[]);
}

#[test]
fn reading_the_write_of_a_failed_transaction_is_g1a() {
    expect(
        "1 begin x?1
         2 fail x=1
         1 end",
        &above_ru(&["G1a"]),
    );
    // The failure was known before the read, so it was not a failure.
    assert_eq!(anomalies(Ru, "2 fail x=1\n 1 ok x?1"), ["false-failure"]);
    // A transaction with an unknown outcome may have happened.
    expect("2 info x=1\n 1 ok x?1", &[]);
    expect("2 fail x=1\n 1 ok x?", &[]);
}

#[test]
fn reading_a_value_that_its_writer_overwrote_is_g1b() {
    let found = anomalies(Rc, "1 begin x=1 x=2\n 2 ok x?1\n 1 end");
    assert_eq!(found, ["G1b"]);
    assert!(anomalies(Ru, "1 begin x=1 x=2\n 2 ok x?1\n 1 end").is_empty());
    expect("1 ok x=1 x?1 x=2\n 2 ok x?2", &[]);
}

#[test]
fn information_that_flows_in_circles_is_g1c() {
    let text = "1 begin x=1 y?1
                2 begin y=1 x?1
                1 end
                2 end";
    expect(text, &above_ru(&["G1c"]));
    expect("1 begin x=1 y?\n 2 begin y=1 x?1\n 1 end\n 2 end", &[]);
}

#[test]
fn a_read_that_contradicts_its_own_transaction_is_internal() {
    for text in ["1 ok x=1 x?", "1 ok x=1\n 2 ok x? x?1 "] {
        for model in [Ra, Causal, Si, Rr, Ser, Strict] {
            assert!(anomalies(model, text).contains(&"internal".to_owned()), "{model:?} {text}");
        }
        for model in [Ru, Rc, Mav] {
            assert!(anomalies(model, text).is_empty(), "{model:?} {text}");
        }
    }
    expect("1 ok x=1 x?1 x=2 x?2", &[]);
    assert_eq!(anomalies(Rc, "1 ok x?1 x=1"), ["future-read"]);
}

#[test]
fn values_that_nobody_wrote_and_replies_to_something_else_are_found_under_every_model() {
    expect("1 ok x?7", &everywhere(&["phantom-read"]));
    let mut history = History::default();
    let asked = json!([["r", 1, null], ["w", 2, 5]]);
    for got in [
        json!([["r", 1, null]]),
        json!([["r", 2, null], ["w", 2, 5]]),
        json!([["r", 1, null], ["w", 2, 6]]),
        json!([["w", 2, 5], ["r", 1, null]]),
    ] {
        let begun = push(&mut history, 1, OpType::Invoke, &asked, None, false);
        push(&mut history, 1, OpType::Ok, &got, Some(begun), false);
        let results = judge(Ru, &history);
        assert_eq!(results.fields["anomaly-types"], json!(["altered-transaction"]), "{got}");
        history = History::default();
    }
    let begun = push(&mut history, 1, OpType::Invoke, &asked, None, false);
    push(&mut history, 1, OpType::Ok, &asked, Some(begun), false);
    assert_eq!(judge(Strict, &history).valid, Verdict::Valid);
}

#[test]
fn a_value_that_is_written_twice_leaves_the_verdict_open() {
    let results = judge(Ru, &history("1 ok x=1\n 2 ok x=1"));
    assert_eq!(results.valid, Verdict::Unknown);
    assert_eq!(results.fields["written-twice"], json!(["\"x\" = 1"]));
}

#[test]
fn two_updates_of_the_same_version_are_a_lost_update() {
    for read in ["x?", "x?7"] {
        let text = format!(
            "3 ok x=7
             1 begin {read} x=1
             2 begin {read} x=2
             1 end
             2 end"
        );
        for model in [Si, Rr, Ser, Strict] {
            assert!(anomalies(model, &text).contains(&"lost-update".to_owned()), "{model:?}");
        }
        for model in [Ru, Rc, Mav, Ra] {
            assert!(anomalies(model, &text).is_empty(), "{model:?}");
        }
    }
    expect("1 ok x? x=1\n 2 ok x?1 x=2", &[]);
    // One of them never happened.
    expect("1 fail x? x=1\n 2 ok x? x=2", &[]);
}

#[test]
fn two_that_each_miss_the_others_write_are_write_skew() {
    let skew = "1 begin x? y=1
                2 begin y? x=1
                1 end
                2 end";
    expect(skew, &[(Rr, &["G2-item"]), (Ser, &["G2-item"]), (Strict, &["G2-item"])]);
    expect("1 begin x? y=1\n 2 begin y?1 x=1\n 1 end\n 2 end", &[]);
}

#[test]
fn a_read_between_two_writes_of_a_transaction_is_read_skew() {
    // The second transaction sees the effect of the first through the third, but not its write.
    let text = "1 begin x? x=1 y=1
                3 begin y?1 z=1
                2 begin z?1 x?
                1 end
                3 end
                2 end";
    assert_eq!(anomalies(Ser, text), ["G-single"]);
    assert_eq!(anomalies(Si, text), ["G-single"]);
    assert_eq!(anomalies(Causal, text), ["causal-violation"]);
    assert!(anomalies(Ra, text).is_empty());
}

#[test]
fn anti_dependencies_that_do_not_follow_each_other_break_snapshots() {
    // A long fork: two readers see two independent writes in different orders.
    let fork = "1 begin x=1
                2 begin y=1
                3 begin x?1 y?
                4 begin y?1 x?
                1 end
                2 end
                3 end
                4 end";
    expect(
        fork,
        &[
            (Si, &["G-nonadjacent"]),
            (Rr, &["G-nonadjacent"]),
            (Ser, &["G-nonadjacent"]),
            (Strict, &["G-nonadjacent"]),
        ],
    );
    expect(&fork.replace("4 begin y?1 x?", "4 begin y?1 x?1"), &[]);
}

#[test]
fn seeing_one_half_of_a_transaction_and_then_not_the_other_breaks_the_view() {
    let halves = "1 begin x=1 y=1\n 2 ok x?1 y?\n 1 end";
    assert_eq!(anomalies(Mav, halves), ["non-atomic-view"]);
    assert_eq!(anomalies(Causal, halves), ["non-atomic-view"]);
    assert!(anomalies(Rc, halves).is_empty());
    // In the other order, the writer may have run between the reads.
    let before = "1 begin x=1 y=1\n 2 ok y? x?1\n 1 end";
    assert!(anomalies(Mav, before).is_empty());
    assert_eq!(anomalies(Ra, before), ["fractured-read"]);
    // The version that was read instead is, or may be, newer.
    let newer = "1 ok x=1 y=1\n 3 ok y?1 y=2\n 2 ok x?1 y?2";
    expect(newer, &[]);
    assert!(anomalies(Ra, "3 ok y=2\n 1 ok x=1 y=1\n 2 ok x?1 y?2").is_empty());
}

#[test]
fn two_that_see_two_transactions_in_different_orders_are_fractured() {
    let text = "1 begin x=1 y=1 z=1
                2 begin x=2 y=2 w=2
                3 ok z?1 w?2 x?1
                4 ok z?1 w?2 y?2
                1 end
                2 end";
    assert_eq!(anomalies(Mav, text), ["non-atomic-view"]);
    assert!(anomalies(Rc, text).is_empty());
    expect(&text.replace("y?2", "y?1"), &[]);
}

#[test]
fn a_session_that_goes_back_reads_non_monotonically() {
    for text in [
        "1 begin x? x=1\n 2 ok x?1\n 2 ok x?\n 1 end",
        "1 begin x=1\n 3 begin x?1 x=2\n 2 ok x?2\n 2 ok z?\n 2 ok x?1\n 1 end\n 3 end",
        // The order is unknown, but two sessions see opposite orders.
        "1 begin x=1\n 2 begin x=2\n 3 ok x?1\n 4 ok x?2\n 3 ok x?2\n 4 ok x?1\n 1 end\n 2 end",
    ] {
        assert_eq!(anomalies(Causal, text), ["non-monotonic-read"], "{text}");
        assert!(anomalies(Ser, text).is_empty(), "{text}");
        assert!(!anomalies(Strict, text).is_empty(), "{text}");
    }
    // Another session may be behind. Versions without a known order may come in any order.
    assert!(anomalies(Causal, "1 ok x? x=1\n 2 ok x?1\n 3 ok x?").is_empty());
    assert!(anomalies(Causal, "1 ok x=1\n 2 ok x=2\n 3 ok x?1\n 3 ok x?2").is_empty());
}

#[test]
fn a_session_that_does_not_see_its_own_write_has_lost_it() {
    for text in ["1 ok x=1\n 1 ok x?", "2 ok x=1\n 1 ok x?1 x=2\n 1 ok y?\n 1 ok x?1"] {
        assert_eq!(anomalies(Causal, text), ["lost-own-write"], "{text}");
        assert!(anomalies(Ser, text).is_empty(), "{text}");
    }
    assert!(anomalies(Causal, "1 ok x=1\n 2 ok x?1 x=2\n 1 ok x?2").is_empty());
    assert!(anomalies(Causal, "1 ok x=1\n 2 ok x=2\n 1 ok x?2").is_empty());
    // After an unknown outcome it is another session.
    assert!(anomalies(Causal, "1 info x=1\n 2 ok x?1\n 6 ok x?").is_empty());
}

#[test]
fn an_effect_without_its_cause_is_a_causal_violation() {
    let text = "1 ok x=1\n 2 ok x?1\n 2 ok y=1\n 3 ok y?1\n 3 ok x?";
    assert_eq!(anomalies(Causal, text), ["causal-violation"]);
    assert!(anomalies(Ra, text).is_empty());
    assert!(anomalies(Causal, &text.replace("3 ok x?", "4 ok x?")).is_empty());
    assert!(anomalies(Causal, &text.replace("2 ok x?1", "5 ok x?1")).is_empty());
}

#[test]
fn a_transaction_that_begins_after_a_write_has_ended_must_see_it() {
    let found = anomalies(Strict, "1 ok x=1\n 2 ok x?");
    assert_eq!(found, ["stale-read-realtime"]);
    assert!(anomalies(Ser, "1 ok x=1\n 2 ok x?").is_empty());
    expect("1 begin x=1\n 2 ok x?\n 1 end", &[]);
    // Only real time gives an order.
    let stale = "1 ok x=1\n 2 ok x=2\n 3 ok x?1";
    assert_eq!(anomalies(Strict, stale), ["stale-read-realtime"]);
    expect("1 begin x=1\n 2 ok x=2\n 1 end\n 3 ok x?1", &[]);
    // A transaction with an unknown outcome may happen late.
    expect("1 info x=1\n 2 ok x?\n 2 ok x?1", &[]);
}

#[test]
fn final_transactions_that_differ_are_a_divergence() {
    let found = everywhere(&["divergence"]);
    let text = "1 begin x=1\n 2 begin x=2\n 1 end\n 2 end\n 1 final x?1 y?\n 2 final x?2 y?";
    for (model, names) in found.iter().filter(|(model, _)| *model != Strict) {
        assert_eq!(anomalies(*model, text), *names, "{model:?}");
    }
    assert!(anomalies(Causal, &text.replace("final x?1", "final x?2")).is_empty());
}

#[test]
fn a_write_that_is_gone_in_the_end_is_lost() {
    assert_eq!(anomalies(Ru, "1 ok x=1\n 3 final x?\n 2 final x?"), ["lost-write"]);
    assert_eq!(anomalies(Ru, "1 ok x=1\n 2 ok x?1 x=2\n 3 final x?1"), ["lost-write"]);
    for near in
        ["1 ok x=1\n 2 ok x=2\n 3 final x?1", "1 info x=1\n 3 final x?", "1 fail x=1\n 3 final x?"]
    {
        assert!(anomalies(Causal, near).is_empty(), "{near}");
    }
}

#[test]
fn a_final_transaction_without_an_answer_leaves_the_verdict_open() {
    let mut history = history("1 ok x=1\n 2 final x?1");
    push(&mut history, 3, OpType::Invoke, &json!([["r", "x", null]]), None, true);
    let results = judge(Causal, &history);
    assert_eq!(results.valid, Verdict::Unknown);
    assert_eq!(results.fields["unanswered-final-count"], 1);
}

#[test]
fn a_cycle_is_told_with_its_operations_and_in_words() {
    let results = judge(Causal, &history("1 ok x? x=1 y=1\n 2 ok y?1 z=1\n 3 ok z?1 x?"));
    let example = &results.fields["anomalies"]["causal-violation"][0];
    let words: Vec<&str> =
        example["cycle"].as_array().unwrap().iter().map(|step| step.as_str().unwrap()).collect();
    assert_eq!(
        words,
        [
            "op 1 wrote \"x\" = 1, which came before \"x\" = null of the initial state, since op 5 \
             read \"x\" = null though it must have seen \"x\" = 1: it depends on its writer",
            "the initial state wrote \"x\" = null, which came before \"x\" = 1 of op 1",
        ]
    );
    assert_eq!(example["ops"][0]["index"], 1);
}
