//! The history: the beginning and the end of every operation, as the clients and the nemesis saw
//! them.
//!
//! Checkers judge by the history alone.

use std::io::{self, Write};
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The prefix of the error of an operation whose reply has not the form that its workload requires.
pub(crate) const MALFORMED: &str = "malformed reply: ";

/// The type of an event, as in Jepsen.
///
/// ```
/// use maelstrom_sim::history::OpType;
///
/// let all = [OpType::Invoke, OpType::Ok, OpType::Fail, OpType::Info];
/// assert_eq!(serde_json::to_string(&all)?, r#"["invoke","ok","fail","info"]"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OpType {
    /// An operation began.
    Invoke,
    /// The operation happened.
    Ok,
    /// The operation certainly did not happen.
    Fail,
    /// The operation may have happened, or may still happen. All operations of the nemesis have
    /// this type.
    Info,
}

/// The process that executes an operation. [`History`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    /// A process of a client thread, by number. The thread executes one operation after the other.
    /// After an [`OpType::Info`], it continues as a new process with a higher number.
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
///
/// ```
/// use maelstrom_sim::history::{Op, OpType, Process};
///
/// let op = Op { index: 4, ..Op::new(Process::Client(2), OpType::Invoke, "read") };
/// let line = r#"{"index":4,"time":0,"process":2,"type":"invoke","f":"read","value":null}"#;
/// assert_eq!(serde_json::to_string(&op)?, line);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Op {
    /// Its index in the history.
    pub index: usize,
    /// The time since the first operation could begin. JSON has it in nanoseconds.
    #[serde(serialize_with = "nanos::serialize")]
    pub time: Duration,
    /// The process that executes the operation.
    pub process: Process,
    /// The type of the event.
    #[serde(rename = "type")]
    pub kind: OpType,
    /// The function: `read`, `broadcast`, …
    pub f: &'static str,
    /// The argument; for an end, the result.
    pub value: Option<Box<RawValue>>,
    /// The error, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether this is one of the final operations, after all faults have ended.
    #[serde(rename = "final?", skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
    /// For an end: whether the node said that the operation certainly did not happen. The type can
    /// still be [`OpType::Info`], if Maelstrom's client ignores errors in this workload.
    #[serde(skip)]
    pub is_definite: bool,
    /// For an end: the index of its invocation.
    #[serde(skip)]
    pub invocation: Option<usize>,
}

/// Serializes a duration as a number of nanoseconds.
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
    /// An event of this type, with defaults for its other fields.
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

    /// Whether the process is a client.
    #[must_use]
    pub fn is_client(&self) -> bool {
        matches!(self.process, Process::Client(_))
    }
}

/// All events, in the order in which they happened.
///
/// ```
/// use maelstrom_sim::history::{History, Op, OpType, Process};
///
/// let client = Process::Client(0);
/// let mut history = History::default();
/// let begin = history.push(Op::new(client, OpType::Invoke, "read"));
/// history.push(Op { invocation: Some(begin), ..Op::new(client, OpType::Ok, "read") });
///
/// assert_eq!(history.tally().ok, 1);
/// assert_eq!(history.completion(begin).map(|end| end.kind), Some(OpType::Ok));
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    ops: Vec<Op>,
    tally: Tally,
}

/// The number of ended client operations, by outcome.
///
/// ```
/// use maelstrom_sim::history::{History, Op, OpType, Process, Tally};
///
/// let mut history = History::default();
/// for kind in [OpType::Ok, OpType::Ok, OpType::Info] {
///     history.push(Op::new(Process::Client(0), kind, "read"));
/// }
/// assert_eq!(history.tally(), Tally { ok: 2, fail: 0, info: 1 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many happened.
    pub ok: u64,
    /// How many did not happen.
    pub fail: u64,
    /// How many have an unknown outcome.
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

    /// The number of operations that have ended so far, by outcome.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The invocation of an operation, given its end.
    #[must_use]
    pub fn invocation(&self, end: &Op) -> Option<&Op> {
        self.ops.get(end.invocation?)
    }

    /// The end of an operation, given the index of its invocation. Looks at all later events until
    /// then.
    #[must_use]
    pub fn completion(&self, invocation: usize) -> Option<&Op> {
        let later = self.ops.get(invocation..)?.iter();
        later.into_iter().find(|op| op.invocation == Some(invocation))
    }

    /// Appends an event, and returns its index.
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

    /// Writes the history as one JSON object per line.
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
