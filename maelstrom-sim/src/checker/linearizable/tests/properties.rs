//! Small random histories, compared with the naive checker.

use std::fmt::Debug;

use proptest::prelude::*;

use super::*;

/// A model without its hints about operations.
struct Plain<M>(M);

impl<M: Model> Model for Plain<M> {
    type State = M::State;
    type Op = M::Op;

    fn init(&self) -> M::State {
        self.0.init()
    }

    fn step(&self, state: &M::State, op: &M::Op) -> Option<M::State> {
        self.0.step(state, op)
    }

    fn describe_state(&self, state: &M::State) -> String {
        self.0.describe_state(state)
    }

    fn describe_op(&self, op: &M::Op) -> String {
        self.0.describe_op(op)
    }
}

/// Histories of up to this many operations. Most are completed, and of any length.
fn histories<O: Debug + Clone>(
    op: impl Strategy<Value = O>,
    most: usize,
) -> impl Strategy<Value = Vec<Operation<O>>> {
    let span = (0..12u64, 0..8u64, 0..4u8);
    let operation = (op, span).prop_map(|(op, (call, length, kind))| Operation {
        op,
        call,
        returned: (kind > 0).then_some(call + length),
    });
    prop::collection::vec(operation, 1..=most)
}

/// Runs each pass alone, with very tight limits: everything that it proves must be true.
fn assert_pass_is_sound<M: Model>(
    model: &M,
    history: &[Operation<M::Op>],
    policy: Policy,
    expected: bool,
) {
    let timeline = Timeline::new(model, history).unwrap();
    let mut steps = 1_000_000;
    let limits =
        Limits { steps, entries: if policy.excess == Excess::Join { 100 } else { 1_000_000 } };
    let all = timeline.events.len();
    let end = match Pass::new(&timeline, policy, limits, &mut steps).run(all) {
        // Joined configurations may reach ever more states.
        Err(_) if policy.excess == Excess::Join => return,
        end => end.unwrap(),
    };
    match (end, policy.excess) {
        (End::Reached(trail), Excess::Drop) => {
            naive::assert_proves(model, history, &order(&trail, history.len()));
            assert!(expected);
        }
        (End::Stuck(stuck), Excess::Drop) => assert!(stuck.dropped || !expected),
        (End::Stuck(_), Excess::Join) => assert!(!expected),
        (End::Reached(_), Excess::Join) => {}
    }
}

fn assert_explains<M: Model>(model: &M, history: &[Operation<M::Op>], explanation: &Explanation)
where
    M::Op: Clone,
{
    let x = &history[explanation.operation];
    let end = x.returned.expect("an indeterminate operation can be left out");
    // The other operations up to the return. Those that return later become indeterminate.
    let before = |with_x: bool| {
        let mut ops: Vec<Operation<M::Op>> = Vec::new();
        for (at, op) in history.iter().enumerate().filter(|(_, op)| op.call <= end) {
            let is_last = (op.returned, at) > (Some(end), explanation.operation);
            let returned = op.returned.filter(|_| !is_last);
            let is_x = at == explanation.operation;
            let returned = if is_x && !with_x { None } else { returned };
            ops.push(Operation { returned, ..op.clone() });
        }
        ops
    };
    assert!(!naive::is_linearizable(model, &before(true)));
    assert!(naive::is_linearizable(model, &before(false)) || explanation.prefix_is_short);
    assert!(explanation.window.contains(&explanation.operation));
    assert!(!explanation.last_states.is_empty());
    assert!(explanation.to_string().lines().count() <= 6);
}

fn assert_agrees<M: Model>(model: &M, history: &[Operation<M::Op>])
where
    M::Op: Clone,
{
    let expected = naive::is_linearizable(model, history);
    match check(model, history, Limits::default()) {
        Outcome::Linearizable { order } => {
            assert!(expected);
            naive::assert_proves(model, history, &order);
        }
        Outcome::NotLinearizable(explanation) => {
            assert!(!expected, "{explanation}");
            assert_explains(model, history, &explanation);
        }
        Outcome::Unknown(reason) => panic!("{reason}"),
    }
    for (excess, per_state, slack, tries) in [
        (Excess::Drop, 1, Some(0), 0),
        (Excess::Drop, 1, Some(0), 2),
        (Excess::Drop, 2, None, 0),
        (Excess::Join, 1, None, 0),
        (Excess::Join, 2, None, 0),
        (Excess::Drop, usize::MAX, None, 0),
    ] {
        let total = per_state.saturating_mul(3);
        let policy = Policy { excess, per_state, total, slack, tries };
        assert_pass_is_sound(model, history, policy, expected);
    }
}

fn register_op() -> impl Strategy<Value = RegisterOp<u8>> {
    prop_oneof![
        3 => prop::option::weighted(0.9, 1..=3u8).prop_map(RegisterOp::Read),
        2 => (1..=3u8).prop_map(RegisterOp::Write),
        3 => (prop::option::weighted(0.9, 1..=3u8), 1..=3u8)
            .prop_map(|(from, to)| RegisterOp::Cas { from, to }),
    ]
}

fn set_op() -> impl Strategy<Value = SetOp<u8>> {
    prop_oneof![
        (1..=3u8).prop_map(SetOp::Add),
        prop::collection::btree_set(1..=3u8, 0..=3).prop_map(SetOp::Read),
    ]
}

fn counter_op() -> impl Strategy<Value = CounterOp> {
    prop_oneof![(-1..=2i64).prop_map(CounterOp::Add), (-1..=3i64).prop_map(CounterOp::Read)]
}

fn queue_op() -> impl Strategy<Value = QueueOp<u8>> {
    prop_oneof![
        (1..=3u8).prop_map(QueueOp::Enqueue),
        prop::option::weighted(0.8, 1..=3u8).prop_map(QueueOp::Dequeue),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn register(history in histories(register_op(), 6)) {
        assert_agrees(&Register::new(), &history);
        assert_agrees(&Plain(Register::new()), &history);
    }

    #[test]
    fn grow_set(history in histories(set_op(), 6)) {
        assert_agrees(&GrowSet::new(), &history);
        assert_agrees(&Plain(GrowSet::new()), &history);
    }

    #[test]
    fn counter(history in histories(counter_op(), 6)) {
        assert_agrees(&Counter, &history);
        assert_agrees(&Plain(Counter), &history);
    }

    #[test]
    fn queue(history in histories(queue_op(), 6)) {
        assert_agrees(&Queue::new(), &history);
        assert_agrees(&Plain(Queue::new()), &history);
    }
}
