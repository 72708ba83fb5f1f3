//! The requests that are measured.

use std::io;

use crate::process::{Cost, Process};

/// A way to send requests.
pub(crate) type Run = fn(&mut Process, &[String]) -> io::Result<Cost>;

/// Requests to a node that is alone.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    pub(crate) args: &'static [&'static str],
    /// Whether the node keeps its records on disk. The floor then syncs a file.
    pub(crate) is_durable: bool,
    /// How many requests `setup` makes.
    pub(crate) values: u64,
    /// A request before the measurement, by its number.
    pub(crate) setup: fn(u64) -> String,
    /// A request, by its number.
    pub(crate) request: fn(u64) -> String,
    /// The number of requests of a round.
    pub(crate) requests: u64,
    pub(crate) run: Run,
}

/// One line of a client.
fn line(number: u64, body: &str) -> String {
    format!(r#"{{"id":{number},"src":"c1","dest":"n1","body":{{{body},"msg_id":{}}}}}"#, number + 2)
        + "\n"
}

fn echo(number: u64) -> String {
    line(number, r#""type":"echo","echo":"Please echo 42""#)
}

pub(crate) fn broadcast(number: u64) -> String {
    line(number, &format!(r#""type":"broadcast","message":{number}"#))
}

fn read(number: u64) -> String {
    line(number, r#""type":"read""#)
}

pub(crate) fn send(number: u64) -> String {
    line(number, &format!(r#""type":"send","key":"7","msg":{number}"#))
}

fn poll(number: u64) -> String {
    line(number, r#""type":"poll","offsets":{"7":0}"#)
}

fn txn_of(number: u64, operations: u64) -> String {
    let operations: Vec<String> = (0..operations)
        .map(|at| match at % 2 {
            0 => format!(r#"["w",{},{number}]"#, at % 10),
            _ => format!(r#"["r",{},null]"#, at % 10),
        })
        .collect();
    line(number, &format!(r#""type":"txn","txn":[{}]"#, operations.join(",")))
}

fn txn_1(number: u64) -> String {
    txn_of(number, 1)
}

fn txn_100(number: u64) -> String {
    txn_of(number, 100)
}

const ECHO: Case = Case {
    name: "echo, in bulk",
    program: "echo",
    args: &[],
    is_durable: false,
    values: 0,
    setup: echo,
    request: echo,
    requests: 50_000,
    run: Process::bulk,
};

const READ: Case = Case {
    name: "broadcast: read of 10 values",
    program: "broadcast",
    values: 10,
    setup: broadcast,
    request: read,
    requests: 20_000,
    ..ECHO
};

const SEND: Case = Case {
    name: "kafka-log: send",
    program: "kafka-log",
    setup: send,
    request: send,
    requests: 10_000,
    ..ECHO
};

const PING_PONG: Case =
    Case { name: "echo, ping-pong", requests: 20_000, run: Process::ping_pong, ..ECHO };

const TXN: Case = Case {
    name: "txn-rw: 1 operation",
    program: "txn-rw",
    setup: txn_1,
    request: txn_1,
    requests: 20_000,
    ..ECHO
};

/// On a port that the system chooses.
const METRICS: &[&str] = &["--metrics", "127.0.0.1:0"];

/// All cases.
pub(crate) const CASES: &[Case] = &[
    ECHO,
    PING_PONG,
    Case { name: "echo with --metrics, in bulk", args: METRICS, ..ECHO },
    Case { name: "echo with --metrics, ping-pong", args: METRICS, ..PING_PONG },
    READ,
    Case { name: "broadcast: read of 1,000 values", values: 1_000, requests: 5_000, ..READ },
    Case { name: "broadcast: read of 100,000 values", values: 100_000, requests: 50, ..READ },
    Case { name: "broadcast: a value", values: 0, request: broadcast, ..READ },
    Case {
        name: "broadcast: a value, with --data-dir",
        values: 0,
        request: broadcast,
        is_durable: true,
        ..READ
    },
    TXN,
    Case { name: "txn-rw: 100 operations", request: txn_100, requests: 1_000, ..TXN },
    SEND,
    Case { name: "kafka-log: send, with --data-dir", is_durable: true, ..SEND },
    Case {
        name: "kafka-log: poll of 1,000 messages",
        values: 1_000,
        request: poll,
        requests: 1_000,
        ..SEND
    },
    Case {
        name: "kafka-log: poll of 1,000 messages, with --data-dir",
        values: 1_000,
        request: poll,
        requests: 1_000,
        is_durable: true,
        ..SEND
    },
];
