//! Polls under way: their answers, deadlines, retries and limits.

use std::sync::Arc;

use maelstrom_core::MsgId;
use serde_json::value::{RawValue, to_raw_value};

use super::*;
use crate::test_requests::requests;

const EVERYTHING: usize = usize::MAX;

const RETRY: Duration = Duration::from_millis(300);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn node(number: u64) -> NodeId {
    format!("n{number}").as_str().into()
}

fn offsets(keys: &[&str]) -> Offsets {
    keys.iter().map(|key| ((*key).into(), 0)).collect()
}

/// A message of each of these keys.
fn msgs(keys: &[&str]) -> Messages {
    let list = |key: &&str| {
        let msg: Arc<RawValue> = to_raw_value(key).unwrap().into();
        ((*key).into(), vec![(0, msg)])
    };
    keys.iter().map(list).collect()
}

/// The messages of these keys in a poll of up to `bytes_max` bytes.
fn result(keys: &[&str], bytes_max: usize) -> PollResult {
    let mut result = PollResult::new(bytes_max);
    for (key, list) in msgs(keys) {
        result.add(&key, list);
    }
    result
}

/// Begins a poll that needs one remote poll each at `n1`, `n2` and so on. Returns the names of the
/// remote polls.
fn begin(
    polls: &mut Polls,
    nth: usize,
    asked: &[&[&str]],
    own: &[&str],
    now: Duration,
) -> Vec<u64> {
    let request = requests(9).swap_remove(nth);
    let remote_polls =
        (1..).zip(asked).map(|(number, keys)| (node(number), offsets(keys))).collect();
    let is_any = !own.is_empty();
    let names = polls.begin(request, result(own, 1_000), is_any, remote_polls, now, RETRY);
    let targets: Vec<NodeId> = names.iter().map(|(_, target)| target.clone()).collect();
    assert_eq!(targets, (1..).map(node).take(asked.len()).collect::<Vec<_>>());
    names.into_iter().map(|(id, _)| id).collect()
}

/// True if there is room for a poll of the client `c1` with these remote polls, and without
/// messages so far.
fn fits(polls: &Polls, remote_polls: &[(NodeId, Offsets)], bytes_max: usize) -> bool {
    polls.has_room(&requests(1)[0], &result(&[], 0), remote_polls, bytes_max)
}

/// The message id and the keys of an answer.
fn told(answer: Answer) -> (Option<MsgId>, Option<Vec<String>>) {
    let keys = answer.msgs.map(|msgs| msgs.keys().map(ToString::to_string).collect());
    (answer.request.msg_id(), keys)
}

/// The expected value of the same.
fn answer(nth: u64, keys: &[&str]) -> (Option<MsgId>, Option<Vec<String>>) {
    (Some(nth), Some(keys.iter().map(ToString::to_string).collect()))
}

fn nothing(nth: u64) -> (Option<MsgId>, Option<Vec<String>>) {
    (Some(nth), None)
}

fn given_up(polls: &mut Polls, now: Duration) -> Vec<(Option<MsgId>, Option<Vec<String>>)> {
    polls.give_up(now).0.into_iter().map(told).collect()
}

#[test]
fn a_poll_ends_with_the_last_answer_whatever_the_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut polls = Polls::default();
        let names = begin(&mut polls, 4, &[&["a"], &["b"], &["c"]], &["own"], secs(0));
        let answers =
            order.map(|nth| polls.answered(names[nth], msgs(&[["a", "b", "c"][nth]]), EVERYTHING));
        let told = answers.map(|answer| answer.map(told));
        assert_eq!(told, [None, None, Some(answer(4, &["a", "b", "c", "own"]))], "{order:?}");
        assert_eq!((polls.next_due(), polls.due(secs(99))), (None, vec![]));
        assert!(given_up(&mut polls, secs(99)).is_empty());
    }
}

#[test]
fn an_answer_counts_once_and_one_that_nobody_waits_for_does_not() {
    let mut polls = Polls::default();
    let names = begin(&mut polls, 0, &[&["a"], &["b"]], &[], secs(0));
    assert!(polls.answered(names[0], msgs(&["a"]), EVERYTHING).is_none());
    for id in [names[0], 0, 99] {
        assert!(polls.answered(id, msgs(&["a"]), EVERYTHING).is_none(), "{id}");
    }
    assert_eq!(polls.due(secs(99)), [names[1]]);
    assert_eq!(
        polls.answered(names[1], msgs(&["b"]), EVERYTHING).map(told),
        Some(answer(0, &["a", "b"]))
    );
    assert!(polls.answered(names[1], msgs(&["b"]), EVERYTHING).is_none(), "it has been told");
}

