//! Judges up to a million transactions for causal consistency, and measures time, memory and work.

use std::time::Duration;

use rand::RngExt;
use serde_json::value::RawValue;

use super::super::causality::{self, Sessions};
use super::super::order::Orders;
use super::*;
use crate::rng::{self, Stream};

const REPLICAS: usize = 5;

/// The shape of a generated history.
#[derive(Clone, Copy, Debug)]
struct Shape {
    count: usize,
    sessions: usize,
    keys: usize,
    /// The outcome of every `silent`th transaction is unknown.
    silent: usize,
    /// Whether the last transactions contain a violation.
    is_broken: bool,
}

const USUAL_SHAPE: Shape =
    Shape { count: 0, sessions: 50, keys: 10_000, silent: usize::MAX, is_broken: false };

/// A replica: the last write of each key that it knows, and how much of the common log it has
/// applied.
#[derive(Clone, Debug)]
struct Replica {
    state: Vec<(usize, u64)>,
    applied: usize,
    lag: usize,
}

impl Replica {
    fn write(&mut self, key: usize, at: usize, value: u64) {
        if let Some(slot) = self.state.get_mut(key) {
            *slot = (*slot).max((at, value));
        }
    }

    /// Applies all writes up to `lag` transactions ago.
    fn catch_up(&mut self, log: &[Vec<(usize, u64)>]) {
        let until = log.len().saturating_sub(self.lag);
        for (at, writes) in log.iter().enumerate().take(until).skip(self.applied) {
            for (key, value) in writes {
                self.write(*key, at + 1, *value);
            }
        }
        self.applied = until.max(self.applied);
    }
}

fn push_text(history: &mut History, process: u64, ops: &[String], begun: Option<usize>) -> usize {
    let kind = if begun.is_some() { OpType::Ok } else { OpType::Invoke };
    let value = RawValue::from_string(format!("[{}]", ops.join(","))).ok();
    let op = Op::new(Process::Client(process), kind, "txn");
    history.push(Op { value, invocation: begun, ..op })
}

