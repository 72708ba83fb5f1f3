//! A node for the checker's tests. It is correct, or broken in one way that the checker must find.
//!
//! Broadcast nodes send each value to the others once, which is enough without partitions. A node
//! with transactions must be alone.
#![allow(clippy::arithmetic_side_effects, reason = "it is meant to be broken")]
#![expect(clippy::disallowed_methods, reason = "it is its own driver")]

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Parser, ValueEnum};
use maelstrom_core::{Error, MessageHandler, NoEvent, Node, NodeArgs, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The bug of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// No bug.
    None,
    /// It forgets every tenth value that other nodes send to it.
    DropTenth,
    /// It acknowledges values and forgets them.
    Forget,
    /// It replies to every read with the values of its first read.
    StaleRead,
    /// It shows a value twice.
    Duplicate,
    /// It shows a value that nobody sent.
    Phantom,
    /// It refuses a value with a definite error, but keeps it.
    FalseRefusal,
    /// It acknowledges all messages, but loses every tenth.
    LoseMessage,
    /// It returns every hundredth id twice.
    RepeatId,
    /// It changes the text that it echoes.
    LyingEcho,
    /// It replies with an additional field.
    ExtraField,
    /// It prints a line that is not a message.
    Rubbish,
    /// It exits at its first request.
    Exit,
    /// It does not answer `init`.
    Silent,
    /// It sends a message to an address that does not exist.
    WrongAddress,
}

#[derive(Parser)]
struct Cli {
    #[arg(long, value_enum, default_value = "none")]
    fault: Fault,
    #[command(flatten)]
    node: NodeArgs,
}

struct Broken {
    fault: Fault,
    values: Vec<u64>,
    first_read: Option<Vec<u64>>,
    taken: u64,
    ids: u64,
    /// The messages of each key. A lost message leaves a gap.
    logs: BTreeMap<String, Vec<Option<u64>>>,
    committed: BTreeMap<String, usize>,
    registers: BTreeMap<u64, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Echo { echo: String },
    Generate,
    Topology,
    Broadcast { message: u64 },
    Tell { message: u64 },
    Read,
    Send { key: String, msg: u64 },
    Poll { offsets: BTreeMap<String, usize> },
    CommitOffsets { offsets: BTreeMap<String, usize> },
    ListCommittedOffsets { keys: Vec<String> },
    Txn { txn: Vec<(String, u64, Value)> },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<'a> {
    EchoOk {
        echo: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        extra: Option<u64>,
    },
    GenerateOk {
        id: String,
    },
    TopologyOk,
    BroadcastOk,
    Tell {
        message: u64,
    },
    ReadOk {
        messages: &'a [u64],
    },
    SendOk {
        offset: usize,
    },
    PollOk {
        msgs: BTreeMap<String, Vec<(usize, u64)>>,
    },
    CommitOffsetsOk,
    ListCommittedOffsetsOk {
        offsets: BTreeMap<String, usize>,
    },
    TxnOk {
        txn: &'a [(String, u64, Value)],
    },
}

impl Broken {
    fn new(fault: Fault) -> Self {
        let (values, first_read, logs, committed, registers) = Default::default();
        Self { fault, values, first_read, taken: 0, ids: 0, logs, committed, registers }
    }

    fn broadcast(&mut self, node: &mut Node<NoEvent>, message: u64) -> Result<(), Error> {
        self.taken += 1;
        let forget = match self.fault {
            Fault::DropTenth => self.taken.is_multiple_of(10),
            Fault::Forget => true,
            _ => false,
        };
        if !forget {
            self.values.push(message);
            let peers: Vec<_> = node.peers().collect();
            for peer in &peers {
                node.send(peer, &Reply::Tell { message });
            }
        }
        match self.fault {
            Fault::FalseRefusal if self.taken.is_multiple_of(10) => {
                Err(Error::temporarily_unavailable("not now"))
            }
            _ => Ok(()),
        }
    }

    fn append(&mut self, key: String, message: u64) -> usize {
        self.taken += 1;
        let lost = self.fault == Fault::LoseMessage && self.taken.is_multiple_of(10);
        let log = self.logs.entry(key).or_default();
        log.push((!lost).then_some(message));
        log.len() - 1
    }

