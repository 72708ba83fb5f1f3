//! `init`: a node gets its name before it handles anything else, and keeps that name.

use crate::support::{INIT, INIT_OK, Process, echo, echo_ok, message, reply};

#[test]
fn requests_before_init_wait_for_it() {
    let process = Process::new(&[]);
    process.send("c1", r#"{"type":"count","msg_id":1}"#);
    process.send("c1", r#"{"type":"count"}"#);
    process.send("c1", r#"{"type":"unheard_of","msg_id":2}"#);
    process.send("c1", r#"{"type":"pong","in_reply_to":1,"value":1}"#);
    process.expect(INIT, INIT_OK);
    assert_eq!(process.next_json()["body"]["type"], "count_ok");
    process.expect_error(2, 10);
    let state = process.state();
    assert_eq!(state["counted"], 2);
    assert_eq!(state["started"], 1);
}

#[test]
fn requests_get_error_11_if_no_init_can_come_any_more() {
    let mut process = Process::new(&[]);
    process.send("c1", r#"{"type":"count","msg_id":1}"#);
    process.close_stdin();
    process.expect_error(1, 11);
}

#[test]
fn init_tells_the_node_its_name_and_all_nodes_in_their_order() {
    let process = Process::new(&[]);
    process.send_line(
        r#"{"id":0,"src":"c0","dest":"n3","body":{"type":"init","node_id":"n3","node_ids":["n3","n10","n2"],"msg_id":1}}"#,
    );
    assert_eq!(
        process.next(),
        r#"{"src":"n3","dest":"c0","body":{"type":"init_ok","in_reply_to":1}}"#
    );
    process.send_line(r#"{"src":"c1","dest":"n3","body":{"type":"read","msg_id":1}}"#);
    let body = &process.next_json()["body"];
    assert_eq!(body["node_id"], "n3");
    assert_eq!(body["node_ids"], serde_json::json!(["n3", "n10", "n2"]));
}

#[test]
fn the_same_init_again_is_confirmed_again_and_changes_nothing() {
    let process = Process::started();
    process.expect(r#"{"type":"count","msg_id":1}"#, r#"{"type":"count_ok","in_reply_to":1}"#);
    process.expect(INIT, INIT_OK);
    process.expect(&INIT.replace(r#""msg_id":0"#, r#""msg_id":5"#), &INIT_OK.replace('0', "5"));
    let state = process.state();
    assert_eq!(state["started"], 1);
    assert_eq!(state["counted"], 1);
}

#[test]
fn another_init_gets_error_22_and_the_node_keeps_its_name() {
    let process = Process::started();
    for node_ids in [r#"["n1","n2"]"#, r#"["n3","n2","n1"]"#] {
        process.send(
            "c1",
            &format!(r#"{{"type":"init","msg_id":1,"node_id":"n1","node_ids":{node_ids}}}"#),
        );
        process.expect_error(1, 22);
    }
    process.send_line(
        r#"{"src":"c1","dest":"n2","body":{"type":"init","msg_id":2,"node_id":"n2","node_ids":["n1","n2","n3"]}}"#,
    );
    process.expect_error(2, 22);
    let state = process.state();
    assert_eq!(state["node_id"], "n1");
    assert_eq!(state["node_ids"], serde_json::json!(["n1", "n2", "n3"]));
    assert_eq!(state["started"], 1);
}

#[test]
fn an_init_that_makes_no_sense_gets_error_12_and_a_good_one_still_works() {
    let process = Process::new(&[]);
    for (fields, named) in [
        (r#""node_id":"n1","node_ids":["n2","n3"]"#, "`node_id`"),
        (r#""node_id":"n1","node_ids":[]"#, "`node_id`"),
        (r#""node_id":"n1","node_ids":["n1","n1"]"#, "`node_ids`"),
        (r#""node_id":"n1""#, "`node_ids`"),
        (r#""node_ids":["n1"]"#, "`node_id`"),
        (r#""node_id":1,"node_ids":["n1"]"#, "`node_id`"),
        (r#""node_id":"n1","node_ids":["n1",2]"#, "`node_ids[1]`"),
        (r#""node_id":"n1","node_ids":"n1""#, "`node_ids`"),
    ] {
        let body = format!(r#"{{"type":"init","msg_id":1,{fields}}}"#);
        process.send("c1", &body);
        let text = process.expect_error(1, 12);
        assert!(text.contains(named), "{body}: {text}");
    }
    process.expect(INIT, INIT_OK);
    assert_eq!(process.state()["started"], 1);
}

#[test]
fn nothing_overtakes_init_when_everything_comes_in_one_write() {
    // The second input is larger than a pipe, and the first one is smaller.
    for requests in [100, 5_000] {
        let process = Process::new(&[]);
        let mut input = message("c1", INIT) + "\n";
        for id in 1..=requests {
            input += &(message("c1", &echo(id, "1")) + "\n");
        }
        process.send_bytes(input);
        let ended = process.finish();
        let mut replies = vec![reply(INIT_OK)];
        replies.extend((1..=requests).map(|id| reply(&echo_ok(id, "1"))));
        assert_eq!(ended.lines, replies);
    }
}
