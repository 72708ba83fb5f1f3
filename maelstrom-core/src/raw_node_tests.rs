//! A test node whose handler follows commands, and conversations with it as text.
//!
//! A transcript has one step per line. The lines below a step are the node's outputs:
//!
//! ```text
//! c1 > {…}     the body of a message from c1 to n1
//! raw > …      a line as it is
//! at 100       the clock stands at 100 ms, and due timers fire
//! end          no input can come any more
//! c1 < {…}     output: the body of a message to c1
//! record …     output: a record to make durable
//! ```

#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::*;
use crate::limits::Limits;
use crate::rpc::RpcResult;

#[path = "raw_node_tests/late.rs"]
mod late;
#[path = "raw_node_tests/limits.rs"]
mod limits;
#[path = "raw_node_tests/one_pass.rs"]
mod one_pass;
#[path = "raw_node_tests/properties.rs"]
mod properties;
#[path = "raw_node_tests/transcripts.rs"]
mod transcripts;

/// A handler that obeys its messages.
#[derive(Debug, Default)]
struct Puppet {
    recovered: Vec<String>,
    /// True if it persists a record and sends a message as soon as it starts.
    eager: bool,
    started: usize,
    deferred: Vec<Request>,
    /// Number of requests taken and not answered.
    owed: usize,
    woken: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Command {
    Echo {
        echo: Box<RawValue>,
    },
    /// Fails.
    Fail {
        code: ErrorCode,
    },
    /// Answers twice, or answers and then fails.
    Twice {
        #[serde(default)]
        fail: bool,
    },
    /// Answers later, when `Release` comes.
    Defer,
    /// Answers all deferred requests, in the order in which they came.
    Release,
    /// Calls `peer`, and answers with the outcome.
    Call {
        peer: String,
        ms: u64,
        #[serde(default)]
        again: u64,
    },
    /// Answers after `ms` milliseconds.
    Sleep {
        ms: u64,
    },
    /// Sets a timer of zero each time one fires.
    Spin,
    /// Persists the records, and sends a message to `log` after each one.
    Persist {
        records: Vec<u8>,
    },
    /// Answers with a value that has no JSON form, or sends, persists or calls with it.
    Broken {
        how: String,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    EchoOk { echo: Box<RawValue> },
    TwiceOk { time: u8 },
    DeferOk,
    ReleaseOk,
    CallOk { outcome: String },
    SleepOk,
    PersistOk,
    Ping,
    Note { record: u8 },
    Broken { map: BTreeMap<Vec<u8>, u8> },
}

#[derive(Debug)]
enum Event {
    Ended(Request, u64, RpcResult),
    Woke(Request),
    Spun,
}

impl Puppet {
    fn answer(&mut self, node: &mut Node<Event>, request: &Request, said: &Said) {
        self.owed -= usize::from(request.msg_id().is_some());
        node.reply(request, said);
    }
}

fn call(node: &mut Node<Event>, request: Request, peer: &str, ms: u64, again: u64) {
    let timeout = Duration::from_millis(ms);
    node.rpc(&peer.into(), &Said::Ping, timeout, move |result| {
        Event::Ended(request, again, result)
    });
}

fn broken() -> Said {
    Said::Broken { map: BTreeMap::from([(vec![1], 1)]) }
}

fn outcome(result: RpcResult) -> String {
    let error = match result {
        Ok(reply) => return format!("{} from {}", reply.kind(), reply.src()),
        Err(error) => error,
    };
    let definite = if error.is_definite() { "" } else { "in" };
    format!("{error} ({definite}definite)")
}

impl MessageHandler for Puppet {
    type Payload = Command;
    type Event = Event;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let record: u8 = serde_json::from_slice(record)
            .map_err(|error| Error::crash(format!("not a record: {error}")))?;
        self.recovered.push(record.to_string());
        Ok(())
    }

    fn started(&mut self, node: &mut Node<Event>) {
        self.started += 1;
        if self.eager {
            node.persist(&0);
            node.send(&"log".into(), &Said::Note { record: 0 });
        }
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        command: Command,
    ) -> Result<(), Error> {
        if let Command::Fail { code } = command {
            return Err(Error::new(code, "as told"));
        }
        self.owed += usize::from(request.msg_id().is_some());
        match command {
            Command::Fail { .. } => {}
            Command::Echo { echo } => self.answer(node, request, &Said::EchoOk { echo }),
            Command::Twice { fail } => {
                self.answer(node, request, &Said::TwiceOk { time: 1 });
                if fail {
                    return Err(Error::new(ErrorCode::Abort, "after all"));
                }
                node.reply(&request.clone(), &Said::TwiceOk { time: 2 });
            }
            Command::Defer => self.deferred.push(request.clone()),
            Command::Release => {
                for deferred in std::mem::take(&mut self.deferred) {
                    self.answer(node, &deferred, &Said::DeferOk);
                }
                self.answer(node, request, &Said::ReleaseOk);
            }
            Command::Call { peer, ms, again } => call(node, request.clone(), &peer, ms, again),
            Command::Sleep { ms } => {
                node.set_timer(Duration::from_millis(ms), Event::Woke(request.clone()));
            }
            Command::Spin => node.set_timer(Duration::ZERO, Event::Spun),
            Command::Persist { records } => {
                for record in records {
                    node.persist(&record);
                    node.send(&"log".into(), &Said::Note { record });
                }
                self.answer(node, request, &Said::PersistOk);
            }
            Command::Broken { how } => match how.as_str() {
                "send" => node.send(&"log".into(), &broken()),
                "persist" => node.persist(&broken()),
                "call" => {
                    let request = request.clone();
                    node.rpc(&"n2".into(), &broken(), Duration::MAX, |result| {
                        Event::Ended(request, 0, result)
                    });
                }
                _ => self.answer(node, request, &broken()),
            },
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Ended(request, 0, result) => {
                let outcome = outcome(result);
                self.answer(node, &request, &Said::CallOk { outcome });
            }
            Event::Ended(request, again, _) => call(node, request, "n2", 0, again - 1),
            Event::Woke(request) => {
                self.woken += 1;
                self.answer(node, &request, &Said::SleepOk);
            }
            Event::Spun => {
                self.woken += 1;
                node.set_timer(Duration::ZERO, Event::Spun);
            }
        }
    }
}

/// A node and its clock.
struct Session {
    node: RawNode<Puppet>,
    clock: Clock,
}

impl Session {
    fn new(durable: bool) -> Self {
        Self::with(Puppet::default(), durable)
    }

