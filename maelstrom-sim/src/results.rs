//! The results of a test: statistics, availability, network figures, the findings of the workload's
//! checker, and the overall verdict.

use std::collections::BTreeMap;

use maelstrom_core::NodeId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::checker::{Verdict, WorkloadResults, object};
use crate::excerpt::sentence;
use crate::history::{History, OpType};
use crate::network::{Counts, NetStats};
use crate::options::Availability;

/// The number of operations, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OpCounts {
    invoked: u64,
    ok: u64,
    fail: u64,
    info: u64,
}

impl OpCounts {
    fn add(&mut self, kind: OpType) {
        match kind {
            OpType::Invoke => self.invoked += 1,
            OpType::Ok => self.ok += 1,
            OpType::Fail => self.fail += 1,
            OpType::Info => self.info += 1,
        }
    }

    /// Invalid if no operation succeeded.
    const fn verdict(&self) -> Verdict {
        Verdict::invalid_if(self.ok == 0)
    }

    fn to_json(self) -> Map<String, Value> {
        object(json!({
            "valid?": self.verdict(),
            "count": self.ok + self.fail + self.info,
            "ok-count": self.ok,
            "fail-count": self.fail,
            "info-count": self.info,
        }))
    }
}

/// The results of a test.
///
/// ```
/// # use maelstrom_sim::history::{History, Op, OpType, Process};
/// use maelstrom_sim::checker::{Verdict, WorkloadResults};
/// use maelstrom_sim::network::NetStats;
/// use maelstrom_sim::options::Availability;
/// use maelstrom_sim::results::Results;
///
/// # let mut history = History::default();
/// # history.push(Op::new(Process::Client(0), OpType::Invoke, "read"));
/// # history.push(Op { invocation: Some(0), ..Op::new(Process::Client(0), OpType::Ok, "read") });
/// // The history has one read, which succeeded.
/// let (found, total) = (WorkloadResults::from_cause(None), Some(Availability::Total));
/// let results = Results::judge(found, &history, NetStats::default(), total);
/// assert_eq!((results.valid, &results.stats["ok-count"]), (Verdict::Valid, &1.into()));
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The number of operations, by function and outcome.
    pub stats: Value,
    /// The fraction of operations that succeeded.
    pub availability: Value,
    /// The number of messages.
    pub net: Value,
    /// The findings of the workload's checker.
    pub workload: WorkloadResults,
    /// The first cause of a verdict that is not valid, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The operations that prove the cause, as indices into the history, in the order in which a
    /// person should read them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<usize>,
    /// Why the test ended early, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The nodes that broke the protocol and were muted, each with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub muted: BTreeMap<NodeId, String>,
    /// The nodes that replied twice to the same request, each with the first such reply.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub replied_twice: BTreeMap<NodeId, String>,
    /// The worst of all verdicts.
    #[serde(rename = "valid?")]
    pub valid: Verdict,
    /// The verdict by Maelstrom's rules alone. It differs if this checker is stricter.
    #[serde(rename = "maelstrom-valid?")]
    pub maelstrom_valid: Verdict,
    /// Whether the test is invalid only because its history shows too little. A sweep forgives that
    /// if there were faults.
    #[serde(skip)]
    pub(crate) is_uninformative: bool,
}

impl Results {
    /// Combines the findings of the workload's checker with statistics about this history.
    #[must_use]
    pub fn judge(
        workload: WorkloadResults,
        history: &History,
        net: NetStats,
        availability: Option<Availability>,
    ) -> Self {
        let (all, by_f) = count(history);
        let (stats_valid, stats) = stats(all, &by_f);
        let (availability_valid, availability) = check_availability(all, availability);
        let with = |own| Verdict::merge([stats_valid, availability_valid, own]);
        let maelstrom_valid = with(workload.maelstrom_valid);
        let valid = with(workload.valid);
        let own = || workload.cause.clone().map(|text| (text, workload.evidence.clone()));
        let cause = never_succeeded(history, &by_f)
            .or_else(|| own().filter(|_| workload.valid == Verdict::Invalid))
            .or_else(|| too_few(history, all, availability_valid))
            .or_else(own)
            .filter(|_| valid != Verdict::Valid);
        let (cause, evidence) = cause.map_or((None, Vec::new()), |(text, ops)| (Some(text), ops));
        let net = net_results(net, all.invoked);
        let is_bad = |verdict| verdict == Verdict::Invalid;
        let is_uninformative = is_bad(valid)
            && !is_bad(availability_valid)
            && (!is_bad(workload.valid) || workload.is_uninformative);
        let (failure, muted, replied_twice) = (None, BTreeMap::new(), BTreeMap::new());
        Self {
            stats,
            availability,
            net,
            workload,
            cause,
            evidence,
            failure,
            muted,
            replied_twice,
            valid,
            maelstrom_valid,
            is_uninformative,
        }
    }

    /// Marks the test as ended early. Its history proves nothing good, so the verdict is at best
    /// unknown.
    #[must_use]
    pub(crate) fn with_failure(mut self, why: String) -> Self {
        self.valid = self.valid.max(Verdict::Unknown);
        self.maelstrom_valid = self.maelstrom_valid.max(Verdict::Unknown);
        self.is_uninformative = false;
        self.cause = Some(why.clone());
        self.evidence.clear();
        self.failure = Some(why);
        self
    }