#[test]
fn an_answer_may_have_nothing_and_brings_only_keys_that_were_asked_for() {
    // The remote poll, the answer, and the reply to the client.
    let table: [(&[&str], &[&str], &[&str]); 4] = [
        (&["a", "b"], &["a", "b"], &["a", "b", "own"]),
        (&["a", "b"], &["b"], &["b", "own"]),
        (&["a", "b"], &[], &["own"]),
        (&["a"], &["a", "other"], &["a", "own"]),
    ];
    for (asked, answered, shown) in table {
        let mut polls = Polls::default();
        let names = begin(&mut polls, 0, &[asked], &["own"], secs(0));
        let told = polls.answered(names[0], msgs(answered), EVERYTHING).map(told);
        assert_eq!(told, Some(answer(0, shown)), "{asked:?}, {answered:?}");
    }
}

#[test]
fn a_poll_whose_time_is_up_ends_with_the_messages_so_far() {
    // The messages of this node, those that come in time, and the reply to the client.
    let table = [
        (vec!["own"], vec!["a"], answer(3, &["a", "own"])),
        (vec!["own"], vec![], answer(3, &["own"])),
        (vec![], vec!["a"], answer(3, &["a"])),
        (vec![], vec![], nothing(3)),
    ];
    for (own, in_time, shown) in table {
        let mut polls = Polls::default();
        let names = begin(&mut polls, 3, &[&["a"], &["b"]], &own, secs(1));
        if !in_time.is_empty() {
            assert!(polls.answered(names[0], msgs(&in_time), EVERYTHING).is_none());
        }
        let ends_at = secs(1) + GIVE_UP_AFTER;
        assert!(given_up(&mut polls, ends_at - Duration::from_nanos(1)).is_empty());
        assert_eq!(given_up(&mut polls, ends_at), [shown], "{own:?}, {in_time:?}");
        // Later answers come too late, and nothing waits any more.
        assert!(polls.answered(names[1], msgs(&["b"]), EVERYTHING).is_none());
        assert_eq!((polls.next_due(), polls.due(secs(99))), (None, vec![]));
        assert!(polls.remote_poll(names[1]).is_none() && given_up(&mut polls, secs(99)).is_empty());
    }
}

/// A node without any of the messages answers, too.
#[test]
fn an_answer_without_messages_tells_that_somebody_could_be_asked() {
    let mut polls = Polls::default();
    let names = begin(&mut polls, 0, &[&["a"], &["b"]], &[], secs(0));
    assert!(polls.answered(names[0], Messages::new(), EVERYTHING).is_none());
    assert_eq!(given_up(&mut polls, GIVE_UP_AFTER), [answer(0, &[])]);
}

#[test]
fn polls_end_each_at_its_own_time_in_the_order_in_which_they_came() {
    let mut polls = Polls::default();
    let names = [(1, 0), (2, 500), (3, 500)].map(|(nth, ms)| {
        begin(&mut polls, nth, &[&["a"]], &[], Duration::from_millis(ms)).remove(0)
    });
    assert_eq!(given_up(&mut polls, GIVE_UP_AFTER), [nothing(1)]);
    let second = GIVE_UP_AFTER + Duration::from_millis(500);
    assert_eq!(
        polls.answered(names[1], msgs(&["a"]), EVERYTHING).map(told),
        Some(answer(2, &["a"]))
    );
    assert_eq!(given_up(&mut polls, second), [nothing(3)]);
    // Several polls end at once.
    begin(&mut polls, 6, &[&["a"]], &[], secs(10));
    begin(&mut polls, 5, &[&["a"], &["b"]], &[], secs(9));
    assert_eq!(given_up(&mut polls, secs(20)), [nothing(6), nothing(5)]);
}

#[test]
fn a_remote_poll_is_forwarded_again_when_nobody_has_answered_for_a_while() {
    let mut polls = Polls::default();
    let names = begin(&mut polls, 0, &[&["a"], &["b"]], &[], secs(0));
    assert!(polls.due(RETRY - Duration::from_nanos(1)).is_empty());
    assert_eq!((polls.next_due(), polls.due(RETRY)), (Some(RETRY), names.clone()));
    let again = |polls: &mut Polls, id, number, tries, retry_at| {
        let parts = vec![(node(number), polls.remote_poll(id).unwrap().offsets.clone())];
        assert_eq!(polls.forward_again(id, parts, tries, retry_at), [(id, node(number))]);
    };
    let remote_poll = polls.remote_poll(names[0]).unwrap();
    assert_eq!((remote_poll.tries, &remote_poll.target), (0, &node(1)));
    again(&mut polls, names[0], 2, 1, 2 * RETRY);
    // The other remote poll keeps its time, and the poll its deadline.
    assert_eq!((polls.next_due(), polls.due(RETRY)), (Some(RETRY), vec![names[1]]));
    again(&mut polls, names[1], 2, 1, secs(60));
    assert_eq!((polls.next_due(), polls.due(2 * RETRY)), (Some(2 * RETRY), vec![names[0]]));
    again(&mut polls, names[0], 2, 2, secs(60));
    assert_eq!(polls.next_due(), Some(GIVE_UP_AFTER));
    // The node that was asked first may still answer.
    assert!(polls.answered(names[0], msgs(&["a"]), EVERYTHING).is_none());
    assert_eq!(polls.remote_poll(names[0]).map(|remote_poll| remote_poll.tries), None);
    assert_eq!(polls.remote_poll(names[1]).map(|remote_poll| &remote_poll.target), Some(&node(2)));
}

