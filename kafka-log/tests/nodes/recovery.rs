//! Nodes that keep records, started with an empty `lin-kv`. This is every restart of a cluster
//! under Maelstrom.

use std::time::Duration;

use kafka_log::{Config, Placement, UNCLEAN_EPOCHS};
use maelstrom_core::NodeId;
use serde_json::{Value, json};

use crate::cluster::{A_WHILE, Cluster};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

fn all(count: u64) -> Value {
    (0..count).map(|n| json!([n, n])).collect()
}

/// Stops all nodes, and empties `lin-kv`.
fn stop(cluster: &mut Cluster) {
    for name in NAMES {
        cluster.crash(name);
    }
    cluster.kv.clear();
}

/// A stopped cluster with three messages. The node `lagging` has only the first one.
fn stopped_with_a_laggard(config: Config) -> (Cluster, &'static str) {
    stopped_with_partitions(Config { partitions: 1, ..config })
}

fn stopped_with_partitions(config: Config) -> (Cluster, &'static str) {
    let mut cluster = Cluster::new(&NAMES, config);
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let lagging = cluster.followers()[0];
    cluster.crash(lagging);
    let leader = cluster.leader();
    cluster.send(leader, 1, 1);
    cluster.send(leader, 2, 2);
    assert_eq!(cluster.partition(leader).high(), 3);
    stop(&mut cluster);
    (cluster, lagging)
}

fn unclean() -> Config {
    Config { unclean_recovery: true, ..Config::default() }
}

/// The error with which a node refuses a message.
fn refusal(cluster: &mut Cluster, name: &'static str) -> String {
    let reply = cluster.ask(name, json!({"type": "send", "key": "k", "msg": 9}));
    assert!([json!(0), json!(11)].contains(&reply["code"]), "{reply}");
    reply["text"].as_str().unwrap().to_owned()
}

/// Checks that all nodes show `count` messages, that the cluster takes one more, and that all
/// replicas are in sync.
fn go_on(cluster: &mut Cluster, count: u64) {
    cluster.run_for(A_WHILE);
    for name in NAMES {
        assert_eq!(cluster.poll(name, 0), all(count), "{name}");
    }
    cluster.send("n2", count, count);
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.in_sync().len(), 3);
    for name in NAMES {
        assert_eq!(cluster.poll(name, 0), all(count + 1), "{name}");
    }
}

#[test]
fn the_first_node_that_restarts_waits_for_the_others_and_nothing_is_lost() {
    for first in NAMES {
        let (mut cluster, lagging) = stopped_with_a_laggard(Config::default());
        cluster.start(first);
        cluster.run_for(A_WHILE);
        assert_eq!(cluster.leaders(), Vec::<&str>::new(), "{first} is alone, {lagging} lags");
        let text = refusal(&mut cluster, first);
        for name in NAMES.iter().filter(|name| **name != first) {
            assert!(text.contains(name), "{text}");
        }
        for name in NAMES.iter().filter(|name| **name != first) {
            cluster.start(name);
        }
        go_on(&mut cluster, 3);
        assert_ne!(cluster.partition("n1").log_id(), 0);
    }
}

