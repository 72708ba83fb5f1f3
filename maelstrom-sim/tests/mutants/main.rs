//! The checker is checked: small reference handlers that it never blames, and deliberately broken
//! ones that it must catch, each for what is broken, within a few seeds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail")]
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout, reason = "tests may fail")]

mod broadcast;
mod counter;
mod ids;
mod kafka;

use maelstrom_core::{MessageHandler, NodeId};
use maelstrom_sim::checker::Verdict;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::WorkloadKind;

/// How many seeds a good handler is run with.
const GOOD_SEEDS: u64 = 40;

/// Within how many seeds a broken one must be caught.
const CAUGHT_WITHIN: u64 = 40;

/// From how many starting seeds it is hunted, to tell the median.
const HUNTS: u64 = 3;

fn sweep(workload: WorkloadKind) -> Sweep {
    Sweep { workload, faults: Fault::ALL.to_vec() }
}

/// Expects that a handler is never blamed.
fn is_good<H: MessageHandler>(workload: WorkloadKind, build: impl Fn(&NodeId) -> H + Sync) {
    let result = sweep(workload).run_all(0..GOOD_SEEDS, build, |_| {});
    assert_eq!(result.map_err(|finding| finding.text).unwrap().seeds, GOOD_SEEDS);
}

/// Expects that a handler is caught, and that `figure` of the workload's results gives it away.
fn is_caught<H: MessageHandler>(
    workload: WorkloadKind,
    name: &str,
    figure: &str,
    build: impl Fn(&NodeId) -> H,
) {
    is_caught_by(&sweep(workload), name, figure, build);
}

/// The same, under chosen faults.
fn is_caught_by<H: MessageHandler>(
    sweep: &Sweep,
    name: &str,
    figure: &str,
    build: impl Fn(&NodeId) -> H,
) {
    let mut hunts: Vec<u64> = (0..HUNTS)
        .map(|hunt| {
            let start = hunt * 1_000;
            let caught = (start..start + CAUGHT_WITHIN).find(|seed| {
                let world = simulate(sweep.options(*seed), &build);
                let results = world.results();
                let found = results.workload.fields.get(figure).is_some_and(|found| {
                    let count = found.as_u64().or_else(|| found["count"].as_u64());
                    count.map_or_else(
                        || found.as_array().is_some_and(|list| !list.is_empty()),
                        |count| count > 0,
                    )
                });
                found && results.valid == Verdict::Invalid
            });
            let caught =
                caught.unwrap_or_else(|| panic!("{name}: not caught from seed {start} on"));
            caught - start + 1
        })
        .collect();
    hunts.sort_unstable();
    let (median, worst) = (hunts[hunts.len() / 2], hunts[hunts.len() - 1]);
    println!(
        "{:>10} {name:<32} {figure:<18} {median} seeds, {worst} at most",
        sweep.workload.name()
    );
}
