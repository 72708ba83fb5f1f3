//! Requests of clients, and their replies.

use std::time::Duration;

use maelstrom_core::gossip;
use maelstrom_core::metrics::float;
use serde_json::json;
use txn_rw::{
    CLOCK_LEAP_NOTED, Config, Isolation, KEY_BYTES_MAX, OPERATIONS_MAX, SPREAD_MAX, STEP,
    WRITES_BYTES_MAX,
};

use crate::cluster::Cluster;

fn alone() -> Cluster {
    Cluster::new(&["n1"])
}

/// The error text for a transaction. Checks that it had no effect.
fn refused(cluster: &mut Cluster, operations: &str) -> String {
    let reply = cluster.ask("n1", &format!(r#"{{"type":"txn","msg_id":2,"txn":{operations}}}"#));
    let rest = reply.strip_prefix(r#"{"type":"error","in_reply_to":2,"code":12,"text":""#);
    let text = rest.unwrap_or_else(|| panic!("{reply}")).strip_suffix("\"}").unwrap().to_owned();
    assert!(cluster.node("n1").gossip().state().is_empty(), "{operations}");
    assert_eq!(cluster.records("n1"), 0, "{operations}");
    text
}

#[test]
fn the_reply_has_the_operations_of_the_request_in_their_order() {
    let mut cluster = alone();
    for (operations, result) in [
        ("[]", "[]"),
        (r#"[["r",1,null]]"#, r#"[["r",1,null]]"#),
        (r#"[["w",1,5]]"#, r#"[["w",1,5]]"#),
        (
            r#"[["r",1,null],["w",1,6],["r",1,null],["w",2,1],["w",1,7],["r",2,null],["r",1,null]]"#,
            r#"[["r",1,5],["w",1,6],["r",1,6],["w",2,1],["w",1,7],["r",2,1],["r",1,7]]"#,
        ),
        (r#"[["r",1,null],["r",3,null]]"#, r#"[["r",1,7],["r",3,null]]"#),
        // The node ignores the value of a read.
        (r#"[["r",1,99]]"#, r#"[["r",1,7]]"#),
    ] {
        assert_eq!(cluster.txn("n1", operations), result);
    }
    assert_eq!(cluster.records("n1"), 2, "one record for each transaction that writes");
}

#[test]
fn keys_and_values_are_any_json_with_all_their_digits_here_and_on_other_nodes() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    let texts = [
        "123456789012345678901234567890",
        "1.10",
        "1.1",
        "-0",
        "1e300",
        "true",
        r#""1""#,
        r#""é\n\\""#,
        r#"[1,[2,{"a":3.0}]]"#,
        r#"{"a":{"b":[]}}"#,
        "null",
    ];
    // A value is never null. A key may be null.
    let value = |at: usize| texts[(at + 1) % 10];
    let all = texts.iter().enumerate();
    let writes: Vec<_> = all.map(|(at, key)| format!(r#"["w",{key},{}]"#, value(at))).collect();
    cluster.txn("n1", &format!("[{}]", writes.join(",")));
    cluster.run_for(Duration::from_secs(5));
    for (at, key) in texts.iter().enumerate() {
        let read = cluster.txn("n2", &format!(r#"[["r",{key},null]]"#));
        assert_eq!(read, format!(r#"[["r",{key},{}]]"#, value(at)));
    }
}

#[test]
fn another_spelling_of_a_key_is_the_same_key_and_comes_back_as_it_was_spelt() {
    let mut cluster = alone();
    cluster.txn("n1", r#"[["w",{"a":1,"b":"é"},5]]"#);
    let operations = r#"[["r",{ "b" :"\u00e9","a":1},null]]"#;
    assert_eq!(cluster.txn("n1", operations), r#"[["r",{ "b" :"\u00e9","a":1},5]]"#);
}

#[test]
fn a_malformed_transaction_is_refused_at_its_place_and_nothing_of_it_is_done() {
    let mut cluster = alone();
    let of_three = r#"expected an operation, [\"r\", key, null] or [\"w\", key, value]"#;
    for (bad, place, why) in [
        ("5", "field `txn[1]`: ", "invalid type: integer `5`, "),
        ("null", "field `txn[1]`: ", "invalid type: null, "),
        (r#"{"w":1}"#, "field `txn[1]`: ", "invalid type: map, "),
        ("[]", "field `txn[1]`: ", "invalid length 0, "),
        (r#"["r"]"#, "field `txn[1]`: ", "invalid length 1, "),
        (r#"["r",1]"#, "field `txn[1]`: ", "invalid length 2, "),
        (r#"["w",1]"#, "field `txn[1]`: ", "invalid length 2, "),
        (r#"["r",1,null,4]"#, "field `txn[1]`: ", "invalid length 4, "),
        (r#"["w",1,2,3,4]"#, "field `txn[1]`: ", "invalid length 5, "),
    ] {
        let text = refused(&mut cluster, &format!(r#"[["w",1,5],{bad},["w",2,5]]"#));
        assert_eq!(text, format!("{place}{why}{of_three}"), "{bad}");
    }
    for (bad, expected) in [
        (r#"["w",1,null]"#, "field `txn[2]`: a write without a value"),
        (r#"["append",1,2]"#, r#"field `txn[2]`: unknown operation \"append\": not `r` or `w`"#),
        (r#"["R",1,null]"#, r#"field `txn[2]`: unknown operation \"R\": not `r` or `w`"#),
        (r#"[7,1,2]"#, "field `txn[2][0]`: invalid type: integer `7`, expected a string"),
    ] {
        let text = refused(&mut cluster, &format!(r#"[["w",1,5],["r",1,null],{bad}]"#));
        assert_eq!(text, expected, "{bad}");
    }
    for bad in ["null", "5", "{}", r#""r""#] {
        assert!(refused(&mut cluster, bad).starts_with("field `txn`: invalid type: "), "{bad}");
    }
    let missing = cluster.ask("n1", r#"{"type":"txn","msg_id":2}"#);
    assert!(missing.ends_with(r#""code":12,"text":"missing field `txn`"}"#), "{missing}");
}

#[test]
fn a_transaction_that_is_too_long_is_refused_and_nothing_of_it_is_done() {
    let mut cluster = alone();
    let many = |count| format!("[{}]", vec![r#"["w",1,5]"#; count].join(","));
    let text = refused(&mut cluster, &many(OPERATIONS_MAX + 1));
    assert_eq!(text, "field `txn`: 1001 operations, and at most 1000 are taken");
    let large = format!("\"{}\"", "x".repeat(WRITES_BYTES_MAX / 2));
    let text = refused(&mut cluster, &format!(r#"[["w",1,{large}],["w",2,{large}]]"#));
    assert!(text.ends_with(": more than 8388608 bytes"), "{text}");
    cluster.txn("n1", &many(OPERATIONS_MAX));
    // The limit holds for replies, too.
    cluster.txn("n1", &format!(r#"[["w",1,{large}]]"#));
    let body = r#"{"type":"txn","msg_id":2,"txn":[["w",2,6],["r",1,null],["r",1,null]]}"#;
    let reply = cluster.ask("n1", body);
    assert!(reply.contains("\"code\":12,\"text\":\"field `txn[2]`: more than "), "{reply}");
    assert_eq!(cluster.read("n1", &["2"]), ["null"]);
}

/// A key of exactly this many bytes, with members that are not in order.
fn key_of(bytes: usize) -> String {
    let empty = r#"{"z":1,"a":""}"#;
    format!(r#"{{"z":1,"a":"{}"}}"#, "x".repeat(bytes - empty.len()))
}

#[test]
fn a_key_that_is_too_large_is_refused_in_reads_and_writes_and_nothing_is_done() {
    let mut cluster = alone();
    let (largest, larger) = (key_of(KEY_BYTES_MAX), key_of(KEY_BYTES_MAX + 1));
    for operation in [format!(r#"["r",{larger},null]"#), format!(r#"["w",{larger},5]"#)] {
        let text = refused(&mut cluster, &format!(r#"[["w",1,5],{operation}]"#));
        let why = "a key of 65537 bytes, and at most 65536 are taken";
        assert_eq!(text, format!("field `txn[1]`: {why}"));
    }
    let both = format!(r#"[["w",{largest},5],["r",{largest},null]]"#);
    let result = format!(r#"[["w",{largest},5],["r",{largest},5]]"#);
    assert_eq!(cluster.txn("n1", &both), result);
}

#[test]
fn a_full_node_refuses_writes_and_reads_on() {
    let gossip = gossip::Config { state_bytes_max: 300, ..Config::default().gossip };
    let mut cluster = Cluster::with(&["n1"], Config { gossip, ..Config::default() });
    cluster.txn("n1", r#"[["w",1,5]]"#);
    let large = "x".repeat(300);
    let body = format!(r#"{{"type":"txn","msg_id":2,"txn":[["r",1,null],["w",2,"{large}"]]}}"#);
    let reply = cluster.ask("n1", &body);
    assert!(reply.starts_with(r#"{"type":"error","in_reply_to":2,"code":11,"#), "{reply}");
    assert_eq!(
        (cluster.read("n1", &["1", "2"]), cluster.records("n1")),
        (vec!["5".into(), "null".into()], 1)
    );
}

#[test]
fn the_number_of_operations_is_a_choice() {
    let config = Config { operations_max: 2, ..Config::default() };
    let mut cluster = Cluster::with(&["n1"], config);
    let three = r#"[["w",1,5],["w",1,5],["w",1,5]]"#;
    let text = refused(&mut cluster, three);
    assert_eq!(text, "field `txn`: 3 operations, and at most 2 are taken");
}

#[test]
fn a_transaction_is_seen_whole_by_others_and_costs_one_message() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.run_for(Duration::from_secs(5));
    cluster.txn("n2", r#"[["w",1,5],["w",2,6],["w",1,7]]"#);
    assert_eq!(cluster.read("n1", &["1", "2"]), ["null", "null"]);
    let sent = cluster.run_for(Duration::ZERO);
    assert_eq!(sent.len(), 1);
    // The first of two writes of a key stays in its transaction.
    assert_eq!(sent[0]["runs"][0]["entries"], json!([{"clock": 1, "writes": [[1, 7], [2, 6]]}]));
    assert_eq!(cluster.read("n1", &["1", "2"]), ["7", "6"]);
    cluster.txn("n1", r#"[["w",1,8]]"#);
    let sent = cluster.run_for(Duration::from_secs(1));
    let entry = &sent[0]["runs"][0]["entries"][0];
    let origin = cluster.node("n2").gossip().origin();
    assert_eq!(
        *entry,
        json!({"clock": 2, "after": [["n2", origin.incarnation, 1]], "writes": [[1, 8]]})
    );
    assert_eq!(cluster.all_read(&["1"]), ["8"]);
}

#[test]
fn a_node_that_has_seen_a_write_overwrites_it_and_another_node_may_not() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.run_for(Duration::from_secs(5));
    cluster.cut_off("n1");
    cluster.txn("n1", r#"[["w",1,"n1"]]"#);
    cluster.txn("n2", r#"[["w",1,"n2"]]"#);
    cluster.txn("n1", r#"[["w",2,"n1, once more"]]"#);
    cluster.heal();
    // The clocks are equal, so the later name wins. If both had read before, this is a lost update.
    assert_eq!(cluster.all_read(&["1", "2"]), ["\"n2\"", "\"n1, once more\""]);
    cluster.txn("n1", r#"[["w",1,"after all"]]"#);
    assert_eq!(cluster.all_read(&["1"]), ["\"after all\""]);
}

#[test]
fn a_clock_that_follows_from_nothing_is_refused_and_counted_and_moves_nobodys() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.run_for(Duration::from_secs(5));
    cluster.cut_off("n1");
    cluster.txn("n2", r#"[["w",1,5]]"#);
    let good = cluster.run_for(Duration::ZERO).swap_remove(0);
    cluster.heal();
    for (nth, clock) in (1..).zip([2, 1 << 52, u64::MAX]) {
        let mut body = good.clone();
        body["msg_id"] = 9.into();
        body["runs"][0]["entries"][0]["clock"] = clock.into();
        assert!(cluster.send("n1", "n2", &body.to_string()).is_empty());
        let sent = cluster.run_for(Duration::ZERO);
        let error = sent.iter().find(|body| body["in_reply_to"] == 9).unwrap();
        let text =
            format!("the transaction of n2 with clock {clock}: its clock follows from nothing");
        assert_eq!((&error["code"], &error["text"]), (&json!(12), &json!(text)));
        assert_eq!(cluster.node("n1").refused(), nth);
        assert_eq!(cluster.metric("n1", "txn_messages_invalid_total", &[]), float(nth));
    }
    assert_eq!(cluster.read("n1", &["1"]), ["null"]);
    cluster.txn("n1", r#"[["w",2,6]]"#);
    assert_eq!(cluster.all_read(&["1", "2"]), ["5", "6"]);
    assert_eq!(cluster.node("n1").leaps(), 0);
}

#[test]
fn a_leap_of_the_clock_by_a_much_busier_node_is_counted() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.run_for(Duration::from_secs(5));
    cluster.cut_off("n1");
    for _ in 0..=CLOCK_LEAP_NOTED {
        cluster.txn("n2", r#"[["w",1,5]]"#);
    }
    cluster.run_for(Duration::from_secs(5));
    cluster.heal();
    assert_eq!(cluster.all_read(&["1"]), ["5"]);
    assert_eq!(["n1", "n2"].map(|name| cluster.node(name).leaps()), [1, 0]);
    let leaps = |name| cluster.metric(name, "txn_clock_leaps_total", &[]);
    assert_eq!(["n1", "n2"].map(leaps), [1.0, 0.0]);
    assert_eq!(cluster.node("n1").refused(), 0);
}

#[test]
fn gossip_of_a_client_is_refused() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.txn("n2", r#"[["w",1,5]]"#);
    let mut body = cluster.run_for(Duration::from_secs(5)).swap_remove(0);
    body["msg_id"] = 2.into();
    let reply = cluster.ask("n1", &body.to_string());
    assert!(reply.starts_with(r#"{"type":"error","in_reply_to":2,"code":12,"#), "{reply}");
}

/// Begins two transactions on a node of a level, the second one while the first one is running.
/// Returns their replies.
fn interleaved(isolation: Isolation, first: &str, second: &str) -> Vec<String> {
    let mut cluster = Cluster::with(&["n1"], Config { isolation, ..Config::default() });
    let mut replies = Vec::new();
    for (msg_id, operations) in [(1, r#"[["w",1,"old"],["w",2,"old"]]"#), (2, first), (3, second)] {
        let body = format!(r#"{{"type":"txn","msg_id":{msg_id},"txn":{operations}}}"#);
        replies.extend(cluster.send("n1", "c1", &body));
        cluster.run_for(if msg_id == 1 { 9 * STEP } else { STEP / 2 });
    }
    cluster.run_for(9 * STEP);
    replies.append(&mut cluster.late);
    replies.retain(|reply| !reply.contains(r#""in_reply_to":1,"#));
    replies.sort_by_key(|reply| reply.split_once("in_reply_to").unwrap().1.to_owned());
    let txn = |reply: String| reply.split_once(r#""txn":"#).unwrap().1.replace("]]}", "]]");
    replies.into_iter().map(txn).collect()
}

#[test]
fn the_levels_differ_in_the_writes_that_a_transaction_sees_of_one_that_is_running() {
    let (writer, reader) =
        (r#"[["w",1,"a"],["w",1,"b"],["w",2,"b"]]"#, r#"[["r",1,null],["r",1,null],["r",2,null]]"#);
    let seen = |isolation| interleaved(isolation, writer, reader).swap_remove(1);
    // The whole first transaction, since it runs at once.
    assert_eq!(seen(Isolation::Causal), r#"[["r",1,"b"],["r",1,"b"],["r",2,"b"]]"#);
    // The values that are committed by then.
    assert_eq!(seen(Isolation::ReadCommitted), r#"[["r",1,"old"],["r",1,"old"],["r",2,"b"]]"#);
    // The values that are written so far.
    assert_eq!(seen(Isolation::ReadUncommitted), r#"[["r",1,"a"],["r",1,"b"],["r",2,"b"]]"#);
    // A transaction that writes reads only committed values.
    let both = r#"[["r",1,null],["w",1,"c"]]"#;
    let replies = interleaved(Isolation::ReadUncommitted, writer, both);
    assert_eq!(replies[1], r#"[["r",1,"old"],["w",1,"c"]]"#);
}

/// A timer comes late by 1 ms or so on any machine. In 1,000 steps that adds up.
#[test]
fn a_long_transaction_is_done_in_time_and_not_at_once_and_others_run_meanwhile() {
    const LATE: Duration = Duration::from_micros(1_200);
    for (isolation, count) in [
        (Isolation::ReadCommitted, OPERATIONS_MAX),
        (Isolation::ReadCommitted, 20 * OPERATIONS_MAX),
        (Isolation::ReadUncommitted, OPERATIONS_MAX),
        (Isolation::ReadCommitted, 30),
    ] {
        let config = Config { isolation, operations_max: count, ..Config::default() };
        let mut cluster = Cluster::with(&["n1"], config);
        let writes = vec![r#"["w",1,"a"],["w",2,"b"]"#; count / 2].join(",");
        let begin = format!(r#"{{"type":"txn","msg_id":2,"txn":[{writes}]}}"#);
        assert!(cluster.send("n1", "c1", &begin).is_empty());
        let (mut took, mut between) = (Duration::ZERO, 0);
        while cluster.late.is_empty() {
            // Other transactions run meanwhile, and see none of it.
            let read = cluster.ask("n1", r#"{"type":"txn","msg_id":4,"txn":[["r",1,null]]}"#);
            let is_seen = !read.ends_with(r#"[["r",1,null]]}"#);
            assert_eq!(is_seen, isolation == Isolation::ReadUncommitted, "{read}");
            took += cluster.wait_for_timer(LATE);
            between += 1;
        }
        let most = (SPREAD_MAX + 2 * LATE).min(u32::try_from(count).unwrap() * (STEP + LATE));
        assert!(took <= most, "{count} operations took {took:?}");
        assert!(between >= count.min(100) / 2, "{between} times others were answered");
        let read = cluster.ask("n1", r#"{"type":"txn","msg_id":5,"txn":[["r",1,null]]}"#);
        assert!(read.ends_with(r#"[["r",1,"a"]]}"#), "{read}");
    }
}

#[test]
fn metrics_tell_the_clock_the_keys_and_the_running_transactions() {
    let config = Config { isolation: Isolation::ReadCommitted, ..Config::default() };
    let mut cluster = Cluster::with(&["n1"], config);
    for id in 2..5 {
        let body = format!(r#"{{"type":"txn","msg_id":{id},"txn":[["w",{id},1]]}}"#);
        cluster.ask("n1", &body);
    }
    let values = |cluster: &Cluster| {
        ["txn_clock", "txn_registers", "txn_running"].map(|name| cluster.metric("n1", name, &[]))
    };
    assert_eq!(values(&cluster), [3.0, 3.0, 0.0]);
    assert_eq!(cluster.metric("n1", "txn_running_bytes", &[]), 0.0);
    let two = r#"{"type":"txn","msg_id":9,"txn":[["w",2,1],["w",9,1]]}"#;
    assert!(cluster.send("n1", "c1", two).is_empty());
    assert_eq!(values(&cluster), [3.0, 3.0, 1.0]);
    assert!(cluster.metric("n1", "txn_running_bytes", &[]) > 0.0);
    cluster.run_for(SPREAD_MAX);
    assert_eq!(values(&cluster), [4.0, 4.0, 0.0]);
}

#[test]
fn running_transactions_hold_no_more_bytes_than_a_limit() {
    let bytes_max = 4 * WRITES_BYTES_MAX;
    let isolation = Isolation::ReadCommitted;
    let config = Config { isolation, running_bytes_max: bytes_max, ..Config::default() };
    let txn = |id: usize, operations: &str| {
        format!(r#"{{"type":"txn","msg_id":{id},"txn":[{operations}]}}"#)
    };
    let large = "x".repeat(WRITES_BYTES_MAX / 4);
    let (write, read) = (format!(r#"["w",1,"{large}"]"#), r#"["r",1,null]"#);
    let refusal = format!("running transactions hold more than {bytes_max} bytes");
    let is_refusal = |reply: &str| reply.contains(r#""code":11,"#) && reply.contains(&refusal);
    // Some transactions have large requests. Others have small requests with large results.
    for operations in [format!("{write},{read}"), format!(r#"["w",2,1],{read},["r",2,null]"#)] {
        let mut cluster = Cluster::with(&["n1"], config.clone());
        cluster.ask("n1", &txn(2, &write));
        let count = 2 * bytes_max / large.len();
        let mut replies = Vec::new();
        for id in 0..count {
            replies.extend(cluster.send("n1", "c1", &txn(10 + id, &operations)));
        }
        cluster.run_for(SPREAD_MAX);
        replies.append(&mut cluster.late);
        assert_eq!(replies.len(), count, "all are answered");
        assert_eq!(cluster.metric("n1", "txn_running", &[]), 0.0);
        let refused = replies.iter().filter(|reply| is_refusal(reply)).count();
        let done = replies.iter().filter(|reply| reply.contains("txn_ok")).count();
        assert_eq!((refused + done, refused * 2 >= count), (count, true), "{refused} are refused");
        let limit = [("limit", "pending_bytes")];
        let counted = cluster.metric("n1", "maelstrom_refused_total", &limit);
        assert_eq!(counted, float(refused.try_into().unwrap()));
        // There is room again: every byte was given back.
        for id in 0..count {
            assert!(cluster.send("n1", "c1", &txn(1_000 + id, read)).len() == 1);
        }
    }
}
