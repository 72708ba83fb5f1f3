//! The program with `--data-dir`: it goes on with what is there, or says why it does not.
#![allow(clippy::unwrap_used, reason = "tests may fail")]
#![expect(clippy::disallowed_methods, reason = "processes and disks are what this is about")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The whole life of a lone node that is sent one message.
fn send_one(dir: &Path, partitions: &str) -> Output {
    let mut node = Command::new(env!("CARGO_BIN_EXE_kafka-log"));
    node.arg("--data-dir").arg(dir).args(["--partitions", partitions]);
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut node = node.spawn().unwrap();
    let bodies = [
        r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}"#,
        r#"{"type":"send","msg_id":2,"key":"k","msg":"m"}"#,
    ];
    let lines = bodies.map(|body| format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#) + "\n");
    // In one piece: the program may end before it has read it.
    node.stdin.take().unwrap().write_all(lines.concat().as_bytes()).unwrap();
    node.wait_with_output().unwrap()
}

#[test]
fn another_number_of_partitions_is_refused_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    for offset in 0..2 {
        let output = send_one(dir.path(), "4");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains(&format!(r#""offset":{offset}"#)),
            "{text}"
        );
        let output = send_one(dir.path(), "8");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{text}");
        for part in ["records.redb: ", "--partitions 4 ", "--partitions 8 ", "an empty folder"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
