//! Elections when nodes fail, and the messages that remain.

use std::time::Duration;

use kafka_log::{Config, Rule, Rules};
use serde_json::{Value, json};

use crate::cluster::{A_WHILE, Cluster};

/// The time from the loss of a leader until sends work again.
const ELECTED_WITHIN: Duration = Duration::from_secs(2);

fn all(count: u64) -> Value {
    (0..count).map(|n| json!([n, n])).collect()
}

#[test]
fn a_leader_that_is_gone_is_replaced_within_two_seconds() {
    for is_crash in [true, false] {
        let mut cluster = Cluster::three();
        for n in 0..3 {
            cluster.send("n1", n, n);
        }
        let (old, followers) = (cluster.leader(), cluster.followers());
        if is_crash {
            cluster.crash(old);
        } else {
            cluster.cut_off(old);
        }
        let began = cluster.now;
        cluster.send(followers[0], 3, 3);
        assert!(cluster.now - began <= ELECTED_WITHIN, "{:?}", cluster.now - began);
        if is_crash {
            cluster.start(old);
        } else {
            cluster.heal();
        }
        cluster.run_for(A_WHILE);
        assert_ne!(cluster.leader(), old);
        assert_eq!(cluster.in_sync().len(), 3, "the old one is back in sync");
        for name in ["n1", "n2", "n3"] {
            assert_eq!(cluster.poll(name, 0), all(4), "{name}");
        }
    }
}

/// A partition that has no news when a follower falls keeps it in sync. The next send takes it out.
#[test]
fn each_partition_of_a_leader_goes_on_without_a_follower_that_has_crashed() {
    let config = Config { partitions: 4, linger: Duration::ZERO, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2"], config);
    let keys: Vec<String> = (0..12).map(|n| format!("k{n}")).collect();
    let send = |cluster: &mut Cluster, key: &str, within: Duration| {
        let id = cluster.begin("n1", json!({"type": "send", "key": key, "msg": 1}));
        cluster.run_for(within);
        cluster.reply(id).map(|reply| reply["type"].clone())
    };
    for key in &keys {
        assert_eq!(send(&mut cluster, key, A_WHILE), Some(json!("send_ok")), "{key}");
    }
    cluster.crash("n2");
    for key in &keys {
        // Long enough for a suspicion.
        let reply = send(&mut cluster, key, Duration::from_secs(1));
        cluster.run_for(A_WHILE);
        // Sends to partitions that the other node led begin with an election.
        let again = send(&mut cluster, key, Duration::from_secs(1));
        assert_eq!(again, Some(json!("send_ok")), "{key}, first {reply:?}");
    }
}

#[test]
fn a_leader_without_its_followers_and_lin_kv_acknowledges_nothing() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    let (leader, followers) = (cluster.leader(), cluster.followers());
    cluster.cut_off(leader);
    let lonely = cluster.ask(leader, json!({"type": "send", "key": "k", "msg": 99}));
    assert_eq!((&lonely["type"], &lonely["code"]), (&json!("error"), &json!(0)), "{lonely}");
    cluster.send(followers[0], 1, 1);
    cluster.heal();
    cluster.run_for(A_WHILE);
    // The old leader has truncated its own message.
    assert_eq!(cluster.poll(leader, 0), all(2));
}

#[test]
fn a_leader_that_restarts_leads_on_in_a_new_epoch() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    let leader = cluster.leader();
    let epoch = cluster.partition(leader).epoch();
    cluster.crash(leader);
    cluster.start(leader);
    assert_eq!(cluster.leaders(), Vec::<&str>::new(), "it does not serve yet");
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.leader(), leader);
    assert!(cluster.partition(leader).epoch() > epoch);
    cluster.send(leader, 1, 1);
}

