//! Judges a history, by Maelstrom's rules and a few that are stricter.
//!
//! A checker knows nothing of how the history came about: it serves real processes and simulated
//! nodes alike.

pub mod counter;
pub mod echo;
pub(crate) mod finals;
pub mod kafka;
pub mod set_full;
pub mod txn;
pub mod unique_ids;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::history::{History, OpType};
use crate::network::NetStats;
use crate::options::Availability;
use crate::workload::Workload;

/// What a checker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The history is as it must be.
    Valid,
    /// The history does not tell.
    Unknown,
    /// The history shows an error.
    Invalid,
}

impl Verdict {
    /// The worst of all.
    #[must_use]
    pub fn merge(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts.into_iter().max().unwrap_or(Self::Valid)
    }

    /// Invalid if `errors`, else valid.
    #[must_use]
    pub const fn invalid_if(errors: bool) -> Self {
        if errors { Self::Invalid } else { Self::Valid }
    }
}

impl Serialize for Verdict {
    /// As in Maelstrom's `:valid?`: `true`, `false` or `"unknown"`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Valid => serializer.serialize_bool(true),
            Self::Invalid => serializer.serialize_bool(false),
            Self::Unknown => serializer.serialize_str("unknown"),
        }
    }
}

/// What the workload's own checker found.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadResults {
    /// Its verdict.
    #[serde(rename = "valid?")]
    pub valid: Verdict,
    /// The verdict by Maelstrom's rules alone, quirks included.
    #[serde(rename = "maelstrom-valid?")]
    pub maelstrom_valid: Verdict,
    /// Whether it is invalid only because the history tells nothing: faults may be the reason.
    #[serde(skip)]
    pub(crate) is_uninformative: bool,
    /// Its figures and findings, under Maelstrom's names.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl WorkloadResults {
    /// A verdict, that by Maelstrom's rules alone, and the findings.
    #[must_use]
    pub const fn new(valid: Verdict, maelstrom_valid: Verdict, fields: Map<String, Value>) -> Self {
        Self { valid, maelstrom_valid, is_uninformative: false, fields }
    }
}

/// How many operations there were.
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

    /// Invalid if nothing succeeded.
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

/// All that is known about a test in the end.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// How many operations there were, and what became of them.
    pub stats: Value,
    /// Which part of them succeeded.
    pub availability: Value,
    /// How many messages they took.
    pub net: Value,
    /// What the workload's checker found.
    pub workload: WorkloadResults,
    /// The worst of all verdicts.
    #[serde(rename = "valid?")]
    pub valid: Verdict,
    /// The same by Maelstrom's rules alone. It differs where this checker is stricter.
    #[serde(rename = "maelstrom-valid?")]
    pub maelstrom_valid: Verdict,
    /// Whether it is invalid only because nothing happened that could be judged. In a sweep, faults
    /// excuse that.
    #[serde(skip)]
    pub(crate) is_uninformative: bool,
}

impl Results {
    /// Judges a history.
    #[must_use]
    pub fn judge(
        workload: &dyn Workload,
        history: &History,
        net: NetStats,
        availability: Option<Availability>,
    ) -> Self {
        let (all, by_f) = count(history);
        let (stats_valid, stats) = stats(all, &by_f);
        let (availability_valid, availability) = check_availability(all, availability);
        let workload = workload.check(history);
        let with = |own| Verdict::merge([stats_valid, availability_valid, own]);
        let (valid, maelstrom_valid) = (with(workload.valid), with(workload.maelstrom_valid));
        let net = net_results(net, all.invoked);
        let is_bad = |verdict| verdict == Verdict::Invalid;
        let is_uninformative = is_bad(valid)
            && !is_bad(availability_valid)
            && (!is_bad(workload.valid) || workload.is_uninformative);
        Self { stats, availability, net, workload, valid, maelstrom_valid, is_uninformative }
    }
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

/// Jepsen's `stats`: invalid if a function never succeeded. A crash cannot.
fn stats(all: OpCounts, by_f: &BTreeMap<&'static str, OpCounts>) -> (Verdict, Value) {
    let can_succeed = by_f.iter().filter(|(f, _)| **f != "crash");
    let valid = Verdict::merge(can_succeed.map(|(_, counts)| counts.verdict()));
    let rows = by_f.iter().map(|(f, counts)| ((*f).to_owned(), counts.to_json().into()));
    let mut stats = all.to_json();
    stats.insert("valid?".into(), json!(valid));
    stats.insert("by-f".into(), Value::Object(rows.collect()));
    (valid, stats.into())
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
    let row = |counts: crate::network::Counts, per_op: bool| {
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

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
