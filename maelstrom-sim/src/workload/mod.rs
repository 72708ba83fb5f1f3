//! Workloads: the operations of clients, and the checkers of histories.
//!
//! A [`Workload`] is one value. It declares its requests and replies ([`Rpc`]), creates the
//! [`Generator`] that chooses the operations of one test, and judges the history of that test. Its
//! fields are its own options. The same value serves tests in virtual time, sweeps, tests with real
//! processes, and the command line, which reads the fields from flags.
//!
//! Each folder here is one of Maelstrom's workloads. A workload in another crate needs only public
//! items:
//!
//! ```
//! use std::time::Duration;
//!
//! use maelstrom_core::{Error, MessageHandler, Node, NoEvent, Request};
//! use maelstrom_sim::Test;
//! use maelstrom_sim::checker::{Verdict, WorkloadResults};
//! use maelstrom_sim::history::{History, OpType};
//! use maelstrom_sim::options::Options;
//! use maelstrom_sim::rng::SimRng;
//! use maelstrom_sim::simulate::simulate;
//! use maelstrom_sim::workload::{Field, Generator, Invocation, Rpc, Schema, Workload};
//! use serde::{Deserialize, Serialize};
//!
//! /// Every node answers `whoami` with a number that is not negative.
//! #[derive(Clone, Debug, Default)]
//! struct WhoAmI;
//!
//! const RPCS: &[Rpc] = &[Rpc {
//!     name: "whoami",
//!     about: "Ask a node for its number.",
//!     request: &[],
//!     reply: &[Field::new("number", Schema::INTEGER, "3", "The number.")],
//! }];
//!
//! impl Workload for WhoAmI {
//!     fn name(&self) -> &'static str {
//!         "whoami"
//!     }
//!     fn about(&self) -> &'static str {
//!         "No number is negative."
//!     }
//!     fn rpcs(&self) -> &'static [Rpc] {
//!         RPCS
//!     }
//!     fn generator(&self, _: &Options) -> Box<dyn Generator> {
//!         Box::new(self.clone())
//!     }
//!     fn check(&self, history: &History) -> WorkloadResults {
//!         let answers = history.client_ops().filter(|op| op.kind == OpType::Ok);
//!         let bad = answers.filter_map(|op| op.value.as_ref()).find(|raw| raw.get().starts_with('-'));
//!         let cause = bad.map(|raw| format!("a node has the number {raw}"));
//!         WorkloadResults::from_cause(cause)
//!     }
//! }
//!
//! impl Generator for WhoAmI {
//!     fn next(&mut self, _process: u64, _: &mut SimRng) -> Invocation {
//!         Invocation { f: "whoami", value: None }
//!     }
//! }
//!
//! struct Handler;
//!
//! #[derive(Deserialize, Serialize)]
//! #[serde(rename_all = "lowercase")]
//! enum Payload {
//!     WhoAmI,
//!     #[serde(rename = "whoami_ok")]
//!     Answer { number: i64 },
//! }
//!
//! impl MessageHandler for Handler {
//!     type Payload = Payload;
//!     type Event = NoEvent;
//!
//!     fn message(&mut self, node: &mut Node<NoEvent>, from: &Request, _: Payload) -> Result<(), Error> {
//!         node.reply(from, &Payload::Answer { number: 7 });
//!         Ok(())
//!     }
//! }
//!
//! let options = Options { time_limit: Duration::from_secs(5), ..Options::default() };
//! simulate(Test::new(WhoAmI, options), |_| Handler).assert_valid();
//! ```

pub mod broadcast;
mod counters;
pub mod echo;
mod entry;
pub mod g_counter;
pub mod g_set;
pub mod kafka;
mod keys;
pub mod lin_kv;
pub mod pn_counter;
mod rpc;
pub mod txn;
pub mod txn_list_append;
pub mod txn_rw_register;
pub mod unique_ids;

pub use self::broadcast::Broadcast;
pub use self::echo::Echo;
pub use self::entry::Entry;
pub use self::g_counter::GCounter;
pub use self::g_set::GSet;
pub use self::kafka::Kafka;
pub use self::keys::Keys;
pub use self::lin_kv::LinKv;
pub use self::pn_counter::PnCounter;
pub use self::rpc::{Field, Rpc, Schema};
pub use self::txn::TxnOptions;
pub use self::txn_list_append::TxnListAppend;
pub use self::txn_rw_register::TxnRwRegister;
pub use self::unique_ids::UniqueIds;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::chart::Chart;
use crate::checker::WorkloadResults;
use crate::history::{History, Op};
use crate::options::Options;
use crate::rng::SimRng;

