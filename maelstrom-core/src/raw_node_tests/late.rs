//! Replies that come after their client has given up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Clock, Error, MessageHandler, NoEvent, Node, Output, RawNode, Request};

/// Answers each request when the next one comes.
#[derive(Default)]
struct Lazy(Option<Request>);

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Ask {},
    AskOk {},
}

impl MessageHandler for Lazy {
    type Payload = Body;
    type Event = NoEvent;

    const REPLY_WITHIN: Option<Duration> = Some(Duration::from_secs(5));

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        request: &Request,
        _: Body,
    ) -> Result<(), Error> {
        if let Some(before) = self.0.replace(request.clone()) {
            node.reply(&before, &Body::AskOk {});
        }
        Ok(())
    }
}

/// The lines that the node writes for these requests. Each is a sender and a time in milliseconds.
fn said(requests: &[(&str, u64)]) -> String {
    let mut node = RawNode::new(Lazy::default(), [0; 32], false);
    let mut hear = |src: &str, ms: u64, body: &str| {
        let clock = Clock { monotonic: Duration::from_millis(ms), wall: Duration::ZERO };
        let line = format!(r#"{{"src":"{src}","dest":"n1","body":{body}}}"#);
        node.handle_line(clock, line.as_bytes());
    };
    hear("c0", 0, r#"{"type":"init","msg_id":0,"node_id":"n1","node_ids":["n1","n2"]}"#);
    for ((src, ms), msg_id) in requests.iter().zip(1..) {
        hear(src, *ms, &format!(r#"{{"type":"ask","msg_id":{msg_id}}}"#));
    }
    assert_eq!(node.unanswered(), 1);
    let mut text = String::new();
    while let Some(Output::Lines(lines)) = node.poll_output() {
        text.push_str(&String::from_utf8(lines).unwrap());
    }
    text
}

#[test]
fn a_client_that_has_given_up_gets_no_reply() {
    for (ms, is_answered) in [(5_100, true), (5_101, false)] {
        let text = said(&[("c1", 100), ("c2", ms)]);
        assert_eq!(text.contains(r#""in_reply_to":1"#), is_answered, "{text}");
    }
}

#[test]
fn a_node_gets_its_reply_whenever_it_comes() {
    let text = said(&[("n2", 100), ("c2", 60_000)]);
    assert!(text.contains(r#""in_reply_to":1"#), "{text}");
}
