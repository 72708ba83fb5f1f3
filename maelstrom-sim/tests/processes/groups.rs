//! Tests that a node is a process group: the program, and all processes that it starts.

use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use maelstrom_core::NodeId;
use maelstrom_sim::process::{ProcessEvent, ProcessOptions, Processes, kill_all_on_panic};

use super::{Finished, NODE, Place, alive, wait_until};

/// A wrapper that starts the node as its child. The child keeps running when its input ends. `mark`
/// makes the child's command line unique.
fn wrapper(place: &Place, mark: &str, fault: &str) -> PathBuf {
    let node = format!("{NODE} --max-line-bytes {mark} --fault {fault}");
    place.script(&format!("#!/bin/sh\n(cat; sleep {mark}) | {node} \"$@\"\n"))
}

/// The running processes with this mark.
fn marked(mark: &str) -> Vec<i32> {
    [alive(&format!("--max-line-bytes {mark}")), alive(&format!("sleep {mark}"))].concat()
}

fn processes(place: &Place, bin: &Path) -> Processes {
    let options = ProcessOptions {
        bin: bin.to_owned(),
        args: Vec::new(),
        log_dir: place.path("logs"),
        log_stderr: false,
    };
    Processes::start(&options, &["n0".into()]).unwrap()
}

/// The next line that the node prints. Waits up to 10 s.
#[track_caller]
fn next_line(processes: &Processes) -> String {
    let mut line = None;
    wait_until("a line", || {
        match processes.next_event(Duration::from_millis(10)) {
            Some(ProcessEvent::Line(_, bytes)) => line = String::from_utf8(bytes).ok(),
            Some(ProcessEvent::Closed(node)) => panic!("{node} is gone"),
            None => {}
        }
        line.is_some()
    });
    line.unwrap_or_default()
}

#[test]
fn a_wrapper_without_exec_leaves_nothing_behind() {
    let place = Place::new();
    let bin = wrapper(&place, "7000001", "none");
    let run = place.run(&bin, "-w echo --node-count 2 --rate 20 --time-limit 1");
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    wait_until("nothing is left", || marked("7000001").is_empty());
}

#[test]
fn a_failed_test_leaves_nothing_behind_either() {
    // The first node that receives an echo request exits. The other nodes and their wrappers still
    // run.
    let place = Place::new();
    let bin = place.script(&format!(
        "#!/bin/sh\nsleep 7000002 >/dev/null 2>&1 &\n{NODE} --fault exit \"$@\"\n"
    ));
    let run = place.run(&bin, "-w echo --node-count 3 --rate 20 --time-limit 9");
    assert!(run.crashed().contains("exited by itself"), "{}", run.stderr());
    wait_until("nothing is left", || marked("7000002").is_empty());
}

#[test]
fn a_node_that_exits_takes_along_the_processes_that_it_started() {
    let place = Place::new();
    let bin = place.script("#!/bin/sh\nsleep 7003 >/dev/null 2>&1 &\nexit 3\n");
    let stderr = place.run(&bin, "-w echo --node-count 1 --time-limit 9").crashed();
    assert!(stderr.contains("n0 exited by itself (exit status: 3)"), "{stderr}");
    wait_until("nothing is left", || alive("sleep 7003").is_empty());
}

#[test]
fn a_kill_and_a_pause_reach_the_node_behind_its_wrapper() {
    let place = Place::new();
    let bin = wrapper(&place, "7000004", "none");
    let args = "-w echo --node-count 1 --rate 20 --time-limit 4 --nemesis pause,kill --seed 1";
    let mut run = place.start(&bin, &format!("{args} --nemesis-interval 1"));
    let mut most = 0;
    while run.try_wait().unwrap().is_none() {
        // Only one life of the node runs at any time.
        most = most.max(alive("--max-line-bytes 7000004").len());
        // Listing processes is more expensive than the whole run.
        std::thread::sleep(Duration::from_millis(60));
    }
    let run = Finished::of(run);
    assert_eq!(most, 1, "{}", run.stderr());
    wait_until("nothing is left", || marked("7000004").is_empty());
    assert!(run.stderr().contains("nemesis: kill n0"), "{}", run.stderr());
}

