//! Checks a counter: every node must end up with the sum of all adds. After Maelstrom's
//! `pn-counter`.
//!
//! An add whose outcome is unknown may or may not count. So the final reads may show the sum of the
//! acknowledged adds plus the sum of any subset of the unknown adds. These possible values form a
//! set of intervals.
//!
//! Stricter than Maelstrom:
//!
//! - `failed-but-counted`: only adds that a node refused with a definite error explain a final
//!   read. Maelstrom treats every add that returned an error as unknown.
//! - `too-large`: a read at any time that exceeds the sum of all positive adds begun before the
//!   read ended, without those refused before then.
//! - `too-small`: a read at any time that is below the sum of all negative adds begun before the
//!   read ended, without those refused before then.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Verdict, WorkloadResults, object};
use crate::chart::{Chart, Series};
use crate::history::{History, Op, OpType};

/// A set of integers, as disjoint intervals that do not touch. Each key is the lower end of an
/// interval, and its value the upper end; both ends are in the set.
///
/// It holds all values that a counter may show while the outcome of some adds is unknown.
///
/// ```
/// use maelstrom_sim::checker::counter::Intervals;
///
/// let mut shown = Intervals::only(10);
/// shown.add_maybe(-3);
/// assert!(shown.contains(10) && shown.contains(7) && !shown.contains(8));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intervals(BTreeMap<i128, i128>);

impl Intervals {
    /// The set with only this number.
    #[must_use]
    pub fn only(n: i128) -> Self {
        Self(BTreeMap::from([(n, n)]))
    }

    /// Adds `n + delta` to the set for each `n` in it, and keeps each `n`. O(intervals).
    pub fn add_maybe(&mut self, delta: i128) {
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

    fn shown(&self) -> Vec<Value> {
        self.0.iter().map(|(low, high)| json!([clamp(*low), clamp(*high)])).collect()
    }

    /// Describes the allowed values nearest to `read`, which is not in the set. `sum` is the sum of
    /// the adds that succeeded.
    fn in_words(&self, sum: i128, read: i64) -> String {
        let read = i128::from(read);
        let below = self.0.range(..read).next_back().map(|(_, high)| high);
        let above = self.0.range(read..).next().map(|(low, _)| low);
        let unknown = match (below, above) {
            _ if *self == Self::only(sum) => {
                return format!("the adds that succeeded sum up to {sum}");
            }
            (Some(below), Some(above)) => {
                format!("allow {below} and {above} as the nearest values")
            }
            (None, Some(least)) => format!("allow no less than {least}"),
            (Some(most), None) => format!("allow no more than {most}"),
            (None, None) => String::new(),
        };
        format!("the adds that succeeded sum up to {sum}, and those of unknown outcome {unknown}")
    }

    /// Whether the set contains this number.
    #[must_use]
    pub fn contains(&self, n: i64) -> bool {
        let n = i128::from(n);
        self.0.range(..=n).next_back().is_some_and(|(_, high)| n <= *high)
    }
}

/// The nearest 64-bit number. The results hold no longer ones, and no read shows any.
fn clamp(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

/// The value of an operation. `None` if it does not fit into 64 bits: Maelstrom's client treats
/// such a reply as malformed.
fn number(op: &Op) -> Option<i64> {
    op.value.as_ref()?.get().parse().ok()
}

/// The range that any read may show: from the sum of the negative adds begun so far to the sum of
/// the positive ones.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    low: i128,
    high: i128,
}

impl Bounds {
    fn add(&mut self, n: i128) {
        *if n < 0 { &mut self.low } else { &mut self.high } += n;
    }

