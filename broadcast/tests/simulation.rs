//! The handler under the built-in checker, in virtual time: a fixed set of seeds.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests may fail"
)]

use std::collections::BTreeSet;
use std::time::Duration;

#[path = "../../maelstrom-sim/tests/flooded/mod.rs"]
mod flooded;
#[path = "../../maelstrom-sim/tests/forged/mod.rs"]
mod forged;
#[path = "../../maelstrom-sim/tests/restored/mod.rs"]
mod restored;
#[path = "../../maelstrom-sim/tests/seeds/mod.rs"]
mod seeds;

use broadcast::Broadcast;
use maelstrom_core::NodeId;
use maelstrom_core::gossip::marks::{LOG_MARKS, MARKS, RESTORE_MARKS, SNAPSHOT_MARKS};
use maelstrom_core::gossip::{Config, VersionVector};
use maelstrom_sim::Test;
use maelstrom_sim::history::{Op, OpType};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::{Availability, Latency, LatencyDist, Options};
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::{Case, Exhaustive, Sweep};
use maelstrom_sim::workload;
use maelstrom_sim::world::World;

use flooded::{flood, is_flooded};
use forged::{expect_that_only_a_key_helps, sweep_with_forgery};
use restored::{Replicated, restored};
use seeds::seeds;

fn all_faults() -> Sweep {
    Sweep::new(workload::Broadcast::default(), Fault::ALL)
}

#[test]
fn sweep() {
    all_faults()
        .expecting(MARKS.iter().chain(LOG_MARKS).copied())
        .test(3, |_| Broadcast::default());
}

/// Small runs that once showed a mistake.
#[test]
fn regressions() {
    all_faults().test_regressions("tests/regressions/broadcast", |_| Broadcast::default());
}

/// Slow, stalled and failing disks, clocks that drift, slow links and losses of power come on top of
/// all other faults.
#[test]
fn sweep_on_bad_hardware() {
    let faults = Fault::ALL.into_iter().chain(Fault::HARDWARE);
    Sweep::new(workload::Broadcast::default(), faults).test_cases(
        "broadcast-hardware",
        2,
        |test| Case::new(test, |_: &NodeId| Broadcast::default()),
    );
}

#[test]
fn sweep_with_keys_and_forged_messages() {
    sweep_with_forgery(all_faults(), "broadcast-forgery", |_| Broadcast::default());
}

#[test]
fn forged_messages_are_noticed_without_keys() {
    expect_that_only_a_key_helps(&all_faults(), |_| Broadcast::default());
}

/// A node that falls behind gets the state itself, piece by piece. (With smaller pieces a snapshot
/// may take longer than the ten seconds in which a cluster has to recover.)
#[test]
fn sweep_with_small_logs_and_batches() {
    let config = Config { log_bytes_max: 3_000, batch_bytes_max: 1_000, ..Config::default() };
    let marks = MARKS.iter().chain(LOG_MARKS).chain(SNAPSHOT_MARKS).copied();
    let node = |_: &NodeId| Broadcast::new(config.clone());
    all_faults()
        .expecting(marks)
        .test_cases("broadcast-small-logs", 2, |test| Case::new(test, node));
}

#[test]
fn sweep_with_snapshots() {
    all_faults().test_snapshots("broadcast-snapshots", 2, |_| Broadcast::default());
}

/// Links carry few bytes a second, and lines are short. A node with much to send falls behind, and
/// must not send even more because of that.
#[test]
fn sweep_on_slow_links() {
    let line_bytes_max = 8 << 10;
    all_faults().test_cases("broadcast-slow-links", 2, |mut test| {
        let bandwidths = [3_000, 10_000, 50_000];
        let nth = usize::try_from(test.options.seed % 3).unwrap();
        test.options.bandwidth = Some(bandwidths[nth]);
        test.options.line_bytes_max = Some(line_bytes_max);
        Case::new(test, move |_: &NodeId| {
            Broadcast::new(Config { line_bytes_max, ..Config::default() })
        })
    });
}

/// Most values are small. Some take up to half of a line, the most that a node accepts.
#[test]
fn sweep_with_large_values() {
    all_faults().test_cases("broadcast-large", 2, with_large_values);
}

