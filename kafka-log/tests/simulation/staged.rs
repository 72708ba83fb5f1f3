//! Tests whose faults come in the order in which one rule of the protocol matters, again and again,
//! at random times. With faults in a random order, these cases are too rare to be found.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_log::{Config, Retention, Rules};
use maelstrom_core::NodeId;
use maelstrom_sim::Test;
use maelstrom_sim::delivery::Delivery;
use maelstrom_sim::nemesis::{Fault, NemesisOp};
use maelstrom_sim::options::{Latency, LatencyDist, Options};
use maelstrom_sim::partition::{Grudge, PartitionKind};
use maelstrom_sim::rng::{self, SimRng, Stream};
use maelstrom_sim::workload::Kafka;
use rand::RngExt;
use rand::seq::SliceRandom;

/// The number of messages that may come late, more than a run has. Another number changes all
/// schedules of [`with_late_acknowledgements`].
const MAYBE_LATE: usize = 20_000;

/// A schedule of faults in the making.
struct Script {
    rng: SimRng,
    at: Duration,
    events: Vec<(Duration, NemesisOp)>,
}

impl Script {
    fn new(options: &Options) -> Self {
        let rng = rng::stream(options.seed, Stream::Settings);
        Self { rng, at: Duration::from_millis(500), events: Vec::new() }
    }

    fn wait(&mut self, ms: std::ops::Range<u64>) {
        self.at += Duration::from_millis(self.rng.random_range(ms));
    }

    fn then(&mut self, op: NemesisOp) {
        self.events.push((self.at, op));
    }

    /// Cuts these two groups off from each other, and heals all other cuts.
    fn split(&mut self, one: &[NodeId], other: &[NodeId]) {
        self.then(NemesisOp::StopPartition);
        let refuse = |nodes: &[NodeId], from: &[NodeId]| {
            let from: Vec<NodeId> = from.to_vec();
            let refused = move |node: &NodeId| (node.clone(), from.iter().cloned().collect());
            nodes.iter().map(refused).collect::<Vec<_>>()
        };
        let grudge: Grudge = refuse(one, other).into_iter().chain(refuse(other, one)).collect();
        self.then(NemesisOp::StartPartition(PartitionKind::Split, grudge));
    }

    /// Lets `dest` refuse the messages of `src`. Each is a node or a service. Earlier cuts stay.
    fn refuse(&mut self, dest: &NodeId, src: &NodeId) {
        let grudge = Grudge::from([(dest.clone(), [src.clone()].into())]);
        self.then(NemesisOp::StartPartition(PartitionKind::Split, grudge));
    }

    /// The fate of a message between nodes: one of ten comes seconds late. Later messages overtake
    /// it.
    fn delivery(&mut self) -> Delivery {
        if self.rng.random_bool(0.1) {
            Delivery::Late(Duration::from_millis(self.rng.random_range(3_000..9_000)))
        } else {
            Delivery::Prompt
        }
    }

    fn slow(&mut self, node: &NodeId, ms: std::ops::Range<u64>) {
        let by = Duration::from_millis(self.rng.random_range(ms));
        self.then(NemesisOp::Slow(node.clone(), by));
    }
}

/// Three nodes with five clients each, unless the test changes that. The network is fast unless the
/// faults make it slow.
fn three_nodes(Test { workload, options }: Test) -> Test {
    let options = Options {
        rate: 60.0,
        concurrency: 15,
        latency: Latency { mean_ms: 10, dist: LatencyDist::Exponential },
        nemesis: BTreeSet::new(),
        ..options.with_node_count(3)
    };
    Test { workload, options }
}

/// One partition on up to three nodes.
fn config(rules: Rules) -> Config {
    Config { partitions: 1, linger: Duration::ZERO, rules, ..Config::default() }
}

/// A replica is cut off until it leaves the in-sync set, and comes back slowly. At about the time
/// at which it joins again, it is alone: the other nodes crash, and their packets to it are lost.
pub(crate) fn with_joins(test: Test) -> Test {
    let mut test = three_nodes(test);
    let options = &mut test.options;
    let mut script = Script::new(options);
    while script.at < options.time_limit {
        let mut nodes = options.nodes.clone();
        nodes.shuffle(&mut script.rng);
        let (joining, others) = nodes.split_at(1);
        script.split(joining, others);
        script.wait(1_000..3_000);
        script.then(NemesisOp::StopPartition);
        script.slow(&joining[0], 0..800);
        script.wait(200..3_000);
        script.split(joining, others);
        script.then(NemesisOp::Slow(joining[0].clone(), Duration::ZERO));
        others.iter().for_each(|node| script.then(NemesisOp::Crash(node.clone())));
        script.wait(2_200..4_000);
        script.then(NemesisOp::StopPartition);
        others.iter().for_each(|node| script.then(NemesisOp::Restart(node.clone())));
        script.wait(1_000..3_000);
    }
    options.schedule = Some(script.events);
    test
}

