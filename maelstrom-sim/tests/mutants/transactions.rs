//! Transactions in virtual time. The checker never blames a correct replica, and finds each broken
//! one by the expected anomaly.

mod replica;

use std::collections::BTreeSet;

use maelstrom_sim::Test;
use maelstrom_sim::checker::txn::Model;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::results::Results;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::TxnRwRegister;
use serde_json::Value;

use self::replica::{Mutant, Replica};
use crate::hunt::is_caught;

fn sweep_of() -> Sweep {
    Sweep::new(TxnRwRegister::strongest_available(), Fault::ALL)
}

fn results(test: Test, mutant: Mutant) -> Results {
    let world = simulate(test, |_| Replica::new(mutant));
    assert_eq!(world.failure(), None);
    world.results()
}

/// The names of the anomalies that were found.
fn anomalies(results: &Results) -> BTreeSet<String> {
    let names: Value = results.workload.fields["anomaly-types"].clone();
    serde_json::from_value(names).unwrap()
}

#[test]
fn sweep() {
    sweep_of().test(2, |_| Replica::new(Mutant::None));
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    sweep_of().test_determinism(0..3, |_| Replica::new(Mutant::None));
}

#[test]
fn the_models_that_need_coordination_find_anomalies_that_a_replica_without_it_cannot_prevent() {
    for (model, expected) in [
        (Model::SnapshotIsolation, "lost-update"),
        (Model::RepeatableRead, "lost-update"),
        (Model::Serializable, "G2-item"),
        (Model::StrictSerializable, "stale-read-realtime"),
    ] {
        let found = (0..10).find(|seed| {
            let mut workload = TxnRwRegister::strongest_available();
            workload.options.consistency_models = vec![model];
            let test = Sweep::new(workload, Fault::ALL).test_for(*seed);
            anomalies(&results(test, Mutant::None)).contains(expected)
        });
        assert!(found.is_some(), "{}", model.name());
    }
}

#[test]
fn every_broken_replica_is_caught() {
    for (mutant, name, anomaly) in [
        (Mutant::HalfVisible, "half a transaction visible", "fractured-read"),
        (Mutant::HalfVisible, "half a transaction visible", "non-atomic-view"),
        (Mutant::ArrivalOrder, "the last to arrive wins", "divergence"),
        (Mutant::TieByArrival, "last writer wins without a tie-break", "divergence"),
        (Mutant::WallClock, "wall clocks as versions", "lost-own-write"),
        (Mutant::NoSnapshot, "reads outside of a snapshot", "fractured-read"),
        (Mutant::DirtyRead, "dirty read", "G1a"),
        (Mutant::DirtyRead, "dirty read", "false-failure"),
        (Mutant::LostOwnWrite, "acknowledge before writing", "lost-own-write"),
        (Mutant::PublishEarly, "writes seen before the end", "G1b"),
        (Mutant::NotCausal, "effects overtake their causes", "causal-violation"),
        (Mutant::Forget, "forget on crash", "lost-write"),
        (Mutant::NoRetry, "never ask for lost writes", "divergence"),
    ] {
        is_caught(&sweep_of(), name, anomaly, |_| Replica::new(mutant));
    }
}
