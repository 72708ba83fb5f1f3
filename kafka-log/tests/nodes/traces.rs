//! One request in the logs of the nodes that work on it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use kafka_log::Config;
use serde_json::{Value, json};
use tracing::Dispatch;

use crate::cluster::{A_WHILE, Cluster};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// The log of one node, as JSON.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn dispatch(&self) -> Dispatch {
        let log = self.clone();
        let builder = tracing_subscriber::fmt().json().flatten_event(true);
        builder.with_max_level(tracing::Level::DEBUG).with_writer(move || log.clone()).into()
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The messages of the events that name this request and no other one.
    fn events_of(&self, id: &str) -> Vec<String> {
        let lines = self.lines().into_iter();
        let of = lines.filter(|line| line["spans"] == json!([{"name": "request", "request": id}]));
        of.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }
}

/// A cluster in which one partition has two replicas, and one node has none. Each node has a log.
fn cluster() -> (Cluster, BTreeMap<&'static str, Log>) {
    let config = Config { partitions: 1, replication: 2, ..Config::default() };
    let mut cluster = Cluster::new(&NAMES, config);
    let logs: BTreeMap<_, _> = NAMES.into_iter().map(|name| (name, Log::default())).collect();
    cluster.logs = logs.iter().map(|(name, log)| (*name, log.dispatch())).collect();
    (cluster, logs)
}

/// Two sends and a poll at the node without a replica. Returns that node, the leader and the
/// follower.
fn use_it(cluster: &mut Cluster) -> [&'static str; 3] {
    let origin = cluster.without_a_replica();
    cluster.send(origin, 100, 0);
    cluster.send(origin, 101, 1);
    assert_eq!(cluster.poll(origin, 1), json!([[1, 101]]));
    let leader = cluster.leader();
    let follower = NAMES.into_iter().find(|name| *name != origin && *name != leader).unwrap();
    [origin, leader, follower]
}

#[test]
fn every_node_that_works_on_a_send_or_a_poll_names_it() {
    let (mut cluster, logs) = cluster();
    cluster.trace_requests();
    let nodes = use_it(&mut cluster);
    let [origin, leader, follower] = nodes;
    // Three requests were `init`.
    let events =
        |node: &str, msg_id: u64| logs[node].events_of(&format!("{origin}/c1/{msg_id}")).join(", ");
    let send = nodes.map(|node| events(node, 5));
    assert_eq!(
        send,
        [
            "received, forwarded, outcome, answered",
            "forwarded by a peer, appended, committed",
            "replicated",
        ],
    );
    let poll = [origin, leader, follower].map(|node| events(node, 6));
    assert_eq!(poll, ["received, forwarded, polled, answered", "read for a peer", ""]);
}

#[test]
fn a_send_of_the_leader_itself_is_named_by_the_leader_and_the_follower() {
    let (mut cluster, logs) = cluster();
    cluster.trace_requests();
    let [_, leader, follower] = use_it(&mut cluster);
    cluster.send(leader, 102, 2);
    let events = |node: &str| logs[node].events_of(&format!("{leader}/c1/7")).join(", ");
    assert_eq!(events(leader), "received, appended, committed, answered");
    assert_eq!(events(follower), "replicated");
}

/// Removes the ids from a message. Returns their number.
fn remove_ids(message: &mut Value) -> usize {
    let mut count = 0;
    for list in ["appends", "sends", "polls"] {
        for item in
            message["body"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
        {
            let item = item.as_object_mut().unwrap();
            count += usize::from(item.remove("request").is_some());
            count += usize::from(item.remove("requests").is_some());
        }
    }
    count
}

#[test]
fn messages_carry_ids_only_if_the_node_traces_requests() {
    let said = |traces: bool| {
        let (mut cluster, logs) = cluster();
        if traces {
            cluster.trace_requests();
        }
        let [origin, leader, _] = use_it(&mut cluster);
        let foreign = logs[leader].events_of(&format!("{origin}/c1/5"));
        assert_eq!(foreign.is_empty(), !traces, "{foreign:?}");
        cluster.said
    };
    let (without, mut with) = (said(false), said(true));
    // At least: two sends and a poll are forwarded, and two entries are replicated.
    assert!(with.iter_mut().map(remove_ids).sum::<usize>() >= 5);
    assert_eq!(with, without);
    assert!(without.iter().all(|message| !message.to_string().contains("request")));
}

/// The name of an entry in the first event with this message.
fn entry_in(log: &Log, message: &str) -> Option<String> {
    let line = log.lines().into_iter().find(|line| line["message"] == message)?;
    Some(line["entry"].as_str()?.to_owned())
}

#[test]
fn nodes_that_apply_an_entry_of_gossip_log_the_name_that_the_request_logged() {
    let (mut cluster, logs) = cluster();
    let offsets = json!({"type": "commit_offsets", "offsets": {"k": 1}});
    assert_eq!(cluster.ask("n2", offsets)["type"], "commit_offsets_ok");
    cluster.run_for(A_WHILE);
    assert_eq!(logs["n2"].events_of("n2/c1/4").join(", "), "received, appended, answered");
    let entry = entry_in(&logs["n2"], "appended").unwrap();
    assert!(entry.starts_with("n2:") && entry.ends_with(":0"), "{entry}");
    for other in ["n1", "n3"] {
        assert_eq!(entry_in(&logs[other], "applied").as_ref(), Some(&entry), "{other}");
    }
}
