//! Checks a grow-only set: the outcome of each added value. After Jepsen's `set-full`.
//!
//! A value is *known* from the acknowledgement of its add, or from the end of the first read that
//! showed it, whichever comes first. Then it has one of these outcomes:
//!
//! * **stable**: after some moment every read shows it. The time from known to the last read that
//!   missed it is its *stable latency*. If that is not 0, the value is **stale**.
//! * **lost**: it is known, but from some moment until the end no read shows it.
//! * **never read**: neither of these. No later read exists, or nothing shows that the add
//!   happened.
//!
//! In Jepsen, only lost values make a history invalid. This checker rejects more:
//!
//! * **duplicated**: one read shows a value twice.
//! * **phantom**: a read shows a value, but no add of it began before the read ended.
//! * **resurrected**: a read shows a value whose add failed definitely.
//! * **diverged**: a final read misses a value that was known when the read began. Jepsen only
//!   requires that the very last read shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Verdict, WorkloadResults, object};
use crate::chart::{Chart, Series};
use crate::excerpt::excerpt;
use crate::history::{History, Op, OpType};
use crate::json::to_value;

/// How many findings of a kind the results show in detail.
const SHOWN_MAX: usize = 8;

/// Values below this number are found by a table lookup, the others by their text.
const SMALL_MAX: usize = 1 << 20;

/// An event: its index in the history, and its time.
type Moment = (usize, Duration);

/// Everything that is known about one value.
#[derive(Clone, Debug, Default)]
struct Element<'h> {
    text: &'h str,
    /// The invocation of its add. A read that ended earlier cannot have missed the value.
    added: usize,
    known: Option<Moment>,
    /// The latest invocation of a read that showed it.
    present: Option<Moment>,
    /// The latest invocation of a read that missed it.
    absent: Option<Moment>,
    /// The latest invocation of a final read that missed it.
    absent_in_the_end: Option<Moment>,
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Stable(u64),
    Lost(u64),
    NeverRead,
}

impl Element<'_> {
    fn outcome(&self) -> Outcome {
        let index = |moment: Option<Moment>| moment.map(|(index, _)| index);
        let latency = |missed: Option<Moment>| {
            let after = missed.map_or(Duration::ZERO, |(_, time)| time + Duration::from_nanos(1));
            let known = self.known.map_or(Duration::ZERO, |(_, time)| time);
            u64::try_from(after.saturating_sub(known).as_millis()).unwrap_or(u64::MAX)
        };
        // `None` comes before every index.
        if self.present.is_some() && index(self.absent) < index(self.present) {
            return Outcome::Stable(latency(self.absent));
        }
        let missed_when_known = self.known.is_some() && index(self.known) < index(self.absent);
        if missed_when_known && index(self.present) < index(self.absent) {
            return Outcome::Lost(latency(self.present));
        }
        Outcome::NeverRead
    }

    /// The events that show the outcome: the invocation of its add, the moment when it was known,
    /// and the ends of the last read that showed it and of the last read that missed it.
    fn evidence(&self, history: &History) -> impl Iterator<Item = usize> {
        let reads = [self.present, self.absent_in_the_end.or(self.absent)];
        let ends = reads.into_iter().flatten().filter_map(|(read, _)| history.completion(read));
        let known = self.known.map(|(index, _)| index);
        std::iter::once(self.added).chain(known).chain(ends.map(|end| end.index))
    }

    fn diverged(&self) -> bool {
        self.known.is_some_and(|known| Some(known) < self.absent_in_the_end)
    }
}

/// A read that succeeded.
struct Read<'h> {
    begun: Moment,
    ended: Moment,
    is_final: bool,
    list: &'h str,
}

/// All values, in the order of their adds.
#[derive(Debug, Default)]
struct Elements<'h> {
    elements: Vec<Element<'h>>,
    /// The index of each value that is a small number. The values of the generator are all small
    /// numbers.
    by_number: Vec<Option<usize>>,
    /// The index of each other value.
    by_text: BTreeMap<&'h str, usize>,
    /// Each value that a read shows more than once: how often at most, and the end of such a read.
    repeated: BTreeMap<&'h str, (u64, usize)>,
    /// Each value that nobody added, and the end of the first read that showed it.
    phantoms: BTreeMap<&'h str, usize>,
}

