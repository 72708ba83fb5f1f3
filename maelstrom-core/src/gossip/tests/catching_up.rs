//! Tests that a node fetches entries that a push did not bring: once, and batch by batch.

use serde_json::json;

use super::hostile::words;
use super::*;

/// Two nodes. The second lacks `values` values of the first, which come in batches of four.
fn lacking(values: usize, duplication: f64, log_bytes_max: usize) -> Cluster<Set> {
    let config = Config { batch_bytes_max: 4 * VALUE_BYTES, log_bytes_max, ..Config::default() };
    let mut cluster = Cluster::new(11, 2, config, steady(10));
    // Both learn the round trip.
    cluster.append(1);
    cluster.append(0);
    cluster.run_for(secs(5));
    cluster.cut_between(&[0], &[1]);
    for _ in 0..values {
        cluster.append(0);
    }
    cluster.run_for(secs(5));
    cluster.faults.duplication = duplication;
    cluster.cut.clear();
    (cluster.fetches_sent, cluster.messages_sent) = (0, 0);
    cluster
}

#[test]
fn catching_up_goes_on_at_once_in_windows_that_widen() {
    for log_bytes_max in [1 << 20, 0] {
        let mut cluster = lacking(100, 0.0, log_bytes_max);
        cluster.run_until(secs(3), |cluster| cluster.values(1).len() > 2);
        cluster.run_for(6 * ms(20));
        cluster.assert_converged();
        assert!(cluster.fetches_sent <= 7, "{}", cluster.fetches_sent);
    }
}

#[test]
fn entries_that_do_not_fit_into_a_batch_are_fetched_at_once() {
    let mut cluster = lacking(0, 0.0, 1 << 20);
    cluster.run_for(secs(10));
    cluster.assert_converged();
    for _ in 0..100 {
        cluster.append(0);
    }
    // The first node is told at once, and then there is a period.
    let took = cluster.run_until(secs(5), Cluster::is_converged);
    assert!(took <= cluster.engine(0).period + 26 * ms(20), "{took:?}");
}

/// A push would arrive before the values that the peer still lacks, and would be in vain.
#[test]
fn a_peer_that_fetches_gets_each_new_value_once() {
    for log_bytes_max in [1 << 20, 0] {
        let mut cluster = lacking(1_500, 0.0, log_bytes_max);
        cluster.run_until(secs(3), |cluster| cluster.values(1).len() > 2);
        (cluster.entries_sent, cluster.piece_values_sent) = (0, 0);
        let lacked = cluster.values(0).len() - cluster.values(1).len();
        let mut new = 0;
        while !cluster.is_converged() && new < 200 {
            cluster.append(0);
            cluster.run_for(ms(5));
            new += 1;
        }
        cluster.run_for(secs(5));
        cluster.assert_converged();
        let sent = cluster.entries_sent + cluster.piece_values_sent;
        // Two batches may go before the first fetch comes.
        let sent_max = lacked + new + 8;
        assert!(sent <= sent_max, "{sent} values sent, {lacked} lacked and {new} new");
    }
}

/// A link that carries one message after the other. The answer to a question comes only after all
/// that the node has fetched.
#[test]
fn a_peer_whose_answer_takes_long_is_not_down() {
    let mut cluster = lacking(200, 0.0, 1 << 20);
    let mut answer = Vec::new();
    while answer.len() < 8 {
        answer.into_iter().for_each(|packet| cluster.deliver(packet));
        cluster.run_for(ms(1));
        answer = cluster.intercept(0, 1);
    }
    cluster.append(1);
    let left = |packet: &cluster::Packet<Set>| packet.message.place.map(|place| place.left);
    answer.sort_by_key(|packet| std::cmp::Reverse(left(packet)));
    for packet in std::mem::take(&mut answer) {
        for _ in 0..60 {
            cluster.run_for(ms(1));
            answer.extend(cluster.intercept(0, 1));
        }
        cluster.deliver(packet);
        assert!(cluster.engine(1).peers.get(&name(0)).is_some_and(Peer::is_up), "{}", answer.len());
    }
    assert!(!answer.is_empty(), "the confirmation of the new value");
}

