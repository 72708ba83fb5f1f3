//! A map of registers. The first node, the primary, keeps it, and the others forward requests to
//! it. It does not tolerate crashes.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{
    Error, ErrorCode, MessageHandler, Node, NodeId, Request, RpcError, RpcResult,
};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::LinKv;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::GOOD_SEEDS;
use super::hunt::is_caught;

/// How long a node waits for the primary. A client waits at least one second.
const ASK_FOR: Duration = Duration::from_millis(900);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mutation {
    None,
    CasDoesNotCompare,
    CasComparesWithACopy,
    ReadFromACopy,
    AcknowledgeAndForget,
    AcknowledgeBeforeTheWrite,
    RefuseAndWrite,
    ReadUncommitted,
    WriteLate,
    WrongKey,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Read { key: u64 },
    Write { key: u64, value: Value },
    Cas { key: u64, from: Value, to: Value },
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "so they are called")]
enum Answer {
    ReadOk { value: Value },
    WriteOk,
    CasOk,
}

enum Event {
    Answered {
        request: Option<Request>,
        asked: Payload,
        result: RpcResult,
    },
    /// A delayed write takes effect.
    Late(Payload),
    /// An earlier write is undone, unless another write has happened since.
    Undo {
        key: u64,
        written: Value,
        before: Option<Value>,
    },
}

struct Registers {
    mutation: Mutation,
    values: BTreeMap<u64, Value>,
    /// The last value of each key that this node saw in a reply of the primary.
    copies: BTreeMap<u64, Value>,
    writes: u64,
    reads: u64,
}

impl Registers {
    fn new(mutation: Mutation) -> Self {
        let (values, copies) = Default::default();
        Self { mutation, values, copies, writes: 0, reads: 0 }
    }

    fn is_nth(&self, mutation: Mutation, n: u64) -> bool {
        self.mutation == mutation && self.writes.is_multiple_of(n)
    }

    fn apply(&mut self, asked: &Payload) -> Result<Answer, Error> {
        match asked {
            Payload::Read { key } => {
                let value = self.values.get(key).cloned();
                let missing = || Error::new(ErrorCode::KeyDoesNotExist, "no such key");
                value.map(|value| Answer::ReadOk { value }).ok_or_else(missing)
            }
            Payload::Write { key, value } => {
                self.values.insert(*key, value.clone());
                Ok(Answer::WriteOk)
            }
            Payload::Cas { key, from, to } => {
                let Some(value) = self.values.get_mut(key) else {
                    return Err(Error::new(ErrorCode::KeyDoesNotExist, "no such key"));
                };
                if value != from && !(self.mutation == Mutation::CasDoesNotCompare) {
                    return Err(Error::new(ErrorCode::PreconditionFailed, "another value"));
                }
                *value = to.clone();
                Ok(Answer::CasOk)
            }
        }
    }

    /// Handles a request on the primary.
    fn serve(&mut self, node: &mut Node<Event>, mut asked: Payload) -> Result<Answer, Error> {
        self.writes += u64::from(!matches!(asked, Payload::Read { .. }));
        if let Payload::Write { key, value } = &mut asked {
            let before = self.values.get(key).cloned();
            let (key_was, written) = (*key, value.clone());
            match self.mutation {
                Mutation::AcknowledgeAndForget if self.writes.is_multiple_of(10) => {
                    return Ok(Answer::WriteOk);
                }
                Mutation::WrongKey if self.writes.is_multiple_of(10) => *key ^= 1,
                Mutation::WriteLate => {
                    node.set_timer(Duration::from_millis(200), Event::Late(asked));
                    return Ok(Answer::WriteOk);
                }
                Mutation::ReadUncommitted if self.writes.is_multiple_of(5) => {
                    self.apply(&asked)?;
                    let undo = Event::Undo { key: key_was, written, before };
                    node.set_timer(Duration::from_millis(300), undo);
                    return Err(Error::temporarily_unavailable("not now"));
                }
                _ => {}
            }
        }
        let answer = self.apply(&asked)?;
        if !matches!(answer, Answer::ReadOk { .. }) && self.is_nth(Mutation::RefuseAndWrite, 10) {
            return Err(Error::temporarily_unavailable("not now"));
        }
        Ok(answer)
    }