impl<'h> Elements<'h> {
    fn of(history: &'h History, add: &str) -> Self {
        let mut all = Self::default();
        let mut reads = Vec::new();
        for op in history.client_ops() {
            if op.f == add {
                all.add(op);
            } else if op.f == "read" && op.kind == OpType::Ok {
                reads.extend(history.invocation(op).map(|begin| Read {
                    begun: (begin.index, begin.time),
                    ended: (op.index, op.time),
                    is_final: op.is_final,
                    list: op.value.as_ref().map_or("[]", |raw| raw.get()),
                }));
            }
        }
        all.read(reads);
        all
    }

    /// The events that show the outcome of a value. For a value that is only in a read once too
    /// often, these are the invocation of its add and the end of the first such read.
    fn evidence(&self, text: &str, history: &History) -> Vec<usize> {
        let element = self.place(text).and_then(|at| self.elements.get(at));
        let is_lost = element.is_some_and(|element| matches!(element.outcome(), Outcome::Lost(_)));
        if let Some((_, read)) = self.repeated.get(text).filter(|_| !is_lost) {
            return element.map(|element| element.added).into_iter().chain([*read]).collect();
        }
        let phantom = self.phantoms.get(text).copied();
        let known = element.into_iter().flat_map(|element| element.evidence(history));
        known.chain(phantom).collect()
    }

    fn place(&self, text: &str) -> Option<usize> {
        match small_number(text) {
            Some(number) => self.by_number.get(number).copied().flatten(),
            None => self.by_text.get(text).copied(),
        }
    }

    fn insert(&mut self, text: &'h str, added: usize) -> usize {
        let place = self.elements.len();
        self.elements.push(Element { text, added, ..Element::default() });
        let Some(number) = small_number(text) else {
            self.by_text.insert(text, place);
            return place;
        };
        if number >= self.by_number.len() {
            self.by_number.resize(number + 1, None);
        }
        if let Some(slot) = self.by_number.get_mut(number) {
            *slot = Some(place);
        }
        place
    }

    fn add(&mut self, op: &'h Op) {
        let Some(text) = op.value.as_ref().map(|raw| raw.get()) else { return };
        let place = self.place(text).unwrap_or_else(|| self.insert(text, op.index));
        let Some(element) = self.elements.get_mut(place) else { return };
        match op.kind {
            OpType::Ok => element.known = element.known.or(Some((op.index, op.time))),
            // Depending on the workload, a refused add is of type fail or of type info.
            OpType::Fail | OpType::Info => element.failed |= op.is_definite,
            OpType::Invoke => {}
        }
    }

    /// Processes all reads, latest invocation first. So the first read that misses a value is the
    /// latest one, and the only one that counts.
    fn read(&mut self, mut reads: Vec<Read<'h>>) {
        reads.sort_unstable_by_key(|read| std::cmp::Reverse(read.begun));
        let count = self.elements.len();
        let (mut unmissed, mut unmissed_in_the_end) = (Unmissed::new(count), Unmissed::new(count));
        // For each value: the number of the last read that showed it, and how often it did.
        let mut shown: Vec<(usize, u64)> = vec![(0, 0); count];
        for (read, round) in reads.iter().zip(1..) {
            for_each_value(read.list, |text| self.show(text, read, round, &mut shown));
            let added = self.elements.partition_point(|element| element.added < read.ended.0);
            let is_shown = |at: usize| shown.get(at).is_some_and(|(last, _)| *last == round);
            let elements = &mut self.elements;
            unmissed.take_missed(added, is_shown, |at| {
                if let Some(element) = elements.get_mut(at) {
                    element.absent = Some(read.begun);
                }
            });
            if read.is_final {
                unmissed_in_the_end.take_missed(added, is_shown, |at| {
                    if let Some(element) = elements.get_mut(at) {
                        element.absent_in_the_end = Some(read.begun);
                    }
                });
            }
        }
    }

