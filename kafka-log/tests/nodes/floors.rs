//! A follower that starts again, and a leader that has deleted messages of many keys, or of long
//! keys.

use std::time::Duration;

use kafka_log::{Config, Floor, Retention};
use serde_json::{Value, json};

use crate::cluster::{A_WHILE, Cluster};

/// A cluster of three that deletes nearly all messages, and all messages of these keys. Returns it
/// with a follower that does not run, and has to start again.
fn with_deleted_keys(config: Config, keys: &[String]) -> (Cluster, &'static str) {
    let retention = Retention { segment_bytes: 40, bytes_max: Some(100), age_max: None };
    let config = Config { partitions: 1, retention, ..config };
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
    cluster.latency = Duration::from_millis(1);
    for key in keys {
        let reply = cluster.ask("n1", json!({"type": "send", "key": key, "msg": 1}));
        assert_eq!(reply["type"], "send_ok");
    }
    for n in 0..60 {
        cluster.send("n1", 1_000 + n, n);
    }
    cluster.run_for(A_WHILE);
    assert!(cluster.partition(cluster.leader()).log().start() > keys.len() as u64);
    let anew = cluster.followers()[0];
    cluster.crash(anew);
    cluster.lose_records(anew);
    cluster.said.clear();
    (cluster, anew)
}

/// Checks that the node is in sync, and counts the deleted messages of each key as the leader does.
fn knows_all(cluster: &Cluster, name: &str, keys: &[String]) {
    assert!(cluster.in_sync().iter().any(|other| other == name), "{:?}", cluster.in_sync());
    let leader = cluster.leader();
    let [floor, copy] = [leader, name].map(|name| cluster.partition(name).log().floor());
    assert!(keys.iter().all(|key| floor.next.get(key.as_str()) == Some(&1)));
    let others = |floor: &Floor| floor.next.clone().into_iter().filter(|(key, _)| **key != *"k");
    assert!(others(&floor).eq(others(&copy)));
}

/// Number of packets with a part of a floor.
fn parts(cluster: &Cluster) -> usize {
    let floor = |message: &&Value| !message["body"]["appends"][0]["floor"].is_null();
    cluster.said.iter().filter(floor).count()
}

#[test]
fn deleted_messages_of_keys_that_are_longer_than_a_packet_together_keep_no_follower_out() {
    // As small for these keys as 8 MiB are for keys of 4 MB.
    const BUDGET: usize = 1 << 20;
    let keys: Vec<String> = (0..5).map(|n| format!("{n}{}", "x".repeat(500_000))).collect();
    let config = Config { packet_bytes: BUDGET, ..Config::default() };
    let (mut cluster, anew) = with_deleted_keys(config, &keys);
    cluster.start(anew);
    cluster.run_for(Duration::from_secs(1));
    for message in &cluster.said {
        let bytes = message["body"]["appends"].to_string().len();
        assert!(bytes <= BUDGET, "{bytes} bytes");
    }
    knows_all(&cluster, anew, &keys);
    assert_eq!(parts(&cluster), 3);
}

#[test]
fn a_floor_arrives_in_parts_though_some_are_lost_and_more_is_deleted_meanwhile() {
    const BUDGET: usize = 1_000;
    let keys: Vec<String> = (0..60).map(|n| format!("{n}\u{1}{}", "x".repeat(200))).collect();
    let config = Config { packet_bytes: BUDGET, batch_bytes: 400, ..Config::default() };
    let (mut cluster, anew) = with_deleted_keys(config, &keys);
    cluster.on_the_way = Some(|message| {
        let body = &mut message["body"];
        if body["number"].as_u64().is_some_and(|number| number % 5 == 0) {
            body.as_object_mut().map(|body| body.remove("appends"));
        }
        if body["number"].as_u64().is_some_and(|number| number % 7 == 0) {
            body.as_object_mut().map(|body| body.remove("acks"));
        }
    });
    cluster.start(anew);
    let leader = cluster.leader();
    let start = cluster.partition(leader).log().start();
    let mut count = 60;
    while !cluster.has_messages(anew) {
        cluster.begin(leader, json!({"type": "send", "key": "k", "msg": 1_000 + count}));
        cluster.run_for(Duration::from_millis(2));
        count += 1;
        assert!(count < 2_000, "it does not get there");
    }
    assert!(cluster.partition(leader).log().start() > start + 5);
    cluster.run_for(A_WHILE);
    assert!((15..100).contains(&parts(&cluster)), "{}", parts(&cluster));
    knows_all(&cluster, anew, &keys);
    for message in &cluster.said {
        let bytes = message["body"]["appends"].to_string().len();
        assert!(bytes <= BUDGET, "{bytes}: {message}");
    }
    // The floor is on the follower's disk.
    cluster.crash(anew);
    cluster.start(anew);
    cluster.run_for(A_WHILE);
    knows_all(&cluster, anew, &keys);
    cluster.send(anew, 7, count);
}
