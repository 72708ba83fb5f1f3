//! The log of a node: it never stops the node, it has the last lines, and one request can be
//! followed in it.

use serde_json::Value;

use crate::support::{Ended, INIT, INIT_OK, Process, command, echo, echo_ok, reply};

/// Enough lines for the pipe and the queue, several times over.
const LINES: u64 = 50_000;

#[track_caller]
fn json_lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The number of lines that the log says were lost.
fn lost(log: &[Value]) -> u64 {
    log.iter().filter_map(|line| line["lost"].as_u64()).sum()
}

#[test]
fn a_log_that_no_process_reads_does_not_stop_the_node_and_its_loss_is_reported() {
    let mut command = command(&["--log-format", "json"]);
    let mut process = Process::with_unread_log(command.env("RUST_LOG", "info"));
    process.expect(INIT, INIT_OK);
    process.expect(
        &format!(r#"{{"type":"log","msg_id":1,"lines":{LINES}}}"#),
        r#"{"type":"log_ok","in_reply_to":1}"#,
    );
    process.expect(&echo(2, "2"), &echo_ok(2, "2"));
    process.read_log();
    let log = json_lines(&process.finish().stderr);
    let lines = log.iter().filter(|line| line["message"] == "a line").count() as u64;
    assert!(lines > 1_000 && lost(&log) > 0, "{lines}, {}", lost(&log));
    assert_eq!(lines + lost(&log), LINES);
    // The lines before the loss have no gap.
    let first_lost = log.iter().position(|line| line["lost"].is_u64()).unwrap();
    let before = log[..first_lost].iter().filter_map(|line| line["line"].as_u64());
    assert!(before.eq(0..lines), "{lines}");
}

#[test]
fn a_node_that_traces_everything_answers_although_no_process_reads_its_log() {
    let mut process = Process::with_unread_log(command(&[]).env("RUST_LOG", "trace"));
    process.expect(INIT, INIT_OK);
    for id in 1..=8_000 {
        process.send("c1", &echo(id, "1"));
    }
    for id in 1..=8_000 {
        assert_eq!(process.next(), reply(&echo_ok(id, "1")));
    }
    process.read_log();
    let log = process.finish().stderr;
    assert!(log.contains("log lines were lost"), "{}", log.len());
}

#[test]
fn a_node_whose_log_no_process_reads_ends_soon() {
    let mut process = Process::with_unread_log(command(&[]).env("RUST_LOG", "trace"));
    process.expect(INIT, INIT_OK);
    process.expect(
        &format!(r#"{{"type":"log","msg_id":1,"lines":{LINES}}}"#),
        r#"{"type":"log_ok","in_reply_to":1}"#,
    );
    process.close_stdin();
    process.expect_exit_without_reading_the_log();
}

#[test]
fn the_last_line_before_a_panic_and_its_message_are_in_the_log() {
    // A backtrace takes time, in which the lines before it leave.
    let mut process = Process::unread(command(&[]).env("RUST_BACKTRACE", "0"));
    process.read();
    process.expect(INIT, INIT_OK);
    process.send("c1", r#"{"type":"panic","msg_id":1}"#);
    let Ended { status, stderr, .. } = process.wait();
    assert!(!status.success());
    assert!(stderr.matches("a line").count() == 4_000 && !stderr.contains("lost"), "{stderr}");
    let last = stderr.find("the last line").expect(&stderr);
    let panic = stderr.find("thread 'main' panicked at ").expect(&stderr);
    assert!(last < panic && stderr.contains("as asked"), "{stderr}");
}

/// The log of a node with these flags and this `RUST_LOG` that got several requests.
fn log_of_requests(args: &[&str], rust_log: &str) -> Vec<Value> {
    let args = [&["--log-format", "json"], args].concat();
    let mut process = Process::unread(command(&args).env("RUST_LOG", rust_log));
    process.read();
    process.expect(INIT, INIT_OK);
    process.expect(&echo(1, "1"), &echo_ok(1, "1"));
    process
        .expect(r#"{"type":"later","msg_id":2,"ms":1}"#, r#"{"type":"later_ok","in_reply_to":2}"#);
    process.expect(r#"{"type":"task","msg_id":3}"#, r#"{"type":"task_ok","in_reply_to":3}"#);
    process
        .expect(r#"{"type":"log","msg_id":4,"lines":1}"#, r#"{"type":"log_ok","in_reply_to":4}"#);
    process.send("c1", r#"{"type":"unheard_of","msg_id":5}"#);
    process.expect_error(5, 10);
    process.send("n2", r#"{"type":"count"}"#);
    json_lines(&process.finish().stderr)
}

/// The messages of the events that name the request.
fn events_of<'a>(log: &'a [Value], id: &str) -> Vec<&'a str> {
    let names = |line: &&Value| {
        let spans = line["spans"].as_array();
        spans.is_some_and(|spans| spans.len() == 1 && spans[0]["request"] == id)
    };
    log.iter().filter(names).map(|line| line["message"].as_str().unwrap()).collect()
}

#[test]
fn every_event_of_a_request_names_it_even_if_the_answer_comes_later() {
    let log = log_of_requests(&["--trace-requests"], "");
    for (id, events) in [
        (1, &["received", "answered"][..]),
        (2, &["received", "answered"]),
        (3, &["received", "a step", "a step", "answered"]),
        (4, &["received", "a line", "answered"]),
        (5, &["received", "refused", "answered"]),
    ] {
        assert_eq!(events_of(&log, &format!("n1/c1/{id}")), events, "{log:#?}");
    }
    assert!(log.iter().all(|line| !line.to_string().contains("n1/n2/")), "{log:#?}");
    let by_level = log_of_requests(&[], "info,maelstrom_core::request=debug");
    assert_eq!(events_of(&by_level, "n1/c1/1"), ["received", "answered"]);
}

#[test]
fn by_default_the_log_has_no_ids() {
    let log = log_of_requests(&[], "");
    assert!(log.iter().all(|line| line["spans"].is_null()), "{log:#?}");
}
