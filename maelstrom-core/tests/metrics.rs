//! Scrapes a node process over HTTP, and compares its counters with the messages that it was sent.

#![expect(clippy::disallowed_methods, reason = "it starts processes and talks to them")]
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![expect(clippy::indexing_slicing, reason = "a field that is missing is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Kept open, so that the node can log.
    _stderr: BufReader<ChildStderr>,
    addr: String,
}

impl Process {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_conformance-node"))
            .args(["--metrics", "0", "--log-format", "json"])
            .env("RUST_LOG", "info")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let addr = line["addr"].as_str().unwrap().to_owned();
        Self { child, stdin, stdout, _stderr: stderr, addr }
    }

    /// Sends a request, and waits for the reply. Returns the bytes of both lines.
    fn ask(&mut self, body: &str) -> (usize, usize) {
        let line = format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#);
        writeln!(self.stdin, "{line}").unwrap();
        let mut reply = String::new();
        self.stdout.read_line(&mut reply).unwrap();
        (line.len(), reply.trim_end().len())
    }

    fn get(&self, path: &str) -> String {
        let mut client = TcpStream::connect(&self.addr).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr).unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        reply
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_scrape_of_a_process_counts_what_it_was_sent() {
    let mut node = Process::start();
    let health = node.get("/health");
    assert!(health.starts_with("HTTP/1.1 503 ") && health.contains("\"live\":true"), "{health}");
    node.ask(r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}"#);
    let (mut sent, mut received) = (0, 0);
    for id in 2..102 {
        let (request, reply) = node.ask(&format!(r#"{{"type":"echo","msg_id":{id},"echo":{id}}}"#));
        (received, sent) = (received + request, sent + reply);
    }
    node.ask(r#"{"type":"fail","msg_id":200,"code":20,"text":"no such key"}"#);
    node.ask(r#"{"type":"made-up","msg_id":201}"#);
    let metrics = node.get("/metrics");
    for line in [
        r#"maelstrom_messages_total{direction="received",type="echo"} 100"#,
        r#"maelstrom_messages_total{direction="sent",type="echo_ok"} 100"#,
        &format!(r#"maelstrom_message_bytes_total{{direction="received",type="echo"}} {received}"#),
        &format!(r#"maelstrom_message_bytes_total{{direction="sent",type="echo_ok"}} {sent}"#),
        r#"maelstrom_messages_total{direction="received",type="other"} 1"#,
        r#"maelstrom_requests_total{type="echo",outcome="ok"} 100"#,
        r#"maelstrom_requests_total{type="fail",outcome="error"} 1"#,
        r#"maelstrom_errors_total{code="key-does-not-exist"} 1"#,
        r#"maelstrom_errors_total{code="not-supported"} 1"#,
        r#"maelstrom_request_duration_seconds_count{type="echo"} 100"#,
        "maelstrom_requests_open 0",
        "maelstrom_ready 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("made-up"), "{metrics}");
    let health = node.get("/health");
    assert!(health.starts_with("HTTP/1.1 200 ") && health.contains("\"ready\":true"), "{health}");
}
