//! The cost and the speed of the gossip engine, in virtual time. The goals are those of the
//! challenges, and only the network's latency delays messages.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests may fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broadcast::Broadcast;
use maelstrom_core::gossip::Config;
use maelstrom_sim::Test;
use maelstrom_sim::history::{Op, OpType, Process};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::{Latency, LatencyDist, Options};
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::workload;
use maelstrom_sim::world::World;

#[derive(Debug)]
struct Figures {
    msgs_per_op: f64,
    median_ms: u64,
    max_ms: u64,
}

fn run(options: Options, period_ms: Option<u64>) -> (World, Figures) {
    let config = || Config { period: period_ms.map(Duration::from_millis), ..Config::default() };
    let world =
        simulate(Test::new(workload::Broadcast::default(), options), |_| Broadcast::new(config()));
    let json = serde_json::to_value(world.assert_valid()).unwrap();
    let latencies = &json["workload"]["stable-latencies"];
    let figures = Figures {
        msgs_per_op: json["net"]["servers"]["msgs-per-op"].as_f64().unwrap(),
        median_ms: latencies["0.5"].as_u64().unwrap(),
        max_ms: latencies["1"].as_u64().unwrap(),
    };
    (world, figures)
}

fn options(nodes: usize, rate: f64, mean_ms: u64, seed: u64) -> Options {
    Options {
        rate,
        latency: Latency { mean_ms, dist: LatencyDist::Constant },
        time_limit: Duration::from_secs(20),
        sync_max: Some(Duration::ZERO),
        seed,
        ..Options::default().with_node_count(nodes)
    }
}

#[test]
fn challenge_3d_with_the_default_settings() {
    let (_, figures) = run(options(25, 100.0, 100, 0), None);
    println!("{figures:?}");
    assert!(figures.msgs_per_op <= 0.97, "{figures:?}");
    assert!(figures.median_ms < 350 && figures.max_ms < 590, "{figures:?}");
}

#[test]
fn challenge_3e_with_a_longer_period() {
    let (_, figures) = run(options(25, 100.0, 100, 1), Some(1_700));
    println!("{figures:?}");
    assert!(figures.msgs_per_op <= 0.31, "{figures:?}");
    assert!(figures.median_ms < 1_000 && figures.max_ms < 2_000, "{figures:?}");
}

/// The first two seconds cost 2(n − 1) messages for each period, a few last calls, and one more to
/// learn the round trip. The acknowledgements of the last beat cost n − 1.
#[test]
fn the_start_costs_no_more_than_the_periods_that_follow() {
    for seed in 0..2 {
        let mut options = options(25, 100.0, 100, seed);
        options.time_limit = Duration::from_secs(2);
        let (world, figures) = run(options, None);
        let sent = world.net_stats().servers.sent;
        println!("seed {seed}: {sent} messages, {figures:?}");
        assert!(sent <= 285, "seed {seed}: {sent} messages");
        assert!(figures.max_ms < 600, "seed {seed}: {figures:?}");
    }
}

#[test]
fn on_a_fast_network_a_value_is_everywhere_at_once() {
    for seed in 0..5 {
        let (_, figures) = run(options(5, 10.0, 0, seed), None);
        assert!(figures.median_ms <= 10 && figures.msgs_per_op < 3.0, "{figures:?}");
    }
    let (_, figures) = run(options(1, 10.0, 0, 0), None);
    assert!(figures.msgs_per_op == 0.0 && figures.max_ms == 0, "{figures:?}");
}

/// Two messages for each node and period, whatever the load. The beginning and the end cost more,
/// and so do messages that random latencies bring out of order.
#[test]
fn messages_grow_with_the_nodes_and_not_with_the_load() {
    use LatencyDist::{Constant, Exponential, Uniform};
    for (nodes, rate, dist, allowed) in [
        (5, 50.0, Constant, 1.1),
        (25, 50.0, Constant, 1.1),
        (5, 250.0, Constant, 1.1),
        (10, 50.0, Uniform, 1.2),
        (25, 50.0, Uniform, 1.2),
        (10, 50.0, Exponential, 1.4),
        (25, 50.0, Exponential, 1.6),
    ] {
        // With random latencies, one run proves little.
        let seeds: u32 = if matches!(dist, Constant) || nodes == 25 { 1 } else { 2 };
        let mut sent = 0.0;
        for seed in 0..seeds {
            let mut options = options(nodes, rate, 100, seed.into());
            options.latency.dist = dist;
            options.time_limit = Duration::from_secs(10);
            let (world, figures) = run(options, None);
            println!("{nodes} nodes, {rate} per second, {dist:?}: {figures:?}");
            let of_run = u32::try_from(world.net_stats().servers.sent).unwrap();
            sent += f64::from(of_run) / f64::from(seeds);
        }
        let periods = 12.0 / 0.456;
        let optimum = 2.0 * f64::from(u32::try_from(nodes - 1).unwrap()) * periods;
        println!("{nodes} nodes, {rate} per second, {dist:?}: {sent} of {optimum:.0}");
        assert!(sent < optimum * allowed, "{nodes} {rate} {dist:?}: {sent} of {optimum}");
    }
}