#[test]
fn a_remote_poll_is_split_if_its_keys_go_to_several_nodes_and_all_parts_are_waited_for() {
    for is_full in [false, true] {
        let mut polls = Polls::default();
        let names = begin(&mut polls, 4, &[&["a", "b", "c"]], &[], secs(0));
        if is_full {
            begin(&mut polls, 0, &vec![&["z"][..]; POLLS_MAX - 2], &[], secs(0));
        }
        let parts = [(2, "a"), (3, "b"), (4, "c")];
        let parts = parts.map(|(number, key)| (node(number), offsets(&[key]))).to_vec();
        let parts = polls.forward_again(names[0], parts, 1, RETRY);
        if is_full {
            assert_eq!(parts, [(names[0], node(2))]);
            let asked = polls.remote_poll(names[0]).map(|poll| &poll.offsets);
            assert_eq!(asked, Some(&offsets(&["a", "b", "c"])));
            continue;
        }
        let targets: Vec<NodeId> = parts.iter().map(|(_, target)| target.clone()).collect();
        assert_eq!((parts[0].0, targets), (names[0], vec![node(2), node(3), node(4)]));
        assert_eq!(polls.bytes(), 3 * 7 + 2);
        // The node that was asked first answers late. Only the key that is still asked counts.
        let late = msgs(&["a", "b", "c"]);
        assert!(polls.answered(names[0], late, EVERYTHING).is_none());
        assert!(polls.answered(parts[1].0, msgs(&["b"]), EVERYTHING).is_none());
        let told = polls.answered(parts[2].0, msgs(&["c"]), EVERYTHING).map(told);
        assert_eq!(told, Some(answer(4, &["a", "b", "c"])));
        assert_eq!((polls.bytes(), polls.len(), polls.next_due()), (0, 0, None));
    }
}

#[test]
fn remote_polls_have_no_more_than_their_bytes_but_for_those_of_a_poll_alone() {
    // As JSON: {"a":0}, {"\u0001":0}.
    let (short, long) = ((node(1), offsets(&["a"])), (node(1), offsets(&["\u{1}"])));
    let bytes = [&short, &long].map(|(_, offsets)| encoded_len(offsets));
    assert_eq!(bytes, [7, 12]);
    // Number of open short remote polls, the new remote polls, the limit of bytes, and whether
    // there is room.
    let table = [
        (0, vec![short.clone()], 7, true),
        (0, vec![long.clone(), short.clone()], 7, true),
        (1, vec![short.clone()], 18, true),
        (1, vec![short.clone()], 17, false),
        (1, vec![long.clone()], 23, true),
        (1, vec![long.clone()], 22, false),
        (2, vec![short.clone(), long.clone()], 39, true),
        (2, vec![short, long], 38, false),
        (1, vec![], 11, true),
    ];
    for (open, remote_polls, bytes_max, has_room) in table {
        let mut polls = Polls::default();
        for nth in 0..open {
            begin(&mut polls, nth, &[&["a"]], &[], secs(0));
        }
        let about = format!("{open} open, {remote_polls:?}, {bytes_max} bytes");
        assert_eq!(fits(&polls, &remote_polls, bytes_max), has_room, "{about}");
        // Remote polls that were answered or given up make room.
        polls.give_up(GIVE_UP_AFTER);
        assert!(fits(&polls, &remote_polls, bytes_max), "{about}, given up");
    }
    let mut polls = Polls::default();
    let names = begin(&mut polls, 0, &[&["a"], &["a"]], &[], secs(0));
    let one = [(node(1), offsets(&["a"]))];
    assert!(!fits(&polls, &one, 18));
    polls.answered(names[0], msgs(&[]), EVERYTHING);
    assert!(fits(&polls, &one, 18));
}

