//! The node that the conformance suite talks to: one message type for each thing that a handler can
//! do, and nothing else. Its messages determine all that it does.

use std::time::Duration;

use clap::Parser;
use maelstrom_core::task::{Tasks, Wake};
use maelstrom_core::{
    Error, ErrorCode, MessageHandler, Node, NodeArgs, NodeId, Records, Request, RpcResult,
    SnapshotPosition,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Answers every request of the conformance suite. Speaks Maelstrom's protocol on stdin and stdout.
#[derive(Parser)]
#[command(name = "conformance-node", version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    #[cfg(feature = "disk")]
    #[command(flatten)]
    data: maelstrom_core::DataArgs,
}

fn main() -> anyhow::Result<()> {
    run(Cli::parse(), TestNode::default())
}

#[cfg(feature = "disk")]
fn run(cli: Cli, node: TestNode) -> anyhow::Result<()> {
    cli.node.run_with(&cli.data, node)
}

#[cfg(not(feature = "disk"))]
fn run(cli: Cli, node: TestNode) -> anyhow::Result<()> {
    cli.node.run(node)
}

#[derive(Default)]
struct TestNode {
    started: u64,
    counted: u64,
    calls_ended: u64,
    kept: u64,
    tasks: Tasks<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    /// Answers with the unchanged value.
    Echo { echo: Box<RawValue> },
    /// Answers with the values, decoded and encoded again.
    Typed(Values),
    /// Answers with this many bytes.
    Big { bytes: usize },
    /// Fails with this error.
    Fail { code: u64, text: String },
    /// Answers after this many milliseconds.
    Later { ms: u64 },
    /// Answers twice.
    Twice,
    /// Never answers.
    Nothing,
    /// Logs this many long lines, and then answers.
    Log { lines: u64 },
    /// Logs many lines and panics.
    Panic,
    /// Answers after a task with several steps, which logs a line after each.
    Task,
    /// Never answers, and sets a timer again and again.
    Busy { ms: u64 },
    /// Calls another node with a `ping`, and answers with the result.
    Call {
        dest: NodeId,
        timeout_ms: u64,
        /// Whether to repeat a failed call, for ever.
        #[serde(default)]
        insist: bool,
    },
    /// Has an effect, and answers if the message has an id.
    Count,
    /// Persists a record of this many bytes, and answers with the number of all such records.
    Keep { bytes: usize },
    /// Answers with everything that the node knows.
    Read,
}

