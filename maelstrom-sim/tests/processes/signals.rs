//! Tests that SIGHUP, SIGINT (Ctrl-C), SIGQUIT and SIGTERM end a test in an orderly way, and that a
//! second signal ends it at once.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Finished, NODE, Place, alive, wait_until};

const ARGS: &str = "-w echo --node-count 2 --rate 20 --time-limit 60";
const SHORT_ARGS: &str = "-w echo --node-count 2 --rate 20 --time-limit 2";

/// A node that keeps running when its input ends.
fn stubborn(place: &Place, mark: &str) -> std::path::PathBuf {
    place.script(&format!("#!/bin/sh\n(cat; sleep {mark}) | {NODE} --max-line-bytes {mark}\n"))
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until the nodes of a test have started.
fn wait_for_ops(place: &Place) {
    let log = place.path("store/current/node-logs/n1.log");
    wait_until("the nodes start", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("initialized"))
    });
}

#[track_caller]
fn ends_in_order(signal: Signal, code: i32, mark: &str) {
    let place = Place::new();
    let run = place.start(&stubborn(&place, mark), &format!("{ARGS} --trace"));
    wait_for_ops(&place);
    std::thread::sleep(Duration::from_millis(500));
    // A stopped process does not react to SIGTERM, but SIGKILL ends it.
    for id in alive(&format!("--max-line-bytes {mark}")) {
        kill_process(Pid::from_raw(id).unwrap(), Signal::STOP).unwrap();
    }
    send(&run, signal);
    let run = Finished::of(run);
    assert_eq!(run.code(), Some(code), "{}", run.stderr());
    assert!(run.0.stdout.is_empty(), "there is no verdict");
    assert!(run.stderr().contains("the run until then is in store/echo/"));
    let stderr = run.stderr();
    let report = stderr.lines().find_map(|line| line.strip_prefix("Report: ")).unwrap();
    assert!(place.path(report).is_file(), "{stderr}");
    for file in ["history.jsonl", "messages.jsonl", "node-logs/n0.log"] {
        let text = std::fs::read_to_string(place.path("store/current").join(file)).unwrap();
        assert!(!text.is_empty(), "{file}");
    }
    for text in [format!("--max-line-bytes {mark}"), format!("sleep {mark}")] {
        wait_until("nothing is left", || alive(&text).is_empty());
    }
}

#[test]
fn ctrl_c_ends_a_test_in_order() {
    ends_in_order(Signal::INT, 130, "7000011");
}

#[test]
fn sigterm_ends_a_test_in_order() {
    ends_in_order(Signal::TERM, 143, "7000012");
}

/// Whether this process, and so each of its children, ignores SIGHUP, as under `nohup`.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1)
}

#[test]
fn a_closed_terminal_ends_a_test_in_order_except_under_nohup() {
    if ignores_hangup() {
        let place = Place::new();
        outlives_hangup(&place, place.command(NODE.as_ref(), SHORT_ARGS));
    } else {
        ends_in_order(Signal::HUP, 129, "7000014");
    }
}

/// Starts a test that ignores SIGHUP, sends it a SIGHUP, and asserts that the test ends by itself.
#[track_caller]
fn outlives_hangup(place: &Place, mut command: Command) {
    let run = command.spawn().unwrap();
    wait_for_ops(place);
    send(&run, Signal::HUP);
    let run = Finished::of(run);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
}

#[test]
fn sigquit_ends_a_test_in_order() {
    ends_in_order(Signal::QUIT, 131, "7000015");
}

#[test]
#[cfg(target_os = "linux")]
fn under_nohup_a_test_outlives_its_terminal() {
    let place = Place::new();
    let plain = place.command(NODE.as_ref(), SHORT_ARGS);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"trap "" HUP; exec "$0" "$@""#]).arg(plain.get_program());
    command.args(plain.get_args()).current_dir(&place.0);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    outlives_hangup(&place, command);
}

#[test]
fn a_second_signal_ends_it_at_once_and_kills_the_nodes_nevertheless() {
    let place = Place::new();
    // A process that left the group holds stderr open, so the orderly end takes a second.
    let node = format!("{NODE} --max-line-bytes 7000013 --fault none");
    let bin = place.script(&format!(
        "#!/usr/bin/env bash\nset -m; sleep 3 >/dev/null & set +m\n(cat; sleep 7000013) | {node}\n"
    ));
    let run = place.start(&bin, ARGS);
    wait_for_ops(&place);
    send(&run, Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    send(&run, Signal::TERM);
    let run = Finished::of(run);
    assert_eq!(run.code(), Some(143), "{}", run.stderr());
    assert!(!place.path("store/current/history.jsonl").exists());
    wait_until("nothing is left", || alive("sleep 7000013").is_empty());
}
