//! The trace: the fate of each message, its limit, and its form as JSON.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn message(id: u64, dest: &str, text: &str) -> Message {
    let body = RawValue::from_string(format!("{{\"text\":\"{text}\"}}")).unwrap();
    Message { id, src: "n0".into(), dest: dest.into(), body }
}

fn nemesis(trace: &mut Trace, at: u64, op: NemesisOp) {
    trace.happened(ms(at), News::Nemesis(op));
}

fn messages(trace: &Trace) -> Vec<Value> {
    let mut out = Vec::new();
    trace.write_messages(&mut out).unwrap();
    let lines = out.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The end of each copy of the messages: its time in ms, and its fate.
fn ends(trace: &Trace) -> Vec<String> {
    let end = |end: &Value| {
        format!("{} {}", end["time"].as_i64().unwrap() / 1_000_000, end["fate"].as_str().unwrap())
    };
    let ends = |message: &Value| {
        message["ends"].as_array().unwrap().iter().map(end).collect::<Vec<_>>().join(", ")
    };
    messages(trace).iter().map(ends).collect()
}

#[test]
fn a_message_has_an_end_for_each_of_its_copies() {
    let mut trace = Trace::default();
    trace.sent(ms(5), &message(0, "n1", "before"), 1);
    trace.begin(ms(10));
    for (id, copies) in [(1, 1), (2, 2), (3, 1)] {
        trace.sent(ms(20), &message(id, "n1", "x"), copies);
    }
    trace.ended(ms(20), 1, Fate::Lost);
    trace.arrived(ms(21), &message(2, "n1", "x"));
    trace.ended(ms(22), 2, Fate::Refused);
    trace.arrived(ms(23), &message(0, "n1", "before"));
    trace.unheard(ms(30), ("n0", "n1", &message(0, "", "in vain").body));
    assert_eq!(
        ends(&trace),
        ["13 delivered", "10 lost", "11 delivered, 12 refused", "", "20 muted"]
    );
    let lines = messages(&trace);
    let first = json!({
        "id": 0, "time": -5_000_000, "src": "n0", "dest": "n1", "body": {"text": "before"},
        "copies": 1, "ends": [{"time": 13_000_000, "fate": "delivered"}],
    });
    assert_eq!(lines[0], first);
    assert_eq!((&lines[2]["copies"], lines[4].get("id")), (&json!(2), None));
}

#[test]
fn a_message_waits_for_a_paused_node_until_it_goes_on_or_crashes_and_for_a_dead_one_until_it_restarts()
 {
    let node: NodeId = "n1".into();
    let mut trace = Trace::default();
    let arrive = |trace: &mut Trace, at: u64, id: u64| {
        trace.sent(ms(at), &message(id, "n1", "x"), 1);
        trace.arrived(ms(at), &message(id, "n1", "x"));
    };
    nemesis(&mut trace, 1, NemesisOp::Pause(node.clone()));
    arrive(&mut trace, 2, 0);
    nemesis(&mut trace, 3, NemesisOp::Resume(node.clone()));
    arrive(&mut trace, 4, 1);
    nemesis(&mut trace, 5, NemesisOp::Pause(node.clone()));
    arrive(&mut trace, 6, 2);
    nemesis(&mut trace, 7, NemesisOp::Crash(node.clone()));
    arrive(&mut trace, 8, 3);
    // A killed node can neither be paused nor resumed.
    nemesis(&mut trace, 9, NemesisOp::Pause(node.clone()));
    arrive(&mut trace, 10, 4);
    nemesis(&mut trace, 10, NemesisOp::Resume(node.clone()));
    nemesis(&mut trace, 11, NemesisOp::Restart(node.clone()));
    arrive(&mut trace, 12, 5);
    nemesis(&mut trace, 13, NemesisOp::Resume(node.clone()));
    arrive(&mut trace, 14, 6);
    nemesis(&mut trace, 15, NemesisOp::Pause(node));
    arrive(&mut trace, 16, 7);
    assert_eq!(
        ends(&trace),
        [
            "3 delivered",
            "4 delivered",
            "7 down",
            "11 delivered",
            "11 delivered",
            "12 delivered",
            "14 delivered",
            ""
        ]
    );
}

#[test]
fn messages_that_do_not_fit_are_counted() {
    let mut trace = Trace::default();
    let half = "x".repeat(BYTES_MAX / 2);
    for id in 0..3 {
        trace.sent(ms(1), &message(id, "n1", if id == 1 { "" } else { &half }), 1);
    }
    trace.sent(ms(1), &message(3, "n1", ""), 1);
    for id in 0..4 {
        trace.ended(ms(2), id, Fate::Delivered);
    }
    let lines = messages(&trace);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["ends"][0]["fate"], "delivered");
    assert_eq!(lines[2], json!({ "cut": true, "left-out": 2 }));
    assert!(trace.under_way.is_empty());
}

#[test]
fn events_are_objects_with_their_time() {
    let mut trace = Trace::default();
    let refused = BTreeSet::from(["n1".into()]);
    let grudge = crate::partition::Grudge::from([("n0".into(), refused)]);
    let one = crate::partition::PartitionKind::One;
    let muted = News::Muted { node: "n0".into(), why: "no".into() };
    for news in [
        News::Phase("testing"),
        News::Nemesis(NemesisOp::StartPartition(one, grudge)),
        News::Nemesis(NemesisOp::StopPartition),
        News::Nemesis(NemesisOp::Crash("n1".into())),
        News::Nemesis(NemesisOp::Clock("n1".into(), -7)),
        News::Nemesis(NemesisOp::Slow("n1".into(), ms(1))),
        muted,
    ] {
        trace.happened(ms(2), news);
    }
    let mut out = Vec::new();
    trace.write_events(&mut out).unwrap();
    let expected = r#"{"time":2000000,"phase":"testing"}
{"time":2000000,"nemesis":{"start-partition":["one",{"n0":["n1"]}]}}
{"time":2000000,"nemesis":"stop-partition"}
{"time":2000000,"nemesis":{"crash":"n1"}}
{"time":2000000,"nemesis":{"clock":["n1",-7]}}
{"time":2000000,"nemesis":{"slow":["n1",1000000]}}
{"time":2000000,"muted":{"node":"n0","why":"no"}}
"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
