//! Requests: each gets exactly one reply, and no input can stop the node.

use serde_json::Value;

use crate::support::{Process, echo, echo_ok, message, reply, sent};

#[test]
fn a_request_of_an_unknown_type_gets_error_10_once() {
    let process = Process::started();
    process.send("c1", r#"{"type":"unheard_of","msg_id":1}"#);
    let text = process.expect_error(1, 10);
    assert!(text.contains("unheard_of"), "{text}");
    process.expect_nothing_else();
    process.send("c1", r#"{"type":"","msg_id":2}"#);
    process.expect_error(2, 10);
    // The name of a Rust variant is no type, and a reply is no request.
    process.send("c1", r#"{"type":"Echo","msg_id":3,"echo":1}"#);
    process.expect_error(3, 10);
    process.send("c1", r#"{"type":"echo_ok","msg_id":4,"echo":1}"#);
    process.expect_error(4, 10);
    process.expect_nothing_else();
    process.finish().expect_no_more_lines();
}

#[test]
fn a_request_that_lacks_a_field_gets_error_12_that_names_it() {
    let process = Process::started();
    for (body, field) in [
        (r#"{"type":"echo","msg_id":1}"#, "`echo`"),
        (r#"{"type":"later","msg_id":1}"#, "`ms`"),
        (r#"{"type":"call","msg_id":1,"dest":"n2"}"#, "`timeout_ms`"),
        (r#"{"type":"typed","msg_id":1,"unsigned":1,"signed":1,"text":""}"#, "`list`"),
    ] {
        process.send("c1", body);
        let text = process.expect_error(1, 12);
        assert!(text.contains(field), "{text}");
    }
    process.expect_nothing_else();
}

#[test]
fn a_request_with_a_field_of_the_wrong_type_gets_error_12_that_names_it() {
    let process = Process::started();
    let typed = |values: &str| format!(r#"{{"type":"typed","msg_id":1,{values}}}"#);
    for (body, field) in [
        (r#"{"type":"later","msg_id":1,"ms":"soon"}"#.into(), "`ms`"),
        (r#"{"type":"later","msg_id":1,"ms":-1}"#.into(), "`ms`"),
        (r#"{"type":"later","msg_id":1,"ms":1.5}"#.into(), "`ms`"),
        (r#"{"type":"later","msg_id":1,"ms":null}"#.into(), "`ms`"),
        (r#"{"type":"later","msg_id":1,"ms":1e400}"#.into(), "`ms`"),
        (typed(r#""unsigned":1,"signed":1,"list":[1,2,"3"],"text":"""#), "`list[2]`"),
        (typed(r#""unsigned":1,"signed":1,"list":{},"text":"""#), "`list`"),
        (typed(r#""unsigned":1,"signed":1,"list":[],"text":7"#), "`text`"),
        (typed(r#""unsigned":18446744073709551616,"signed":1,"list":[],"text":"""#), "`unsigned`"),
        (typed(r#""unsigned":1,"signed":9223372036854775808,"list":[],"text":"""#), "`signed`"),
        (typed(r#""unsigned":1,"signed":1,"list":[],"text":"\ud800""#), "`text`"),
    ] {
        process.send("c1", &body);
        let text = process.expect_error(1, 12);
        assert!(text.contains(field), "{body}: {text}");
    }
    process.expect_nothing_else();
}

#[test]
fn a_body_without_a_good_type_gets_error_12() {
    let process = Process::started();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let beside_much = format!(r#"{{"deep":{deep},"large":1e400,"msg_id":1}}"#);
    for body in [
        r#"{"msg_id":1}"#,
        r#"{"type":null,"msg_id":1}"#,
        r#"{"type":7,"msg_id":1}"#,
        r#"{"msg_id":1,"type":["echo"],"echo":1}"#,
        r#"{"type":"echo","type":"echo","msg_id":1,"echo":1}"#,
        r#"{"type":"echo","msg_id":1,"in_reply_to":"x","echo":1}"#,
        &beside_much,
    ] {
        process.send("c1", body);
        process.expect_error(1, 12);
    }
    process.expect_nothing_else();
}

#[test]
fn a_request_whose_msg_id_cannot_be_made_out_gets_no_answer() {
    let process = Process::started();
    for body in [
        r#"{"type":"count","msg_id":"1"}"#,
        r#"{"type":"count","msg_id":-1}"#,
        r#"{"type":"count","msg_id":1.0}"#,
        r#"{"type":"count","msg_id":18446744073709551616}"#,
        r#"{"type":"count","msg_id":[1]}"#,
        r#"[1]"#,
        r#"["count",1,null]"#,
        "null",
        "\"count\"",
        "1",
        "{}",
    ] {
        process.send("c1", body);
        process.expect_nothing_else();
    }
    assert_eq!(process.state()["counted"], 0);
}

#[test]
fn a_message_without_msg_id_has_its_effect_and_gets_no_answer() {
    let process = Process::started();
    process.send("c1", r#"{"type":"count"}"#);
    process.send("n2", r#"{"type":"count","msg_id":null}"#);
    process.expect_nothing_else();
    assert_eq!(process.state()["counted"], 2);
    // A message without an id gets no error either.
    process.send("c1", r#"{"type":"unheard_of"}"#);
    process.send("c1", r#"{"type":"later"}"#);
    process.send("c1", r#"{"type":"fail","code":30,"text":""}"#);
    process.send("c1", r#"{}"#);
    process.expect_nothing_else();
    process.finish().expect_no_more_lines();
}

#[test]
fn the_handlers_error_is_sent_back_once() {
    let process = Process::started();
    for code in [0, 1, 13, 20, 22, 30, 1_000, u64::MAX] {
        process.expect(
            &format!(r#"{{"type":"fail","msg_id":1,"code":{code},"text":"no \"luck\""}}"#),
            &format!(r#"{{"type":"error","in_reply_to":1,"code":{code},"text":"no \"luck\""}}"#),
        );
        process.expect_nothing_else();
    }
    process.finish().expect_no_more_lines();
}

#[test]
fn a_second_reply_is_not_sent_but_logged_and_costs_nobody_else_an_answer() {
    let process = Process::started();
    process.send("c1", r#"{"type":"later","msg_id":1,"ms":1000}"#);
    process.expect(r#"{"type":"twice","msg_id":2}"#, r#"{"type":"twice_ok","in_reply_to":2}"#);
    process.expect_nothing_else();
    let ended = process.finish();
    assert_eq!(ended.lines, [reply(r#"{"type":"later_ok","in_reply_to":1}"#)]);
    assert_eq!(ended.stderr.matches("answered already").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_message_for_another_node_gets_error_1_and_has_no_effect() {
    let process = Process::started();
    process.send_line(r#"{"src":"c1","dest":"n2","body":{"type":"count","msg_id":1}}"#);
    process.expect_error(1, 1);
    process.send_line(r#"{"src":"c1","dest":"n2","body":{"type":"count"}}"#);
    process.expect_nothing_else();
    assert_eq!(process.state()["counted"], 0);
}

#[test]
fn fields_that_nobody_knows_are_ignored() {
    let process = Process::started();
    process.send_line(
        r#"{"id":7,"src":"c1","x":[{}],"body":{"y":1e400,"echo":1,"msg_id":1,"type":"echo"},"dest":"n1"}"#,
    );
    assert_eq!(process.next(), reply(&echo_ok(1, "1")));
}

#[test]
fn names_and_types_may_be_written_with_escapes() {
    let process = Process::started();
    process.send_line(
        r#"{"src":"\u0063\"\\","dest":"\u006e1","body":{"\u0074ype":"\u0065cho","msg_id":1,"echo":1}}"#,
    );
    let line = process.next_json();
    assert_eq!(line["dest"], "c\"\\");
    assert_eq!(line["body"]["type"], "echo_ok");
}

#[test]
fn requests_are_served_in_the_order_in_which_they_came() {
    let process = Process::started();
    let ids = 1..=10_000_u16;
    // The lengths of lines vary, so that reads end anywhere in them.
    let value = |id: u16| format!("\"{}\"", "x".repeat(usize::from(id % 97)));
    let requests = ids.clone().map(|id| message("c1", &echo(id.into(), &value(id))) + "\n");
    process.send_bytes(requests.collect::<String>());
    for id in ids {
        assert_eq!(process.next(), reply(&echo_ok(id.into(), &value(id))));
    }
    process.expect_nothing_else();
}

#[test]
fn each_limit_is_a_flag_and_its_refusals_are_logged_once_in_a_second() {
    let text = |args: &[&str], first: &str| {
        let process = Process::started_with(args);
        process.send("c1", first);
        for id in 1..=50 {
            process.send("c1", &echo(id, "1"));
        }
        process.send("n2", &echo(51, "2"));
        let lines: Vec<String> = (0..51).map(|_| process.next()).collect();
        assert_eq!(lines[50], sent("n2", &echo_ok(51, "2")));
        let refused = lines[..50].iter().filter(|line| line.contains(r#""code":11"#)).count();
        let last = serde_json::from_str::<Value>(&lines[49]).unwrap();
        let log = process.finish().stderr;
        let warnings = log.matches("a client's message was refused").count();
        assert!((40..=50).contains(&refused), "{refused}");
        assert!((1..=5).contains(&warnings), "{log}");
        last["body"]["text"].as_str().unwrap().to_owned()
    };
    let (nothing, count) = (r#"{"type":"nothing","msg_id":99}"#, r#"{"type":"count"}"#);
    for (flag, first) in [
        ("--max-requests-per-second", count),
        ("--max-client-requests-per-second", count),
        ("--max-open-requests", nothing),
    ] {
        let text = text(&[flag, "1"], first);
        assert!(text.contains(flag), "{text}");
    }
}
