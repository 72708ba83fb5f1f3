//! The handler under the built-in checker, in virtual time: a fixed set of seeds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maelstrom_core::gossip::VersionVector;
use maelstrom_core::gossip::marks::{LOG_MARKS, MARKS, RESTORE_MARKS, SNAPSHOT_MARKS};
use maelstrom_core::{NodeId, gossip};
use maelstrom_sim::Test;
use maelstrom_sim::checker::Verdict;
use maelstrom_sim::checker::txn::Model;
use maelstrom_sim::history::{History, OpType};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::{Availability, Latency, LatencyDist, Options};
use maelstrom_sim::results::Results;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::{Case, Exhaustive, Sweep};
use maelstrom_sim::workload::{TxnOptions, TxnRwRegister};
use maelstrom_sim::world::World;
use serde_json::Value;
use txn_rw::marks::{LIMIT_MARKS, STEP_MARKS, UNCOMMITTED_MARKS};
use txn_rw::{Config, Isolation, PERIOD_MIN, Registers, TxnRw, marks};

use crate::forged::{expect_that_only_a_key_helps, sweep_with_forgery};
use crate::restored::{Replicated, restored};

/// The node with its default parameters.
fn node(_node: &NodeId) -> TxnRw {
    TxnRw::new(Config::default())
}

fn isolated(isolation: Isolation) -> impl Fn(&NodeId) -> TxnRw {
    move |_| TxnRw::new(Config { isolation, ..Config::default() })
}

fn all_faults() -> Sweep {
    Sweep::new(TxnRwRegister::strongest_available(), Fault::ALL)
}

#[test]
fn sweep() {
    let marks = MARKS.iter().chain(LOG_MARKS).chain(marks::MARKS).copied();
    all_faults().expecting(marks).test(3, node);
}

/// Small runs that once showed a mistake.
#[test]
fn regressions() {
    all_faults().test_regressions("tests/regressions/txn-rw-register", node);
}

/// Slow, stalled and failing disks, clocks that drift, slow links and losses of power come on top of
/// all other faults.
#[test]
fn sweep_on_bad_hardware() {
    let faults = Fault::ALL.into_iter().chain(Fault::HARDWARE);
    Sweep::new(TxnRwRegister::strongest_available(), faults).test_cases(
        "txn-rw-hardware",
        2,
        |test| Case::new(test, node),
    );
}

#[test]
fn sweep_with_keys_and_forged_messages() {
    sweep_with_forgery(all_faults(), "txn-rw-forgery", node);
}

#[test]
fn forged_messages_are_noticed_without_keys() {
    expect_that_only_a_key_helps(&all_faults(), node);
}

#[test]
fn sweep_with_snapshots() {
    all_faults().test_snapshots("txn-rw-snapshots", 2, node);
}

/// Batches are often cut, a node that lacks more than a few of them gets the map in pieces, and
/// held transactions are folded. (The sizes are not smaller, since they bound how much is left to
/// fetch when the faults end and before all replicas are compared. If a fetch is lost that was sent
/// just before that, to a node that was paused, the next one comes ten seconds later.)
#[test]
fn sweep_with_small_batches_and_short_logs() {
    let gossip = || gossip::Config {
        batch_bytes_max: 4_000,
        log_bytes_max: 6_000,
        period_min: PERIOD_MIN,
        ..gossip::Config::default()
    };
    let small = |_: &NodeId| {
        let config = Config { gossip: gossip(), ..Config::default() };
        TxnRw::with_map(config, Registers::with_held_bytes_max(1_000))
    };
    let engine = MARKS.iter().chain(LOG_MARKS).chain(SNAPSHOT_MARKS);
    let own = marks::MARKS.iter().chain(marks::SNAPSHOT_MARKS);
    all_faults().expecting(engine.chain(own).copied()).test_cases(
        "txn-rw-small-batches",
        2,
        |test| Case::new(test, small),
    );
}

fn weaker(model: Model) -> Sweep {
    let consistency_models = vec![model];
    let options = TxnOptions { consistency_models, ..TxnOptions::default() };
    let workload = TxnRwRegister { options, ..TxnRwRegister::strongest_available() };
    Sweep::new(workload, Fault::ALL)
}

/// Transactions take several steps. A node that crashes forgets those that have not ended.
#[test]
fn sweep_at_read_committed() {
    let marks = marks::MARKS.iter().chain(STEP_MARKS).copied();
    let sweep = weaker(Model::ReadCommitted).named("txn-rw-read-committed").expecting(marks);
    sweep.test(1, isolated(Isolation::ReadCommitted));
}

