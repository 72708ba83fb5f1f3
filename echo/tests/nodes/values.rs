//! Any value comes back unchanged, byte for byte.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do its helpers"
)]

use echo::Echo;
use maelstrom_core::{Clock, Output, RawNode};
use proptest::prelude::*;

/// The reply of a node that has just started to the body of a message from c1.
fn answer(body: &str) -> String {
    let mut node = RawNode::new(Echo, [0; 32], false);
    let init = r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}"#;
    let mut said = String::new();
    for body in [init, body] {
        let line = format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#);
        node.handle_line(Clock::default(), line.as_bytes());
        let Some(Output::Lines(lines)) = node.poll_output() else {
            panic!("no answer to {body}");
        };
        said = String::from_utf8(lines).unwrap();
    }
    said
}

fn assert_echoes(value: &str) {
    assert_eq!(
        answer(&format!(r#"{{"type":"echo","msg_id":2,"echo":{value}}}"#)),
        format!(
            r#"{{"src":"n1","dest":"c1","body":{{"type":"echo_ok","in_reply_to":2,"echo":{value}}}}}"#
        ) + "\n"
    );
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
    fn any_value_comes_back_byte_for_byte(value in any_json_text()) {
        assert_echoes(&value);
    }
}

#[test]
fn keys_keep_their_order_and_numbers_their_digits() {
    for value in [
        r#"{"b":1,"a":2,"b":3}"#,
        "123456789012345678901234567890.12345678901234567890",
        "-0.0e-0",
        "18446744073709551616",
        r#""é\u00e9😀\ud83d\ude00""#,
        "[ [ ] , { } ]",
        "\"\"",
    ] {
        assert_echoes(value);
    }
}

#[test]
fn a_megabyte_comes_back_whole() {
    assert_echoes(&format!("\"{}\"", "echo ".repeat(200_000)));
}

#[test]
fn an_echo_of_nothing_is_refused() {
    let error = r#"{"type":"error","in_reply_to":2,"code":12,"text":"missing field `echo`"}"#;
    assert_eq!(
        answer(r#"{"type":"echo","msg_id":2}"#),
        format!(r#"{{"src":"n1","dest":"c1","body":{error}}}"#) + "\n"
    );
}