    fn remove(&mut self, n: i128) {
        *if n < 0 { &mut self.low } else { &mut self.high } -= n;
    }
}

/// Judges the history of a counter's test, with the operations `add` and `read`. O(n + adds that
/// are unknown or refused × intervals).
///
/// ```
/// # use maelstrom_sim::history::{History, Op, OpType, Process};
/// use maelstrom_sim::checker::{Verdict, counter};
///
/// # let mut history = History::default();
/// # let mut happened = |f, begin: &str, end: &str| {
/// #     let raw = |json: &str| serde_json::value::RawValue::from_string(json.into()).ok();
/// #     let (client, is_final) = (Process::Client(0), f == "read");
/// #     let op = Op { value: raw(begin), is_final, ..Op::new(client, OpType::Invoke, f) };
/// #     let invocation = Some(history.push(op));
/// #     let op = Op { value: raw(end), invocation, ..Op::new(client, OpType::Ok, f) };
/// #     history.push(Op { is_final, ..op });
/// # };
/// // The add, its argument and its result; then a final read.
/// happened("add", "3", "3");
/// happened("read", "null", "4");
/// assert_eq!(counter::check(&history).valid, Verdict::Invalid);
/// assert_eq!(counter::chart(&history).series.len(), 2);
/// ```
#[must_use]
pub fn check(history: &History) -> WorkloadResults {
    let (mut sum, mut begun, mut unknown) = (0_i128, Bounds::default(), Vec::new());
    let mut refused = Vec::new();
    let (mut final_reads, mut too_large, mut too_small) = (Vec::new(), Vec::new(), Vec::new());
    for op in history.client_ops() {
        let Some(read) = number(op) else { continue };
        let n = i128::from(read);
        match (op.f, op.kind) {
            ("add", OpType::Invoke) => begun.add(n),
            ("add", OpType::Ok) => sum += n,
            ("add", OpType::Fail | OpType::Info) if op.is_definite => {
                // The node refused this add, so later reads must not show it.
                begun.remove(n);
                refused.push(n);
            }
            ("add", OpType::Fail | OpType::Info) => unknown.push(n),
            ("read", OpType::Ok) => {
                let shown =
                    |bound| json!({ "index": op.index, "value": read, "added": clamp(bound) });
                if n > begun.high {
                    too_large.push(shown(begun.high));
                } else if n < begun.low {
                    too_small.push(shown(begun.low));
                }
                if op.is_final {
                    final_reads.push((read, op.index));
                }
            }
            _ => {}
        }
    }
    // An add that never got an answer is unknown as well.
    unknown.extend(open_adds(history));
    let mut acceptable = Intervals::only(sum);
    for delta in unknown {
        acceptable.add_maybe(delta);
    }
    let mut with_refused = acceptable.clone();
    for delta in refused {
        with_refused.add_maybe(delta);
    }
    let unexplained = final_reads.iter().copied().filter(|(read, _)| !acceptable.contains(*read));
    let (counted, wrong): (Vec<_>, Vec<_>) =
        unexplained.partition(|(read, _)| with_refused.contains(*read));
    let evidence = wrong.first().or(counted.first()).map(|(_, index)| *index);
    let values = |reads: &[(i64, usize)]| reads.iter().map(|(read, _)| *read).collect::<Vec<_>>();
    let (counted, wrong, final_reads) = (values(&counted), values(&wrong), values(&final_reads));
    let maelstrom_valid = Verdict::invalid_if(!wrong.is_empty());
    let beyond = !counted.is_empty() || !too_large.is_empty() || !too_small.is_empty();
    let beyond = Verdict::invalid_if(beyond);
    let valid = Verdict::merge([maelstrom_valid, beyond]);
    let allowed = |read| acceptable.in_words(sum, read);
    let cause = cause(&wrong, &counted, [&too_large, &too_small], allowed);
    let beyond =
        too_large.first().or(too_small.first()).and_then(|read| read.get("index")?.as_u64());
    let evidence = evidence.or_else(|| usize::try_from(beyond?).ok());
    let fields = object(json!({
        "errors": wrong,
        "failed-but-counted": counted,
        "too-large": too_large,
        "too-small": too_small,
        "final-reads": final_reads,
        "acceptable": acceptable.shown(),
    }));
    WorkloadResults::new(valid, maelstrom_valid, fields)
        .because(cause)
        .proved_by(evidence)
        .with_unanswered_finals(history)
}

/// A chart of the values that reads show, and of the sum of the adds acknowledged by then.
/// [`check`] shows it in use.
#[must_use]
pub fn chart(history: &History) -> Chart {
    let (mut sum, mut sums, mut reads) = (0.0, vec![(Duration::ZERO, 0.0)], Vec::new());
    for op in history.client_ops().filter(|op| op.kind == OpType::Ok) {
        #[expect(clippy::cast_precision_loss, reason = "for people to look at")]
        let Some(n) = number(op).map(|n| n as f64) else { continue };
        if op.f == "add" {
            sum += n;
            sums.push((op.time, sum));
        } else {
            reads.push((op.time, n));
        }
    }
    Chart {
        title: "The counter".into(),
        about:
            "A point is a read. The line is the sum of all adds that were acknowledged by then: a \
                read may show less, and more by adds that are under way."
                .into(),
        unit: "value".into(),
        series: vec![
            Series { name: "acknowledged".into(), is_line: true, points: sums },
            Series { name: "read".into(), is_line: false, points: reads },
        ],
    }
}

/// The first error in words. A sweep takes the words before the colon for the kind of a finding.
fn cause(
    wrong: &[i64],
    counted: &[i64],
    [too_large, too_small]: [&[Value]; 2],
    allowed: impl Fn(i64) -> String,
) -> Option<String> {
    if let Some(read) = wrong.first() {
        let allowed = allowed(*read);
        return Some(format!(
            "a final read shows {read}, which no sum of the adds explains: {allowed}"
        ));
    }
    if let Some(read) = counted.first() {
        let allowed = allowed(*read);
        return Some(format!(
            "a final read shows {read}, which counts an add that was refused: {allowed}"
        ));
    }
    let beyond = |reads: &[Value], than: &str, sign: &str| {
        let read = reads.first()?;
        let (value, added) = (read.get("value")?, read.get("added")?);
        Some(format!(
            "a read shows {than} than all adds: {value}, but the {sign} adds begun by then, without \
             the refused ones, sum up to {added}"
        ))
    };
    beyond(too_large, "more", "positive").or_else(|| beyond(too_small, "less", "negative"))
}

fn open_adds(history: &History) -> Vec<i128> {
    let mut open: BTreeMap<usize, i128> = BTreeMap::new();
    for op in history.client_ops().filter(|op| op.f == "add") {
        match op.invocation {
            None => open.extend(number(op).map(|n| (op.index, i128::from(n)))),
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
            for n in -30..120_i64 {
                prop_assert_eq!(intervals.contains(n), sums.contains(&i128::from(n)), "{}", n);
            }
            let ends: Vec<_> = intervals.0.iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < *pair[1].0));
        }
    }
}