pub(crate) fn joining(rules: Rules) -> Config {
    config(rules)
}

/// KIP-101: two nodes crash, one after the other. In some rounds the first one led, and the second
/// one leads at about the time at which the last replica hears from it. That replica does not know
/// yet which of its entries are committed.
pub(crate) fn with_two_failovers(test: Test) -> Test {
    let mut test = three_nodes(test);
    let options = &mut test.options;
    options.latency.mean_ms = 20;
    options.time_limit = Duration::from_secs(60);
    let mut script = Script::new(options);
    while script.at < options.time_limit {
        let mut nodes = options.nodes.clone();
        nodes.shuffle(&mut script.rng);
        let [first, second, last] = [0, 1, 2].map(|place: usize| nodes[place].clone());
        script.slow(&last, 200..800);
        script.wait(500..2_000);
        script.then(NemesisOp::Crash(first.clone()));
        script.wait(1_000..3_500);
        script.then(NemesisOp::Crash(second.clone()));
        script.then(NemesisOp::Slow(last, Duration::ZERO));
        script.wait(2_000..4_000);
        script.then(NemesisOp::Restart(first));
        script.then(NemesisOp::Restart(second));
        script.wait(1_000..3_000);
    }
    options.schedule = Some(script.events);
    test
}

pub(crate) fn failing_over(rules: Rules) -> Config {
    config(rules)
}

/// The first node is one of two replicas in sync. The other one stops while it leads, so that the
/// first one leads in a newer epoch. Then the first one crashes, and may lose its records. The
/// earlier leader goes on, and reaches it before any other node does.
pub(crate) fn with_a_former_leader(test: Test) -> Test {
    let mut test = three_nodes(test);
    let options = &mut test.options;
    let lin_kv: NodeId = "lin-kv".into();
    let mut script = Script::new(options);
    while script.at < options.time_limit {
        let mut nodes = options.nodes.clone();
        nodes[1..].shuffle(&mut script.rng);
        let [bad, former, third] = [0, 1, 2].map(|place: usize| nodes[place].clone());
        script.split(&[bad.clone(), former.clone()], std::slice::from_ref(&third));
        script.wait(1_000..2_500);
        script.split(&[bad.clone(), third.clone()], std::slice::from_ref(&former));
        script.then(NemesisOp::Pause(former.clone()));
        script.wait(1_500..4_000);
        script.split(&[bad.clone(), former.clone()], std::slice::from_ref(&third));
        script.then(NemesisOp::Crash(bad.clone()));
        script.slow(&lin_kv, 0..400);
        script.wait(1..300);
        script.then(NemesisOp::Restart(bad));
        script.then(NemesisOp::Resume(former));
        script.wait(500..1_500);
        script.then(NemesisOp::StopPartition);
        script.then(NemesisOp::Slow(lin_kv.clone(), Duration::ZERO));
        script.wait(1_000..3_000);
    }
    options.schedule = Some(script.events);
    test
}

/// A leader commits entries of an earlier epoch, and all nodes end before it has appended one of
/// its own. Another replica has an entry of an epoch in between, which was never committed. Figure 8 of
/// the Raft paper has this case.
///
/// The last node has no client, so no send waits for it to lead.
pub(crate) fn with_older_entries(test: Test) -> Test {
    let mut test = three_nodes(test);
    let options = &mut test.options;
    (options.rate, options.concurrency) = (3.0, 2);
    let mut script = Script::new(options);
    while script.at < options.time_limit {
        let mut nodes = options.nodes.clone();
        nodes[..2].shuffle(&mut script.rng);
        let [leader, other, idle] = [0, 1, 2].map(|place: usize| nodes[place].clone());
        // The other replica stays in sync, and lacks the newest entry.
        script.split(&[leader.clone(), idle.clone()], std::slice::from_ref(&other));
        script.wait(100..600);
        // It leads, and appends.
        script.then(NemesisOp::Crash(leader.clone()));
        script.then(NemesisOp::Pause(idle.clone()));
        script.wait(2_000..4_000);
        // The two others go on without it, and commit the older entry.
        script.then(NemesisOp::Restart(leader));
        script.then(NemesisOp::Resume(idle));
        script.wait(1_500..4_000);
        options.nodes.iter().for_each(|node| script.then(NemesisOp::Crash(node.clone())));
        script.then(NemesisOp::Forget);
        script.then(NemesisOp::StopPartition);
        script.wait(1..100);
        options.nodes.iter().for_each(|node| script.then(NemesisOp::Restart(node.clone())));
        script.wait(3_000..5_000);
    }
    options.schedule = Some(script.events);
    test
}

