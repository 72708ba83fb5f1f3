//! The handler under the built-in checker, in virtual time: a fixed set of seeds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::collections::BTreeSet;
use std::time::Duration;

#[path = "../../maelstrom-sim/tests/forged/mod.rs"]
mod forged;
#[path = "../../maelstrom-sim/tests/curves/mod.rs"]
mod points;
#[path = "../../maelstrom-sim/tests/restored/mod.rs"]
mod restored;
#[path = "../../maelstrom-sim/tests/seeds/mod.rs"]
mod seeds;

use g_counter::{GCounter, PERIOD_MIN};
use maelstrom_core::NodeId;
use maelstrom_core::gossip::marks::MARKS;
use maelstrom_core::gossip::{Config, LINE_BYTES_MIN, VersionVector};
use maelstrom_sim::Test;
use maelstrom_sim::history::{History, Op, OpType, Process};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::{Availability, Latency, LatencyDist, Options};
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::{Case, Exhaustive, Sweep};
use maelstrom_sim::workload;
use maelstrom_sim::world::World;

use forged::{expect_that_only_a_key_helps, sweep_with_forgery};
use points::Point;
use restored::{Replicated, restored};
use seeds::seeds;

/// The node with the parameters of the program.
fn counter(_node: &NodeId) -> GCounter {
    GCounter::new(Config { period_min: PERIOD_MIN, ..Config::default() })
}

#[test]
fn sweep() {
    let sweep = Sweep::new(workload::GCounter::default(), Fault::ALL);
    sweep.expecting(MARKS.iter().copied()).test(3, counter);
}

/// Small runs that once showed a mistake.
#[test]
fn regressions() {
    let sweep = Sweep::new(workload::GCounter::default(), Fault::ALL);
    sweep.test_regressions("tests/regressions/g-counter", counter);
}

/// Slow, stalled and failing disks, clocks that drift, slow links and losses of power come on top of
/// all other faults.
#[test]
fn sweep_on_bad_hardware() {
    let faults = Fault::ALL.into_iter().chain(Fault::HARDWARE);
    Sweep::new(workload::GCounter::default(), faults)
        .test_cases("g-counter-hardware", 2, |test| Case::new(test, counter));
}

#[test]
fn sweep_with_keys_and_forged_messages() {
    let sweep = Sweep::new(workload::GCounter::default(), Fault::ALL);
    sweep_with_forgery(sweep, "g-counter-forgery", counter);
}

#[test]
fn forged_messages_are_noticed_without_keys() {
    let sweep = Sweep::new(workload::GCounter::default(), Fault::ALL);
    expect_that_only_a_key_helps(&sweep, counter);
}

#[test]
fn sweep_with_snapshots() {
    let sweep = Sweep::new(workload::GCounter::default(), Fault::ALL);
    sweep.test_snapshots("g-counter-snapshots", 2, counter);
}

/// Links carry few bytes a second, and lines are short. A node with much to send falls behind, and
/// must not send even more because of that.
#[test]
fn sweep_on_slow_links() {
    let line_bytes_max = 8 << 10;
    Sweep::new(workload::GCounter::default(), Fault::ALL).test_cases(
        "g-counter-slow-links",
        2,
        |mut test| {
            let bandwidths = [3_000, 10_000, 50_000];
            let nth = usize::try_from(test.options.seed % 3).unwrap();
            test.options.bandwidth = Some(bandwidths[nth]);
            test.options.line_bytes_max = Some(line_bytes_max);
            Case::new(test, move |_: &NodeId| {
                let config = Config { line_bytes_max, period_min: PERIOD_MIN, ..Config::default() };
                GCounter::new(config)
            })
        },
    );
}

/// A message is large here if the names of the nodes are long, since it names each log. With so
/// many lives of nodes, the names of all logs take up to two thirds of a line. Numbers are large,
/// too.
#[test]
fn sweep_with_large_values() {
    let line_bytes_max = LINE_BYTES_MIN;
    Sweep::new(workload::GCounter::default(), Fault::ALL).test_cases(
        "g-counter-large",
        2,
        |mut test| {
            let seed = usize::try_from(test.options.seed).unwrap();
            test.options.bandwidth = Some([200_000, 500_000, 2_000_000][seed % 3]);
            test.options.line_bytes_max = Some(line_bytes_max);
            // This makes some ten lives more than nodes.
            test.options.nemesis_interval = Duration::from_secs(1);
            test.options.nemesis.insert(Fault::Crash);
            let lengths = [2_000, 10, 500, 100];
            for (nth, id) in test.options.nodes.iter_mut().enumerate() {
                // All names are long, or their lengths differ.
                let length = if seed.is_multiple_of(2) { 2_000 } else { lengths[nth % 4] };
                *id = format!("{id:x<length$}").into();
            }
            let test = test.with_workload(|counter: &mut workload::GCounter| {
                counter.factor = Some(1_000_000_000_000_007);
            });
            Case::new(test, move |_: &NodeId| {
                let config = Config { line_bytes_max, period_min: PERIOD_MIN, ..Config::default() };
                GCounter::new(config)
            })
        },
    );
}

