//! A set that only grows: what becomes of each value that was added. After Jepsen's `set-full`.
//!
//! A value is *known* from when its adding was acknowledged, or from when it was first read. Then
//!
//! * **stable**: there is a moment after which every read shows it. The time from known to the last
//!   read that missed it is its *stable latency*; if it is not 0, the value is **stale**.
//! * **lost**: it is known, and after some moment no read shows it, up to the end.
//! * **never read**: neither; for want of a later read, or because its adding failed.
//!
//! Only lost values make a history invalid, there and here. Stricter than Jepsen, which looks for
//! none of them: a value that stands **twice** in one read, a **phantom** that nobody added, one
//! whose adding failed definitely and which is read all the same (**resurrected**), and one that
//! was known when a final read began, which missed it (**diverged**: for Jepsen it is enough that
//! the very last read shows it).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Verdict, WorkloadResults, object};
use crate::history::{History, Op, OpType};

/// How many findings of a kind are shown in detail.
const SHOWN_MAX: usize = 8;

/// Where in the history something was, and when.
type Moment = (usize, Duration);

/// What is known of one value.
#[derive(Clone, Debug, Default)]
struct Element {
    known: Option<Moment>,
    /// The latest beginning of a read that showed it.
    present: Option<Moment>,
    /// The latest beginning of a read that missed it.
    absent: Option<Moment>,
    failed: bool,
    diverged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Stable(u64),
    Lost(u64),
    NeverRead,
}

impl Element {
    fn outcome(&self) -> Outcome {
        let index = |moment: Option<Moment>| moment.map(|(index, _)| index);
        let latency = |missed: Option<Moment>| {
            let after = missed.map_or(Duration::ZERO, |(_, time)| time + Duration::from_nanos(1));
            let known = self.known.map_or(Duration::ZERO, |(_, time)| time);
            u64::try_from(after.saturating_sub(known).as_millis()).unwrap_or(u64::MAX)
        };
        // `None` is before everything.
        if self.present.is_some() && index(self.absent) < index(self.present) {
            return Outcome::Stable(latency(self.absent));
        }
        let missed_when_known = self.known.is_some() && index(self.known) < index(self.absent);
        if missed_when_known && index(self.present) < index(self.absent) {
            return Outcome::Lost(latency(self.present));
        }
        Outcome::NeverRead
    }
}

/// All values, by their text, in the order in which they were added.
#[derive(Debug, Default)]
struct Elements {
    index: BTreeMap<String, usize>,
    elements: Vec<Element>,
    repeated: BTreeMap<String, u64>,
    phantoms: BTreeMap<String, usize>,
}

impl Elements {
    fn of(history: &History, add: &str) -> Self {
        let mut all = Self::default();
        for op in history.client_ops() {
            if op.f == add {
                all.add(op);
            } else if op.f == "read" && op.kind == OpType::Ok {
                all.read(history, op);
            }
        }
        all
    }

    fn add(&mut self, op: &Op) {
        let Some(value) = &op.value else { return };
        let at = *self.index.entry(value.get().to_owned()).or_insert(self.elements.len());
        if at == self.elements.len() {
            self.elements.push(Element::default());
        }
        let Some(element) = self.elements.get_mut(at) else {
            return;
        };
        match op.kind {
            OpType::Ok => element.known = element.known.or(Some((op.index, op.time))),
            OpType::Fail => element.failed = true,
            OpType::Invoke | OpType::Info => {}
        }
    }

    fn read(&mut self, history: &History, op: &Op) {
        let Some(begun) = history.invocation(op).map(|op| (op.index, op.time)) else {
            return;
        };
        let text = op.value.as_ref().map_or("[]", |raw| raw.get());
        let values: Vec<&serde_json::value::RawValue> =
            serde_json::from_str(text).unwrap_or_default();
        let mut shown = vec![0_u64; self.elements.len()];
        for value in values {
            match self.index.get(value.get()).and_then(|at| shown.get_mut(*at)) {
                Some(count) => *count += 1,
                None => drop(self.phantoms.entry(value.get().to_owned()).or_insert(op.index)),
            }
            let count = self.index.get(value.get()).and_then(|at| shown.get(*at)).copied();
            if let Some(count) = count.filter(|count| *count > 1) {
                let most = self.repeated.entry(value.get().to_owned()).or_default();
                *most = count.max(*most);
            }
        }
        for (element, count) in self.elements.iter_mut().zip(shown) {
            if count > 0 {
                element.known = element.known.or(Some((op.index, op.time)));
                element.present = element.present.max(Some(begun));
            } else {
                element.absent = element.absent.max(Some(begun));
                element.diverged |= op.is_final && element.known.is_some_and(|known| known < begun);
            }
        }
    }
}