#[test]
fn messages_that_come_twice_do_not_multiply_fetches() {
    for log_bytes_max in [1 << 20, 0] {
        let mut cluster = lacking(100, 1.0, log_bytes_max);
        cluster.run_for(secs(5));
        cluster.assert_converged();
        assert!(cluster.fetches_sent <= 10, "{} fetches", cluster.fetches_sent);
        // Each fetch arrives twice and is answered twice.
        assert!(cluster.messages_sent <= 27 * 3 + 20, "{} messages", cluster.messages_sent);
    }
}

#[test]
fn a_fetch_that_is_lost_is_made_again() {
    with_seeds(6, |seed| {
        let mut cluster = lacking(40, 0.0, if seed % 2 == 0 { 1 << 20 } else { 0 });
        cluster.rng = ChaCha8Rng::seed_from_u64(seed);
        cluster.faults.loss = 0.3;
        cluster.run_for(secs(60));
        cluster.assert_converged();
    });
}

/// The first answer to a node arrives while the node is paused, so the node counts the pause as
/// part of the round trip. Its fetch is lost.
#[test]
fn a_fetch_that_is_lost_after_a_pause_is_made_again_when_the_round_trip_turns_out_shorter() {
    let config = Config { batch_bytes_max: 4 * VALUE_BYTES, ..Config::default() };
    let mut cluster: Cluster<Set> = Cluster::without_nodes(5, 2, config, steady(10));
    cluster.start(0, Records::All);
    for _ in 0..40 {
        cluster.append(0);
    }
    cluster.run_for(secs(20));
    cluster.start(1, Records::All);
    cluster.append(1);
    cluster.run_for(ms(15));
    cluster.pause(1);
    cluster.run_for(secs(8));
    cluster.resume(1);
    assert!(cluster.fetches_sent > 0 && !cluster.intercept(1, 0).is_empty());
    cluster.fetches_sent = 0;
    // Meanwhile the nodes exchange messages, which show the round trip.
    for _ in 0..8 {
        cluster.append(1);
        cluster.run_for(ms(100));
    }
    assert!(cluster.engine(1).usual_round_trip < Some(ms(100)));
    let took = cluster.run_until(secs(20), Cluster::is_converged);
    assert!(took <= secs(1), "{took:?}");
}

/// Three nodes. The last one learns from `first`, and then from the other one, that it lacks a
/// value.
fn told_by_two(first: usize) -> Cluster<Set> {
    let mut cluster: Cluster<Set> = Cluster::new(5, 3, Config::default(), steady(10));
    for index in 0..3 {
        cluster.append(index);
        cluster.run_for(secs(5));
    }
    cluster.cut_between(&[2], &[0, 1]);
    cluster.append(first);
    cluster.run_for(ms(50));
    cluster.cut.clear();
    cluster.fetches_sent = 0;
    for from in [first, 1 - first] {
        let words = words(&cluster, from, serde_json::json!({"answer_within": 0}));
        cluster.hear(2, &name(from), &words);
    }
    cluster
}

#[test]
fn entries_that_one_node_has_brought_are_not_fetched_from_another() {
    for first in [0, 1] {
        let mut cluster = told_by_two(first);
        cluster.run_for(secs(5));
        cluster.assert_converged();
        assert_eq!(cluster.fetches_sent, 1);
    }
}

#[test]
fn a_fetch_that_is_not_answered_goes_to_somebody_else() {
    for first in [0, 1] {
        let mut cluster = told_by_two(first);
        cluster.cut_between(&[2], &[first]);
        let took = cluster.run_until(secs(5), Cluster::is_converged);
        assert!(took <= cluster.config.patience_min + ms(20) + ms(30), "{took:?}");
    }
}

#[test]
fn a_peer_that_does_not_answer_a_fetch_is_down() {
    let mut cluster: Cluster<Set> = Cluster::new(5, 2, Config::default(), steady(10));
    cluster.append(0);
    cluster.append(1);
    cluster.run_for(secs(5));
    let words = words(&cluster, 0, serde_json::json!({"have": [["n9", 1, 1]]}));
    cluster.kill(0);
    cluster.hear(1, &name(0), &words);
    cluster.run_for(cluster.engine(1).period + 4 * (cluster.config.patience_min + ms(20)));
    assert_eq!(cluster.hub(1), None);
}

