//! The program with `--data-dir`: it goes on from its records, or says why it does not.
#![expect(clippy::disallowed_methods, reason = "it tests processes and disks")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use maelstrom_core::NodeId;
use maelstrom_sim::process::{ProcessEvent, ProcessOptions, Processes};
use maelstrom_sim::rng::{Stream, stream};
use maelstrom_sim::service::Services;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// Runs a lone node from start to end, with one message.
fn send_one(dir: &Path, partitions: &str) -> Output {
    let mut node = Command::new(env!("CARGO_BIN_EXE_kafka-log"));
    node.arg("--data-dir").arg(dir).args(["--partitions", partitions]);
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut node = node.spawn().unwrap();
    let bodies = [
        r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}"#,
        r#"{"type":"send","msg_id":2,"key":"k","msg":"m"}"#,
    ];
    let lines = bodies.map(|body| format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#) + "\n");
    // In one piece: the program may end before it has read everything.
    node.stdin.take().unwrap().write_all(lines.concat().as_bytes()).unwrap();
    node.wait_with_output().unwrap()
}

#[test]
fn another_number_of_partitions_is_refused_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    for offset in 0..2 {
        let output = send_one(dir.path(), "4");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains(&format!(r#""offset":{offset}"#)),
            "{text}"
        );
        let output = send_one(dir.path(), "8");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{text}");
        for part in ["records.redb: ", "--partitions 4 ", "--partitions 8 ", "an empty folder"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

/// Three processes with folders of their own, and the services. They live as long as the value.
struct Cluster {
    processes: Processes,
    services: Services,
    replies: BTreeMap<u64, Value>,
    msg_id: u64,
}

#[derive(Deserialize)]
struct Envelope {
    src: NodeId,
    dest: NodeId,
    body: Box<RawValue>,
}

impl Cluster {
    fn start(dir: &Path, names: &[NodeId]) -> Self {
        let options = ProcessOptions {
            bin: env!("CARGO_BIN_EXE_kafka-log").into(),
            args: vec!["--data-dir".into(), dir.join("data").to_str().unwrap().into()],
            log_dir: dir.join("logs"),
            log_stderr: false,
        };
        let mut cluster = Self {
            processes: Processes::start(&options, names).unwrap(),
            services: Services::new(stream(1, Stream::Services)),
            replies: BTreeMap::new(),
            msg_id: 0,
        };
        for name in names {
            let init = json!({ "type": "init", "node_id": name, "node_ids": NAMES });
            assert_eq!(cluster.ask(name, init)["type"], "init_ok");
        }
        cluster
    }

    fn ask(&mut self, name: &NodeId, mut body: Value) -> Value {
        self.msg_id += 1;
        body["msg_id"] = json!(self.msg_id);
        let line = json!({ "src": "c1", "dest": name, "body": body });
        self.deliver(name, &line.to_string());
        let ends_at = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(reply) = self.replies.remove(&self.msg_id) {
                return reply;
            }
            assert!(Instant::now() < ends_at, "no reply to {line}");
            if let Some(ProcessEvent::Line(_, line)) =
                self.processes.next_event(Duration::from_millis(100))
            {
                self.route(&line);
            }
        }
    }

    fn route(&mut self, line: &[u8]) {
        let Envelope { src, dest, body } = serde_json::from_slice(line).unwrap();
        if *dest == *"c1" {
            let body: Value = serde_json::from_str(body.get()).unwrap();
            self.replies.insert(body["in_reply_to"].as_u64().unwrap(), body);
        } else if *dest == *"lin-kv" {
            let reply = self.services.handle(&dest, &src, &body).unwrap();
            self.deliver(&src, &json!({ "src": dest, "dest": src, "body": reply }).to_string());
        } else if self.processes.printed(&dest).is_some() {
            self.deliver(&dest, std::str::from_utf8(line).unwrap());
        }
    }

    fn deliver(&mut self, name: &NodeId, line: &str) {
        assert!(self.processes.deliver(name, format!("{line}\n").into_bytes()));
    }

    /// Sends a message, and returns its offset. The node may have to wait for the others first.
    fn send(&mut self, name: &NodeId, msg: u64) -> u64 {
        let reply = self.ask(name, json!({ "type": "send", "key": "k", "msg": msg }));
        reply["offset"].as_u64().unwrap_or_else(|| panic!("{reply}"))
    }
}

/// Every cluster has an empty `lin-kv`, as in each test of Maelstrom.
#[test]
fn a_cluster_that_is_started_again_goes_on_with_the_records_on_its_disks() {
    let dir = tempfile::tempdir().unwrap();
    let names = NAMES.map(NodeId::from);
    for life in 0..3 {
        let mut cluster = Cluster::start(dir.path(), &names);
        for name in &names {
            let shown = cluster.ask(name, json!({ "type": "poll", "offsets": { "k": 0 } }));
            let shown = shown["msgs"]["k"].as_array().map_or(0, Vec::len) as u64;
            assert!(shown <= 3 * life);
        }
        for (n, name) in (3 * life..).zip(&names) {
            assert_eq!(cluster.send(name, n), n, "life {life}, {name}");
        }
    }
    // A single node does not start again alone.
    let mut cluster = Cluster::start(dir.path(), &names[..1]);
    let reply = cluster.ask(&names[0], json!({ "type": "send", "key": "k", "msg": 99 }));
    let text = reply["text"].as_str().unwrap();
    assert!(["n2", "n3", "did not tell"].iter().all(|part| text.contains(part)), "{reply}");
}