#[test]
fn sweep_at_read_uncommitted() {
    let marks = marks::MARKS.iter().chain(STEP_MARKS).chain(UNCOMMITTED_MARKS).copied();
    let sweep = weaker(Model::ReadUncommitted).named("txn-rw-read-uncommitted").expecting(marks);
    sweep.test(1, isolated(Isolation::ReadUncommitted));
}

/// Nodes refuse many transactions: those of more than three operations, those that are too large
/// beside the running ones, and in the end all that write.
#[test]
fn sweep_with_low_limits() {
    let limited = |_: &NodeId| {
        let gossip = gossip::Config { state_bytes_max: 3_000, ..Config::default().gossip };
        TxnRw::new(Config {
            isolation: Isolation::ReadCommitted,
            operations_max: 3,
            running_bytes_max: 600,
            gossip,
        })
    };
    let marks = marks::MARKS.iter().chain(STEP_MARKS).chain(LIMIT_MARKS).copied();
    let sweep = weaker(Model::ReadCommitted).expecting(marks);
    sweep.test_cases("txn-rw-limits", 2, |test| {
        // A final read reads all keys, which is more than a node takes.
        let without = |txns: &mut TxnRwRegister| txns.final_reads = false;
        Case::new(test.with_workload(without), limited)
    });
}

/// Links carry few bytes a second, and lines are short. A node with much to send falls behind, and
/// must not send even more because of that.
#[test]
fn sweep_on_slow_links() {
    all_faults().test_cases("txn-rw-slow-links", 2, on_slow_links);
}

fn on_slow_links(mut test: Test) -> Case<impl FnMut(&NodeId) -> TxnRw> {
    let line_bytes_max = 8 << 10;
    // The transactions of all clients take up to 5,000.
    let bandwidths = [10_000, 30_000, 100_000];
    let nth = usize::try_from(test.options.seed % 3).unwrap();
    test.options.bandwidth = Some(bandwidths[nth]);
    test.options.line_bytes_max = Some(line_bytes_max);
    Case::new(test, move |_: &NodeId| {
        let gossip = gossip::Config { line_bytes_max, ..Config::default().gossip };
        TxnRw::new(Config { gossip, ..Config::default() })
    })
}

/// A node that was paused measured a round trip to a restarted peer that included the pause. So it
/// waited ten seconds for the answer of a peer that was cut off, and fetched from no other.
#[test]
fn runs_with_large_messages_that_failed_once() {
    let folder = |name| format!("tests/regressions/{name}");
    let (slow, large) = ("txn-rw-slow-links", "txn-rw-large");
    all_faults().test_case_regressions(slow, folder(slow), on_slow_links);
    all_faults().test_case_regressions(large, folder(large), with_large_values);
}

/// Most values are small. In some transactions the writes take up to half of a line, the most that
/// a node accepts.
#[test]
fn sweep_with_large_values() {
    all_faults().test_cases("txn-rw-large", 2, with_large_values);
}

fn with_large_values(mut test: Test) -> Case<impl FnMut(&NodeId) -> TxnRw> {
    let line_bytes_max = 16 << 10;
    let seed = usize::try_from(test.options.seed).unwrap();
    test.options.bandwidth = Some([40_000, 100_000, 300_000][seed % 3]);
    test.options.line_bytes_max = Some(line_bytes_max);
    // A reply has as many values as the transaction reads.
    test.options.long_lines_to_clients = true;
    test.options.rate /= 2.0;
    let writes_max = seed % 4 + 1;
    let largest = (line_bytes_max / 2 - 700) / writes_max;
    let large = [largest / 4, largest / 2, largest - 100, largest];
    let lengths = [[10, 20, 50, 200].repeat(8), large.into()].concat();
    let test = test.with_workload(|txns: &mut TxnRwRegister| {
        txns.options.max_txn_length = writes_max;
        txns.lengths = lengths;
    });
    Case::new(test, move |_: &NodeId| {
        let gossip = gossip::Config { line_bytes_max, ..Config::default().gossip };
        TxnRw::new(Config { gossip, ..Config::default() })
    })
}

/// A node that had been paused sent a fetch, which was lost. It took the pause for a part of the
/// round trip, and waited for 10 s.
#[test]
fn seeds_with_large_values_that_once_showed_a_mistake() {
    all_faults().test_seeds("txn-rw-large", [276], with_large_values);
}

impl Replicated for TxnRw {
    fn version(&self) -> &VersionVector {
        self.gossip().replica().version()
    }
}

