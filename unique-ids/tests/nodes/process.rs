//! The program itself: the clock and the randomness that only a real process has.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail")]
#![expect(clippy::disallowed_methods, reason = "it tests a real process with the real clock")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The first id of a new process.
fn first_id() -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_unique-ids"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = concat!(
        r#"{"src":"c1","dest":"n1","body":{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}}"#,
        "\n",
        r#"{"src":"c1","dest":"n1","body":{"type":"generate","msg_id":2}}"#,
    );
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let stdout = String::from_utf8(output.stdout).unwrap();
    let reply: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    reply["body"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn no_two_processes_of_a_node_have_the_same_incarnation() {
    let (first, second) = (first_id(), first_id());
    let incarnation = |id: &str| id.split('-').nth(1).unwrap().to_owned();
    assert_ne!(incarnation(&first), incarnation(&second));
}

#[test]
fn a_stamp_tells_when_its_id_was_made() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let before = now();
    let id = first_id();
    let stamp = u64::from_str_radix(id.split('-').next().unwrap(), 16).unwrap();
    assert!((before..=now()).contains(&u128::from(stamp >> 16)), "{id}");
}
