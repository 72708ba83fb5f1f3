//! The program's flags, and its output on stderr.
#![expect(clippy::disallowed_methods, reason = "it tests processes")]

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

/// Runs the program on these lines. Returns whether it succeeded, and its stderr.
fn run(args: &[&str], lines: &[serde_json::Value]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_g-counter"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in lines {
        writeln!(stdin, "{line}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn limits_that_no_message_fits_into_are_refused_at_the_start() {
    for (args, why) in [
        (&["--max-line-bytes", "512"][..], "--max-line-bytes: nodes that gossip need at least"),
        (&["--gossip-batch-bytes", "8388608"], "--gossip-batch-bytes: with lines of up to"),
    ] {
        let (is_good, stderr) = run(args, &[]);
        assert!(!is_good && stderr.contains(why), "{args:?}: {stderr}");
    }
    for args in [&["--max-line-bytes", "65536"][..], &["--gossip-batch-bytes", "4194304"]] {
        let (is_good, stderr) = run(args, &[]);
        assert!(is_good, "{args:?}: {stderr}");
    }
}

#[test]
fn a_peer_with_another_limit_is_warned_of_once() {
    let names = ["n1", "n2", "n3"];
    let init = json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": names});
    let mut lines = vec![json!({"src": "c1", "dest": "n1", "body": init})];
    for (sent, src, limit) in
        [(1, "n2", Some(65536)), (2, "n2", Some(65536)), (3, "n3", None), (4, "n2", Some(65536))]
    {
        let mut body = json!({"type": "gossip", "life": 5, "sent": sent, "have": [], "view": 1});
        if let Some(limit) = limit {
            body["line"] = limit.into();
        }
        lines.push(json!({"src": src, "dest": "n1", "body": body}));
    }
    let (is_good, stderr) = run(&[], &lines);
    assert!(is_good, "{stderr}");
    let warnings: Vec<_> =
        stderr.lines().filter(|line| line.contains("of another length")).collect();
    assert_eq!(warnings.len(), 1, "{stderr}");
    for words in ["peer=n2", "theirs=65536", "ours=16777216", "--max-line-bytes"] {
        assert!(warnings[0].contains(words), "{words}: {stderr}");
    }
}
