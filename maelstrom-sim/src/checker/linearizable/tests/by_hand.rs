//! Hand-written histories. Most histories with an error have a near miss beside them, without one.

use super::*;
use RegisterOp::{Read, Write};

type Op = Operation<RegisterOp<u8>>;

const fn ok(op: RegisterOp<u8>, call: u64, returned: u64) -> Op {
    Operation::completed(op, call, returned)
}

const fn info(op: RegisterOp<u8>, call: u64) -> Op {
    Operation::indeterminate(op, call)
}

const fn cas(from: u8, to: u8) -> RegisterOp<u8> {
    RegisterOp::Cas { from: Some(from), to }
}

fn judge(history: &[Op]) -> Outcome {
    let outcome = check(&Register::new(), history, Limits::default());
    if let Outcome::Linearizable { order } = &outcome {
        naive::assert_proves(&Register::new(), history, order);
    }
    outcome
}

#[track_caller]
fn assert_good(history: &[Op]) {
    let outcome = judge(history);
    assert!(outcome.is_linearizable(), "{outcome}");
}

/// Returns the index of the operation that cannot be linearized.
#[track_caller]
fn assert_bad(history: &[Op]) -> usize {
    match judge(history) {
        Outcome::NotLinearizable(explanation) => explanation.operation,
        other => panic!("{other}"),
    }
}

#[test]
fn nothing_at_all() {
    assert_good(&[]);
    assert_good(&[info(Write(1), 0)]);
}

#[test]
fn one_after_the_other() {
    assert_good(&[
        ok(Read(None), 0, 1),
        ok(Write(1), 2, 3),
        ok(Read(Some(1)), 4, 5),
        ok(cas(1, 2), 6, 7),
        ok(Read(Some(2)), 8, 9),
    ]);
}

#[test]
fn the_order_of_the_slice_does_not_matter() {
    assert_good(&[ok(Read(Some(1)), 4, 5), ok(Write(1), 2, 3), ok(Read(None), 0, 1)]);
}

#[test]
fn a_stale_read() {
    assert_eq!(assert_bad(&[ok(Write(1), 0, 1), ok(Write(2), 2, 3), ok(Read(Some(1)), 4, 5)]), 2);
    assert_good(&[ok(Write(1), 0, 1), ok(Write(2), 2, 5), ok(Read(Some(1)), 4, 6)]);
}

#[test]
fn equal_times_are_concurrent() {
    assert_good(&[ok(Write(1), 0, 1), ok(Write(2), 2, 4), ok(Read(Some(1)), 4, 5)]);
    assert_good(&[ok(Write(1), 3, 3), ok(Read(None), 3, 3)]);
}

#[test]
fn a_read_of_nil_after_a_write() {
    assert_eq!(assert_bad(&[ok(Write(1), 0, 1), ok(Read(None), 2, 3)]), 1);
    assert_good(&[ok(Write(1), 0, 2), ok(Read(None), 2, 3)]);
}

#[test]
fn a_read_of_a_value_that_nobody_wrote() {
    assert_eq!(assert_bad(&[ok(Write(1), 0, 9), ok(Read(Some(2)), 2, 3)]), 1);
}

#[test]
fn a_read_from_the_future() {
    assert_eq!(assert_bad(&[ok(Read(Some(1)), 0, 1), ok(Write(1), 2, 3)]), 0);
    assert_good(&[ok(Read(Some(1)), 0, 2), ok(Write(1), 2, 3)]);
}

#[test]
fn a_lost_update() {
    let both = |end| [ok(Write(0), 0, 1), ok(cas(0, 1), 2, 5), ok(Write(2), 3, end)];
    let [a, b, c] = both(6);
    assert_good(&[a.clone(), b.clone(), c.clone(), ok(Read(Some(2)), 7, 8)]);
    // The write can only come before the other write, and that one then fails.
    assert_eq!(assert_bad(&[a, b, c, ok(Read(Some(1)), 7, 8)]), 3);
}

#[test]
fn a_cas_that_is_not_atomic() {
    assert_eq!(assert_bad(&[ok(Write(0), 0, 1), ok(cas(0, 1), 2, 5), ok(cas(0, 2), 3, 6)]), 2);
    assert_good(&[ok(Write(0), 0, 1), ok(cas(0, 1), 2, 5), ok(cas(0, 2), 3, 6), info(Write(0), 0)]);
    assert_good(&[ok(Write(0), 0, 1), ok(cas(0, 1), 2, 5), ok(cas(1, 0), 3, 6)]);
}

