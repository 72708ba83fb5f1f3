//! Small random histories, judged beside naive definitions that try every order.

use proptest::prelude::*;

use super::*;

/// A transaction: its process, its writes, and the writer from which each of its reads reads.
#[derive(Clone, Debug)]
struct Small {
    process: u64,
    writes: Vec<usize>,
    reads: Vec<(usize, Option<usize>)>,
    /// Whether the outcome is known. If not, the transaction has no reads and ends its session.
    told: bool,
}

const KEYS: usize = 2;

/// The models that include sessions, and those that include real time.
const SESSIONS: [Model; 5] = [
    Causal,
    Model::StrongSessionReadUncommitted,
    Model::StrongSessionReadCommitted,
    Model::StrongSessionSnapshotIsolation,
    Model::StrongSessionSerializable,
];
const REALTIME: [Model; 4] = [
    Model::StrongReadUncommitted,
    Model::StrongReadCommitted,
    Model::StrongSnapshotIsolation,
    Strict,
];

/// Transactions that write each key at most once, and read some of the others' writes.
fn small(count: usize) -> impl Strategy<Value = Vec<Small>> {
    let one = (
        0u64..3,
        proptest::collection::vec(any::<bool>(), KEYS),
        proptest::collection::vec((any::<bool>(), 0usize..=count), KEYS),
    );
    proptest::collection::vec(one, 1..=count).prop_map(|raw| {
        let mut txns: Vec<Small> = Vec::new();
        for (process, writes, _) in &raw {
            let writes = (0..KEYS).filter(|key| writes[*key]).collect();
            txns.push(Small { process: *process, writes, reads: Vec::new(), told: true });
        }
        for (id, (_, _, reads)) in raw.iter().enumerate() {
            for (key, (reads, from)) in reads.iter().enumerate() {
                let can = |from: &usize| *from != id && txns.get(*from).is_some();
                let from = Some(*from).filter(can);
                let from = from.filter(|from| txns[*from].writes.contains(&key));
                if *reads {
                    txns[id].reads.push((key, from));
                }
            }
        }
        txns
    })
}

/// Runs all transactions concurrently, but those of one process one after the other. Reads come
/// first.
fn text(txns: &[Small]) -> String {
    let mut text = String::new();
    for (id, txn) in txns.iter().enumerate() {
        let kind = if txn.told { "ok" } else { "info" };
        text.push_str(&format!("{} {kind}", txn.process));
        for (key, from) in &txn.reads {
            let value = from.map(|from| (from + 1).to_string()).unwrap_or_default();
            text.push_str(&format!(" k{key}?{value}"));
        }
        for key in &txn.writes {
            text.push_str(&format!(" k{key}={}", id + 1));
        }
        text.push('\n');
    }
    text
}

pub(super) fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for rest in permutations(count - 1) {
        for at in 0..count {
            let mut order = rest.clone();
            order.insert(at, count - 1);
            all.push(order);
        }
    }
    all
}

/// Whether a serial execution in this order gives the same reads.
fn serial(txns: &[Small], order: &[usize]) -> bool {
    let mut state = [None; KEYS];
    order.iter().all(|id| {
        let fits = txns[*id].reads.iter().all(|(key, from)| state[*key] == *from);
        txns[*id].writes.iter().for_each(|key| state[*key] = Some(*id));
        fits
    })
}

/// The transactions that each transaction must have seen: those from which it read. For causal
/// consistency, also their causal pasts.
fn seen(txns: &[Small], causal: bool) -> Vec<Vec<bool>> {
    let count = txns.len();
    let mut seen = vec![vec![false; count]; count];
    for (id, txn) in txns.iter().enumerate() {
        for from in txn.reads.iter().filter_map(|(_, from)| *from) {
            seen[id][from] = true;
        }
        if causal {
            for earlier in 0..id {
                seen[id][earlier] |= txns[earlier].process == txn.process;
            }
        }
    }
    for _ in (0..count).filter(|_| causal) {
        for (a, b, c) in triples(count) {
            seen[a][c] |= seen[a][b] && seen[b][c];
        }
    }
    seen
}

fn triples(n: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..n).flat_map(move |a| (0..n).flat_map(move |b| (0..n).map(move |c| (a, b, c))))
}

