//! A node reads stdin and writes stdout, whatever their types.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Seek, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// Two requests and their answers.
const INPUT: &str = concat!(
    r#"{"src":"c1","dest":"n1","body":{"type":"init","msg_id":0,"node_id":"n1","node_ids":["n1"]}}"#,
    "\n",
    r#"{"src":"c1","dest":"n1","body":{"echo":7,"type":"echo","msg_id":1}}"#,
    "\n",
);
const OUTPUT: &str = concat!(
    r#"{"src":"n1","dest":"c1","body":{"type":"init_ok","in_reply_to":0}}"#,
    "\n",
    r#"{"src":"n1","dest":"c1","body":{"type":"echo_ok","in_reply_to":1,"echo":7}}"#,
    "\n",
);

fn node(stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance-node"));
    command.stdin(stdin).stdout(stdout).stderr(Stdio::null());
    command
}

/// A file that has no name.
fn file(content: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

/// A pipe with this content, whose writing end is closed.
fn full_pipe(content: &str) -> PipeReader {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(content.as_bytes()).unwrap();
    reader
}

fn full_socket(content: &str) -> OwnedFd {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(content.as_bytes()).unwrap();
    ours.into()
}

/// The output of a node that writes to a pipe.
fn answers(stdin: impl Into<Stdio>) -> String {
    let output = node(stdin, Stdio::piped()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn requests_come_from_a_pipe_a_file_or_a_socket() {
    assert_eq!(answers(full_pipe(INPUT)), OUTPUT);
    assert_eq!(answers(file(INPUT)), OUTPUT);
    assert_eq!(answers(full_socket(INPUT)), OUTPUT);
}

#[test]
fn a_node_without_input_ends_at_once() {
    assert_eq!(answers(Stdio::null()), "");
    assert_eq!(answers(file("")), "");
    assert_eq!(answers(full_pipe("")), "");
    assert_eq!(answers(full_socket("")), "");
}

#[test]
fn answers_go_to_a_file_or_a_socket() {
    let mut written = file("");
    let status = node(full_pipe(INPUT), written.try_clone().unwrap()).status().unwrap();
    assert!(status.success());
    let mut text = String::new();
    written.rewind().unwrap();
    written.read_to_string(&mut text).unwrap();
    assert_eq!(text, OUTPUT);

    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let status = node(full_pipe(INPUT), OwnedFd::from(theirs)).status().unwrap();
    assert!(status.success());
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, OUTPUT);
}

#[test]
fn one_socket_is_both_stdin_and_stdout() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let theirs = OwnedFd::from(theirs);
    let mut child = node(theirs.try_clone().unwrap(), theirs).spawn().unwrap();
    ours.write_all(INPUT.as_bytes()).unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = vec![0; OUTPUT.len()];
    ours.read_exact(&mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), OUTPUT);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_process_that_shares_a_pipe_with_a_node_still_waits_for_it() {
    let is_non_blocking = |fd: &dyn AsRawFd| {
        const O_NONBLOCK: u32 = 0o4000;
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
        let info = info.unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        u32::from_str_radix(flags.trim(), 8).unwrap() & O_NONBLOCK != 0
    };
    let ((stdin, mut requests), (mut replies, stdout)): (
        (PipeReader, PipeWriter),
        (PipeReader, PipeWriter),
    ) = (pipe().unwrap(), pipe().unwrap());
    let ends = (stdin.try_clone().unwrap(), stdout.try_clone().unwrap());
    let mut child = node(ends.0, ends.1).spawn().unwrap();
    requests.write_all(INPUT.as_bytes()).unwrap();
    let mut text = vec![0; OUTPUT.len()];
    replies.read_exact(&mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), OUTPUT);
    // The node has opened both pipes by now.
    assert!(!is_non_blocking(&stdin) && !is_non_blocking(&stdout));
    drop(requests);
    assert!(child.wait().unwrap().success());
}
