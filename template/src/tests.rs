//! The handler alone: lines and time go in, lines and records come out.

use std::time::Duration;

use maelstrom_core::{Clock, Output, RawNode};
use serde_json::Value;

use super::SetNode;

/// The node n1 of a cluster of n1 and n2.
struct Session {
    node: RawNode<SetNode>,
    now: Duration,
    /// The id of the last message that wants a reply. The seed decides where ids begin.
    last_call: u64,
}

impl Session {
    /// A node that an earlier life left these records, and that has started.
    fn start(records: &[&str]) -> Self {
        let node = RawNode::new(SetNode::default(), [0; 32], true);
        let mut session = Self { node, now: Duration::ZERO, last_call: 0 };
        for record in records {
            session.node.recover(record.as_bytes()).unwrap();
        }
        session.tell("c0", r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}"#);
        session
    }

    /// Sends the node a message, and returns its output.
    fn tell(&mut self, src: &str, body: &str) -> Vec<String> {
        let line = format!(r#"{{"src":"{src}","dest":"n1","body":{body}}}"#);
        self.node.handle_line(self.clock(), line.as_bytes());
        self.outputs()
    }

    /// Moves time to `ms` milliseconds after the start, and returns the output of the node.
    fn wait_until(&mut self, ms: u64) -> Vec<String> {
        self.now = Duration::from_millis(ms);
        self.node.handle_timeout(self.clock());
        self.outputs()
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.now, wall: self.now }
    }

    /// All records and messages, the latter without their ids.
    fn outputs(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Record(record) => {
                    seen.push(format!("record {}", String::from_utf8(record).unwrap()));
                }
                Output::Lines(lines) => {
                    seen.extend(String::from_utf8(lines).unwrap().lines().map(|line| {
                        let mut message: Value = serde_json::from_str(line).unwrap();
                        let body = message["body"].as_object_mut().unwrap();
                        if let Some(id) = body.remove("msg_id") {
                            self.last_call = id.as_u64().unwrap();
                        }
                        format!("{} < {}", message["dest"].as_str().unwrap(), message["body"])
                    }));
                }
            }
        }
        seen
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn an_element_is_a_record_before_it_is_acknowledged_and_then_readable() {
    let mut session = Session::start(&[]);
    let added = session.tell("c1", r#"{"type":"add","msg_id":2,"element":7}"#);
    assert_eq!(added, ["record 7", r#"c1 < {"in_reply_to":2,"type":"add_ok"}"#]);
    let read = session.tell("c1", r#"{"type":"read","msg_id":3}"#);
    assert_eq!(read, [r#"c1 < {"in_reply_to":3,"type":"read_ok","value":[7]}"#]);
}

#[test]
fn a_peer_gets_an_element_again_until_it_acknowledges_it() {
    let mut session = Session::start(&[]);
    session.tell("c1", r#"{"type":"add","msg_id":2,"element":7}"#);
    let merge = r#"n2 < {"elements":[7],"type":"merge"}"#;
    assert_eq!(session.wait_until(1_000), [merge]);
    assert_eq!(session.wait_until(1_900), NOTHING, "the call is still open");
    // The call has timed out, so the next tick makes a new one.
    let mut later = session.wait_until(2_050);
    later.extend(session.wait_until(2_200));
    assert_eq!(later, [merge]);
    let ok = format!(r#"{{"type":"merge_ok","in_reply_to":{}}}"#, session.last_call);
    assert_eq!(session.tell("n2", &ok), NOTHING);
    assert_eq!(session.wait_until(9_000), NOTHING);
}

#[test]
fn an_element_of_a_peer_is_not_sent_back_to_it() {
    let mut session = Session::start(&[]);
    let merged = session.tell("n2", r#"{"type":"merge","msg_id":1,"elements":[3,4]}"#);
    let reply = r#"n2 < {"in_reply_to":1,"type":"merge_ok"}"#;
    assert_eq!(merged, ["record 3", "record 4", reply]);
    assert_eq!(session.wait_until(1_000), NOTHING);
}

#[test]
fn a_restarted_node_sends_its_records_to_its_peers() {
    let mut session = Session::start(&["7", "8"]);
    assert_eq!(session.wait_until(1_000), [r#"n2 < {"elements":[7,8],"type":"merge"}"#]);
}

#[test]
fn an_element_that_is_no_integer_is_refused() {
    let mut session = Session::start(&[]);
    let refused = session.tell("c1", r#"{"type":"add","msg_id":2,"element":"x"}"#);
    assert!(refused[0].contains(r#""code":12"#), "{refused:?}");
}