#[test]
fn a_cas_that_creates() {
    let create = |to| RegisterOp::Cas { from: None, to };
    assert_good(&[ok(create(1), 0, 1), ok(Read(Some(1)), 2, 3)]);
    assert_eq!(assert_bad(&[ok(create(1), 0, 3), ok(create(2), 1, 4)]), 1);
}

#[test]
fn an_indeterminate_write_that_shows_late() {
    let mut history = vec![info(Write(1), 0)];
    history.extend((1..9).map(|n| ok(Read(None), 2 * n, 2 * n + 1)));
    history.push(ok(Read(Some(1)), 20, 21));
    assert_good(&history);
}

#[test]
fn an_indeterminate_write_before_its_call() {
    assert_eq!(assert_bad(&[ok(Read(Some(1)), 0, 1), info(Write(1), 2)]), 0);
    assert_good(&[ok(Read(Some(1)), 0, 2), info(Write(1), 2)]);
}

#[test]
fn an_indeterminate_write_does_not_unhappen() {
    let history = [info(Write(1), 0), ok(Read(Some(1)), 2, 3), ok(Read(None), 4, 5)];
    assert_eq!(assert_bad(&history), 2);
}

#[test]
fn an_indeterminate_write_takes_effect_once() {
    let once =
        [info(Write(1), 0), ok(Read(Some(1)), 2, 3), ok(Write(2), 4, 5), ok(Read(Some(1)), 6, 7)];
    assert_eq!(assert_bad(&once), 3);
    let twice: Vec<Op> = once.iter().cloned().chain([info(Write(1), 0)]).collect();
    assert_good(&twice);
    // A second write that is called later does not help.
    let late: Vec<Op> = once.into_iter().chain([info(Write(1), 8)]).collect();
    assert_eq!(assert_bad(&late), 3);
}

#[test]
fn an_indeterminate_cas_needs_its_value() {
    let history = |from| [ok(Write(1), 0, 1), info(cas(from, 5), 2), ok(Read(Some(5)), 3, 4)];
    assert_good(&history(1));
    assert_eq!(assert_bad(&history(2)), 2);
}

#[test]
fn a_chain_of_indeterminate_operations() {
    let chain = [info(cas(2, 3), 0), info(cas(1, 2), 0), info(Write(1), 0)];
    let read = |end| ok(Read(Some(end)), 1, 2);
    assert_good(&[chain.as_slice(), &[read(3)]].concat());
    assert_eq!(assert_bad(&[&chain[..2], &[read(3)]].concat()), 2);
}

#[test]
fn an_indeterminate_write_can_do_more_than_a_cas() {
    let both = [info(Write(1), 0), info(cas(2, 1), 0), ok(Write(2), 1, 2), ok(Read(Some(1)), 3, 4)];
    let then = |value| [ok(Write(value), 5, 6), ok(Read(Some(1)), 7, 8)];
    // The first read sees the cas, so the second read can see the write.
    assert_good(&[both.as_slice(), &then(3)].concat());
    assert_good(&[both.as_slice(), &then(2)].concat());
    let once = [&both[1..], &then(3)].concat();
    assert_eq!(assert_bad(&once), once.len() - 1);
    let cas_only = [info(cas(3, 1), 0), info(cas(2, 1), 0), both[2].clone(), both[3].clone()];
    assert_good(&[cas_only.as_slice(), &then(3)].concat());
    assert_eq!(assert_bad(&[cas_only.as_slice(), &then(2)].concat()), 5);
}

#[test]
fn an_indeterminate_cas_of_a_value_to_itself_changes_nothing() {
    let same = [ok(Write(1), 0, 1), info(cas(1, 1), 0), ok(cas(1, 1), 2, 5), ok(Write(2), 3, 4)];
    assert_good(&same);
    assert_eq!(assert_bad(&[same.as_slice(), &[ok(Read(Some(1)), 6, 7)]].concat()), 4);
    assert_eq!(assert_bad(&[ok(Write(2), 0, 1), ok(cas(1, 1), 2, 3)]), 1);
}

