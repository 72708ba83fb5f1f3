//! One conversation, from the first send until a lost leader returns.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Cluster;

/// A short description of a packet.
fn packet(body: &Value) -> Vec<String> {
    let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
    let mut words = Vec::new();
    for append in list("appends") {
        let entries = append["entries"].as_array().cloned().unwrap_or_default();
        let msgs: Vec<String> = entries.iter().map(|entry| entry[5].to_string()).collect();
        let [epoch, at, high] = ["epoch", "at", "high"].map(|name| append[name].to_string());
        let sole = if append["sole"] == true { ", you and I" } else { "" };
        words.push(format!("epoch {epoch}: [{}] at {at}, high {high}{sole}", msgs.join(", ")));
    }
    for ack in list("acks") {
        let [epoch, end, high] = ["epoch", "end", "high"].map(|name| ack[name].to_string());
        let what = if ack["matched"] == true { "have" } else { "differ, look at" };
        words.push(format!("epoch {epoch}: {what} {end}, high {high}"));
    }
    for send in list("sends") {
        words.push(format!("please append {}", send["msg"]));
    }
    for sent in list("sent") {
        words.push(format!("send {}: {}", sent["seq"], sent["outcome"]));
    }
    if words.is_empty() {
        words.push((if body.get("within").is_some() { "are you there?" } else { "yes" }).into());
    }
    words
}

fn record(value: &Value) -> String {
    let names: Vec<&str> =
        value["in_sync"].as_array().unwrap().iter().map(|id| id[0].as_str().unwrap()).collect();
    let [version, epoch] = ["version", "epoch"].map(|name| value[name].to_string());
    let leader = value["leader"][0].as_str().unwrap();
    format!("v{version} epoch {epoch}, {leader} leads, in sync: {}", names.join(" "))
}

/// The messages since the last call, a line each. Leaves out messages that are repeated without
/// success.
fn said(cluster: &mut Cluster) -> String {
    let mut lines: Vec<String> = Vec::new();
    for message in std::mem::take(&mut cluster.said) {
        let (src, dest, body) =
            (message["src"].as_str().unwrap(), message["dest"].as_str().unwrap(), &message["body"]);
        let words = match body["type"].as_str().unwrap() {
            "packet" => packet(body).join("; "),
            "cas" => format!("swap for {}", record(&body["to"])),
            "read_ok" => record(&body["value"]),
            "error" => format!("error {}", body["code"]),
            other => other.into(),
        };
        let line = format!("{src} -> {dest}: {words}\n");
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}

fn check(name: &str, cluster: &mut Cluster, text: &mut String) {
    text.push_str(&format!("# {name}\n{}\n", said(cluster)));
}

#[test]
fn a_whole_conversation() {
    let mut cluster = Cluster::three();
    let mut text = String::new();
    let ms = Duration::from_millis;

    cluster.send("n1", 100, 0);
    cluster.run_for(ms(300));
    check(
        "the first send makes a leader; then the entry is replicated and committed",
        &mut cluster,
        &mut text,
    );

    let (old, followers) = (cluster.leader(), cluster.followers());
    cluster.send(followers[0], 101, 1);
    cluster.run_for(ms(300));
    check("a follower passes a send on, and learns that it is committed", &mut cluster, &mut text);

    cluster.cut_off(old);
    let lonely = cluster.begin(old, json!({"type": "send", "key": "k", "msg": 102}));
    cluster.run_for(ms(20));
    check("the leader is cut off: it appends, but cannot commit", &mut cluster, &mut text);

    cluster.send(followers[0], 103, 2);
    check("a follower in sync takes over and goes on", &mut cluster, &mut text);

    cluster.run_for(Duration::from_secs(5));
    assert_eq!(cluster.reply(lonely).unwrap()["code"], 0, "nobody knows what became of it");
    cluster.said.clear();
    cluster.heal();
    cluster.run_for(Duration::from_secs(4));
    check(
        "the old leader is back: it cuts its log back, catches up, and is let in",
        &mut cluster,
        &mut text,
    );

    for name in ["n1", "n2", "n3"] {
        assert_eq!(cluster.poll(name, 0), json!([[0, 100], [1, 101], [2, 103]]), "{name}");
    }
    let expected = include_str!("transcript.txt");
    assert!(text == expected, "the conversation has changed:\n{text}");
}
