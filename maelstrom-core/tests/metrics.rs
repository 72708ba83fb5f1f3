//! Scrapes a node process over HTTP, and compares its numbers with the messages that it was
//! sent, with its disk, and with its log.

#![expect(clippy::disallowed_methods, reason = "it starts processes and talks to them")]
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![expect(clippy::indexing_slicing, reason = "a field that is missing is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, path::Path};

struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    addr: String,
}

impl Process {
    fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_conformance-node"))
            .args(["--metrics", "0", "--log-format", "json"])
            .args(flags)
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
        Self { child, stdin, stdout, stderr, addr }
    }

    /// Sends a request, and waits for the reply. Returns the bytes of its line, and the
    /// line of the reply.
    fn ask(&mut self, body: &str) -> (usize, String) {
        let line = format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#);
        writeln!(self.stdin, "{line}").unwrap();
        let mut reply = String::new();
        self.stdout.read_line(&mut reply).unwrap();
        (line.len(), reply.trim_end().to_owned())
    }

    /// Makes the node persist a record. Returns the number of records that it knows of.
    fn keep(&mut self, bytes: usize) -> u64 {
        let (_, reply) = self.ask(&format!(r#"{{"type":"keep","msg_id":9,"bytes":{bytes}}}"#));
        let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
        reply["body"]["kept"].as_u64().unwrap()
    }

    fn get(&self, path: &str) -> String {
        let mut client = TcpStream::connect(&self.addr).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr).unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        reply
    }
}

const INIT: &str = r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}"#;

/// The number in the line of a scrape that begins with this name and these labels.
#[track_caller]
fn number(metrics: &str, name: &str) -> f64 {
    let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(of).ok_or_else(|| format!("no {name} in\n{metrics}")).unwrap()
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_scrape_of_a_process_counts_the_messages_to_it() {
    let mut node = Process::start(&[]);
    let health = node.get("/health");
    assert!(health.starts_with("HTTP/1.1 503 ") && health.contains("\"live\":true"), "{health}");
    node.ask(INIT);
    let (mut sent, mut received) = (0, 0);
    for id in 2..102 {
        let (request, reply) = node.ask(&format!(r#"{{"type":"echo","msg_id":{id},"echo":{id}}}"#));
        (received, sent) = (received + request, sent + reply.len());
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

/// The length of the node's journal.
fn file_bytes(dir: &Path) -> f64 {
    maelstrom_core::metrics::float(fs::metadata(dir.join("n1/records.redb")).unwrap().len())
}

#[test]
fn a_scrape_of_a_process_tells_its_work_on_its_disk() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", dir.path().to_str().unwrap()];
    let mut node = Process::start(&flags);
    node.ask(INIT);
    assert_eq!([node.keep(100), node.keep(200), node.keep(300)], [1, 2, 3]);
    let metrics = node.get("/metrics");
    for (name, value) in [
        ("maelstrom_records_total", 3.0),
        ("maelstrom_record_bytes_total", 600.0),
        ("maelstrom_recovered_records", 0.0),
        // Each record had its own sync, since its reply came before the next request.
        ("maelstrom_sync_duration_seconds_count", 3.0),
        ("maelstrom_sync_records_count", 3.0),
        ("maelstrom_sync_records_sum", 3.0),
        (r#"maelstrom_snapshots_total{outcome="taken"}"#, 0.0),
        (r#"maelstrom_snapshots_total{outcome="given_up"}"#, 0.0),
        ("maelstrom_disk_bytes", file_bytes(dir.path())),
    ] {
        assert_eq!(number(&metrics, name), value, "{name}");
    }
    assert!(number(&metrics, "maelstrom_sync_duration_seconds_sum") > 0.0, "{metrics}");
    // Records beyond 1 MiB are worth a snapshot.
    node.keep(600_000);
    node.keep(600_000);
    let until = Instant::now() + Duration::from_secs(30);
    let taken = r#"maelstrom_snapshots_total{outcome="taken"}"#;
    while number(&node.get("/metrics"), taken) < 1.0 {
        assert!(Instant::now() < until, "{}", node.get("/metrics"));
    }
    assert_eq!(node.keep(2), 6);
    let metrics = node.get("/metrics");
    assert_eq!(number(&metrics, taken), 1.0);
    assert_eq!(number(&metrics, "maelstrom_records_total"), 6.0);
    assert_eq!(number(&metrics, "maelstrom_disk_bytes"), file_bytes(dir.path()));
    // The next process recovers the snapshot and one record.
    drop(node);
    let mut node = Process::start(&flags);
    node.ask(INIT);
    assert_eq!(number(&node.get("/metrics"), "maelstrom_recovered_records"), 2.0);
    assert_eq!(node.keep(2), 7);
}

#[test]
fn a_scrape_tells_how_many_log_lines_were_lost() {
    const LINES: u64 = 50_000;
    let mut node = Process::start(&[]);
    node.ask(INIT);
    assert_eq!(number(&node.get("/metrics"), "maelstrom_log_lines_lost_total"), 0.0);
    node.ask(&format!(r#"{{"type":"log","msg_id":2,"lines":{LINES}}}"#));
    let lost = number(&node.get("/metrics"), "maelstrom_log_lines_lost_total");
    assert_eq!(number(&node.get("/metrics"), "maelstrom_log_lines_lost_total"), lost);
    // Now the test reads the log, which reports the same number.
    let mut written = 0;
    let reported = loop {
        let mut line = String::new();
        node.stderr.read_line(&mut line).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        match line["lost"].as_u64() {
            Some(lost) => break lost,
            None => written += u64::from(line["message"] == "a line"),
        }
    };
    assert_eq!((lost, written), (maelstrom_core::metrics::float(reported), LINES - reported));
}
