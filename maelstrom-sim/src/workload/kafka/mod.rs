//! `kafka`: clients append messages to logs and read them from their last position. No message may
//! get lost, come twice or be skipped.
//!
//! After Jepsen's `jepsen.tests.kafka` without transactions, and Maelstrom's client for it. Half of
//! the operations are sends, and half are polls. One in 64 is an assign of keys instead, and every
//! client crashes now and then. A client's positions (the next offset to poll of each of its keys)
//! follow from the outcomes of its operations, and are lost with its process. So the checker never
//! relies on a read that is not in the history.
//!
//! Differences from Jepsen:
//!
//! - Messages are unique over all keys, so that each identifies its send.
//! - Some assigns before the end also seek to the beginning.
//! - A client continues after a committed offset, as Maelstrom documents it. (Maelstrom's own
//!   client begins at 0, because it looks for the offsets in the wrong place.)
//!
//! In the history, the value of a send is `[key, message]`, and at its end `[key, [offset,
//! message]]`. The value of a poll at its end is the messages that it read. The value of an assign
//! is the keys, and at its end also the committed offsets.

mod checker;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub use self::checker::{charts, check};

use self::values::{Assign, Offsets, Polled, highest, value_of};
use super::rpc::TOO_WIDE;
use super::{
    Field, FinalOps, Generator, Invocation, Keys, RequestBody, Rpc, Schema, Step, Workload,
    lengths_in_words, numbered, raw,
};
use crate::chart::Chart;
use crate::checker::WorkloadResults;
use crate::history::{History, Op, OpType, Process};
use crate::json::is_integer;
use crate::options::Options;
use crate::rng::SimRng;

/// The mean time between two crashes of a client.
const CRASH_INTERVAL_SECONDS: f64 = 30.0;

/// The probability that an operation becomes an assign.
const ASSIGN_PROBABILITY: f64 = 1.0 / 64.0;

/// The probability that an assign also covers all keys with unread messages.
const ASSIGN_UNSEEN_PROBABILITY: f64 = 1.0 / 3.0;

/// The probability that an assign before the end seeks to the beginning.
const SEEK_PROBABILITY: f64 = 1.0 / 4.0;

/// The mean time between two final polls of a thread.
const FINAL_PACE: Duration = Duration::from_millis(200);

/// How long threads may take to catch up at the end.
const FINAL_LIMIT: Duration = Duration::from_secs(10);

fn raise(offsets: &mut Offsets, key: &str, offset: i64) {
    let known = offsets.entry(key.to_owned()).or_insert(offset);
    *known = offset.max(*known);
}

/// The keys in use, each with its number of writes.
#[derive(Debug)]
struct KeysInUse {
    active: Vec<(u64, u64)>,
    next: u64,
    writes_max: u64,
}

impl KeysInUse {
    fn new(keys: Keys) -> Self {
        let (count, writes_max) = (u64::from(keys.key_count.max(1)), keys.max_writes_per_key);
        Self { active: (0..count).map(|key| (key, 0)).collect(), next: count, writes_max }
    }

    /// Draws whether to send, and the key. Each key is twice as likely as the one before it. If the
    /// key has reached its limit of writes, a new key replaces it.
    fn draw(&mut self, rng: &mut SimRng) -> (bool, String) {
        loop {
            let is_send = rng.random_bool(0.5);
            // Ignores all keys but the last 63, because the others are too unlikely.
            let likely = self.active.len().min(63);
            let place = rng.random_range(1..1_u64 << likely).ilog2();
            let skipped = self.active.len() - likely;
            let place = usize::try_from(place).ok().map(|place| skipped + place);
            let key = place.and_then(|place| self.active.get_mut(place));
            let Some((key, writes)) = key else {
                continue;
            };
            if is_send && *writes >= self.writes_max.max(1) {
                (*key, *writes) = (self.next, 0);
                self.next += 1;
                continue;
            }
            *writes += u64::from(is_send);
            return (is_send, key.to_string());
        }
    }
}

/// The workload `kafka`. [`Test`](crate::Test) shows how to test nodes with a workload.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Kafka {
    /// The keys of the logs.
    #[command(flatten)]
    pub keys: Keys,
    /// Kinds of findings that do not make a test invalid, because the nodes' options do not promise
    /// more.
    #[arg(skip)]
    pub harmless: Vec<&'static str>,
    /// The lengths of the messages as JSON, in bytes. Each message is a string with one of these
    /// lengths, drawn at random. Empty: the messages are numbers.
    #[arg(skip)]
    pub lengths: Vec<usize>,
}