    /// Processes one value of a read.
    fn show(&mut self, text: &'h str, read: &Read<'h>, round: usize, shown: &mut [(usize, u64)]) {
        let place = self.place(text);
        let element = place.and_then(|at| self.elements.get_mut(at));
        let element = element.filter(|element| element.added < read.ended.0);
        let (Some(element), Some(shown)) = (element, place.and_then(|at| shown.get_mut(at))) else {
            let first = self.phantoms.entry(text).or_insert(read.ended.0);
            *first = read.ended.0.min(*first);
            return;
        };
        if shown.0 == round {
            shown.1 += 1;
            let (most, first) = self.repeated.entry(element.text).or_insert((0, read.ended.0));
            (*most, *first) = (shown.1.max(*most), read.ended.0.min(*first));
            return;
        }
        *shown = (round, 1);
        element.present = element.present.max(Some(read.begun));
        if element.known.is_none_or(|known| read.ended < known) {
            element.known = Some(read.ended);
        }
    }
}

/// The number, if the value is a number that is small enough for the table.
fn small_number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number < SMALL_MAX)
}

/// Calls `each` with the text of each value of a list. Does nothing if `list` is not a list.
fn for_each_value<'a>(list: &'a str, mut each: impl FnMut(&'a str)) {
    let inner = list.trim_ascii().strip_prefix('[').and_then(|list| list.strip_suffix(']'));
    match inner {
        // Only commas between values: splitting is much faster than a JSON parser.
        Some(inner) if !inner.bytes().any(|byte| matches!(byte, b'"' | b'[' | b'{')) => {
            let values = inner.split(',').map(str::trim_ascii);
            values.filter(|text| !text.is_empty()).for_each(each);
        }
        _ => {
            let values: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
            values.into_iter().for_each(|value| each(value.get()));
        }
    }
}

/// The values that no read so far has missed, as a linked list of indices in ascending order.
#[derive(Debug)]
struct Unmissed {
    first: usize,
    /// The next index after each index.
    next: Vec<usize>,
}

impl Unmissed {
    fn new(count: usize) -> Self {
        Self { first: 0, next: (1..=count).collect() }
    }

    /// Removes the values before `end` that the read does not show, and reports them. Each step
    /// either finds a shown value or removes one: O(values shown + values removed).
    fn take_missed(
        &mut self,
        end: usize,
        is_shown: impl Fn(usize) -> bool,
        mut missed: impl FnMut(usize),
    ) {
        let (mut last_kept, mut at) = (None, self.first);
        while at < end {
            let next = self.next.get(at).copied().unwrap_or(end);
            if is_shown(at) {
                last_kept = Some(at);
            } else {
                missed(at);
                match last_kept.and_then(|kept: usize| self.next.get_mut(kept)) {
                    Some(link) => *link = next,
                    None => self.first = next,
                }
            }
            at = next;
        }
    }
}

