//! The handler in virtual time, under the checker: whole clusters with all kinds of faults.
//!
//! `SEEDS=10000 cargo test --test simulation sweep` runs more seeds, and `SEED=42` replays one.

use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload;
use my_node::SetNode;

fn all_faults() -> Sweep {
    let sweep = Sweep::new(workload::GSet::default(), Fault::ALL);
    sweep.expecting(["my-node: a peer did not acknowledge a merge"])
}

#[test]
fn sweep() {
    all_faults().test(20, |_| SetNode::default());
}

/// Runs stored smaller runs that once failed. In this one, a node kept no records and crashed.
#[test]
fn regressions() {
    all_faults().test_regressions("tests/regressions/g-set", |_| SetNode::default());
}

/// Bad disks, slow links, losses of power and clocks that drift come on top of all other faults.
#[test]
fn sweep_on_bad_hardware() {
    let faults = Fault::ALL.into_iter().chain(Fault::HARDWARE);
    Sweep::new(workload::GSet::default(), faults).test(10, |_| SetNode::default());
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    all_faults().test_determinism(0..3, |_| SetNode::default());
}