/// One node sometimes gets back an older copy of its folder. Other nodes have the lost entries. It
/// shows an older state until they have sent them, so sessions do not hold.
#[test]
fn sweep_with_restored_folders() {
    let engine = MARKS.iter().chain(LOG_MARKS).chain(RESTORE_MARKS);
    let marks = engine.chain(marks::MARKS).copied();
    all_faults().expecting(marks).test_cases("txn-rw-restored", 2, |test| {
        let test = test.with_workload(|txns: &mut TxnRwRegister| {
            txns.options.consistency_models = vec![Model::ReadAtomic];
        });
        let crash = test.options.nemesis.contains(&Fault::Crash);
        restored(test, crash, node)
    });
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    all_faults().test_determinism(0..2, node);
}

/// Runs one test, and checks that it is valid.
fn valid(test: Test, build: impl FnMut(&NodeId) -> TxnRw) -> (World, Results) {
    let world = simulate(test, build);
    let results = world.assert_valid();
    (world, results)
}

fn msgs_per_op(results: &Results) -> f64 {
    let results = serde_json::to_value(results).unwrap();
    results["net"]["servers"]["msgs-per-op"].as_f64().unwrap()
}

/// The conditions of the challenges: total availability, and two clients for each node.
fn test(nodes: usize, rate: f64, model: Model, seed: u64) -> Test {
    let mut options = Options::default().with_node_count(nodes);
    options.concurrency = 2 * nodes;
    options.rate = rate;
    options.time_limit = Duration::from_secs(10);
    options.availability = Some(Availability::Total);
    // With a slow disk, clients would wait, and send fewer requests.
    options.sync_max = Some(Duration::from_millis(1));
    options.seed = seed;
    let consistency_models = vec![model];
    let txns = TxnOptions { consistency_models, ..TxnOptions::default() };
    Test::new(TxnRwRegister { options: txns, ..TxnRwRegister::default() }, options)
}

fn partitioned(mut test: Test) -> Test {
    test.options.nemesis = BTreeSet::from([Fault::Partition]);
    test.options.nemesis_interval = Duration::from_secs(3);
    test
}

#[test]
fn challenge_6_is_valid_and_takes_few_messages_on_every_seed() {
    let seed = 0;
    let test = |nodes, model| {
        let mut test = test(nodes, 1_000.0, model, seed);
        test.options.time_limit = Duration::from_secs(2);
        test
    };
    let (alone, _) = valid(test(1, Model::ReadUncommitted), node);
    assert_eq!(alone.net_stats().servers.sent, 0);
    let two = |model| test(2, model);
    for test in [
        two(Model::ReadUncommitted),
        partitioned(two(Model::ReadUncommitted)),
        partitioned(two(Model::ReadCommitted)),
    ] {
        let (_, results) = valid(test, node);
        let per_op = msgs_per_op(&results);
        println!("seed {seed}: {per_op:.3} messages per operation");
        assert!(per_op <= 0.1, "seed {seed}: {per_op}");
    }
}

#[test]
fn the_strongest_available_model_holds_and_replicas_converge_on_any_network() {
    let dists = [LatencyDist::Constant, LatencyDist::Uniform, LatencyDist::Exponential];
    for seed in [2, 7, 8] {
        let nodes = [2, 3, 5, 7][usize::try_from(seed % 4).unwrap()];
        let mut test = partitioned(test(nodes, 100.0, Model::CausalCerone, seed));
        let mean_ms = [0, 20, 100][usize::try_from(seed % 3).unwrap()];
        test.options.latency = Latency { mean_ms, dist: dists[usize::try_from(seed / 4).unwrap()] };
        valid(test.with_workload(|txn: &mut TxnRwRegister| txn.final_reads = true), node);
    }
}

fn results(test: Test, build: impl FnMut(&NodeId) -> TxnRw) -> Results {
    let world = simulate(test, build);
    assert_eq!(world.failure(), None);
    world.results()
}

fn anomalies(results: &Results) -> BTreeSet<String> {
    serde_json::from_value(results.workload.fields["anomaly-types"].clone()).unwrap()
}

/// The first example of an anomaly in a run, if it shows the anomaly.
fn example_of(anomaly: &str, test: Test, isolation: Isolation) -> Option<Value> {
    let results = results(test, isolated(isolation));
    assert_ne!(results.valid, Verdict::Unknown);
    let is_shown = anomalies(&results).contains(anomaly);
    is_shown.then(|| results.workload.fields["anomalies"][anomaly][0].clone())
}