    /// Makes the verdict unknown if no operation succeeded. Maelstrom calls a test without
    /// operations valid.
    #[must_use]
    pub(crate) fn with_successes(mut self, count: u64) -> Self {
        if count == 0 {
            self.valid = self.valid.max(Verdict::Unknown);
            self.cause.get_or_insert_with(|| "no operation succeeded".into());
        }
        self
    }

    /// Makes the test invalid if nodes replied twice to the same request. Maelstrom ignores that.
    #[must_use]
    pub(crate) fn with_second_replies(mut self, nodes: &BTreeMap<NodeId, String>) -> Self {
        if let Some((node, reply)) = nodes.first_key_value() {
            self.valid = Verdict::Invalid;
            self.is_uninformative = false;
            self.cause.get_or_insert_with(|| replied_twice_in_words(node, reply));
            self.replied_twice = nodes.clone();
        }
        self
    }

    /// Makes the test invalid if nodes broke the protocol. Maelstrom ignores these nodes and judges
    /// the rest.
    #[must_use]
    pub(crate) fn with_muted(mut self, muted: &BTreeMap<NodeId, String>) -> Self {
        if let Some((node, why)) = muted.first_key_value() {
            self.valid = Verdict::Invalid;
            self.is_uninformative = false;
            self.cause = self.failure.clone().or_else(|| Some(muted_in_words(node, why)));
            self.evidence.clear();
            self.muted = muted.clone();
        }
        self
    }

    /// The same results judged exactly as in Maelstrom, quirks included.
    #[must_use]
    pub(crate) fn by_maelstroms_rules(mut self) -> Self {
        self.valid = self.maelstrom_valid;
        self.workload.valid = self.workload.maelstrom_valid;
        if self.valid == Verdict::Valid {
            self.cause = None;
            self.evidence.clear();
        }
        self
    }
}

pub(crate) fn replied_twice_in_words(node: &NodeId, reply: &str) -> String {
    format!("{node} replied twice to a request, {reply}")
}

pub(crate) fn muted_in_words(node: &NodeId, why: &str) -> String {
    format!("{node} was not listened to from some moment on: {why}")
}

fn count(history: &History) -> (OpCounts, BTreeMap<&'static str, OpCounts>) {
    let mut all = OpCounts::default();
    let mut by_f: BTreeMap<&'static str, OpCounts> = BTreeMap::new();
    for op in history.client_ops() {
        all.add(op.kind);
        by_f.entry(op.f).or_default().add(op.kind);
    }
    (all, by_f)
}

/// Jepsen's `stats`: invalid if no operation of some function succeeded. The function `crash` never
/// succeeds and does not count.
fn stats(all: OpCounts, by_f: &BTreeMap<&'static str, OpCounts>) -> (Verdict, Value) {
    let can_succeed = by_f.iter().filter(|(f, _)| **f != "crash");
    let valid = Verdict::merge(can_succeed.map(|(_, counts)| counts.verdict()));
    let rows = by_f.iter().map(|(f, counts)| ((*f).to_owned(), counts.to_json().into()));
    let mut stats = all.to_json();
    stats.insert("valid?".into(), json!(valid));
    stats.insert("by-f".into(), Value::Object(rows.collect()));
    (valid, stats.into())
}

/// The cause of a verdict in words, and the operations that prove it.
type Cause = (String, Vec<usize>);

/// The first function without a success, and its first error.
fn never_succeeded(history: &History, by_f: &BTreeMap<&'static str, OpCounts>) -> Option<Cause> {
    let mut never = by_f.iter().filter(|(f, counts)| **f != "crash" && counts.ok == 0);
    let (f, _) = never.next()?;
    let mut failed = history.client_ops().filter(|op| op.f == *f && op.error.is_some());
    let first = failed.next();
    let error = first.and_then(|op| op.error.as_deref());
    let error = error.map_or("none was answered".into(), sentence);
    let text = format!("no {f} succeeded; first error: {error}");
    Some((text, first.map(|op| op.index).into_iter().collect()))
}

/// The number of operations that succeeded, and the first one that did not.
fn too_few(history: &History, all: OpCounts, valid: Verdict) -> Option<Cause> {
    if valid != Verdict::Invalid {
        return None;
    }
    let mut text = format!("only {} of {} operations succeeded", all.ok, all.invoked);
    let mut ops = history.client_ops();
    let first = ops.find(|op| matches!(op.kind, OpType::Fail | OpType::Info));
    if let Some(op) = first {
        let error = sentence(op.error.as_deref().unwrap_or("no answer"));
        text.push_str(&format!("; first error, of {}: {error}", op.f));
    }
    Some((text, first.map(|op| op.index).into_iter().collect()))
}

fn check_availability(all: OpCounts, expected: Option<Availability>) -> (Verdict, Value) {
    let fraction = if all.invoked == 0 { 1.0 } else { ratio(all.ok, all.invoked) };
    let valid = Verdict::invalid_if(match expected {
        None => false,
        Some(Availability::Total) => all.ok != all.invoked,
        Some(Availability::AtLeast(min)) => fraction < min,
    });
    (valid, json!({ "valid?": valid, "ok-fraction": fraction }))
}

fn net_results(net: NetStats, ops: u64) -> Value {
    let row = |counts: Counts, per_op: bool| {
        let mut row = object(json!(counts));
        row.insert("msg-count".into(), json!(counts.sent));
        if per_op && ops > 0 {
            row.insert("msgs-per-op".into(), json!(ratio(counts.sent, ops)));
        }
        Value::Object(row)
    };
    json!({
        "all": row(net.all(), true),
        "clients": row(net.clients, true),
        "servers": row(net.servers, true),
        "valid?": true,
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}