fn with_large_values(mut test: Test) -> Case<impl FnMut(&NodeId) -> Broadcast> {
    let line_bytes_max = 16 << 10;
    let bandwidths = [40_000, 100_000, 300_000];
    let nth = usize::try_from(test.options.seed % 3).unwrap();
    test.options.bandwidth = Some(bandwidths[nth]);
    test.options.line_bytes_max = Some(line_bytes_max);
    // A read returns all values in one line.
    test.options.long_lines_to_clients = true;
    test.options.rate /= 2.0;
    let large = [1_000, 3_900, 4_200, 8_100, line_bytes_max / 2];
    let lengths = [[10, 20, 50, 200].repeat(8), large.into()].concat();
    let test =
        test.with_workload(|broadcast: &mut workload::Broadcast| broadcast.lengths = lengths);
    Case::new(test, move |_: &NodeId| {
        Broadcast::new(Config { line_bytes_max, ..Config::default() })
    })
}

/// In the first run, a node that had been paused sent a fetch, which was lost. It took the pause
/// for a part of the round trip, and waited for 10 s. In the others, a node caught up over a slow
/// link. In one of them, a quarter of the bytes on that link were pushes that came too early to be
/// of use. In the last one, the node took its peer for down while the answer to its fetch came in.
#[test]
fn seeds_with_large_values_that_once_showed_a_mistake() {
    all_faults().test_seeds("broadcast-large", [276, 2_631, 2_280], with_large_values);
}

impl Replicated for Broadcast {
    fn version(&self) -> &VersionVector {
        self.gossip().replica().version()
    }
}

/// One node sometimes gets back an older copy of its folder. Other nodes have the lost entries.
#[test]
fn sweep_with_restored_folders() {
    let marks = MARKS.iter().chain(LOG_MARKS).chain(RESTORE_MARKS).copied();
    all_faults().expecting(marks).test_cases("broadcast-restored", 2, |test| {
        restored(test, false, |_| Broadcast::default())
    });
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    all_faults().test_determinism(0..2, |_| Broadcast::default());
}

/// Runs one test, and checks that it is valid.
fn valid(options: Options) -> World {
    let world =
        simulate(Test::new(workload::Broadcast::default(), options), |_| Broadcast::default());
    world.assert_valid();
    world
}

fn options(nodes: usize, seed: u64) -> Options {
    Options {
        rate: 10.0,
        time_limit: Duration::from_secs(20),
        availability: Some(Availability::Total),
        seed,
        ..Options::default().with_node_count(nodes)
    }
}

#[test]
fn no_value_is_lost_through_partitions_of_every_kind() {
    let mut kinds = BTreeSet::new();
    for seed in seeds(6) {
        let nodes = [2, 3, 5, 7][usize::try_from(seed % 4).unwrap()];
        let mut options = options(nodes, seed);
        options.nemesis.insert(Fault::Partition);
        options.nemesis_interval = Duration::from_secs(3);
        let world = valid(options);
        for op in world.history().ops().iter().filter(|op| op.f == "start-partition") {
            kinds.extend(op.value.as_ref().map(|value| value.get().to_owned()));
        }
    }
    for kind in ["one", "majority", "minority-third", "majorities-ring"] {
        assert!(kinds.contains(&format!("\"{kind}\"")), "{kind}");
    }
}

#[test]
fn messages_that_are_slow_and_overtake_each_other_do_no_harm() {
    for (seed, dist) in
        (0..).zip([LatencyDist::Constant, LatencyDist::Uniform, LatencyDist::Exponential])
    {
        let latency = Latency { mean_ms: 100, dist };
        valid(Options { latency, rate: 50.0, ..options(5, seed) });
    }
}

#[test]
fn after_a_partition_everybody_catches_up_within_three_seconds() {
    for seed in seeds(3) {
        let mut options = options(5, seed);
        options.nemesis.insert(Fault::Partition);
        // One partition from the very start, healed long before the end.
        options.nemesis_interval = Duration::from_secs(5);
        let world =
            simulate(Test::new(workload::Broadcast::default(), options), |_| Broadcast::default());
        let fields = world.assert_valid().workload.fields;
        let worst = fields["stable-latencies"]["1"].as_u64().unwrap();
        let longest = partitions(world.history().ops()).max().unwrap();
        assert!(worst <= longest + 3_000, "seed {seed}: {worst} ms, {longest} ms");
    }
}

/// The bound is that of a node that nobody floods: a gossip period, twice the latency, and a pull.
/// Nodes that have just started collect values for longer.
#[test]
fn a_flooded_node_knows_the_values_of_others_as_soon_as_ever() {
    for seed in seeds(1) {
        let world = flood(workload::Broadcast::default(), seed, |_| Broadcast::default());
        let behind = |is_of: fn(&Op) -> bool| longest_time_behind(&world, is_of);
        let (flooded, others) = (behind(is_flooded), behind(|op| !is_flooded(op)));
        println!("seed {seed}: {flooded:?} behind; others {others:?}");
        assert!(flooded < Duration::from_millis(150), "{flooded:?}, others {others:?}");
    }
}