/// The built-in workloads: Maelstrom's.
///
/// ```
/// let entries = maelstrom_sim::workload::built_in();
/// let kafka = entries.iter().find(|entry| entry.workload().name() == "kafka").unwrap();
/// assert!(kafka.flags().iter().any(|flag| flag.get_long() == Some("key-count")));
/// ```
#[must_use]
pub fn built_in() -> Vec<Entry> {
    vec![
        Entry::of::<Broadcast>(),
        Entry::of::<Echo>(),
        Entry::of::<GCounter>(),
        Entry::of::<GSet>(),
        Entry::of::<Kafka>(),
        Entry::of::<LinKv>(),
        Entry::of::<PnCounter>(),
        Entry::of::<TxnListAppend>(),
        Entry::of::<TxnRwRegister>(),
        Entry::of::<UniqueIds>(),
    ]
}

/// The lengths of values, in words. `None`: the values are numbers.
fn lengths_in_words(lengths: &[usize]) -> Option<String> {
    let (min, max) = (lengths.iter().min()?, lengths.iter().max()?);
    Some(if min == max {
        format!("values of {min} bytes")
    } else {
        format!("values of {min} to {max} bytes")
    })
}

/// How long a client waits for a reply, unless the workload overrides it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A workload. The [module's example](self) defines one.
///
/// ```
/// use maelstrom_sim::checker::Verdict;
/// use maelstrom_sim::history::{History, Op, OpType, Process};
/// use maelstrom_sim::workload::{Echo, Workload};
/// use serde_json::value::to_raw_value;
///
/// let workload: &dyn Workload = &Echo::default();
/// assert_eq!((workload.name(), workload.rpcs()[0].name), ("echo", "echo"));
///
/// let op = |kind, value| Op { value, ..Op::new(Process::Client(0), kind, "echo") };
/// let mut history = History::default();
/// let invocation = history.push(op(OpType::Invoke, to_raw_value("hello").ok()));
/// let end = op(OpType::Ok, to_raw_value("hallo").ok());
/// history.push(Op { invocation: Some(invocation), ..end });
/// assert_eq!(workload.check(&history).valid, Verdict::Invalid);
/// ```
pub trait Workload: Any + Debug + Send + Sync {
    /// Its name, as `--workload` takes it.
    fn name(&self) -> &'static str;

    /// One or more sentences: the task of the nodes, and the property that the checker judges.
    fn about(&self) -> &'static str;

    /// All requests that nodes must understand, and their replies.
    fn rpcs(&self) -> &'static [Rpc];

    /// Checks whether the workload can be tested with these options. If not, the test fails at its
    /// beginning with the error.
    ///
    /// # Errors
    ///
    /// A sentence that names the option and its possible values.
    fn validate(&self, options: &Options) -> Result<(), String> {
        let _ = options;
        Ok(())
    }

    /// Creates the generator of one test with these options.
    fn generator(&self, options: &Options) -> Box<dyn Generator>;

    /// Judges the history of a test.
    fn check(&self, history: &History) -> WorkloadResults;

    /// The options of the workload for the report, each as the flag that sets it
    /// (`--key-count 10`), or in words if it has no flag.
    fn settings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Charts for the report, of values that the workload measures over the time of a test.
    fn charts(&self, history: &History) -> Vec<Chart> {
        let _ = history;
        Vec::new()
    }

    /// The type of the requests whose value must reach every node, and the field with that value.
    /// The report then shows how long the values took. `None`: no value spreads.
    fn spreading_field(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// The workload for one run of a [sweep](crate::sweep). May draw its own options with `rng`,
    /// and may make the options of the test stricter. `None`: the workload stays as it is.
    fn for_sweep(&self, rng: &mut SimRng, options: &mut Options) -> Option<Arc<dyn Workload>> {
        let _ = (rng, options);
        None
    }

    /// Whether an operation with an unknown outcome may be treated as failed.
    fn is_idempotent(&self, f: &str) -> bool {
        let _ = f;
        false
    }

    /// Whether an operation fails if a node refuses it with a definite error. If not, its outcome
    /// is unknown, whatever the error.
    fn definite_errors_fail(&self) -> bool {
        true
    }

    /// Whether a thread keeps its address after an operation with an unknown outcome.
    fn reuses_address(&self) -> bool {
        false
    }

    /// How long a client waits for a reply.
    fn call_timeout(&self, options: &Options) -> Duration {
        let _ = options;
        CALL_TIMEOUT
    }
}

/// Chooses the operations of the clients of one test.
///
/// ```
/// use maelstrom_sim::options::Options;
/// use maelstrom_sim::rng::{self, Stream};
/// use maelstrom_sim::workload::{Echo, FinalOps, Step, Workload};
///
/// let mut generator = Echo::default().generator(&Options::default());
/// let op = generator.next(0, &mut rng::stream(7, Stream::Generator));
/// let Step::Ask(request) = generator.step(0, &op, &[]) else { panic!("it asks nothing") };
/// assert_eq!((request.kind, &request.fields["echo"]), ("echo", &op.argument()));
/// assert!(matches!(generator.final_ops(), FinalOps::None));
/// ```
pub trait Generator: Debug {
    /// The request for each node before the test, if any.
    fn setup(&self) -> Option<RequestBody> {
        None
    }

