//! Measures how long the checker takes for long histories.

use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::options::Options;
use crate::rng::{self, Stream};
use crate::workload::{TxnListAppend, TxnRwRegister, Workload};

/// The history of replicas that run the generator's transactions. They exchange all writes with a
/// lag of `lag` transactions, and the later of two writes wins. The outcome of every `silent`th
/// transaction is unknown.
fn replicated(count: usize, lag: usize, silent: usize) -> History {
    let mut generator = TxnRwRegister::default().generator(&Options::default());
    let mut rng = rng::stream(1, Stream::Generator);
    let mut history = History::default();
    let mut replicas = vec![BTreeMap::<u64, (usize, u64)>::new(); 5];
    let mut processes: Vec<u64> = (0..10).collect();
    let mut log: Vec<Vec<(u64, u64)>> = Vec::new();
    for at in 0..count {
        let asked = generator.next(0, &mut rng).value.unwrap();
        let ops: Vec<(&str, u64, Option<u64>)> = serde_json::from_str(asked.get()).unwrap();
        let (mut result, mut writes) = (Vec::new(), Vec::new());
        let replica = &mut replicas[at % 5];
        for (f, key, value) in &ops {
            if let Some(value) = value {
                replica.insert(*key, (at, *value));
                writes.push((*key, *value));
            }
            result.push(json!([f, key, replica.get(key).map(|(_, value)| value)]));
        }
        log.push(writes);
        let arriving = at.checked_sub(lag).and_then(|sent| Some((sent, log.get(sent)?)));
        for (sent, (key, value)) in arriving
            .iter()
            .flat_map(|(sent, writes)| writes.iter().map(move |write| (*sent, write)))
        {
            for replica in &mut replicas {
                let entry = replica.entry(*key).or_default();
                *entry = (*entry).max((sent, *value));
            }
        }
        let process = &mut processes[at % 10];
        let begun = push(&mut history, *process, OpType::Invoke, &json!(ops), None, false);
        if at % silent == silent - 1 {
            push(&mut history, *process, OpType::Info, &json!(ops), Some(begun), false);
            *process += 10;
        } else {
            push(&mut history, *process, OpType::Ok, &json!(result), Some(begun), false);
        }
    }
    history
}

/// Judges a history, and prints how long it took.
#[expect(clippy::disallowed_methods, reason = "this is about real time")]
fn timed(model: Model, history: &History) -> (WorkloadResults, Duration) {
    let started = std::time::Instant::now();
    let results = judge(model, history);
    let elapsed = started.elapsed();
    println!("{}: {elapsed:?}, {}", model.name(), results.fields["anomaly-counts"]);
    (results, elapsed)
}

#[test]
fn long_histories_are_judged_in_seconds() {
    // The relevant figures are those of `cargo test --release`, with 100,000 transactions.
    let count = if cfg!(debug_assertions) { 1_000 } else { 100_000 };
    let history = replicated(count, 20, usize::MAX);
    let others = [Model::ConsistentView, Model::StrongSnapshotIsolation];
    for model in USUAL.into_iter().chain(others) {
        let (results, elapsed) = timed(model, &history);
        let expected = Verdict::invalid_if(![Ru, Rc, Mav, Ra, Causal].contains(&model));
        assert_eq!(results.valid, expected, "{model:?}: {:?}", results.fields);
        assert!(elapsed < Duration::from_secs(10), "{model:?}: {elapsed:?}");
    }
    let serial = replicated(count, 0, usize::MAX);
    assert_eq!(timed(Strict, &serial).0.valid, Verdict::Valid);
    // The replicas never exchange writes, so everything is in one large component.
    let apart = replicated(count, count, usize::MAX);
    for (model, expected) in
        [(Causal, Verdict::Valid), (Ser, Verdict::Invalid), (Strict, Verdict::Invalid)]
    {
        let (results, elapsed) = timed(model, &apart);
        assert_eq!(results.valid, expected, "{model:?}");
        assert!(elapsed < Duration::from_secs(10), "{model:?}: {elapsed:?}");
    }
    // New processes keep appearing.
    let unknown = replicated(count, 20, 13);
    let (results, elapsed) = timed(Causal, &unknown);
    assert_eq!(results.valid, Verdict::Valid, "{:?}", results.fields);
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

/// The generator's transactions on one copy of all lists, ten at a time. Each takes effect at its
/// end. Every `stale`th misses the last element of each list that it reads.
fn appended(count: usize, stale: usize) -> History {
    let mut generator = TxnListAppend::default().generator(&Options::default());
    let mut rng = rng::stream(1, Stream::Generator);
    let mut history = History::default();
    let mut lists: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut open: [Option<(usize, Value)>; 10] = std::array::from_fn(|_| None);
    for at in 0..count {
        let process = at as u64 % 10;
        let slot = &mut open[at % 10];
        if let Some((begun, asked)) = slot.take() {
            let ops: Vec<(&str, u64, Option<u64>)> = Deserialize::deserialize(&asked).unwrap();
            let mut result = Vec::new();
            for (f, key, element) in ops {
                let list = lists.entry(key).or_default();
                list.extend(element);
                let seen = list.len().saturating_sub(usize::from(at % stale == stale - 1));
                result.push(match element {
                    Some(element) => json!([f, key, element]),
                    None => json!([f, key, list[..seen]]),
                });
            }
            push(&mut history, process, OpType::Ok, &json!(result), Some(begun), false);
        }
        let asked = generator.next(0, &mut rng).value.unwrap();
        let asked: Value = serde_json::from_str(asked.get()).unwrap();
        let begun = push(&mut history, process, OpType::Invoke, &asked, None, false);
        *slot = Some((begun, asked));
    }
    history
}

#[test]
#[expect(clippy::disallowed_methods, reason = "this is about real time")]
fn long_histories_of_lists_are_judged_in_seconds() {
    let count = if cfg!(debug_assertions) { 1_000 } else { 100_000 };
    for (stale, expected) in [(usize::MAX, Verdict::Valid), (97, Verdict::Invalid)] {
        let history = appended(count, stale);
        for model in [Strict, Causal, Rc] {
            let started = std::time::Instant::now();
            let results = check_lists(&history, &BTreeSet::from([model]));
            let elapsed = started.elapsed();
            println!("{} of lists: {elapsed:?}, {:?}", model.name(), results.valid);
            if model == Strict {
                assert_eq!((results.valid, results.maelstrom_valid), (expected, expected));
            }
            assert!(elapsed < Duration::from_secs(5), "{model:?}: {elapsed:?}");
        }
    }
}