/// The history of replicas that apply all writes in the same order, each with its own lag. The
/// later of two writes wins, so the history is causally consistent. Each transaction reads and
/// writes up to three keys each. Low keys are more frequent.
fn causal_store(shape: Shape) -> History {
    let mut rng = rng::stream(7, Stream::Generator);
    let mut history = History::default();
    let replica = |at| Replica { state: vec![(0, 0); shape.keys], applied: 0, lag: 20 + 60 * at };
    let mut replicas: Vec<Replica> = (0..REPLICAS).map(replica).collect();
    let mut log: Vec<Vec<(usize, u64)>> = Vec::new();
    let mut processes: Vec<u64> = (0..shape.sessions as u64).collect();
    let mut value = 0;
    for at in 0..shape.count {
        let session = rng.random_range(0..shape.sessions);
        let replica = &mut replicas[session % REPLICAS];
        replica.catch_up(&log);
        let (mut asked, mut result, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..=5) {
            let key = rng.random_range(0..shape.keys).min(rng.random_range(0..shape.keys));
            if rng.random_range(0..2) == 0 {
                value += 1;
                replica.write(key, at + 1, value);
                writes.push((key, value));
                asked.push(format!(r#"["w",{key},{value}]"#));
                result.push(format!(r#"["w",{key},{value}]"#));
                continue;
            }
            let read = replica.state[key].1;
            let read = if read == 0 { "null".to_owned() } else { read.to_string() };
            asked.push(format!(r#"["r",{key},null]"#));
            result.push(format!(r#"["r",{key},{read}]"#));
        }
        log.push(writes);
        let process = &mut processes[session];
        let begun = push_text(&mut history, *process, &asked, None);
        if at % shape.silent == shape.silent - 1 {
            *process += shape.sessions as u64;
        } else {
            push_text(&mut history, *process, &result, Some(begun));
        }
    }
    if shape.is_broken {
        violate(&mut history, shape.keys);
    }
    history
}

/// Adds a causal violation: one process writes a key twice. A second one reads the second write and
/// writes another key. A third one reads that, and then the first write.
fn violate(history: &mut History, key: usize) {
    let (x, y) = (key, key + 1);
    let txns = [
        (u64::MAX, vec![format!(r#"["w",{x},1]"#)]),
        (u64::MAX, vec![format!(r#"["w",{x},2]"#)]),
        (u64::MAX - 1, vec![format!(r#"["r",{x},2]"#), format!(r#"["w",{y},1]"#)]),
        (u64::MAX - 2, vec![format!(r#"["r",{y},1]"#)]),
        (u64::MAX - 2, vec![format!(r#"["r",{x},1]"#)]),
    ];
    for (process, ops) in txns {
        let begun = push_text(history, process, &ops, None);
        push_text(history, process, &ops, Some(begun));
    }
}

/// The peak memory of the process in megabytes, if the system reports it.
#[expect(clippy::disallowed_methods, reason = "this is about the system")]
fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

/// The CPU time of this thread, if the system reports it. Other processes do not count.
#[expect(clippy::disallowed_methods, reason = "this is about the system")]
fn running() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split_whitespace().next()?.parse().ok()?))
}

/// Judges a history of this shape, and prints the time and memory that it took.
fn timed(shape: Shape) -> WorkloadResults {
    let history = causal_store(shape);
    let (before, started) = (peak_mb(), running());
    let results = judge(Causal, &history);
    let (peak, ended) = (peak_mb(), running());
    let seconds = ended.zip(started).map(|(end, start)| (end - start).as_secs_f64());
    println!("{shape:?}: {seconds:.1?} s, peak {before:?} MB before, {peak:?} MB after");
    assert!(seconds.is_none_or(|seconds| seconds < 180.0), "{shape:?}: {seconds:?} s");
    results
}

/// Several shapes of this many transactions.
fn shapes(count: usize) -> [Shape; 6] {
    let shape = Shape { count, ..USUAL_SHAPE };
    [
        shape,
        Shape { sessions: 10, keys: 100, ..shape },
        Shape { keys: 100_000, ..shape },
        Shape { is_broken: true, ..shape },
        Shape { silent: 100, ..shape },
        Shape { sessions: 1_000, ..shape },
    ]
}

/// The relevant figures are those of `cargo test --release`, with 1,000,000 transactions, or as
/// many as `TRANSACTIONS` says.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test has no other command line")]
fn a_million_transactions_are_judged_for_causality_in_minutes() {
    let usual = if cfg!(debug_assertions) { 2_000 } else { 1_000_000 };
    let asked = std::env::var("TRANSACTIONS").ok();
    for shape in shapes(asked.map_or(usual, |text| text.parse().unwrap())) {
        let results = timed(shape);
        let expected = Verdict::invalid_if(shape.is_broken);
        assert_eq!(results.valid, expected, "{shape:?}: {:?}", results.cause);
        assert_eq!(results.cause.is_some_and(|cause| cause.contains("causal")), shape.is_broken);
    }
}

/// The number of steps that causality takes, and of orders that it finds.
fn work(shape: Shape) -> (usize, usize) {
    let history = causal_store(shape);
    let all = Transactions::of(&history, Data::Registers, Trust::OwnRequest);
    let mut orders = Orders::default();
    let steps = causality::infer(&all, &Sessions::of(&all), &mut orders);
    (steps, orders.into_vec().len())
}

#[test]
fn the_work_of_causality_grows_as_the_history_does() {
    let count = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
    let few_keys = Shape { keys: 100, ..USUAL_SHAPE };
    let shapes = [few_keys, Shape { sessions: 10, ..few_keys }];
    for shape in shapes {
        let (steps, orders) = work(Shape { count, ..shape });
        let (double_steps, double_orders) = work(Shape { count: 2 * count, ..shape });
        println!(
            "{shape:?}: {steps} and {double_steps} steps, {orders} and {double_orders} orders"
        );
        // On average a transaction has three operations and three causes.
        assert!(steps < 8 * count * shape.sessions, "{shape:?}: {steps}");
        assert!(double_steps < 5 * steps / 2, "{shape:?}: {steps}, {double_steps}");
        assert!(double_orders < 5 * orders / 2, "{shape:?}: {orders}, {double_orders}");
    }
}
