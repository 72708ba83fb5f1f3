//! The metrics that a node and its driver record, and their documentation.

use super::*;
use crate::handler::MessageHandler;
use crate::node::Clock;
use crate::{Error, Node, Output, RawNode, Request, RpcResult};
use serde::{Deserialize, Serialize};
use std::time::Duration;

static CALLED: Metric = Metric::counter("test_called_total", &["peer"], "Calls.");
static PLAIN: Metric = Metric::counter("test_plain_total", &[], "Without labels.");
static HELD: Metric = Metric::gauge("test_held", &[], "Requests held back.");

/// Answers, fails, or answers a second later.
#[derive(Default)]
struct Puppet {
    held: Vec<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Echo,
    Fail,
    Later,
    Call,
    Count { peer: String },
    Keep { text: String },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Sent {
    Ok,
    Ping,
}

enum Event {
    Reply,
    Called(RpcResult),
}

impl MessageHandler for Puppet {
    const METRICS: &'static [&'static [&'static Metric]] = &[&[&CALLED, &PLAIN], &[&HELD]];
    const REPLY_WITHIN: Option<Duration> = Some(Duration::from_secs(5));
    type Payload = Payload;
    type Event = Event;

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Echo => node.reply(request, &Sent::Ok),
            Payload::Fail => return Err(Error::abort("no")),
            Payload::Later => {
                self.held.push(request.clone());
                node.set_timer(Duration::from_secs(1), Event::Reply);
            }
            Payload::Call => {
                node.rpc(&"n2".into(), &Sent::Ping, Duration::from_secs(1), Event::Called);
            }
            Payload::Count { peer } => node.count(&CALLED, &[&peer], 2),
            Payload::Keep { text } => node.persist(&text),
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Reply => {
                for request in std::mem::take(&mut self.held) {
                    node.reply(&request, &Sent::Ok);
                }
            }
            Event::Called(result) => drop(result),
        }
    }

    fn gauges(&self, _: Duration, gauges: &mut Gauges) {
        gauges.set_count(&HELD, self.held.len());
    }
}

fn at(ms: u64) -> Clock {
    Clock { monotonic: Duration::from_millis(ms), wall: Duration::ZERO }
}

fn tell(node: &mut RawNode<Puppet>, ms: u64, body: &str) -> usize {
    let line = format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#);
    node.handle_line(at(ms), line.as_bytes());
    line.len()
}

const INIT: &str = r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}"#;

fn started() -> RawNode<Puppet> {
    let mut node = RawNode::new(Puppet::default(), [1; 32], true);
    node.record_metrics();
    tell(&mut node, 0, INIT);
    node
}

fn sent_bytes(node: &mut RawNode<Puppet>) -> usize {
    let outputs = std::iter::from_fn(|| node.poll_output());
    let lines = outputs.map(|output| match output {
        Output::Lines(lines) => lines,
        Output::Record(_) => Vec::new(),
    });
    lines.flatten().filter(|byte| *byte != b'\n').count()
}

#[test]
fn nothing_is_recorded_unless_somebody_asks() {
    let mut node = RawNode::new(Puppet::default(), [1; 32], true);
    tell(&mut node, 0, INIT);
    assert_eq!(node.metrics(), None);
}

