//! Tests a node and its disk on a simulated machine.

use std::cell::RefCell;
use std::rc::Rc;

use maelstrom_core::{Error, Node, Request};
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::simulate::clock::WALL_CLOCK_START;

const SYNC: Duration = ms(10);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Records everything that happens to the node.
struct Diary(Rc<RefCell<Vec<String>>>);

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Note {
        text: String,
    },
    /// A request to persist a record and acknowledge it.
    Keep {
        n: u64,
    },
    KeepOk,
    Wake {
        ms: u64,
    },
    Clock,
}

impl Diary {
    fn write(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }
}

impl MessageHandler for Diary {
    type Payload = Payload;
    type Event = ();

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.write(format!("had {}", String::from_utf8_lossy(record)));
        Ok(())
    }

    fn started(&mut self, node: &mut Node<()>) {
        let luck = node.rng().next_u64();
        self.write(format!("luck {luck}"));
    }

    fn message(
        &mut self,
        node: &mut Node<()>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Note { text } => self.write(text),
            Payload::Keep { n } => {
                node.persist(&n);
                node.reply(request, &Payload::KeepOk);
            }
            Payload::Wake { ms: after } => node.set_timer(ms(after), ()),
            Payload::Clock => {
                let off = node.wall_clock().as_millis().cast_signed();
                let right = (WALL_CLOCK_START + node.now()).as_millis().cast_signed();
                self.write(format!("{} ms off", off - right));
            }
            Payload::KeepOk => {}
        }
        Ok(())
    }

    fn event(&mut self, _: &mut Node<()>, (): ()) {
        self.write("awake");
    }
}

struct Bench {
    machine: Machine<'static>,
    diary: Rc<RefCell<Vec<String>>>,
}

fn line(body: &Value) -> Vec<u8> {
    json!({ "src": "c1", "dest": "n0", "body": body }).to_string().into_bytes()
}

fn init() -> Vec<u8> {
    line(&json!({ "type": "init", "msg_id": 1, "node_id": "n0", "node_ids": ["n0"] }))
}

impl Bench {
    /// A node that has received `init`.
    fn new() -> Self {
        let diary = Rc::default();
        let node = RawNode::new(Diary(Rc::clone(&diary)), [0; 32], true);
        let mut bench = Self { machine: Machine::new(Box::new(node), Disk::default()), diary };
        bench.machine.deliver(ms(0), init());
        assert_eq!(bench.said(0), 1);
        bench.read();
        bench
    }

    fn deliver(&mut self, at: u64, body: &Value) {
        self.machine.deliver(ms(at), line(body));
    }

    fn keep(&mut self, at: u64, n: u64) {
        self.deliver(at, &json!({ "type": "keep", "msg_id": n, "n": n }));
    }

    fn note(&mut self, at: u64, text: &str) {
        self.deliver(at, &json!({ "type": "note", "text": text }));
    }

    /// Starts a new process with empty memory.
    fn restart(&mut self, at: u64) {
        let node = RawNode::new(Diary(Rc::clone(&self.diary)), [0; 32], true);
        self.machine.restart(ms(at), Box::new(node));
    }

    /// How many lines leave the machine.
    fn said(&mut self, at: u64) -> usize {
        let next = || self.machine.next_lines(ms(at), || SYNC);
        let lines = std::iter::from_fn(next);
        lines.map(|lines| lines.iter().filter(|byte| **byte == b'\n').count()).sum()
    }

    /// The entries since the last call.
    fn read(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.diary.borrow_mut())
    }
}

#[test]
fn a_line_behind_a_record_leaves_when_the_record_is_safe() {
    let mut bench = Bench::new();
    bench.keep(100, 7);
    assert_eq!((bench.said(100), bench.said(109)), (0, 0));
    assert_eq!(bench.machine.poll_timeout(), Some(ms(110)));
    assert_eq!(bench.said(110), 1);
    assert_eq!(bench.machine.disk.records, [b"7"]);
}