/// Generates the operations of the clients.
#[derive(Debug)]
struct Clients {
    keys: KeysInUse,
    lengths: Vec<usize>,
    next_message: u64,
    crash_probability: f64,
    concurrency: u64,
    /// The positions of each process in the keys that are assigned to it.
    positions: BTreeMap<u64, Offsets>,
    /// The highest offsets that a send or a poll showed.
    known: Offsets,
    /// The highest offsets that a poll showed.
    polled: Offsets,
    /// The offsets that each thread still has to reach at the end.
    targets: BTreeMap<u64, Offsets>,
}

impl Clients {
    fn new(keys: Keys, options: &Options) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "there are few threads")]
        let crashes_per_second = options.concurrency as f64 / CRASH_INTERVAL_SECONDS;
        let crash_probability =
            if options.rate > 0.0 { (crashes_per_second / options.rate).min(0.25) } else { 0.0 };
        Self {
            keys: KeysInUse::new(keys),
            lengths: Vec::new(),
            next_message: 0,
            crash_probability,
            concurrency: options.concurrency.max(1) as u64,
            positions: BTreeMap::new(),
            known: Offsets::new(),
            polled: Offsets::new(),
            targets: BTreeMap::new(),
        }
    }

    fn assign(&self, key: String, rng: &mut SimRng) -> Invocation {
        let mut keys = BTreeSet::from([key]);
        if rng.random_bool(ASSIGN_UNSEEN_PROBABILITY) {
            let unseen = self
                .known
                .iter()
                .filter(|(key, sent)| self.polled.get(*key).is_none_or(|polled| polled < sent));
            keys.extend(unseen.map(|(key, _)| key.clone()));
        }
        let seek_to_beginning = rng.random_bool(SEEK_PROBABILITY);
        invoke_assign(keys.into_iter().collect(), seek_to_beginning)
    }

    /// Runs a poll. As in Maelstrom, the client moves its positions before it commits them. If the
    /// commit fails, the positions have moved all the same.
    fn step_poll(&mut self, process: u64, results: &[Option<Box<RawValue>>]) -> Step {
        let Some(read) = results.first() else {
            let offsets = self.positions.get(&process).cloned().unwrap_or_default();
            return Step::Ask(RequestBody::new("poll", [("offsets", json!(offsets))]));
        };
        let read = read.as_deref();
        let offsets = highest(&value_of::<Polled<'_>>(read).unwrap_or_default());
        if results.len() == 1 && !offsets.is_empty() {
            self.move_on(process, &offsets);
            return Step::Ask(RequestBody::new("commit_offsets", [("offsets", json!(offsets))]));
        }
        Step::Done(read.map(ToOwned::to_owned))
    }

    fn move_on(&mut self, process: u64, read: &Offsets) {
        let Some(positions) = self.positions.get_mut(&process) else {
            return;
        };
        for (key, position) in positions {
            if let Some(offset) = read.get(key) {
                *position = offset.saturating_add(1).max(*position);
            }
        }
    }

    fn poll_ended(&mut self, end: &Op, process: u64) {
        let polled: Polled<'_> = value_of(end.value.as_deref()).unwrap_or_default();
        for (key, offset) in highest(&polled) {
            raise(&mut self.known, &key, offset);
            raise(&mut self.polled, &key, offset);
            if end.is_final
                && let Some(targets) = self.targets.get_mut(&(process % self.concurrency))
                && targets.get(&key).is_some_and(|target| *target <= offset)
            {
                targets.remove(&key);
            }
        }
    }
}

fn invoke_assign(keys: Vec<String>, seek_to_beginning: bool) -> Invocation {
    let assign = Assign { keys, seek_to_beginning, committed: None };
    Invocation { f: "assign", value: raw(&json!(assign)) }
}

fn step_assign(op: &Invocation, results: &[Option<Box<RawValue>>]) -> Step {
    let mut assign: Assign = value_of(op.value.as_deref()).unwrap_or_default();
    if assign.seek_to_beginning {
        return Step::Done(None);
    }
    let Some(result) = results.first() else {
        let keys = json!(assign.keys);
        return Step::Ask(RequestBody::new("list_committed_offsets", [("keys", keys)]));
    };
    assign.committed = Some(value_of(result.as_deref()).unwrap_or_default());
    Step::Done(raw(&json!(assign)))
}

