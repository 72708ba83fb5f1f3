//! Packets keep to a budget of bytes, whatever items they have.

use std::time::Duration;

use kafka_log::Config;
use serde_json::{Value, json};

use crate::cluster::{A_WHILE, Cluster};

const LINGER: Duration = Duration::from_millis(5);

fn config() -> Config {
    Config { partitions: 1, linger: LINGER, ..Config::default() }
}

/// Begins all requests before the first packet leaves, and returns the replies.
fn ask_at_once(cluster: &mut Cluster, name: &'static str, bodies: Vec<Value>) -> Vec<Value> {
    let ids: Vec<u64> = bodies.into_iter().map(|body| cluster.begin(name, body)).collect();
    cluster.run_for(Duration::from_secs(5));
    ids.into_iter().map(|id| cluster.reply(id).unwrap()).collect()
}

fn send(key: &str, msg: impl Into<Value>) -> Value {
    json!({"type": "send", "key": key, "msg": msg.into()})
}

#[test]
fn answers_to_many_polls_that_are_longer_than_a_line_together_all_arrive() {
    let mut cluster = Cluster::new(&["n1", "n2", "n3", "n4", "n5"], config());
    cluster.latency = Duration::from_millis(1);
    assert_eq!(cluster.ask("n1", send("k", "x".repeat(200_000)))["type"], "send_ok");
    cluster.run_for(A_WHILE);
    let reader = cluster.without_a_replica();
    let poll = json!({"type": "poll", "offsets": {"k": 0}});
    let replies = ask_at_once(&mut cluster, reader, vec![poll; 200]);
    let answered = replies.iter().filter(|reply| reply["msgs"]["k"][0][0] == 0).count();
    assert_eq!((answered, cluster.too_long), (200, 0));
}

#[test]
fn sends_that_are_longer_than_a_line_together_all_arrive_and_hold_up_no_other() {
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config());
    cluster.latency = Duration::from_millis(1);
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let follower = cluster.followers()[0];
    let mut bodies = vec![send("k", "x".repeat(4_000_000)); 5];
    bodies.push(send("k", 7));
    let replies = ask_at_once(&mut cluster, follower, bodies);
    // The replies are in the order of the requests.
    let offsets: Vec<&Value> = replies.iter().map(|reply| &reply["offset"]).collect();
    assert_eq!((json!(offsets), cluster.too_long), (json!([1, 2, 3, 4, 5, 6]), 0));
}

#[test]
fn keys_count_as_long_as_they_are_in_json() {
    let config = Config { packet_bytes: 1 << 20, message_bytes: 1 << 18, ..config() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
    cluster.latency = Duration::from_millis(1);
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let follower = cluster.followers()[0];
    let bodies = (0..6).map(|n| send(&format!("{}{n}", "\u{1}".repeat(40_000)), n)).collect();
    for reply in ask_at_once(&mut cluster, follower, bodies) {
        assert_eq!(reply["type"], "send_ok", "{reply}");
    }
    // The key is six times as long as JSON, which is over the limit.
    let reply = cluster.ask(follower, send(&"\u{1}".repeat(50_000), 0));
    assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(12)));
    assert_packets_fit(&cluster, 1 << 20);
}

/// The total length of a packet's items, and their number.
fn items(message: &Value) -> (usize, usize) {
    let kinds = ["appends", "acks", "sends", "sent", "polls", "polled"];
    let lists = kinds.iter().filter_map(|kind| message["body"][kind].as_array());
    let all: Vec<&Value> = lists.flatten().collect();
    (all.iter().map(|item| item.to_string().len()).sum(), all.len())
}

fn assert_packets_fit(cluster: &Cluster, packet_bytes: usize) {
    let mut longest = 0;
    for message in &cluster.said {
        let (bytes, count) = items(message);
        let entries = message["body"]["appends"][0]["entries"].as_array().map_or(0, Vec::len);
        let is_single = count <= 1 && entries <= 1;
        assert!(bytes <= packet_bytes || is_single, "{bytes} bytes: {message}");
        longest = longest.max(bytes);
    }
    assert!(longest > packet_bytes / 2, "no packet was ever full: {longest}");
}