#[test]
fn the_new_epoch_is_above_all_that_anybody_knows() {
    let (mut cluster, lagging) = stopped_with_a_laggard(Config::default());
    let mut epochs = Vec::new();
    for _ in 0..3 {
        for name in NAMES {
            cluster.start(name);
        }
        cluster.run_for(A_WHILE);
        epochs.push(cluster.partition(lagging).epoch());
        stop(&mut cluster);
    }
    assert!(epochs[0] > 1 && epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
}

#[test]
fn a_snapshot_names_the_log_and_the_replicas_in_sync() {
    let (mut cluster, _) = stopped_with_a_laggard(Config::default());
    for name in NAMES {
        cluster.start(name);
    }
    cluster.run_for(A_WHILE);
    let (leader, log_id) = (cluster.leader(), cluster.partition("n1").log_id());
    for name in NAMES {
        cluster.compact(name);
    }
    let known = cluster.records(leader).iter().any(|record| {
        let record: Value = serde_json::from_slice(record).unwrap();
        record["metadata"]["record"]["in_sync"].as_array().is_some_and(|all| all.len() == 3)
    });
    assert!(known);
    stop(&mut cluster);
    for name in NAMES {
        cluster.start(name);
    }
    go_on(&mut cluster, 3);
    assert_eq!(cluster.partition("n1").log_id(), log_id);
}

#[test]
fn a_node_that_lost_its_records_does_not_begin_anew_before_it_has_heard_from_all() {
    for lost in NAMES {
        let (mut cluster, _) = stopped_with_a_laggard(Config::default());
        cluster.lose_records(lost);
        cluster.start(lost);
        let _ = refusal(&mut cluster, lost);
        cluster.run_for(A_WHILE);
        assert_eq!(cluster.leaders(), Vec::<&str>::new(), "{lost} is alone");
        assert_eq!(cluster.kv.len(), 0);
    }
}

/// A replica that was in sync lost its records. It may have been the only one with the last
/// messages.
#[test]
fn a_partition_whose_last_replica_in_sync_lost_its_records_is_unavailable() {
    for is_unclean in [false, true] {
        let config = Config { unclean_recovery: is_unclean, ..Config::default() };
        let mut cluster = Cluster::new(&NAMES, Config { partitions: 1, ..config });
        cluster.send("n1", 0, 0);
        cluster.run_for(A_WHILE);
        let (leader, followers) = (cluster.leader(), cluster.followers());
        cluster.crash(followers[0]);
        cluster.crash(followers[1]);
        cluster.send(leader, 1, 1);
        stop(&mut cluster);
        cluster.lose_records(leader);
        for name in NAMES {
            cluster.start(name);
        }
        cluster.run_for(A_WHILE);
        if is_unclean {
            go_on(&mut cluster, 1);
            continue;
        }
        assert_eq!(cluster.leaders(), Vec::<&str>::new());
        let text = refusal(&mut cluster, followers[0]);
        assert!(text.contains(leader), "{text}");
    }
}

/// The disks do not tell with which `--min-isr` the entries were committed. Here the leader was
/// alone, and committed a message. Two replicas without it do not prove the opposite.
#[test]
fn nobody_is_eligible_after_a_recovery() {
    let mut cluster = Cluster::new(&NAMES, Config { partitions: 1, ..Config::default() });
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let (leader, followers) = (cluster.leader(), cluster.followers());
    cluster.crash(followers[0]);
    cluster.crash(followers[1]);
    cluster.send(leader, 1, 1);
    stop(&mut cluster);
    cluster.reconfigure(Config { partitions: 1, in_sync_min: 2, ..Config::default() });
    for name in NAMES {
        cluster.start(name);
    }
    cluster.latency = Duration::from_millis(50);
    while cluster.kv.is_empty() {
        cluster.run_for(Duration::from_millis(1));
    }
    assert_eq!(cluster.in_sync(), [leader]);
    // It loses its records before the others have caught up.
    cluster.crash(leader);
    cluster.lose_records(leader);
    cluster.start(leader);
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
}

/// Hides from all nodes that their changes of a record have succeeded.
fn lose_outcomes(message: &mut Value) {
    if message["body"]["type"] == "cas_ok" {
        message["body"]["in_reply_to"] = json!(0);
    }
}

#[test]
fn a_replica_that_joined_by_a_change_of_unknown_outcome_must_be_present_with_its_records() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let (leader, followers) = (cluster.leader(), cluster.followers());
    let (joins, other) = (followers[0], followers[1]);
    // The node loses its records, leaves, and joins again as another replica.
    cluster.crash(joins);
    cluster.lose_records(joins);
    cluster.send(leader, 1, 1);
    assert_eq!(cluster.in_sync().len(), 2);
    cluster.start(joins);
    cluster.on_the_way = Some(lose_outcomes);
    while cluster.in_sync().len() < 3 {
        cluster.run_for(Duration::from_millis(10));
    }
    cluster.on_the_way = None;
    cluster.crash(leader);
    cluster.crash(other);
    // As the only replica in sync, it takes over and acknowledges.
    cluster.send(joins, 2, 2);
    stop(&mut cluster);
    cluster.lose_records(joins);
    for name in NAMES {
        cluster.start(name);
    }
    let text = refusal(&mut cluster, leader);
    assert!(text.contains(joins), "{text}");
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
}