/// Anomalies that no system can prevent that replies without messages to others (Bailis et al.
/// 2013, section 5.2).
#[test]
fn anomalies_that_total_availability_cannot_prevent_are_found() {
    for (model, anomaly) in [
        (Model::SnapshotIsolation, "lost-update"),
        (Model::Serializable, "G2-item"),
        (Model::StrictSerializable, "stale-read-realtime"),
    ] {
        let test = |seed| partitioned(test(2, 100.0, model, seed));
        let example = (0..20).find_map(|seed| example_of(anomaly, test(seed), Isolation::Causal));
        let example = example.expect(anomaly);
        println!("{anomaly} under {}: {}", model.name(), example["ops"]);
    }
}

/// An operation: its kind, its key, and the value read or written.
type Operation = (String, u64, Option<u64>);

/// The values that a transaction read before it wrote them, and the keys that it wrote.
type View = (BTreeMap<u64, Option<u64>>, BTreeSet<u64>);

fn views(history: &History) -> Vec<View> {
    let done = history.client_ops().filter(|op| op.kind == OpType::Ok);
    let values = done.map(|op| op.value.as_ref().unwrap().get());
    let view = |text: &str| {
        let (mut reads, mut writes) = (BTreeMap::new(), BTreeSet::new());
        for (f, key, value) in serde_json::from_str::<Vec<Operation>>(text).unwrap() {
            if f == "w" {
                writes.insert(key);
            } else if !writes.contains(&key) {
                reads.insert(key, value);
            }
        }
        (reads, writes)
    };
    values.map(view).collect()
}

/// True if two transactions read the same versions of two keys, and each replaces another one of
/// them.
fn is_write_skew((reads, writes): &View, (others, overwrites): &View) -> bool {
    let is_same = |key: &u64| reads.contains_key(key) && reads.get(key) == others.get(key);
    writes.is_disjoint(overwrites) && writes.iter().any(is_same) && overwrites.iter().any(is_same)
}

/// Write skew as in the textbook. (`G2-item` means this, and lost updates as well.)
#[test]
fn write_skew_is_found() {
    let skew_of = |seed| {
        let test = partitioned(test(2, 200.0, Model::Serializable, seed));
        let test = test.with_workload(|txn: &mut TxnRwRegister| txn.options.keys.key_count = 2);
        let world = simulate(test, node);
        assert_eq!(world.results().valid, Verdict::Invalid);
        let views = views(world.history());
        let near = |at: usize| views.iter().skip(at + 1).take(200);
        let pairs = views.iter().enumerate().flat_map(|(at, one)| near(at).map(move |b| (one, b)));
        let mut skew = pairs.filter(|(one, other)| is_write_skew(one, other));
        skew.next().map(|(one, other)| format!("{one:?} and {other:?}"))
    };
    let (seed, found) = (14..60).find_map(|seed| Some((seed, skew_of(seed)?))).unwrap();
    println!("write skew, seed {seed}, reads and writes of {found}");
}

/// Each level keeps its model, and shows an anomaly that the next stronger model forbids.
#[test]
fn the_weaker_levels_show_anomalies_that_the_next_stronger_model_forbids() {
    for (isolation, holds, broken, anomaly) in [
        (Isolation::ReadUncommitted, Model::ReadUncommitted, Model::ReadCommitted, "G1b"),
        (Isolation::ReadCommitted, Model::ReadCommitted, Model::ReadAtomic, "fractured-read"),
        (Isolation::Causal, Model::CausalCerone, Model::SnapshotIsolation, "lost-update"),
    ] {
        let test = |model, seed| {
            let mut test = test(2, 200.0, model, seed);
            test.options.time_limit = Duration::from_secs(4);
            test
        };
        let world = simulate(test(holds, 0), isolated(isolation));
        world.assert_valid();
        let in_steps = isolation != Isolation::Causal;
        let reaches = |mark: &&str| world.marks().contains_key(mark);
        assert!(STEP_MARKS.iter().all(|mark| reaches(mark) == in_steps), "{isolation:?}");
        let example = example_of(anomaly, test(broken, 0), isolation);
        assert!(example.is_some(), "{isolation:?}: {anomaly}");
    }
}

/// Two clients and a few operations: all combinations of deliveries of the first messages.
#[test]
fn exhaustive() {
    let options = Options {
        rate: 10.0,
        time_limit: Duration::from_millis(400),
        ..Options::default().with_node_count(3)
    };
    let test = Test::new(TxnRwRegister::strongest_available(), options);
    Exhaustive::new(test).with_depth(3).with_late_orders().test("txn-rw-tiny", node);
}