#[test]
fn a_packet_of_any_kinds_keeps_to_the_budget_and_an_item_beyond_it_goes_alone() {
    const BUDGET: usize = 1_000;
    let config = Config { partitions: 7, packet_bytes: BUDGET, ..config() };
    let names = ["n1", "n2", "n3", "n4", "n5"];
    let mut cluster = Cluster::new(&names, config);
    cluster.latency = Duration::from_millis(1);
    for round in 0..4 {
        let mut sends = Vec::new();
        for n in 0..60_usize {
            let len = if n == 30 { 3 * BUDGET } else { n * 10 };
            let key = format!("{}\u{1}", n % 12);
            sends.push(cluster.begin(names[n % 5], send(&key, "x".repeat(len))));
        }
        let offsets: Value = (0..12).map(|n| (format!("{n}\u{1}"), json!(5 * round))).collect();
        let poll = json!({"type": "poll", "offsets": offsets});
        let polls: Vec<u64> = (0..40).map(|n| cluster.begin(names[n % 5], poll.clone())).collect();
        cluster.run_for(Duration::from_secs(5));
        for id in sends {
            let reply = cluster.reply(id).unwrap();
            assert_eq!(reply["type"], "send_ok", "{reply}");
        }
        for id in polls {
            let reply = cluster.reply(id).unwrap();
            assert_eq!(reply["type"], "poll_ok", "{reply}");
        }
    }
    assert_packets_fit(&cluster, BUDGET);
}

#[test]
fn a_question_about_more_keys_than_fit_into_a_packet_is_asked_in_parts() {
    const BUDGET: usize = 1_000;
    let config = Config { packet_bytes: BUDGET, ..config() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3", "n4", "n5"], config);
    cluster.latency = Duration::from_millis(1);
    let keys: Vec<String> = (0..20).map(|n| format!("{n}{}", "\u{1}".repeat(30))).collect();
    for key in &keys {
        assert_eq!(cluster.ask("n1", send(key, 1))["type"], "send_ok");
    }
    cluster.run_for(A_WHILE);
    cluster.said.clear();
    // A reader gets all keys, though each answer has only some of them.
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        let mut missing = keys.clone();
        for _ in 0..10 {
            let offsets: Value = missing.iter().map(|key| (key.clone(), json!(0))).collect();
            let reply = cluster.ask(name, json!({"type": "poll", "offsets": offsets}));
            assert_eq!(reply["type"], "poll_ok", "{reply}");
            missing.retain(|key| reply["msgs"].get(key).is_none());
        }
        assert_eq!(missing, Vec::<String>::new(), "{name}");
    }
    assert_packets_fit(&cluster, BUDGET);
}

#[test]
fn a_poll_result_counts_with_its_keys() {
    let config = Config { poll_bytes: 1_000, ..config() };
    let mut cluster = Cluster::new(&["n1"], config);
    let keys: Vec<String> = (0..9).map(|n| format!("{n}{}", "\u{1}".repeat(50))).collect();
    for key in &keys {
        assert_eq!(cluster.ask("n1", send(key, 1))["type"], "send_ok");
    }
    let offsets: Value = keys.iter().map(|key| (key.clone(), json!(0))).collect();
    let reply = cluster.ask("n1", json!({"type": "poll", "offsets": offsets}));
    let bytes = reply["msgs"].to_string().len();
    assert!((600..=1_000).contains(&bytes), "{bytes}");
}

#[test]
fn sends_for_which_there_is_no_room_are_refused_at_once_and_others_are_not() {
    let config = Config { pending_bytes: 1_000, ..config() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
    cluster.send("n1", 0, 0);
    let (leader, follower) = (cluster.leader(), cluster.followers()[0]);
    for name in [follower, leader] {
        cluster.cut_off(name);
        let mut ids: Vec<u64> =
            (0..3).map(|_| cluster.begin(name, send("k", "\u{1}".repeat(60)))).collect();
        let last = cluster.begin(name, send("k", 1));
        let refused = cluster.reply(ids.remove(2)).unwrap();
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!(11)));
        assert_eq!(cluster.refused_for_bytes(name), 1.0, "{name}");
        ids.push(last);
        assert!(ids.iter().all(|id| cluster.reply(*id).is_none()), "{name}: the others wait");
        cluster.run_for(A_WHILE);
        cluster.heal();
        cluster.run_for(A_WHILE);
        // A request that has ended makes room.
        let replies = ask_at_once(&mut cluster, name, vec![send("k", "x".repeat(400)); 2]);
        assert!(replies.iter().all(|reply| reply["type"] == "send_ok"), "{name}: {replies:?}");
        assert_eq!(cluster.ask(name, send("k", "x".repeat(900)))["type"], "send_ok", "{name}");
        // While nothing else waits, a message may have any length.
        assert_eq!(cluster.ask(name, send("k", "x".repeat(2_000)))["type"], "send_ok", "{name}");
        assert_eq!(cluster.refused_for_bytes(name), 1.0, "{name}: only the refused one");
    }
}