/// The teller is the hub, or a leaf.
#[test]
fn a_push_that_is_lost_is_noticed_by_its_acknowledgement_and_told_again_without_the_entries() {
    for (teller, others) in [(0, 4), (4, 1)] {
        let mut cluster: Cluster<Set> = Cluster::new(3, 5, Config::default(), steady(10));
        // All nodes learn the round trips.
        cluster.append(0);
        cluster.append(1);
        cluster.run_for(secs(10));
        cluster.assert_converged();
        let entries = cluster.entries_sent;
        cluster.faults.loss = 1.0;
        cluster.append(teller);
        cluster.run_for(ms(1));
        assert_eq!(cluster.entries_sent - entries, others, "the push");
        cluster.faults.loss = 0.0;
        let messages = cluster.messages_sent;
        let patience = if teller == 0 { ACKNOWLEDGEMENT } else { cluster.config.patience_min };
        let took = cluster.run_until(secs(5), Cluster::is_converged);
        // The peer is asked again after its patience, fetches, and gets an answer.
        let hops = 3 + if teller == 0 { 0 } else { 2 };
        assert!(
            took <= patience + ms(20) + cluster.config.patience_min + ms(10 * hops),
            "{took:?}"
        );
        cluster.run_for(secs(10));
        assert!(cluster.messages_sent - messages <= 4 * 4 + 4);
        assert_eq!(cluster.entries_sent - entries, others + 4, "each is sent once more");
    }
}

#[test]
fn no_entry_is_too_large_to_be_sent() {
    let config = Config { batch_bytes_max: 0, ..Config::default() };
    let mut cluster: Cluster<Set> = Cluster::new(2, 3, config, steady(10));
    cluster.cut_between(&[0], &[1, 2]);
    cluster.append_anywhere(20);
    cluster.run_for(secs(3));
    cluster.cut.clear();
    cluster.run_for(bound(&cluster));
    cluster.assert_converged();
}

/// A cluster with 60 values and no logs. Its last node must get all values one by one.
fn loading(seed: u64, size: usize) -> Cluster<Set> {
    let config = Config { batch_bytes_max: 0, log_bytes_max: 0, ..Config::default() };
    let faults = Faults { delay_ms: 5..=10, loss: 0.0, duplication: 0.0 };
    let mut cluster: Cluster<Set> = Cluster::new(seed, size, config, faults);
    cluster.run_for(secs(3));
    for _ in 0..10 {
        cluster.append_anywhere(6);
        cluster.run_for(ms(200));
    }
    cluster.run_for(secs(20));
    cluster.assert_converged();
    cluster.restart(size - 1, NO_RECORDS);
    cluster.pieces_sent = 0;
    cluster
}

#[test]
fn a_snapshot_goes_on_where_it_was_whoever_is_asked_in_between() {
    let (mut pieces, mut pieces_max) = (0, 0);
    for size in 2..6 {
        let mut cluster = loading(size as u64, size);
        cluster.faults.loss = 0.1;
        cluster.run_for(secs(60));
        cluster.assert_converged();
        // Each of the others may have sent one whole snapshot, and seldom a second one.
        pieces += cluster.pieces_sent;
        pieces_max += 72 * (size as u64 - 1);
    }
    assert!(pieces <= pieces_max, "{pieces} pieces");
}

#[test]
fn entries_that_are_appended_while_a_snapshot_is_under_way_come_as_well() {
    with_seeds(4, |seed| {
        let mut cluster = loading(seed, 3);
        for _ in 0..40 {
            let index = cluster.rng.random_range(0..2);
            cluster.append(index);
            cluster.run_for(ms(100));
        }
        cluster.run_for(secs(30));
        cluster.assert_converged();
    });
}

#[test]
fn a_snapshot_begins_anew_if_its_sender_does() {
    for records in [Records::All, NO_RECORDS] {
        with_seeds(2, |seed| {
            let size = 3 + usize::try_from(seed % 2).unwrap();
            let mut cluster = loading(seed, size);
            let last = cluster.size() - 1;
            cluster.run_until(secs(5), |cluster| cluster.values(last).len() > 30);
            // Restarts all nodes but one, whichever is sending.
            let stays = cluster.rng.random_range(0..last);
            for index in (0..last).filter(|index| *index != stays) {
                cluster.restart(index, records);
            }
            cluster.run_for(secs(30));
            cluster.assert_converged();
        });
    }
}

/// Six nodes that have settled.
fn six() -> Cluster<Set> {
    let mut cluster = Cluster::new(9, 6, Config::default(), steady(10));
    (0..6).for_each(|index| _ = cluster.append(index));
    cluster.run_for(secs(10));
    cluster.assert_converged();
    cluster
}

