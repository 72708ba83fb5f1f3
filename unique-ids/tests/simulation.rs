//! The handler under the built-in checker, in virtual time: crashes, restarts and wrong clocks.

use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload;
use unique_ids::UniqueIds;

fn all_faults() -> Sweep {
    Sweep::new(workload::UniqueIds::default(), Fault::ALL)
}

#[test]
fn sweep() {
    all_faults().test(10, |_| UniqueIds::default());
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    all_faults().test_determinism(0..3, |_| UniqueIds::default());
}
