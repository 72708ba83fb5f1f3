//! The final operations, when all faults are over: each has to succeed.
//!
//! What one that did not would have shown, nobody knows: a replica that lost or never got
//! something may be the very one that keeps silent. So the verdict is not that all is well.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Verdict, WorkloadResults};
use crate::excerpt::sentence;
use crate::history::{History, Op, OpType};

/// How many are shown.
const SHOWN_MAX: usize = 8;

/// The last that is known of each final operation that did not succeed, by the index of its
/// beginning. A client's crash asks nobody, so it cannot succeed.
pub(crate) fn unanswered(history: &History) -> BTreeMap<usize, &Op> {
    let mut last: BTreeMap<usize, &Op> = BTreeMap::new();
    for op in history.client_ops().filter(|op| op.is_final && op.f != "crash") {
        last.insert(op.invocation.unwrap_or(op.index), op);
    }
    last.retain(|_, op| op.kind != OpType::Ok);
    last
}

impl WorkloadResults {
    /// Reports the final operations that did not succeed, if there are any; the verdict is then
    /// unknown, unless it is worse.
    #[must_use]
    pub fn with_unanswered_finals(mut self, history: &History) -> Self {
        let unanswered = unanswered(history);
        if !unanswered.is_empty() {
            self.valid = Verdict::merge([self.valid, Verdict::Unknown]);
            if self.cause.is_none() {
                let first = unanswered.values().next().and_then(|op| op.error.as_deref());
                let error = sentence(first.unwrap_or("no answer"));
                self.cause = Some(format!("{} final operations failed: {error}", unanswered.len()));
            }
            let shown = unanswered.iter().take(SHOWN_MAX).map(|(invoked, op)| {
                json!({
                    "index": op.index,
                    "invoked": invoked,
                    "process": op.process,
                    "type": op.kind,
                    "error": op.error,
                })
            });
            self.fields.insert("unanswered-finals".into(), shown.collect());
            self.fields.insert("unanswered-final-count".into(), json!(unanswered.len()));
        }
        self
    }
}