/// Delivers a piece of a snapshot of node `from` to node 0, with one value.
fn hear_piece(
    cluster: &mut Cluster<Set>,
    (from, life): (usize, u64),
    (position, next): (u64, Option<u64>),
    value: u32,
) {
    let piece = json!({"position": position, "next": next, "part": [value]});
    let said = json!({"life": life, "piece": piece, "have": [["n9", 1, 3]]});
    let words = words(cluster, from, said);
    cluster.hear(0, &name(from), &words);
}

#[test]
fn a_late_piece_of_an_earlier_life_does_not_disturb_the_snapshot_that_is_coming() {
    let mut cluster = six();
    let before = cluster.values(0);
    let present = cluster.engine(1).life;
    hear_piece(&mut cluster, (1, present), (0, Some(5)), 70);
    hear_piece(&mut cluster, (1, 77), (0, Some(5)), 71);
    hear_piece(&mut cluster, (1, present), (5, None), 72);
    cluster.run_for(ms(1));
    assert_eq!(cluster.values(0), &before | &[70, 72].into());
}

/// Until the last piece is merged, the state holds values that the node cannot name.
#[test]
fn a_node_that_merges_a_snapshot_makes_none_itself() {
    let mut cluster = six();
    let life = cluster.engine(1).life;
    for (value, part) in (70..).zip([(0, Some(5)), (5, Some(6)), (6, None)]) {
        assert!(cluster.engine(0).snapshot_bytes().is_some());
        hear_piece(&mut cluster, (1, life), part, value);
    }
    assert!(cluster.engine(0).is_merging());
    assert_eq!(cluster.engine(0).snapshot_bytes(), None);
    cluster.run_for(ms(1));
    assert!(cluster.engine(0).snapshot_bytes().is_some());
}

/// Each step may take milliseconds, and many requests may wait in the input.
#[test]
fn neither_requests_nor_messages_make_a_node_merge_more_of_a_snapshot() {
    const PIECES: u64 = 50;
    let mut cluster = six();
    let life = cluster.engine(1).life;
    for position in 0..PIECES {
        let next = (position + 1 < PIECES).then_some(position + 1);
        hear_piece(&mut cluster, (1, life), (position, next), 70);
    }
    let before = cluster.engine(0).fetching.waiting();
    assert!(before > 40, "{before} pieces wait");
    for _ in 0..20 {
        cluster.append(0);
        let words = words(&cluster, 2, json!({}));
        cluster.hear(0, &name(2), &words);
    }
    assert_eq!(cluster.engine(0).fetching.waiting(), before);
    cluster.run_for(ms(1));
    assert_eq!(cluster.engine(0).fetching.waiting(), 0);
}

#[test]
fn the_snapshots_that_are_coming_are_few_and_those_of_dead_peers_make_room() {
    let mut cluster = six();
    let begin = |cluster: &mut Cluster<Set>, from: usize| {
        let life = cluster.engine(from).life;
        hear_piece(cluster, (from, life), (0, Some(5)), 70);
        cluster.engine(0).fetching.waiting()
    };
    let waiting: Vec<_> = (1..6).map(|from| begin(&mut cluster, from)).collect();
    assert_eq!(waiting, [1, 2, 3, 4, 4]);
    for from in 1..5 {
        cluster.cut_between(&[0], &[from]);
    }
    cluster.append(0);
    cluster.run_for(secs(5));
    assert_eq!(begin(&mut cluster, 5), 1);
}

#[test]
fn a_peer_with_nothing_to_give_is_asked_less_and_less_often_up_to_a_limit() {
    let mut cluster = six();
    let claim = words(&cluster, 1, json!({"have": [["n9", 1, 3]], "answer_within": 0}));
    cluster.fetches_sent = 0;
    cluster.hear(0, &name(1), &claim);
    let patience = cluster.config.patience_min + ms(20);
    let period = cluster.engine(0).period;
    // The sum of all waits up to the longest, which is 64 times the first.
    cluster.run_for(127 * (patience + period));
    let fetches = cluster.fetches_sent;
    assert!((6..=8).contains(&fetches), "{fetches} fetches");
    cluster.run_for(10 * 65 * (patience + period));
    let fetches = cluster.fetches_sent - fetches;
    assert!((9..=11).contains(&fetches), "{fetches} fetches");
}
