//! Requests of clients, and their replies.

use std::time::Duration;

use kafka_log::{Acks, Config, Retention, Rule, Rules};
use serde_json::{Value, json};

use crate::cluster::{A_WHILE, Cluster};

fn one() -> Cluster {
    Cluster::new(&["n1"], Config::default())
}

#[test]
fn one_node_alone_serves_without_lin_kv() {
    let mut cluster = one();
    for n in 0..5 {
        cluster.send("n1", n, n);
    }
    assert_eq!(cluster.poll("n1", 3), json!([[3, 3], [4, 4]]));
    assert_eq!(cluster.said, Vec::<Value>::new());
    cluster.crash("n1");
    cluster.start("n1");
    cluster.send("n1", 5, 5);
    assert_eq!(cluster.poll("n1", 4), json!([[4, 4], [5, 5]]));
}

#[test]
fn any_json_is_a_message_and_comes_back_as_it_was() {
    let mut cluster = one();
    let msgs = [json!(null), json!("a\"\n"), json!({"k": [1, 1.5, true]}), json!(u64::MAX)];
    for msg in &msgs {
        cluster.ask("n1", json!({"type": "send", "key": "k", "msg": msg}));
    }
    let expected: Vec<Value> = (0..).zip(&msgs).map(|(n, msg): (u64, _)| json!([n, msg])).collect();
    assert_eq!(cluster.poll("n1", 0), json!(expected));
}

#[test]
fn malformed_requests_get_error_12() {
    let mut cluster = one();
    for body in [
        json!({"type": "poll", "offsets": {"k": -1}}),
        json!({"type": "poll", "offsets": {"k": "1"}}),
        json!({"type": "poll", "offsets": {"k": 1.5}}),
        json!({"type": "poll"}),
        json!({"type": "commit_offsets", "offsets": [1]}),
        json!({"type": "commit_offsets", "offsets": {"k": null}}),
        json!({"type": "list_committed_offsets", "keys": "k"}),
        json!({"type": "send", "key": "k"}),
        json!({"type": "send", "key": 1, "msg": 1}),
        json!({"type": "send", "key": "k", "msg": "x".repeat(kafka_log::MESSAGE_BYTES_MAX)}),
    ] {
        let reply = cluster.ask("n1", body.clone());
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(12)), "{body}");
    }
    // Nothing else has happened.
    cluster.send("n1", 1, 0);
    assert_eq!(cluster.poll("n1", u64::MAX), Value::Null);
}

#[test]
fn committed_offsets_only_rise_and_are_soon_everywhere() {
    let mut cluster = Cluster::three();
    let list = |cluster: &mut Cluster, name| {
        let keys = json!({"type": "list_committed_offsets", "keys": ["a", "b", "c"]});
        cluster.ask(name, keys)["offsets"].take()
    };
    for (name, offsets) in
        [("n1", json!({"a": 5, "b": 1})), ("n2", json!({"a": 3})), ("n1", json!({"a": 4}))]
    {
        let reply = cluster.ask(name, json!({"type": "commit_offsets", "offsets": offsets}));
        assert_eq!(reply["type"], "commit_offsets_ok");
    }
    assert_eq!(list(&mut cluster, "n1"), json!({"a": 5, "b": 1}));
    cluster.run_for(A_WHILE);
    for name in ["n1", "n2", "n3"] {
        assert_eq!(list(&mut cluster, name), json!({"a": 5, "b": 1}), "{name}");
    }
    // A node has the offsets that it has acknowledged, even if others committed them before.
    for name in ["n1", "n2"] {
        cluster.crash(name);
    }
    cluster.start("n2");
    assert_eq!(list(&mut cluster, "n2")["a"], 3);
    cluster.run_for(A_WHILE);
    assert_eq!(list(&mut cluster, "n2")["a"], 5);
}

#[test]
fn every_node_writes_and_reads_every_key() {
    let names = ["n1", "n2", "n3", "n4", "n5"];
    let mut cluster = Cluster::new(&names, Config::default());
    for n in 0..50_u64 {
        let (key, name) = ((n % 10).to_string(), names[usize::try_from(n % 5).unwrap()]);
        let reply = cluster.ask(name, json!({"type": "send", "key": key, "msg": n}));
        assert_eq!(reply["offset"], n / 10, "{reply}");
    }
    cluster.run_for(A_WHILE);
    let offsets: serde_json::Map<String, Value> =
        (0..10).map(|key| (key.to_string(), json!(2))).collect();
    for name in names {
        let reply = cluster.ask(name, json!({"type": "poll", "offsets": offsets}));
        for key in 0..10 {
            let expected = json!([[2, 20 + key], [3, 30 + key], [4, 40 + key]]);
            assert_eq!(reply["msgs"][key.to_string()], expected, "{name}");
        }
    }
    cluster.said.clear();
    cluster.run_for(Duration::from_secs(600));
    assert_eq!(cluster.said.len(), 0, "an idle cluster is silent");
}