#[test]
fn one_sync_covers_the_records_that_wait_when_it_begins_and_no_later_ones() {
    let mut bench = Bench::new();
    bench.keep(100, 1);
    assert_eq!(bench.said(100), 0);
    for n in [2, 3] {
        bench.keep(105, n);
    }
    assert_eq!((bench.said(105), bench.said(110)), (0, 1));
    assert_eq!((bench.said(119), bench.said(120)), (0, 2));
    assert_eq!(bench.machine.disk.records, [b"1", b"2", b"3"]);
}

#[test]
fn a_crash_takes_unsafe_records_with_all_that_was_to_follow_and_leaves_safe_ones() {
    let mut bench = Bench::new();
    bench.keep(100, 1);
    assert_eq!((bench.said(100), bench.said(110)), (0, 1));
    bench.keep(120, 2);
    bench.deliver(120, &json!({ "type": "wake", "ms": 5 }));
    assert_eq!(bench.said(120), 0);
    bench.machine.crash();
    assert_eq!(bench.machine.disk.records, [b"1"]);
    assert_eq!((bench.said(200), bench.machine.poll_timeout()), (0, None));
    bench.restart(220);
    bench.machine.deliver(ms(220), init());
    assert_eq!(bench.said(220), 1);
    bench.machine.handle_timeout(ms(300));
    assert!(matches!(&bench.read()[..], [luck] if luck.starts_with("luck")));
    // The crash has also ended the sync.
    bench.keep(301, 3);
    assert_eq!((bench.said(301), bench.said(310), bench.said(311)), (0, 0, 1));
}

#[test]
fn a_paused_node_does_nothing_and_goes_on_with_all_that_has_come_meanwhile() {
    let mut bench = Bench::new();
    bench.deliver(0, &json!({ "type": "wake", "ms": 50 }));
    assert_eq!(bench.machine.poll_timeout(), Some(ms(50)));
    bench.machine.pause();
    bench.note(10, "first");
    bench.note(20, "second");
    assert_eq!(bench.machine.poll_timeout(), None);
    bench.machine.handle_timeout(ms(60));
    assert_eq!(bench.read(), Vec::<String>::new());
    bench.machine.resume(ms(100));
    assert_eq!(bench.read(), ["first", "second"]);
    bench.machine.handle_timeout(ms(100));
    assert_eq!(bench.read(), ["awake"]);
}

#[test]
fn a_paused_node_says_nothing_even_if_its_record_is_safe_meanwhile() {
    let mut bench = Bench::new();
    bench.keep(100, 1);
    assert_eq!(bench.said(100), 0);
    bench.machine.pause();
    assert_eq!((bench.said(110), bench.machine.poll_timeout()), (0, None));
    bench.machine.resume(ms(120));
    assert_eq!((bench.said(120), &bench.machine.disk.records[..]), (1, &[b"1".to_vec()][..]));
}

#[test]
fn a_wall_clock_that_is_off_is_so_in_its_direction() {
    let mut bench = Bench::new();
    for off in [5_000, -5_000, 0] {
        bench.machine.clock.offset_ms = off;
        bench.deliver(10, &json!({ "type": "clock" }));
        assert_eq!(bench.read(), [format!("{off} ms off")]);
    }
}

#[test]
fn a_node_that_crashes_while_it_is_paused_comes_back_running_and_empty() {
    let mut bench = Bench::new();
    bench.machine.pause();
    bench.note(10, "lost");
    bench.machine.crash();
    bench.restart(20);
    bench.machine.deliver(ms(20), init());
    assert_eq!((bench.said(20), bench.read().len()), (1, 1));
    bench.machine.resume(ms(30));
    assert_eq!(bench.read(), Vec::<String>::new());
}

#[test]
fn lines_for_a_node_that_is_down_reach_its_next_process_before_its_init() {
    let mut bench = Bench::new();
    bench.machine.crash();
    bench.machine.pause();
    bench.deliver(10, &json!({ "type": "clock", "msg_id": 7 }));
    bench.machine.resume(ms(15));
    assert_eq!((bench.said(15), bench.machine.poll_timeout()), (0, None));
    bench.restart(20);
    // The request now waits for `init`.
    assert_eq!((bench.said(20), bench.read().len()), (0, 0));
    bench.machine.deliver(ms(20), init());
    assert_eq!(bench.said(20), 1);
    assert!(matches!(&bench.read()[..], [_, clock] if clock == "0 ms off"));
}