/// The axioms of Cerone et al. 2015 with the least visibility that they allow: in this arbitration
/// order, every transaction reads the last of the writes that it sees.
fn arbitrated(txns: &[Small], order: &[usize], seen: &[Vec<bool>]) -> bool {
    let place = |id: usize| order.iter().position(|other| *other == id).unwrap();
    (0..txns.len()).all(|id| {
        let past: Vec<usize> = (0..txns.len()).filter(|other| seen[id][*other]).collect();
        let forward = past.iter().all(|other| place(*other) < place(id));
        let last = |key| {
            let writers = past.iter().filter(|other| txns[**other].writes.contains(&key));
            writers.max_by_key(|other| place(**other)).copied()
        };
        forward && txns[id].reads.iter().all(|(key, from)| last(*key) == *from)
    })
}

/// A process; whether it writes each key; its read of each key; whether its session ends, and
/// whether the outcome is known.
type Raw = (u64, Vec<bool>, Vec<(u8, u8, u8)>, (bool, bool));

/// Transactions of more processes, so that some sessions end early, with reads that few histories
/// forbid: each transaction reads a quarter of the keys, mostly from earlier transactions. `ends`
/// is the probability that a session ends with a transaction. Half of these outcomes are unknown.
fn sparse(count: usize, ends: f64) -> impl Strategy<Value = Vec<Small>> {
    let read = (0u8..4, any::<u8>(), 0u8..20);
    let one = (
        0u64..6,
        proptest::collection::vec(any::<bool>(), KEYS),
        proptest::collection::vec(read, KEYS),
        (proptest::bool::weighted(ends), any::<bool>()),
    );
    proptest::collection::vec(one, 1..=count).prop_map(|raw| {
        let writers = |key: usize| {
            let writers = raw.iter().enumerate().filter(move |(_, (_, writes, ..))| writes[key]);
            writers.map(|(id, _)| id)
        };
        let mut processes: Vec<u64> = (0..6).collect();
        let small = |(id, (process, writes, reads, (ends, told))): (usize, &Raw)| {
            let slot = processes.iter_mut().find(|slot| **slot % 6 == *process).unwrap();
            let (process, told) = (*slot, *told || !ends);
            *slot += if *ends { 6 } else { 0 };
            let reads = reads.iter().enumerate();
            let reads = reads.filter(|(_, (reads, ..))| told && *reads == 0);
            let reads = reads.map(|(key, (_, from, late))| {
                let can = |from: &usize| *from < id || (*late == 0 && *from != id);
                let from_some: Vec<usize> = writers(key).filter(can).collect();
                let from = usize::from(*from) % (from_some.len() + 1);
                (key, from_some.get(from).copied())
            });
            let writes = (0..KEYS).filter(|key| writes[*key]).collect();
            Small { process, writes, reads: reads.collect(), told }
        };
        raw.iter().enumerate().map(small).collect()
    })
}

/// The rule of Biswas & Enea 2019 without clocks: every write that a transaction has seen comes
/// before the version that it read instead. Returns whether these orders and visibility are
/// acyclic.
fn saturated(txns: &[Small]) -> bool {
    let seen = seen(txns, true);
    let mut after = seen.clone();
    for (id, txn) in txns.iter().enumerate() {
        for (key, from) in &txn.reads {
            let writers = (0..txns.len()).filter(|writer| txns[*writer].writes.contains(key));
            for writer in writers.filter(|writer| seen[id][*writer] && Some(*writer) != *from) {
                let Some(from) = from else {
                    return false;
                };
                after[*from][writer] = true;
            }
        }
    }
    for _ in 0..txns.len() {
        for (a, b, c) in triples(txns.len()) {
            after[a][c] |= after[a][b] && after[b][c];
        }
    }
    (0..txns.len()).all(|id| !after[id][id])
}

fn found(model: Model, txns: &[Small]) -> bool {
    !anomalies(model, &text(txns)).is_empty()
}

proptest! {
    #[test]
    fn causal_consistency_is_decided_exactly(txns in small(5)) {
        let seen = seen(&txns, true);
        let holds = permutations(txns.len()).iter().any(|order| arbitrated(&txns, order, &seen));
        prop_assert_eq!(found(Causal, &txns), !holds, "{}", text(&txns));
    }

    #[test]
    fn read_atomicity_is_decided_exactly(txns in small(5)) {
        let seen = seen(&txns, false);
        let holds = permutations(txns.len()).iter().any(|order| arbitrated(&txns, order, &seen));
        prop_assert_eq!(found(Ra, &txns), !holds, "{}", text(&txns));
    }
}