fn step_send(op: &Invocation, results: &[Option<Box<RawValue>>]) -> Step {
    let (key, message): (String, Value) = value_of(op.value.as_deref()).unwrap_or_default();
    let Some(result) = results.first() else {
        let fields = [("key", json!(key)), ("msg", message)];
        return Step::Ask(RequestBody::new("send", fields));
    };
    let offset: Option<i64> = value_of(result.as_deref());
    Step::Done(raw(&json!([key, [offset, message]])))
}

impl Generator for Clients {
    fn next(&mut self, _process: u64, rng: &mut SimRng) -> Invocation {
        if rng.random_bool(self.crash_probability) {
            return Invocation { f: "crash", value: None };
        }
        if rng.random_bool(ASSIGN_PROBABILITY) {
            let (_, key) = self.keys.draw(rng);
            return self.assign(key, rng);
        }
        let (is_send, key) = self.keys.draw(rng);
        if !is_send {
            return Invocation { f: "poll", value: None };
        }
        let number = self.next_message;
        self.next_message += 1;
        let message = numbered(number, self.lengths.choose(rng));
        Invocation { f: "send", value: raw(&json!([key, message])) }
    }

    fn final_ops(&self) -> FinalOps {
        FinalOps::Many { pace: FINAL_PACE, limit: FINAL_LIMIT }
    }

    /// A new client polls all keys from the beginning until it has reached the highest offsets.
    fn next_final(&mut self, process: u64) -> Option<Invocation> {
        let thread = process % self.concurrency;
        let Some(targets) = self.targets.get(&thread) else {
            self.targets.insert(thread, self.known.clone());
            return (!self.known.is_empty()).then_some(Invocation { f: "crash", value: None });
        };
        if targets.is_empty() {
            return None;
        }
        if self.positions.contains_key(&process) {
            return Some(Invocation { f: "poll", value: None });
        }
        Some(invoke_assign(targets.keys().cloned().collect(), true))
    }

    fn step(&mut self, process: u64, op: &Invocation, results: &[Option<Box<RawValue>>]) -> Step {
        match op.f {
            "poll" => self.step_poll(process, results),
            "assign" => step_assign(op, results),
            "send" => step_send(op, results),
            _ => Step::Crash,
        }
    }

    fn ended(&mut self, end: &Op) {
        let Process::Client(process) = end.process else {
            return;
        };
        match (end.kind, end.f) {
            (OpType::Info, _) => drop(self.positions.remove(&process)),
            (OpType::Ok, "assign") => {
                let assign: Assign = value_of(end.value.as_deref()).unwrap_or_default();
                let positions = self.positions.entry(process).or_default();
                *positions = assign.positions(positions);
            }
            (OpType::Ok, "poll") => self.poll_ended(end, process),
            (OpType::Ok, "send") => {
                let sent: Option<(String, (i64, &RawValue))> = value_of(end.value.as_deref());
                if let Some((key, (offset, _))) = sent {
                    raise(&mut self.known, &key, offset);
                }
            }
            _ => {}
        }
    }
}

/// Reads the messages of a reply. Null in place of a list, which is a nil slice in Go, counts as an
/// empty list.
fn read_polled(value: &RawValue) -> Result<Box<RawValue>, String> {
    type Lists<'a, Offset> = BTreeMap<String, Option<Vec<(Offset, &'a RawValue)>>>;
    if value_of::<Polled<'_>>(Some(value)).is_some() {
        return Ok(value.to_owned());
    }
    let lists: Option<Lists<'_, i64>> = value_of(Some(value));
    let polled = lists.and_then(|lists| {
        let given = lists.into_iter().filter_map(|(key, list)| Some((key, list?)));
        serde_json::value::to_raw_value(&given.collect::<Polled<'_>>()).ok()
    });
    polled.ok_or_else(|| {
        let lists: Option<Lists<'_, &RawValue>> = value_of(Some(value));
        let pairs = lists.map(|lists| lists.into_values().flatten().flatten().collect());
        let pairs: Option<Vec<_>> = pairs;
        let offsets = pairs.map(|pairs| pairs.into_iter().map(|(offset, _)| offset).collect());
        why_no_offsets(offsets, POLLED)
    })
}

