//! The driver's timing and writes, with a clock that advances only when every task waits.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;
use crate::{Error, Node, Request};

struct Puppet;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    /// Replies after this many milliseconds.
    Later { ms: u64 },
    /// Calls another node, and repeats the call whenever it fails.
    Insist,
    /// Replies with this many bytes.
    Big { bytes: usize },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    LaterOk,
    Ping,
    BigOk { data: String },
}

enum Event {
    Later(Request),
    Failed,
}

impl MessageHandler for Puppet {
    type Payload = Command;
    type Event = Event;

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        command: Command,
    ) -> Result<(), Error> {
        match command {
            Command::Later { ms } => {
                node.set_timer(Duration::from_millis(ms), Event::Later(request.clone()));
            }
            Command::Insist => self.event(node, Event::Failed),
            Command::Big { bytes } => {
                node.reply(request, &Said::BigOk { data: "x".repeat(bytes) });
            }
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Later(request) => node.reply(&request, &Said::LaterOk),
            Event::Failed => {
                let timeout = Duration::from_secs(60);
                node.rpc(&"n2".into(), &Said::Ping, timeout, |_| Event::Failed);
            }
        }
    }
}

/// An output that keeps each write separate.
#[derive(Default)]
struct Writes(Vec<Vec<u8>>);

impl AsyncWrite for Writes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Sends `init` and these bodies to a node in one chunk, then ends its input. Returns the node's
/// writes, and the time until it ends.
async fn run(bodies: &[&str]) -> (Vec<Vec<u8>>, Duration) {
    let init = r#"{"type":"init","msg_id":0,"node_id":"n1","node_ids":["n1","n2"]}"#;
    let lines = [&[init], bodies].concat().into_iter().map(|body| {
        let line = format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#);
        line + "\n"
    });
    let input: String = lines.collect();
    assert!(input.len() < CHUNK_BYTES);
    let node = RawNode::new(Puppet, [7; 32], false);
    let mut output = Writes::default();
    let begin = Instant::now();
    let config = Config::default();
    let stop = std::future::pending();
    drive(node, &config, input.as_bytes(), &mut output, stop).await.unwrap();
    (output.0, begin.elapsed())
}

/// The types of all messages in these writes.
fn kinds(writes: &[Vec<u8>]) -> Vec<String> {
    let text = String::from_utf8(writes.concat()).unwrap();
    let kind = |line| {
        let message: Value = serde_json::from_str(line).unwrap();
        message["body"]["type"].as_str().unwrap().to_owned()
    };
    text.lines().map(kind).collect()
}

