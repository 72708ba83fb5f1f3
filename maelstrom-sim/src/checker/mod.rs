//! Judges a history by Maelstrom's rules, and by a few stricter ones.
//!
//! A checker reads nothing but the history. So it serves real processes and simulated nodes alike.

pub mod counter;
pub(crate) mod finals;
pub(crate) mod headline;
pub mod linearizable;
pub mod set_full;
pub mod txn;

pub use crate::json::canonical;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// How many operations a verdict names as evidence.
const EVIDENCE_MAX: usize = 16;

/// The indices of the operations that a finding shows, at any depth. An operation is an object with
/// an `index` and a `process`. The search does not look into its value, because nodes choose it.
pub(crate) fn indexes_in(finding: &Value) -> Vec<usize> {
    let own = finding.get("process").and_then(|_| finding.get("index")?.as_u64());
    let own = own.and_then(|at| usize::try_from(at).ok());
    let mut all: Vec<usize> = own.into_iter().collect();
    match finding {
        Value::Array(items) => all.extend(items.iter().flat_map(indexes_in)),
        Value::Object(fields) => {
            let fields =
                fields.iter().filter(|(name, _)| !["value", "txn"].contains(&name.as_str()));
            all.extend(fields.flat_map(|(_, field)| indexes_in(field)));
        }
        _ => {}
    }
    all
}

/// The verdict of a checker.
///
/// ```
/// use maelstrom_sim::checker::Verdict;
///
/// let all = [Verdict::Valid, Verdict::Unknown, Verdict::Valid];
/// assert_eq!(Verdict::merge(all), Verdict::Unknown);
/// assert_eq!(serde_json::to_string(&all)?, r#"[true,"unknown",true]"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The history is correct.
    Valid,
    /// The history is not enough to decide.
    Unknown,
    /// The history shows an error.
    Invalid,
}

impl Verdict {
    /// The worst of these verdicts.
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

/// A dependency between two operations: the first comes before the second in every order that
/// explains the history. [`WorkloadResults`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// The index of the operation that comes first. `None`: the initial state.
    pub from: Option<usize>,
    /// The index of the operation that comes after it.
    pub to: Option<usize>,
    /// The kind of dependency in a word or two, such as `read its write`.
    pub kind: &'static str,
}

/// The findings of a workload's checker.
///
/// ```
/// use maelstrom_sim::checker::{Dependency, Verdict, WorkloadResults};
///
/// let cause = "op 9 read a value that op 4 had overwritten";
/// let mut results = WorkloadResults::from_cause(Some(cause.into())).proved_by([4, 9]);
/// results.dependencies.push(Dependency { from: Some(9), to: Some(4), kind: "read before" });
/// assert_eq!((results.valid, results.evidence), (Verdict::Invalid, vec![4, 9]));
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadResults {
    /// Its verdict.
    #[serde(rename = "valid?")]
    pub valid: Verdict,
    /// The verdict by Maelstrom's rules alone, quirks included.
    #[serde(rename = "maelstrom-valid?")]
    pub maelstrom_valid: Verdict,
    /// The first cause of a verdict that is not valid, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The operations that prove the cause, as indices into the history, in the order in which a
    /// person should read them.
    #[serde(skip)]
    pub evidence: Vec<usize>,
    /// A longer explanation of the cause, in a few lines.
    #[serde(skip)]
    pub explanation: Vec<String>,
    /// The dependencies between operations, if they are the cause.
    #[serde(skip)]
    pub dependencies: Vec<Dependency>,
    /// Whether the history is invalid only because it shows too little. Faults may be the reason.
    #[serde(skip)]
    pub(crate) is_uninformative: bool,
    /// Figures and findings, under Maelstrom's names.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl WorkloadResults {
    /// Results with a verdict, the verdict by Maelstrom's rules alone, and the findings.
    #[must_use]
    pub fn new(valid: Verdict, maelstrom_valid: Verdict, fields: Map<String, Value>) -> Self {
        Self {
            valid,
            maelstrom_valid,
            cause: None,
            evidence: Vec::new(),
            explanation: Vec::new(),
            dependencies: Vec::new(),
            is_uninformative: false,
            fields,
        }
    }

    /// Invalid if there is a `cause`, else valid. The cause is written as part of a sentence. The
    /// verdict by Maelstrom's rules is the same.
    #[must_use]
    pub fn from_cause(cause: Option<String>) -> Self {
        let valid = Verdict::invalid_if(cause.is_some());
        Self::new(valid, valid, Map::new()).because(cause)
    }

    /// Marks the verdict as bad only because the history shows too little. A sweep forgives that if
    /// there were faults.
    #[must_use]
    pub fn uninformative(mut self) -> Self {
        self.is_uninformative = true;
        self
    }

    /// Adds the operations that prove the cause, as indices into the history. Keeps only the first
    /// ones.
    #[must_use]
    pub fn proved_by(mut self, operations: impl IntoIterator<Item = usize>) -> Self {
        for at in operations.into_iter().take(EVIDENCE_MAX) {
            if !self.evidence.contains(&at) {
                self.evidence.push(at);
            }
        }
        self
    }

    /// Adds a longer explanation of the cause.
    #[must_use]
    pub fn explained_by(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.explanation.extend(lines);
        self
    }

    /// Sets the cause of the verdict, written as part of a sentence.
    #[must_use]
    pub fn because(mut self, cause: Option<String>) -> Self {
        self.cause = cause.or(self.cause);
        self
    }
}

/// The fields of an object.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
