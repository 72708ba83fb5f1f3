//! The handler under the built-in checker, in virtual time: crashes, restarts and wrong clocks.

use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::{Case, Sweep};
use maelstrom_sim::workload;
use unique_ids::UniqueIds;

fn all_faults() -> Sweep {
    Sweep::new(workload::UniqueIds::default(), Fault::ALL)
}

#[test]
fn sweep() {
    all_faults().test(4, |_| UniqueIds::default());
}

/// A small run in which two nodes once made ids of the time alone.
#[test]
fn regressions() {
    all_faults().test_regressions("tests/regressions/unique-ids", |_| UniqueIds::default());
}

/// Slow, stalled and failing disks, clocks that drift, slow links and losses of power come on top of
/// all other faults.
#[test]
fn sweep_on_bad_hardware() {
    let faults = Fault::ALL.into_iter().chain(Fault::HARDWARE);
    Sweep::new(workload::UniqueIds::default(), faults).test_cases(
        "unique-ids-hardware",
        8,
        |test| Case::new(test, |_: &_| UniqueIds::default()),
    );
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    all_faults().test_determinism(0..3, |_| UniqueIds::default());
}