/// Two keys of partitions that have the same first replica, and no other in common. Some node keeps
/// neither. Returns the keys, that replica and that node.
fn keys_with_one_replica_in_common(
    cluster: &Cluster,
    names: &[&'static str],
) -> ([String; 2], &'static str, &'static str) {
    let placement = cluster.handler("n1").placement();
    let of = |key: &str| placement.replicas(placement.partition(key)).to_vec();
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let pairs = keys.iter().flat_map(|a| keys.iter().map(move |b| (a, b)));
    for (a, b) in pairs {
        let (at_a, at_b) = (of(a), of(b));
        let name = |id: &str| names.iter().find(|name| **name == id).copied();
        let reader =
            names.iter().find(|name| !at_a.iter().chain(&at_b).any(|replica| **replica == ***name));
        if let Some(reader) = reader
            && at_a[0] == at_b[0]
            && at_a[1] != at_b[1]
        {
            return ([a.clone(), b.clone()], name(&at_a[0]).unwrap(), reader);
        }
    }
    panic!("no such keys");
}

#[test]
fn a_poll_that_is_asked_again_asks_a_replica_of_each_of_its_keys() {
    let names = ["n1", "n2", "n3", "n4", "n5"];
    let config = Config { partitions: 16, replication: 2, ..Config::default() };
    let mut cluster = Cluster::new(&names, config);
    let (keys, silent, reader) = keys_with_one_replica_in_common(&cluster, &names);
    for key in &keys {
        let reply = cluster.ask("n1", json!({"type": "send", "key": key, "msg": 7}));
        assert_eq!(reply["type"], "send_ok", "{reply}");
    }
    cluster.run_for(A_WHILE);
    cluster.cut_off(silent);
    let offsets: Value = keys.iter().map(|key| (key.clone(), json!(0))).collect();
    let reply = cluster.ask(reader, json!({"type": "poll", "offsets": offsets}));
    let expected: Value = keys.iter().map(|key| (key.clone(), json!([[0, 7]]))).collect();
    assert_eq!(reply["msgs"], expected, "{silent} is silent, and {reader} asks");
}

#[test]
fn lin_kv_hears_nothing_in_steady_state() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    cluster.said.clear();
    for n in 1..1_000 {
        cluster.send(["n1", "n2", "n3"][usize::try_from(n % 3).unwrap()], n, n);
    }
    assert!(cluster.said.iter().all(|message| message["dest"] != "lin-kv"));
}

#[test]
fn with_too_few_in_sync_a_send_is_refused_and_not_stored() {
    let config = Config { partitions: 1, in_sync_min: 2, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2"], config);
    cluster.send("n1", 0, 0);
    let leader = cluster.leader();
    let follower = cluster.followers()[0];
    cluster.crash(follower);
    // A send that is under way when the follower leaves is not known to be stored.
    let reply = cluster.ask(leader, json!({"type": "send", "key": "k", "msg": 1}));
    assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(0)), "{reply}");
    cluster.run_for(A_WHILE);
    let reply = cluster.ask(leader, json!({"type": "send", "key": "k", "msg": 2}));
    assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(11)), "{reply}");
    cluster.start(follower);
    cluster.run_for(A_WHILE);
    cluster.send(follower, 3, 2);
    for name in [leader, follower] {
        cluster.run_for(A_WHILE);
        assert_eq!(cluster.poll(name, 0), json!([[0, 0], [1, 1], [2, 3]]), "{name}");
    }
}

#[test]
fn a_new_leader_with_too_few_in_sync_refuses_nothing_that_the_old_one_may_have() {
    for (rules, code) in [(Rules::default(), 0), (Rules::without(Rule::RefuseUnsent), 11)] {
        let config = Config { partitions: 1, in_sync_min: 2, rules, ..Config::default() };
        let mut cluster = Cluster::new(&["n1", "n2"], config);
        cluster.send("n1", 0, 0);
        let (old, new) = (cluster.leader(), cluster.followers()[0]);
        cluster.crash(old);
        // The node forwards the send to the old leader before it knows of the failure. Then this
        // node leads, alone.
        let reply = cluster.ask(new, json!({"type": "send", "key": "k", "msg": 1}));
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(code)), "{reply}");
        assert_eq!(cluster.leader(), new);
        // The node never forwarded the later send.
        let reply = cluster.ask(new, json!({"type": "send", "key": "k", "msg": 2}));
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(11)), "{reply}");
    }
}