#[test]
fn a_replica_that_lost_its_records_is_out_of_sync_until_it_has_caught_up() {
    let mut cluster = Cluster::three();
    for n in 0..100 {
        cluster.send("n1", n, n);
    }
    for name in [cluster.followers()[0], cluster.leader()] {
        let before = cluster.kv["partition-0"]["in_sync"].clone();
        cluster.crash(name);
        cluster.lose_records(name);
        cluster.start(name);
        cluster.run_for(A_WHILE);
        let after = cluster.kv["partition-0"]["in_sync"].clone();
        assert_ne!(before, after, "its old self is out");
        assert_eq!(cluster.in_sync().len(), 3, "and its new self is in");
        assert_eq!(cluster.partition(name).log().end(), 100);
    }
    cluster.send("n1", 100, 100);
}

#[test]
fn a_replica_that_lost_committed_entries_does_not_lead_and_no_offset_gets_another_message() {
    let mut cluster = Cluster::three();
    for n in 0..3 {
        cluster.send("n1", n, n);
    }
    let (leader, followers) = (cluster.leader(), cluster.followers());
    for follower in &followers {
        cluster.crash(follower);
    }
    // As the only replica in sync, it acknowledges.
    cluster.send(leader, 3, 3);
    assert_eq!(cluster.in_sync(), [leader]);
    cluster.crash(leader);
    cluster.lose_records(leader);
    for name in ["n1", "n2", "n3"] {
        cluster.start(name);
    }
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
    for name in ["n1", "n2", "n3"] {
        let reply = cluster.ask(name, json!({"type": "send", "key": "k", "msg": 4}));
        assert_eq!(reply["type"], "error", "{name}");
    }
    // Polls still return everything that the others are known to have.
    for name in followers {
        let shown = cluster.poll(name, 0);
        assert!([all(2), all(3)].contains(&shown), "{name}: {shown}");
    }
}

#[test]
fn a_new_leader_that_crashed_before_it_knew_leads_after_its_restart() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    let (old, chosen) = (cluster.leader(), cluster.followers()[0]);
    cluster.crash(chosen);
    let mut record = cluster.kv["partition-0"].clone();
    let id = record["in_sync"].as_array().unwrap().iter().find(|id| id[0] == chosen).cloned();
    record["version"] = json!(record["version"].as_u64().unwrap() + 1);
    record["epoch"] = json!(record["epoch"].as_u64().unwrap() + 1);
    record["leader"] = id.clone().unwrap();
    record["in_sync"] = json!([id.unwrap()]);
    cluster.kv.insert("partition-0".into(), record);
    // The old leader cannot lead, either.
    cluster.crash(old);
    cluster.start(old);
    cluster.start(chosen);
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.leader(), chosen);
    cluster.send(old, 1, 1);
}

/// The follower answers every packet, but never gets an entry.
fn strip_entries_for_n3(message: &mut Value) {
    if message["dest"] == "n3"
        && let Some(body) = message["body"].as_object_mut()
    {
        body.remove("appends");
    }
}

#[test]
fn a_follower_that_answers_but_gets_no_entries_leaves_the_in_sync_set_before_sends_time_out() {
    let mut cluster = Cluster::three();
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    // The leader must not be the stalled follower.
    if cluster.leader() == "n3" {
        cluster.crash("n3");
        cluster.send("n1", 1, 1);
        cluster.start("n3");
        cluster.run_for(A_WHILE);
    }
    let (leader, offset) = (cluster.leader(), cluster.partition("n3").log().end());
    let other = if leader == "n1" { "n2" } else { "n1" };
    assert_eq!(cluster.in_sync().len(), 3);
    cluster.latency = Duration::from_millis(10);
    cluster.on_the_way = Some(strip_entries_for_n3);
    let began = cluster.now;
    // `other` forwards the send again and again.
    cluster.send(other, 7, offset);
    let took = cluster.now - began;
    assert!(took < Duration::from_millis(3_000), "{took:?}");
    assert!(!cluster.in_sync().contains(&"n3".to_owned()));
}

#[test]
fn the_only_replica_that_restarts_shows_its_last_message_at_once() {
    for names in [&["n1"][..], &["n1", "n2", "n3"]] {
        let config = Config { partitions: 1, replication: 1, ..Config::default() };
        let mut cluster = Cluster::new(names, config);
        for n in 0..3 {
            cluster.send("n1", n, n);
        }
        let leader = cluster.leader();
        cluster.crash(leader);
        cluster.start(leader);
        let poll = cluster.begin(leader, json!({"type": "poll", "offsets": {"k": 0}}));
        assert_eq!(cluster.reply(poll).unwrap()["msgs"]["k"], all(3), "{names:?}");
        cluster.send("n1", 3, 3);
    }
}

