//! Starts a node as a process, talks to it and waits for it.
//!
//! No test can hang: everything that waits has a deadline, separate threads serve the pipes, and
//! dropping a process kills it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that anything may take. Only a failing test waits that long.
const DEADLINE: Duration = Duration::from_secs(30);

/// The first message to `n1`.
pub(crate) const INIT: &str =
    r#"{"type":"init","msg_id":0,"node_id":"n1","node_ids":["n1","n2","n3"]}"#;

/// The reply to [`INIT`].
pub(crate) const INIT_OK: &str = r#"{"type":"init_ok","in_reply_to":0}"#;

/// The line on which `src` sends `body` to `n1`.
pub(crate) fn message(src: &str, body: &str) -> String {
    format!(r#"{{"src":"{src}","dest":"n1","body":{body}}}"#)
}

/// The line on which `n1` sends `body` to `dest`.
pub(crate) fn sent(dest: &str, body: &str) -> String {
    format!(r#"{{"src":"n1","dest":"{dest}","body":{body}}}"#)
}

/// The line on which `n1` answers `c1`'s request with `body`.
pub(crate) fn reply(body: &str) -> String {
    sent("c1", body)
}

/// The request to return `value`.
pub(crate) fn echo(msg_id: u64, value: &str) -> String {
    format!(r#"{{"type":"echo","msg_id":{msg_id},"echo":{value}}}"#)
}

/// The reply to [`echo`].
pub(crate) fn echo_ok(msg_id: u64, value: &str) -> String {
    format!(r#"{{"type":"echo_ok","in_reply_to":{msg_id},"echo":{value}}}"#)
}

/// The program that all tests run, not started yet.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance-node"));
    command.args(args).env_remove("RUST_LOG");
    command
}

/// A running node. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    stdin: Option<Sender<Vec<u8>>>,
    /// Number of writes that are not in the pipe yet.
    unwritten: Arc<AtomicUsize>,
    /// The pipe, until a thread reads it.
    stdout: Option<ChildStdout>,
    lines: Option<Receiver<String>>,
    stderr: Receiver<String>,
}

/// The remains of a node that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The lines that the test had not read.
    pub(crate) lines: Vec<String>,
    pub(crate) stderr: String,
    /// The time that the process took to end.
    pub(crate) elapsed: Duration,
}

impl Process {
    /// A node that waits for `init`.
    pub(crate) fn new(args: &[&str]) -> Self {
        let mut process = Self::unread(&mut command(args));
        process.read();
        process
    }

    /// The node `n1` of three, after `init`.
    pub(crate) fn started() -> Self {
        Self::started_with(&[])
    }

    /// The same with these flags.
    pub(crate) fn started_with(args: &[&str]) -> Self {
        let process = Self::new(args);
        process.send("c1", INIT);
        assert_eq!(process.next(), reply(INIT_OK));
        process
    }

    /// A node whose output stays unread until [`read`](Self::read) or
    /// [`read_bytes`](Self::read_bytes).
    pub(crate) fn unread(command: &mut Command) -> Self {
        let mut process = Self::unheard(command);
        process.read_log();
        process
    }

    /// A node that waits for `init`, and whose log goes to a closed pipe.
    pub(crate) fn without_stderr(command: &mut Command) -> Self {
        let mut process = Self::unheard(command);
        drop(process.child.stderr.take());
        let (to_stderr, stderr) = channel();
        to_stderr.send(String::new()).unwrap();
        process.stderr = stderr;
        process.read();
        process
    }

    /// A node that waits for `init`, and whose log stays unread until
    /// [`read_log`](Self::read_log).
    pub(crate) fn with_unread_log(command: &mut Command) -> Self {
        let mut process = Self::unheard(command);
        process.read();
        process
    }

    /// Starts a thread that reads the log until it ends.
    pub(crate) fn read_log(&mut self) {
        let mut log = self.child.stderr.take().unwrap();
        let (to_stderr, stderr) = channel();
        self.stderr = stderr;
        spawn(move || {
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes).unwrap();
            to_stderr.send(String::from_utf8(bytes).unwrap()).ok();
        });
    }

    /// A node whose output and log stay unread.
    fn unheard(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (to_stdin, writes) = channel::<Vec<u8>>();
        let unwritten = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&unwritten);
        spawn(move || {
            // The write fails if the node has ended. The tests check for that themselves.
            while let Ok(bytes) = writes.recv()
                && stdin.write_all(&bytes).is_ok()
            {
                count.fetch_sub(1, Ordering::SeqCst);
            }
        });
        Self {
            stdout: child.stdout.take(),
            stdin: Some(to_stdin),
            lines: None,
            child,
            unwritten,
            stderr: channel().1,
        }
    }

    /// Starts a thread that reads the output until it ends.
    pub(crate) fn read(&mut self) {
        let stdout = self.stdout.take().unwrap();
        let (to_lines, lines) = channel();
        self.lines = Some(lines);
        spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if to_lines.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
    }

    /// Reads `count` bytes of the output, and then stops reading.
    pub(crate) fn read_bytes(&mut self, count: usize) -> String {
        let mut stdout = self.stdout.take().unwrap();
        let (to_bytes, bytes) = channel();
        spawn(move || {
            let mut bytes = vec![0; count];
            let result = stdout.read_exact(&mut bytes);
            to_bytes.send((result, bytes, stdout)).ok();
        });
        let (result, bytes, stdout) = bytes.recv_timeout(DEADLINE).expect("no output in time");
        result.expect("the output ended");
        self.stdout = Some(stdout);
        String::from_utf8(bytes).unwrap()
    }

    /// Closes the pipe that the node writes to.
    pub(crate) fn close_stdout(&mut self) {
        drop(self.stdout.take().expect("nobody reads"));
    }

    /// Sends a message from `src` to `n1`.
    pub(crate) fn send(&self, src: &str, body: &str) {
        self.send_line(&message(src, body));
    }

    /// Sends `c1`'s requests in one write.
    pub(crate) fn send_all(&self, bodies: &[&str]) {
        let lines = bodies.iter().map(|body| message("c1", body) + "\n");
        self.send_bytes(lines.collect::<String>());
    }

    /// Sends a line. This adds the newline.
    pub(crate) fn send_line(&self, line: &str) {
        self.send_bytes(format!("{line}\n"));
    }

    /// Sends bytes as they are, in one write if the pipe has room for them.
    pub(crate) fn send_bytes(&self, bytes: impl Into<Vec<u8>>) {
        self.unwritten.fetch_add(1, Ordering::SeqCst);
        let stdin = self.stdin.as_ref().expect("stdin is closed already");
        stdin.send(bytes.into()).ok();
    }

    /// Number of writes that are not in the pipe yet.
    pub(crate) fn unwritten(&self) -> usize {
        self.unwritten.load(Ordering::SeqCst)
    }

    /// The next line of output.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        let lines = self.lines.as_ref().expect("nobody reads");
        lines.recv_timeout(DEADLINE).expect("no line in time")
    }

    /// The next line of output, as JSON.
    #[track_caller]
    pub(crate) fn next_json(&self) -> Value {
        serde_json::from_str(&self.next()).unwrap()
    }

    /// Sends `c1`'s request, and returns the next line of output.
    #[track_caller]
    pub(crate) fn ask(&self, body: &str) -> String {
        self.send("c1", body);
        self.next()
    }

    /// Sends `c1`'s request. The next line must be this reply.
    #[track_caller]
    pub(crate) fn expect(&self, request: &str, answer: &str) {
        assert_eq!(self.ask(request), reply(answer));
    }

    /// The next line must be an error with this code for `c1`'s request. Returns its text.
    #[track_caller]
    pub(crate) fn expect_error(&self, in_reply_to: u64, code: u64) -> String {
        let line = self.next_json();
        assert_eq!(line["dest"], "c1", "{line}");
        assert_eq!(line["body"]["type"], "error", "{line}");
        assert_eq!(line["body"]["in_reply_to"], in_reply_to, "{line}");
        assert_eq!(line["body"]["code"], code, "{line}");
        line["body"]["text"].as_str().unwrap().to_owned()
    }

    /// Sends an echo, whose reply must come next: the node is alive, and no other line precedes the
    /// reply.
    #[track_caller]
    pub(crate) fn expect_nothing_else(&self) {
        let id = 9_007_199_254_740_993;
        self.expect(&echo(id, "\"alive\""), &echo_ok(id, "\"alive\""));
    }

    /// The state of the node: the reply of the test node to `read`.
    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        let line = self.ask(r#"{"type":"read","msg_id":999}"#);
        let mut line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["body"]["type"], "read_ok", "{line}");
        line["body"].take()
    }

    /// Closes the input, once all writes are in the pipe.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Closes the input, and waits for the process to end successfully.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Ended {
        self.close_stdin();
        let ended = self.wait();
        ended.expect_success();
        ended
    }

    /// Waits for the process to end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let begin = Instant::now();
        let stderr = self.stderr.recv_timeout(DEADLINE);
        let stderr = stderr.expect("the process did not end in time");
        // The last pipe of the process is closed, so the process ends very soon.
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < DEADLINE, "the process did not end");
            sleep(Duration::from_millis(1));
        };
        let elapsed = begin.elapsed();
        let mut lines = Vec::new();
        if let Some(rest) = &self.lines {
            let end = loop {
                match rest.recv_timeout(DEADLINE) {
                    Ok(line) => lines.push(line),
                    Err(end) => break end,
                }
            };
            assert_eq!(end, RecvTimeoutError::Disconnected);
        }
        Ended { status, lines, stderr, elapsed }
    }

    /// Waits for the process to end successfully, and reads nothing of its log before.
    #[track_caller]
    pub(crate) fn expect_exit_without_reading_the_log(&mut self) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < DEADLINE, "the process did not end");
            sleep(Duration::from_millis(1));
        };
        assert!(status.success(), "{status}");
    }

    /// Sends a signal: `TERM`, `INT`.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }

    /// The most memory in bytes that the process has ever held.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory_peak(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        // Not every kernel reports the peak.
        let text = field("VmHWM:").or_else(|| field("VmRSS:")).unwrap();
        let kib: u64 = text.trim().trim_end_matches(" kB").parse().unwrap();
        kib << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // This fails if the process has ended already, which is fine.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Ended {
    /// The process must have ended by itself, with exit code 0, and without a panic.
    #[track_caller]
    pub(crate) fn expect_success(&self) {
        assert_eq!(self.status.code(), Some(0), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }

    /// The process must have ended successfully, and before any timeout that it could have waited
    /// for.
    #[track_caller]
    pub(crate) fn expect_prompt(&self) {
        self.expect_success();
        let elapsed = self.elapsed;
        assert!(elapsed < Duration::from_secs(4), "{elapsed:?}");
    }

    /// The test must have read all lines.
    #[track_caller]
    pub(crate) fn expect_no_more_lines(&self) {
        assert_eq!(self.lines, [""; 0]);
    }
}