/// Judges a history in which `add` adds a value and `read` reads all of them.
/// O(adds × reads).
#[must_use]
pub fn check(history: &History, add: &str) -> WorkloadResults {
    let all = Elements::of(history, add);
    let mut texts: Vec<(&String, usize)> = all.index.iter().map(|(t, at)| (t, *at)).collect();
    texts.sort_by_key(|(_, at)| *at);
    let (mut stable, mut lost, mut never_read) = (vec![], vec![], vec![]);
    let (mut resurrected, mut diverged) = (vec![], vec![]);
    for (text, at) in texts {
        let Some(element) = all.elements.get(at) else {
            continue;
        };
        match element.outcome() {
            Outcome::Stable(latency) => stable.push((latency, text)),
            Outcome::Lost(latency) => lost.push((latency, text)),
            Outcome::NeverRead => never_read.push(text),
        }
        if element.failed && element.present.is_some() {
            resurrected.push(text);
        }
        if element.diverged {
            diverged.push(text);
        }
    }
    let mut stale: Vec<_> = stable.iter().filter(|(latency, _)| *latency > 0).copied().collect();
    let errors = !(lost.is_empty()
        && all.repeated.is_empty()
        && all.phantoms.is_empty()
        && resurrected.is_empty()
        && diverged.is_empty());
    let valid = match Verdict::invalid_if(errors) {
        Verdict::Valid if stable.is_empty() => Verdict::Unknown,
        verdict => verdict,
    };
    let mut fields = object(json!({
        "attempt-count": all.elements.len(),
        "stable-count": stable.len(),
        "lost-count": lost.len(),
        "lost": lost.iter().map(|(_, text)| value(text)).collect::<Vec<_>>(),
        "never-read-count": never_read.len(),
        "never-read": never_read.iter().map(|text| value(text)).collect::<Vec<_>>(),
        "stale-count": stale.len(),
        "stale": stale.iter().map(|(_, text)| value(text)).collect::<Vec<_>>(),
        "duplicated-count": all.repeated.len(),
        "duplicated": all.repeated,
        "phantom-count": all.phantoms.len(),
        "phantom": all.phantoms.keys().take(SHOWN_MAX).map(|text| value(text)).collect::<Vec<_>>(),
        "resurrected-count": resurrected.len(),
        "resurrected": resurrected.iter().map(|text| value(text)).collect::<Vec<_>>(),
        "diverged-count": diverged.len(),
        "diverged": diverged.iter().map(|text| value(text)).collect::<Vec<_>>(),
    }));
    stale.sort_by_key(|(latency, _)| std::cmp::Reverse(*latency));
    let worst = stale.iter().take(SHOWN_MAX);
    let worst = worst.map(|(ms, text)| json!({ "element": value(text), "stable-latency": ms }));
    fields.insert("worst-stale".into(), worst.collect());
    for (name, latencies) in [("stable-latencies", stable), ("lost-latencies", lost)] {
        if let Some(quantiles) = quantiles(latencies.into_iter().map(|(ms, _)| ms).collect()) {
            fields.insert(name.into(), quantiles);
        }
    }
    WorkloadResults { valid, fields }
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Jepsen's `frequency-distribution`: the element at ⌊n·p⌋ of the sorted list.
fn quantiles(mut latencies: Vec<u64>) -> Option<Value> {
    latencies.sort_unstable();
    let last = latencies.len().checked_sub(1)?;
    let points = [("0", 0, 1), ("0.5", 1, 2), ("0.95", 95, 100), ("0.99", 99, 100), ("1", 1, 1)];
    let rows = points.map(|(name, part, whole)| {
        let at = (latencies.len() * part / whole).min(last);
        (name.to_owned(), json!(latencies.get(at)))
    });
    Some(Value::Object(rows.into_iter().collect::<Map<_, _>>()))
}
