//! Tests the command with real processes: good nodes pass, broken nodes are found, and programs
//! that are not nodes are named.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::NODE;

/// A running command in its own folder.
struct Running {
    dir: TempDir,
    child: Child,
}

impl Running {
    fn start(args: &str, fault: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-sim"));
        command.current_dir(&dir).arg("test").args(["--bin", NODE]).args(args.split_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.args(["--", "--fault", fault]).spawn().unwrap();
        Self { dir, child }
    }

    fn finish(self) -> Run {
        Run { dir: self.dir, output: self.child.wait_with_output().unwrap() }
    }
}

/// A finished run of the command.
struct Run {
    dir: TempDir,
    output: Output,
}

impl Run {
    fn new(args: &str, fault: &str) -> Self {
        Running::start(args, fault).finish()
    }

    fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("store/latest").join(name)).unwrap()
    }

    fn results(&self) -> Value {
        serde_json::from_str(&self.file("results.json")).unwrap()
    }

    #[track_caller]
    fn expect(&self, code: i32, closing: &str) -> Value {
        let stdout = self.stdout();
        let last = stdout.lines().last().unwrap_or_default();
        assert!(last.starts_with(closing), "{last}\n{}", self.stderr());
        assert_eq!(self.output.status.code(), Some(code));
        self.results()
    }

    fn valid(&self) -> Value {
        self.expect(0, "Everything looks good!")
    }

    fn invalid(&self) -> Value {
        self.expect(1, "Analysis invalid!")
    }

    /// Asserts that the run crashed: it names a node, but has no verdict.
    #[track_caller]
    fn crashed(&self) -> String {
        assert_eq!(self.output.status.code(), Some(255), "{}", self.stderr());
        assert!(self.output.stdout.is_empty());
        self.stderr()
    }
}

const BROADCAST: &str = "-w broadcast --node-count 3 --rate 30 --time-limit 3 --seed 1";

#[test]
fn a_right_broadcast_is_valid_and_leaves_its_traces() {
    let run = Run::new(BROADCAST, "none");
    let results = run.valid();
    assert_eq!(results["workload"]["lost-count"], 0);
    assert!(results["workload"]["stable-count"].as_u64().unwrap() > 10);
    assert_eq!(results["workload"]["stable-latencies"]["0.5"], 0);
    assert_eq!(results["availability"]["ok-fraction"], 1.0);
    let history = run.file("history.jsonl");
    let ops: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let begun = ops.iter().filter(|op| op["type"] == "invoke").count();
    assert_eq!(ops.iter().filter(|op| op["final?"] == true).count(), 6);
    assert_eq!(results["stats"]["ok-count"], begun);
    // Each node sends a new broadcast value to two peers, and the servers send nothing else.
    let told = ops.iter().filter(|op| op["type"] == "ok" && op["f"] == "broadcast").count() * 2;
    assert_eq!(results["net"]["servers"]["msg-count"], told);
    assert!(run.file("node-logs/n0.log").contains("initialized"));
}

/// Each bug of a broadcast node, and the figure that reveals it.
const BROKEN_BROADCASTS: [(&str, &str); 6] = [
    ("drop-tenth", "lost-count"),
    ("forget", "lost-count"),
    ("stale-read", "lost-count"),
    ("duplicate", "duplicated-count"),
    ("phantom", "phantom-count"),
    ("false-refusal", "resurrected-count"),
];

#[test]
fn a_broken_broadcast_is_invalid_for_the_rule_that_is_broken() {
    let runs = BROKEN_BROADCASTS.map(|(fault, _)| Running::start(BROADCAST, fault));
    for ((fault, figure), run) in BROKEN_BROADCASTS.into_iter().zip(runs) {
        let results = run.finish().invalid();
        for (_, other) in BROKEN_BROADCASTS {
            let count = results["workload"][other].as_u64().unwrap();
            assert_eq!(count > 0, other == figure, "{fault}: {other} is {count}");
        }
    }
}

#[test]
fn partitions_are_felt_and_the_nemesis_is_in_the_history() {
    // These nodes send every value once, so a partition loses values.
    let args = "--nemesis partition --nemesis-interval 1 --node-count 5";
    let run = Run::new(&format!("{BROADCAST} {args}"), "none");
    let results = run.invalid();
    assert!(results["workload"]["lost-count"].as_u64().unwrap() > 0);
    assert!(run.file("history.jsonl").contains("start-partition"));
}

