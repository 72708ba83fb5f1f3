//! Tests nodes that print too much: the test still ends in time, and names them.

use std::process::Child;
use std::time::{Duration, Instant};

use maelstrom_core::NodeId;
use maelstrom_sim::process::{ProcessOptions, Processes};

use super::{Finished, Place};

/// Waits for the end of a test. Fails after `limit`.
#[track_caller]
fn ends_within(mut run: Child, limit: Duration) -> Finished {
    let start = Instant::now();
    while run.try_wait().unwrap().is_none() {
        if start.elapsed() > limit {
            run.kill().unwrap();
            panic!("the test does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Finished::of(run)
}

/// Two nodes. The first one sends messages to the other without end, and the other one reads
/// nothing.
const STORM: &str = r#"#!/bin/sh
read -r line
id=${line#*'"node_id":"'}; id=${id%%'"'*}
client=${line#*'"src":"'}; client=${client%%'"'*}
echo "{\"src\":\"$id\",\"dest\":\"$client\",\"body\":{\"type\":\"init_ok\",\"in_reply_to\":1}}"
sleep 1
[ "$id" = n1 ] && exec sleep 7021
text=$(printf %100000s | tr ' ' x)
exec yes "{\"src\":\"n0\",\"dest\":\"n1\",\"body\":{\"text\":\"$text\"}}"
"#;

#[test]
fn a_storm_ends_the_test_and_names_its_sender() {
    let place = Place::new();
    let args = "-w echo --node-count 2 --rate 20 --time-limit 60";
    let run = place.start(&place.script(STORM), args);
    let stderr = ends_within(run, Duration::from_secs(50)).crashed();
    assert!(
        stderr.contains("n1 does not read its input fast enough: more than 256 MiB"),
        "{stderr}"
    );
    let sent = stderr.split("n0 has sent it the most: ").nth(1).unwrap();
    let sent: u64 = sent.split(' ').next().unwrap().parse().unwrap();
    assert!((2_600..2_700).contains(&sent), "{stderr}");
}

/// Nodes that forward every message to all nodes forever, and read all their input.
const FORWARD: &str = r#"#!/usr/bin/env python3
import json, sys
def say(src, dest, body):
    print(json.dumps({"src": src, "dest": dest, "body": body}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    body = message["body"]
    if body["type"] == "init":
        own, peers = body["node_id"], [n for n in body["node_ids"] if n != body["node_id"]]
        say(own, message["src"], {"type": "init_ok", "in_reply_to": body["msg_id"]})
        continue
    if body["type"] == "echo":
        reply = {"type": "echo_ok", "in_reply_to": body["msg_id"], "echo": body["echo"]}
        say(own, message["src"], reply)
    for peer in peers:
        say(own, peer, {"type": "forward"})
"#;

#[test]
fn a_storm_that_nodes_keep_up_with_ends_in_time_and_names_the_busiest_node() {
    let place = Place::new();
    let args = "-w echo --node-count 2 --rate 3 --time-limit 1 --seed 1";
    let run = ends_within(place.start(&place.script(FORWARD), args), Duration::from_secs(40));
    let stdout = run.stdout();
    assert!(stdout.contains("A storm: ") && stdout.contains(" sent most of them, "), "{stdout}");
}

#[test]
fn the_unread_input_of_a_node_is_limited_also_while_it_is_paused() {
    let place = Place::new();
    let options = ProcessOptions {
        bin: place.script("#!/bin/sh\nexec sleep 7022\n"),
        args: Vec::new(),
        log_dir: place.path("logs"),
        log_stderr: false,
    };
    let n0: NodeId = "n0".into();
    let mut processes = Processes::start(&options, std::slice::from_ref(&n0)).unwrap();
    processes.pause(&n0).unwrap();
    let taken = (0..300).take_while(|_| processes.deliver(&n0, vec![b'x'; 1 << 20]));
    assert_eq!(taken.count(), 255, "each of them takes a little more than its bytes");
    processes.kill(&n0);
    assert!(processes.deliver(&n0, b"x".to_vec()), "a message to a dead node waits");
    assert!(processes.restart(&n0).unwrap());
    processes.kill(&n0);
    let taken = (0..300).filter(|_| processes.deliver(&n0, vec![b'x'; 1 << 20]));
    assert_eq!(taken.count(), 255);
    assert!(!processes.restart(&n0).unwrap(), "too much waits for its next life, too");
}

/// The rubbish starts late, because it keeps two processors busy. It must still be there when the
/// time is up.
#[test]
fn a_node_that_prints_rubbish_for_ever_does_not_hold_up_the_test() {
    let place = Place::new();
    let bin = place.script("#!/bin/sh\nsleep 9\nexec yes rubbish\n");
    let run = place.start(&bin, "-w echo --node-count 1 --time-limit 1");
    let stderr = ends_within(run, Duration::from_secs(20)).crashed();
    assert!(stderr.contains("n0 did not answer `init` within 10 s"), "{stderr}");
}
