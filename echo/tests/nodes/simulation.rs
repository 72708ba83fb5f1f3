//! The handler under the built-in checker, in virtual time.

use echo::Echo;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload;

/// An echo without an answer counts as an error, so no node may pause or crash.
const FAULTS: [Fault; 7] = [
    Fault::Partition,
    Fault::Cut,
    Fault::Loss,
    Fault::Duplication,
    Fault::Slow,
    Fault::Clock,
    Fault::Services,
];

fn bearable_faults() -> Sweep {
    Sweep::new(workload::Echo::default(), FAULTS)
}

#[test]
fn sweep() {
    bearable_faults().test(4, |_| Echo);
}

/// A small run in which a node once changed the value.
#[test]
fn regressions() {
    bearable_faults().test_regressions("tests/regressions/echo", |_| Echo);
}

/// Slow and stalled disks, clocks that drift, and slow links come on top.
#[test]
fn sweep_on_bad_hardware() {
    let hardware = [Fault::SlowDisk, Fault::StalledDisk, Fault::Drift, Fault::SlowLink];
    Sweep::new(workload::Echo::default(), FAULTS.into_iter().chain(hardware)).test(2, |_| Echo);
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    bearable_faults().test_determinism(0..3, |_| Echo);
}
