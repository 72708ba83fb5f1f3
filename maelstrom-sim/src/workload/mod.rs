//! What clients do, and how it is judged: Maelstrom's workloads.

mod broadcast;
mod echo;
mod g_counter;
mod txn_rw_register;
mod unique_ids;

pub use self::txn_rw_register::TxnOptions;

use maelstrom_core::NodeId;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::checker::WorkloadResults;
use crate::history::History;
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
            Self::TxnRwRegister => "txn-rw-register",
        }
    }

    /// The workload, fresh, for a test with these options.
    #[must_use]
    pub fn build(self, options: &Options) -> Box<dyn Workload> {
        match self {
            Self::Echo => Box::new(echo::Echo),
            Self::UniqueIds => Box::new(unique_ids::UniqueIds),
            Self::Broadcast => Box::new(broadcast::Broadcast::new(options)),
            Self::GCounter => Box::new(g_counter::GCounter),
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

/// A workload: generator, client and checker.
pub trait Workload: std::fmt::Debug {
    /// What each node is asked before the test, if anything.
    fn setup(&self) -> Option<RequestBody> {
        None
    }

    /// The next operation.
    fn next(&mut self, rng: &mut SimRng) -> Invocation;

    /// The operation that every thread ends with, after all faults have ended.
    fn final_op(&self) -> Option<Invocation> {
        None
    }

    /// How an operation is asked for.
    fn request(&self, op: &Invocation) -> RequestBody;

    /// The fields that the reply to `f` must have beside its type and ids. It must have no others.
    fn reply_fields(&self, f: &str) -> &'static [&'static str];

    /// What goes into the history as the result of `f`: one of the reply's fields, as it came.
    /// `None`: the argument stays.
    fn result_field(&self, f: &str) -> Option<&'static str>;

    /// What is wrong with a result, if anything.
    ///
    /// # Errors
    ///
    /// With the rest of a sentence that begins with the field's name.
    fn check_result(&self, f: &str, value: &RawValue) -> Result<(), String> {
        let _ = (f, value);
        Ok(())
    }

    /// Whether an operation may be thought not to have happened when its outcome is unknown.
    fn is_idempotent(&self, f: &str) -> bool {
        let _ = f;
        false
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

/// What the names of nodes are in JSON.
fn names(nodes: &[NodeId]) -> Value {
    nodes.iter().map(|id| Value::from(id.as_ref())).collect()
}
