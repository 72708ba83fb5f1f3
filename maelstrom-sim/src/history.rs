//! The history: every operation's beginning and end, as the clients and the nemesis saw them.
//!
//! Checkers judge by the history alone.

use std::io::{self, Write};
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// How the error of an operation begins whose reply has not the form that its workload asks for.
pub(crate) const MALFORMED: &str = "malformed reply: ";

/// What happened to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OpType {
    /// It was begun.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened, or may still. The nemesis' operations are all of this type.
    Info,
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    /// A client: one logical thread of operations, one after the other. After an [`OpType::Info`]
    /// the thread goes on as a new process.
    Client(u64),
    /// The nemesis.
    Nemesis,
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Client(process) => serializer.serialize_u64(*process),
            Self::Nemesis => serializer.serialize_str("nemesis"),
        }
    }
}

/// One event of the history.
#[derive(Clone, Debug, Serialize)]
pub struct Op {
    /// Its place in the history.
    pub index: usize,
    /// Nanoseconds since the first operation could begin.
    #[serde(serialize_with = "nanos::serialize")]
    pub time: Duration,
    /// Who did it.
    pub process: Process,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: OpType,
    /// The function: `read`, `broadcast`, …
    pub f: &'static str,
    /// The argument, and in the end the result.
    pub value: Option<Box<RawValue>>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it is one of the last operations, after all faults have ended.
    #[serde(rename = "final?", skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
    /// For an end: whether the node said that the operation certainly did not happen. The type is
    /// [`OpType::Info`] all the same where Maelstrom's client takes no notice of errors.
    #[serde(skip)]
    pub is_definite: bool,
    /// For an end: the index of its beginning.
    #[serde(skip)]
    pub invocation: Option<usize>,
}

/// A duration in JSON: a number of nanoseconds.
pub(crate) mod nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}

impl Op {
    /// An event of this kind; its other parts are yet to be filled in.
    #[must_use]
    pub fn new(process: Process, kind: OpType, f: &'static str) -> Self {
        Self {
            index: 0,
            time: Duration::ZERO,
            process,
            kind,
            f,
            value: None,
            error: None,
            is_final: false,
            is_definite: false,
            invocation: None,
        }
    }

    /// Whether a client did it.
    #[must_use]
    pub fn is_client(&self) -> bool {
        matches!(self.process, Process::Client(_))
    }
}

/// All events, in the order in which they happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    ops: Vec<Op>,
    tally: Tally,
}

/// How many operations of the clients have ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They happened.
    pub ok: u64,
    /// They did not.
    pub fail: u64,
    /// Nobody knows.
    pub info: u64,
}

impl History {
    /// All events.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The events of the clients.
    pub fn client_ops(&self) -> impl Iterator<Item = &Op> {
        self.ops.iter().filter(|op| op.is_client())
    }

    /// How many operations have ended so far, and how.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The beginning of an operation, given its end.
    #[must_use]
    pub fn invocation(&self, end: &Op) -> Option<&Op> {
        self.ops.get(end.invocation?)
    }

    /// Appends an event, and tells its index.
    pub fn push(&mut self, mut op: Op) -> usize {
        op.index = self.ops.len();
        if op.is_client() {
            match op.kind {
                OpType::Invoke => {}
                OpType::Ok => self.tally.ok += 1,
                OpType::Fail => self.tally.fail += 1,
                OpType::Info => self.tally.info += 1,
            }
        }
        self.ops.push(op);
        self.ops.len() - 1
    }

    /// Writes the history, one JSON object a line.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn write_jsonl(&self, out: &mut impl Write) -> io::Result<()> {
        for op in &self.ops {
            serde_json::to_writer(&mut *out, op)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}
