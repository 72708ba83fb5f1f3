//! A naive checker that follows the definition of linearizability: it tries all orders.

use super::*;

/// Whether a completed operation comes before another one in real time.
fn precedes<O>(a: &Operation<O>, b: &Operation<O>) -> bool {
    a.returned.is_some_and(|end| end < b.call)
}

/// Whether there is a legal order of all completed operations and some of the others.
pub(super) fn is_linearizable<M: Model>(model: &M, history: &[Operation<M::Op>]) -> bool {
    let all: Vec<usize> = (0..history.len()).collect();
    extends(model, history, &model.init(), &all)
}

fn extends<M: Model>(
    model: &M,
    history: &[Operation<M::Op>],
    state: &M::State,
    rest: &[usize],
) -> bool {
    let is_first = |at: &usize| !rest.iter().any(|b| precedes(&history[*b], &history[*at]));
    rest.iter().all(|at| history[*at].returned.is_none())
        || rest.iter().filter(|at| is_first(at)).any(|at| {
            let rest: Vec<usize> = rest.iter().copied().filter(|other| other != at).collect();
            let next = model.step(state, &history[*at].op);
            next.is_some_and(|next| extends(model, history, &next, &rest))
        })
}

/// Asserts that an order proves that a history is linearizable.
#[track_caller]
pub(super) fn assert_proves<M: Model>(model: &M, history: &[Operation<M::Op>], order: &[usize]) {
    let mut place = vec![None; history.len()];
    let mut state = model.init();
    // The latest call so far. No later operation in the order may have returned before it.
    let mut latest = 0;
    for (n, at) in order.iter().enumerate() {
        assert_eq!(place[*at].replace(n), None, "{at} is there twice");
        let op = &history[*at];
        latest = latest.max(op.call);
        assert!(op.returned.is_none_or(|end| end >= latest), "{at} comes too late");
        let Some(next) = model.step(&state, &op.op) else { panic!("{at} is not legal") };
        state = next;
    }
    let is_there = |(at, op): (usize, &Operation<_>)| op.returned.is_none() || place[at].is_some();
    assert!(history.iter().enumerate().all(is_there), "{order:?} lacks some");
}
