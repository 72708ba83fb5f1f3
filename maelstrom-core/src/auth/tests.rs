//! A node with a key, line by line: it seals its messages, and drops false ones.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::any_json::any_json;
use crate::error::Error;
use crate::handler::MessageHandler;
use crate::message::LINE_END;
use crate::message::Request;
use crate::node::{Clock, Node};
use crate::raw_node::RawNode;
use crate::rpc::RpcResult;

const KEY: &[u8] = b"0123456789abcdef";

/// Records the messages that it receives, and sends the messages that it is told to send.
#[derive(Debug, Default)]
struct Relay {
    heard: Vec<(NodeId, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Ping { text: Box<RawValue> },
    Tell { dest: NodeId, text: String },
    TellAll { text: String },
    Call { dest: NodeId, text: String },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Said<'a> {
    Ping { text: &'a str },
    PingOk,
    CallOk { outcome: String },
}

#[derive(Debug)]
struct Ended(Request, RpcResult);

impl MessageHandler for Relay {
    type Payload = Payload;
    type Event = Ended;

    fn message(
        &mut self,
        node: &mut Node<Ended>,
        from: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Ping { text } => {
                self.heard.push((from.src().clone(), text.get().to_owned()));
                node.reply(from, &Said::PingOk);
            }
            Payload::Tell { dest, text } => node.send(&dest, &Said::Ping { text: &text }),
            Payload::TellAll { text } => node.send_to_peers(&Said::Ping { text: &text }),
            Payload::Call { dest, text } => {
                let from = from.clone();
                let then = move |result| Ended(from, result);
                node.rpc(&dest, &Said::Ping { text: &text }, Duration::from_secs(1), then);
            }
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Ended>, Ended(request, result): Ended) {
        let outcome = format!("{:?}", result.map(|_| "ok"));
        node.reply(&request, &Said::CallOk { outcome });
    }
}

fn key() -> ClusterKey {
    ClusterKey::new(KEY).unwrap()
}

/// A node that has the key and no name yet.
fn new() -> RawNode<Relay> {
    let mut node = RawNode::new(Relay::default(), [7; 32], false);
    node.set_cluster_key(key());
    node.record_metrics();
    node.record_marks();
    node
}

fn take(node: &mut RawNode<Relay>, line: &str) -> Vec<String> {
    node.handle_line(Clock::default(), line.as_bytes());
    let lines: Vec<u8> = std::iter::from_fn(|| node.poll_lines()).flatten().collect();
    String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect()
}

fn line(src: &str, dest: &str, body: &Value) -> String {
    json!({ "src": src, "dest": dest, "body": body }).to_string()
}

fn init(node: &mut RawNode<Relay>, name: &str) -> Vec<String> {
    let body =
        json!({"type": "init", "msg_id": 1, "node_id": name, "node_ids": ["n1", "n2", "n3"]});
    take(node, &line("c0", name, &body))
}

fn started(name: &str) -> RawNode<Relay> {
    let mut node = new();
    assert_eq!(init(&mut node, name).len(), 1);
    node
}

/// The lines that `n1` writes when a client sends it this body.
fn asked(body: &Value) -> Vec<String> {
    take(&mut started("n1"), &line("c1", "n1", body))
}

/// The line on which `n1` sends `n2` this text.
fn told(text: &str) -> String {
    let [line] =
        <[_; 1]>::try_from(asked(&json!({"type": "tell", "dest": "n2", "text": text}))).unwrap();
    line
}

fn heard(node: &RawNode<Relay>) -> Vec<&str> {
    node.handler().heard.iter().map(|(_, text)| text.as_str()).collect()
}

/// The same message with one of its parts changed.
fn changed(line: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut message: Value = serde_json::from_str(line).unwrap();
    change(&mut message);
    message.to_string()
}

#[track_caller]
fn assert_dropped(line: &str, reason: &str) {
    let mut node = started("n2");
    assert_eq!(take(&mut node, line), [""; 0], "nobody answers {line}");
    assert_eq!((heard(&node).len(), node.unauthenticated()), (0, 1), "{line}");
    assert_eq!(node.take_marks(), [DROPPED]);
    let metrics = node.metrics().unwrap();
    let dropped = metrics.sum("maelstrom_unauthenticated_total", &[("reason", reason)]);
    assert!((dropped - 1.0).abs() < 0.1, "{line}");
}

/// Python's hmac module computed the MAC.
#[test]
fn the_form_on_the_wire_is_the_documented_one() {
    let mac = "8995a52608376e656c5180b6174290183c1aae83e52fffe5cb26513d5212456e";
    let body = format!(
        r#"{{"type":"sealed","text":"{{'type':'ping','text':'it\"s \\\\ ü'}}","mac":"{mac}"}}"#
    );
    assert_eq!(told("it's \\ ü"), format!(r#"{{"src":"n1","dest":"n2","body":{body}}}"#));
}

#[test]
fn a_message_with_a_valid_mac_reaches_the_handler_as_it_was_sent() {
    for text in ["", "plain", "it's \"quoted\" \\ \u{1} \n ü 😀 \u{2028}"] {
        let mut node = started("n2");
        take(&mut node, &told(text));
        assert_eq!(heard(&node), [serde_json::to_string(text).unwrap()]);
        assert_eq!(node.handler().heard[0].0.as_ref(), "n1");
        assert_eq!(node.unauthenticated(), 0);
    }
}

#[test]
fn a_message_that_was_changed_anywhere_is_dropped() {
    let line = told("hello");
    assert_dropped(&line.replace("hello", "hellO"), "wrong");
    assert_dropped(&line.replace("'text'", "'test'"), "wrong");
    assert_dropped(&line.replace(r#""src":"n1""#, r#""src":"n3""#), "wrong");
    assert_dropped(&line.replace(r#""src":"n1""#, r#""src":"n2""#), "wrong");
    assert_dropped(&changed(&line, |message| message["dest"] = json!("n3")), "wrong");
    let mac = |change: fn(&str) -> String| {
        changed(&line, |message| {
            let mac = &mut message["body"]["mac"];
            *mac = json!(change(mac.as_str().unwrap()));
        })
    };
    assert_dropped(&mac(|mac| mac[..62].to_owned()), "wrong");
    assert_dropped(&mac(|mac| format!("{mac}00")), "wrong");
    assert_dropped(&mac(|mac| mac.to_uppercase()), "wrong");
    assert_dropped(&mac(|_| "0".repeat(64)), "wrong");
    assert_dropped(&mac(|_| String::new()), "wrong");
    for bit in 0..256 {
        let flipped = changed(&line, |message| {
            let mac = message["body"]["mac"].as_str().unwrap();
            let digit = mac.as_bytes()[bit / 4];
            let value = u8::from_str_radix(&char::from(digit).to_string(), 16).unwrap();
            let mut mac = mac.to_owned();
            mac.replace_range(bit / 4..=bit / 4, &format!("{:x}", value ^ 1 << (bit % 4)));
            message["body"]["mac"] = json!(mac);
        });
        assert_dropped(&flipped, "wrong");
    }
}

/// The message was sealed for another destination.
#[test]
fn a_message_for_another_node_is_dropped() {
    let line = told("hello");
    assert_dropped(&changed(&line, |message| message["dest"] = json!("n3")), "wrong");
    let mut third = started("n3");
    take(&mut third, &line);
    take(&mut third, &line.replace(r#""dest":"n2""#, r#""dest":"n3""#));
    assert_eq!((heard(&third).len(), third.unauthenticated()), (0, 2));
}

#[test]
fn a_message_from_a_node_without_a_mac_is_dropped() {
    let plain = json!({"type": "ping", "msg_id": 3, "text": "hello"});
    assert_dropped(&line("n1", "n2", &plain), "missing");
    assert_dropped(&format!(" {} ", line("n1", "n2", &plain)), "missing");
    assert_dropped(&line("n1", "n2", &plain).replace("n1", "\\u006e1"), "missing");
    assert_dropped(&line("n2", "n2", &plain), "missing");
    assert_dropped(&line("n1", "n2", &json!({"type": "pong", "in_reply_to": 1})), "missing");
    assert_dropped(&line("n1", "n2", &json!({"type": "init", "msg_id": 1})), "missing");
    assert_dropped(&line("n1", "n2", &json!({"type": "sealed"})), "missing");
    assert_dropped(&line("n1", "n2", &json!(17)), "missing");
    for field in ["type", "text", "mac"] {
        let without = changed(&told("hello"), |message| {
            message["body"].as_object_mut().unwrap().remove(field);
        });
        assert_dropped(&without, "missing");
    }
}

#[test]
fn a_message_sealed_with_another_key_is_dropped() {
    let mut other = RawNode::new(Relay::default(), [7; 32], false);
    other.set_cluster_key(ClusterKey::new(b"0123456789abcdeF").unwrap());
    init(&mut other, "n1");
    let tell = json!({"type": "tell", "dest": "n2", "text": "hello"});
    let [line] = <[_; 1]>::try_from(take(&mut other, &line("c1", "n1", &tell))).unwrap();
    assert_dropped(&line, "wrong");
}

/// The MAC covers the lengths of the names.
#[test]
fn names_and_text_cannot_be_divided_in_another_way() {
    let macs: BTreeSet<_> =
        [("n1", "n2", "x"), ("n1n", "2", "x"), ("n", "1n2", "x"), ("n1", "n", "2x")]
            .map(|(src, dest, text)| {
                let mut out = format!(r#"{{"body":{text}}}"#).into_bytes();
                out.push(b'\n');
                key().seal(&mut out, 8, src, dest);
                let line = String::from_utf8(out).unwrap();
                line.split_once(r#""mac":""#).unwrap().1.to_owned()
            })
            .into();
    assert_eq!(macs.len(), 4);
}

#[test]
fn clients_and_services_are_as_they_were() {
    let ping = json!({"type": "ping", "msg_id": 7, "text": 1});
    for src in ["c1", "lin-kv", "n4", "n1 "] {
        let mut node = started("n2");
        let answer = line(src, "n2", &ping);
        let answer = take(&mut node, &answer);
        let expected =
            format!(r#"{{"src":"n2","dest":"{src}","body":{{"type":"ping_ok","in_reply_to":7}}}}"#);
        assert_eq!(answer, [expected]);
        assert_eq!((heard(&node), node.unauthenticated()), (vec!["1"], 0));
    }
    let mut node = started("n1");
    let call = json!({"type": "call", "msg_id": 8, "dest": "lin-kv", "text": "get"});
    let [call] = <[_; 1]>::try_from(take(&mut node, &line("c1", "n1", &call))).unwrap();
    let call: Value = serde_json::from_str(&call).unwrap();
    assert_eq!(call["body"]["type"], "ping", "not sealed");
    let reply = json!({"type": "ping_ok", "in_reply_to": call["body"]["msg_id"]});
    let [answer] = <[_; 1]>::try_from(take(&mut node, &line("lin-kv", "n1", &reply))).unwrap();
    assert!(answer.contains(r#""outcome":"Ok"#), "{answer}");
}

/// A client that has seen a message between nodes cannot use it.
#[test]
fn a_sealed_message_from_a_client_does_not_pass_as_one_from_a_node() {
    let mut node = started("n2");
    let from_client = changed(&told("hello"), |message| message["src"] = json!("c1"));
    assert_eq!(take(&mut node, &from_client), [""; 0]);
    let twice = told("hello").replace(r#"{"src":"n1","#, r#"{"src":"c1","src":"n1","#);
    assert_eq!(take(&mut node, &twice), [""; 0]);
    assert_eq!((heard(&node).len(), node.unauthenticated()), (0, 0));
}

#[test]
fn a_line_that_is_no_message_is_skipped_as_ever() {
    let mut node = started("n2");
    for bad in
        ["[]", "{", "17", r#"{"src":"n1","dest":"n2"}"#, r#"{"src":17,"dest":"n2","body":{}}"#]
    {
        assert_eq!(take(&mut node, bad), [""; 0]);
    }
    let metrics = node.metrics().unwrap();
    let skipped = metrics.sum("maelstrom_lines_skipped_total", &[("reason", "no_message")]);
    assert!((skipped - 5.0).abs() < 0.1);
    assert_eq!(node.unauthenticated(), 0);
}

#[test]
fn a_call_and_its_reply_are_both_sealed() {
    let (mut first, mut second) = (started("n1"), started("n2"));
    let call = json!({"type": "call", "msg_id": 5, "dest": "n2", "text": "hello"});
    let [call] = <[_; 1]>::try_from(take(&mut first, &line("c1", "n1", &call))).unwrap();
    let [reply] = <[_; 1]>::try_from(take(&mut second, &call)).unwrap();
    for line in [&call, &reply] {
        assert!(line.contains(r#""body":{"type":"sealed","text":"{'type':'ping"#), "{line}");
    }
    let forged = json!({"type": "ping_ok", "in_reply_to": 0});
    assert_eq!(take(&mut first, &line("n2", "n1", &forged)), [""; 0]);
    let [answer] = <[_; 1]>::try_from(take(&mut first, &reply)).unwrap();
    assert!(answer.contains(r#""in_reply_to":5,"outcome":"Ok"#), "{answer}");
    assert_eq!((first.unauthenticated(), second.unauthenticated()), (1, 0));
}

#[test]
fn a_node_authenticates_messages_to_itself() {
    let mut node = started("n1");
    let tell = json!({"type": "tell", "dest": "n1", "text": "hello"});
    let [line] = <[_; 1]>::try_from(take(&mut node, &line("c1", "n1", &tell))).unwrap();
    assert!(line.contains("sealed"));
    take(&mut node, &line);
    assert_eq!((heard(&node), node.unauthenticated()), (vec!["\"hello\""], 0));
}

/// The node copies a short body. A long body stays shared until the driver takes a line.
#[test]
fn a_body_for_all_peers_is_sealed_for_each() {
    for text in ["short".to_owned(), "it's long ".repeat(10_000)] {
        let lines = asked(&json!({"type": "tell_all", "text": text}));
        assert_eq!(lines.len(), 2);
        for (name, line) in ["n2", "n3"].into_iter().zip(lines) {
            assert!(line.contains(r#""body":{"type":"sealed""#));
            let mut node = started(name);
            take(&mut node, &line);
            assert_eq!(heard(&node), [serde_json::to_string(&text).unwrap()]);
        }
    }
}

#[test]
fn a_message_before_init_is_checked_after_it() {
    let mut node = new();
    for line in [told("hello"), line("n1", "n2", &json!({"type": "ping", "text": "forged"}))] {
        assert_eq!(take(&mut node, &line), [""; 0]);
    }
    init(&mut node, "n2");
    assert_eq!((heard(&node), node.unauthenticated()), (vec!["\"hello\""], 1));
}

/// A replay looks like a message that is late and arrives twice: the handler gets it again.
#[test]
fn a_replay_is_a_duplicate() {
    let mut node = started("n2");
    for _ in 0..3 {
        take(&mut node, &told("hello"));
    }
    assert_eq!((heard(&node).len(), node.unauthenticated()), (3, 0));
}

#[test]
fn a_node_without_a_key_neither_seals_nor_opens() {
    let mut node = RawNode::new(Relay::default(), [7; 32], false);
    init(&mut node, "n2");
    let ping = json!({"type": "ping", "msg_id": 7, "text": 1});
    let [answer] = <[_; 1]>::try_from(take(&mut node, &line("n1", "n2", &ping))).unwrap();
    assert!(answer.contains(r#""body":{"type":"ping_ok""#), "{answer}");
    assert_eq!(take(&mut node, &told("hello")), [""; 0]);
    assert_eq!((heard(&node).len(), node.unauthenticated()), (1, 0));
}

#[test]
fn the_log_tells_of_dropped_messages_once_a_second() {
    let mut auth = Auth::default();
    let told: Vec<Option<u64>> =
        (0..25).map(|tenths| auth.drop_one(Duration::from_millis(tenths * 100))).collect();
    let some: Vec<_> = told.iter().enumerate().filter(|(_, told)| told.is_some()).collect();
    assert_eq!(some, [(0, &Some(1)), (10, &Some(10)), (20, &Some(10))]);
    assert_eq!(auth.dropped(), 25);
}

#[test]
fn a_key_is_never_shown_and_never_too_short() {
    let node = started("n1");
    for text in [format!("{:?}", key()), format!("{node:?}")] {
        assert!(!text.contains("0123456789") && !text.contains("48, 49, 50"), "{text}");
    }
    assert_eq!(ClusterKey::new(&KEY[1..]).map(drop), Err(KeyTooShort(15)));
    assert!(ClusterKey::new(&[7; 1_000]).is_ok());
}

/// Adds the `id` that Maelstrom writes.
fn numbered(line: &str) -> String {
    line.replacen('{', r#"{"id":123,"#, 1)
}

/// Re-encodes the message, as a network may.
fn written_anew(line: &str) -> String {
    let message: Value = serde_json::from_str(line).unwrap();
    let field = |of: &Value, name: &str| format!("{:?} : {}", name, of[name]);
    let body = &message["body"];
    format!(
        r#"{{ "id": 7, "body" : {{ {} , {} , {} }} , {} , {} }}"#,
        field(body, "mac"),
        field(body, "text"),
        field(body, "type"),
        field(&message, "dest"),
        field(&message, "src"),
    )
}

proptest! {
    #[test]
    fn any_body_is_opened_byte_for_byte_and_survives_being_written_anew(
        body in any_json(),
        spaces in any::<bool>(),
    ) {
        let mut body = body.to_string();
        if spaces {
            body = body.replace(':', ":\t");
        }
        let line = format!(r#"{{"src":"n1","dest":"n2","body":{body}}}"#);
        let mut out = b"before\n".to_vec();
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        let body_at = out.len().strict_sub(body.len()).strict_sub(LINE_END.len());
        key().seal(&mut out, body_at, "n1", "n2");
        let sealed = String::from_utf8(out).unwrap();
        let sealed = sealed.strip_prefix("before\n").unwrap().strip_suffix('\n').unwrap();
        prop_assert!(sealed.len() <= sealed_line_bytes_max(line.len()));
        let node_ids: [NodeId; 2] = ["n1".into(), "n2".into()];
        for sealed in [sealed, &numbered(sealed), &written_anew(sealed)] {
            match key().check(sealed, "n2", &node_ids) {
                Checked::Opened(opened) => prop_assert_eq!(&opened, &line),
                other => prop_assert!(false, "{:?}: {}", other, sealed),
            }
        }
    }

    /// The lines are arbitrary, or a sealed line with an arbitrary insertion.
    #[test]
    fn a_line_without_a_seal_is_never_opened(line in ".*", at in any::<prop::sample::Index>()) {
        let node_ids: [NodeId; 2] = ["n1".into(), "n2".into()];
        let sealed = told("hello");
        let at = at.index(sealed.len());
        let mut changed = sealed.clone();
        if sealed.is_char_boundary(at) {
            changed.insert_str(at, &line);
        }
        for line in [&line, &changed] {
            match key().check(line, "n2", &node_ids) {
                Checked::Opened(opened) => {
                    let body = r#"{"type":"ping","text":"hello"}"#;
                    let line = format!(r#"{{"src":"n1","dest":"n2","body":{body}}}"#);
                    prop_assert_eq!(opened, line);
                }
                Checked::AsItIs | Checked::Unproven { .. } | Checked::NoMessage(_) => {}
            }
        }
    }
}
