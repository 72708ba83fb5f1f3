//! What clients do, and how it is judged: Maelstrom's workloads.

mod broadcast;
mod echo;
mod g_counter;
pub(crate) mod kafka;
mod txn_rw_register;
mod unique_ids;

pub use self::txn_rw_register::{Models, TxnOptions};

use std::time::Duration;

use maelstrom_core::NodeId;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::checker::WorkloadResults;
use crate::history::{History, Op};
use crate::options::Options;
use crate::rng::SimRng;

/// A workload that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WorkloadKind {
    /// Nodes answer with what they were sent.
    Echo,
    /// Nodes give ids that never repeat.
    UniqueIds,
    /// Nodes replicate a set.
    Broadcast,
    /// Nodes count together.
    GCounter,
    /// Nodes keep logs of messages.
    Kafka,
    /// Nodes run transactions over a map of registers.
    TxnRwRegister,
}

impl WorkloadKind {
    /// Maelstrom's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::UniqueIds => "unique-ids",
            Self::Broadcast => "broadcast",
            Self::GCounter => "g-counter",
            Self::Kafka => "kafka",
            Self::TxnRwRegister => "txn-rw-register",
        }
    }

    /// The workload, fresh, for a test with these options.
    #[must_use]
    pub fn build(self, options: &Options) -> Box<dyn Workload> {
        match self {
            Self::Echo => Box::new(echo::Echo),
            Self::UniqueIds => Box::new(unique_ids::UniqueIds::new(options)),
            Self::Broadcast => Box::new(broadcast::Broadcast::new(options)),
            Self::GCounter => Box::new(g_counter::GCounter),
            Self::Kafka => Box::new(kafka::Kafka::new(options)),
            Self::TxnRwRegister => Box::new(txn_rw_register::TxnRwRegister::new(options)),
        }
    }
}

/// What a client is to do.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The function, as in the history.
    pub f: &'static str,
    /// The argument, as in the history.
    pub value: Option<Box<RawValue>>,
}

/// A request: its type, and its fields without the ids.
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// The type. The reply's is the same with `_ok` behind it.
    pub kind: &'static str,
    /// The other fields.
    pub fields: serde_json::Map<String, Value>,
}

impl RequestBody {
    /// A request of this type with these fields.
    #[must_use]
    pub fn new<const N: usize>(kind: &'static str, fields: [(&str, Value); N]) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { kind, fields }
    }
}

/// What a client does next for the operation it is at.
#[derive(Clone, Debug)]
pub enum Step {
    /// It asks its node this, and goes on when it has the result.
    Ask(RequestBody),
    /// The operation has happened, with this result. Without one, the argument stands for it.
    Done(Option<Box<RawValue>>),
    /// The client is gone, without a request. Its thread goes on as a new process.
    Crash,
}

/// What threads do after all faults have ended and the network has rested.
#[derive(Clone, Debug)]
pub enum FinalOps {
    /// Nothing.
    None,
    /// Each thread does this, once.
    Once(Invocation),
    /// Each thread does what [`Workload::next_final`] says, one after the other, for as long as it
    /// says anything.
    Many {
        /// The mean time from one to the next.
        pace: Duration,
        /// After this time none are begun any more.
        limit: Duration,
    },
}

/// A workload: generator, client and checker.
pub trait Workload: std::fmt::Debug {
    /// What each node is asked before the test, if anything.
    fn setup(&self) -> Option<RequestBody> {
        None
    }

    /// The next operation.
    fn next(&mut self, rng: &mut SimRng) -> Invocation;

    /// What every thread ends with.
    fn final_ops(&self) -> FinalOps {
        FinalOps::None
    }

    /// The next of many final operations of a process; `None` when its thread is done.
    fn next_final(&mut self, process: u64) -> Option<Invocation> {
        let _ = process;
        None
    }

    /// How an operation is asked for, if one request is enough.
    fn request(&self, op: &Invocation) -> RequestBody {
        RequestBody::new(op.f, [])
    }

    /// What the client of `process` does for an operation, after requests with these results: one
    /// request, unless the workload knows better.
    fn step(&mut self, process: u64, op: &Invocation, results: &[Option<Box<RawValue>>]) -> Step {
        let _ = process;
        match results.first() {
            None => Step::Ask(self.request(op)),
            Some(result) => Step::Done(result.clone()),
        }
    }

    /// Hears how each operation ended, for workloads whose next ones depend on it.
    fn ended(&mut self, end: &Op) {
        let _ = end;
    }

    /// The fields that the reply to a request must have beside its type and ids. It must have no
    /// others.
    fn reply_fields(&self, request: &str) -> &'static [&'static str];

    /// The result of a request: one of the reply's fields, as it came. `None`: there is none.
    fn result_field(&self, request: &str) -> Option<&'static str>;

    /// The result of a request as the history keeps it, from the field of the reply.
    ///
    /// A null in the place of a list is an empty list: Maelstrom's schemas take the nil slice of a
    /// Go program for one. A null in the place of an object is malformed.
    ///
    /// # Errors
    ///
    /// If the field's value is malformed; with the rest of a sentence that begins with its name.
    fn result(&self, request: &str, value: &RawValue) -> Result<Box<RawValue>, String> {
        let _ = request;
        Ok(value.to_owned())
    }

    /// Whether an operation may be thought not to have happened when its outcome is unknown.
    fn is_idempotent(&self, f: &str) -> bool {
        let _ = f;
        false
    }

    /// Whether an operation that a node refused with a definite error has failed. If not, its
    /// outcome is unknown, whatever the error.
    fn heeds_errors(&self) -> bool {
        true
    }

    /// Whether a thread keeps its address after an operation whose outcome is unknown.
    fn keeps_client(&self) -> bool {
        false
    }

    /// Judges the history.
    fn check(&self, history: &History) -> WorkloadResults;
}

/// A value as raw JSON.
fn raw(value: &Value) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

/// A list as it came, and null as an empty one.
fn list(value: &RawValue) -> Result<Box<RawValue>, String> {
    match value.get() {
        "null" => RawValue::from_string("[]".into()).map_err(|error| error.to_string()),
        text if text.starts_with('[') => Ok(value.to_owned()),
        _ => Err("is not a list".into()),
    }
}

/// What the names of nodes are in JSON.
fn names(nodes: &[NodeId]) -> Value {
    nodes.iter().map(|id| Value::from(id.as_ref())).collect()
}