/// By then, all nodes have exchanged values.
const START: Duration = Duration::from_secs(1);

/// The longest time that a value was acknowledged before a read by one of these clients began and
/// did not show it.
fn longest_time_behind(world: &World, is_of: fn(&Op) -> bool) -> Duration {
    let history = world.history();
    let ended = |f| history.client_ops().filter(move |op| op.f == f && op.kind == OpType::Ok);
    let begin = |op| history.invocation(op).unwrap();
    let value_of = |op| begin(op).value.as_ref().unwrap().get().to_owned();
    let acknowledged: Vec<_> = ended("broadcast").map(|op| (value_of(op), op.time)).collect();
    let reads: Vec<&Op> = ended("read").filter(|op| is_of(op) && begin(op).time > START).collect();
    assert!(acknowledged.len() > 500 && reads.len() > 15, "{} reads", reads.len());
    let times = reads.into_iter().flat_map(|read| {
        let values: Vec<u64> = serde_json::from_str(read.value.as_ref().unwrap().get()).unwrap();
        let values: BTreeSet<String> = values.iter().map(u64::to_string).collect();
        let missing = acknowledged.iter().filter(move |(value, _)| !values.contains(value));
        missing.map(|(_, time)| begin(read).time.saturating_sub(*time))
    });
    times.max().unwrap()
}

/// The length of each partition, in ms.
fn partitions(ops: &[maelstrom_sim::history::Op]) -> impl Iterator<Item = u64> + '_ {
    let starts = ops.iter().filter(|op| op.f == "start-partition");
    starts.map(|start| {
        let stop = ops.iter().find(|op| op.f == "stop-partition" && op.index > start.index);
        let length = stop.map_or(Duration::ZERO, |stop| stop.time.saturating_sub(start.time));
        u64::try_from(length.as_millis()).unwrap()
    })
}

#[test]
fn metrics_tell_that_peers_failed_and_that_all_nodes_caught_up() {
    let mut options = options(5, 0);
    options.nemesis.insert(Fault::Partition);
    options.nemesis_interval = Duration::from_secs(3);
    let world = valid(options);
    let nodes = &world.options().nodes;
    let of_each = |name: &str| -> Vec<f64> {
        nodes.iter().map(|id| world.metrics(id).unwrap().sum(name, &[])).collect()
    };
    let sum = |name| of_each(name).iter().sum::<f64>();
    let broadcasts: f64 = nodes
        .iter()
        .map(|id| {
            let answered = [("type", "broadcast"), ("outcome", "ok")];
            world.metrics(id).unwrap().sum("maelstrom_requests_total", &answered)
        })
        .sum();
    assert!(broadcasts > 50.0, "{broadcasts}");
    assert_eq!(of_each("gossip_entries"), vec![broadcasts; 5]);
    // The hub hears from all nodes. Leaves may not have heard from each other again.
    let is_hub = of_each("gossip_is_hub");
    let down = of_each("gossip_peers_down").into_iter().zip(is_hub);
    assert!(down.filter(|(_, is_hub)| *is_hub > 0.0).all(|(down, _)| down < 1.0));
    // Each node loses all or some of the others, and some nodes lose their hub.
    assert!(sum("gossip_failures_total") > 0.0 && sum("gossip_hub_changes_total") > 4.0);
    // Every entry is sent to four nodes, in batches.
    let batches = nodes.iter().map(|id| world.metrics(id).unwrap());
    let batches = batches.map(|metrics| metrics.histogram("gossip_batch_entries").unwrap().sum());
    assert!(batches.sum::<f64>() >= 4.0 * broadcasts);
    assert_eq!(sum("gossip_is_hub"), 1.0);
}

/// Two clients and a few operations: all combinations of deliveries of the first messages.
#[test]
fn exhaustive() {
    let options = Options {
        rate: 10.0,
        time_limit: Duration::from_millis(400),
        ..Options::default().with_node_count(3)
    };
    let test = Test::new(workload::Broadcast::default(), options);
    Exhaustive::new(test)
        .with_depth(3)
        .with_late_orders()
        .test("broadcast-tiny", |_| Broadcast::default());
}