#[test]
fn two_reads_that_disagree_on_the_order() {
    let writes = [ok(Write(1), 0, 9), ok(Write(2), 0, 9)];
    let reads = |a, b, c, d| {
        [
            ok(Read(Some(a)), 10, 11),
            ok(Read(Some(b)), 12, 13),
            ok(Read(Some(c)), 10, 11),
            ok(Read(Some(d)), 12, 13),
        ]
    };
    assert_bad(&[writes.as_slice(), &reads(1, 1, 2, 2)].concat());
    assert_good(&[writes.as_slice(), &reads(1, 1, 1, 1)].concat());
    // While the writes run, one reader may see the first write, and then both see the second.
    let early = [ok(Read(Some(1)), 1, 2), ok(Read(Some(2)), 3, 4)];
    let late = [ok(Read(Some(2)), 1, 2), ok(Read(Some(1)), 3, 4)];
    assert_good(&[writes.as_slice(), &early].concat());
    assert_eq!(assert_bad(&[writes.as_slice(), &early, &late].concat()).min(5), 5);
}

#[test]
fn reads_go_back_and_forth() {
    let writes = [ok(Write(1), 0, 99), ok(Write(2), 0, 99)];
    let read = |value, at| ok(Read(Some(value)), at, at + 1);
    assert_good(&[writes.as_slice(), &[read(1, 1), read(2, 3), read(2, 5)]].concat());
    assert_eq!(assert_bad(&[writes.as_slice(), &[read(1, 1), read(2, 3), read(1, 5)]].concat()), 4);
}

#[test]
fn an_overwritten_write_still_counts() {
    // The write of 1 takes effect unseen before the write of 2, or it takes effect after it.
    let writes = [ok(Write(1), 0, 9), ok(Write(2), 1, 2)];
    assert_good(&[writes.as_slice(), &[ok(Read(Some(2)), 3, 4), ok(Read(Some(1)), 5, 6)]].concat());
    assert_good(&[writes.as_slice(), &[ok(Read(Some(2)), 10, 11)]].concat());
    let both = [ok(Read(Some(1)), 3, 4), ok(Read(Some(2)), 5, 6)];
    assert_eq!(assert_bad(&[writes.as_slice(), &both].concat()), 3);
}

#[test]
fn an_unnoticed_write_cannot_be_moved_behind_its_return() {
    let writes = [ok(Write(1), 0, 3), ok(Write(2), 1, 2)];
    assert_good(&[writes.as_slice(), &[ok(Read(Some(1)), 4, 5)]].concat());
    let back = [ok(Read(Some(2)), 4, 5), ok(Read(Some(1)), 6, 7)];
    assert_eq!(assert_bad(&[writes.as_slice(), &back].concat()), 3);
}

#[test]
fn a_write_of_the_same_value_hides_another_one() {
    let writes = [ok(Write(4), 0, 1), ok(Write(4), 2, 4), ok(Write(1), 3, 5)];
    assert_good(&[writes.as_slice(), &[ok(Read(Some(4)), 6, 7)]].concat());
    assert_good(&[writes.as_slice(), &[ok(Read(Some(1)), 6, 7)]].concat());
    let hidden = [ok(Write(4), 0, 1), info(Write(4), 2), ok(Write(1), 3, 5)];
    assert_good(&[hidden.as_slice(), &[ok(Read(Some(4)), 6, 7)]].concat());
}

#[test]
fn a_read_between_a_late_add_and_another_one() {
    let history = [
        Operation::completed(SetOp::Add(2), 4, 9),
        Operation::completed(SetOp::Read([1].into()), 7, 13),
        Operation::indeterminate(SetOp::Add(1), 9),
    ];
    assert!(check(&GrowSet::new(), &history, Limits::default()).is_linearizable());
}

