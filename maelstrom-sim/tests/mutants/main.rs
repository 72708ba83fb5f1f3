//! The checker is checked: small reference handlers that it never blames, and deliberately broken
//! ones that it must catch, each for what is broken, within a few seeds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail")]
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout, reason = "tests may fail")]

mod append;
mod broadcast;
mod counter;
mod hunt;
mod ids;
mod kafka;
mod registers;
mod replicated;
mod transactions;

use maelstrom_core::{MessageHandler, NodeId};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::Workload;

/// How many seeds a good handler is run with, unless `SEEDS` asks for others.
const GOOD_SEEDS: u64 = 4;

/// All faults that the good handler of a workload can bear. An echo without an answer is an error
/// whatever the cause, so no node may pause or crash.
fn sweep(workload: impl Workload) -> Sweep {
    let mut sweep = Sweep::new(workload, Fault::ALL);
    if sweep.workload.name() == "echo" {
        sweep.faults.retain(|fault| ![Fault::Pause, Fault::Crash].contains(fault));
    }
    sweep
}

/// Expects that a handler is never blamed.
fn is_good<H: MessageHandler>(workload: impl Workload, build: impl Fn(&NodeId) -> H + Sync) {
    sweep(workload).test(GOOD_SEEDS, build);
}

/// Expects that a handler is caught.
fn is_caught<H: MessageHandler>(
    workload: impl Workload,
    name: &str,
    figure: &str,
    build: impl Fn(&NodeId) -> H,
) {
    hunt::is_caught(&sweep(workload), name, figure, build);
}