#[derive(Deserialize, Serialize)]
struct Values {
    unsigned: u64,
    signed: i64,
    list: Vec<u64>,
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the protocol's way to name replies")]
enum Reply {
    EchoOk {
        echo: Box<RawValue>,
    },
    TypedOk(Values),
    BigOk {
        data: String,
    },
    LaterOk,
    LogOk,
    TaskOk,
    TwiceOk,
    /// The reply to the call was a `pong` with this value.
    CallOk {
        value: u64,
    },
    CountOk,
    KeepOk {
        kept: u64,
    },
    ReadOk {
        node_id: NodeId,
        node_ids: Vec<NodeId>,
        started: u64,
        counted: u64,
        calls_ended: u64,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Ping {
    Ping,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pong {
    Pong { value: u64 },
}

enum Event {
    Later(Request),
    Wake(Wake),
    Busy(Duration),
    Called(Call, RpcResult),
}

impl From<Wake> for Event {
    fn from(wake: Wake) -> Self {
        Self::Wake(wake)
    }
}

/// An open call, and the request that waits for its result.
#[derive(Clone)]
struct Call {
    request: Request,
    dest: NodeId,
    timeout: Duration,
    insist: bool,
}

impl Call {
    fn start(self, node: &mut Node<Event>) {
        let (dest, timeout) = (self.dest.clone(), self.timeout);
        node.rpc(&dest, &Ping::Ping, timeout, |result| Event::Called(self, result));
    }

    fn end(self, node: &mut Node<Event>, result: RpcResult) {
        let error = match result.and_then(|reply| reply.decode()) {
            Ok(Pong::Pong { value }) => return node.reply(&self.request, &Reply::CallOk { value }),
            Err(_) if self.insist => return self.start(node),
            Err(error) => error,
        };
        node.reply_error(&self.request, &error.into());
    }
}

impl MessageHandler for TestNode {
    type Payload = Payload;
    type Event = Event;

    const RECORD_FORMAT: Option<&'static str> = Some("conformance 1");

    /// A number is a snapshot. A text is a record that a client asked for.
    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let snapshot = serde_json::from_slice::<u64>(record);
        self.kept = snapshot.unwrap_or(self.kept.saturating_add(1));
        Ok(())
    }

    fn snapshot_bytes(&self) -> Option<usize> {
        Some(10)
    }

    fn snapshot(
        &self,
        _from: SnapshotPosition,
        _bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        records.add(&self.kept)?;
        Ok(None)
    }

    fn started(&mut self, _node: &mut Node<Event>) {
        self.started = self.started.saturating_add(1);
    }

    #[expect(clippy::panic, reason = "a test asks for it")]
    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let reply = match payload {
            Payload::Echo { echo } => Reply::EchoOk { echo },
            Payload::Typed(values) => Reply::TypedOk(values),
            Payload::Big { bytes } => Reply::BigOk { data: "x".repeat(bytes) },
            Payload::Fail { code, text } => {
                return Err(Error::new(ErrorCode::from_code(code), text));
            }
            Payload::Later { ms } => {
                node.set_timer(Duration::from_millis(ms), Event::Later(request.clone()));
                return Ok(());
            }
            Payload::Twice => {
                node.reply(request, &Reply::TwiceOk);
                Reply::TwiceOk
            }
            Payload::Nothing => return Ok(()),
            Payload::Log { lines } => {
                (0..lines).for_each(|line| tracing::info!(line, pad = "p".repeat(100), "a line"));
                Reply::LogOk
            }
            Payload::Panic => {
                let pad = "p".repeat(100);
                (0..4_000).for_each(|line| tracing::info!(line, pad, "a line"));
                tracing::info!("the last line");
                panic!("as asked");
            }
            Payload::Task => {
                let request = request.clone();
                self.tasks.spawn(node, |steps| async move {
                    for step in 0..2 {
                        steps.sleep(Duration::from_millis(1)).await;
                        tracing::info!(step, "a step");
                    }
                    request
                })?;
                return Ok(());
            }
            Payload::Busy { ms } => {
                self.event(node, Event::Busy(Duration::from_millis(ms)));
                return Ok(());
            }
            Payload::Call { dest, timeout_ms, insist } => {
                let call = Call {
                    request: request.clone(),
                    dest,
                    timeout: Duration::from_millis(timeout_ms),
                    insist,
                };
                call.start(node);
                return Ok(());
            }
            Payload::Count => {
                self.counted = self.counted.saturating_add(1);
                Reply::CountOk
            }
            Payload::Keep { bytes } => {
                self.kept = self.kept.saturating_add(1);
                // The quotes are part of the record.
                node.persist(&"x".repeat(bytes.saturating_sub(2)));
                Reply::KeepOk { kept: self.kept }
            }
            Payload::Read => Reply::ReadOk {
                node_id: node.id().clone(),
                node_ids: node.node_ids().to_vec(),
                started: self.started,
                counted: self.counted,
                calls_ended: self.calls_ended,
            },
        };
        node.reply(request, &reply);
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Later(request) => node.reply(&request, &Reply::LaterOk),
            Event::Wake(wake) => {
                if let Some(request) = self.tasks.wake(node, wake) {
                    node.reply(&request, &Reply::TaskOk);
                }
            }
            Event::Busy(period) => node.set_timer(period, Event::Busy(period)),
            Event::Called(call, result) => {
                self.calls_ended = self.calls_ended.saturating_add(1);
                call.end(node, result);
            }
        }
    }
}