/// KIP-966: the last replica in sync loses its records. Nothing was committed since the others
/// left.
#[test]
fn an_eligible_replica_leads_if_all_that_are_in_sync_lost_their_records() {
    for (in_sync_min, is_available) in [(1, false), (2, true)] {
        let config = Config { partitions: 1, in_sync_min, ..Config::default() };
        let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
        cluster.send("n1", 0, 0);
        cluster.run_for(A_WHILE);
        let (leader, followers) = (cluster.leader(), cluster.followers());
        cluster.crash(followers[0]);
        cluster.send(leader, 1, 1);
        cluster.crash(followers[1]);
        // The leader notices, and is the only replica in sync.
        let _ = cluster.ask(leader, json!({"type": "send", "key": "k", "msg": 9}));
        cluster.run_for(A_WHILE);
        assert_eq!(cluster.in_sync(), [leader]);
        cluster.crash(leader);
        cluster.lose_records(leader);
        // This replica left earlier: it lacks a message.
        cluster.start(leader);
        cluster.start(followers[0]);
        cluster.run_for(A_WHILE);
        assert_eq!(cluster.leaders(), Vec::<&str>::new());
        cluster.start(followers[1]);
        cluster.run_for(A_WHILE);
        if !is_available {
            assert_eq!(cluster.leaders(), Vec::<&str>::new());
            continue;
        }
        assert_eq!(cluster.leaders(), [followers[1]]);
        assert_eq!(cluster.in_sync().len(), 3);
        for name in ["n1", "n2", "n3"] {
            let shown = cluster.poll(name, 0);
            assert_eq!(shown[1], json!([1, 1]), "{name}: {shown}");
        }
    }
}

/// The new leader reads its own record when the follower is found to be down.
#[test]
fn a_follower_that_dies_with_its_leader_leaves_the_in_sync_set() {
    for kv_latency in [0, 100, 200, 250, 300, 400] {
        let mut cluster = Cluster::three();
        cluster.send("n1", 0, 0);
        cluster.run_for(A_WHILE);
        let (leader, followers) = (cluster.leader(), cluster.followers());
        cluster.kv_latency = Duration::from_millis(kv_latency);
        cluster.crash(leader);
        cluster.crash(followers[1]);
        for msg in 1..4 {
            cluster.begin(followers[0], json!({"type": "send", "key": "k", "msg": msg}));
        }
        cluster.run_for(A_WHILE);
        assert_eq!(cluster.in_sync(), [followers[0]], "{kv_latency} ms");
        assert_eq!(cluster.partition(followers[0]).high(), 4, "{kv_latency} ms");
    }
}

/// No client sends anything, but the last committed message is not shown yet.
#[test]
fn followers_that_come_back_without_their_leader_elect_one_and_show_the_committed_messages() {
    let mut cluster = Cluster::three();
    for n in 0..3 {
        cluster.send("n1", n, n);
    }
    let (leader, followers) = (cluster.leader(), cluster.followers());
    for name in ["n1", "n2", "n3"] {
        cluster.crash(name);
    }
    for name in &followers {
        cluster.start(name);
    }
    cluster.run_for(A_WHILE);
    assert_ne!(cluster.leader(), leader);
    for name in followers {
        assert_eq!(cluster.poll(name, 0), all(3), "{name}");
    }
}

