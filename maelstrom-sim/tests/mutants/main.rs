//! Tests the checker itself. It must never blame the small reference handlers. It must catch each
//! deliberately broken one within a few seeds, for the right reason.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail")]
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout, reason = "tests may fail")]

mod append;
mod broadcast;
mod counter;
mod hardware;
mod hunt;
mod ids;
mod kafka;
mod registers;
mod replicated;
#[path = "../seeds/mod.rs"]
mod seeds;
mod transactions;

use maelstrom_core::{MessageHandler, NodeId};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::Workload;

/// How many seeds to run with a correct handler, unless `SEEDS` says otherwise.
const GOOD_SEEDS: u64 = 3;

/// All faults that the correct handler of a workload tolerates. An echo without a reply is always
/// an error, so its nodes may not pause or crash.
fn sweep(workload: impl Workload) -> Sweep {
    let mut sweep = Sweep::new(workload, Fault::ALL);
    if sweep.workload.name() == "echo" {
        sweep.faults.retain(|fault| ![Fault::Pause, Fault::Crash].contains(fault));
    }
    sweep
}

/// Asserts that the checker never blames a handler.
fn is_good<H: MessageHandler>(workload: impl Workload, build: impl Fn(&NodeId) -> H + Sync) {
    sweep(workload).test(GOOD_SEEDS, build);
}

/// Asserts that the checker catches a handler.
fn is_caught<H: MessageHandler>(
    workload: impl Workload,
    name: &str,
    figure: &str,
    build: impl Fn(&NodeId) -> H,
) {
    hunt::is_caught(&sweep(workload), name, figure, build);
}