impl Replicated for GCounter {
    fn version(&self) -> &VersionVector {
        self.gossip().replica().version()
    }
}

/// One node sometimes gets back an older copy of its folder. Other nodes have the lost entries.
#[test]
fn sweep_with_restored_folders() {
    Sweep::new(workload::GCounter::default(), Fault::ALL).test_cases(
        "g-counter-restored",
        2,
        |test| restored(test, false, counter),
    );
}

/// Runs one test, and checks that it is valid.
fn valid(options: Options) -> World {
    let world = simulate(Test::new(workload::GCounter::default(), options), counter);
    world.assert_valid();
    world
}

/// The cost against the nodes, the load and the latency.
#[test]
fn curves() {
    let measure = |point: Point| {
        let time_limit = Duration::from_secs(20);
        msgs_per_op(&valid(point.options(time_limit)))
    };
    let theory = |point: Point| point.gossip(PERIOD_MIN, 0.5);
    println!("{}", points::check("g-counter", 0.85..=1.15, measure, theory));
}

fn msgs_per_op(world: &World) -> f64 {
    let results = serde_json::to_value(world.results()).unwrap();
    results["net"]["servers"]["msgs-per-op"].as_f64().unwrap()
}

fn options(nodes: usize, seed: u64) -> Options {
    Options {
        rate: 100.0,
        time_limit: Duration::from_secs(20),
        availability: Some(Availability::Total),
        seed,
        ..Options::default().with_node_count(nodes)
    }
}

fn partitioned(nodes: usize, seed: u64) -> Options {
    let mut options = options(nodes, seed);
    options.nemesis.insert(Fault::Partition);
    options
}

/// The first runs with fast disks, and their seeds. In other runs a record takes up to 0.3 s to
/// become durable. There every message of a node waits for the disk, so clients wait, and send
/// fewer requests.
fn on_fast_disks(count: usize, options: impl Fn(u64) -> Options) -> Vec<(u64, World)> {
    let is_fast = |(_, world): &(u64, World)| {
        let history = world.history();
        let slow = |op: &Op| op.time - history.invocation(op).unwrap().time > DISK_FAST;
        !ok(history, "add").any(slow)
    };
    (0..).map(|seed| (seed, valid(options(seed)))).filter(is_fast).take(count).collect()
}

const DISK_FAST: Duration = Duration::from_millis(20);

#[test]
fn challenge_4_takes_few_messages_and_reads_are_fresh_outside_partitions() {
    let mut judged = 0;
    for (seed, world) in on_fast_disks(4, |seed| partitioned(3, seed)) {
        let per_op = msgs_per_op(&world);
        let (reads, lag) = lag(world.history(), 3);
        println!("seed {seed}: {per_op:.3} messages per operation, {reads} reads, {lag:?} behind");
        assert!(per_op <= 0.15, "seed {seed}: {per_op}");
        assert!(lag <= LAG_MAX, "seed {seed}: {lag:?}");
        judged += reads;
    }
    assert!(judged > 1_000, "{judged}");
}

#[test]
fn reads_are_fresh_again_soon_after_each_partition() {
    let nemesis_interval = Duration::from_secs(4);
    let options = |seed| Options { nemesis_interval, ..partitioned(3, seed) };
    let mut judged = 0;
    for (seed, world) in on_fast_disks(4, options) {
        let (reads, lag) = lag(world.history(), 3);
        println!("seed {seed}: {reads} reads, {lag:?} behind");
        assert!(lag <= LAG_MAX, "seed {seed}: {lag:?}");
        judged += reads;
    }
    assert!(judged > 800, "{judged}");
}

