//! Calls to other nodes, and timers: each ends exactly once.

use std::time::{Duration, Instant};

use crate::support::{Process, message, reply, sent};

/// `c1`'s request to call `n2`.
fn call(msg_id: u64, timeout_ms: u64) -> String {
    format!(r#"{{"type":"call","msg_id":{msg_id},"dest":"n2","timeout_ms":{timeout_ms}}}"#)
}

/// The node's reply after a successful call.
fn call_ok(msg_id: u64, value: u64) -> String {
    reply(&format!(r#"{{"type":"call_ok","in_reply_to":{msg_id},"value":{value}}}"#))
}

/// The next line must be a `ping` to `n2`. Returns its id.
#[track_caller]
fn expect_ping(process: &Process) -> u64 {
    let line = process.next_json();
    let msg_id = line["body"]["msg_id"].as_u64().unwrap();
    let ping = format!(r#"{{"type":"ping","msg_id":{msg_id}}}"#);
    assert_eq!(line.to_string().len(), sent("n2", &ping).len());
    assert_eq!((&line["src"], &line["dest"]), (&"n1".into(), &"n2".into()));
    assert_eq!(line["body"]["type"], "ping");
    msg_id
}

fn pong(in_reply_to: u64, value: u64) -> String {
    format!(r#"{{"type":"pong","msg_id":1,"in_reply_to":{in_reply_to},"value":{value}}}"#)
}

#[test]
fn each_reply_goes_to_the_call_that_it_answers() {
    let process = Process::started();
    process.send("c1", &call(1, 60_000));
    process.send("c1", &call(2, 60_000));
    let (first, second) = (expect_ping(&process), expect_ping(&process));
    assert_ne!(first, second);
    process.send("n2", &pong(second, 22));
    assert_eq!(process.next(), call_ok(2, 22));
    process.send("n2", &pong(first, 11));
    assert_eq!(process.next(), call_ok(1, 11));
    process.expect_nothing_else();
}

#[test]
fn the_other_sides_error_is_the_outcome_of_a_call() {
    let process = Process::started();
    process.send("c1", &call(1, 60_000));
    let id = expect_ping(&process);
    process
        .send("n2", &format!(r#"{{"type":"error","in_reply_to":{id},"code":14,"text":"busy"}}"#));
    assert_eq!(process.expect_error(1, 14), "busy");
    // A malformed error could mean anything, so it counts as indefinite.
    process.send("c1", &call(2, 60_000));
    let id = expect_ping(&process);
    process.send("n2", &format!(r#"{{"type":"error","in_reply_to":{id}}}"#));
    process.expect_error(2, 13);
    process.expect_nothing_else();
}

#[test]
fn a_reply_that_makes_no_sense_ends_the_call_with_an_error() {
    let process = Process::started();
    for body in [
        r#"{"type":"unheard_of","in_reply_to":ID}"#,
        r#"{"type":"pong","in_reply_to":ID}"#,
        r#"{"type":"pong","in_reply_to":ID,"value":"x"}"#,
    ] {
        process.send("c1", &call(1, 60_000));
        let id = expect_ping(&process);
        process.send("n2", &body.replace("ID", &id.to_string()));
        process.expect_error(1, 13);
    }
    process.expect_nothing_else();
}

#[test]
fn a_call_times_out_once_and_a_late_reply_is_harmless() {
    let process = Process::started();
    let begin = Instant::now();
    process.send("c1", &call(1, 200));
    let id = expect_ping(&process);
    assert_eq!(process.expect_error(1, 0), "no reply in time");
    assert!(begin.elapsed() >= Duration::from_millis(200));
    process.send("n2", &pong(id, 5));
    process.send("n2", &pong(id, 5));
    process.expect_nothing_else();
    assert_eq!(process.state()["calls_ended"], 1);
    process.finish().expect_no_more_lines();
}

#[test]
fn a_reply_that_comes_twice_counts_once() {
    let process = Process::started();
    process.send("c1", &call(1, 60_000));
    let id = expect_ping(&process);
    let line = message("n2", &pong(id, 5)) + "\n";
    process.send_bytes(line.repeat(3));
    assert_eq!(process.next(), call_ok(1, 5));
    process.expect_nothing_else();
    assert_eq!(process.state()["calls_ended"], 1);
}

#[test]
fn a_reply_from_somebody_else_than_was_asked_is_ignored() {
    let process = Process::started();
    process.send("c1", &call(1, 60_000));
    let id = expect_ping(&process);
    process.send("n3", &pong(id, 3));
    process.send("c1", &pong(id, 4));
    process.send("n3", &format!(r#"{{"type":"error","in_reply_to":{id},"code":14}}"#));
    process.expect_nothing_else();
    process.send("n2", &pong(id, 5));
    assert_eq!(process.next(), call_ok(1, 5));
    assert_eq!(process.state()["calls_ended"], 1);
}

#[test]
fn a_reply_to_nobody_is_ignored() {
    let process = Process::started();
    for id in [0, 1, 77, u64::MAX] {
        process.send("n2", &pong(id, 1));
        // The node does not even answer a reply that looks like a request.
        process.send("c1", &format!(r#"{{"type":"count","msg_id":1,"in_reply_to":{id}}}"#));
        process.send("c1", &format!(r#"{{"type":"error","in_reply_to":{id},"code":1}}"#));
    }
    process.expect_nothing_else();
    assert_eq!(process.state()["counted"], 0);
}

#[test]
fn calls_that_timed_out_leave_nothing_behind() {
    // As many calls as may be open at a time, and some more.
    const CALLS: usize = maelstrom_core::PENDING_RPCS_MAX + 500;
    const ROUND: usize = 1_000;
    let process = Process::started();
    let round = (message("c1", &call(1, 0)) + "\n").repeat(ROUND);
    for _ in 0..CALLS.div_ceil(ROUND) {
        process.send_bytes(round.as_bytes());
        let lines: Vec<String> = (0..2 * ROUND).map(|_| process.next()).collect();
        let timeouts = lines.iter().filter(|l| l.contains(r#""code":0"#)).count();
        assert_eq!(timeouts, ROUND);
    }
    let ended = process.state()["calls_ended"].as_u64().unwrap();
    assert!(usize::try_from(ended).unwrap() >= CALLS);
}

#[test]
fn more_calls_than_may_be_open_fail_at_once_and_the_others_are_kept() {
    const OPEN: usize = maelstrom_core::PENDING_RPCS_MAX;
    let process = Process::started();
    process.send_bytes((message("c1", &call(1, 60_000)) + "\n").repeat(OPEN));
    for _ in 1..OPEN {
        process.next();
    }
    let id = expect_ping(&process);
    process.send("c1", &call(2, 60_000));
    process.expect_error(2, 11);
    process.send("n2", &pong(id, 5));
    assert_eq!(process.next(), call_ok(1, 5));
    process.send("c1", &call(3, 60_000));
    expect_ping(&process);
}

#[test]
fn a_timer_fires_while_stdin_is_silent() {
    let process = Process::started();
    let begin = Instant::now();
    process.send_all(&[
        r#"{"type":"later","msg_id":1,"ms":300}"#,
        r#"{"type":"later","msg_id":2,"ms":100}"#,
        r#"{"type":"later","msg_id":3,"ms":0}"#,
    ]);
    for id in [3, 2, 1] {
        let later_ok = format!(r#"{{"type":"later_ok","in_reply_to":{id}}}"#);
        assert_eq!(process.next(), reply(&later_ok));
    }
    let elapsed = begin.elapsed();
    assert!(elapsed >= Duration::from_millis(300), "{elapsed:?}");
}

#[test]
fn timers_that_never_rest_do_not_keep_the_node_from_its_input() {
    let process = Process::started();
    process.send("c1", r#"{"type":"busy","ms":0}"#);
    for _ in 0..100 {
        process.expect_nothing_else();
    }
}
