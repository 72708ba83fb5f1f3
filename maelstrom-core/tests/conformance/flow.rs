//! Pipes and signals: a slow reader slows the node. A closed pipe or a signal ends it quietly.

use crate::support::{INIT, INIT_OK, Process, command, echo, message, reply};

/// More than a pipe holds.
const MUCH: usize = 1 << 20;

/// A node that cannot write, because its reader stopped in the middle of a large reply.
fn blocked() -> Process {
    let mut process = Process::unread(&mut command(&[]));
    process.send("c1", INIT);
    process.send("c1", &format!(r#"{{"type":"big","msg_id":1,"bytes":{MUCH}}}"#));
    let before = reply(INIT_OK) + "\n" + &reply(r#"{"type":"big_ok","in_reply_to":1,"data":"x"#);
    let before = before.trim_end_matches('}');
    assert_eq!(process.read_bytes(before.len()), before);
    process
}

#[test]
#[cfg(target_os = "linux")]
fn a_reader_that_stops_reading_stops_the_node_and_nothing_is_lost() {
    use std::thread::sleep;
    use std::time::Duration;

    const REQUESTS: u64 = 600;
    const REPLY_BYTES: usize = 64 << 10;
    let mut process = Process::unread(&mut command(&[]));
    process.send("c1", INIT);
    assert_eq!(process.read_bytes(reply(INIT_OK).len() + 1), reply(INIT_OK) + "\n");
    let before = process.memory_peak();
    let pad = "p".repeat(1_000);
    for id in 1..=REQUESTS {
        process.send(
            "c1",
            &format!(r#"{{"type":"big","msg_id":{id},"bytes":{REPLY_BYTES},"pad":"{pad}"}}"#),
        );
    }
    sleep(Duration::from_secs(2));
    assert!(process.unwritten() > 0, "it reads on, though nobody listens");
    process.read();
    for id in 1..=REQUESTS {
        let line = process.next();
        let head = format!(r#"{{"type":"big_ok","in_reply_to":{id},"data":"xxx"#);
        assert!(line.starts_with(reply(&head).trim_end_matches('}')));
        assert!(line.len() > REPLY_BYTES);
    }
    // The node has written 38 MiB of replies.
    let grown = process.memory_peak() - before;
    assert!(grown < 16 << 20, "grew by {grown} bytes");
    process.finish().expect_no_more_lines();
}

#[test]
fn a_reply_that_was_held_up_is_whole_in_the_end() {
    let mut process = blocked();
    process.send("c1", &echo(2, "2"));
    process.read();
    let lines = process.finish().lines;
    let rest = "x".repeat(MUCH - 1) + "\"}}";
    assert!(lines[0] == rest);
    assert!(lines[1].contains(r#""in_reply_to":2"#));
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_closed_stdout_ends_the_node_quietly() {
    let mut process = Process::unread(&mut command(&[]));
    process.close_stdout();
    process.send("c1", INIT);
    let ended = process.wait();
    ended.expect_success();
    assert!(!ended.stderr.contains("rror"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
}

#[test]
fn a_stdout_that_is_closed_in_the_middle_of_a_reply_ends_the_node_quietly() {
    let mut process = blocked();
    process.close_stdout();
    let ended = process.wait();
    ended.expect_success();
    assert!(!ended.stderr.contains("rror"), "{}", ended.stderr);
}

#[test]
fn a_stdout_that_is_closed_before_the_end_of_input_ends_the_node_quietly() {
    let mut process = Process::unread(&mut command(&[]));
    process.send_bytes(message("c1", INIT));
    process.close_stdout();
    process.finish();
}

#[cfg(unix)]
mod signals {
    use super::*;

    const SIGNALS: [&str; 2] = ["TERM", "INT"];

    #[test]
    fn a_signal_ends_a_node_whose_stdin_stays_open() {
        for signal in SIGNALS {
            let process = Process::started();
            process.signal(signal);
            let ended = process.wait();
            ended.expect_prompt();
            ended.expect_no_more_lines();
        }
    }

    #[test]
    fn a_signal_ends_a_node_before_init() {
        for signal in SIGNALS {
            let process = Process::new(&[]);
            // The reply shows that the process has installed its signal handlers.
            process.send("c1", r#"{"type":7,"msg_id":1}"#);
            process.expect_error(1, 12);
            process.signal(signal);
            process.wait().expect_prompt();
        }
    }

    #[test]
    fn a_signal_ends_a_node_that_waits_for_a_timer_and_for_a_call() {
        for signal in SIGNALS {
            let process = Process::started();
            process.send("c1", r#"{"type":"later","msg_id":1,"ms":60000}"#);
            process.send("c1", r#"{"type":"call","msg_id":2,"dest":"n2","timeout_ms":60000}"#);
            assert_eq!(process.next_json()["body"]["type"], "ping");
            process.signal(signal);
            let ended = process.wait();
            ended.expect_prompt();
            ended.expect_no_more_lines();
        }
    }

    #[test]
    fn a_signal_ends_a_node_that_is_blocked_on_a_full_stdout() {
        for signal in SIGNALS {
            let process = blocked();
            process.signal(signal);
            process.wait().expect_prompt();
        }
    }

    /// A node takes much longer than that for all lines.
    #[test]
    fn a_signal_ends_a_node_whose_input_never_stops() {
        for signal in SIGNALS {
            let process = Process::started();
            process.send_bytes("x\n".repeat(16 << 20));
            process.signal(signal);
            process.wait().expect_prompt();
        }
    }

    #[test]
    fn a_signal_ends_a_node_that_answers_the_rest_after_the_end_of_input() {
        let mut process = Process::started();
        process.send("c1", r#"{"type":"busy","msg_id":1,"ms":1}"#);
        process.expect_nothing_else();
        process.close_stdin();
        process.signal("TERM");
        process.wait().expect_prompt();
    }
}
