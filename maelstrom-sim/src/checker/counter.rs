//! A counter that only grows: every node ends up with the sum. After Maelstrom's `pn-counter`.
//!
//! An add whose outcome is unknown may count or not, so the final reads may show any sum of the
//! acknowledged adds and some of the unknown ones: a set of intervals. Stricter than Maelstrom: no
//! read at any time may show more than all adds begun so far, failed ones left out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Verdict, WorkloadResults, object};
use crate::history::{History, Op, OpType};

/// A set of integers as disjoint intervals that do not touch: from each key to its value, both in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Intervals(BTreeMap<i128, i128>);

impl Intervals {
    fn only(n: i128) -> Self {
        Self(BTreeMap::from([(n, n)]))
    }

    /// What is in it stays, and what is `delta` above anything in it comes in. O(intervals).
    fn add_maybe(&mut self, delta: i128) {
        let shifted = self.0.iter().map(|(low, high)| (low + delta, high + delta));
        let mut all: Vec<(i128, i128)> = shifted.collect();
        all.extend(self.0.iter().map(|(low, high)| (*low, *high)));
        all.sort_unstable();
        self.0.clear();
        for (low, high) in all {
            match self.0.last_entry() {
                Some(mut last) if low <= last.get() + 1 => *last.get_mut() = high.max(*last.get()),
                _ => drop(self.0.insert(low, high)),
            }
        }
    }

    fn contains(&self, n: i128) -> bool {
        self.0.range(..=n).next_back().is_some_and(|(_, high)| n <= *high)
    }
}

fn number(op: &Op) -> Option<i128> {
    op.value.as_ref()?.get().parse().ok()
}

/// Judges the history of a `g-counter` test. O(n + unknown adds × intervals).
#[must_use]
pub fn check(history: &History) -> WorkloadResults {
    let (mut sum, mut begun, mut unknown) = (0, 0, Vec::new());
    let (mut final_reads, mut too_large) = (Vec::new(), Vec::new());
    for op in history.client_ops() {
        let Some(n) = number(op) else { continue };
        match (op.f, op.kind) {
            ("add", OpType::Invoke) => begun += n,
            ("add", OpType::Ok) => sum += n,
            // It may have been read before it failed only if it had not failed.
            ("add", OpType::Fail) => begun -= n,
            ("add", OpType::Info) => unknown.push(n),
            ("read", OpType::Ok) => {
                if n > begun {
                    too_large.push(json!({ "index": op.index, "value": n, "added": begun }));
                }
                if op.is_final {
                    final_reads.push(n);
                }
            }
            _ => {}
        }
    }
    // What was never answered at all is as unknown.
    unknown.extend(open_adds(history));
    let mut acceptable = Intervals::only(sum);
    for delta in unknown {
        acceptable.add_maybe(delta);
    }
    let wrong: Vec<i128> =
        final_reads.iter().copied().filter(|read| !acceptable.contains(*read)).collect();
    let valid = Verdict::invalid_if(!wrong.is_empty() || !too_large.is_empty());
    let intervals: Vec<Value> = acceptable.0.iter().map(|(low, high)| json!([low, high])).collect();
    let fields = object(json!({
        "errors": wrong,
        "too-large": too_large,
        "final-reads": final_reads,
        "acceptable": intervals,
    }));
    WorkloadResults { valid, fields }.with_unanswered_finals(history)
}

fn open_adds(history: &History) -> Vec<i128> {
    let mut open: BTreeMap<usize, i128> = BTreeMap::new();
    for op in history.client_ops().filter(|op| op.f == "add") {
        match op.invocation {
            None => open.extend(number(op).map(|n| (op.index, n))),
            Some(invocation) => drop(open.remove(&invocation)),
        }
    }
    open.into_values().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn intervals_hold_exactly_the_sums_of_subsets(
            start in -20i128..20, deltas in proptest::collection::vec(0i128..9, 0..9),
        ) {
            let mut intervals = Intervals::only(start);
            let mut sums = std::collections::BTreeSet::from([start]);
            for delta in deltas {
                intervals.add_maybe(delta);
                sums = sums.iter().flat_map(|sum| [*sum, sum + delta]).collect();
            }
            for n in -30..120 {
                prop_assert_eq!(intervals.contains(n), sums.contains(&n), "{}", n);
            }
            let ends: Vec<_> = intervals.0.iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < *pair[1].0));
        }
    }
}