    fn poll(&self, key: &str, from: usize) -> Vec<(usize, u64)> {
        let log = self.logs.get(key).map(Vec::as_slice).unwrap_or_default();
        let entries = log.iter().enumerate().skip(from);
        entries.filter_map(|(offset, message)| Some((offset, (*message)?))).collect()
    }

    /// Runs a transaction, and fills in its reads.
    fn transact(&mut self, txn: &mut [(String, u64, Value)]) {
        for (f, key, value) in txn {
            match (f.as_str(), self.fault) {
                ("r", Fault::Phantom) => *value = u64::MAX.into(),
                ("r", _) => *value = self.registers.get(key).cloned().unwrap_or_default(),
                (_, Fault::Forget) => {}
                (_, _) => drop(self.registers.insert(*key, value.clone())),
            }
        }
    }

    fn messages(&mut self) -> Vec<u64> {
        match self.fault {
            Fault::StaleRead => self.first_read.get_or_insert(self.values.clone()).clone(),
            Fault::Duplicate => self.values.iter().chain(self.values.first()).copied().collect(),
            Fault::Phantom => self.values.iter().chain(&[u64::MAX]).copied().collect(),
            _ => self.values.clone(),
        }
    }
}

impl MessageHandler for Broken {
    type Payload = Payload;
    type Event = NoEvent;

    fn started(&mut self, node: &mut Node<NoEvent>) {
        let mut stdout = std::io::stdout();
        match self.fault {
            Fault::Rubbish => writeln!(stdout, "Hello, I am a node").unwrap_or_default(),
            Fault::WrongAddress => node.send(&"n99".into(), &Reply::TopologyOk),
            Fault::Silent => std::process::exit(silence()),
            _ => {}
        }
    }

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        if self.fault == Fault::Exit {
            // An exit does not wait for the log.
            writeln!(std::io::stderr(), "something terrible has happened").ok();
            std::process::exit(3);
        }
        match payload {
            Payload::Echo { mut echo } => {
                if self.fault == Fault::LyingEcho {
                    echo.push('!');
                }
                let extra = (self.fault == Fault::ExtraField).then_some(1);
                node.reply(request, &Reply::EchoOk { echo: &echo, extra });
            }
            Payload::Generate => {
                self.ids += 1;
                let repeat = self.fault == Fault::RepeatId && self.ids.is_multiple_of(100);
                let id = if repeat { self.ids - 1 } else { self.ids };
                node.reply(request, &Reply::GenerateOk { id: format!("{}-{id}", node.id()) });
            }
            Payload::Topology => node.reply(request, &Reply::TopologyOk),
            Payload::Broadcast { message } => {
                self.broadcast(node, message)?;
                node.reply(request, &Reply::BroadcastOk);
            }
            Payload::Tell { message } => self.values.push(message),
            Payload::Txn { mut txn } => {
                self.transact(&mut txn);
                node.reply(request, &Reply::TxnOk { txn: &txn });
            }
            Payload::Read => node.reply(request, &Reply::ReadOk { messages: &self.messages() }),
            Payload::Send { key, msg } => {
                node.reply(request, &Reply::SendOk { offset: self.append(key, msg) });
            }
            Payload::Poll { offsets } => {
                let msgs =
                    offsets.into_iter().map(|(key, from)| (key.clone(), self.poll(&key, from)));
                node.reply(request, &Reply::PollOk { msgs: msgs.collect() });
            }
            Payload::CommitOffsets { offsets } => {
                self.committed.extend(offsets);
                node.reply(request, &Reply::CommitOffsetsOk);
            }
            Payload::ListCommittedOffsets { keys } => {
                let offset = |key: String| Some((key.clone(), *self.committed.get(&key)?));
                let offsets = keys.into_iter().filter_map(offset).collect();
                node.reply(request, &Reply::ListCommittedOffsetsOk { offsets });
            }
        }
        Ok(())
    }
}

/// Reads stdin to its end and prints nothing.
fn silence() -> i32 {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map_or(1, |_| 0)
}

fn main() -> anyhow::Result<()> {
    let Cli { fault, node } = Cli::parse();
    node.run(Broken::new(fault))
}
