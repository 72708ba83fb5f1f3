//! `lin-kv`: registers with read, write and compare-and-set. Each must be linearizable.
//!
//! After Jepsen's `jepsen.tests.linearizable-register` and `jepsen.independent`. Threads work in
//! groups of twice as many threads as nodes, and each group works on its own key. Half of a group
//! only reads. The others write (one in three operations) and compare-and-set. After 20 processes
//! have worked on a key, the group moves to a new one. The reason: operations with an unknown
//! outcome make the check hard, and each of them creates a new process.
//!
//! In the history, the value of an operation is a pair of the key and the argument or result.

mod checker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub use self::checker::check;

use super::{
    Field, FinalOps, Generator, Invocation, RequestBody, Rpc, Schema, Step, Workload, raw,
};
use crate::checker::WorkloadResults;
use crate::history::{History, Op, OpType, Process};
use crate::options::Options;
use crate::rng::SimRng;

/// How many processes work on a key.
const PROCESSES_MAX: usize = 20;

/// All values are below this.
const VALUES: u64 = 5;

/// The mean time between two final operations of a thread.
const FINAL_PACE: Duration = Duration::from_millis(100);

/// The time after which no final operation begins.
const FINAL_LIMIT: Duration = Duration::from_secs(5);

/// The workload `lin-kv`. [`Test`](crate::Test) shows how to test nodes with a workload.
///
/// ```
/// use maelstrom_sim::options::Options;
/// use maelstrom_sim::workload::{FinalOps, LinKv, Workload};
///
/// let last = |lin_kv: LinKv| lin_kv.generator(&Options::default()).final_ops();
/// assert!(matches!(last(LinKv::default()), FinalOps::None));
/// assert!(matches!(last(LinKv { has_finale: true }), FinalOps::Many { .. }));
/// ```
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LinKv {
    /// Whether each thread writes and reads its key once more after all faults have ended.
    /// Maelstrom's threads do not, so Maelstrom never notices a node that has become silent.
    #[arg(skip)]
    pub has_finale: bool,
}

const RPCS: &[Rpc] = &[
    Rpc {
        name: "read",
        about: "The node tells the value of a key. Error 20: the key does not exist.",
        request: &[Field::new("key", Schema::ANY, "0", "The key.")],
        reply: &[Field::new("value", Schema::ANY, "3", "The value.")],
    },
    Rpc {
        name: "write",
        about: "The node sets the value of a key, which need not exist.",
        request: &[
            Field::new("key", Schema::ANY, "0", "The key."),
            Field::new("value", Schema::ANY, "3", "The value."),
        ],
        reply: &[],
    },
    Rpc {
        name: "cas",
        about: "The node sets the value of a key if it is `from`. Error 20: the key does not exist. \
                Error 22: its value is another one.",
        request: &[
            Field::new("key", Schema::ANY, "0", "The key."),
            Field::new("from", Schema::ANY, "3", "The value before."),
            Field::new("to", Schema::ANY, "4", "The value after."),
        ],
        reply: &[],
    },
];

impl Workload for LinKv {
    fn name(&self) -> &'static str {
        "lin-kv"
    }

    fn about(&self) -> &'static str {
        "Nodes keep a map of registers. Each register must be linearizable: every operation takes \
         effect at one moment between its request and its reply."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn validate(&self, options: &Options) -> Result<(), String> {
        let (threads, group) = (options.concurrency, group_size(options));
        if threads > 0 && threads.is_multiple_of(group) {
            return Ok(());
        }
        Err(format!(
            "lin-kv needs twice as many clients as nodes, or a multiple of that: --concurrency 2n, 4n, \
             … (here {group}, {}, …), not {threads}",
            2 * group
        ))
    }

    fn settings(&self) -> Vec<String> {
        self.has_finale.then(|| "final operations".into()).into_iter().collect()
    }

    fn generator(&self, options: &Options) -> Box<dyn Generator> {
        Box::new(Groups::new(options, self.has_finale))
    }

    fn for_sweep(&self, _rng: &mut SimRng, options: &mut Options) -> Option<Arc<dyn Workload>> {
        options.concurrency = group_size(options);
        Some(Arc::new(Self { has_finale: true }))
    }

    fn is_idempotent(&self, f: &str) -> bool {
        f == "read"
    }

    fn reuses_address(&self) -> bool {
        true
    }

    fn call_timeout(&self, options: &Options) -> Duration {
        Duration::from_millis(options.latency.mean_ms.saturating_mul(10).max(1_000))
    }

    fn check(&self, history: &History) -> WorkloadResults {
        check(history)
    }
}

