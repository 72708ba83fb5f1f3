//! Tests which configurations dominate others, and how a pass recovers from a place where it
//! dropped too many.

use proptest::prelude::*;

use super::covers::Covers;
use super::*;

const OPS: [RegisterOp<u8>; 6] = [
    RegisterOp::Cas { from: Some(2), to: 1 },
    RegisterOp::Write(1),
    RegisterOp::Cas { from: None, to: 1 },
    RegisterOp::Cas { from: Some(1), to: 2 },
    RegisterOp::Write(2),
    RegisterOp::Cas { from: Some(1), to: 3 },
];

/// How many operations of each kind are unused.
type Left = [u32; OPS.len()];

/// Whether each operation of `theirs` has a partner in `ours`. Tries all pairings.
fn has_partners(ours: Left, theirs: Left) -> bool {
    let Some(class) = theirs.iter().position(|count| *count > 0) else { return true };
    let mut theirs = theirs;
    theirs[class] -= 1;
    (0..OPS.len()).any(|partner| {
        let is_fit = partner == class || Register::new().covers(&OPS[partner], &OPS[class]);
        let mut ours = ours;
        is_fit && ours[partner] > 0 && {
            ours[partner] -= 1;
            has_partners(ours, theirs)
        }
    })
}

fn counts() -> impl Strategy<Value = Left> {
    prop::array::uniform6(0..=2u32)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn partners_are_found(ours in counts(), theirs in counts()) {
        let covers = Covers::new(&Register::new(), &OPS.each_ref());
        let by_slot = |used: Left| {
            let mut slots = vec![0; OPS.len()];
            (0..OPS.len()).for_each(|class| slots[covers.slot(class)] = used[class]);
            slots
        };
        let left = |used: Left| used.map(|used| 2 - used);
        prop_assert_eq!(
            covers.leave_partners(&by_slot(ours), &by_slot(theirs)),
            has_partners(left(ours), left(theirs))
        );
    }
}

/// A model in which all operations have the same effect and cover each other.
struct Same;

impl Model for Same {
    type State = ();
    type Op = u8;

    fn init(&self) {}

    fn step(&self, (): &(), _: &u8) -> Option<()> {
        Some(())
    }

    fn describe_state(&self, (): &()) -> String {
        String::new()
    }

    fn describe_op(&self, _: &u8) -> String {
        String::new()
    }

    fn covers(&self, _: &u8, _: &u8) -> bool {
        true
    }
}

#[test]
fn classes_that_cover_each_other_have_slots_of_their_own() {
    let covers = Covers::new(&Same, &[&1, &2, &3]);
    let mut slots: Vec<usize> = (0..covers.len()).map(|class| covers.slot(class)).collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2]);
    assert!(covers.leave_partners(&[1, 1, 1], &[1, 1, 1]));
}

/// Two concurrent writes, then other operations, and then a read of one of the two values.
fn late_read(value: u64, between: u64) -> Vec<Operation<RegisterOp<u64>>> {
    let mut history = vec![
        Operation::completed(RegisterOp::Write(1), 0, 1),
        Operation::completed(RegisterOp::Write(2), 0, 1),
    ];
    let cas = RegisterOp::Cas { from: Some(9), to: 9 };
    history.extend((1..=between).map(|n| Operation::completed(RegisterOp::Write(9), 2 * n, 2 * n)));
    history.extend((1..=between).map(|n| Operation::completed(cas.clone(), 2 * n + 1, 2 * n + 1)));
    let end = 2 * between + 2;
    let writes = [1, 2].map(|value| Operation::completed(RegisterOp::Write(value), end, end + 9));
    history.extend(writes);
    history.push(Operation::completed(RegisterOp::Read(Some(value)), end + 10, end + 11));
    history
}

#[test]
fn a_pass_goes_back_from_where_it_is_stuck() {
    for between in [0, 1, 15, 16, 200] {
        let stuck = |value, tries| {
            let history = late_read(value, between);
            let model = Register::new();
            let timeline = Timeline::new(&model, &history).unwrap();
            let excess = Excess::Drop;
            let policy = Policy { excess, per_state: 1, total: 1, slack: None, tries };
            let mut steps = 1_000_000;
            let pass = Pass::new(&timeline, policy, Limits::default(), &mut steps);
            match pass.run(timeline.events.len()).unwrap() {
                End::Stuck(stuck) => {
                    assert!(stuck.dropped || value == 3, "{between} {value}");
                    true
                }
                End::Reached(trail) => {
                    let order = order(&trail, history.len());
                    naive::assert_proves(&model, &history, &order);
                    false
                }
            }
        };
        assert_eq!([1, 2].map(|value| stuck(value, 0)).iter().filter(|one| **one).count(), 1);
        assert_eq!([1, 2].map(|value| stuck(value, 1)), [false, false]);
        assert_eq!([1, 2].map(|value| stuck(value, 2)), [false, false]);
        // No number of tries finds an order that does not exist.
        assert!(stuck(3, 2));
    }
}
