//! Checks the models' hints about their operations against their steps.

use std::fmt::Debug;

use super::*;

fn assert_contracts<M: Model>(model: &M, states: &[M::State], ops: &[M::Op])
where
    M::State: Debug,
    M::Op: Debug,
{
    let after = |state: &M::State, ops: [&M::Op; 2]| {
        model.step(state, ops[0]).and_then(|state| model.step(&state, ops[1]))
    };
    for a in ops {
        let to: Vec<_> = states.iter().map(|state| model.step(state, a)).collect();
        if model.overwrites(a) {
            assert!(to[0].is_some() && to.iter().all(|one| *one == to[0]), "{a:?}");
        }
        if model.is_read(a) {
            let is_same = |(to, from): (&Option<_>, _)| to.as_ref().is_none_or(|to| to == from);
            assert!(to.iter().zip(states).all(is_same), "{a:?}");
        }
        for b in ops.iter().filter(|b| model.swaps(a, b)) {
            for state in states {
                let (there, back) = (after(state, [a, b]), after(state, [b, a]));
                assert!(there.is_none() || there == back, "{state:?}: {a:?}, {b:?}");
            }
        }
        for b in ops.iter().filter(|b| model.covers(a, b)) {
            let alone = states.iter().map(|state| model.step(state, b));
            assert!(alone.zip(&to).all(|(b, a)| b.is_none() || b == *a), "{a:?} covers {b:?}");
        }
    }
}

#[test]
fn register() {
    let values = [None, Some(1), Some(2), Some(3)];
    let mut ops: Vec<RegisterOp<u8>> = values.map(RegisterOp::Read).to_vec();
    for to in 1..=3 {
        ops.push(RegisterOp::Write(to));
        ops.extend(values.map(|from| RegisterOp::Cas { from, to }));
    }
    assert_contracts(&Register::new(), &[None, Some(1), Some(2), Some(3), Some(4)], &ops);
    let model = Register::new();
    assert!(model.swaps(&RegisterOp::Write(1), &RegisterOp::Read(Some(2))));
    assert!(!model.swaps(&RegisterOp::Write(1), &RegisterOp::Read(Some(1))));
    let cas = RegisterOp::Cas { from: Some(2), to: 1 };
    assert!(model.covers(&RegisterOp::Write(1), &cas));
    assert!(!model.covers(&cas, &RegisterOp::Write(1)));
    assert!(model.is_read(&RegisterOp::Cas { from: Some(1), to: 1 }));
}

#[test]
fn grow_set() {
    let sets = [vec![], vec![1], vec![2], vec![1, 2], vec![1, 2, 3]];
    let sets: Vec<_> = sets.into_iter().map(std::collections::BTreeSet::from_iter).collect();
    let ops: Vec<SetOp<u8>> =
        (1..=3).map(SetOp::Add).chain(sets.iter().cloned().map(SetOp::Read)).collect();
    assert_contracts(&GrowSet::new(), &sets, &ops);
}

#[test]
fn counter() {
    let states: Vec<i128> = (-3..=3).collect();
    let ops: Vec<CounterOp> =
        (-2..=2).flat_map(|n| [CounterOp::Add(n), CounterOp::Read(n)]).collect();
    assert_contracts(&Counter, &states, &ops);
}

#[test]
fn queue() {
    let states = [vec![], vec![1], vec![2], vec![1, 2], vec![2, 1], vec![1, 1]];
    let states = states.map(std::collections::VecDeque::from);
    let ops: Vec<QueueOp<u8>> = (1..=2)
        .flat_map(|n| [QueueOp::Enqueue(n), QueueOp::Dequeue(Some(n))])
        .chain([QueueOp::Dequeue(None)])
        .collect();
    assert_contracts(&Queue::new(), &states, &ops);
}
