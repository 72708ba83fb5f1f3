//! How fast the checker is: messages and operations a second of fixed simulations, and operations a
//! second of each checker over the histories of these simulations.
//!
//! Beside a simulation is its floor: serde_json reads as many messages of the same mean size into
//! values. Beside a checker is its floor: serde_json writes the history, as JSON lines.

#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::print_stdout, reason = "this is where the results go")]
#![expect(clippy::arithmetic_side_effects, reason = "figures of times")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use broadcast::Broadcast;
use kafka_log::KafkaLog;
use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
use maelstrom_sim::Test;
use maelstrom_sim::options::{Latency, Options};
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::workload::{self, Workload};
use maelstrom_sim::world::World;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use txn_rw::TxnRw;

/// Registers of a single node, for `lin-kv`.
#[derive(Default)]
struct Registers(BTreeMap<String, Value>);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Read { key: Value },
    Write { key: Value, value: Value },
    Cas { key: Value, from: Value, to: Value },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the protocol's names")]
enum Reply {
    ReadOk { value: Value },
    WriteOk,
    CasOk,
}

impl MessageHandler for Registers {
    type Payload = Payload;
    type Event = NoEvent;

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let missing = || Error::key_does_not_exist("no such key");
        let reply = match payload {
            Payload::Read { key } => {
                let value = self.0.get(&key.to_string()).ok_or_else(missing)?.clone();
                Reply::ReadOk { value }
            }
            Payload::Write { key, value } => {
                self.0.insert(key.to_string(), value);
                Reply::WriteOk
            }
            Payload::Cas { key, from, to } => {
                let value = self.0.get_mut(&key.to_string()).ok_or_else(missing)?;
                if *value != from {
                    return Err(Error::precondition_failed("another value"));
                }
                *value = to;
                Reply::CasOk
            }
        };
        node.reply(request, &reply);
        Ok(())
    }
}

/// The seconds of virtual time of a simulation, and the operations a second.
const SECONDS: u64 = 20;
const RATE: f64 = 200.0;

/// How often each simulation runs.
const ROUNDS: usize = 3;

fn options(nodes: usize) -> Options {
    let mut options = Options::default().with_node_count(nodes);
    options.concurrency = 20;
    options.time_limit = Duration::from_secs(SECONDS);
    options.rate = RATE;
    options.latency = Latency { mean_ms: 5, ..Latency::default() };
    options.seed = 42;
    options
}

/// The shortest of several times: a disturbance can only add to a time.
fn shortest<T>(mut run: impl FnMut() -> T) -> (Duration, Option<T>) {
    let (mut best, mut last) = (Duration::MAX, None);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        last = Some(black_box(run()));
        best = best.min(begin.elapsed());
    }
    (best, last)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for a table")]
fn a_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Prints the rows of a workload.
fn measure<W: Workload + Clone>(
    workload: &W,
    nodes: usize,
    run: impl Fn(Test) -> World,
    checks: &mut Vec<String>,
) {
    let (time, world) = shortest(|| run(Test::new(workload.clone(), options(nodes))));
    let Some(world) = world else { return };
    // Not its verdict: by default, the transactions are judged by a stricter model than the nodes'.
    if let Some(failure) = world.failure() {
        return println!("| {}: {failure:?} |", workload.name());
    }
    let (stats, tally) = (world.net_stats(), world.history().tally());
    let messages = stats.clients.sent + stats.servers.sent;
    let bytes = stats.clients.sent_bytes + stats.servers.sent_bytes;
    let operations = tally.ok + tally.fail + tally.info;
    let size = usize::try_from(bytes / messages.max(1)).unwrap_or(0);
    let text = format!(r#"{{"src":"n1","dest":"n2","body":{{"x":"{}"}}}}"#, "x".repeat(size));
    let (floor, _) = shortest(|| {
        (0..messages).filter(|_| serde_json::from_str::<Value>(black_box(&text)).is_ok()).count()
    });
    let name = workload.name();
    println!(
        "| {name}, {nodes} nodes | {operations} | {messages} | {:.0} | {:.0} | {:.1} |",
        a_second(messages, time),
        a_second(messages, floor),
        time.as_secs_f64() / floor.as_secs_f64()
    );
    let history = world.history();
    let (time, _) = shortest(|| world.workload().check(history));
    let (floor, _) = shortest(|| history.write_jsonl(&mut Vec::new()).is_ok());
    checks.push(format!(
        "| {name} | {operations} | {:.0} | {:.0} | {:.1} |",
        a_second(operations, time),
        a_second(operations, floor),
        time.as_secs_f64() / floor.as_secs_f64()
    ));
}

fn main() {
    let mut checks = Vec::new();
    println!(
        "| simulation | operations | messages | messages a second | floor | quotient |\n\
         |---|--:|--:|--:|--:|--:|"
    );
    let broadcast = |test| simulate(test, |_| Broadcast::default());
    measure(&workload::Broadcast::default(), 5, broadcast, &mut checks);
    let kafka = |test| simulate(test, |_| KafkaLog::default());
    measure(&workload::Kafka::default(), 5, kafka, &mut checks);
    let txn_rw = |test| simulate(test, |_| TxnRw::new(txn_rw::Config::default()));
    measure(&workload::TxnRwRegister::default(), 5, txn_rw, &mut checks);
    let lin_kv = |test| simulate(test, |_| Registers::default());
    measure(&workload::LinKv::default(), 1, lin_kv, &mut checks);
    println!(
        "\n| checker | operations | operations a second | floor | quotient |\n\
         |---|--:|--:|--:|--:|"
    );
    println!("{}", checks.join("\n"));
}
