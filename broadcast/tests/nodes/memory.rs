//! The memory of a real process with many messages for many nodes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]
#![expect(clippy::disallowed_methods, reason = "it tests a real process")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const NODES: usize = 100;
const VALUE_BYTES: usize = 4_000_000;

/// The largest size of a process so far, in bytes.
fn peak_bytes(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn a_large_value_for_99_nodes_is_in_memory_a_few_times_and_not_99_times() {
    let mut node = Command::new(env!("CARGO_BIN_EXE_broadcast"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, stdout) = (node.stdin.take().unwrap(), node.stdout.take().unwrap());
    let names: Vec<String> = (1..=NODES).map(|n| format!(r#""n{n}""#)).collect();
    let init =
        format!(r#"{{"type":"init","msg_id":1,"node_id":"n1","node_ids":[{}]}}"#, names.join(","));
    let value = "x".repeat(VALUE_BYTES);
    let broadcast = format!(r#"{{"type":"broadcast","msg_id":2,"message":"{value}"}}"#);
    for body in [init, broadcast] {
        writeln!(stdin, r#"{{"src":"c1","dest":"n1","body":{body}}}"#).unwrap();
    }
    let mut lines = BufReader::new(stdout);
    let (mut told, mut line) = (0_usize, Vec::new());
    while told < NODES.saturating_sub(1) {
        line.clear();
        assert_ne!(lines.read_until(b'\n', &mut line).unwrap(), 0, "the node has ended");
        told = told.saturating_add(usize::from(line.len() > VALUE_BYTES));
    }
    let peak = peak_bytes(node.id());
    drop(stdin);
    node.kill().unwrap();
    node.wait().unwrap();
    assert!(peak <= 50_000_000, "{peak} bytes");
}