/// KIP-966: a replica whose records are known to be lost is not eligible.
#[test]
fn a_replica_that_lost_its_records_is_not_eligible() {
    let config = Config { partitions: 1, in_sync_min: 2, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2"], config);
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let follower = cluster.followers()[0];
    cluster.crash(follower);
    cluster.lose_records(follower);
    cluster.start(follower);
    while cluster.in_sync().len() == 2 {
        cluster.run_for(Duration::from_millis(1));
    }
    assert_eq!(cluster.kv["partition-0"].get("eligible"), None);
}

/// The node that takes over is the only replica in sync at first, and refuses sends. A send of its
/// own client may be in another log by then. So that send waits, and succeeds once enough replicas
/// are in sync.
#[test]
fn a_send_of_the_node_that_takes_over_does_not_wait_for_its_deadline() {
    for kv_latency in [0, 20, 100] {
        let config =
            Config { partitions: 1, in_sync_min: 2, linger: Duration::ZERO, ..Config::default() };
        let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
        cluster.send("n1", 0, 0);
        cluster.run_for(A_WHILE);
        cluster.latency = Duration::from_millis(20);
        cluster.kv_latency = Duration::from_millis(kv_latency);
        let (leader, followers) = (cluster.leader(), cluster.followers());
        cluster.cut_off(followers[1]);
        while cluster.in_sync().len() == 3 {
            cluster.begin(leader, json!({"type": "send", "key": "k", "msg": 1}));
            cluster.run_for(Duration::from_millis(50));
        }
        let send = cluster.begin(followers[0], json!({"type": "send", "key": "k", "msg": 2}));
        cluster.heal();
        cluster.cut_off(leader);
        cluster.run_for(ELECTED_WITHIN);
        let reply = cluster.reply(send);
        let kind = reply.as_ref().and_then(|reply| reply["type"].as_str());
        assert_eq!(kind, Some("send_ok"), "{kv_latency} ms: {reply:?}");
    }
}

/// A follower has just taken a send of message 1, whose leader is to die. Message 0 is committed.
/// Returns the cluster and the send.
fn before_the_leader_dies(rules: Rules) -> (Cluster, u64) {
    let config = Config { partitions: 1, linger: Duration::ZERO, rules, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    cluster.latency = Duration::from_millis(10);
    let follower = cluster.followers()[0];
    let send = cluster.begin(follower, json!({"type": "send", "key": "k", "msg": 1}));
    (cluster, send)
}

/// KIP-360: a leader appends a forwarded send, and dies before its answer comes. The node that
/// forwarded the send tries again at the next leader. Returns the messages and the reply.
fn retry_after_the_leader_died(rules: Rules) -> (Value, Value) {
    let (mut cluster, send) = before_the_leader_dies(rules);
    let (leader, followers) = (cluster.leader(), cluster.followers());
    while followers.iter().any(|name| cluster.partition(name).log().end() < 2) {
        cluster.run_for(Duration::from_millis(1));
    }
    assert_eq!(cluster.reply(send), None, "the followers have it, and the client knows nothing");
    cluster.crash(leader);
    cluster.run_for(ELECTED_WITHIN);
    let reply = cluster.reply(send).unwrap();
    cluster.start(leader);
    cluster.run_for(A_WHILE);
    let messages = cluster.poll(leader, 0);
    for name in followers {
        assert_eq!(cluster.poll(name, 0), messages, "{name}");
    }
    (messages, reply)
}

#[test]
fn a_send_that_is_tried_again_after_its_leader_died_is_in_the_log_once() {
    let (messages, reply) = retry_after_the_leader_died(Rules::default());
    assert_eq!(messages, all(2));
    assert_eq!((&reply["type"], &reply["offset"]), (&json!("send_ok"), &json!(1)), "{reply}");
    let (messages, _) = retry_after_the_leader_died(Rules::without(Rule::AppendOnce));
    assert_eq!(messages, json!([[0, 0], [1, 1], [2, 1]]), "the new leader appended it again");
}

#[test]
fn a_send_that_only_its_dead_leader_had_is_appended_by_the_next_one() {
    let (mut cluster, send) = before_the_leader_dies(Rules::default());
    let (leader, followers) = (cluster.leader(), cluster.followers());
    while cluster.partition(leader).log().end() < 2 {
        cluster.run_for(Duration::from_millis(1));
    }
    // No message of the leader arrives any more.
    cluster.cut_off(leader);
    cluster.run_for(Duration::from_millis(20));
    cluster.crash(leader);
    cluster.heal();
    assert!(followers.iter().all(|name| cluster.partition(name).log().end() == 1));
    // Another message gets the offset that the dead leader had given out.
    let other = cluster.begin(followers[1], json!({"type": "send", "key": "k", "msg": 2}));
    cluster.run_for(ELECTED_WITHIN);
    let offsets = [send, other].map(|id| cluster.reply(id).unwrap()["offset"].take());
    assert!(offsets == [json!(1), json!(2)] || offsets == [json!(2), json!(1)], "{offsets:?}");
    // The old leader's copy is cut off, wherever the next leader has the send.
    cluster.start(leader);
    cluster.run_for(A_WHILE);
    let mut expected = vec![json!([0, 0]), json!([offsets[0], 1]), json!([offsets[1], 2])];
    expected.sort_by_key(|message| message[0].as_u64());
    for name in [leader, followers[0], followers[1]] {
        assert_eq!(cluster.poll(name, 0), json!(expected), "{name}");
    }
}

/// A packet comes two elections late, with an acknowledgement. Its sender has truncated the entries
/// that it acknowledged. Returns how many sends the leader of the third epoch acknowledges then,
/// and the messages that remain after it has died.
fn after_a_late_acknowledgement(rules: Rules) -> (usize, Value) {
    let config = Config { partitions: 1, linger: Duration::ZERO, rules, ..Config::default() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let (leader, follower, other) =
        (cluster.leader(), cluster.followers()[0], cluster.followers()[1]);
    let begin = |cluster: &mut Cluster, client: u64, msg: u64| {
        let body = json!({"type": "send", "key": "k", "msg": msg});
        cluster.begin_as(&format!("c{client}"), leader, body)
    };
    // One follower gets five entries, and its acknowledgement does not arrive.
    cluster.latency = Duration::from_millis(10);
    cluster.cut_off(other);
    (1..6).for_each(|n| _ = begin(&mut cluster, n, 10 + n));
    cluster.run_for(Duration::from_millis(15));
    cluster.cut_off(leader);
    cluster.run_for(Duration::from_millis(10));
    let acknowledges = |message: &&Value| {
        message["src"] == follower
            && message["dest"] == leader
            && message["body"]["acks"].is_array()
    };
    let late = cluster.said.iter().rfind(acknowledges).cloned().unwrap();
    assert_eq!(late["body"]["acks"][0]["end"], 6, "{late}");
    // The other follower leads, and has none of them. All clients give up.
    cluster.heal();
    cluster.cut_off(leader);
    cluster.cut_off(follower);
    cluster.send(other, 1, 1);
    cluster.run_for(A_WHILE);
    cluster.heal();
    cluster.run_for(A_WHILE);
    assert_eq!((cluster.leader(), cluster.in_sync().len()), (other, 3));
    assert_eq!(cluster.partition(follower).log().end(), 2);
    // The first leader leads again, and the follower is in sync.
    cluster.crash(other);
    cluster.send(leader, 2, 2);
    assert_eq!((cluster.leader(), cluster.in_sync().len()), (leader, 2));
    // It has sent three more entries, which are lost, when the late packet comes. Then it dies.
    let sends: Vec<u64> = (3..6).map(|n| begin(&mut cluster, n, n)).collect();
    cluster.cut_off(follower);
    cluster.run_for(Duration::from_millis(30));
    cluster.heal();
    cluster.deliver_late(late);
    let replies = sends.into_iter().filter_map(|id| cluster.reply(id));
    let acknowledged = replies.filter(|reply| reply["type"] == "send_ok").count();
    cluster.crash(leader);
    cluster.send(follower, 9, 3);
    (acknowledged, cluster.poll(follower, 0))
}

/// KIP-320. `sweep_with_late_acknowledgements` has such packets, too.
#[test]
fn an_acknowledgement_that_comes_two_elections_late_counts_for_nothing() {
    let messages = json!([[0, 0], [1, 1], [2, 2], [3, 9]]);
    assert_eq!(after_a_late_acknowledgement(Rules::default()), (0, messages.clone()));
    // If it counted, three sends would be acknowledged and lost.
    let rules = Rules::without(Rule::CheckAckEpoch);
    assert_eq!(after_a_late_acknowledgement(rules), (3, messages));
}