#[test]
fn a_node_that_does_not_bear_a_message_before_init_gets_a_hint() {
    let place = Place::new();
    // The node replies under the name in `init`, and exits if it has none.
    let bin = place.script(
        r#"#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    body = message["body"]
    if body["type"] == "init":
        me = body["node_id"]
    reply = dict(body, type=body["type"] + "_ok", in_reply_to=body["msg_id"])
    for name in "node_id", "node_ids":
        reply.pop(name, None)
    print(json.dumps({"src": me, "dest": message["src"], "body": reply}), flush=True)
"#,
    );
    let args = "-w echo --node-count 1 --concurrency 4n --rate 50 --time-limit 20 --seed 1 \
                --nemesis kill --nemesis-interval 1";
    let stderr = place.run(&bin, args).crashed();
    assert!(stderr.contains("nemesis: kill n0") && !stderr.contains("crash n0"), "{stderr}");
    assert!(stderr.contains("n0 exited by itself (exit status: 1)"), "{stderr}");
    assert!(stderr.contains("hears waiting messages before it hears `init`"), "{stderr}");
}

#[test]
fn a_pause_stops_the_whole_group_and_a_kill_ends_a_paused_one() {
    let place = Place::new();
    let bin = place.script("#!/bin/sh\nsh -c 'while read -r line; do echo \"$line\"; done'\n");
    let mut processes = processes(&place, &bin);
    let n0: NodeId = "n0".into();
    assert!(processes.deliver(&n0, b"one\n".to_vec()));
    assert_eq!(next_line(&processes), "one");
    processes.pause(&n0).unwrap();
    processes.deliver(&n0, b"two\n".to_vec());
    let said = processes.next_event(Duration::from_millis(300));
    assert!(said.is_none(), "the child goes on: {said:?}");
    processes.resume(&n0).unwrap();
    assert_eq!(next_line(&processes), "two");
    processes.pause(&n0).unwrap();
    drop(processes);
    let own = bin.to_str().unwrap();
    wait_until("nothing is left", || alive(own).is_empty());
}

#[test]
fn lines_of_an_earlier_life_count_until_the_restart_and_no_longer() {
    let place = Place::new();
    // Job control puts the child into its own process group, so a kill does not reach it. Only the
    // first life starts such a child.
    let bin = place.script(
        "#!/usr/bin/env bash\n\
         if mkdir \"${0%/*}/first\" 2>/dev/null; then\n\
         set -m; (sleep 0.5; echo late; sleep 0.5; echo later) & set +m\n\
         fi\n\
         echo begun; cat >/dev/null\n",
    );
    let mut processes = processes(&place, &bin);
    let n0: NodeId = "n0".into();
    assert_eq!(next_line(&processes), "begun");
    processes.kill(&n0);
    assert_eq!(next_line(&processes), "late", "it was printed before the restart");
    processes.restart(&n0).unwrap();
    assert_eq!(next_line(&processes), "begun");
    std::thread::sleep(Duration::from_millis(700));
    let said = processes.next_event(Duration::from_millis(300));
    assert!(said.is_none(), "{said:?}");
}

/// Panics in a separate process without dropping the nodes, as if a panic aborted the process.
#[test]
#[ignore = "a part of the next test"]
fn panics_with_nodes() {
    let place = Place::new();
    kill_all_on_panic();
    let _leaked = ManuallyDrop::new(processes(&place, &wrapper(&place, "7000005", "none")));
    wait_until("the node starts", || marked("7000005").len() == 1);
    panic!("the checker has a bug");
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let own = std::env::current_exe().unwrap();
    let args = ["--ignored", "--exact", "groups::panics_with_nodes"];
    let output = Command::new(own).args(args).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("the checker has a bug"), "{stdout}");
    wait_until("nothing is left", || marked("7000005").is_empty());
}

