//! Tests the command line: it accepts everything that `maelstrom test` accepts, and explains every
//! refusal.

use std::path::Path;
use std::process::{Command, Output};

use super::NODE;

fn run_in(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-sim"));
    command.current_dir(dir).args(args).output().unwrap()
}

/// Runs a short echo test with further arguments.
fn echo(dir: &Path, args: &[&str]) -> Output {
    let fixed = ["test", "-w", "echo", "--bin", NODE, "--time-limit", "1", "--rate", "20"];
    run_in(dir, &[&fixed, args].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn valid(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stderr)
}

fn logs(dir: &Path) -> Vec<String> {
    let logs = std::fs::read_dir(dir.join("store/latest/node-logs")).unwrap();
    let mut names: Vec<String> =
        logs.map(|log| log.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn jepsens_flags_are_accepted_and_said_once_to_have_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--log-net-send", "--log-net-recv", "--no-ssh", "--username", "root"];
    let more = ["--password", "x", "--strict-host-key-checking", "--ssh-private-key", "/key"];
    let last = ["--leave-db-running", "--logging-json", "--node-count", "1"];
    let stderr = valid(&echo(dir.path(), &[&flags[..], &more, &last].concat()));
    let notes: Vec<&str> = stderr.lines().filter(|line| line.contains("no effect here")).collect();
    let expected = "no effect here: --log-net-send, --log-net-recv, --username, --password, \
                    --strict-host-key-checking, --no-ssh, --ssh-private-key, --leave-db-running, \
                    --logging-json (--trace keeps every message in messages.jsonl)";
    assert_eq!(notes, [expected]);
}

#[test]
fn nodes_are_named_one_by_one_in_a_list_or_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    valid(&echo(dir.path(), &["-n", "a", "--node", "b"]));
    assert_eq!(logs(dir.path()), ["a.log", "b.log"]);
    valid(&echo(dir.path(), &["--nodes", "d, e"]));
    assert_eq!(logs(dir.path()), ["d.log", "e.log"]);
    std::fs::write(dir.path().join("nodes"), "f\n\ng\n").unwrap();
    valid(&echo(dir.path(), &["--nodes-file", "nodes"]));
    assert_eq!(logs(dir.path()), ["f.log", "g.log"]);
    let missing = echo(dir.path(), &["--nodes-file", "nowhere"]);
    assert_eq!(missing.status.code(), Some(254));
    assert!(text(&missing.stderr).contains("--nodes-file: cannot read nowhere"));
}

#[test]
fn lists_may_have_spaces_and_a_nodes_arguments_need_no_dashes() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--nemesis", "kill, pause", "--nemesis-interval", "9", "--node-count", "1"];
    valid(&echo(dir.path(), &args));
    // The node rejects the argument, so it has received it.
    let output = echo(dir.path(), &["--node-count", "1", "for-the-node"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output.stderr).contains("for-the-node"), "{}", text(&output.stderr));
    let output = echo(dir.path(), &["--node-count", "1", "--", "--for-the-node"]);
    assert!(text(&output.stderr).contains("--for-the-node"), "{}", text(&output.stderr));
}

#[test]
fn numbers_and_lists_take_every_form_that_maelstrom_reads() {
    let dir = tempfile::tempdir().unwrap();
    let accepted = [
        ["--nemesis", "partition,"],
        ["--nemesis", "partition , ,"],
        ["--nemesis", ","],
        ["--availability", "1/2"],
        ["--availability", "5e-1"],
        ["--availability", "1"],
        ["--availability", ":total"],
        ["--availability", "nil"],
        ["--nemesis-interval", "1/2"],
        ["--rate", "2e1"],
        ["--rate", "20d"],
        ["--latency", "+5"],
        ["--consistency-models", "serializable , read-atomic , "],
        ["--nodes", "n0,n1,"],
        ["--key-count", "1000"],
        ["--max-txn-length", "10000"],
        ["--consistency-models", "causal,linearizable,sequential,PRAM"],
        ["--consistency-models", "writes-follow-reads,monotonic-reads"],
        ["--consistency-models", "monotonic-writes,read-your-writes"],
        ["--log-stderr=false", "--as-maelstrom=true"],
        ["--trace=false", "--no-ssh=true"],
    ];
    // The command checks the flags before it looks for the program.
    for flag in accepted {
        let fixed = ["test", "-w", "echo", "--time-limit", "1", "--bin", "no-such-node"];
        let output = run_in(dir.path(), &[&fixed[..], &flag].concat());
        assert_eq!(output.status.code(), Some(255), "{flag:?}: {}", text(&output.stderr));
    }
    let half = ["--node-count", "1", "--availability", "1/2", "--nemesis", "partition,"];
    valid(&echo(dir.path(), &half));
}

#[test]
fn a_test_count_repeats_a_valid_test_and_ends_with_the_first_that_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let stderr =
        valid(&echo(dir.path(), &["--node-count", "1", "--test-count", "2", "--seed", "7"]));
    assert!(stderr.contains("seed 7, ") && stderr.contains("seed 8, "), "{stderr}");
    let args = ["--node-count", "1", "--test-count", "3", "--", "--fault", "lying-echo"];
    let output = echo(dir.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).matches(", results in ").count(), 1);
}

