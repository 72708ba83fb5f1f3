//! The lines that are measured: each case has the way of a node and a floor, which does as little
//! as any program could do for the same line.
//!
//! `lines.rs` measures their times, and `instructions.rs` is for counting their instructions.

mod floor;
mod node;

/// One way to handle the line of a case, once. Returns the number of bytes or values that came of
/// it.
pub(crate) type Run = Box<dyn FnMut() -> usize>;

/// A line, and the two ways to handle it.
pub(crate) struct Case {
    /// For the command line.
    pub(crate) name: &'static str,
    /// For tables.
    pub(crate) about: &'static str,
    /// Handles the line as the runtime does.
    pub(crate) node: fn() -> Run,
    /// The floor.
    pub(crate) floor: fn() -> Run,
}

/// All cases.
pub(crate) const CASES: &[Case] = &[
    Case { name: "echo", about: "echo: decode, answer", node: node::echo, floor: floor::echo },
    Case {
        name: "echo-metrics",
        about: "echo, with metrics on",
        node: node::echo_with_metrics,
        floor: floor::echo,
    },
    Case {
        name: "gossip",
        about: "gossip of 1,000 integers: decode",
        node: node::gossip,
        floor: floor::gossip,
    },
    Case {
        name: "encode",
        about: "reply with 1,000 integers: encode",
        node: node::encode,
        floor: floor::encode,
    },
    Case {
        name: "kafka-send",
        about: "kafka-log: a send to a lone node",
        node: node::kafka_send,
        floor: floor::kafka_send,
    },
    Case {
        name: "broadcast-read",
        about: "broadcast: a read of 1,000 values",
        node: node::broadcast_read,
        floor: floor::broadcast_read,
    },
    Case {
        name: "broadcast-batch",
        about: "broadcast: 1,000 values to a node, and in one batch to another",
        node: node::broadcast_batch,
        floor: floor::broadcast_batch,
    },
];

/// A node that runs only to be measured as it should be, or the program ends.
pub(crate) fn fail(why: &str) -> ! {
    panic!("{why}");
}

/// Spread as widely as the values of Maelstrom's clients, mostly of five or six digits.
fn thousand() -> Vec<u64> {
    (0..1_000_u64).map(|n| n.wrapping_mul(7_919) % 1_000_000).collect()
}

/// The order of fields is that of Maelstrom's client.
const ECHO: &str =
    r#"{"id":7,"src":"c1","dest":"n1","body":{"echo":"Please echo 42","type":"echo","msg_id":3}}"#;

const COUNT: &str = r#"{"id":7,"src":"c1","dest":"n1","body":{"type":"count","msg_id":3}}"#;

const READ: &str = r#"{"id":7,"src":"c1","dest":"n1","body":{"type":"read","msg_id":3}}"#;

const SEND: &str =
    r#"{"id":7,"src":"c1","dest":"n1","body":{"type":"send","key":"7","msg":4217,"msg_id":3}}"#;

fn gossip_line() -> String {
    let values = serde_json::json!(thousand());
    format!(r#"{{"src":"n2","dest":"n1","body":{{"type":"gossip","values":{values}}}}}"#)
}

fn broadcast_line(value: u64) -> String {
    format!(
        r#"{{"id":7,"src":"c1","dest":"n1","body":{{"type":"broadcast","message":{value},"msg_id":3}}}}"#
    )
}
