//! Final operations begin after all faults have ended, so each of them must succeed.
//!
//! If a final operation fails, the verdict is unknown at best. The replica that did not answer may
//! be the very one that lost or never received a value.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Verdict, WorkloadResults};
use crate::excerpt::sentence;
use crate::history::{History, Op, OpType};

/// How many unanswered operations the results show.
const SHOWN_MAX: usize = 8;

/// Returns the final operations that did not succeed: the last event of each, by the index of its
/// invocation. The operation `crash` sends no request, so it does not count.
pub(crate) fn unanswered(history: &History) -> BTreeMap<usize, &Op> {
    let mut last: BTreeMap<usize, &Op> = BTreeMap::new();
    for op in history.client_ops().filter(|op| op.is_final && op.f != "crash") {
        last.insert(op.invocation.unwrap_or(op.index), op);
    }
    last.retain(|_, op| op.kind != OpType::Ok);
    last
}

impl WorkloadResults {
    /// Reports final operations that did not succeed, if there are any. The verdict is then
    /// unknown, or stays invalid.
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
