//! Measures how long the checkers take for long histories.
//!
//! The relevant figures are those of `cargo test --release`, with 100,000 operations.

use super::*;

const OPS: u64 = if cfg!(debug_assertions) { 2_000 } else { 100_000 };

/// A history of ten processes that take turns, from functions, arguments and results.
fn long<'a>(ops: impl Iterator<Item = (&'static str, Option<String>, Option<&'a str>)>) -> History {
    let mut history = History::default();
    for (at, (f, argument, result)) in (0u64..).zip(ops) {
        let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
        let time = Duration::from_millis(at);
        let value = argument.as_deref().map(raw);
        let begin = Op::new(Process::Client(at % 10), OpType::Invoke, f);
        let begin = Op { time, value: value.clone(), ..begin };
        let invocation = Some(history.push(begin.clone()));
        let value = result.map(raw).or(value);
        history.push(Op { kind: OpType::Ok, value, invocation, ..begin });
    }
    history
}

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "this is about real time")]
fn is_judged_in_time(
    name: &str,
    history: &History,
    expected: Verdict,
    check: impl Fn(&History) -> WorkloadResults,
) {
    let started = std::time::Instant::now();
    let results = check(history);
    let elapsed = started.elapsed();
    println!("{name}: {} operations in {elapsed:?}", history.ops().len() / 2);
    assert_eq!(results.valid, expected, "{name}");
    assert!(elapsed < Duration::from_secs(10), "{name}: {elapsed:?}");
}

/// Adds. Every `nth` operation is instead a read that shows the adds of the last `window`
/// operations.
fn set(nth: u64, window: u64) -> History {
    let lists: Vec<String> = (0..OPS)
        .map(|at| {
            let shown = (at.saturating_sub(window)..at).filter(|value| value % nth != 0);
            let shown: Vec<u64> = if at % nth == 0 { shown.collect() } else { Vec::new() };
            json!(shown).to_string()
        })
        .collect();
    long((0..OPS).zip(&lists).map(|(at, list)| match at % nth {
        0 => ("read", None, Some(list.as_str())),
        _ => ("broadcast", Some(at.to_string()), None),
    }))
}

#[test]
fn a_long_history_of_a_set_is_judged_in_seconds() {
    let check = |history: &History| set_full::check(history, "broadcast");
    // Reads become longer and longer: 10,000,000 values in all.
    let whole = set(500, u64::MAX);
    is_judged_in_time("broadcast, 0.2 % reads of all", &whole, Verdict::Valid, check);
    // There are as many reads as adds, and reads have a bounded length. So added values disappear
    // after a while.
    let recent = set(2, 400);
    is_judged_in_time("broadcast, 50 % reads of 200", &recent, Verdict::Invalid, check);
    // Few values and many reads.
    let all: String = json!((0..400).collect::<Vec<u64>>()).to_string();
    let few = long((0..OPS).map(|at| match at {
        0..400 => ("broadcast", Some(at.to_string()), None),
        _ => ("read", None, Some(all.as_str())),
    }));
    is_judged_in_time("broadcast, 99 % reads of 400", &few, Verdict::Valid, check);
    // Empty reads only.
    let empty = long((0..OPS).map(|at| match at % 2 {
        0 => ("read", None, Some("[]")),
        _ => ("broadcast", Some(at.to_string()), None),
    }));
    is_judged_in_time("broadcast, 50 % reads of none", &empty, Verdict::Invalid, check);
    // Values that are not numbers, in random order.
    let texts: Vec<String> = (0..OPS).map(|at| format!("\"{:x}\"", at * 7_919 % OPS)).collect();
    let list = format!("[{}]", texts.join(","));
    let named = long((0..OPS).map(|at| match texts.get(usize::try_from(at).unwrap() + 10) {
        Some(_) => ("broadcast", texts.get(usize::try_from(at).unwrap()).cloned(), None),
        None => ("read", None, Some(list.as_str())),
    }));
    is_judged_in_time("broadcast, 10 reads of texts", &named, Verdict::Invalid, check);
}

#[test]
fn a_long_history_of_a_counter_is_judged_in_seconds() {
    let mut sum = 0;
    let sums: Vec<String> = (0..OPS)
        .map(|at| {
            sum += if at % 3 == 0 { at % 5 } else { 0 };
            sum.to_string()
        })
        .collect();
    let add = |at: u64| at.is_multiple_of(3).then(|| (at % 5).to_string());
    let mut history = long((0..OPS).zip(&sums).map(|(at, sum)| match add(at) {
        Some(delta) => ("add", Some(delta), None),
        None => ("read", None, Some(sum.as_str())),
    }));
    is_judged_in_time("g-counter", &history, Verdict::Valid, counter::check);
    // The outcome of every add is unknown.
    let unknown = history.client_ops().filter(|op| op.f == "add").cloned().map(|op| {
        let kind = if op.kind == OpType::Ok { OpType::Info } else { op.kind };
        Op { kind, ..op }
    });
    let unknown: Vec<Op> = unknown.collect();
    history = History::default();
    for mut op in unknown {
        op.invocation = op.invocation.map(|_| history.ops().len() - 1);
        history.push(op);
    }
    is_judged_in_time("g-counter, all unknown", &history, Verdict::Valid, counter::check);
}

#[test]
fn long_histories_of_ids_and_echoes_are_judged_in_seconds() {
    let texts: Vec<String> = (0..OPS).map(|at| format!("\"n{}-{at}\"", at % 5)).collect();
    let ids = long(texts.iter().map(|id| ("generate", None, Some(id.as_str()))));
    is_judged_in_time("unique-ids", &ids, Verdict::Valid, unique_ids::check);
    let same = long(texts.iter().map(|_| ("generate", None, Some("7"))));
    is_judged_in_time("unique-ids, all the same", &same, Verdict::Invalid, unique_ids::check);
    let echoes = long(texts.iter().map(|text| ("echo", Some(text.clone()), None)));
    is_judged_in_time("echo", &echoes, Verdict::Valid, echo::check);
    let lies = long(texts.iter().map(|text| ("echo", Some(text.clone()), Some("\"no\""))));
    is_judged_in_time("echo, all wrong", &lies, Verdict::Invalid, echo::check);
}