#[test]
fn on_a_slow_disk_each_sync_takes_longer_and_later_lines_wait() {
    let mut bench = Bench::new();
    bench.machine.sync.slower_by = ms(500);
    bench.keep(100, 1);
    assert_eq!((bench.said(100), bench.said(609)), (0, 0));
    assert_eq!(bench.machine.poll_timeout(), Some(ms(610)));
    assert_eq!(bench.said(610), 1);
    bench.machine.sync.slower_by = ms(0);
    bench.keep(700, 2);
    assert_eq!((bench.said(700), bench.said(710)), (0, 1));
}

#[test]
fn on_a_stalled_disk_nothing_becomes_durable_and_nothing_after_a_record_leaves_before_the_end() {
    let mut bench = Bench::new();
    bench.keep(100, 1);
    assert_eq!(bench.said(100), 0);
    bench.machine.sync.is_stalled = true;
    bench.keep(105, 2);
    bench.deliver(106, &json!({ "type": "note", "text": "heard" }));
    assert_eq!((bench.said(110), bench.said(9_000)), (0, 0));
    assert_eq!((bench.machine.poll_timeout(), bench.read()), (None, vec!["heard".to_owned()]));
    assert_eq!(bench.machine.disk.records.len(), 0);
    bench.machine.sync.is_stalled = false;
    assert_eq!(bench.machine.poll_timeout(), Some(ms(110)));
    assert_eq!((bench.said(9_001), bench.said(9_011)), (1, 1));
    assert_eq!(bench.machine.disk.records, [b"1", b"2"]);
}

#[test]
fn a_failing_sync_ends_the_node_which_says_nothing_and_has_some_of_its_first_records() {
    let mut kept = std::collections::BTreeSet::new();
    let mut rng = crate::rng::stream(1, crate::rng::Stream::Disks);
    for _ in 0..40 {
        let mut bench = Bench::new();
        bench.machine.sync.is_failing = true;
        for n in [1, 2] {
            bench.keep(100, n);
        }
        assert_eq!(bench.said(100), 0);
        bench.keep(105, 3);
        assert_eq!((bench.said(109), bench.machine.sync.has_failed()), (0, false));
        assert_eq!((bench.said(110), bench.machine.sync.has_failed()), (0, true));
        assert_eq!(bench.said(111), 0);
        bench.machine.end_by_disk(&mut rng);
        assert!(bench.machine.node.is_none() && !bench.machine.sync.has_failed());
        kept.insert(bench.machine.disk.records.concat());
        bench.machine.sync.is_failing = false;
        bench.restart(220);
        bench.machine.deliver(ms(220), init());
        bench.keep(301, 4);
        assert_eq!((bench.said(301), bench.said(311)), (1, 1));
        assert_eq!(bench.machine.disk.records.last().unwrap(), b"4");
    }
    // The third record was not part of the sync.
    assert_eq!(kept, [&b""[..], b"1", b"12"].map(Vec::from).into());
}

#[test]
fn a_sync_that_ends_after_the_repair_of_a_failing_disk_succeeds() {
    let mut bench = Bench::new();
    bench.machine.sync.is_failing = true;
    bench.keep(100, 1);
    assert_eq!(bench.said(100), 0);
    bench.machine.sync.is_failing = false;
    assert_eq!(bench.said(110), 1);
}

#[test]
fn the_timers_of_a_node_follow_its_clock() {
    for (per_mille, due) in [(250, 140), (-200, 162), (0, 150)] {
        let mut bench = Bench::new();
        bench.machine.clock.drift(ms(100), per_mille);
        bench.deliver(100, &json!({ "type": "wake", "ms": 50 }));
        // At 0.8 of the true rate, 50 ms take 62.5 ms.
        let at = bench.machine.poll_timeout().unwrap();
        assert_eq!(at.as_millis(), due);
        bench.machine.handle_timeout(at - Duration::from_nanos(1));
        assert_eq!(bench.read(), Vec::<String>::new());
        bench.machine.handle_timeout(at);
        assert_eq!(bench.read(), ["awake"]);
    }
}
