//! Small random histories of lists, judged beside a naive definition that tries every order.

use proptest::prelude::*;

use super::super::super::{Rules, find};
use super::*;

const KEYS: usize = 2;

/// A transaction that ran concurrently with others.
#[derive(Clone, Debug, Default)]
struct Ran {
    /// Appends with their elements, and reads with the lists that they saw.
    ops: Vec<(usize, Result<u64, Vec<u64>>)>,
    begun: usize,
    ended: usize,
}

/// Runs transactions with these operations on one copy of the lists, without isolation. `turns`
/// says which transaction runs next. `cuts` says how many of the last elements a read does not
/// show.
fn run(txns: &[Vec<(bool, usize)>], turns: &[usize], cuts: &[usize]) -> Vec<Ran> {
    let mut left: Vec<usize> = (0..txns.len()).flat_map(|id| vec![id; txns[id].len()]).collect();
    let (mut ran, mut lists) = (vec![Ran::default(); txns.len()], vec![Vec::new(); KEYS]);
    for now in 0..left.len() {
        let id = left.remove(turns[now % turns.len()] % left.len());
        let txn = &mut ran[id];
        if txn.ops.is_empty() {
            txn.begun = 2 * now;
        }
        txn.ended = 2 * now + 1;
        let (append, key) = txns[id][txn.ops.len()];
        let list: &mut Vec<u64> = &mut lists[key];
        let what = if append {
            list.push(now as u64 + 1);
            Ok(now as u64 + 1)
        } else {
            Err(list[..list.len().saturating_sub(cuts[now % cuts.len()])].to_vec())
        };
        txn.ops.push((key, what));
    }
    ran
}

fn history_of_ran(ran: &[Ran]) -> History {
    let mut events: Vec<(usize, usize)> = Vec::new();
    for (id, txn) in ran.iter().enumerate() {
        events.extend([(txn.begun, id), (txn.ended, id)]);
    }
    events.sort_unstable();
    let (mut history, mut open) = (History::default(), BTreeMap::new());
    for (_, id) in events {
        let op = |(key, what): &(usize, Result<u64, Vec<u64>>)| match what {
            Ok(element) => json!(["append", key, element]),
            Err(list) => json!(["r", key, list]),
        };
        let txn: Value = ran[id].ops.iter().map(op).collect();
        let process = id as u64;
        if let Some(begun) = open.remove(&id) {
            push(&mut history, process, OpType::Ok, &txn, Some(begun), false);
        } else {
            let asked: Value = txn.as_array().unwrap().iter().map(asked).collect();
            open.insert(id, push(&mut history, process, OpType::Invoke, &asked, None, false));
        }
    }
    history
}

/// Whether a serial execution in this order gives the same reads.
fn is_explained(ran: &[Ran], order: &[usize]) -> bool {
    let mut lists = vec![Vec::new(); KEYS];
    order.iter().all(|id| {
        ran[*id].ops.iter().all(|(key, what)| match what {
            Ok(element) => {
                lists[*key].push(*element);
                true
            }
            Err(list) => lists[*key] == *list,
        })
    })
}

fn keeps_time(ran: &[Ran], order: &[usize]) -> bool {
    order
        .iter()
        .enumerate()
        .all(|(at, id)| order.iter().skip(at + 1).all(|later| ran[*later].ended > ran[*id].begun))
}

/// Whether Elle's rules have a finding.
fn elle_finds(model: Model, history: &History) -> bool {
    let all = Transactions::of(history, Data::Lists, Trust::AnyReply);
    !find(&all, &BTreeSet::from([model]), Rules::Elle).is_empty()
}

fn txns(count: usize) -> impl Strategy<Value = Vec<Vec<(bool, usize)>>> {
    let txn = proptest::collection::vec((any::<bool>(), 0..KEYS), 1..4);
    proptest::collection::vec(txn, 1..=count)
}

proptest! {
    #[test]
    fn serializability_is_decided_exactly(
        txns in txns(5),
        turns in proptest::collection::vec(0usize..15, 1..16),
        cuts in proptest::collection::vec(prop_oneof![9 => Just(0usize), 1 => 1usize..3], 1..16),
    ) {
        let ran = run(&txns, &turns, &cuts);
        let history = history_of_ran(&ran);
        let orders = super::super::properties::permutations(ran.len());
        let explained: Vec<_> = orders.iter().filter(|order| is_explained(&ran, order)).collect();
        let in_time = explained.iter().any(|order| keeps_time(&ran, order));
        for (model, holds) in [(Ser, !explained.is_empty()), (Strict, in_time)] {
            let names = names(&judge_lists(model, &history));
            prop_assert_eq!(names.is_empty(), holds, "{:?} {:?} {:?}", model, names, ran);
            prop_assert_eq!(!elle_finds(model, &history), holds, "Elle: {:?} {:?}", model, ran);
        }
    }
}

proptest! {
    // All models judge each case, so there are fewer cases.
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn transactions_one_after_the_other_are_blamed_by_no_model(
        txns in txns(12), null in any::<bool>(),
    ) {
        // The first remaining transaction always runs next, so none run concurrently.
        let ran = run(&txns, &[0], &[0]);
        let mut history = history_of_ran(&ran);
        if null {
            history = with_nulls(&history);
        }
        for model in Model::ALL {
            let results = judge_lists(model, &history);
            prop_assert_eq!(results.valid, Verdict::Valid, "{:?} {:?}", model, results.fields);
            prop_assert!(!elle_finds(model, &history));
        }
    }
}

/// The same history with null for every empty list.
fn with_nulls(history: &History) -> History {
    let mut nulls = History::default();
    for op in history.ops() {
        let value = op.value.as_ref().map(|value| value.get().replace("[]", "null"));
        let value = value.and_then(|text| serde_json::value::RawValue::from_string(text).ok());
        nulls.push(Op { value, ..op.clone() });
    }
    nulls
}