#[test]
fn messages_and_bytes_are_counted_by_type_and_direction() {
    let mut node = started();
    let mut bytes = 0;
    for id in 2..5 {
        bytes += tell(&mut node, 0, &format!(r#"{{"type":"echo","msg_id":{id}}}"#));
    }
    // This line has its fields in an unusual order, an escape, and a newline.
    node.handle_line(
        at(0),
        b"{\"body\":{\"msg_id\":5,\"type\":\"ech\\u006f\"},\"src\":\"c1\",\"dest\":\"n1\"}\n",
    );
    bytes += r#"{"body":{"msg_id":5,"type":"ech\u006f"},"src":"c1","dest":"n1"}"#.len();
    let metrics = node.metrics().unwrap();
    let received = [("direction", "received"), ("type", "echo")];
    assert_eq!(metrics.sum("maelstrom_messages_total", &received), 4.0);
    assert_eq!(metrics.sum("maelstrom_message_bytes_total", &received), bytes as f64);
    let sent = [("direction", "sent")];
    assert_eq!(metrics.sum("maelstrom_messages_total", &sent), 5.0);
    assert_eq!(metrics.sum("maelstrom_messages_total", &[("type", "init_ok")]), 1.0);
    assert_eq!(metrics.sum("maelstrom_messages_total", &[("type", "ok")]), 4.0);
    let sent_bytes = sent_bytes(&mut node);
    assert_eq!(metrics.sum("maelstrom_message_bytes_total", &sent), sent_bytes as f64);
}

#[test]
fn types_that_the_handler_does_not_know_are_not_told_apart() {
    let mut node = started();
    for n in 0..1_000 {
        tell(&mut node, 0, &format!(r#"{{"type":"made_up_{n}","msg_id":{n}}}"#));
        tell(&mut node, 0, &format!(r#"{{"type":"made_up_{n}","in_reply_to":{n}}}"#));
    }
    node.handle_line(at(0), b"\xff");
    node.handle_line(at(0), b"[]");
    let metrics = node.metrics().unwrap();
    let other = [("direction", "received"), ("type", "other")];
    assert_eq!(metrics.sum("maelstrom_messages_total", &other), 2_000.0);
    let refused = [("type", "other"), ("outcome", "error")];
    assert_eq!(metrics.sum("maelstrom_requests_total", &refused), 1_000.0);
    assert_eq!(metrics.sum("maelstrom_errors_total", &[("code", "not-supported")]), 1_000.0);
    assert_eq!(metrics.sum("maelstrom_lines_skipped_total", &[]), 2.0);
    let messages = metrics.families().iter().find(|f| f.metric.name == "maelstrom_messages_total");
    assert!(messages.unwrap().samples.len() < 6);
}

#[test]
fn requests_are_counted_by_outcome_and_their_time_is_measured() {
    let mut node = started();
    tell(&mut node, 0, r#"{"type":"fail","msg_id":2}"#);
    tell(&mut node, 100, r#"{"type":"later","msg_id":3}"#);
    let metrics = node.metrics().unwrap();
    assert_eq!(metrics.sum("maelstrom_requests_open", &[]), 1.0);
    assert_eq!(metrics.sum("test_held", &[]), 1.0);
    node.handle_timeout(at(1_100));
    tell(&mut node, 2_000, r#"{"type":"later","msg_id":4}"#);
    node.handle_timeout(at(9_000));
    let metrics = node.metrics().unwrap();
    for (kind, outcome, count) in
        [("later", "ok", 1.0), ("later", "late", 1.0), ("fail", "error", 1.0), ("init", "ok", 1.0)]
    {
        let labels = [("type", kind), ("outcome", outcome)];
        assert_eq!(metrics.sum("maelstrom_requests_total", &labels), count, "{labels:?}");
    }
    assert_eq!(metrics.sum("maelstrom_errors_total", &[("code", "abort")]), 1.0);
    let families = metrics.families();
    let times = families.iter().find(|f| f.metric.name == "maelstrom_request_duration_seconds");
    let later = times.unwrap().samples.iter().find(|sample| *sample.labels[0] == *"later");
    let Value::Histogram(times) = &later.unwrap().value else { panic!("no histogram") };
    assert_eq!((times.count(), times.sum()), (2, 8.0));
    let below_a_second = times.cumulative().find(|(bound, _)| *bound == 1.0);
    assert_eq!(below_a_second, Some((1.0, 1)));
}

#[test]
fn calls_are_counted_by_their_outcome() {
    let mut node = started();
    tell(&mut node, 0, r#"{"type":"call"}"#);
    assert_eq!(node.metrics().unwrap().sum("maelstrom_calls_open", &[]), 1.0);
    node.handle_timeout(at(1_000));
    let metrics = node.metrics().unwrap();
    assert_eq!(metrics.sum("maelstrom_calls_open", &[]), 0.0);
    assert_eq!(metrics.sum("maelstrom_calls_total", &[("outcome", "timeout")]), 1.0);
    assert_eq!(metrics.sum("maelstrom_calls_total", &[]), 1.0);
}

/// The id of the call that the node has just sent.
fn call_id(node: &mut RawNode<Puppet>) -> u64 {
    let lines = std::iter::from_fn(|| node.poll_output()).find_map(|output| match output {
        Output::Lines(lines) => Some(lines),
        Output::Record(_) => None,
    });
    let lines = String::from_utf8(lines.unwrap()).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    line["body"]["msg_id"].as_u64().unwrap()
}

#[test]
fn the_time_of_a_call_is_measured_until_its_reply_or_its_timeout() {
    let mut node = started();
    for (from, to, body) in [
        (0, 250, r#""type":"pong""#),
        (300, 800, r#""type":"error","code":11,"text":"later""#),
        (900, 2_000, ""),
    ] {
        tell(&mut node, from, r#"{"type":"call"}"#);
        // A reply of another type goes out in between.
        let id = call_id(&mut node);
        tell(&mut node, from, r#"{"type":"echo","msg_id":7}"#);
        if body.is_empty() {
            node.handle_timeout(at(to));
        } else {
            let body = format!(r#"{{{body},"in_reply_to":{id}}}"#);
            let line = format!(r#"{{"src":"n2","dest":"n1","body":{body}}}"#);
            node.handle_line(at(to), line.as_bytes());
        }
    }
    let metrics = node.metrics().unwrap();
    let families = metrics.families();
    let times = families.iter().find(|f| f.metric.name == "maelstrom_call_duration_seconds");
    let [sample] = &times.unwrap().samples[..] else { panic!("{times:?}") };
    assert_eq!(*sample.labels[0], *"ping");
    let Value::Histogram(times) = &sample.value else { panic!("no histogram") };
    assert_eq!((times.count(), times.sum()), (3, 0.25 + 0.5 + 1.1));
    let below = [0.25, 0.5, 1.0].map(|of| times.cumulative().find(|(bound, _)| *bound == of));
    assert_eq!(below.map(|bucket| bucket.unwrap().1), [1, 2, 2]);
}

#[test]
fn records_are_counted() {
    let mut node = started();
    tell(&mut node, 0, r#"{"type":"keep","text":"four"}"#);
    let metrics = node.metrics().unwrap();
    assert_eq!(metrics.sum("maelstrom_records_total", &[]), 1.0);
    assert_eq!(metrics.sum("maelstrom_record_bytes_total", &[]), 6.0);
}

#[test]
fn the_series_of_a_metric_are_limited() {
    let mut node = started();
    for n in 0..1_000 {
        tell(&mut node, 0, &format!(r#"{{"type":"count","peer":"n{n}"}}"#));
    }
    let metrics = node.metrics().unwrap();
    assert_eq!(metrics.sum("test_called_total", &[]), 2_000.0);
    let others = 2.0 * (1_000 - SERIES_MAX) as f64;
    assert_eq!(metrics.sum("test_called_total", &[("peer", OTHER)]), others);
    let family = metrics.families().iter().find(|f| f.metric.name == "test_called_total");
    assert_eq!(family.unwrap().samples.len(), SERIES_MAX + 1);
}

#[test]
fn a_metric_without_labels_is_there_from_the_start() {
    let metrics = started().metrics().unwrap();
    let plain = metrics.families().iter().find(|family| family.metric.name == "test_plain_total");
    assert_eq!(plain.unwrap().samples.len(), 1);
    assert!(metrics.families().is_sorted_by_key(|family| family.metric.name));
}

#[test]
fn the_documentation_lists_every_metric_and_no_other() {
    assert_documented(include_str!("mod.rs"), METRICS);
}

#[test]
fn a_node_with_records_exports_just_the_metrics_that_are_listed() {
    let metrics = started().metrics().unwrap();
    let mut listed: Vec<&str> =
        METRICS.iter().chain(Puppet::METRICS.concat().iter()).map(|m| m.name).collect();
    listed.sort_unstable();
    let exported: Vec<&str> = metrics.families().iter().map(|f| f.metric.name).collect();
    assert_eq!(exported, listed);
}

#[test]
fn names_follow_the_conventions() {
    #[cfg(feature = "gossip")]
    let metrics = METRICS.iter().chain(crate::gossip::metrics::METRICS);
    #[cfg(not(feature = "gossip"))]
    let metrics = METRICS.iter();
    for metric in metrics {
        assert_eq!(
            metric.kind == Kind::Counter,
            metric.name.ends_with("_total"),
            "{}",
            metric.name
        );
        assert!(
            metric.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{}",
            metric.name
        );
        assert!(metric.help.ends_with('.'), "{}", metric.name);
    }
}