/// How many threads work on a key.
fn group_size(options: &Options) -> usize {
    2 * options.nodes.len().max(1)
}

/// The threads that work on one key.
#[derive(Debug)]
struct Group {
    key: u64,
    /// The processes that have worked on the key, or could have.
    processes: BTreeSet<u64>,
}

/// Generates the operations of the clients.
#[derive(Debug)]
struct Groups {
    /// The number of threads in a group.
    size: usize,
    /// The current process of each thread.
    processes: Vec<u64>,
    groups: Vec<Group>,
    next_key: u64,
    has_finale: bool,
    /// How many final operations each thread has begun.
    finale: BTreeMap<usize, u8>,
}

impl Groups {
    fn new(options: &Options, has_finale: bool) -> Self {
        let size = group_size(options);
        let count = options.concurrency.div_ceil(size);
        let groups: Vec<Group> =
            (0..count as u64).map(|key| Group { key, processes: BTreeSet::new() }).collect();
        Self {
            size,
            processes: (0..options.concurrency as u64).collect(),
            next_key: groups.len() as u64,
            groups,
            has_finale,
            finale: BTreeMap::new(),
        }
    }

    /// The thread of this process.
    fn thread(&self, process: u64) -> usize {
        let threads = self.processes.len().max(1) as u64;
        usize::try_from(process % threads).unwrap_or_default()
    }

    /// The key on which a thread works. As in Jepsen, all processes of a group count, even those
    /// that execute no operation.
    fn key(&mut self, thread: usize) -> u64 {
        let at = thread / self.size;
        let now = self.processes.iter().skip(at * self.size).take(self.size).copied();
        let now: BTreeSet<u64> = now.collect();
        let Some(group) = self.groups.get_mut(at) else {
            return 0;
        };
        let is_new = group.processes.is_empty();
        group.processes.extend(&now);
        if !is_new && group.processes.len() > PROCESSES_MAX {
            *group = Group { key: self.next_key, processes: now };
            self.next_key += 1;
        }
        group.key
    }
}

impl Generator for Groups {
    fn next(&mut self, process: u64, rng: &mut SimRng) -> Invocation {
        let thread = self.thread(process);
        let key = self.key(thread);
        if thread % self.size < self.size / 2 {
            return Invocation::new("read", &json!([key, null]));
        }
        if rng.random_range(0..3) == 0 {
            return Invocation::new("write", &json!([key, rng.random_range(0..VALUES)]));
        }
        let (from, to) = (rng.random_range(0..VALUES), rng.random_range(0..VALUES));
        Invocation::new("cas", &json!([key, [from, to]]))
    }

    fn final_ops(&self) -> FinalOps {
        if self.has_finale {
            FinalOps::Many { pace: FINAL_PACE, limit: FINAL_LIMIT }
        } else {
            FinalOps::None
        }
    }

    fn next_final(&mut self, process: u64) -> Option<Invocation> {
        let thread = self.thread(process);
        let group = self.groups.get(thread / self.size)?;
        let begun = self.finale.entry(thread).or_default();
        *begun = begun.saturating_add(1);
        match *begun {
            // The write comes first, because a read of a key that nobody wrote returns an error.
            1 => Some(Invocation::new("write", &json!([group.key, process % VALUES]))),
            2 => Some(Invocation::new("read", &json!([group.key, null]))),
            _ => None,
        }
    }

