//! The cost of decoding a line, and of answering one.
//!
//! Beside each of criterion's figures is the figure of serde_json alone, which reads the same line
//! into a flat struct. That is close to a lower bound. The load of the machine changes from moment
//! to moment, so the table at the end measures both in turns, and shows the quotient of their
//! medians.

#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::print_stdout, reason = "this is where the results go")]
#![expect(clippy::panic, reason = "a benchmark of the wrong thing must not go on")]
#![expect(clippy::arithmetic_side_effects, reason = "figures of times")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, Output, RawNode, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Answers echoes, and reads gossip.
#[derive(Default)]
struct Reader {
    sum: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Echo { echo: Box<RawValue> },
    EchoOk { echo: Box<RawValue> },
    Gossip { values: Vec<u64> },
}

impl MessageHandler for Reader {
    type Payload = Payload;
    type Event = NoEvent;

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Echo { echo } => node.reply(request, &Payload::EchoOk { echo }),
            Payload::EchoOk { .. } => {}
            Payload::Gossip { values } => {
                self.sum = self.sum.wrapping_add(black_box(values).len() as u64);
            }
        }
        Ok(())
    }
}

/// All fields of a line of gossip.
#[derive(Deserialize)]
struct FlatGossip<'a> {
    src: &'a str,
    dest: &'a str,
    body: FlatGossipBody<'a>,
}

#[derive(Deserialize)]
struct FlatGossipBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    msg_id: Option<u64>,
    values: Vec<u64>,
}

/// All fields of an echo.
#[derive(Deserialize)]
struct FlatEcho<'a> {
    #[serde(borrow)]
    src: &'a str,
    dest: &'a str,
    body: FlatEchoBody<'a>,
}

#[derive(Deserialize)]
struct FlatEchoBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    msg_id: Option<u64>,
    #[serde(borrow)]
    echo: &'a RawValue,
}

#[derive(Serialize)]
struct FlatReply<'a> {
    src: &'a str,
    dest: &'a str,
    body: FlatReplyBody<'a>,
}

#[derive(Serialize)]
struct FlatReplyBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    in_reply_to: Option<u64>,
    echo: &'a RawValue,
}

/// A node that knows its name.
fn started() -> RawNode<Reader> {
    let mut node = RawNode::new(Reader::default(), [7; 32], false);
    let init = r#"{"src":"c0","dest":"n1",
        "body":{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}}"#;
    take(&mut node, init);
    node
}

/// Handles a line as the runtime does. Returns the length of the output.
fn take(node: &mut RawNode<Reader>, line: &str) -> usize {
    node.handle_line(Clock::default(), line.as_bytes());
    let mut bytes = 0;
    while let Some(Output::Lines(lines)) = node.poll_output() {
        bytes = lines.len();
        node.reuse(lines);
    }
    bytes
}

fn gossip_line() -> String {
    // Spread as widely as the values of Maelstrom's clients, mostly of five or six digits.
    let values: Vec<u64> = (0..1_000_u64).map(|n| n.wrapping_mul(7_919) % 1_000_000).collect();
    format!(
        r#"{{"src":"n2","dest":"n1","body":{{"type":"gossip","values":{}}}}}"#,
        serde_json::json!(values)
    )
}

/// The order of fields is that of Maelstrom's client.
const ECHO: &str =
    r#"{"id":7,"src":"c1","dest":"n1","body":{"echo":"Please echo 42","type":"echo","msg_id":3}}"#;

fn read_flat_gossip(line: &str) -> usize {
    let Ok(flat) = serde_json::from_slice::<FlatGossip<'_>>(line.as_bytes()) else {
        panic!("not gossip: {line}");
    };
    black_box((flat.src, flat.dest, flat.body.kind, flat.body.msg_id));
    black_box(flat.body.values).len()
}

fn answer_flat_echo(line: &str, out: &mut Vec<u8>) -> usize {
    let Ok(flat) = serde_json::from_slice::<FlatEcho<'_>>(line.as_bytes()) else {
        panic!("not an echo: {line}");
    };
    black_box(flat.body.kind);
    let (kind, in_reply_to, echo) = ("echo_ok", flat.body.msg_id, flat.body.echo);
    let body = FlatReplyBody { kind, in_reply_to, echo };
    let reply = FlatReply { src: flat.dest, dest: flat.src, body };
    out.clear();
    if serde_json::to_writer(&mut *out, &reply).is_err() {
        panic!("no JSON form");
    }
    out.push(b'\n');
    black_box(out).len()
}

fn criterion_benches(criterion: &mut Criterion) {
    let gossip = gossip_line();
    let (mut node, mut out) = (started(), Vec::new());
    let mut group = criterion.benchmark_group("gossip of 1,000 integers");
    group.throughput(Throughput::Bytes(gossip.len() as u64));
    group.bench_function("node", |bencher| bencher.iter(|| take(&mut node, black_box(&gossip))));
    group.bench_function("flat struct", |b| b.iter(|| read_flat_gossip(black_box(&gossip))));
    group.finish();
    let mut group = criterion.benchmark_group("echo, decoded and answered");
    group.throughput(Throughput::Elements(1));
    group.bench_function("node", |bencher| bencher.iter(|| take(&mut node, black_box(ECHO))));
    group.bench_function("flat structs", |bencher| {
        bencher.iter(|| answer_flat_echo(black_box(ECHO), &mut out));
    });
    group.finish();
}

/// Number of measurements of each of the two.
const ROUNDS: usize = 301;

/// Approximate duration of a measurement.
const ROUND: Duration = Duration::from_millis(3);

fn time(calls: u32, mut call: impl FnMut() -> usize) -> Duration {
    let begin = Instant::now();
    for _ in 0..calls {
        black_box(call());
    }
    begin.elapsed() / calls
}

/// One row of the table: two ways to do the same, measured in turns.
fn row(name: &str, mut node: impl FnMut() -> usize, mut flat: impl FnMut() -> usize) {
    let once = time(100, &mut flat).as_nanos().max(1);
    let calls = u32::try_from(ROUND.as_nanos() / once).unwrap_or(u32::MAX).max(1);
    let mut times: Vec<(Duration, Duration)> =
        (0..ROUNDS).map(|_| (time(calls, &mut node), time(calls, &mut flat))).collect();
    let mut median = |of: fn(&(Duration, Duration)) -> Duration| {
        times.sort_unstable_by_key(of);
        times.get(ROUNDS / 2).map_or(Duration::ZERO, of)
    };
    let (node, flat) = (median(|both| both.0), median(|both| both.1));
    let quotient = node.as_secs_f64() / flat.as_secs_f64();
    println!("| {name} | {node:.2?} | {flat:.2?} | {quotient:.2} |");
}

fn table() {
    let gossip = gossip_line();
    let (mut node, mut other, mut out) = (started(), started(), Vec::new());
    println!("\n| line | node | serde_json, flat structs | quotient |\n|---|--:|--:|--:|");
    row("gossip of 1,000 integers", || take(&mut node, &gossip), || read_flat_gossip(&gossip));
    row("echo", || take(&mut other, ECHO), || answer_flat_echo(ECHO, &mut out));
    let mut counting = started();
    counting.record_metrics();
    let metered = "echo, with metrics on";
    row(metered, || take(&mut counting, ECHO), || answer_flat_echo(ECHO, &mut out));
}

criterion_group!(benches, criterion_benches);

fn main() {
    // `cargo test` only checks that the benchmarks run: it needs no figures.
    let test = std::env::args().any(|arg| arg == "--test");
    benches();
    if test {
        return;
    }
    Criterion::default().configure_from_args().final_summary();
    table();
}
