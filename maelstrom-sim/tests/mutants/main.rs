//! The checker is checked: small reference handlers that it never blames, and deliberately broken
//! ones that it must catch, each for what is broken, within a few seeds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail")]
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout, reason = "tests may fail")]

mod broadcast;
mod counter;
mod hunt;
mod ids;
mod kafka;
mod replicated;

use maelstrom_core::{MessageHandler, NodeId};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::WorkloadKind;

/// How many seeds a good handler is run with, unless `SEEDS` asks for others.
const GOOD_SEEDS: u64 = 40;

/// All faults that the good handler of a workload can bear. An echo without an answer is an error
/// whoever is to blame, so nobody may pause or crash.
fn sweep(workload: WorkloadKind) -> Sweep {
    let mut faults = Fault::ALL.to_vec();
    if workload == WorkloadKind::Echo {
        faults.retain(|fault| ![Fault::Pause, Fault::Crash].contains(fault));
    }
    Sweep { workload, faults }
}

/// Expects that a handler is never blamed.
fn is_good<H: MessageHandler>(workload: WorkloadKind, build: impl Fn(&NodeId) -> H + Sync) {
    sweep(workload).test(GOOD_SEEDS, build);
}

/// Expects that a handler is caught.
fn is_caught<H: MessageHandler>(
    workload: WorkloadKind,
    name: &str,
    figure: &str,
    build: impl Fn(&NodeId) -> H,
) {
    hunt::is_caught(&sweep(workload), name, figure, build);
}