#[test]
fn a_leader_at_which_too_many_bytes_wait_refuses_passed_on_messages() {
    let config = Config { pending_bytes: 1_000, ..config() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
    cluster.latency = Duration::from_millis(1);
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let [one, other] = cluster.followers().try_into().unwrap();
    cluster.on_the_way = Some(|message| {
        // No follower gets entries, so nothing is committed.
        if let Some(body) = message["body"].as_object_mut() {
            body.remove("appends");
        }
    });
    let first = cluster.begin(one, send("k", "x".repeat(600)));
    cluster.run_for(Duration::from_millis(20));
    let second = cluster.begin(other, send("k", "x".repeat(600)));
    let small = cluster.begin(other, send("k", "x".repeat(60)));
    cluster.run_for(Duration::from_millis(50));
    let refused = cluster.reply(second).unwrap();
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!(11)), "{refused}");
    assert_eq!((cluster.reply(first), cluster.reply(small)), (None, None));
    let full = [("reason", "no_room")];
    assert_eq!(cluster.metric(cluster.leader(), "kafka_sends_refused_total", &full), 1.0);
    assert_eq!(cluster.metric(cluster.leader(), "kafka_sends_refused_total", &[]), 1.0);
    // A committed send makes room.
    cluster.on_the_way = None;
    cluster.run_for(A_WHILE);
    let ids = [one, other].map(|name| cluster.begin(name, send("k", "x".repeat(450))));
    cluster.run_for(Duration::from_secs(1));
    assert!(ids.iter().all(|id| cluster.reply(*id).unwrap()["type"] == "send_ok"));
}

/// A longer entry would be in no line, and so would be all later ones of its node.
#[test]
fn offsets_that_are_too_long_for_gossip_are_refused_and_later_ones_are_soon_everywhere() {
    const LINE: usize = 1 << 20;
    let config = Config { linger: Duration::ZERO, ..config() };
    let mut cluster = Cluster::with_lines(&["n1", "n2", "n3"], config, LINE);
    let code = |cluster: &mut Cluster, offsets: &Value| {
        cluster.ask("n1", json!({"type": "commit_offsets", "offsets": offsets}))["code"].take()
    };
    let half = LINE / 2;
    // One key, many keys, and keys of control characters, which JSON writes with six bytes.
    for (key, count, times) in
        [("x", 1, half), ("x", 1_000, half / 1_000), ("\u{1}", 10, half / 60)]
    {
        let long = (0..count).map(|n| (format!("{n}{}", key.repeat(times)), json!(7))).collect();
        assert_eq!(code(&mut cluster, &long), 12, "{count} keys");
        let times = times - times / 10;
        let fits = (0..count).map(|n| (format!("{n}{}", key.repeat(times)), json!(7))).collect();
        assert_eq!(code(&mut cluster, &fits), Value::Null, "{count} keys");
    }
    assert_eq!(code(&mut cluster, &json!({"k": 5})), Value::Null);
    cluster.run_for(A_WHILE);
    for name in ["n1", "n2", "n3"] {
        let list = |keys: Value| json!({"type": "list_committed_offsets", "keys": keys});
        let reply = cluster.ask(name, list(json!(["k"])));
        assert_eq!(reply["offsets"], json!({"k": 5}), "{name}");
        // The reply would be too long.
        let keys: Value = (0..10).map(|n| format!("{n}{}", "\u{1}".repeat(half / 60))).collect();
        assert_eq!(cluster.ask(name, list(keys))["code"], 12, "{name}");
    }
    // A node that starts anew gets all of it in a snapshot.
    cluster.crash("n3");
    cluster.lose_records("n3");
    cluster.start("n3");
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.handler("n3").committed().get("k"), Some(5));
    let many = cluster.handler("n1").committed().len();
    assert_eq!((many, cluster.handler("n3").committed().len()), (1_012, 1_012));
    assert_eq!(cluster.too_long, 0);
}

#[test]
fn polls_for_whose_questions_there_is_no_room_are_refused_at_once() {
    let config = Config { pending_bytes: 1_000, ..config() };
    let mut cluster = Cluster::new(&["n1", "n2", "n3", "n4", "n5"], config);
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    let reader = cluster.without_a_replica();
    let poll = json!({"type": "poll", "offsets": {"\u{1}".repeat(60): 0, "k": 0}});
    let ids: Vec<u64> = (0..3).map(|_| cluster.begin(reader, poll.clone())).collect();
    let refused = cluster.reply(ids[2]).unwrap();
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!(11)));
    assert_eq!(cluster.refused_for_bytes(reader), 1.0);
    cluster.run_for(Duration::from_secs(3));
    for id in &ids[..2] {
        assert_eq!(cluster.reply(*id).unwrap()["msgs"]["k"], json!([[0, 0]]));
    }
    // There is room again.
    for reply in ask_at_once(&mut cluster, reader, vec![poll; 2]) {
        assert_eq!(reply["msgs"]["k"], json!([[0, 0]]), "{reply}");
    }
}
