//! The cost of the gossip engine against the nodes, the load and the latency, in virtual time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail")]

use std::time::Duration;

use broadcast::Broadcast;
use maelstrom_core::gossip::Config;
use maelstrom_sim::Test;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::workload;

#[path = "../../../maelstrom-sim/tests/curves/mod.rs"]
mod points;

use points::Point;

/// Messages between servers for each operation.
fn measure(point: Point) -> f64 {
    let time_limit = Duration::from_secs(if points::is_full() { 20 } else { 10 });
    let test = Test::new(workload::Broadcast::default(), point.options(time_limit));
    let world = simulate(test, |_| Broadcast::new(Config::default()));
    let results = serde_json::to_value(world.assert_valid()).unwrap();
    results["net"]["servers"]["msgs-per-op"].as_f64().unwrap()
}

/// Half of the operations are broadcasts.
#[test]
fn curves() {
    let period_min = Config::default().period_min;
    let table = points::check("broadcast", 0.85..=1.15, measure, |p| p.gossip(period_min, 0.5));
    println!("{table}");
}
