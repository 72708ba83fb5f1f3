//! Sends under way: their numbers, deadlines, retries and limits.

use serde_json::value::to_raw_value;

use super::*;
use crate::log::DEDUPE_WINDOW;
use crate::test_requests::requests;

const EVERYTHING: usize = usize::MAX;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn node(number: u64) -> NodeId {
    format!("n{number}").as_str().into()
}

/// A client's send of that many bytes that has just come, at 0 s.
fn pending(bytes: usize) -> Pending {
    let msg = to_raw_value(&"m").unwrap().into();
    Pending {
        request: requests(1).remove(0),
        key: "k".into(),
        msg,
        deadline: GIVE_UP_AFTER,
        retry_at: Duration::ZERO,
        target: None,
        tries: 0,
        copies: 0,
        bytes,
    }
}

/// Sends of these sizes in bytes, in this order, all to partition 0.
fn sends_of(bytes: &[usize]) -> Sends {
    let mut sends = Sends::new(DEDUPE_WINDOW);
    for bytes in bytes {
        sends.begin(0, pending(*bytes), EVERYTHING).unwrap();
    }
    sends
}

/// True if one more send of `bytes` bytes is taken, with up to `bytes_max` bytes under way.
fn takes(sends: &mut Sends, partition: PartitionId, bytes: usize, bytes_max: usize) -> bool {
    let before = sends.of(partition).len();
    let result = sends.begin(partition, pending(bytes), bytes_max);
    assert_eq!(sends.of(partition).len() > before, result.is_ok());
    if let Err(error) = &result {
        assert_eq!(error.code, ErrorCode::TemporarilyUnavailable);
    }
    result.is_ok()
}

#[test]
fn a_send_gets_the_next_number_of_its_partition_and_never_one_twice() {
    let mut sends = Sends::new(DEDUPE_WINDOW);
    for (partition, seq) in [(0, 0), (0, 1), (7, 0), (0, 2), (7, 1)] {
        assert_eq!(sends.begin(partition, pending(1), EVERYTHING).unwrap(), (partition, seq));
    }
    // Not even when all sends with these numbers have ended, or when one was refused.
    for id in sends.of(0) {
        sends.end(id);
    }
    assert!(!takes(&mut sends, 0, 1, 0));
    assert_eq!(sends.begin(0, pending(1), EVERYTHING).unwrap(), (0, 3));
    assert_eq!((sends.of(0), sends.of(7)), (vec![(0, 3)], vec![(7, 0), (7, 1)]));
}

#[test]
fn bytes_are_bounded_but_for_a_send_alone() {
    // The bytes under way, those of the next send, the limit, and whether the send is taken.
    let table: [(&[usize], usize, usize, bool); 7] = [
        (&[], 10, 10, true),
        (&[], 11, 10, true),
        (&[4], 6, 10, true),
        (&[4], 7, 10, false),
        (&[4, 5], 1, 10, true),
        (&[4, 5], 2, 10, false),
        (&[11], 1, 10, false),
    ];
    for (under_way, bytes, bytes_max, is_taken) in table {
        let mut sends = sends_of(under_way);
        assert_eq!(takes(&mut sends, 0, bytes, bytes_max), is_taken, "{under_way:?}, {bytes}");
        // All partitions together have this room.
        let mut sends = sends_of(under_way);
        assert_eq!(takes(&mut sends, 1, bytes, bytes_max), is_taken, "{under_way:?}, {bytes}");
    }
}

#[test]
fn a_send_that_ends_makes_room() {
    let mut sends = sends_of(&[4, 5]);
    assert!(!takes(&mut sends, 0, 6, 10));
    assert_eq!(sends.end((0, 1)).map(|pending| pending.bytes), Some(5));
    assert!(takes(&mut sends, 0, 6, 10));
}

#[test]
fn numbers_under_way_in_a_partition_are_less_than_a_window_apart() {
    for window in [1, 4, DEDUPE_WINDOW] {
        let mut sends = Sends::new(window);
        for _ in 0..window {
            assert!(takes(&mut sends, 0, 1, EVERYTHING));
        }
        assert!(!takes(&mut sends, 0, 1, EVERYTHING), "0 is under way");
        assert!(takes(&mut sends, 1, 1, EVERYTHING), "another partition has its own numbers");
        // The number of sends under way does not matter.
        for seq in 1..window {
            sends.end((0, seq));
        }
        assert!(!takes(&mut sends, 0, 1, EVERYTHING), "0 is still under way");
        sends.end((0, 0));
        assert!(takes(&mut sends, 0, 1, EVERYTHING));
    }
}

