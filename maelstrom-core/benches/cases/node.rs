//! How nodes handle the lines.

use std::hint::black_box;
use std::time::Duration;

use broadcast::Broadcast;
use kafka_log::KafkaLog;
use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, Output, RawNode, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{COUNT, ECHO, READ, Run, SEND, broadcast_line, fail, gossip_line, thousand};

/// Answers echoes, reads gossip, and lists numbers.
#[derive(Default)]
struct Reader {
    sum: u64,
    numbers: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Echo { echo: Box<RawValue> },
    Gossip { values: Vec<u64> },
    Count,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<'a> {
    EchoOk { echo: Box<RawValue> },
    CountOk { values: &'a [u64] },
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
            Payload::Echo { echo } => node.reply(request, &Reply::EchoOk { echo }),
            Payload::Gossip { values } => {
                self.sum = self.sum.wrapping_add(black_box(values).len() as u64);
            }
            Payload::Count => node.reply(request, &Reply::CountOk { values: &self.numbers }),
        }
        Ok(())
    }
}

/// A node that has been started.
struct Started<H: MessageHandler> {
    node: RawNode<H>,
    /// The lines of the last call.
    said: Vec<u8>,
}

impl<H: MessageHandler> Started<H> {
    fn new(handler: H, name: &str, all: &str) -> Self {
        let node = RawNode::new(handler, [7; 32], false);
        let mut started = Self { node, said: Vec::new() };
        started.take(
            Clock::default(),
            &format!(
                r#"{{"src":"c0","dest":"{name}",
                "body":{{"type":"init","msg_id":1,"node_id":"{name}","node_ids":{all}}}}}"#
            ),
        );
        started
    }

    /// Handles a line as the runtime does. Returns the length of the output.
    fn take(&mut self, clock: Clock, line: &str) -> usize {
        self.node.handle_line(clock, line.as_bytes());
        self.collect()
    }

    /// Fires the timers that are due by then.
    fn wake(&mut self, clock: Clock) -> usize {
        self.node.handle_timeout(clock);
        self.collect()
    }

    fn collect(&mut self) -> usize {
        let mut bytes = 0_usize;
        while let Some(Output::Lines(lines)) = self.node.poll_output() {
            bytes = bytes.saturating_add(lines.len());
            self.node.reuse(std::mem::replace(&mut self.said, lines));
        }
        if bytes == 0 {
            self.said.clear();
        }
        bytes
    }

    /// Answers the same line again and again.
    fn repeat(mut self, line: String, is_answered: bool) -> Run
    where
        H: 'static,
    {
        if (self.take(Clock::default(), &line) > 0) != is_answered {
            fail(&format!("answered: {}", !is_answered));
        }
        Box::new(move || self.take(Clock::default(), black_box(&line)))
    }
}

const LONE: &str = r#"["n1"]"#;
const TWO: &str = r#"["n1","n2"]"#;

pub(super) fn echo() -> Run {
    Started::new(Reader::default(), "n1", TWO).repeat(ECHO.into(), true)
}

pub(super) fn echo_with_metrics() -> Run {
    let mut started = Started::new(Reader::default(), "n1", TWO);
    started.node.record_metrics();
    started.repeat(ECHO.into(), true)
}

pub(super) fn gossip() -> Run {
    Started::new(Reader::default(), "n1", TWO).repeat(gossip_line(), false)
}

pub(super) fn encode() -> Run {
    let reader = Reader { sum: 0, numbers: thousand() };
    Started::new(reader, "n1", TWO).repeat(COUNT.into(), true)
}

pub(super) fn kafka_send() -> Run {
    let mut started = Started::new(KafkaLog::default(), "n1", LONE);
    // The first send to a partition may wait until the node leads it.
    started.take(Clock::default(), SEND);
    started.repeat(SEND.into(), true)
}

pub(super) fn broadcast_read() -> Run {
    let mut started = Started::new(Broadcast::default(), "n1", LONE);
    for value in thousand() {
        started.take(Clock::default(), &broadcast_line(value));
    }
    started.repeat(READ.into(), true)
}

/// Two nodes, and the time.
struct Pair {
    nodes: [Started<Broadcast>; 2],
    clock: Clock,
    next_value: u64,
}

impl Pair {
    /// Lets a thousand new values reach both nodes. Returns how many the second one has.
    fn round(&mut self) -> usize {
        let [first, second] = &mut self.nodes;
        for _ in 0..1_000 {
            first.take(self.clock, &broadcast_line(self.next_value));
            self.next_value = self.next_value.saturating_add(1);
        }
        for _ in 0..1_000 {
            self.clock.monotonic = self.clock.monotonic.saturating_add(Duration::from_millis(1));
            first.wake(self.clock);
            pass(first, second, self.clock);
            second.wake(self.clock);
            pass(second, first, self.clock);
            let count = second.node.handler().gossip().state().len();
            if u64::try_from(count) == Ok(self.next_value) {
                return count;
            }
        }
        fail("the values do not arrive");
    }
}

/// Passes the output of a node on to the other one, and its answer back.
fn pass(from: &mut Started<Broadcast>, to: &mut Started<Broadcast>, clock: Clock) {
    let said = std::mem::take(&mut from.said);
    let mut answers = Vec::new();
    for line in said.split_inclusive(|byte| *byte == b'\n') {
        to.node.handle_line(clock, line);
        to.collect();
        answers.append(&mut to.said);
    }
    for line in answers.split_inclusive(|byte| *byte == b'\n') {
        from.node.handle_line(clock, line);
        from.collect();
    }
}

pub(super) fn broadcast_batch() -> Run {
    let nodes = ["n1", "n2"].map(|name| Started::new(Broadcast::default(), name, TWO));
    let mut pair = Pair { nodes, clock: Clock::default(), next_value: 0 };
    pair.round();
    Box::new(move || pair.round())
}