#[test]
fn polls_count_with_their_clients_and_with_the_messages_that_have_come_so_far() {
    // A remote poll has 7 bytes, the client 2, a message with its key 15, and that of this node 19.
    let mut polls = Polls::default();
    let names = begin(&mut polls, 0, &[&["a"], &["b"], &["c"]], &["own"], secs(0));
    assert_eq!(polls.bytes(), 3 * 7 + 2 + 19);
    for (nth, key) in [(0, "a"), (1, "b")] {
        polls.answered(names[nth], msgs(&[key]), EVERYTHING);
    }
    assert_eq!(polls.bytes(), 7 + 2 + 19 + 2 * 15);
    let one = [(node(1), offsets(&["a"]))];
    let (request, own) = (&requests(1)[0], &result(&["own"], 100));
    let next = 7 + 2 + 19;
    assert!(polls.has_room(request, own, &one, 58 + next));
    assert!(!polls.has_room(request, own, &one, 57 + next));
    polls.answered(names[2], msgs(&["c"]), EVERYTHING);
    assert_eq!(polls.bytes(), 0);
}

#[test]
fn messages_for_which_there_is_no_room_are_left_out_but_for_those_of_the_last_answer() {
    // The number of other polls, the limit of bytes beyond those of the polls, and the reply. As
    // JSON, the messages of one answer have 15 bytes: {"a":[[0,"a"]]}.
    let table = [
        (1, 23, vec!["a", "b", "c"]),
        (1, 22, vec!["a", "c"]),
        (1, 15, vec!["a", "c"]),
        (1, 14, vec!["b", "c"]),
        (1, 0, vec!["c"]),
        (0, 0, vec!["a", "b", "c"]),
    ];
    for (others, room, keys) in table {
        let mut polls = Polls::default();
        for nth in 0..others {
            begin(&mut polls, nth, &[&["z"]], &[], secs(0));
        }
        let names = begin(&mut polls, 3, &[&["a"], &["b"], &["c"]], &[], secs(0));
        // An answered remote poll makes room for seven bytes.
        let bytes_max = polls.bytes() - 7 + room;
        for (nth, key) in [(0, "a"), (1, "b")] {
            assert!(polls.answered(names[nth], msgs(&[key]), bytes_max).is_none());
            assert!(others == 0 || polls.bytes() <= bytes_max);
        }
        let told = polls.answered(names[2], msgs(&["c"]), bytes_max).map(told);
        assert_eq!(told, Some(answer(3, &keys)), "{others}, {room}");
    }
}

#[test]
fn the_number_of_open_remote_polls_is_bounded() {
    let mut polls = Polls::default();
    let remote_poll = (node(1), offsets(&[]));
    let ask = |polls: &mut Polls, count: usize| {
        let remote_polls = vec![remote_poll.clone(); count];
        polls.begin(requests(1).remove(0), result(&[], 0), false, remote_polls, secs(0), RETRY)
    };
    let names = ask(&mut polls, POLLS_MAX - 2);
    for (count, has_room) in [(1, true), (2, true), (3, false)] {
        let remote_polls = vec![remote_poll.clone(); count];
        assert_eq!(fits(&polls, &remote_polls, usize::MAX), has_room, "{count}");
    }
    ask(&mut polls, 2);
    assert!(!fits(&polls, std::slice::from_ref(&remote_poll), usize::MAX));
    polls.answered(names[7].0, msgs(&[]), EVERYTHING);
    assert!(fits(&polls, std::slice::from_ref(&remote_poll), usize::MAX));
}

#[test]
fn a_poll_shows_no_more_bytes_than_it_may_but_one_message_always() {
    // A key takes 15 bytes, with its comma and that of its message: "a":[[0,"a"],],
    // The limit of bytes, the keys of this node, the keys in the answer, and those in the reply.
    let table = [
        (100, vec!["c"], vec!["a", "b"], vec!["a", "b", "c"]),
        (30, vec![], vec!["a", "b", "c"], vec!["a", "b"]),
        (29, vec![], vec!["a", "b", "c"], vec!["a"]),
        (15, vec!["c"], vec!["a", "b"], vec!["c"]),
        (1, vec!["c"], vec!["a", "b"], vec!["c"]),
        (1, vec![], vec!["a", "b"], vec!["a"]),
        (0, vec![], vec!["a"], vec!["a"]),
    ];
    for (bytes_max, own, answered, keys) in table {
        let mut polls = Polls::default();
        let remote_polls = vec![(node(1), offsets(&answered))];
        let request = requests(1).remove(0);
        let own = result(&own, bytes_max);
        let names = polls.begin(request, own, false, remote_polls, secs(0), RETRY);
        let told = polls.answered(names[0].0, msgs(&answered), EVERYTHING).map(told);
        assert_eq!(told, Some(answer(0, &keys)), "{bytes_max}, {answered:?}");
    }
}