    fn step(&mut self, _process: u64, op: &Invocation, results: &[Option<Box<RawValue>>]) -> Step {
        let (key, value) = parts(op.argument());
        let Some(result) = results.first() else {
            return Step::Ask(match op.f {
                "read" => RequestBody::new("read", [("key", key)]),
                "write" => RequestBody::new("write", [("key", key), ("value", value)]),
                _ => {
                    let (from, to) = parts(value);
                    RequestBody::new("cas", [("key", key), ("from", from), ("to", to)])
                }
            });
        };
        Step::Done(result.as_ref().and_then(|read| pair(&key, read)))
    }

    fn ended(&mut self, end: &Op) {
        let (Process::Client(process), OpType::Info) = (end.process, end.kind) else {
            return;
        };
        let (thread, threads) = (self.thread(process), self.processes.len() as u64);
        if let Some(current) = self.processes.get_mut(thread) {
            *current = process + threads;
        }
    }
}

/// The two parts of an argument.
fn parts(pair: Value) -> (Value, Value) {
    serde_json::from_value(pair).unwrap_or_default()
}

/// A key and the value that was read, exactly as received.
fn pair(key: &Value, read: &RawValue) -> Option<Box<RawValue>> {
    RawValue::from_string(format!("[{key},{}]", read.get())).ok().or_else(|| raw(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{self, Stream};

    fn groups(nodes: usize, concurrency: usize) -> Groups {
        let options = Options::default().with_node_count(nodes);
        Groups::new(&Options { concurrency, ..options }, false)
    }

    fn key_of(op: &Invocation) -> u64 {
        op.argument()[0].as_u64().unwrap()
    }

    #[test]
    fn half_of_a_group_only_read_and_the_others_write_one_time_in_three() {
        let mut rng = rng::stream(1, Stream::Generator);
        let mut groups = groups(3, 12);
        for process in 0..12 {
            let ops: Vec<Invocation> = (0..600).map(|_| groups.next(process, &mut rng)).collect();
            assert!(ops.iter().all(|op| key_of(op) == process / 6));
            let writes = ops.iter().filter(|op| op.f == "write").count();
            let reads = ops.iter().filter(|op| op.f == "read").count();
            if process % 6 < 3 {
                assert_eq!(reads, 600);
            } else {
                assert!(reads == 0 && (150..250).contains(&writes), "{writes}");
            }
        }
    }

    #[test]
    fn a_group_goes_on_to_a_new_key_after_twenty_processes() {
        let mut rng = rng::stream(1, Stream::Generator);
        let mut groups = groups(1, 4);
        let mut process = 0;
        let mut keys = Vec::new();
        for _ in 0..40 {
            keys.push(key_of(&groups.next(process, &mut rng)));
            let info = Op::new(Process::Client(process), OpType::Info, "write");
            groups.ended(&info);
            process += 4;
        }
        // These are two threads: one process of the first, and 19 of the second.
        assert_eq!(keys.iter().position(|key| *key != 0), Some(19));
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 3);
        // The other group has its own key.
        assert_eq!(key_of(&groups.next(2, &mut rng)), 1);
    }

    #[test]
    fn clients_must_fill_groups() {
        let valid = |concurrency| {
            let options = Options { concurrency, ..Options::default().with_node_count(3) };
            LinKv::default().validate(&options).is_ok()
        };
        assert!(valid(6) && valid(12));
        assert!(!valid(0) && !valid(3) && !valid(7));
    }

    #[test]
    fn a_value_that_was_read_stays_as_it_came() {
        let mut groups = groups(1, 2);
        let op = Invocation::new("read", &json!([3, null]));
        let read = RawValue::from_string("1.00".into()).unwrap();
        let Step::Done(Some(value)) = groups.step(0, &op, &[Some(read)]) else { panic!() };
        assert_eq!(value.get(), "[3,1.00]");
    }
}
