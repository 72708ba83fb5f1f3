//! Partitions of the network whose sides all reach `lin-kv`, as in Maelstrom: each side may change the record, and
//! the smaller side leaves the other one time to act first.

use std::time::Duration;

use kafka_log::Config;
use serde_json::{Value, json};

use crate::cluster::{A_WHILE, Cluster};

fn all(count: u64) -> Value {
    (0..count).map(|n| json!([n, n])).collect()
}

#[test]
fn the_majority_side_of_a_partition_replaces_a_leader_on_the_other_side() {
    for ahead_ms in [0, 10, 100, 300] {
        let mut cluster = Cluster::three();
        cluster.spares_services = true;
        cluster.send("n1", 0, 0);
        let (old, followers) = (cluster.leader(), cluster.followers());
        cluster.cut_off(old);
        // A client of the old leader is the first to ask.
        let lonely = cluster.begin(old, json!({"type": "send", "key": "k", "msg": 99}));
        cluster.run_for(Duration::from_millis(ahead_ms));
        let began = cluster.now;
        cluster.send(followers[0], 1, 1);
        assert!(cluster.now - began <= Duration::from_secs(1), "{:?}", cluster.now - began);
        cluster.heal();
        cluster.run_for(A_WHILE);
        // The send of that client goes to the new leader, or has failed.
        let polled = cluster.poll(old, 0);
        match cluster.reply(lonely) {
            Some(reply) if reply["type"] == "send_ok" => {
                assert_eq!(polled, json!([[0, 0], [1, 1], [2, 99]]));
            }
            reply => assert_eq!(polled, all(2), "{reply:?}"),
        }
    }
}

/// One partition of the log on three of five nodes. Each node reaches `lin-kv` all the time.
fn five() -> Cluster {
    let config = Config { partitions: 1, linger: Duration::ZERO, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3", "n4", "n5"], config);
    cluster.spares_services = true;
    cluster.send("n1", 0, 0);
    cluster
}

/// The other replicas: the followers of the leader.
fn other_replicas(cluster: &Cluster) -> Vec<&'static str> {
    let without = cluster.followers();
    let replicas = cluster.in_sync();
    without.into_iter().filter(|name| replicas.iter().any(|replica| replica == name)).collect()
}

/// The leader asks only its followers. It has to find out that the other nodes are silent, too.
#[test]
fn a_leader_that_is_cut_off_from_more_nodes_than_its_followers_leaves_them_time() {
    for ahead_ms in [0, 300, 1_000] {
        let mut cluster = five();
        let (old, others) = (cluster.leader(), other_replicas(&cluster));
        cluster.cut_off(old);
        cluster.begin(old, json!({"type": "send", "key": "k", "msg": 99}));
        cluster.run_for(Duration::from_millis(ahead_ms));
        let began = cluster.now;
        cluster.send(others[0], 1, 1);
        let took = cluster.now - began;
        assert!(took <= Duration::from_secs(1), "{took:?} after {ahead_ms} ms");
    }
}

#[test]
fn a_follower_that_is_cut_off_does_not_replace_a_leader_that_goes_on() {
    for (ahead_ms, sends) in [(0, 1), (1_000, 1), (0, 5)] {
        let mut cluster = five();
        let (leader, others) = (cluster.leader(), other_replicas(&cluster));
        let epoch = cluster.partition(leader).epoch();
        cluster.cut_off(others[0]);
        cluster.begin(others[0], json!({"type": "send", "key": "k", "msg": 99}));
        cluster.run_for(Duration::from_millis(ahead_ms));
        for n in 1..=sends {
            let began = cluster.now;
            cluster.send(leader, n, n);
            let took = cluster.now - began;
            assert!(took <= Duration::from_secs(1), "{took:?} after {ahead_ms} ms");
        }
        cluster.run_for(A_WHILE);
        assert_eq!(cluster.partition(leader).epoch(), epoch, "{ahead_ms} ms");
    }
}

/// The leader restarts, so it does not wait before it leads on. By then it misses the followers.
#[test]
fn a_leader_that_leads_on_in_the_minority_keeps_the_other_replicas_in_sync_for_a_while() {
    let mut cluster = five();
    let leader = cluster.leader();
    cluster.cut_off(leader);
    cluster.crash(leader);
    cluster.kv_latency = Duration::from_millis(450);
    cluster.start(leader);
    cluster.begin(leader, json!({"type": "send", "key": "k", "msg": 99}));
    cluster.run_for(Duration::from_millis(1_400));
    assert_eq!((&cluster.kv["partition-0"]["epoch"], cluster.in_sync().len()), (&json!(2), 3));
    cluster.run_for(Duration::from_secs(2));
    assert_eq!(cluster.in_sync(), [leader]);
}

#[test]
fn a_follower_takes_over_if_nearly_all_other_nodes_have_crashed() {
    let mut cluster = five();
    let others = other_replicas(&cluster);
    let rest: Vec<_> = cluster.followers().into_iter().filter(|name| *name != others[0]).collect();
    for name in rest.into_iter().chain([cluster.leader()]) {
        cluster.crash(name);
    }
    let began = cluster.now;
    cluster.send(others[0], 1, 1);
    let took = cluster.now - began;
    assert!(took > Duration::from_millis(1_500) && took < Duration::from_secs(4), "{took:?}");
}

/// If no other side takes over, a leader goes on without the replicas that are gone.
#[test]
fn a_leader_whose_followers_have_all_crashed_goes_on_alone() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    let (leader, followers) = (cluster.leader(), cluster.followers());
    followers.iter().for_each(|name| cluster.crash(name));
    let began = cluster.now;
    cluster.send(leader, 1, 1);
    let took = cluster.now - began;
    assert!(took > Duration::from_millis(1_500) && took < Duration::from_millis(2_500), "{took:?}");
    assert_eq!(cluster.in_sync().len(), 1);
}