#[test]
fn the_explanation_names_the_window() {
    let history = [
        ok(Write(1), 0, 1),
        ok(Write(2), 2, 3),
        ok(cas(7, 8), 4, 9),
        ok(Read(Some(1)), 5, 8),
        info(cas(2, 3), 1),
        info(Write(4), 30),
    ];
    let Outcome::NotLinearizable(explanation) = judge(&history) else { panic!() };
    assert_eq!(explanation.operation, 3);
    assert_eq!(explanation.prefix, [0, 1]);
    assert_eq!(explanation.window, [2, 3]);
    let candidates = &explanation.last_states[0].candidates;
    assert_eq!(candidates.iter().map(|one| one.operation).collect::<Vec<_>>(), [3, 2, 4]);
    assert_eq!(explanation.headline(), "read 1 (ops 5 to 8) cannot be linearized.");
    assert_eq!(
        explanation.to_string(),
        "read 1 (ops 5 to 8) cannot be linearized.\n\
         The 2 operations before it can, for example … write 1 (ops 0 to 1), write 2 (ops 2 to \
         3).\n\
         Then the state is 2; it needs 1.\n\
         In this order, a state last fits read 1 just before write 2 (ops 2 to 3), but that had \
         ended before read 1 began.\n\
         Concurrent: cas 7 to 8 (ops 4 to 9) needs 7.\n\
         Indeterminate: cas 2 to 3 (op 1, with an unknown end) leads to 3."
    );
}

#[test]
fn parts_keep_their_places() {
    let history = [
        ("x", ok(Write(1), 0, 1)),
        ("y", ok(Write(1), 0, 1)),
        ("y", ok(Read(Some(1)), 2, 3)),
        ("x", ok(Read(None), 2, 3)),
    ];
    let parts = check_by_key(&Register::new(), history, Limits::default());
    assert_eq!(parts.is_linearizable(), Some(false));
    assert_eq!(parts.by_key["y"], Outcome::Linearizable { order: vec![1, 2] });
    let (key, explanation) = parts.first_error().unwrap();
    assert_eq!((*key, explanation.operation, explanation.prefix.as_slice()), ("x", 3, &[0][..]));
    assert_eq!(explanation.window, [3]);
}

#[test]
fn an_unknown_part_hides_no_error() {
    let good = ("a", ok(Write(1), 0, 1));
    let odd = ("b", ok(Write(1), 3, 2));
    let bad = ("c", ok(Read(Some(1)), 0, 1));
    let judge = |history: &[_]| {
        check_by_key(&Register::new(), history.to_vec(), Limits::default()).is_linearizable()
    };
    assert_eq!(judge(std::slice::from_ref(&good)), Some(true));
    assert_eq!(judge(&[good.clone(), odd.clone()]), None);
    assert_eq!(judge(&[good, odd, bad]), Some(false));
}

#[test]
fn limits_give_unknown() {
    let history: Vec<Op> = (0..100).map(|n| ok(Write(1), 2 * n, 2 * n + 1)).collect();
    let judge = |limits| check(&Register::new(), &history, limits);
    let of = |steps, entries| Limits { steps, entries };
    assert_eq!(judge(of(10, 1000)), Outcome::Unknown(Reason::Steps(10)));
    assert_eq!(judge(of(0, 1000)), Outcome::Unknown(Reason::Steps(0)));
    assert_eq!(judge(of(10_000, 1)), Outcome::Unknown(Reason::Entries(1)));
    assert!(judge(of(10_000, 1000)).is_linearizable());
}

#[test]
fn no_limit_on_steps_makes_a_bad_history_good() {
    let mut history: Vec<Op> = (0..4u8).map(|n| ok(Write(n), 0, 50)).collect();
    history.extend((0..4u8).map(|n| ok(cas(n, n + 10), 1, 60)));
    history.extend((0..3u8).map(|n| info(cas(n + 10, n), 2)));
    history.push(ok(Read(Some(13)), 70, 71));
    history.push(ok(Read(Some(12)), 72, 73));
    history.push(ok(Read(Some(99)), 74, 75));
    for steps in (0..3000).step_by(17) {
        let outcome = check(&Register::new(), &history, Limits { steps, entries: 1000 });
        assert!(!outcome.is_linearizable(), "{steps}");
    }
    assert_eq!(assert_bad(&history), history.len() - 2);
}

#[test]
fn too_many_open_operations_are_unknown() {
    let most = u64::from(Limits::MOST_OPEN);
    let writes = |n| (0..n).map(|_| ok(Write(1), 0, 1)).collect::<Vec<Op>>();
    assert_good(&writes(most));
    assert_eq!(judge(&writes(most + 1)), Outcome::Unknown(Reason::TooManyOpen(128)));
}
