//! The handler under the built-in checker, in virtual time.

use echo::Echo;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::WorkloadKind;

/// An echo without an answer counts as an error, so nobody may pause or crash.
const FAULTS: [Fault; 7] = [
    Fault::Partition,
    Fault::Cut,
    Fault::Loss,
    Fault::Duplication,
    Fault::Slow,
    Fault::Clock,
    Fault::Services,
];

#[test]
fn sweep() {
    let sweep = Sweep { workload: WorkloadKind::Echo, faults: FAULTS.to_vec() };
    sweep.test(40, |_| Echo);
}
