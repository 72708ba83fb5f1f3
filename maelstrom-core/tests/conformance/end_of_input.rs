//! The end of input: the node answers everything it was asked, and the process ends by itself.

use std::time::Duration;

use crate::support::{Process, echo, echo_ok, message, reply};

#[test]
fn the_end_of_input_at_once_ends_the_process() {
    let ended = Process::new(&[]).finish();
    ended.expect_no_more_lines();
}

#[test]
fn everything_that_came_before_the_end_of_input_is_answered() {
    let process = Process::started();
    let requests = (1..=1_000).map(|id| message("c1", &echo(id, "\"x\"")) + "\n");
    process.send_bytes(requests.collect::<String>());
    let lines = process.finish().lines;
    let replies = (1..=1_000).map(|id| reply(&echo_ok(id, "\"x\"")));
    assert_eq!(lines, replies.collect::<Vec<_>>());
}

#[test]
fn a_last_line_without_newline_is_answered() {
    let process = Process::started();
    process.send_bytes(message("c1", &echo(1, "\"last\"")));
    assert_eq!(process.finish().lines, [reply(&echo_ok(1, "\"last\""))]);
}

#[test]
fn a_last_line_that_is_cut_short_is_skipped() {
    let process = Process::started();
    process.send("c1", &echo(1, "1"));
    process.send_bytes(r#"{"src":"c1","dest":"n1","bo"#);
    assert_eq!(process.finish().lines, [reply(&echo_ok(1, "1"))]);
}

#[test]
fn an_open_call_fails_at_the_end_of_input_without_waiting_for_its_timeout() {
    let process = Process::started();
    process.send("c1", r#"{"type":"call","msg_id":1,"dest":"n2","timeout_ms":60000}"#);
    assert_eq!(process.next_json()["body"]["type"], "ping");
    let ended = process.finish();
    let error = r#"{"type":"error","in_reply_to":1,"code":0,"text":"no reply in time"}"#;
    assert_eq!(ended.lines, [reply(error)]);
    ended.expect_prompt();
}

#[test]
fn a_handler_that_calls_again_for_ever_does_not_hold_up_the_end() {
    let process = Process::started();
    process
        .send("c1", r#"{"type":"call","msg_id":1,"dest":"n2","timeout_ms":60000,"insist":true}"#);
    assert_eq!(process.next_json()["body"]["type"], "ping");
    let ended = process.finish();
    assert!(ended.lines.iter().all(|line| line.contains(r#""ping""#)));
    ended.expect_prompt();
}

#[test]
fn a_handler_that_answers_from_a_timer_is_given_the_time() {
    let process = Process::started();
    process.send_all(&[
        r#"{"type":"later","msg_id":1,"ms":400}"#,
        r#"{"type":"later","msg_id":2,"ms":100}"#,
    ]);
    let ended = process.finish();
    let later_ok = |id| reply(&format!(r#"{{"type":"later_ok","in_reply_to":{id}}}"#));
    assert_eq!(ended.lines, [later_ok(2), later_ok(1)]);
    ended.expect_prompt();
}

#[test]
fn a_refusal_at_the_end_does_not_cost_another_request_its_answer() {
    let process = Process::started();
    process.send_all(&[
        r#"{"type":"later","msg_id":1,"ms":1000}"#,
        r#"{"msg_id":2,"note":"a type is missing"}"#,
        r#"{"type":"unheard_of","msg_id":3}"#,
        r#"{"type":"later","msg_id":4}"#,
        r#"{"type":"fail","msg_id":5,"code":30,"text":""}"#,
    ]);
    process.expect_error(2, 12);
    process.expect_error(3, 10);
    process.expect_error(4, 12);
    process.expect_error(5, 30);
    let later_ok = reply(r#"{"type":"later_ok","in_reply_to":1}"#);
    assert_eq!(process.finish().lines, [later_ok]);
}

#[test]
fn a_request_that_is_never_answered_does_not_hold_up_the_end() {
    let process = Process::started();
    process.send("c1", r#"{"type":"nothing","msg_id":1}"#);
    let ended = process.finish();
    ended.expect_no_more_lines();
    ended.expect_prompt();
}

#[test]
fn timers_alone_do_not_hold_up_the_end() {
    let process = Process::started();
    process.send("c1", r#"{"type":"busy","ms":10}"#);
    let ended = process.finish();
    ended.expect_no_more_lines();
    ended.expect_prompt();
}

#[test]
fn a_handler_that_never_answers_and_never_rests_is_given_five_seconds() {
    let process = Process::started();
    process.send("c1", r#"{"type":"busy","msg_id":1,"ms":10}"#);
    let ended = process.finish();
    ended.expect_no_more_lines();
    let elapsed = ended.elapsed;
    assert!(elapsed > Duration::from_secs(4), "{elapsed:?}");
}
