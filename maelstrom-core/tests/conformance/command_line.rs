//! The command line and the log: stdout belongs to messages, stderr to the log.

use serde_json::Value;

use crate::support::{Ended, INIT, INIT_OK, Process, command, echo, echo_ok};

/// Sends good and bad lines to a node with these flags and this `RUST_LOG`, then ends its input.
fn talk(args: &[&str], rust_log: &str) -> Ended {
    let mut process = Process::unread(command(args).env("RUST_LOG", rust_log));
    process.read();
    process.expect(INIT, INIT_OK);
    process.send_line("not a message \u{1b}[31m \"quoted\"");
    process.send_bytes(b"\xff\n".to_vec());
    process.send("c1", r#"{"type":"unheard_of","msg_id":1}"#);
    process.expect_error(1, 10);
    process.send("n2", r#"{"type":"pong","in_reply_to":1}"#);
    process.expect(&echo(2, "2"), &echo_ok(2, "2"));
    let ended = process.finish();
    ended.expect_no_more_lines();
    ended
}

/// The log, each line of which must be a JSON object.
#[track_caller]
fn json_lines(stderr: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let lines: Vec<Value> = stderr.lines().map(parse).collect();
    assert!(lines.iter().all(Value::is_object), "{stderr}");
    lines
}

fn levels(lines: &[Value]) -> Vec<&str> {
    let levels = lines.iter().map(|line| line["level"].as_str().unwrap());
    levels.collect()
}

/// Runs a node with these flags and without input.
fn run(args: &[&str]) -> Ended {
    let mut process = Process::new(args);
    process.close_stdin();
    process.wait()
}

#[test]
fn help_and_version_are_told_on_stdout() {
    let help = run(&["--help"]);
    help.expect_success();
    let text = help.lines.join("\n");
    for word in ["Usage:", "--log-format", "--trace-requests", "--max-line-bytes", "RUST_LOG"] {
        assert!(text.contains(word), "{text}");
    }
    let version = run(&["--version"]);
    version.expect_success();
    let expected = concat!("conformance-node ", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.lines, [expected]);
    assert_eq!([help.stderr, version.stderr], ["", ""]);
}

#[test]
fn a_flag_that_makes_no_sense_is_refused_on_stderr() {
    for args in [
        &["--unheard-of"][..],
        &["--log-format", "xml"],
        &["--max-line-bytes", "-1"],
        &["--max-requests-per-second", "0"],
        &["--max-client-requests-per-second", "0.5"],
        &["--max-open-requests", "0"],
        &["--max-open-requests", "262145"],
        &["--max-pending-bytes", "-1"],
        &["argument"],
    ] {
        let ended = run(args);
        assert_eq!(ended.status.code(), Some(2), "{args:?}");
        ended.expect_no_more_lines();
        assert!(ended.stderr.contains("error:"), "{}", ended.stderr);
    }
}

#[test]
fn the_log_tells_the_skipped_and_the_refused_lines() {
    let ended = talk(&[], "info");
    for words in ["initialized", "not a message", "not UTF-8", "unheard_of"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    // The log has no colour codes: neither its own, nor those in the input.
    assert!(!ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
}

#[test]
fn the_log_in_json_is_one_object_a_line() {
    let ended = talk(&["--log-format", "json"], "trace");
    let lines = json_lines(&ended.stderr);
    let mine = lines.iter().filter(|l| l["target"].as_str().unwrap().starts_with("maelstrom_core"));
    let mine: Vec<Value> = mine.cloned().collect();
    for level in ["INFO", "WARN", "DEBUG", "TRACE"] {
        assert!(levels(&mine).contains(&level), "{}", ended.stderr);
    }
    let skipped = mine.iter().find(|l| l["line"].as_str().is_some_and(|l| l.contains("quoted")));
    assert_eq!(skipped.unwrap()["line"], "not a message \u{1b}[31m \"quoted\"");
}

#[test]
fn rust_log_chooses_the_lines_of_the_log() {
    let json = ["--log-format", "json"];
    assert_eq!(talk(&json, "off").stderr, "");
    let warnings = talk(&json, "warn").stderr;
    assert_eq!(levels(&json_lines(&warnings)), ["WARN"; 3]);
    let of_module = talk(&json, "error,maelstrom_core::raw_node=info").stderr;
    assert_eq!(levels(&json_lines(&of_module))[0], "INFO");
    let default = talk(&json, "").stderr;
    assert_eq!(levels(&json_lines(&default)), ["INFO", "WARN", "WARN", "WARN"]);
}

#[test]
fn a_rust_log_that_makes_no_sense_is_told_in_the_log_and_does_no_harm() {
    let ended = talk(&["--log-format", "json"], "maelstrom_core=loud,=,info");
    let lines = json_lines(&ended.stderr);
    assert!(levels(&lines).contains(&"INFO"));
    assert!(ended.stderr.contains("RUST_LOG"), "{}", ended.stderr);
}

#[test]
fn a_closed_stderr_does_no_harm() {
    for rust_log in ["trace", "makes=no=sense"] {
        let process = Process::without_stderr(command(&[]).env("RUST_LOG", rust_log));
        process.send_line("not a message");
        process.expect(INIT, INIT_OK);
        process.send_line("not a message");
        process.expect_nothing_else();
        process.finish().expect_no_more_lines();
    }
}