fn read_offsets(value: &RawValue) -> Result<Box<RawValue>, String> {
    let offsets: Option<Offsets> = value_of(Some(value));
    let offsets = offsets.and_then(|offsets| raw(&json!(offsets)));
    offsets.ok_or_else(|| {
        let offsets: Option<BTreeMap<String, &RawValue>> = value_of(Some(value));
        why_no_offsets(offsets.map(|offsets| offsets.into_values().collect()), OFFSETS)
    })
}

/// Explains why a value with these offsets does not have this form.
fn why_no_offsets(offsets: Option<Vec<&RawValue>>, form: Schema) -> String {
    if offsets.is_some_and(|offsets| offsets.into_iter().all(is_integer)) {
        format!("has an offset that {TOO_WIDE}")
    } else {
        format!("is not {}", form.name)
    }
}

fn read_offset(value: &RawValue) -> Result<Box<RawValue>, String> {
    let offset: Option<i64> = value_of(Some(value));
    let why = if is_integer(value) { TOO_WIDE } else { "is not an integer" };
    offset.and_then(|offset| raw(&json!(offset))).ok_or_else(|| why.into())
}

const OFFSET: Schema = Schema { name: "an integer", read: read_offset };

const OFFSETS: Schema = Schema { name: "an object of integers", read: read_offsets };

const POLLED: Schema =
    Schema { name: "an object of lists of [offset, message]", read: read_polled };

const RPCS: &[Rpc] = &[
    Rpc {
        name: "send",
        about: "The node appends a message to the log of a key.",
        request: &[
            Field::new("key", Schema::STRING, r#""k1""#, "The key of the log."),
            Field::new("msg", Schema::ANY, "123", "The message."),
        ],
        reply: &[Field::new(
            "offset",
            OFFSET,
            "1000",
            "Where the message is in the log. Offsets rise within a log; there may be gaps.",
        )],
    },
    Rpc {
        name: "poll",
        about: "The node returns a run of messages of each log, from an offset on.",
        request: &[Field::new("offsets", OFFSETS, r#"{"k1":1000}"#, "Where to begin in each log.")],
        reply: &[Field::new(
            "msgs",
            POLLED,
            r#"{"k1":[[1000,123],[1001,7]]}"#,
            "Of each log the messages with their offsets, without gaps. A log may be left out.",
        )],
    },
    Rpc {
        name: "commit_offsets",
        about: "The node remembers that clients have read each log up to an offset.",
        request: &[Field::new("offsets", OFFSETS, r#"{"k1":1001}"#, "The last offsets read.")],
        reply: &[],
    },
    Rpc {
        name: "list_committed_offsets",
        about: "The node tells what has been committed.",
        request: &[Field::new("keys", Schema::LIST, r#"["k1"]"#, "The keys of the logs.")],
        reply: &[Field::new(
            "offsets",
            OFFSETS,
            r#"{"k1":1001}"#,
            "The committed offsets. Logs of which nothing is committed are left out.",
        )],
    },
];

impl Workload for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn about(&self) -> &'static str {
        "Nodes keep a log of messages for each key. No acknowledged message may get lost, come twice, \
         change its offset or be passed over by a client that polls on from where it was. When all \
         faults are over, clients poll until they have seen everything, for 10 s at most."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn settings(&self) -> Vec<String> {
        let mut settings = self.keys.settings();
        let harmless = || format!("harmless findings: {}", self.harmless.join(", "));
        settings.extend((!self.harmless.is_empty()).then(harmless));
        settings.extend(lengths_in_words(&self.lengths));
        settings
    }

    fn generator(&self, options: &Options) -> Box<dyn Generator> {
        let lengths = self.lengths.clone();
        Box::new(Clients { lengths, ..Clients::new(self.keys, options) })
    }

    fn for_sweep(&self, rng: &mut SimRng, _options: &mut Options) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(Self { keys: Keys::draw(rng), ..self.clone() }))
    }

    /// As in Maelstrom, a poll or send with an unknown outcome stays unknown.
    fn is_idempotent(&self, f: &str) -> bool {
        f == "assign"
    }

    fn check(&self, history: &History) -> WorkloadResults {
        checker::check(history, &self.harmless)
    }

    fn charts(&self, history: &History) -> Vec<Chart> {
        charts(history)
    }
}

#[cfg(test)]
mod tests;