#[test]
fn unknown_values_are_refused_with_the_valid_ones() {
    let dir = tempfile::tempdir().unwrap();
    for (args, valid) in [
        (["-w", "ehco"], "broadcast, echo, g-counter, g-set, kafka, "),
        (["--nemesis", "kill,bogus"], "\"bogus\" is none of partition, pause, kill"),
        (["--latency-dist", "normal"], "constant, uniform, exponential"),
        (["--topology", "ring"], "grid"),
        (["--consistency-models", "serialisable"], "strict-serializable"),
        (["--key-count", "1000001"], "a whole number from 1 to 1000000"),
        (["--max-txn-length", "10001"], "a whole number from 1 to 10000"),
        (["--log-stderr=no", "--trace"], "invalid value 'no' for '--log-stderr"),
        (["--rate", "-1"], "invalid value '-1' for '--rate <RATE>': must be a number from 0"),
        (["--latency", "-1"], "invalid value '-1' for '--latency <MILLIS>': must be a whole"),
        (["--concurrency", "2m"], "n"),
        (["--nemesis", ""], "\"\" is none of partition, pause, kill"),
        (["--nemesis", "kill,,pause"], "\"\" is none of partition, pause, kill"),
        (["--availability", "2"], "between 0 and 1, such as 1, 0.5 or 1/2"),
        (["--availability", "3/2"], "between 0 and 1, such as 1, 0.5 or 1/2"),
        (["--availability", "1/0"], "between 0 and 1, such as 1, 0.5 or 1/2"),
        (["--nemesis-interval", "0/1"], "such as 5, 0.5 or 1/2"),
        (["--rate", "1/2"], "such as 5, 0.5 or 1e2"),
        (["--latency", "1/2"], "a whole number from 0 to 3600000"),
        (["--time-limit", "5.0"], "a whole number from 1 to 86400"),
        (["--concurrency", "+2"], "an integer above 0, optionally followed by n"),
        (["--nodes", ","], "must name a node"),
        (["--test-count", "0"], "a whole number from 1 to 18446744073709551615"),
        (["--no-such-flag", "1"], "--no-such-flag"),
    ] {
        let fixed = ["test", "--bin", NODE];
        let workload: &[&str] = if args[0] == "-w" { &[] } else { &["-w", "echo"] };
        let output = run_in(dir.path(), &[&fixed[..], workload, &args].concat());
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(254), "{args:?}: {stderr}");
        assert!(stderr.contains(valid), "{args:?}: {stderr}");
        assert!(!stderr.contains("tip: to pass"), "{args:?}: {stderr}");
    }
    assert!(!dir.path().join("store").exists(), "a refused test leaves nothing");
}

#[test]
fn as_maelstrom_judges_by_its_rules_alone_and_without_it_the_difference_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["test", "-w", "broadcast", "--bin", NODE, "--time-limit", "1", "--rate", "30"];
    let node = ["--node-count", "1", "--", "--fault", "duplicate"];
    let strict = run_in(dir.path(), &[&args[..], &node].concat());
    let stdout = text(&strict.stdout);
    assert_eq!(strict.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("stands twice in one read"), "{stdout}");
    assert!(stdout.contains("With --as-maelstrom: Everything looks good!"), "{stdout}");
    let lenient = run_in(dir.path(), &[&args[..], &["--as-maelstrom"], &node].concat());
    assert_eq!(lenient.status.code(), Some(0), "{}", text(&lenient.stdout));
}

#[test]
fn a_switch_may_have_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let shows = |args: &[&str]| {
        let args = [args, &["--node-count", "1", "--", "--fault", "exit"]].concat();
        text(&echo(dir.path(), &args).stderr).contains("n0 | ")
    };
    assert!(shows(&["--log-stderr"]) && shows(&["--log-stderr=true"]));
    assert!(!shows(&["--log-stderr=false"]) && !shows(&["--log-stderr", "--log-stderr=false"]));
}

#[test]
fn a_node_has_no_name_of_a_client_or_a_service() {
    let dir = tempfile::tempdir().unwrap();
    for (nodes, why) in [
        ("b,c1", "names that begin with c are for clients"),
        ("lin-kv,b", "lin-kv is the name of a service"),
        ("b,lin-tso", "lin-tso is the name of a service"),
        ("b,b", "every node needs a name of its own"),
    ] {
        let output = echo(dir.path(), &["--nodes", nodes]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(254), "{nodes}: {stderr}");
        assert!(stderr.contains(why), "{nodes}: {stderr}");
    }
}

#[test]
fn doc_prints_the_messages_that_a_node_must_understand() {
    let dir = tempfile::tempdir().unwrap();
    let list = text(&run_in(dir.path(), &["doc"]).stdout);
    for name in ["broadcast\n", "lin-kv\n", "txn-rw-register\n"] {
        assert!(list.contains(name), "{list}");
    }
    let page = text(&run_in(dir.path(), &["doc", "kafka"]).stdout);
    for line in [
        r#"    {"type":"send","msg_id":1,"key":"k1","msg":123}"#,
        r#"    {"type":"send_ok","in_reply_to":1,"offset":1000}"#,
        "        request, key: a string. The key of the log.",
        "    --key-count",
    ] {
        assert!(page.lines().any(|known| known == line), "{line}\n{page}");
    }
    let output = run_in(dir.path(), &["doc", "kafak"]);
    assert_eq!(output.status.code(), Some(254));
    assert!(text(&output.stderr).contains("kafka"));
}

#[test]
fn lin_kv_is_the_default_and_says_how_many_clients_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let output = run_in(dir.path(), &["test", "--bin", NODE, "--node-count", "3"]);
    assert_eq!(output.status.code(), Some(255), "as Maelstrom, which crashes");
    assert!(text(&output.stderr).contains("here 6, 12, …), not 3"), "{}", text(&output.stderr));
}