    fn with(puppet: Puppet, durable: bool) -> Self {
        Self { node: RawNode::numbered_from_1(puppet, durable), clock: Clock::default() }
    }

    /// A node that has started: n1 in a cluster of n1 and n2.
    fn started(durable: bool) -> Self {
        let mut session = Self::new(durable);
        session.feed(r#"c0 > {"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}"#);
        assert_eq!(session.drain(), [r#"c0 < {"type":"init_ok","in_reply_to":1}"#]);
        session
    }

    /// The same node with these limits.
    fn limited(limits: &Limits) -> Self {
        let mut session = Self::started(false);
        session.node.set_limits(limits);
        session
    }

    /// Takes a step. Returns false if the line is an output and not a step.
    fn feed(&mut self, step: &str) -> bool {
        if let Some(line) = step.strip_prefix("raw > ") {
            self.node.handle_line(self.clock, line.as_bytes());
        } else if let Some((src, body)) = step.split_once(" > ") {
            let line = format!(r#"{{"id":3,"src":"{src}","dest":"n1","body":{body}}}"#);
            self.node.handle_line(self.clock, line.as_bytes());
        } else if let Some(ms) = step.strip_prefix("at ") {
            self.clock.monotonic = Duration::from_millis(ms.parse().unwrap());
            self.node.handle_timeout(self.clock);
        } else if step == "end" {
            self.node.handle_end_of_input(self.clock);
        } else {
            assert!(step.contains(" < ") || step.starts_with("record "), "{step}");
            return false;
        }
        true
    }

    /// All outputs of the node, in order. Checks that each line is exactly an envelope.
    fn drain(&mut self) -> Vec<String> {
        let mut steps = Vec::new();
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Record(bytes) => {
                    steps.push(format!("record {}", String::from_utf8(bytes).unwrap()));
                }
                Output::Lines(bytes) => {
                    let text = String::from_utf8(bytes).unwrap();
                    assert!(text.ends_with('\n'), "lines must be complete: {text:?}");
                    for line in text.lines() {
                        let Envelope { src, dest, body } = serde_json::from_str(line).unwrap();
                        let exact = format!(
                            r#"{{"src":{},"dest":{},"body":{body}}}"#,
                            json!(src),
                            json!(dest),
                        );
                        assert_eq!(line, exact);
                        steps.push(format!("{dest} < {}", body.get()));
                    }
                }
            }
        }
        assert_eq!(self.node.output_bytes(), 0);
        steps
    }

    /// Takes the steps of `script`, and compares the outputs with those in the script.
    fn check(&mut self, script: &str) {
        let lines = script.lines().map(str::trim).filter(|l| !l.is_empty());
        let expected: Vec<&str> = lines.collect();
        let mut actual = Vec::new();
        for step in &expected {
            if self.feed(step) {
                actual.push((*step).to_owned());
                actual.extend(self.drain());
            }
        }
        let (actual, expected) = (actual.join("\n"), expected.join("\n"));
        assert!(actual == expected, "said\n{actual}\n\nexpected\n{expected}");
    }
}
