//! The cost of a transaction against the nodes, the load and the latency, in virtual time.

use std::time::Duration;

use maelstrom_sim::Test;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::workload::TxnRwRegister;
use txn_rw::{Config, PERIOD_MIN, TxnRw};

#[path = "../../../maelstrom-sim/tests/curves/mod.rs"]
mod points;

use points::Point;

/// The fraction of transactions with a write: they have one to four operations, and each writes
/// with probability 1/2.
const WRITES: f64 = 1.0 - (0.5 + 0.25 + 0.125 + 0.0625) / 4.0;

/// Messages between servers for each transaction.
fn measure(point: Point) -> f64 {
    let options = point.options(Duration::from_secs(10));
    let test = Test::new(TxnRwRegister::strongest_available(), options);
    let world = simulate(test, |_| TxnRw::new(Config::default()));
    let results = serde_json::to_value(world.assert_valid()).unwrap();
    results["net"]["servers"]["msgs-per-op"].as_f64().unwrap()
}

#[test]
fn curves() {
    let theory = |point: Point| point.gossip(PERIOD_MIN, WRITES);
    println!("{}", points::check("txn-rw", 0.85..=1.15, measure, theory));
}