pub(crate) fn committing_older_entries(rules: Rules) -> Config {
    Config { in_sync_min: 2, ..config(rules) }
}

/// KIP-320: an acknowledgement comes two elections late. In each round, one node leads with a
/// follower, and the other node is cut off. The other node then leads, without their newest
/// entries, and the follower truncates them. At last the first leader leads again, in the same
/// life, and its newest entries do not reach the follower. Acknowledgements of the truncated
/// entries may come now, because some packets take seconds. Then the leader dies.
///
/// In the last seconds before that, neither of the two reaches `lin-kv`. So the leader cannot go on
/// alone, and the follower cannot replace it.
pub(crate) fn with_late_acknowledgements(test: Test) -> Test {
    let mut test = three_nodes(test);
    let options = &mut test.options;
    (options.rate, options.concurrency) = (20.0, 30);
    options.time_limit = Duration::from_secs(60);
    options.spare_services = true;
    let lin_kv: NodeId = "lin-kv".into();
    let mut script = Script::new(options);
    options.deliveries = (0..MAYBE_LATE).map(|_| script.delivery()).collect();
    while script.at < options.time_limit {
        let mut nodes = options.nodes.clone();
        nodes.shuffle(&mut script.rng);
        let [leader, follower, other] = [0, 1, 2].map(|place: usize| nodes[place].clone());
        // First election: the leader wins, and the two others join again.
        script.split(&[leader.clone(), lin_kv.clone()], &[follower.clone(), other.clone()]);
        script.wait(2_500..4_000);
        script.then(NemesisOp::StopPartition);
        script.wait(1_000..2_000);
        // The follower acknowledges entries, which the other node does not get. Second election:
        // that node wins.
        script.split(&[leader.clone(), follower.clone()], &[other.clone(), lin_kv.clone()]);
        script.wait(3_000..5_000);
        script.then(NemesisOp::StopPartition);
        script.wait(200..1_000);
        // Third election: the first leader wins.
        script.then(NemesisOp::Crash(other.clone()));
        script.refuse(&lin_kv, &follower);
        script.wait(1_200..2_200);
        script.refuse(&lin_kv, &leader);
        script.refuse(&follower, &leader);
        script.wait(1_500..3_000);
        script.then(NemesisOp::Crash(leader.clone()));
        script.then(NemesisOp::StopPartition);
        script.wait(2_000..3_000);
        script.then(NemesisOp::Restart(leader));
        script.then(NemesisOp::Restart(other));
        script.wait(500..1_500);
    }
    options.schedule = Some(script.events);
    test
}

/// With two replicas in sync at least, the leader of epoch 2 takes no sends before another replica
/// has truncated its entries. So its log stays short.
pub(crate) fn acknowledging_late(rules: Rules) -> Config {
    Config { in_sync_min: 2, ..config(rules) }
}

/// A leader has hardly any room for sends, and again and again too few replicas are in sync.
/// Packets overtake each other, so a refused copy of a send is often not the only one.
pub(crate) fn with_refusals(test: Test) -> Test {
    let mut test = three_nodes(test);
    test.options.rate = 200.0;
    test.options.concurrency = 24;
    test.options.latency.mean_ms = 100;
    test.options.nemesis = [Fault::Cut, Fault::Slow, Fault::Crash].into_iter().collect();
    test.options.nemesis_interval = Duration::from_millis(700);
    test
}

pub(crate) fn refusing(rules: Rules) -> Config {
    Config { in_sync_min: 2, pending_bytes: 40, ..config(rules) }
}

/// Two of five nodes keep a partition of a few messages. A replica that was away for a moment
/// starts again and may soon lead. Another node still waits for the answer to a deleted message.
pub(crate) fn with_deletions(test: Test) -> Test {
    let mut test = three_nodes(test);
    test.options = test.options.with_node_count(5);
    test.options.concurrency = 20;
    test.options.nemesis = [Fault::Cut, Fault::Crash].into_iter().collect();
    test.options.nemesis_interval = Duration::from_millis(700);
    test.with_workload(|kafka: &mut Kafka| {
        // Deleted messages cannot be read any more.
        kafka.harmless.extend(["lost-write", "unseen", "poll-skip"]);
        (kafka.keys.key_count, kafka.keys.max_writes_per_key) = (1, 1_024);
    })
}

pub(crate) fn deleting(rules: Rules) -> Config {
    let retention = Retention { segment_bytes: 10, bytes_max: Some(30), age_max: None };
    Config { replication: 2, retention, ..config(rules) }
}
