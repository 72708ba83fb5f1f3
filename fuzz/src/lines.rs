//! Target `lines`: the bytes are a line. A node must read it as the
//! [reference](mod@crate::reference) does, with the same verdict and the same values.
//!
//! The node's payload has a variant of every shape. The line reaches the handler, is refused with
//! an error, or is skipped. After any line, the node must serve the next one.

use std::collections::BTreeMap;

use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, Output, RawNode, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::reference::{self, Verdict};

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "compared as they are shown")]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Told {
    Unit,
    Raw {
        a: Box<RawValue>,
        b: Option<Box<RawValue>>,
    },
    Typed {
        a: u64,
        #[serde(default)]
        b: Vec<i8>,
    },
    Deep {
        a: Value,
    },
    Whole(Inner),
    Any(BTreeMap<String, Value>),
    Flat {
        a: f64,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    },
    Error {
        code: Option<u64>,
    },
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "compared as they are shown")]
struct Inner {
    a: String,
    b: Option<u8>,
    c: Option<char>,
    d: Option<i128>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Told,
}

/// A handler that records the payloads that it receives.
#[derive(Default)]
struct Teller(Vec<Verdict<String>>);

impl MessageHandler for Teller {
    type Payload = Told;
    type Event = NoEvent;

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        request: &Request,
        payload: Told,
    ) -> Result<(), Error> {
        let from = (request.src().to_string(), request.msg_id());
        self.0.push(Verdict::Served { from, payload: format!("{payload:?}") });
        node.reply(request, &Answer::Told);
        Ok(())
    }
}

const INIT: &[u8] = br#"{"src":"c0","dest":"n1",
    "body":{"type":"init","node_id":"n1","node_ids":["n1","n2"]}}"#;

fn replies(node: &mut RawNode<Teller>) -> Vec<Value> {
    let outputs = std::iter::from_fn(|| node.poll_output());
    let lines = outputs.flat_map(|output| match output {
        Output::Lines(lines) => {
            String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect()
        }
        Output::Record(_) => Vec::new(),
    });
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(line: &[u8]) {
    let mut node = RawNode::new(Teller::default(), [7; 32], false);
    node.handle_line(Clock::default(), INIT);
    replies(&mut node);
    node.handle_line(Clock::default(), line);
    let said = replies(&mut node);
    if reference::depth(line) <= reference::DEPTH_MAX {
        compare(&reference::judge::<Told>(line), &node.handler().0, &said);
    }
    assert_eq!(node.unanswered(), 0);
    let next = br#"{"src":"c9","dest":"n1","body":{"type":"unit","msg_id":9}}"#;
    node.handle_line(Clock::default(), next);
    assert_eq!(replies(&mut node).len(), 1, "the node serves nobody any more");
}

fn compare(verdict: &Verdict<Told>, served: &[Verdict<String>], said: &[Value]) {
    let reply_to = |(src, msg_id): &(String, Option<u64>), kind: &str, code: Option<u64>| {
        let [reply] = said else {
            assert!(said.is_empty() && msg_id.is_none(), "{verdict:?}: {said:?}");
            return;
        };
        assert_eq!(reply["dest"], **src, "{verdict:?}");
        assert_eq!(reply["body"]["in_reply_to"].as_u64(), *msg_id, "{verdict:?}");
        assert_eq!(reply["body"]["type"], kind, "{verdict:?}: {reply}");
        assert_eq!(reply["body"]["code"].as_u64(), code, "{verdict:?}: {reply}");
    };
    match verdict {
        Verdict::Init => {}
        Verdict::Skipped | Verdict::Reply => {
            assert!(served.is_empty() && said.is_empty(), "{verdict:?}: {served:?} {said:?}");
        }
        Verdict::Refused { to, code } => {
            assert!(served.is_empty(), "{verdict:?}: {served:?}");
            reply_to(to, "error", Some(*code));
        }
        Verdict::Served { from, payload } => {
            let expected = Verdict::Served { from: from.clone(), payload: format!("{payload:?}") };
            assert_eq!(served, [expected]);
            reply_to(from, "told", None);
        }
    }
}
