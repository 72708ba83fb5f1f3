//! Small random histories, judged beside naive definitions.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The outcome of an operation.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The operation succeeds, with the result at this index of the possible results.
    Ok(usize),
    Fail,
    Info,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![6 => (0usize..64).prop_map(Fate::Ok), 1 => Just(Fate::Fail), 1 => Just(Fate::Info)]
}

impl Fate {
    const fn kind(self) -> OpType {
        match self {
            Self::Ok(_) => OpType::Ok,
            Self::Fail => OpType::Fail,
            Self::Info => OpType::Info,
        }
    }
}

/// Replays steps of (process, input, outcome). Each step begins or ends an operation of its
/// process. `begin` returns the function, the argument, and whether the operation is final;
/// `result` returns the result of a success.
fn history_of<T: Clone>(
    steps: &[(u64, T, Fate)],
    begin: impl Fn(u64, &T, usize) -> (&'static str, Option<String>, bool),
    result: impl Fn(&'static str, &T, usize) -> Option<String>,
) -> History {
    let mut history = History::default();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    let mut begun = 0;
    for (time, (process, given, fate)) in steps.iter().enumerate() {
        let raw = |text: Option<String>| text.map(|text| serde_json::from_str(&text).unwrap());
        let time = Duration::from_millis(time as u64);
        let op = match open.remove(process) {
            None => {
                let (f, value, is_final) = begin(*process, given, begun);
                begun += 1;
                let op = Op::new(Process::Client(*process), OpType::Invoke, f);
                Op { time, value: raw(value), is_final, ..op }
            }
            Some(at) => {
                let asked = history.ops()[at].clone();
                let result = match fate {
                    Fate::Ok(nth) => result(asked.f, given, *nth),
                    _ => None,
                };
                let value = raw(result).or(asked.value);
                let kind = fate.kind();
                let is_definite = kind == OpType::Fail;
                Op { time, kind, value, invocation: Some(at), is_definite, ..asked }
            }
        };
        let (begins, index) = (op.kind == OpType::Invoke, history.push(op));
        if begins {
            open.insert(*process, index);
        }
    }
    history
}

/// All values that reads show or clients add: numbers and others.
const VALUES: [&str; 6] = ["0", "\"1\"", "2", "[3]", "4000000000", "5"];

/// Histories of two writers and four readers, one of which is final. Each value is added at most
/// once. Reads show any of the values, some of them twice.
fn sets() -> impl Strategy<Value = History> {
    let shown = proptest::collection::vec(0usize..VALUES.len(), 0..5);
    let usual = Just(vec![0, 1, 2]);
    let shown = prop_oneof![shown, usual];
    proptest::collection::vec((0u64..6, shown, fate()), 0..40).prop_map(|steps| {
        let begin = |process, _: &Vec<usize>, nth: usize| match VALUES.get(nth) {
            Some(value) if process < 2 => ("broadcast", Some((*value).to_owned()), false),
            _ => ("read", None, process == 5),
        };
        history_of(&steps, begin, |f, shown, _| {
            let shown: Vec<&str> = shown.iter().map(|at| VALUES[*at]).collect();
            (f == "read").then(|| format!("[{}]", shown.join(", ")))
        })
    })
}

/// A value, and a history in which a client may have added it.
struct One<'a> {
    history: &'a History,
    value: Value,
}

impl One<'_> {
    fn parsed(op: &Op) -> Option<Value> {
        serde_json::from_str(op.value.as_ref()?.get()).ok()
    }

    fn adding(&self) -> impl Iterator<Item = &Op> {
        let ops = self.history.client_ops().filter(|op| op.f == "broadcast");
        ops.filter(|op| Self::parsed(op).as_ref() == Some(&self.value))
    }

    /// The index at which its add begins.
    fn added(&self) -> Option<usize> {
        Some(self.adding().next()?.index)
    }

    /// How often a read shows it.
    fn count(&self, read: &Op) -> usize {
        let shown: Vec<Value> = serde_json::from_value(Self::parsed(read).unwrap()).unwrap();
        shown.iter().filter(|value| **value == self.value).count()
    }

    fn reads(&self) -> impl Iterator<Item = &Op> {
        self.history.client_ops().filter(|op| op.kind == OpType::Ok && op.f == "read")
    }

    /// The reads that can show the value: those that did not end before its add began.
    fn reads_since(&self) -> impl Iterator<Item = &Op> {
        self.reads().filter(|op| self.added().is_some_and(|added| added < op.index))
    }

    fn begun(&self, read: &Op) -> usize {
        self.history.invocation(read).unwrap().index
    }

    fn known(&self) -> Option<&Op> {
        let acknowledged = self.adding().filter(|op| op.kind == OpType::Ok);
        let shown = self.reads_since().filter(|op| self.count(op) > 0);
        acknowledged.chain(shown).min_by_key(|op| op.index)
    }

    fn outcome(&self) -> (&'static str, Option<u64>) {
        let last_shown = self.reads_since().filter(|op| self.count(op) > 0);
        let last_shown = last_shown.map(|op| self.begun(op)).max();
        let last_missed = self.reads_since().filter(|op| self.count(op) == 0);
        let last_missed = last_missed.map(|op| self.begun(op)).max();
        match (self.known(), last_shown, last_missed) {
            (Some(known), Some(shown), missed) if missed.is_none_or(|missed| missed < shown) => {
                let missed_at = missed.map_or(Duration::ZERO, |at| self.history.ops()[at].time);
                let latency = missed_at.saturating_sub(known.time).as_millis();
                ("stable", Some(u64::try_from(latency).unwrap()))
            }
            (Some(known), shown, Some(missed)) if known.index < missed && shown < Some(missed) => {
                ("lost", None)
            }
            _ => ("never-read", None),
        }
    }

    /// The further errors of the value.
    fn errors(&self) -> BTreeSet<&'static str> {
        let shows = |op: &&Op| self.count(op) > 0;
        let mut errors = BTreeSet::new();
        if self.reads_since().any(|op| self.count(op) > 1) {
            errors.insert("duplicated");
        }
        if self.reads().filter(shows).any(|op| self.added().is_none_or(|added| op.index < added)) {
            errors.insert("phantom");
        }
        let failed = self.adding().any(|op| op.kind == OpType::Fail);
        if failed && self.reads_since().any(|op| shows(&op)) {
            errors.insert("resurrected");
        }
        let known = self.known().map(|op| op.index);
        let late = |op: &Op| known.is_some_and(|known| known < self.begun(op));
        if self.reads_since().any(|op| op.is_final && !shows(&op) && late(op)) {
            errors.insert("diverged");
        }
        errors
    }
}

