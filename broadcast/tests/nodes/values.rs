//! Values and requests, as clients see them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::time::Duration;

use broadcast::{Broadcast, VALUE_BYTES_MAX};
use maelstrom_core::gossip;
use maelstrom_core::{Clock, LINE_BYTES_MAX, Output, RawNode};
use proptest::prelude::*;

const OK: &str = r#"{"type":"broadcast_ok","in_reply_to":2}"#;

fn body_of(line: &str) -> &str {
    let (_, body) = line.split_once(r#","body":"#).unwrap();
    body.strip_suffix('}').unwrap()
}

/// How many messages bring the other node values.
fn with_values(gossip: &[String]) -> usize {
    gossip.iter().filter(|body| body.contains(r#""runs":["#)).count()
}

/// A node of a cluster of n1 and n2.
struct Server {
    node: RawNode<Broadcast>,
    name: &'static str,
    now: Duration,
}

impl Server {
    fn start(name: &'static str) -> Self {
        Self::with(name, Broadcast::default())
    }

    fn with(name: &'static str, handler: Broadcast) -> Self {
        let node = RawNode::new(handler, [0; 32], false);
        let mut server = Self { node, name, now: Duration::ZERO };
        let names = r#"["n1","n2"]"#;
        server
            .ask(&format!(r#"{{"type":"init","msg_id":2,"node_id":"{name}","node_ids":{names}}}"#));
        server
    }

    /// Handles a message, and returns the lines that come of it.
    fn handle(&mut self, src: &str, body: &str) -> Vec<String> {
        let line = format!(r#"{{"src":"{src}","dest":"{}","body":{body}}}"#, self.name);
        self.node.handle_line(self.clock(), line.as_bytes());
        self.lines()
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.now, wall: self.now }
    }

    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(output) = self.node.poll_output() {
            let Output::Lines(bytes) = output else {
                panic!("nothing is persisted");
            };
            let text = String::from_utf8(bytes).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    /// The body of the reply to `body`, and the bodies of messages to the other node.
    fn ask_and_gossip(&mut self, body: &str) -> (String, Vec<String>) {
        let (mut replies, mut gossip) = (Vec::new(), Vec::new());
        let mut lines = self.handle("c1", body);
        // The other node never answers, so the period is not known. A node then leaves this much
        // time between two beats.
        self.now += Duration::from_millis(1_050);
        self.node.handle_timeout(self.clock());
        lines.extend(self.lines());
        for line in lines {
            let body = body_of(&line).to_owned();
            if line.contains(r#""dest":"c1","body""#) {
                replies.push(body);
            } else {
                gossip.push(body);
            }
        }
        assert_eq!(replies.len(), 1, "one reply to {body}");
        (replies.remove(0), gossip)
    }

    fn ask(&mut self, body: &str) -> String {
        self.ask_and_gossip(body).0
    }

    fn broadcast(&mut self, value: &str) -> (String, Vec<String>) {
        self.ask_and_gossip(&format!(r#"{{"type":"broadcast","msg_id":2,"message":{value}}}"#))
    }

    fn assert_reads(&mut self, values: &[&str]) {
        let expected =
            format!(r#"{{"type":"read_ok","in_reply_to":3,"messages":[{}]}}"#, values.join(","));
        assert_eq!(self.ask(r#"{"type":"read","msg_id":3}"#), expected);
    }
}

/// The text of any JSON value, in any of its spellings.
fn any_json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "-0", "1e400", r#""\ud800\/\u00e9""#])
            .prop_map(str::to_owned),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let space = || prop::sample::select(vec!["", " ", "\t"]);
        let member = (any::<String>(), space(), inner.clone()).prop_map(|(key, space, value)| {
            format!("{}{space}:{space}{value}", serde_json::to_string(&key).unwrap())
        });
        let join = |list: Vec<String>, space: &str| list.join(&format!("{space},{space}"));
        prop_oneof![
            (prop::collection::vec(inner, 0..4), space())
                .prop_map(move |(list, s)| format!("[{s}{}{s}]", join(list, s))),
            (prop::collection::vec(member, 0..4), space())
                .prop_map(move |(list, s)| format!("{{{s}{}{s}}}", join(list, s))),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_comes_back_byte_for_byte_here_and_on_the_other_node(
        values in prop::collection::vec(any_json_text(), 1..6),
    ) {
        let (mut here, mut there) = (Server::start("n1"), Server::start("n2"));
        let mut distinct: Vec<&str> = Vec::new();
        for value in &values {
            let (reply, gossip) = here.broadcast(value);
            prop_assert_eq!(reply, OK);
            let mut to_there = gossip;
            while !to_there.is_empty() {
                let answers = to_there.iter().flat_map(|body| there.handle("n1", body));
                let to_here: Vec<String> = answers.collect();
                let answers = to_here.iter().flat_map(|line| here.handle("n2", body_of(line)));
                to_there = answers.map(|line| body_of(&line).to_owned()).collect();
            }
            if !distinct.contains(&value.as_str()) {
                distinct.push(value);
            }
        }
        here.assert_reads(&distinct);
        there.assert_reads(&distinct);
    }
}

#[test]
fn a_node_that_was_told_nothing_reads_nothing() {
    Server::start("n1").assert_reads(&[]);
}

#[test]
fn a_retried_broadcast_is_acknowledged_again_and_neither_stored_nor_sent_again() {
    let mut server = Server::start("n1");
    let (reply, gossip) = server.broadcast("7");
    assert_eq!((reply.as_str(), with_values(&gossip)), (OK, 1));
    let (reply, gossip) = server.broadcast("7");
    assert_eq!((reply.as_str(), with_values(&gossip)), (OK, 0));
    server.assert_reads(&["7"]);
}

#[test]
fn a_value_taken_by_several_nodes_at_once_is_read_once() {
    let (mut here, mut there) = (Server::start("n1"), Server::start("n2"));
    let (_, from_here) = here.broadcast("7");
    let (_, from_there) = there.broadcast("7");
    here.handle("n2", &from_there[0]);
    there.handle("n1", &from_here[0]);
    here.assert_reads(&["7"]);
    there.assert_reads(&["7"]);
}

#[test]
fn a_value_that_gossip_brought_is_known_to_clients_retries_as_well() {
    let (mut here, mut there) = (Server::start("n1"), Server::start("n2"));
    let (_, gossip) = here.broadcast("7");
    there.handle("n1", &gossip[0]);
    there.handle("n1", &gossip[0]);
    let (reply, gossip) = there.broadcast("7");
    assert_eq!((reply.as_str(), with_values(&gossip)), (OK, 0));
    there.assert_reads(&["7"]);
}

#[test]
fn values_are_told_apart_by_their_text() {
    let mut server = Server::start("n1");
    for value in ["1", "1.0", "\"1\"", "[1]", "[ 1 ]", "null"] {
        server.broadcast(value);
    }
    server.assert_reads(&["1", "1.0", "\"1\"", "[1]", "[ 1 ]", "null"]);
}

#[test]
fn an_oversized_value_is_refused_and_the_longest_one_fits_a_line() {
    let mut server = Server::start("n1");
    let longest = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    let too_long = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 1));
    let (reply, gossip) = server.broadcast(&too_long);
    let error = r#"{"type":"error","in_reply_to":2,"code":12,"text":"field `message`: longer than"#;
    assert!(reply.starts_with(error), "{reply}");
    assert_eq!(with_values(&gossip), 0);
    server.assert_reads(&[]);
    let (reply, gossip) = server.broadcast(&longest);
    assert_eq!((reply.as_str(), with_values(&gossip)), (OK, 1));
    // There is room left for the names and version vectors of a large cluster.
    assert!(gossip[0].len() < LINE_BYTES_MAX - 1_000_000);
}

#[test]
fn a_full_node_refuses_new_values_of_clients_and_takes_those_of_other_nodes() {
    let config = gossip::Config { state_bytes_max: 10, ..gossip::Config::default() };
    let mut full = Server::with("n1", Broadcast::new(config));
    assert_eq!(full.broadcast("12345").0, OK);
    let (reply, gossip) = full.broadcast("67890");
    let error =
        r#"{"type":"error","in_reply_to":2,"code":11,"text":"this node's state takes 5 bytes "#;
    assert!(reply.starts_with(error), "{reply}");
    assert_eq!(with_values(&gossip), 0);
    assert_eq!(full.broadcast("12345").0, OK, "it has that one");
    let (_, gossip) = Server::start("n2").broadcast("\"of another node\"");
    full.handle("n2", &gossip[0]);
    full.assert_reads(&["12345", "\"of another node\""]);
    assert!(full.broadcast("1").0.contains(r#""code":11"#));
}

#[test]
fn a_topology_is_answered_and_a_malformed_one_refused() {
    let mut server = Server::start("n1");
    assert_eq!(
        server
            .ask(r#"{"type":"topology","msg_id":2,"topology":{"n1":["n2"],"n2":[],"n9":["n1"]}}"#),
        r#"{"type":"topology_ok","in_reply_to":2}"#
    );
    for (topology, why) in [
        ("", "missing field `topology`"),
        (r#","topology":7"#, "field `topology`: "),
        (r#","topology":{"n1":"n2"}"#, "field `topology.n1`: "),
        (r#","topology":{"n1":["n2",3]}"#, "field `topology.n1[1]`: "),
    ] {
        let reply = server.ask(&format!(r#"{{"type":"topology","msg_id":2{topology}}}"#));
        let error = format!(r#"{{"type":"error","in_reply_to":2,"code":12,"text":"{why}"#);
        assert!(reply.starts_with(&error), "{reply}");
    }
}

#[test]
fn a_broadcast_without_a_value_is_refused() {
    let mut server = Server::start("n1");
    assert_eq!(
        server.ask(r#"{"type":"broadcast","msg_id":2}"#),
        r#"{"type":"error","in_reply_to":2,"code":12,"text":"missing field `message`"}"#
    );
    server.assert_reads(&[]);
}