proptest! {
    #[test]
    fn causality_with_clocks_finds_the_same_as_the_rule_without(txns in sparse(12, 0.1)) {
        prop_assert_eq!(found(Causal, &txns), !saturated(&txns), "{}", text(&txns));
    }

    #[test]
    fn so_it_does_where_sessions_are_short(txns in sparse(16, 0.5)) {
        prop_assert_eq!(found(Causal, &txns), !saturated(&txns), "{}", text(&txns));
    }
}

proptest! {
    // All models judge each case, so there are fewer cases.
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_history_with_any_serial_order_is_blamed_by_no_model_without_sessions(txns in small(5)) {
        let orders = permutations(txns.len());
        let explained: Vec<_> = orders.iter().filter(|order| serial(&txns, order)).collect();
        let in_session = |(a, b): (&usize, &usize)| a < b || txns[*a].process != txns[*b].process;
        let keeps_sessions = |order: &&&Vec<usize>| {
            let pairs = order.iter().enumerate();
            pairs.into_iter().all(|(at, a)| order[at..].iter().skip(1).all(|b| in_session((a, b))))
        };
        let any = !explained.is_empty();
        let any_in_session = explained.iter().any(|order| keeps_sessions(&order));
        for model in Model::ALL.into_iter().filter(|model| !REALTIME.contains(model)) {
            if any_in_session || (any && !SESSIONS.contains(&model)) {
                prop_assert!(!found(model, &txns), "{:?}\n{}", model, text(&txns));
            }
        }
    }
    #[test]
    fn a_history_that_real_time_explains_is_blamed_by_no_model_and_a_wrong_read_by_the_strict_one(
        steps in proptest::collection::vec(
            (0u64..4, proptest::collection::vec((any::<bool>(), 0usize..3), 1..4)), 1..40),
        wrong in 0usize..40,
    ) {
        let (history, corrupted) = concurrent(&steps, wrong);
        for model in Model::ALL {
            prop_assert_eq!(judge(model, &history).valid, Verdict::Valid);
        }
        if let Some(corrupted) = corrupted {
            prop_assert_eq!(judge(Strict, &corrupted).valid, Verdict::Invalid);
        }
    }
}

/// A history in which every transaction takes effect at its end, while transactions of other
/// processes are open. The second history is the same, except that one read shows null although its
/// key was written before the transaction began (if there is such a read).
fn concurrent(steps: &[(u64, Vec<(bool, usize)>)], wrong: usize) -> (History, Option<History>) {
    let mut events: Vec<(u64, Option<usize>, [Value; 2])> = Vec::new();
    let mut corrupted = false;
    // For each key, its last value, and when it was first written.
    let mut state: [Option<(u64, usize)>; 3] = [None; 3];
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, (process, ops)) in steps.iter().enumerate() {
        let Some(begun) = open.remove(process) else {
            open.insert(*process, events.len());
            events.push((*process, None, [json!([]), json!([])]));
            continue;
        };
        let (mut asked, mut right, mut lie) = (Vec::new(), Vec::new(), Vec::new());
        for (write, key) in ops {
            let (value, first) = state[*key].unwrap_or((0, events.len()));
            if *write {
                state[*key] = Some((value + 1, first));
                for txn in [&mut asked, &mut right, &mut lie] {
                    txn.push(json!(["w", key, value + 1]));
                }
                continue;
            }
            let value = state[*key].map(|(value, _)| value);
            let corrupt = at >= wrong && first < begun && !corrupted;
            corrupted |= corrupt;
            asked.push(json!(["r", key, null]));
            right.push(json!(["r", key, value]));
            lie.push(json!(["r", key, value.filter(|_| !corrupt)]));
        }
        events[begun].2 = [json!(asked), json!(asked)];
        events.push((*process, Some(begun), [json!(right), json!(lie)]));
    }
    let history = |which: usize| {
        let mut history = History::default();
        for (process, begun, txns) in &events {
            let kind = if begun.is_some() { OpType::Ok } else { OpType::Invoke };
            push(&mut history, *process, kind, &txns[which], *begun, false);
        }
        history
    };
    (history(0), corrupted.then(|| history(1)))
}