/// Judges a history in which `add` adds a value and `read` reads all of them.
///
/// Takes O(a log a + r log r + v) for a adds, r reads and v values in all reads together.
///
/// ```
/// # use maelstrom_sim::history::{History, Op, OpType, Process};
/// use maelstrom_sim::checker::{Verdict, set_full};
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
/// // Two adds, with argument and result; then a final read.
/// happened("add", "1", "1");
/// happened("add", "2", "2");
/// happened("read", "null", "[2]");
/// let results = set_full::check(&history, "add");
/// assert_eq!((results.valid, &results.fields["lost"]), (Verdict::Invalid, &vec![1].into()));
/// assert_eq!(set_full::chart(&history, "add").unit, "ms");
/// ```
#[must_use]
pub fn check(history: &History, add: &str) -> WorkloadResults {
    let all = Elements::of(history, add);
    let (mut stable, mut lost, mut never_read) = (vec![], vec![], vec![]);
    let (mut resurrected, mut diverged) = (vec![], vec![]);
    for element in &all.elements {
        let text = element.text;
        match element.outcome() {
            Outcome::Stable(latency) => stable.push((latency, text)),
            Outcome::Lost(latency) => lost.push((latency, text)),
            Outcome::NeverRead => never_read.push(text),
        }
        if element.failed && element.present.is_some() {
            resurrected.push(text);
        }
        if element.diverged() {
            diverged.push(text);
        }
    }
    let mut stale: Vec<_> = stable.iter().filter(|(latency, _)| *latency > 0).copied().collect();
    let errors = !(lost.is_empty()
        && all.repeated.is_empty()
        && all.phantoms.is_empty()
        && resurrected.is_empty()
        && diverged.is_empty());
    let maelstrom_valid = match Verdict::invalid_if(!lost.is_empty()) {
        Verdict::Valid if stable.is_empty() => Verdict::Unknown,
        verdict => verdict,
    };
    let valid = Verdict::merge([Verdict::invalid_if(errors), maelstrom_valid]);
    let mut fields = object(json!({
        "attempt-count": all.elements.len(),
        "stable-count": stable.len(),
        "lost-count": lost.len(),
        "lost": lost.iter().map(|(_, text)| to_value(text)).collect::<Vec<_>>(),
        "never-read-count": never_read.len(),
        "never-read": never_read.iter().map(|text| to_value(text)).collect::<Vec<_>>(),
        "stale-count": stale.len(),
        "stale": stale.iter().map(|(_, text)| to_value(text)).collect::<Vec<_>>(),
        "duplicated-count": all.repeated.len(),
        "duplicated": all.repeated.iter().map(|(text, (most, _))| (*text, most)).collect::<BTreeMap<_, _>>(),
        "phantom-count": all.phantoms.len(),
        "phantom": all.phantoms.keys().take(SHOWN_MAX).map(|text| to_value(text)).collect::<Vec<_>>(),
        "resurrected-count": resurrected.len(),
        "resurrected": resurrected.iter().map(|text| to_value(text)).collect::<Vec<_>>(),
        "diverged-count": diverged.len(),
        "diverged": diverged.iter().map(|text| to_value(text)).collect::<Vec<_>>(),
    }));
    let lost_text = lost.first().map(|(_, text)| *text);
    let first =
        first_error(&all, [lost_text, resurrected.first().copied(), diverged.first().copied()]);
    let evidence = first.map(|(text, _)| all.evidence(text, history)).unwrap_or_default();
    let cause = first.map(|(text, what)| excerpt(text) + what);
    let cause = cause.or_else(|| stable.is_empty().then(|| "no value was ever read".into()));
    stale.sort_by_key(|(latency, _)| std::cmp::Reverse(*latency));
    let worst = stale.iter().take(SHOWN_MAX);
    let worst = worst.map(|(ms, text)| json!({ "element": to_value(text), "stable-latency": ms }));
    fields.insert("worst-stale".into(), worst.collect());
    for (name, latencies) in [("stable-latencies", stable), ("lost-latencies", lost)] {
        if let Some(quantiles) = quantiles(latencies.into_iter().map(|(ms, _)| ms).collect()) {
            fields.insert(name.into(), quantiles);
        }
    }
    WorkloadResults::new(valid, maelstrom_valid, fields)
        .because(cause)
        .proved_by(evidence)
        .with_unanswered_finals(history)
}

/// A chart of the stable latencies: one point for each value, at the time when it became known.
/// [`check`] shows it in use.
#[must_use]
pub fn chart(history: &History, add: &str) -> Chart {
    let all = Elements::of(history, add);
    let point = |element: &Element<'_>| match (element.known, element.outcome()) {
        #[expect(clippy::cast_precision_loss, reason = "a test does not last that long")]
        (Some((_, known)), Outcome::Stable(ms)) => Some((known, ms as f64)),
        _ => None,
    };
    let points = all.elements.iter().filter_map(point).collect();
    Chart {
        title: "Stable latency of values".into(),
        about: "A point is a value: when it was acknowledged or first read, and how long some reads \
                still missed it. The network answers a read only after the message that its node waits \
                for, so this leaves out the last hop."
            .into(),
        unit: "ms".into(),
        series: vec![Series { name: "stable latency".into(), is_line: false, points }],
    }
}

/// The first wrong value, and the rest of the sentence about it.
fn first_error<'h>(
    all: &Elements<'h>,
    [lost, resurrected, diverged]: [Option<&'h str>; 3],
) -> Option<(&'h str, &'static str)> {
    let repeated = all.repeated.first_key_value().map(|(text, _)| *text);
    let phantom = all.phantoms.first_key_value().map(|(text, _)| *text);
    let firsts = [
        (lost, " is lost: it was known, and later reads do not show it"),
        (repeated, " stands twice in one read"),
        (phantom, " was read, and nobody added it"),
        (resurrected, " was read, though a node refused to add it"),
        (diverged, " was known when a final read began that does not show it"),
    ];
    firsts.into_iter().find_map(|(text, what)| Some((text?, what)))
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