/// The beginning and the end of a cut, and its pairs of nodes.
type Cut = (Duration, Duration, BTreeSet<(String, String)>);

/// The cuts of a run.
fn cuts(ops: &[Op]) -> Vec<Cut> {
    let mut all = Vec::new();
    let changes: Vec<_> = ops.iter().filter(|op| op.f.ends_with("-partition")).collect();
    for (at, op) in changes.iter().enumerate() {
        let text = op.value.as_ref().map(|value| value.get()).unwrap_or_default();
        let Ok(grudge) = serde_json::from_str::<BTreeMap<String, Vec<String>>>(text) else {
            continue;
        };
        let heal = changes[at..].iter().find(|op| op.f == "stop-partition").unwrap();
        let pairs = grudge.into_iter().flat_map(|(to, from)| {
            from.into_iter().flat_map(move |from| [(to.clone(), from.clone()), (from, to.clone())])
        });
        all.push((op.time, heal.time, pairs.collect()));
    }
    all
}

/// If two nodes reach each other directly, each sees the other one's values within two seconds.
/// Within two seconds after a partition, all nodes see all values.
#[test]
fn through_partitions_whoever_can_exchange_values_does() {
    const BOUND: Duration = Duration::from_secs(2);
    // If a run begins with a partition, the nodes do not know the round trip yet.
    const BEGINNING: Duration = Duration::from_secs(8);
    let seed = 3;
    let mut options = options(25, 100.0, 100, seed);
    options.nemesis.insert(Fault::Partition);
    let (world, figures) = run(options, None);
    let ops = world.history().ops();
    let cuts = cuts(ops);
    let longest = cuts.iter().map(|(from, to, _)| *to - *from).max().unwrap();
    let lengths: Vec<_> = cuts.iter().map(|(from, to, _)| *to - *from).collect();
    println!("seed {seed}: partitions of {lengths:?}, {figures:?}");
    let max = Duration::from_millis(figures.max_ms);
    assert!(max <= longest + BOUND, "seed {seed}: {max:?} after {longest:?}");

    let node_of = |op: &Op| match op.process {
        Process::Client(thread) => format!("n{}", thread % 25),
        Process::Nemesis => panic!("no client"),
    };
    let mut adds: Vec<(Duration, String, u64)> = Vec::new();
    for op in world.history().client_ops().filter(|op| op.kind == OpType::Ok) {
        let value = op.value.as_ref().map(|value| value.get()).unwrap_or_default();
        if op.f == "broadcast" {
            adds.push((op.time, node_of(op), value.parse().unwrap()));
            continue;
        }
        let begun = world.history().invocation(op).unwrap().time;
        if begun < BEGINNING {
            continue;
        }
        let reader = node_of(op);
        let seen: BTreeSet<u64> =
            serde_json::from_str::<Vec<u64>>(value).unwrap().into_iter().collect();
        for (added, origin, value) in &adds {
            let since = begun.saturating_sub(BOUND);
            let pair = (origin.clone(), reader.clone());
            // The two seconds begin when the network last changed, at the earliest.
            let is_cut = cuts.iter().any(|(from, to, pairs)| {
                let is_new = (since..=begun).contains(from) || (since..=begun).contains(to);
                is_new || (*from <= begun && *to >= since && pairs.contains(&pair))
            });
            assert!(
                *added > since || is_cut || seen.contains(value),
                "seed {seed}: {reader} has not seen {value} of {origin} at {begun:?}, added at {added:?}"
            );
        }
    }
}