    /// The reply that a node other than the primary gives without asking the primary.
    fn by_itself(&mut self, asked: &Payload) -> Option<Answer> {
        match (asked, self.mutation) {
            (Payload::Read { key }, Mutation::ReadFromACopy) => {
                self.reads += 1;
                let copy = self.copies.get(key).filter(|_| !self.reads.is_multiple_of(4));
                copy.cloned().map(|value| Answer::ReadOk { value })
            }
            (Payload::Write { .. }, Mutation::AcknowledgeBeforeTheWrite) => Some(Answer::WriteOk),
            (Payload::Cas { key, from, to }, Mutation::CasComparesWithACopy)
                if self.copies.get(key) == Some(from) =>
            {
                self.copies.insert(*key, to.clone());
                Some(Answer::CasOk)
            }
            _ => None,
        }
    }

    fn ask(node: &mut Node<Event>, request: Option<Request>, asked: Payload) {
        let primary = node.node_ids()[0].clone();
        let again = asked.clone();
        let answered = move |result| Event::Answered { request, asked: again, result };
        node.rpc(&primary, &asked, ASK_FOR, answered);
    }
}

impl MessageHandler for Registers {
    type Payload = Payload;
    type Event = Event;

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        asked: Payload,
    ) -> Result<(), Error> {
        if node.node_ids().first() == Some(node.id()) {
            let answer = self.serve(node, asked)?;
            node.reply(request, &answer);
            return Ok(());
        }
        let mine = self.by_itself(&asked);
        if let Some(answer) = &mine {
            node.reply(request, answer);
        }
        let asked = match (asked, &mine) {
            // The primary receives only the result.
            (Payload::Cas { key, to, .. }, Some(_)) => Payload::Write { key, value: to },
            (asked, _) => asked,
        };
        Self::ask(node, mine.is_none().then(|| request.clone()), asked);
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Late(asked) => drop(self.apply(&asked)),
            Event::Undo { key, written, before } => {
                if self.values.get(&key) == Some(&written)
                    && let Some(before) = before
                {
                    self.values.insert(key, before);
                }
            }
            Event::Answered { request, asked, result } => {
                let answer = result.and_then(|reply| reply.decode::<Answer>());
                if let (Payload::Read { key }, Ok(Answer::ReadOk { value })) = (&asked, &answer) {
                    self.copies.insert(*key, value.clone());
                }
                match (request, answer) {
                    (Some(request), Ok(answer)) => node.reply(&request, &answer),
                    (Some(request), Err(RpcError::Remote(error))) => {
                        node.reply_error(&request, &error);
                    }
                    // The primary may have executed the request, or may do so later. So the client
                    // gets no reply.
                    (Some(_), Err(_)) | (None, _) => {}
                }
            }
        }
    }
}

/// Nodes send a client's request only once, so the network must not lose or duplicate it.
fn sweep() -> Sweep {
    let lossy = [Fault::Crash, Fault::Loss, Fault::Duplication];
    Sweep::new(LinKv::default(), Fault::ALL.into_iter().filter(|fault| !lossy.contains(fault)))
}

fn registers(mutation: Mutation) -> impl Fn(&NodeId) -> Registers + Sync {
    move |_| Registers::new(mutation)
}

#[test]
fn the_good_registers_are_never_blamed() {
    sweep().test(GOOD_SEEDS, registers(Mutation::None));
}

#[test]
fn every_broken_map_of_registers_is_caught() {
    for (mutation, name) in [
        (Mutation::CasDoesNotCompare, "a cas that does not compare"),
        (Mutation::CasComparesWithACopy, "a cas that compares with a copy"),
        (Mutation::ReadFromACopy, "reads from a copy"),
        (Mutation::AcknowledgeAndForget, "acknowledge and forget"),
        (Mutation::AcknowledgeBeforeTheWrite, "acknowledge before the write"),
        (Mutation::RefuseAndWrite, "refuse and write"),
        (Mutation::ReadUncommitted, "reads of undone writes"),
        (Mutation::WriteLate, "write late"),
        (Mutation::WrongKey, "the wrong key"),
    ] {
        is_caught(&sweep(), name, "failures", registers(mutation));
    }
}
