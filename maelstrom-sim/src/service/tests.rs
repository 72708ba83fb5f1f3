//! Tests the services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::rng::{Stream, stream};

fn services() -> Services {
    Services::new(stream(1, Stream::Services))
}

fn ask(services: &mut Services, service: &str, src: &str, body: &str) -> String {
    let body = RawValue::from_string(body.into()).unwrap();
    let reply = services.handle(service, &src.into(), &body);
    let reply: Option<Value> = reply.ok().map(|raw| serde_json::from_str(raw.get()).unwrap());
    reply.map_or_else(String::new, |mut reply| {
        assert_eq!(reply["in_reply_to"].take(), 1);
        let field = ["value", "ts", "code"].into_iter().find_map(|name| reply.get(name));
        let field = field.map(|value| format!(" {value}")).unwrap_or_default();
        format!("{}{field}", reply["type"].as_str().unwrap())
    })
}

fn write(value: u32) -> String {
    format!(r#"{{"type":"write","msg_id":1,"key":"k","value":{value}}}"#)
}

const READ: &str = r#"{"type":"read","msg_id":1,"key":"k"}"#;

fn cas(from: u32, to: u32, create: bool) -> String {
    format!(
        r#"{{"type":"cas","msg_id":1,"key":"k","from":{from},"to":{to},"create_if_not_exists":{create}}}"#
    )
}

#[test]
fn lin_kv_reads_writes_and_swaps() {
    let mut services = services();
    let mut ask = |body: &str| ask(&mut services, "lin-kv", "n1", body);
    assert_eq!(ask(READ), "error 20");
    assert_eq!(ask(&cas(0, 1, false)), "error 20");
    assert_eq!(ask(&cas(0, 1, true)), "cas_ok");
    assert_eq!(ask(READ), "read_ok 1");
    assert_eq!(ask(&cas(0, 2, true)), "error 22");
    assert_eq!(ask(&write(7)), "write_ok");
    assert_eq!(ask(&cas(7, 8, false)), "cas_ok");
    assert_eq!(ask(READ), "read_ok 8");
    let other = r#"{"type":"read","msg_id":1,"key":{"b":1,"a":[2]}}"#;
    assert_eq!(ask(&other.replace("read", "write").replace("}}", "},\"value\":3}")), "write_ok");
    assert_eq!(ask(r#"{"type":"read","msg_id":1,"key":{"a":[2],"b":1}}"#), "read_ok 3");
}

#[test]
fn a_message_without_sense_gets_no_answer() {
    let mut services = services();
    for (body, why) in [
        (r#"{"type":"no","msg_id":1}"#, "knows no requests of type `no`"),
        (r#"{"type":null,"msg_id":1}"#, "has no `type`"),
        ("{}", "has no `type`"),
        ("[]", "is not an object"),
    ] {
        for service in Services::NAMES {
            let body = RawValue::from_string(body.into()).unwrap();
            let error = services.handle(service, &"n1".into(), &body).unwrap_err();
            assert!(error.to_string().contains(why), "{service} {body} {error}");
        }
    }
    for (service, kind) in [("lin-tso", "read"), ("lin-kv", "ts"), ("lww-kv", "ts")] {
        assert_eq!(ask(&mut services, service, "n1", &format!(r#"{{"type":"{kind}"}}"#)), "");
    }
}

/// The complete replies of `lin-kv` to these requests.
fn conversation(requests: &[&str]) -> Vec<Value> {
    let mut services = services();
    let mut ask = |body: &&str| {
        let body = RawValue::from_string((*body).into()).unwrap();
        let reply = services.handle("lin-kv", &"n1".into(), &body).unwrap();
        serde_json::from_str(reply.get()).unwrap()
    };
    requests.iter().map(&mut ask).collect()
}

#[test]
fn a_reply_carries_back_whatever_msg_id_came() {
    for (msg_id, back) in [
        (r#""msg_id":7,"#, json!(7)),
        (r#""msg_id":-7,"#, json!(-7)),
        (r#""msg_id":1.5,"#, json!(1.5)),
        (r#""msg_id":"6f1c-uuid","#, json!("6f1c-uuid")),
        (r#""msg_id":[1,{"a":2}],"#, json!([1, { "a": 2 }])),
        (r#""msg_id":null,"#, Value::Null),
        ("", Value::Null),
    ] {
        let reply = conversation(&[&format!(r#"{{{msg_id}"type":"write","key":1,"value":2}}"#)]);
        assert_eq!(reply, [json!({ "type": "write_ok", "in_reply_to": back })]);
    }
}

#[test]
fn a_field_that_is_missing_is_null_and_a_flag_is_any_value_but_null_and_false() {
    let replies = conversation(&[
        r#"{"type":"cas","key":1,"to":5,"create_if_not_exists":true}"#,
        r#"{"type":"cas","key":1,"from":5}"#,
        r#"{"type":"read","key":1,"extra":9}"#,
        r#"{"type":"cas","key":1,"to":6}"#,
        r#"{"type":"write"}"#,
        r#"{"type":"read","key":null}"#,
        r#"{"type":"cas","key":2,"to":1,"create_if_not_exists":null}"#,
        r#"{"type":"cas","key":2,"to":1,"create_if_not_exists":false}"#,
        r#"{"type":"cas","key":2,"to":1,"create_if_not_exists":0}"#,
    ]);
    let told = replies.iter().map(|reply| match reply["type"].as_str().unwrap() {
        "error" => reply["code"].to_string(),
        "read_ok" => format!("read_ok {}", reply["value"]),
        other => other.to_owned(),
    });
    let told: Vec<String> = told.collect();
    assert_eq!(
        told,
        [
            "cas_ok",
            "cas_ok",
            "read_ok null",
            "cas_ok",
            "write_ok",
            "read_ok null",
            "20",
            "20",
            "cas_ok"
        ]
    );
}

#[test]
fn keys_and_values_are_equal_if_their_json_is() {
    let replies = conversation(&[
        r#"{"type":"write","key":1,"value":1.0}"#,
        r#"{"type":"read","key":"1"}"#,
        r#"{"type":"read","key":1.0}"#,
        r#"{"type":"cas","key":1,"from":1,"to":2}"#,
        r#"{"type":"cas","key":1,"from":1.00,"to":18446744073709551617}"#,
        r#"{"type":"cas","key":1,"from":18446744073709551616,"to":3}"#,
        r#"{"type":"cas","key":1,"from":18446744073709551617,"to":3}"#,
    ]);
    let told: Vec<Value> =
        replies.iter().map(|reply| reply.get("code").unwrap_or(&reply["type"]).clone()).collect();
    let expected = json!(["write_ok", 20, 20, 22, "cas_ok", 22, "cas_ok"]);
    assert_eq!(Value::from(told), expected);
}

#[test]
fn lin_tso_counts_up_from_0() {
    let mut services = services();
    for n in 0..5 {
        let reply = ask(&mut services, "lin-tso", "n1", r#"{"type":"ts","msg_id":1}"#);
        assert_eq!(reply, format!("ts_ok {n}"));
    }
}

fn read(services: &mut Services, reader: &str) -> i64 {
    let reply = ask(services, "seq-kv", reader, READ);
    reply.strip_prefix("read_ok ").map_or(-1, |text| text.parse().unwrap())
}

#[test]
fn seq_kv_serves_stale_reads_and_never_goes_back_for_a_caller_that_asks_often() {
    let mut services = services();
    let (mut stale, mut last) = (false, BTreeMap::new());
    for value in 0..200 {
        assert_eq!(ask(&mut services, "seq-kv", "n1", &write(value)), "write_ok");
        // The writer sees its own writes.
        assert_eq!(read(&mut services, "n1"), i64::from(value));
        for reader in ["n2", "n3"] {
            let seen = read(&mut services, reader);
            assert!(seen >= last.get(reader).copied().unwrap_or(-1));
            assert!(seen > i64::from(value) - 32);
            stale |= seen < i64::from(value);
            last.insert(reader, seen);
        }
    }
    assert!(stale);
}

/// As in Maelstrom: `seq-kv` takes the newest of its 32 states for the one of 32 changes ago.
#[test]
fn seq_kv_may_go_back_for_a_caller_that_was_away_for_more_changes_than_it_keeps() {
    let mut services = services();
    for value in 0..100 {
        ask(&mut services, "seq-kv", "n1", &write(value));
    }
    let mut five = |reader: u32| [(); 5].map(|()| read(&mut services, &format!("r{reader}")));
    let reads: Vec<[i64; 5]> = (0..20).map(&mut five).collect();
    assert!(reads.iter().any(|seen| !seen.is_sorted()), "{reads:?}");
    assert!(reads.iter().flatten().all(|seen| (68..100).contains(seen)), "{reads:?}");
}

#[test]
fn a_write_of_an_equal_value_changes_nothing_in_seq_kv() {
    let mut services = services();
    for value in 0..20 {
        ask(&mut services, "seq-kv", "n1", &write(value));
    }
    let write = |value: &str| format!(r#"{{"type":"write","msg_id":1,"key":"x","value":{value}}}"#);
    ask(&mut services, "seq-kv", "n1", &write(r#"{"a":1,"b":1.0}"#));
    let before = services.seq_kv.last;
    for _ in 0..50 {
        ask(&mut services, "seq-kv", "n1", &write(r#"{"b":1.00,"a":1}"#));
    }
    assert_eq!(services.seq_kv.last, before);
}

#[test]
fn seq_kv_swaps_only_the_newest_value() {
    let mut services = services();
    for value in 0..50 {
        ask(&mut services, "seq-kv", "n1", &write(value));
    }
    // Another caller may read any state, but never swaps an old value.
    for _ in 0..50 {
        assert_ne!(ask(&mut services, "seq-kv", "n2", &cas(20, 99, false)), "cas_ok");
    }
    ask(&mut services, "seq-kv", "n1", &cas(49, 50, false));
    assert_eq!(ask(&mut services, "seq-kv", "n1", READ), "read_ok 50");
}

#[test]
fn lww_kv_diverges_and_comes_together_again() {
    let mut services = services();
    let mut seen = BTreeSet::new();
    for value in 0..50 {
        ask(&mut services, "lww-kv", "n1", &write(value));
        seen.insert(ask(&mut services, "lww-kv", "n1", READ) == format!("read_ok {value}"));
    }
    assert_eq!(seen.len(), 2, "it is sometimes stale and sometimes not");
    let reads: Vec<String> = (0..50).map(|_| ask(&mut services, "lww-kv", "n1", READ)).collect();
    assert!(reads[40..].iter().all(|read| *read == reads[49]));
}