#[tokio::test(start_paused = true)]
async fn after_the_end_of_input_a_handler_is_given_five_seconds_to_answer_and_no_more() {
    let (writes, lived) =
        run(&[r#"{"type":"later","msg_id":1,"ms":5000}"#, r#"{"type":"later","msg_id":2,"ms":1}"#])
            .await;
    assert_eq!(kinds(&writes), ["init_ok", "later_ok", "later_ok"]);
    assert_eq!(lived, Duration::from_secs(5));

    let (writes, lived) = run(&[r#"{"type":"later","msg_id":1,"ms":5001}"#]).await;
    assert_eq!(kinds(&writes), ["init_ok"]);
    assert_eq!(lived, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_of_input_a_call_that_failed_is_made_again_sixteen_times_and_no_more() {
    let (writes, lived) = run(&[r#"{"type":"insist","msg_id":1}"#]).await;
    let calls = kinds(&writes).iter().filter(|kind| *kind == "ping").count();
    assert_eq!(calls, 1 + 16);
    assert_eq!(lived, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_replies_to_one_chunk_leave_in_one_write() {
    let (writes, _) = run(&[r#"{"type":"big","msg_id":1,"bytes":9}"#; 500]).await;
    assert_eq!((writes.len(), kinds(&writes).len()), (1, 501));
}

#[tokio::test(start_paused = true)]
async fn more_than_256_kib_of_replies_leave_in_the_middle_of_a_chunk() {
    const BYTES: usize = 10_000;
    let (writes, _) = run(&[r#"{"type":"big","msg_id":1,"bytes":10000}"#; 100]).await;
    let (last, full) = writes.split_last().unwrap();
    assert_eq!(full.len(), 3);
    for write in full {
        assert!((256 << 10..(256 << 10) + BYTES + 100).contains(&write.len()), "{}", write.len());
    }
    assert!(last.len() < 256 << 10);
    assert_eq!(kinds(&writes).len(), 101);
}

/// Keeps the newest text of each of a few keys, so most of its records are soon superseded.
#[derive(Default)]
struct Keeper(Vec<String>);

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Keep {
    Keep { key: usize, text: String },
    KeepOk,
}

impl Keeper {
    fn keep(&mut self, key: usize, text: String) {
        let len = self.0.len().max(key.saturating_add(1));
        self.0.resize(len, String::new());
        self.0[key] = text;
    }
}

impl MessageHandler for Keeper {
    type Payload = Keep;
    type Event = crate::NoEvent;

    const RECORD_FORMAT: Option<&'static str> = Some("keeper 1");

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let (key, text) = serde_json::from_slice(record).map_err(|_| Error::crash("not mine"))?;
        self.keep(key, text);
        Ok(())
    }

    fn snapshot_bytes(&self) -> Option<usize> {
        Some(self.0.iter().map(String::len).sum())
    }

    fn snapshot(
        &self,
        from: SnapshotPosition,
        _bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        let at = usize::try_from(from.offset).unwrap();
        records.add(&(at, &self.0[at]))?;
        let next = at.saturating_add(1);
        let offset = u64::try_from(next).unwrap();
        Ok((next < self.0.len()).then_some(SnapshotPosition { offset, ..from }))
    }

    fn message(
        &mut self,
        node: &mut Node<Self::Event>,
        request: &Request,
        payload: Keep,
    ) -> Result<(), Error> {
        if let Keep::Keep { key, text } = payload {
            node.persist(&(key, &text));
            self.keep(key, text);
        }
        node.reply(request, &Keep::KeepOk);
        Ok(())
    }
}

/// A snapshot replaces the journal, part by part, while the client gets a reply to each message.
/// The newest records survive.
#[tokio::test]
async fn a_snapshot_is_taken_in_parts_while_messages_are_answered() {
    const KEYS: usize = 50;
    const COUNT: usize = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().into()), ..Config::default() };
    let text = |n: usize| format!("{n} {}", "x".repeat(2_000));
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let (input, output) = tokio::io::split(server);
    let node = RawNode::new(Keeper::default(), [7; 32], true);
    let node = drive(node, &config, input, output, std::future::pending());
    let mut most_files = 0;
    let talk = async {
        let init = r#"{"type":"init","msg_id":0,"node_id":"n1","node_ids":["n1"]}"#.to_owned();
        let keep = |n: usize| {
            let body = Keep::Keep { key: n % KEYS, text: text(n) };
            let mut body = serde_json::to_value(&body).unwrap();
            body = body["keep"].take();
            body["type"] = "keep".into();
            body["msg_id"] = n.into();
            body.to_string()
        };
        for body in std::iter::once(init).chain((0..COUNT).map(keep)) {
            let line = format!("{{\"src\":\"c1\",\"dest\":\"n1\",\"body\":{body}}}\n");
            client.write_all(line.as_bytes()).await.unwrap();
            let mut reply = vec![0; 1_000];
            assert_ne!(client.read(&mut reply).await.unwrap(), 0);
            let files = std::fs::read_dir(dir.path().join("n1")).unwrap().count();
            most_files = most_files.max(files);
        }
        drop(client);
    };
    let (result, ()) = tokio::join!(node, talk);
    result.unwrap();
    assert!(most_files > 1, "messages were answered while a snapshot was written");
    let mut store = Store::open(dir.path(), "n1", "keeper 1").unwrap();
    let mut recovered = Keeper::default();
    let count = store.records(|record| recovered.recover(record)).unwrap();
    assert!(count < COUNT as u64, "{count}");
    let newest: Vec<String> = (COUNT - KEYS..COUNT).map(text).collect();
    assert_eq!(recovered.0, newest);
}

/// The parts of snapshots, and the writes of replies, in order.
type Work = Arc<Mutex<Vec<&'static str>>>;

/// A [`Keeper`] that notes when a part of its snapshot is taken.
struct Observed(Keeper, Work);

impl MessageHandler for Observed {
    type Payload = Keep;
    type Event = crate::NoEvent;

    const RECORD_FORMAT: Option<&'static str> = Keeper::RECORD_FORMAT;

    fn snapshot_bytes(&self) -> Option<usize> {
        self.0.snapshot_bytes()
    }

    fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        assert_eq!(bytes_max, PART_BYTES);
        self.1.lock().unwrap().push("part");
        self.0.snapshot(from, bytes_max, records)
    }

    fn message(
        &mut self,
        node: &mut Node<Self::Event>,
        request: &Request,
        payload: Keep,
    ) -> Result<(), Error> {
        self.0.message(node, request, payload)
    }
}

/// An input that always has another line, until enough parts were taken or there were many lines.
struct Endless {
    count: usize,
    work: Work,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let parts = self.work.lock().unwrap().iter().filter(|what| **what == "part").count();
        let body = match (self.count, parts) {
            (0, _) => r#"{"type":"init","msg_id":0,"node_id":"n1","node_ids":["n1"]}"#.to_owned(),
            (n @ 1..1_000, 0..20) => {
                let text = "x".repeat(20_000);
                format!(r#"{{"type":"keep","msg_id":{n},"key":{},"text":"{text}"}}"#, n % 50)
            }
            _ => return Poll::Ready(Ok(())),
        };
        let line = format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#) + "\n";
        buf.put_slice(line.as_bytes());
        self.count = self.count.saturating_add(1);
        Poll::Ready(Ok(()))
    }
}

/// An output that notes when it is written to.
struct Noted(Work);

impl AsyncWrite for Noted {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().push("write");
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The pause that a snapshot causes does not depend on its size: at most one part comes between a
/// request and its reply. Requests that never stop do not stop the snapshot, either.
#[tokio::test]
async fn a_request_that_waits_is_answered_before_the_next_part_of_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().into()), ..Config::default() };
    let work = Work::default();
    let node = RawNode::new(Observed(Keeper::default(), Arc::clone(&work)), [7; 32], true);
    let input = Endless { count: 0, work: Arc::clone(&work) };
    let output = Noted(Arc::clone(&work));
    drive(node, &config, input, output, std::future::pending()).await.unwrap();
    let work = work.lock().unwrap();
    assert_eq!(work.iter().filter(|what| **what == "part").count(), 20);
    assert!(!work.windows(2).any(|pair| pair == ["part", "part"]), "{work:?}");
}

#[test]
fn the_wall_clock_follows_the_machines_within_a_millisecond_even_if_that_jumps() {
    let (us, s) = (Duration::from_micros, Duration::from_secs);
    let mut clocks = Clocks { started: Instant::now(), wall: (s(1_000), us(0)) };
    let table = [
        // The time since the start, the machine's wall clock, and the one that the node is told.
        (us(999), None, s(1_000) + us(999)),
        (us(1_000), Some(s(2_000)), s(2_000)),
        (us(1_900), None, s(2_000) + us(900)),
        (us(5_000), Some(s(500)), s(500)),
        (us(5_001), None, s(500) + us(1)),
        (s(9), Some(s(508)), s(508)),
    ];
    for (monotonic, machine, wall) in table {
        let clock = clocks.at(monotonic, || machine.expect("no reading is due"));
        assert_eq!(clock, Clock { monotonic, wall });
    }
}