#[test]
fn the_number_of_sends_is_bounded() {
    let mut sends = Sends::new(DEDUPE_WINDOW);
    let one = pending(0);
    for nth in 0..SENDS_MAX as u64 {
        let partition = u32::try_from(nth / DEDUPE_WINDOW).unwrap();
        sends.begin(partition, one.clone(), EVERYTHING).unwrap();
    }
    assert!(!takes(&mut sends, 1_000, 0, EVERYTHING));
    sends.end((0, 9));
    assert!(takes(&mut sends, 1_000, 0, EVERYTHING));
    assert!(!takes(&mut sends, 1_000, 0, EVERYTHING));
}

#[test]
fn a_send_is_due_at_the_earlier_of_its_retry_and_its_deadline() {
    // The time of the retry, the deadline, and the time at which the send is due.
    for (retry_at, deadline, due_at) in [(1, 4, 1), (4, 4, 4), (9, 4, 4), (0, 4, 0)] {
        let mut sends = Sends::new(DEDUPE_WINDOW);
        let one = Pending { retry_at: secs(retry_at), deadline: secs(deadline), ..pending(1) };
        let id = sends.begin(0, one, EVERYTHING).unwrap();
        assert_eq!(sends.next_due(), Some(secs(due_at)), "{retry_at}, {deadline}");
        assert_eq!(sends.due(secs(due_at)), [id]);
        if let Some(before) = secs(due_at).checked_sub(Duration::from_nanos(1)) {
            assert!(sends.due(before).is_empty(), "{retry_at}, {deadline}");
        }
    }
    assert_eq!(Sends::new(DEDUPE_WINDOW).next_due(), None);
}

#[test]
fn sends_that_are_due_come_in_the_order_in_which_they_were_taken() {
    let mut sends = sends_of(&[1, 1, 1]);
    for (seq, retry_at) in [(0, 3), (1, 1), (2, 2)] {
        sends.get_mut((0, seq)).unwrap().retry_at = secs(retry_at);
    }
    for (now, due) in [(0, vec![]), (1, vec![1]), (2, vec![1, 2]), (3, vec![0, 1, 2])] {
        let seqs: Vec<u64> = sends.due(secs(now)).into_iter().map(|(_, seq)| seq).collect();
        assert_eq!(seqs, due, "{now}");
    }
    assert_eq!(sends.next_due(), Some(secs(1)));
}

/// The handler moves the time of the next retry, and never the deadline.
#[test]
fn a_retry_is_due_later_but_never_beyond_the_deadline() {
    let mut sends = sends_of(&[1]);
    let id = (0, 0);
    for tries in 1..9_u64 {
        let one = sends.get_mut(id).unwrap();
        one.tries += 1;
        one.retry_at = secs(tries);
        assert_eq!(one.deadline, GIVE_UP_AFTER);
        assert_eq!(sends.next_due(), Some(secs(tries).min(GIVE_UP_AFTER)), "{tries}");
    }
    assert_eq!(sends.due(GIVE_UP_AFTER), [id]);
    assert_eq!(sends.end(id).map(|one| one.tries), Some(8));
    assert_eq!((sends.next_due(), sends.due(secs(99))), (None, vec![]));
}

#[test]
fn a_send_waits_for_the_node_that_it_was_passed_on_to_last() {
    let mut sends = sends_of(&[1, 1]);
    let (one, other) = ((0, 0), (0, 1));
    let waiting = |sends: &Sends| [1, 2].map(|number| sends.at(&node(number)));
    assert_eq!(waiting(&sends), [vec![], vec![]]);
    sends.get_mut(one).unwrap().target = Some(node(1));
    sends.get_mut(other).unwrap().target = Some(node(1));
    assert_eq!(waiting(&sends), [vec![one, other], vec![]]);
    sends.get_mut(one).unwrap().target = Some(node(2));
    assert_eq!(waiting(&sends), [vec![other], vec![one]]);
    // This node leads by now, and has appended the send.
    sends.get_mut(one).unwrap().target = None;
    assert_eq!(waiting(&sends), [vec![other], vec![]]);
    sends.end(other);
    assert_eq!(waiting(&sends), [vec![], vec![]]);
}

#[test]
fn an_answer_counts_once() {
    let mut sends = sends_of(&[3, 4]);
    assert!(sends.end((0, 0)).is_some());
    for id in [(0, 0), (0, 2), (1, 1)] {
        assert!(sends.end(id).is_none() && sends.get(id).is_none(), "{id:?}");
        assert!(sends.get_mut(id).is_none(), "{id:?}");
    }
    assert_eq!((sends.of(0), sends.pending.bytes()), (vec![(0, 1)], 4));
}

#[test]
fn an_error_is_definite_only_if_no_copy_is_anywhere() {
    let (sure, unsure) = (ErrorCode::TemporarilyUnavailable, ErrorCode::Timeout);
    for (copies, code) in [(0, sure), (1, unsure), (2, unsure)] {
        let error = Pending { copies, ..pending(1) }.failure("why");
        assert_eq!((error.code, &*error.text), (code, "why"), "{copies}");
    }
}