#[test]
fn a_dead_node_hears_after_its_restart_all_messages_of_the_meantime_in_order() {
    let place = Place::new();
    let bin = place.script("#!/bin/sh\necho begun; exec cat\n");
    let mut processes = processes(&place, &bin);
    let n0: NodeId = "n0".into();
    assert_eq!(next_line(&processes), "begun");
    processes.kill(&n0);
    for line in ["one\n", "two\n"] {
        assert!(processes.deliver(&n0, line.into()));
    }
    assert!(processes.next_event(Duration::from_millis(100)).is_none(), "it is dead");
    processes.restart(&n0).unwrap();
    assert!(processes.deliver(&n0, b"three\n".to_vec()));
    for line in ["begun", "one", "two", "three"] {
        assert_eq!(next_line(&processes), line);
    }
}

/// The beginning of a script that answers `init` and stores its name in `$id`.
const ANSWER_INIT: &str = r#"#!/bin/sh
read -r line
id=${line#*'"node_id":"'}; id=${id%%'"'*}
client=${line#*'"src":"'}; client=${client%%'"'*}
echo "{\"src\":\"$id\",\"dest\":\"$client\",\"body\":{\"type\":\"init_ok\",\"in_reply_to\":1}}"
"#;

#[test]
fn a_wrapper_that_exits_before_its_node_fails_the_test_at_the_end() {
    let place = Place::new();
    let node = format!("{NODE} --max-line-bytes 7000006");
    let bin = place.script(&format!("#!/bin/sh\nexec 3<&0\n{node} <&3 &\nexit 0\n"));
    let stderr = place.run(&bin, "-w echo --node-count 1 --rate 20 --time-limit 1").crashed();
    assert!(stderr.contains("n0 exited by itself (exit status: 0)"), "{stderr}");
    assert!(stderr.contains("start the node with `exec`"), "{stderr}");
    wait_until("nothing is left", || alive("--max-line-bytes 7000006").is_empty());
}

#[test]
fn a_wrapper_that_exits_before_init_is_answered_fails_the_test_soon() {
    for (end, status) in [("exit 3", "exit status: 3"), ("kill -9 $$", "signal: 9 (SIGKILL)")] {
        let place = Place::new();
        let bin = place.script(&format!("#!/bin/sh\nsleep 7000007 &\necho boom >&2\n{end}\n"));
        let start = Instant::now();
        let stderr = place.run(&bin, "-w echo --node-count 1 --time-limit 1").crashed();
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        let why = format!(
            "n0 exited by itself ({status}) before it answered `init`, and a child of it still \
             holds its stdout."
        );
        assert!(stderr.contains(&why), "{stderr}");
        assert!(stderr.contains("    boom"), "{stderr}");
        wait_until("nothing is left", || marked("7000007").is_empty());
    }
}

#[test]
fn a_wrapper_whose_child_answers_init_a_moment_later_is_heard() {
    let place = Place::new();
    let node = format!("{NODE} --max-line-bytes 7000008");
    let bin = place.script(&format!("#!/bin/sh\nexec 3<&0\n(sleep 0.3; exec {node}) <&3 &\n"));
    let stderr = place.run(&bin, "-w echo --node-count 1 --rate 20 --time-limit 1").crashed();
    assert!(stderr.contains("(exit status: 0) before the end of the test"), "{stderr}");
}

#[test]
fn a_node_that_closes_its_stdout_and_exits_later_fails_the_test_at_the_end() {
    let place = Place::new();
    let bin = place.script(&format!("{ANSWER_INIT}exec >&-\nsleep 2\nexit 3\n"));
    let stderr = place.run(&bin, "-w echo --node-count 1 --rate 20 --time-limit 1").crashed();
    assert!(stderr.contains("n0 exited by itself (exit status: 3)"), "{stderr}");
    assert!(!stderr.contains("start the node with `exec`"), "{stderr}");
}

#[test]
fn a_node_that_the_nemesis_killed_has_not_exited_by_itself() {
    let place = Place::new();
    let mut processes = processes(&place, &place.script("#!/bin/sh\nexec cat\n"));
    let n0: NodeId = "n0".into();
    assert_eq!(processes.exited(), None);
    processes.kill(&n0);
    assert_eq!(processes.exited(), None);
    processes.restart(&n0).unwrap();
    assert_eq!(processes.exited(), None);
}