const UNIQUE_IDS: &str = "-w unique-ids --node-count 3 --rate 500 --time-limit 2 --seed 1";

#[test]
fn a_right_id_generator_is_valid() {
    let results = Run::new(&format!("{UNIQUE_IDS} --availability total"), "none").valid();
    assert_eq!(results["workload"]["duplicated-count"], 0);
    assert_eq!(results["workload"]["attempted-count"], results["workload"]["acknowledged-count"]);
}

#[test]
fn a_generator_that_repeats_an_id_is_invalid() {
    let results = Run::new(UNIQUE_IDS, "repeat-id").invalid();
    assert!(results["workload"]["duplicated-count"].as_u64().unwrap() > 0);
}

const KAFKA: &str = "-w kafka --node-count 1 --concurrency 2n --rate 200 --time-limit 2 --seed 1";

#[test]
fn a_right_log_is_valid_and_one_that_loses_messages_is_not() {
    let (right, lossy) = (Running::start(KAFKA, "none"), Running::start(KAFKA, "lose-message"));
    let right = right.finish();
    let results = right.valid();
    assert_eq!(results["workload"]["bad-error-types"], json!([]));
    // With polls and sends alone, each operation would be one request. But most polls also commit.
    let (asked, ops) = (&results["net"]["clients"]["msg-count"], &results["stats"]["count"]);
    assert!(asked.as_u64() > ops.as_u64().map(|ops| ops * 2), "{asked} for {ops}");
    // In the end each thread crashes, starts a new client, and reads everything.
    let history = right.file("history.jsonl");
    let last = history.lines().filter(|line| line.contains(r#""final?":true"#)).count();
    assert!((12..=20).contains(&last), "{last}");
    let results = lossy.finish().invalid();
    for found in ["lost-write", "unseen"] {
        let count = results["workload"][found]["count"].as_u64();
        assert!(count > Some(5), "{found}: {count:?}");
    }
}

const ECHO: &str = "-w echo --node-count 1 --rate 50 --time-limit 1 --seed 1";

#[test]
fn a_right_echo_is_valid_and_a_lying_one_is_not() {
    Run::new(ECHO, "none").valid();
    let missed = "The checker found no fault, but the run misses a limit: max latency is unknown.";
    Run::new(&format!("{ECHO} --max-latency-ms 9"), "none").expect(0, missed);
    let results = Run::new(ECHO, "lying-echo").invalid();
    let errors = results["workload"]["errors"].as_array().unwrap();
    assert_eq!(results["stats"]["ok-count"], errors.len());
}

#[test]
fn a_reply_with_a_field_too_many_is_malformed() {
    let results = Run::new(ECHO, "extra-field").invalid();
    assert_eq!(results["stats"]["ok-count"], 0);
    assert!(results["cause"].to_string().contains("`extra` has no place in it"), "{results}");
}

#[test]
fn a_node_that_prints_rubbish_is_named_and_not_listened_to_any_more() {
    for (fault, said) in [("rubbish", "Hello, I am a node"), ("wrong-address", "there is no n99")] {
        let run = Run::new("-w echo --node-count 2 --rate 5 --time-limit 1 --seed 1", fault);
        let stderr = run.crashed();
        assert!(stderr.contains(said), "{stderr}");
        assert!(stderr.contains("n0 is not listened to any more"), "{stderr}");
    }
}

#[test]
fn on_request_every_message_is_kept_with_its_fate() {
    let args = "-w broadcast --node-count 3 --rate 20 --time-limit 2 --seed 1 --nemesis partition";
    let run = Run::new(&format!("{args} --nemesis-interval 1 --trace"), "none");
    let results = run.results();
    let messages = run.file("messages.jsonl");
    assert_eq!(results["net"]["all"]["send-count"], messages.lines().count());
    for fate in ["delivered", "refused"] {
        assert!(messages.contains(&format!(r#""fate":"{fate}""#)), "{fate}");
    }
    assert!(run.file("events.jsonl").contains(r#""nemesis":{"start-partition":["#));
    let plain = Run::new("-w echo --node-count 1 --rate 20 --time-limit 1", "none");
    assert!(!plain.dir.path().join("store/latest/messages.jsonl").exists());
}

#[test]
fn a_node_that_exits_is_named_with_the_end_of_its_stderr() {
    let run = Run::new("-w echo --node-count 1 --rate 20 --time-limit 9", "exit");
    let stderr = run.crashed();
    assert!(stderr.contains("n0 exited by itself (exit status: 3)"), "{stderr}");
    assert!(stderr.contains("something terrible has happened"), "{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    let error = lines.iter().position(|line| line.starts_with("error: ")).unwrap();
    let report = lines[error - 1].strip_prefix("Report: ").unwrap();
    assert!(run.dir.path().join(report).is_file(), "{stderr}");
    // The run is not the latest result, but its history is stored.
    let history = run.dir.path().join("store/current/history.jsonl");
    assert!(std::fs::read_to_string(history).unwrap().contains(r#""type":"invoke","f":"echo""#));
}

#[test]
fn a_node_that_does_not_answer_init_is_named() {
    let stderr = Run::new("-w echo --node-count 2 --time-limit 9", "silent").crashed();
    // The message names the node that joined first.
    let named = ["n0", "n1"].map(|node| format!("{node} did not answer `init` within 10 s"));
    assert!(named.iter().any(|text| stderr.contains(text)), "{stderr}");
}

#[test]
fn without_a_single_value_the_verdict_is_unknown() {
    let run = Run::new("-w broadcast --node-count 1 --rate 0 --time-limit 1", "none");
    run.expect(2, "Errors occurred during analysis, but no anomalies found.");
}

const TXN: &str = "-w txn-rw-register --node-count 1 --rate 100 --time-limit 2 --seed 1";

#[test]
fn transactions_are_judged_by_the_models_that_are_asked_for() {
    let results = Run::new(TXN, "none").valid();
    assert_eq!(results["workload"]["consistency-models"][0], "strict-serializable");
    assert!(results["workload"]["txn-count"].as_u64().unwrap() > 100);
    let results = Run::new(TXN, "phantom").invalid();
    assert_eq!(results["workload"]["anomalies"]["phantom-read"][0]["ops"][0]["type"], "ok");
    // A store that forgets everything violates none of the weakest models.
    Run::new(TXN, "forget").invalid();
    Run::new(&format!("{TXN} --consistency-models read-committed"), "forget").valid();
    let options = "--max-txn-length 1 --key-count 2 --max-writes-per-key 3";
    let run = Run::new(&format!("{TXN} {options}"), "none");
    run.valid();
    let history = run.file("history.jsonl");
    assert!(!history.contains("],[") && !history.contains("final?"));
}

#[test]
fn models_come_with_spaces_around_their_commas_or_without() {
    for models in ["read-committed , read-atomic", "read-committed,read-atomic"] {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_maelstrom-sim"))
            .current_dir(&dir)
            .args(["test", "--json", "--bin", NODE, "--consistency-models", models])
            .args("-w txn-rw-register --node-count 1 --rate 100 --time-limit 1".split(' '))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{models}");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let json = stdout.split("\nReport: ").next().unwrap_or_default();
        let results: serde_json::Value = serde_json::from_str(json).unwrap();
        let found = &results["workload"]["consistency-models"];
        assert_eq!(*found, serde_json::json!(["read-committed", "read-atomic"]), "{stdout}");
    }
}

#[test]
fn node_output_is_shown_on_request_and_names_are_given_or_counted() {
    let run = Run::new("-w echo --nodes a,b --rate 20 --time-limit 1 --log-stderr", "none");
    run.valid();
    assert!(run.stderr().contains("a | "), "{}", run.stderr());
    assert!(run.file("node-logs/b.log").contains("initialized"));
}

#[test]
fn bad_arguments_are_refused_with_maelstroms_exit_code() {
    for bad in [
        "-w nonsense",
        "-w echo --node-count 0",
        "-w echo --nodes n1,n1",
        "-w echo --nodes c1",
        "-w echo --availability 2",
        "-w echo --concurrency 0n",
        "-w echo --rate -1",
        "-w kafka --key-count 0",
        "-w kafka --max-writes-per-key 0",
        "-w echo --nemesis earthquake",
        "-w echo --no-such-flag",
        "-w txn-rw-register --consistency-models serialisable",
        "-w txn-rw-register --max-txn-length 0",
    ] {
        let run = Run::new(bad, "none");
        assert_eq!(run.output.status.code(), Some(254), "{bad}");
        assert!(run.stderr().contains("error: "), "{bad}");
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_maelstrom-sim"))
        .current_dir(&dir)
        .args(["test", "-w", "echo", "--bin", "no/such/program"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(255));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("cannot find no/such/program"), "{stderr}");
    assert!(Path::new(NODE).exists());
}