#[test]
fn a_description_from_before_a_node_lost_its_records_does_not_count() {
    for is_first in [false, true] {
        let (mut cluster, lagging) = stopped_with_a_laggard(Config::default());
        let mut others: Vec<&str> = NAMES.into_iter().filter(|name| *name != lagging).collect();
        if is_first {
            others.reverse();
        }
        for name in &others {
            cluster.start(name);
        }
        cluster.run_for(A_WHILE);
        cluster.crash(others[0]);
        cluster.lose_records(others[0]);
        cluster.start(others[0]);
        cluster.start(lagging);
        cluster.run_for(A_WHILE);
        assert_eq!(cluster.leaders(), Vec::<&str>::new());
        let text = refusal(&mut cluster, others[1]);
        assert!(text.contains(&format!("the records of {} are gone", others[0])), "{text}");
    }
}

#[test]
fn an_unclean_recovery_goes_on_without_missing_nodes_and_takes_them_in_later() {
    let (mut cluster, lagging) = stopped_with_a_laggard(unclean());
    cluster.start(lagging);
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.leaders(), [lagging]);
    assert!(cluster.partition(lagging).epoch() > UNCLEAN_EPOCHS);
    // The offsets of the lost messages are used again.
    cluster.send(lagging, 1, 1);
    for name in NAMES.iter().filter(|name| **name != lagging) {
        cluster.start(name);
    }
    go_on(&mut cluster, 2);
}

/// Two nodes recover without each other, from the same records.
#[test]
fn two_unclean_recoveries_do_not_share_an_epoch() {
    let mut cluster = Cluster::new(&NAMES, Config { partitions: 1, ..unclean() });
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    stop(&mut cluster);
    let mut epochs = Vec::new();
    for (name, msg) in [("n1", 1), ("n2", 2)] {
        cluster.start(name);
        cluster.run_for(A_WHILE);
        epochs.push(cluster.partition(name).epoch());
        cluster.send(name, msg, 1);
        cluster.crash(name);
        cluster.kv.clear();
    }
    assert_ne!(epochs[0], epochs[1]);
    for name in NAMES {
        cluster.start(name);
    }
    cluster.run_for(A_WHILE);
    let shown = NAMES.map(|name| cluster.poll(name, 0));
    assert!(shown.iter().all(|messages| *messages == shown[0]), "{shown:?}");
    assert_eq!(cluster.in_sync().len(), 3);
}

/// The node with the most complete log described its records, and failed before it led.
#[test]
fn a_chosen_leader_that_dies_counts_as_silent() {
    for is_unclean in [false, true] {
        let config = Config { unclean_recovery: is_unclean, partitions: 2, ..Config::default() };
        let placement = Placement::new(&NAMES.map(NodeId::from), 2, config.replication);
        let mut keys = (0..).map(|number| format!("k{number}"));
        let other_key = keys.find(|key| placement.partition(key) == 1).unwrap();
        assert_eq!(placement.partition("k"), 0);
        let (mut cluster, lagging) = stopped_with_partitions(config);
        let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != lagging).collect();
        cluster.on_the_way = Some(hide_creation);
        for name in NAMES {
            cluster.start(name);
        }
        cluster.run_for(Duration::from_secs(3));
        for name in &others {
            cluster.crash(name);
        }
        cluster.on_the_way = None;
        // A send to the other partition notices that they are down.
        cluster.begin(lagging, json!({"type": "send", "key": other_key, "msg": 1}));
        cluster.run_for(A_WHILE);
        if is_unclean {
            assert_eq!(cluster.leaders(), [lagging]);
            continue;
        }
        assert_eq!(cluster.leaders(), Vec::<&str>::new());
        let text = refusal(&mut cluster, lagging);
        assert!(others.iter().any(|name| text.contains(name)), "{text}");
    }
}

/// Turns each request to create a record into a plain change, which fails.
fn hide_creation(message: &mut Value) {
    if message["body"]["create_if_not_exists"] == true {
        message["body"]["create_if_not_exists"] = json!(false);
    }
}

