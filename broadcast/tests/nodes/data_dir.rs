//! The program with `--data-dir`: acknowledged values survive any end of the process.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail")]
#![allow(clippy::arithmetic_side_effects, reason = "tests may fail")]
#![expect(clippy::disallowed_methods, reason = "it tests processes and disks")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use maelstrom_sim::Test;
use maelstrom_sim::checker::Verdict;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::Options;
use maelstrom_sim::process::ProcessOptions;
use maelstrom_sim::report::Progress;
use maelstrom_sim::run::run;
use maelstrom_sim::workload;
use serde_json::{Value, json};

const NODE: &str = env!("CARGO_BIN_EXE_broadcast");

/// A process of a lone node.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Runs a command line of the shell, in which `$0` is the program and `$1` the folder.
    fn with_shell(line: &str, dir: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", line, NODE]).arg(dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    fn start(dir: &Path) -> Self {
        Self::with_shell(r#"exec "$0" --data-dir "$1""#, dir)
    }

    /// The reply to a request, unless the process has ended.
    fn ask(&mut self, body: &Value) -> Option<Value> {
        let line = json!({ "src": "c1", "dest": "n1", "body": body });
        writeln!(self.stdin, "{line}").ok()?;
        let mut reply = String::new();
        self.stdout.read_line(&mut reply).unwrap();
        Some(serde_json::from_str::<Value>(&reply).ok()?["body"].clone())
    }

    fn init(&mut self) -> Option<Value> {
        self.ask(&json!({ "type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"] }))
    }

    /// True if the node acknowledges the value.
    fn add(&mut self, value: impl Into<Value>) -> bool {
        let value: Value = value.into();
        let reply = self.ask(&json!({ "type": "broadcast", "msg_id": 2, "message": value }));
        reply.is_some_and(|reply| reply["type"] == "broadcast_ok")
    }

    fn values(&mut self) -> Vec<Value> {
        let reply = self.ask(&json!({ "type": "read", "msg_id": 3 })).unwrap();
        reply["messages"].as_array().unwrap().clone()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The error text of a process that has ended by itself.
    fn complaint(mut self) -> String {
        drop(self.stdin);
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(!self.child.wait().unwrap().success(), "{text}");
        text
    }
}

#[test]
fn acknowledged_values_are_there_after_a_kill_and_after_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Process::start(dir.path());
    node.init().unwrap();
    assert!((0..20).all(|value| node.add(value)));
    node.kill();
    let mut node = Process::start(dir.path());
    node.init().unwrap();
    assert_eq!(node.values(), Vec::from_iter(0..20));
    assert!(node.add(20));
    drop(node.stdin);
    assert!(node.child.wait().unwrap().success());
    let mut node = Process::start(dir.path());
    node.init().unwrap();
    assert_eq!(node.values(), Vec::from_iter(0..=20));
    node.kill();
}

#[test]
fn a_second_process_is_refused_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Process::start(dir.path());
    first.init().unwrap();
    let mut second = Process::start(dir.path());
    assert_eq!(second.init(), None);
    let complaint = second.complaint();
    assert!(complaint.contains("records.redb: in use by another process"), "{complaint}");
    assert!(first.add(1));
    assert_eq!(first.values(), [1]);
    first.kill();
}

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("n1/records.redb");
    std::fs::create_dir(dir.path().join("n1")).unwrap();
    std::fs::write(&file, "no records").unwrap();
    let mut node = Process::start(dir.path());
    assert_eq!(node.init(), None);
    let complaint = node.complaint();
    assert!(complaint.contains("records.redb: damaged: "), "{complaint}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "no records");
}

/// A file that may not grow is like a full disk.
#[test]
fn a_full_disk_ends_the_node_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let line = r#"trap '' XFSZ; ulimit -f 8192; exec "$0" --data-dir "$1""#;
    let mut node = Process::with_shell(line, dir.path());
    node.init().unwrap();
    let long = |number: u32| format!("{number:030000}");
    let acknowledged = (0..1_000).take_while(|number| node.add(long(*number))).count();
    assert!((1..1_000).contains(&acknowledged), "{acknowledged}");
    let complaint = node.complaint();
    assert!(complaint.contains("records.redb: File too large"), "{complaint}");
    let mut node = Process::start(dir.path());
    node.init().unwrap();
    let values = node.values();
    // The value without an acknowledgement may be there, too.
    assert!((0_u32..).map(long).zip(values.iter()).all(|(sent, kept)| *kept == sent));
    assert!((acknowledged..=acknowledged + 1).contains(&values.len()));
    node.kill();
}

/// A test of a lone node that is killed about twice a second.
fn kills(args: &[&str]) -> (Verdict, Value) {
    let logs = tempfile::tempdir().unwrap();
    let mut options = Options::default().with_node_count(1);
    options.nemesis.insert(Fault::Crash);
    options.nemesis_interval = Duration::from_millis(500);
    options.time_limit = Duration::from_secs(4);
    options.rate = 100.0;
    let process = ProcessOptions {
        bin: NODE.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        log_dir: logs.path().to_owned(),
        log_stderr: false,
    };
    let (world, outcome) = run(
        Test::new(workload::Broadcast::default(), options),
        &process,
        &mut Progress::new(Duration::ZERO),
    )
    .unwrap();
    outcome.unwrap();
    let results = world.results();
    let kills = world.history().ops().iter().filter(|op| op.f == "crash").count();
    assert!(kills > 2, "{kills}");
    (results.workload.valid, serde_json::to_value(results.workload.fields).unwrap())
}

#[test]
fn a_node_that_is_killed_again_and_again_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (verdict, fields) = kills(&["--data-dir", dir.path().to_str().unwrap()]);
    assert_eq!(verdict, Verdict::Valid, "{fields}");
}

#[test]
fn without_a_folder_the_checker_sees_that_much_is_lost() {
    let (verdict, fields) = kills(&[]);
    assert_eq!(verdict, Verdict::Invalid, "{fields}");
    assert!(fields["lost-count"].as_u64().unwrap() > 0, "{fields}");
}