    /// The next operation, for `process` to execute.
    fn next(&mut self, process: u64, rng: &mut SimRng) -> Invocation;

    /// The final operations of every thread.
    fn final_ops(&self) -> FinalOps {
        FinalOps::None
    }

    /// The next of many final operations of a process. `None` when its thread is done.
    fn next_final(&mut self, process: u64) -> Option<Invocation> {
        let _ = process;
        None
    }

    /// The request of an operation that consists of one request.
    fn request(&self, op: &Invocation) -> RequestBody {
        RequestBody::new(op.f, [])
    }

    /// The next step of an operation of `process`, after requests with these results. By default an
    /// operation is one request.
    fn step(&mut self, process: u64, op: &Invocation, results: &[Option<Box<RawValue>>]) -> Step {
        let _ = process;
        match results.first() {
            None => Step::Ask(self.request(op)),
            Some(result) => Step::Done(result.clone()),
        }
    }

    /// Called with the end of each operation, for generators that depend on it.
    fn ended(&mut self, end: &Op) {
        let _ = end;
    }
}

/// An operation for a client to execute.
///
/// ```
/// use maelstrom_sim::workload::Invocation;
/// use serde_json::{Value, json};
///
/// assert_eq!(Invocation::new("add", &json!(3)).argument(), json!(3));
/// assert_eq!(Invocation { f: "read", value: None }.argument(), Value::Null);
/// ```
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The function, as in the history.
    pub f: &'static str,
    /// The argument, as in the history.
    pub value: Option<Box<RawValue>>,
}

impl Invocation {
    /// An operation with this argument.
    #[must_use]
    pub fn new(f: &'static str, argument: &Value) -> Self {
        Self { f, value: raw(argument) }
    }

    /// The argument, or null.
    #[must_use]
    pub fn argument(&self) -> Value {
        let value = self.value.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
        value.unwrap_or_default()
    }
}

/// The body of a request: its type, and its fields without the ids.
///
/// ```
/// use maelstrom_sim::workload::RequestBody;
///
/// let request = RequestBody::new("add", [("delta", 3.into())]);
/// assert_eq!((request.kind, &request.fields["delta"]), ("add", &3.into()));
/// ```
#[derive(Clone, Debug)]
pub struct RequestBody {
    /// The type. The type of the reply is the same with `_ok` appended.
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

/// The next step of a client's operation. [`Generator`] shows it in use.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends this request to its node, and continues with the result.
    Ask(RequestBody),
    /// The operation has happened, with this result. `None`: the result is the argument.
    Done(Option<Box<RawValue>>),
    /// The client crashes without a request. Its thread continues as a new process.
    Crash,
}

/// The final operations of the threads, after all faults have ended and the network has recovered.
/// [`Generator`] shows it in use.
#[derive(Clone, Debug)]
pub enum FinalOps {
    /// Nothing.
    None,
    /// Each thread executes this operation once.
    Once(Invocation),
    /// Each thread executes the operations that [`Generator::next_final`] returns, one after the
    /// other, until it returns `None`.
    Many {
        /// The mean time between two operations.
        pace: Duration,
        /// The time after which no operation begins.
        limit: Duration,
    },
}

/// The value with this number: the number itself, or a string that begins with it. `bytes` is the
/// length of the string as JSON; a long number may exceed it.
fn numbered(number: u64, bytes: Option<&usize>) -> Value {
    let Some(bytes) = bytes else { return number.into() };
    let mut text = format!("{number} ");
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len() + 2)));
    text.into()
}

/// A value as raw JSON.
fn raw(value: &Value) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}