/// A list as a set of texts.
fn texts(list: &Value) -> BTreeSet<String> {
    match list {
        Value::Array(list) => list.iter().map(ToString::to_string).collect(),
        Value::Object(map) => map.keys().cloned().collect(),
        _ => panic!("{list}"),
    }
}

proptest! {
    #[test]
    fn set_full_agrees_with_its_definition(history in sets()) {
        let results = set_full::check(&history, "broadcast");
        let values = VALUES.map(|text| serde_json::from_str::<Value>(text).unwrap());
        let all = values.map(|value| One { history: &history, value });
        let named = |is: &dyn Fn(&One<'_>) -> bool| -> BTreeSet<String> {
            all.iter().filter(|one| is(one)).map(|one| one.value.to_string()).collect()
        };
        for name in ["lost", "never-read"] {
            let expected = named(&|one| one.added().is_some() && one.outcome().0 == name);
            prop_assert_eq!(texts(&results.fields[name]), expected, "{}", name);
        }
        for name in ["duplicated", "phantom", "resurrected", "diverged"] {
            let expected = named(&|one| one.errors().contains(name));
            prop_assert_eq!(texts(&results.fields[name]), expected, "{}", name);
        }
        let mut latencies: Vec<u64> = all.iter().filter_map(|one| one.outcome().1).collect();
        latencies.sort_unstable();
        let max = results.fields.get("stable-latencies").and_then(|points| points["1"].as_u64());
        prop_assert_eq!(max, latencies.last().copied());
        let bad = |one: &One<'_>| one.outcome().0 == "lost" || !one.errors().is_empty();
        prop_assert_eq!(results.valid == Verdict::Invalid, all.iter().any(bad));
    }

    #[test]
    fn echo_agrees_with_its_definition(
        steps in proptest::collection::vec((0u64..3, 0usize..ECHOES.len(), fate()), 0..20),
    ) {
        let history = history_of(
            &steps,
            |_, at, _| ("echo", Some(ECHOES[*at].to_owned()), false),
            // Half of the replies are correct.
            |_, at, nth| (nth % 2 == 0).then(|| ECHOES[*at].to_owned()),
        );
        let begins = history.client_ops().filter(|op| op.kind == OpType::Invoke);
        let parsed = |op: &Op| One::parsed(op).unwrap();
        let wrong = begins.filter(|begin| {
            let mut later = history.client_ops().skip(begin.index + 1);
            let end = later.find(|op| op.process == begin.process);
            end.is_some_and(|end| match end.kind {
                OpType::Ok => parsed(end) != parsed(begin),
                OpType::Fail => true,
                OpType::Invoke | OpType::Info => false,
            })
        });
        let wrong: Vec<Value> = wrong.map(parsed).collect();
        let results = echo::check(&history);
        let errors = results.fields["errors"].as_array().unwrap();
        let found: Vec<Value> = errors.iter().map(|error| error["expected"].clone()).collect();
        prop_assert_eq!(results.valid, Verdict::invalid_if(!wrong.is_empty()));
        prop_assert_eq!(found, wrong);
    }

    #[test]
    fn unique_ids_agrees_with_its_definition(
        steps in proptest::collection::vec((0u64..3, Just(()), fate()), 0..12),
    ) {
        let result = |_, (): &(), nth: usize| Some(IDS[nth % IDS.len()].0.to_owned());
        let history = history_of(&steps, |_, (), _| ("generate", None, false), result);
        let name = |op: &Op| {
            let text = op.value.as_ref().unwrap().get();
            IDS.iter().find(|(id, _)| *id == text).unwrap().1
        };
        let ids: Vec<&str> =
            history.client_ops().filter(|op| op.kind == OpType::Ok).map(name).collect();
        let repeated: BTreeSet<&str> = ids
            .iter()
            .enumerate()
            .filter(|(at, id)| ids[..*at].contains(id))
            .map(|(_, id)| *id)
            .collect();
        let results = unique_ids::check(&history);
        prop_assert_eq!(&results.fields["duplicated-count"], &json!(repeated.len()));
        let kinds: BTreeSet<&str> = ids.iter().map(|id| &id[..1]).collect();
        let comparable = ids.len() < 2 || (kinds.len() <= 1 && !kinds.contains("{"));
        let open = if comparable { Verdict::Valid } else { Verdict::Unknown };
        let expected = Verdict::merge([Verdict::invalid_if(!repeated.is_empty()), open]);
        prop_assert_eq!(results.valid, expected);
        let shown = results.fields["duplicated"].as_object().unwrap();
        for (id, count) in shown {
            let times = ids.iter().filter(|other| *other == id).count();
            prop_assert_eq!(count, &json!(times), "{}", id);
        }
    }
}

/// The values to echo. Some are equal but written differently.
const ECHOES: [&str; 5] = ["\"a\"", "\"\\u0061\"", "\"b\"", "1", "null"];

/// Ids as they are written, and the values that they denote.
const IDS: [(&str, &str); 10] = [
    ("1", "1"),
    ("10000000000000000000000000000001", "10000000000000000000000000000001"),
    ("10000000000000000000000000000002", "10000000000000000000000000000002"),
    ("\"1\"", "\"1\""),
    ("\"a\"", "\"a\""),
    ("\"\\u0061\"", "\"a\""),
    ("[1]", "[1]"),
    ("[ 1 ]", "[1]"),
    (r#"{"b":2,"a":1}"#, r#"{"a":1,"b":2}"#),
    (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#),
];
