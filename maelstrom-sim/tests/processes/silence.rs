//! Tests nodes that do not answer `init` or are muted, and the hint about the likely reason.

use super::Place;

/// The stderr of a test of a single node with this script.
fn failure(script: &str) -> String {
    let place = Place::new();
    let bin = place.script(&format!("#!/bin/sh\n{script}\n"));
    place.run(&bin, "-w echo --node-count 1 --time-limit 1").crashed()
}

/// Reads the rest of the input.
const REST: &str = "cat >/dev/null";

#[test]
fn the_reason_for_silence_is_told() {
    let unasked = r#"{"src":"n0","dest":"c0","body":{"type":"init_ok","in_reply_to":99}}"#;
    let cases = [
        (String::new(), "It printed nothing to stdout. Does it flush stdout"),
        ("printf 12345678".into(), "It printed 8 bytes to stdout, but no newline."),
        (
            format!("read -r line; echo '{unasked}'"),
            "Lines that it printed: 1. None of them answers",
        ),
        (r"printf '\357\273\277{'".into(), "begins with a byte order mark"),
    ];
    // Each case waits 10 s for `init`.
    let threads = cases.map(|(script, hint)| {
        let thread = std::thread::spawn(move || failure(&format!("{script}\n{REST}")));
        (thread, hint)
    });
    for (thread, hint) in threads {
        let stderr = thread.join().unwrap();
        assert!(stderr.contains("n0 did not answer `init` within 10 s"), "{stderr}");
        assert!(stderr.contains(hint), "{hint}\n{stderr}");
    }
}

/// Sends to an address that does not exist, once `init` has shown that the node itself exists.
const UNKNOWN_ADDRESS: &str = r#"read -r line; echo '{"src":"n0","dest":"n99","body":{}}'"#;

#[test]
fn the_failure_names_the_line_that_silenced_the_node() {
    let cases = [
        ("read -r line; echo 'Starting'", "(stdout is for messages only: log to stderr)"),
        (r"printf '\357\273\277{}\n'", "(it begins with a byte order mark"),
        (UNKNOWN_ADDRESS, "there is no n99 in the network"),
        ("exec >&-", "it closed its stdout"),
    ];
    let threads = cases.map(|(script, advice)| {
        let thread = std::thread::spawn(move || failure(&format!("{script}\n{REST}")));
        (thread, advice)
    });
    for (thread, advice) in threads {
        let stderr = thread.join().unwrap();
        assert!(stderr.contains("n0 is not listened to any more: "), "{stderr}");
        let mut hints = stderr.lines().filter(|line| line.starts_with("It is not listened to"));
        let hint =
            hints.next().and_then(|hint| hint.strip_prefix("It is not listened to any more: "));
        assert!(hint.is_some_and(|why| why.contains(advice)), "{stderr}");
    }
}

#[test]
fn an_interpreter_that_env_cannot_find_is_named() {
    let asks = |name: &str| format!("asks `env` for `{name}`, which is not there");
    let mut cases = vec![
        ("no-such-python", asks("no-such-python")),
        ("-S no-such-python -u", asks("no-such-python")),
        ("-S no-such-python\r", asks("no-such-python")),
        ("/no/such/python", asks("/no/such/python")),
        ("sh\r", r"ends in a carriage return, so `env` looks for `sh\r`".into()),
    ];
    if cfg!(target_os = "linux") {
        cases.push(("sh -u", asks("sh -u") + ": `env` takes all of it for one name"));
    }
    let threads = cases.into_iter().map(|(name, hint)| {
        let run = move || {
            let place = Place::new();
            let bin = place.script(&format!("#!/usr/bin/env {name}\nexit\n"));
            place.run(&bin, "-w echo --node-count 1 --time-limit 1").crashed()
        };
        (std::thread::spawn(run), hint)
    });
    for (thread, hint) in threads.collect::<Vec<_>>() {
        let stderr = thread.join().unwrap();
        assert!(stderr.contains("n0 exited by itself (exit status: 127)"), "{stderr}");
        assert!(stderr.contains(&hint), "{hint}\n{stderr}");
    }
}

#[test]
fn an_interpreter_that_env_finds_is_not_blamed() {
    let place = Place::new();
    let bin = place.script("#!/usr/bin/env sh\nexit 127\n");
    let stderr = place.run(&bin, "-w echo --node-count 1 --time-limit 1").crashed();
    assert!(stderr.contains("n0 exited by itself (exit status: 127)"), "{stderr}");
    assert!(!stderr.contains("first line"), "{stderr}");
}

#[test]
fn a_carriage_return_behind_an_option_of_the_interpreter_is_named() {
    let place = Place::new();
    let bin = place.script("#!/bin/sh -e\r\nexit\r\n");
    let stderr = place.run(&bin, "-w echo --node-count 1 --time-limit 1").crashed();
    assert!(stderr.contains("n0 exited by itself"), "{stderr}");
    assert!(stderr.contains("ends in a carriage return"), "{stderr}");
}
