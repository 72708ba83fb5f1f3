//! The time that a node takes for a line: to decode it, to handle it, and to encode the output.
//!
//! Beside each of criterion's figures is the figure of a floor, which does the same with serde_json
//! and flat structs. The load of the machine changes from moment to moment, so the table at the end
//! measures both in turns, and shows the quotient of their medians.

#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::print_stdout, reason = "this is where the results go")]
#![expect(clippy::panic, reason = "a benchmark of the wrong thing must not go on")]
#![expect(clippy::arithmetic_side_effects, reason = "figures of times")]

mod cases;

use std::hint::black_box;
use std::time::{Duration, Instant};

use cases::{CASES, Run};
use criterion::{Criterion, criterion_group};

fn criterion_benches(criterion: &mut Criterion) {
    for case in CASES {
        let mut group = criterion.benchmark_group(case.name);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        let (mut node, mut floor) = ((case.node)(), (case.floor)());
        group.bench_function("node", |bencher| bencher.iter(&mut node));
        group.bench_function("floor", |bencher| bencher.iter(&mut floor));
        group.finish();
    }
}

/// Number of measurements of each of the two.
const ROUNDS: usize = 301;

/// Approximate duration of a measurement.
const ROUND: Duration = Duration::from_millis(3);

fn time(calls: u32, call: &mut Run) -> Duration {
    let begin = Instant::now();
    for _ in 0..calls {
        black_box(call());
    }
    begin.elapsed() / calls
}

/// One row of the table: two ways to do the same, measured in turns.
fn row(about: &str, mut node: Run, mut floor: Run) {
    let once = time(10, &mut floor).as_nanos().max(1);
    let calls = u32::try_from(ROUND.as_nanos() / once).unwrap_or(u32::MAX).max(1);
    let mut times: Vec<(Duration, Duration)> =
        (0..ROUNDS).map(|_| (time(calls, &mut node), time(calls, &mut floor))).collect();
    let mut median = |of: fn(&(Duration, Duration)) -> Duration| {
        times.sort_unstable_by_key(of);
        times.get(ROUNDS / 2).map_or(Duration::ZERO, of)
    };
    let (node, floor) = (median(|both| both.0), median(|both| both.1));
    let quotient = node.as_secs_f64() / floor.as_secs_f64();
    println!("| {about} | {node:.2?} | {floor:.2?} | {quotient:.2} |");
}

fn table() {
    println!("\n| line | node | floor | quotient |\n|---|--:|--:|--:|");
    for case in CASES {
        row(case.about, (case.node)(), (case.floor)());
    }
}

criterion_group!(benches, criterion_benches);

fn main() {
    // `cargo test` only checks that the benchmarks run: it needs no figures.
    let test = std::env::args().any(|arg| arg == "--test");
    benches();
    if test {
        return;
    }
    Criterion::default().configure_from_args().final_summary();
    table();
}