#[test]
fn with_acks_of_the_leader_nobody_waits_for_followers() {
    let config = Config { partitions: 1, acks: Acks::Leader, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
    cluster.send("n1", 0, 0);
    let (leader, followers) = (cluster.leader(), cluster.followers());
    for follower in &followers {
        cluster.cut_off(follower);
    }
    let send = cluster.begin(leader, json!({"type": "send", "key": "k", "msg": 1}));
    assert_eq!(cluster.reply(send).unwrap()["offset"], 1);
    cluster.heal();
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.poll(followers[0], 1), json!([[1, 1]]));
}

#[test]
fn a_follower_that_lacks_deleted_entries_begins_behind_them() {
    let retention = Retention { segment_bytes: 40, bytes_max: Some(100), age_max: None };
    let mut cluster =
        Cluster::new(&["n1", "n2", "n3"], Config { partitions: 1, retention, ..Config::default() });
    cluster.send("n1", 100, 0);
    let (leader, late) = (cluster.leader(), cluster.followers()[0]);
    cluster.crash(late);
    for n in 1..200 {
        cluster.send(leader, 100 + n, n);
    }
    assert!(cluster.partition(leader).log().start() > 100);
    cluster.start(late);
    cluster.run_for(A_WHILE);
    let (log, copy) = (cluster.partition(leader).log(), cluster.partition(late).log());
    assert_eq!(copy.end(), log.end());
    assert!(copy.start() >= 100, "{}", copy.start());
    assert!(cluster.in_sync().iter().any(|name| name == late));
    assert_eq!(cluster.poll(late, 198), json!([[198, 298], [199, 299]]));
    cluster.crash(late);
    cluster.start(late);
    cluster.run_for(A_WHILE);
    cluster.send(late, 300, 200);
}

#[test]
fn a_follower_that_falls_behind_entries_deleted_meanwhile_begins_behind_them() {
    let retention = Retention { segment_bytes: 40, bytes_max: Some(100), age_max: None };
    let config = Config { partitions: 1, retention, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
    cluster.send("n1", 100, 0);
    let (leader, late) = (cluster.leader(), cluster.followers()[0]);
    cluster.run_for(A_WHILE);
    cluster.cut_off(late);
    for n in 1..200 {
        cluster.send(leader, 100 + n, n);
    }
    cluster.heal();
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.partition(late).log().end(), 200);
    assert!(cluster.in_sync().iter().any(|name| name == late));
    assert_eq!(cluster.poll(late, 198), json!([[198, 298], [199, 299]]));
}

#[test]
fn a_follower_that_lags_is_sent_the_next_piece_when_it_has_the_one_before() {
    let config = Config { partitions: 1, batch_bytes: 200, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
    cluster.send("n1", 0, 0);
    let (leader, late) = (cluster.leader(), cluster.followers()[0]);
    cluster.cut_off(late);
    for n in 1..200 {
        cluster.send(leader, n, n);
    }
    cluster.heal();
    cluster.said.clear();
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.partition(late).log().end(), 200);
    let (mut pieces, mut unanswered) = (0, 0_u32);
    for message in &cluster.said {
        if message["src"] == leader && message["dest"] == late {
            pieces += usize::from(message["body"].get("appends").is_some());
            unanswered += 1;
        } else if message["src"] == late {
            unanswered = 0;
        }
        assert!(unanswered <= 3, "{pieces} pieces, {unanswered} unanswered");
    }
    assert!((40..100).contains(&pieces), "{pieces}");
}

#[test]
fn sends_linger_for_others_but_not_if_all_clients_wait() {
    let config = Config { partitions: 1, linger: Duration::from_millis(5), ..Config::default() };
    let send = |msg: u64| json!({"type": "send", "key": "k", "msg": msg});
    for (clients, expected) in [(vec!["c1"], vec![1]), (vec!["c1", "c2", "c3"], vec![0, 0, 1])] {
        let mut cluster = Cluster::new(&["n1", "n2"], config.clone());
        cluster.send("n1", 0, 0);
        cluster.run_for(A_WHILE);
        let follower = cluster.followers()[0];
        cluster.said.clear();
        // Each client is active.
        for client in &clients {
            cluster.begin_as(client, follower, json!({"type": "poll", "offsets": {}}));
        }
        let mut sent = Vec::new();
        for (msg, client) in (0..).zip(&clients) {
            cluster.begin_as(client, follower, send(msg));
            sent.push(cluster.said.iter().filter(|m| m["src"] == follower).count());
        }
        assert_eq!(sent, expected, "{clients:?}");
    }
}

#[test]
fn gauges_leave_out_partitions_to_which_a_node_only_forwards_sends() {
    let config = Config { partitions: 1, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3", "n4"], config);
    let other = cluster.without_a_replica();
    cluster.send(other, 0, 0);
    cluster.run_for(A_WHILE);
    let gauges = ["kafka_partitions", "kafka_partitions_leaderless"];
    let of = |name| gauges.map(|gauge| cluster.metric(name, gauge, &[]));
    assert_eq!((of(other), of(cluster.leader())), ([0.0, 0.0], [1.0, 0.0]));
}
