//! The handler under the built-in checker, in virtual time: crashes, restarts and wrong clocks.

use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::WorkloadKind;
use unique_ids::UniqueIds;

#[test]
fn sweep() {
    let sweep = Sweep { workload: WorkloadKind::UniqueIds, faults: Fault::ALL.to_vec() };
    sweep.test(40, |_| UniqueIds::default());
}