/// A replica whose compare-and-set may still succeed can get entries as the leader.
#[test]
fn a_node_does_not_tell_its_entries_while_it_may_be_about_to_lead() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let (leader, followers) = (cluster.leader(), cluster.followers());
    cluster.on_the_way = Some(lose_outcomes);
    cluster.crash(leader);
    for name in &followers {
        cluster.begin(name, json!({"type": "send", "key": "k", "msg": 1}));
    }
    while cluster.kv["partition-0"]["leader"][0] == leader {
        cluster.run_for(Duration::from_millis(10));
    }
    let taking_over = cluster.kv["partition-0"]["leader"][0].as_str().unwrap().to_owned();
    cluster.kv.clear();
    cluster.said.clear();
    cluster.run_for(Duration::from_secs(1));
    let tells = |message: &&Value| message["body"].get("found").is_some();
    let told: Vec<&Value> = cluster.said.iter().filter(tells).collect();
    assert!(!told.is_empty(), "the other one asks");
    assert!(told.iter().all(|message| message["src"] != *taking_over), "{told:?}");
    cluster.on_the_way = None;
    cluster.start(leader);
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.leaders().len(), 1);
    assert_eq!(cluster.in_sync().len(), 3);
}

#[test]
fn with_the_flag_a_recovery_is_clean_if_all_are_there_in_time() {
    let (mut cluster, lagging) = stopped_with_a_laggard(unclean());
    cluster.start(lagging);
    cluster.run_for(Duration::from_secs(3));
    for name in NAMES.iter().filter(|name| **name != lagging) {
        cluster.start(name);
    }
    go_on(&mut cluster, 3);
    assert!(cluster.partition(lagging).epoch() < UNCLEAN_EPOCHS);
}

#[test]
fn records_of_another_log_are_refused_and_kept() {
    let (mut cluster, lagging) = stopped_with_a_laggard(unclean());
    let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != lagging).collect();
    // The other nodes start without records, and without the node that has some.
    for name in &others {
        cluster.lose_records(name);
        cluster.start(name);
    }
    // The first send comes too early: the unclean recovery has not happened yet.
    let _ = cluster.ask(others[0], json!({"type": "send", "key": "k", "msg": 9}));
    cluster.run_for(A_WHILE);
    for n in 0..5 {
        cluster.send(others[0], n, n);
    }
    let records = cluster.records(lagging).clone();
    cluster.start(lagging);
    cluster.run_for(A_WHILE);
    // It forwards requests, and does not show its own records.
    assert_eq!(cluster.poll(lagging, 0), all(5));
    cluster.send(lagging, 5, 5);
    cluster.said.clear();
    cluster.run_for(A_WHILE);
    assert!(cluster.said.len() < 10, "{:?}", cluster.said);
    assert_eq!(cluster.in_sync().len(), 2);
    assert!(cluster.records(lagging).starts_with(&records));
    cluster.compact(lagging);
    let text = cluster.records(lagging).iter().map(|record| String::from_utf8_lossy(record));
    let text: String = text.collect();
    assert!(text.contains(r#""k",0]"#), "{text}");
    // With an empty folder it follows.
    cluster.crash(lagging);
    cluster.lose_records(lagging);
    cluster.start(lagging);
    go_on(&mut cluster, 6);
}

#[test]
fn a_fresh_cluster_asks_nobody_for_entries() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    assert!(cluster.said.iter().all(|message| message["body"].get("found").is_none()));
    let reads = cluster.said.iter().filter(|message| message["body"]["type"] == "read");
    assert!(reads.count() <= 1);
}

/// Only `lin-kv` fails, and forgets everything.
#[test]
fn a_leader_goes_on_in_a_new_epoch_when_lin_kv_forgets_its_record() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let epoch = cluster.partition("n1").epoch();
    cluster.kv.clear();
    let follower = cluster.followers()[0];
    cluster.crash(follower);
    let leader = cluster.leader();
    // The leader cannot remove the follower from the in-sync set, as there is no record.
    let reply = cluster.ask(leader, json!({"type": "send", "key": "k", "msg": 1}));
    assert_eq!(reply["type"], "error");
    assert_eq!(cluster.leaders(), Vec::<&str>::new(), "nobody leads while one has not told");
    cluster.start(follower);
    cluster.run_for(A_WHILE);
    assert!(cluster.partition("n1").epoch() > epoch);
    let shown = cluster.poll("n1", 0);
    assert_eq!(shown, all(2), "the appended messages are not lost");
    go_on(&mut cluster, 2);
}
