//! Transactions in virtual time: a right replica is never blamed, and each broken one is found, by
//! the anomaly that it stands for.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    reason = "tests may fail"
)]

mod replica;

use std::collections::BTreeSet;

use maelstrom_sim::checker::txn::Model;
use maelstrom_sim::checker::{Results, Verdict};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::Options;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::WorkloadKind;
use serde_json::Value;

use self::replica::{Mutant, Replica};

fn sweep_of() -> Sweep {
    Sweep { workload: WorkloadKind::TxnRwRegister, faults: Fault::ALL.to_vec() }
}

fn results(options: Options, mutant: Mutant) -> Results {
    let world = simulate(options, |_| Replica::new(mutant));
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
    sweep_of().test(100, |_| Replica::new(Mutant::None));
}

#[test]
fn the_models_that_need_coordination_find_what_a_replica_without_it_cannot_prevent() {
    for (model, expected) in [
        (Model::SnapshotIsolation, "lost-update"),
        (Model::RepeatableRead, "lost-update"),
        (Model::Serializable, "G2-item"),
        (Model::StrictSerializable, "stale-read-realtime"),
    ] {
        let found = (0..10).find(|seed| {
            let mut options = sweep_of().options(*seed);
            options.txn.consistency_models = vec![model];
            anomalies(&results(options, Mutant::None)).contains(expected)
        });
        assert!(found.is_some(), "{}", model.name());
    }
}

/// Runs seeds until the anomaly has been found three times, and expects the first time after at
/// most `seeds_max` seeds.
#[track_caller]
fn finds(mutant: Mutant, expected: &str, seeds_max: u64) {
    let (mut found, mut all) = (Vec::new(), BTreeSet::new());
    for seed in 0..60 {
        let results = results(sweep_of().options(seed), mutant);
        let names = anomalies(&results);
        assert_eq!(results.workload.valid, Verdict::invalid_if(!names.is_empty()));
        if names.contains(expected) {
            found.push(seed + 1);
        }
        all.extend(names);
        if found.len() == 3 {
            break;
        }
    }
    println!("{mutant:?}: {expected} after {found:?} seeds; all: {all:?}");
    assert!(found.first().is_some_and(|first| *first <= seeds_max), "{mutant:?}: {found:?}");
}

#[test]
fn half_a_transaction_that_is_visible_is_found() {
    finds(Mutant::HalfVisible, "fractured-read", 20);
    finds(Mutant::HalfVisible, "non-atomic-view", 20);
}

#[test]
fn replicas_that_take_the_last_arrival_are_found_to_diverge() {
    finds(Mutant::ArrivalOrder, "divergence", 10);
}

#[test]
fn ties_that_the_order_of_arrival_breaks_are_found_to_diverge() {
    finds(Mutant::TieByArrival, "divergence", 10);
}

#[test]
fn wall_clocks_as_versions_are_found() {
    finds(Mutant::WallClock, "lost-own-write", 10);
}

#[test]
fn reads_outside_of_a_snapshot_are_found() {
    finds(Mutant::NoSnapshot, "fractured-read", 10);
}

#[test]
fn transactions_that_are_seen_though_they_abort_are_found() {
    finds(Mutant::DirtyRead, "G1a", 5);
    finds(Mutant::DirtyRead, "false-failure", 5);
}

#[test]
fn an_acknowledgement_before_the_write_is_found() {
    finds(Mutant::LostOwnWrite, "lost-own-write", 10);
}

#[test]
fn writes_that_are_seen_before_their_transaction_has_ended_are_found() {
    finds(Mutant::PublishEarly, "G1b", 10);
}

#[test]
fn effects_that_overtake_their_causes_are_found() {
    finds(Mutant::NotCausal, "causal-violation", 40);
}

#[test]
fn what_a_crash_takes_away_is_found() {
    finds(Mutant::Forget, "lost-write", 40);
}

#[test]
fn what_got_lost_and_is_never_asked_for_is_found() {
    finds(Mutant::NoRetry, "divergence", 10);
}
