//! Authentication between nodes, tested on processes: the flag, the key file, and lines on pipes.
//! The tests seal and check messages with their own code, not with the library's.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

const KEY: &str = "a key of a cluster of three";

/// The line limit of all nodes here.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A folder with a key file in it.
struct KeyFile(TempDir);

impl KeyFile {
    fn new(content: &str, mode: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = Self(dir);
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cluster.key")
    }
}

/// Runs a node with these lines as its input. Returns its output and its log.
fn run(key_file: Option<&Path>, lines: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance-node"));
    command.arg("--max-line-bytes").arg(LINE_BYTES_MAX.to_string());
    if let Some(path) = key_file {
        command.arg("--cluster-key-file").arg(path);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in lines {
        // A node that refuses to start has closed the pipe.
        writeln!(stdin, "{line}").ok();
    }
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// All messages of the node except the reply to `init`.
fn answers(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", log(output));
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn log(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn line(src: &str, body: &Value) -> String {
    json!({ "src": src, "dest": "n1", "body": body }).to_string()
}

fn init() -> String {
    let body =
        json!({"type": "init", "msg_id": 0, "node_id": "n1", "node_ids": ["n1", "n2", "n3"]});
    line("c0", &body)
}

fn echo(msg_id: u64) -> Value {
    json!({"type": "echo", "msg_id": msg_id, "echo": "it's \"quoted\""})
}

/// The MAC in hexadecimal.
fn mac(src: &str, dest: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    for name in [src, dest] {
        mac.update(&u32::try_from(name.len()).unwrap().to_be_bytes());
        mac.update(name.as_bytes());
    }
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn swapped(text: &str) -> String {
    let swap = |c| match c {
        '\'' => '"',
        '"' => '\'',
        other => other,
    };
    text.chars().map(swap).collect()
}

/// The line that carries `body` between nodes.
fn sealed(src: &str, body: &Value) -> String {
    let text = swapped(&body.to_string());
    let mac = mac(src, "n1", &text);
    line(src, &json!({"type": "sealed", "text": text, "mac": mac}))
}

#[test]
fn a_node_answers_nodes_that_have_its_key_and_all_clients() {
    let key = KeyFile::new(&format!("{KEY}\n"), 0o600);
    let forged = sealed("n2", &echo(3)).replace("quoted", "forged");
    let lines = [
        init(),
        sealed("n2", &echo(1)),
        line("n2", &echo(2)),
        forged,
        sealed("n2", &echo(4)).replace("n2", "n3"),
        line("c1", &echo(5)),
        line("lin-kv", &echo(6)),
    ];
    let output = run(Some(&key.path()), &lines);
    let [to_node, to_client, to_service] = <[Value; 3]>::try_from(answers(&output)).unwrap();
    let text = to_node["body"]["text"].as_str().unwrap();
    let opened: Value = serde_json::from_str(&swapped(text)).unwrap();
    let expected = json!({"type": "echo_ok", "in_reply_to": 1, "echo": "it's \"quoted\""});
    assert_eq!(opened, expected);
    assert_eq!(to_node["dest"], "n2");
    assert_eq!(to_node["body"]["mac"], mac("n1", "n2", text));
    assert_eq!((&to_client["dest"], &to_client["body"]["in_reply_to"]), (&json!("c1"), &json!(5)));
    assert_eq!(to_service["body"]["in_reply_to"], 6);
    let log = log(&output);
    assert_eq!(log.matches("a message between nodes was dropped").count(), 1, "{log}");
    assert!(!log.contains(KEY), "{log}");
}

#[test]
fn without_a_key_nodes_trust_each_other() {
    let output = run(None, &[init(), line("n2", &echo(1)), sealed("n2", &echo(2))]);
    let [answer] = <[Value; 1]>::try_from(answers(&output)).unwrap();
    assert_eq!(answer["body"]["type"], "echo_ok");
    assert!(log(&output).contains("unknown message type `sealed`"), "{}", log(&output));
}

/// A seal may double the length of a line. The limit must not refuse such a line.
#[test]
fn a_line_of_the_limit_is_taken_when_it_is_sealed() {
    let key = KeyFile::new(KEY, 0o600);
    let body = json!({"type": "echo", "msg_id": 1, "echo": "'".repeat(LINE_BYTES_MAX - 100)});
    assert!(sealed("n2", &body).len() > LINE_BYTES_MAX);
    let lines = [init(), sealed("n2", &body), line("c1", &echo(2))];
    let output = run(Some(&key.path()), &lines);
    assert_eq!(answers(&output).len(), 2, "{}", log(&output));
}

#[test]
fn a_key_file_that_is_no_good_is_refused_with_the_reason() {
    let missing = KeyFile::new(KEY, 0o600).path();
    let (empty, short) = (KeyFile::new("\n", 0o600), KeyFile::new("15 secret bytes\n", 0o600));
    let open = KeyFile::new(KEY, 0o640);
    for (path, why) in [
        (missing, "cannot be read"),
        (empty.path(), "is empty"),
        (short.path(), "a key of 15 bytes is too short"),
        (open.path(), "its mode 640 lets others read the key of the cluster: run chmod 600"),
    ] {
        let output = run(Some(&path), &[init()]);
        let log = log(&output);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(output.stdout.is_empty());
        assert!(log.contains(why) && log.contains("cluster.key"), "{log}");
        assert!(!log.contains(KEY) && !log.contains("15 secret bytes"), "{log}");
    }
}