#[test]
fn reads_are_fresh_and_messages_are_few_whatever_the_load() {
    for (nodes, rate, mean_ms) in
        [(2, 10.0, 0), (2, 100.0, 1), (2, 1_000.0, 0), (5, 100.0, 10), (5, 1_000.0, 1)]
    {
        let latency = Latency { mean_ms, dist: LatencyDist::Constant };
        let time_limit = Duration::from_secs(6);
        let options = |seed| Options { rate, latency, time_limit, ..options(nodes, seed) };
        let (_, world) = on_fast_disks(1, options).remove(0);
        let (reads, lag) = lag(world.history(), nodes);
        let sent = world.net_stats().servers.sent;
        let what = format!("{nodes} nodes, {rate} operations per second, {mean_ms} ms");
        println!("{what}: {sent} messages, {reads} reads, {lag:?} behind");
        assert!(lag <= LAG_MAX, "{what}: {lag:?}");
        // 2(n - 1) a period, and a few at the start and at the end.
        let periods = time_limit.as_millis() / PERIOD_MIN.as_millis();
        let expected = 2 * (nodes as u128 - 1) * (periods + 5);
        assert!(u128::from(sent) <= expected, "{what}: {sent} messages");
    }
}

#[test]
fn nothing_is_lost_through_partitions_of_every_kind() {
    let mut kinds = BTreeSet::new();
    for seed in seeds(6) {
        let nodes = [2, 3, 5, 7][usize::try_from(seed % 4).unwrap()];
        let nemesis_interval = Duration::from_secs(3);
        let world = valid(Options { nemesis_interval, rate: 20.0, ..partitioned(nodes, seed) });
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
        valid(Options { latency, ..options(5, seed) });
    }
}

#[test]
fn one_node_alone_says_nothing_to_nobody() {
    assert_eq!(valid(options(1, 0)).net_stats().servers.sent, 0);
}

/// The ends of the operations that succeeded.
fn ok<'a>(history: &'a History, f: &'a str) -> impl Iterator<Item = &'a Op> {
    history.client_ops().filter(move |op| op.kind == OpType::Ok && op.f == f)
}

/// By then, all nodes have exchanged values.
const START: Duration = Duration::from_secs(1);

/// The largest lag of a read.
const LAG_MAX: Duration = Duration::from_millis(500);

/// The time after a partition in which nodes may notice its end and catch up: they try a lost node
/// once a second.
const HEALED_AFTER: Duration = Duration::from_millis(1_500);

/// The number of reads outside partitions, and the largest lag of one. If the lag is L, each read
/// has every add that another node had acknowledged more than L before the read began.
///
/// A read has all adds of its own node. They are left out, as they must not stand in for adds of
/// other nodes. Valid only if every operation succeeds, so that a process is a thread.
fn lag(history: &History, nodes: usize) -> (usize, Duration) {
    let quiet = quiet_times(history);
    let node_of = |op: &Op| match op.process {
        Process::Client(process) => usize::try_from(process).unwrap() % nodes,
        Process::Nemesis => usize::MAX,
    };
    let number = |op: &Op| op.value.as_ref().unwrap().get().parse::<u64>().unwrap();
    let adds: Vec<(Duration, usize, u64)> =
        ok(history, "add").map(|op| (op.time, node_of(op), number(op))).collect();
    let (mut judged, mut worst) = (0, Duration::ZERO);
    for read in ok(history, "read").filter(|op| !op.is_final) {
        let began = history.invocation(read).unwrap().time;
        if began < START || !quiet.iter().any(|(from, to)| *from <= began && read.time < *to) {
            continue;
        }
        judged += 1;
        let before = adds.iter().take_while(|(time, ..)| *time <= began);
        let (own, others): (Vec<&(Duration, usize, u64)>, Vec<_>) =
            before.partition(|add| add.1 == node_of(read));
        let own: u64 = own.iter().map(|add| add.2).sum();
        let mut missing_from = number(read) - own;
        for (time, _, delta) in others {
            if *delta > missing_from {
                worst = worst.max(began - *time);
                break;
            }
            missing_from -= delta;
        }
    }
    (judged, worst)
}

/// The times without a partition, each with its beginning and its end.
fn quiet_times(history: &History) -> Vec<(Duration, Duration)> {
    let (mut times, mut since) = (Vec::new(), Some(Duration::ZERO));
    for op in history.ops() {
        match op.f {
            "start-partition" => times.extend(since.take().map(|from| (from, op.time))),
            "stop-partition" => since = Some(op.time + HEALED_AFTER),
            _ => {}
        }
    }
    times.extend(since.map(|from| (from, Duration::MAX)));
    times
}

/// Two clients and a few operations: all combinations of deliveries of the first messages.
#[test]
fn exhaustive() {
    let options = Options {
        rate: 10.0,
        time_limit: Duration::from_millis(400),
        ..Options::default().with_node_count(3)
    };
    let test = Test::new(workload::GCounter::default(), options);
    Exhaustive::new(test).with_depth(3).with_late_orders().test("g-counter-tiny", counter);
}
