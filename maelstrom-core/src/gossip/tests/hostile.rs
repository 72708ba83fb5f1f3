//! Tests messages that no node of the cluster sends, or no correct one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

fn settled(size: usize) -> Cluster<Set> {
    let mut cluster = Cluster::new(1, size, Config::default(), steady(10));
    cluster.append(0);
    cluster.append(1);
    cluster.run_for(secs(10));
    cluster.assert_converged();
    cluster
}

/// A message of node `from` in its current life, with some invalid fields.
pub(super) fn words<S: Values>(cluster: &Cluster<S>, from: usize, nonsense: Value) -> String {
    let engine = cluster.engine(from);
    let mut body = json!({"type": "gossip", "msg_id": 9, "life": engine.life, "sent": 5, "view": 1,
        "have": engine.replica.version()});
    body.as_object_mut().unwrap().extend(nonsense.as_object().unwrap().clone());
    body.to_string()
}

/// Asserts that the cluster works as before, whatever messages it received.
fn assert_still_works(cluster: &mut Cluster<Set>) {
    // A node that believes in entries that do not exist fetches them now and then, but not more
    // often.
    let patience = cluster.config.patience_min;
    let messages_max = 2 * u64::try_from(secs(60).as_millis() / patience.as_millis()).unwrap();
    let messages = cluster.messages_in(secs(60));
    assert!(messages <= messages_max, "{messages} messages");
    for index in 0..cluster.size() {
        cluster.append(index);
    }
    cluster.run_for(bound(cluster));
    cluster.assert_have(&cluster.appended.clone());
    // A node that believes in entries that do not exist fetches them now and then, but not more
    // often.
    let patience = cluster.config.patience_min;
    let messages_max = 2 * u64::try_from(secs(60).as_millis() / patience.as_millis()).unwrap();
    let messages = cluster.messages_in(secs(60));
    assert!(messages <= messages_max, "{messages} messages");
}

#[test]
fn gossip_of_a_stranger_is_refused_and_changes_nothing() {
    let mut cluster = settled(2);
    let origin = json!({"node": "n7", "incarnation": 1});
    let run = json!({"origin": origin, "start": 0, "entries": [5]});
    for stranger in ["n7", "c1", &name(0)] {
        let words = words(&cluster, 1, json!({"runs": [run], "fetch": {}}));
        let answer = cluster.hear(0, stranger, &words);
        assert!(answer[0].contains(r#""type":"error","in_reply_to":9,"code":12"#), "{answer:?}");
    }
    cluster.assert_converged();
    assert_eq!(cluster.messages_in(secs(20)), 0);
}

#[test]
fn nobody_can_tell_a_node_its_own_entries() {
    let mut cluster = settled(2);
    let origin = cluster.engine(0).origin.clone();
    let run = json!({"origin": origin, "start": 1, "entries": [66]});
    let words = words(&cluster, 1, json!({"runs": [run]}));
    assert!(cluster.hear(0, &name(1), &words).is_empty());
    assert!(!cluster.values(0).contains(&66));
    cluster.run_for(secs(5));
    cluster.assert_converged();
}

#[test]
fn runs_that_fit_nowhere_are_ignored() {
    for start in [1, 2, 1 << 60, u64::MAX] {
        for entries in [vec![], vec![66]] {
            let mut cluster = settled(3);
            let origin = json!({"node": "n9", "incarnation": 1});
            let run = json!({"origin": origin, "start": start, "entries": entries});
            let words = words(&cluster, 1, json!({"runs": [run], "answer_within": 0}));
            cluster.hear(0, &name(1), &words);
            cluster.assert_converged();
            assert_still_works(&mut cluster);
        }
    }
}

#[test]
fn a_snapshot_that_makes_no_sense_is_refused() {
    let mut cluster = settled(2);
    let piece = json!({"position": 0, "part": [states::NONSENSE]});
    let have = json!([["n9", 1, 100]]);
    let words = words(&cluster, 1, json!({"piece": piece, "have": have}));
    let answer = cluster.hear(0, &name(1), &words);
    assert!(answer[0].contains(r#""code":12"#), "{answer:?}");
    cluster.run_for(secs(5));
    cluster.assert_converged();
    assert_still_works(&mut cluster);
}

#[test]
fn pieces_that_fit_nowhere_do_not_count_as_a_snapshot() {
    let mut cluster = settled(2);
    let nowhere = [(1, None), (u64::MAX, None), (u64::MAX, Some(0)), (5, Some(5))];
    // If a snapshot has begun, neither an earlier piece nor a later one is the next.
    let begun = [(0, Some(5)), (4, None), (6, None)];
    for (position, next) in nowhere.into_iter().chain(begun) {
        let piece = json!({"position": position, "next": next, "part": [1]});
        let have = json!([["n9", 1, 100]]);
        let words = words(&cluster, 1, json!({"piece": piece, "have": have}));
        cluster.hear(0, &name(1), &words);
        cluster.assert_converged();
    }
    assert_still_works(&mut cluster);
}

#[test]
fn a_peer_that_claims_entries_that_do_not_exist_is_not_asked_for_them_without_end() {
    for life in [None, Some(77)] {
        for count in [1, 5, u64::MAX] {
            for fetched in [false, true] {
                let mut cluster = settled(3);
                let have = json!([["n9", 1, count]]);
                let mut nonsense = json!({"have": have, "fetched": fetched, "answer_within": 0});
                if let Some(life) = life {
                    nonsense["life"] = life.into();
                }
                let words = words(&cluster, 1, nonsense);
                cluster.hear(0, &name(1), &words);
                assert_still_works(&mut cluster);
            }
        }
    }
}

#[test]
fn a_peer_that_claims_more_of_a_nodes_own_log_makes_it_begin_another_and_no_more() {
    let mut cluster = settled(3);
    let origin = cluster.engine(0).origin.clone();
    let have = json!([[origin.node, origin.incarnation, u64::MAX]]);
    let words = words(&cluster, 1, json!({"have": have, "life": 77}));
    cluster.hear(0, &name(1), &words);
    assert_ne!(cluster.engine(0).origin, origin);
    assert_still_works(&mut cluster);
}

#[test]
fn a_snapshot_that_names_more_of_a_nodes_own_log_makes_it_begin_another() {
    let mut cluster = settled(3);
    let origin = cluster.engine(0).origin.clone();
    let piece = json!({"position": 0, "part": []});
    let have = json!([[origin.node, origin.incarnation, 5]]);
    let words = words(&cluster, 1, json!({"piece": piece, "have": have}));
    cluster.hear(0, &name(1), &words);
    assert_eq!(cluster.version(0).get(&origin), 5, "it is taken");
    cluster.append(0);
    assert_eq!(cluster.version(0).get(&origin), 5);
    assert_eq!(cluster.version(0).get(&cluster.engine(0).origin), 1);
    assert_still_works(&mut cluster);
}

#[test]
fn times_that_make_no_sense_do_no_harm() {
    let absurd = [
        json!({"answer_within": u64::MAX}),
        json!({"beat": [0, u64::MAX]}),
        json!({"beat": [u64::MAX, 0]}),
        json!({"beat": [u64::MAX, u64::MAX]}),
        json!({"beat": [0, 0]}),
        json!({"sent": u64::MAX, "life": 77, "answer_within": 0}),
        json!({"sent": 0, "life": 0}),
        json!({"echo": {"life": 1, "sent": u64::MAX, "held": u64::MAX}}),
        json!({"hub": "nobody", "lost": ["nobody", "n001", "n000"]}),
        json!({"fetch": {"position": u64::MAX}}),
        json!({"fetch": {"position": 0}, "answer_within": u64::MAX}),
        json!({"fetch": {"batches": 0}}),
        json!({"fetch": {"position": 0, "batches": u64::MAX}}),
        json!({"place": [0, 0, 0]}),
        json!({"place": [0, u64::MAX, 0], "fetched": true}),
        json!({"place": [u64::MAX, 0, u64::MAX], "fetched": true, "answer_within": 0}),
        json!({"place": [u64::MAX, 1, u64::MAX], "life": 77}),
    ];
    for nonsense in absurd {
        for (from, to) in [(0, 1), (1, 0), (1, 2)] {
            let mut cluster = settled(3);
            let words = words(&cluster, from, nonsense.clone());
            cluster.hear(to, &name(from), &words);
            cluster.append(to);
            cluster.run_for(push::PERIOD_MAX + bound(&cluster));
            cluster.assert_have(&cluster.appended.clone());
            assert_still_works(&mut cluster);
        }
    }
}

#[test]
fn an_echo_of_a_message_that_was_never_sent_is_none() {
    for restart in [false, true] {
        let mut cluster = settled(3);
        let echo = json!({"life": cluster.engine(0).life, "sent": u64::MAX, "held": 0});
        let words = words(&cluster, 1, json!({"echo": echo}));
        cluster.hear(0, &name(1), &words);
        if restart {
            cluster.restart(1, Records::All);
        }
        cluster.append(1);
        cluster.run_for(secs(10));
        cluster.assert_converged();
        let messages = cluster.messages_in(secs(60));
        assert!(messages == 0, "restart {restart}: {messages} messages");
    }
}

#[test]
fn the_values_of_a_snapshot_that_is_not_whole_are_not_shown() {
    let mut cluster = settled(3);
    let piece = |position: u64, next: Option<u64>, value: u32| {
        json!({"piece": {"position": position, "next": next, "part": [value]},
            "have": [["n9", 1, 2]]})
    };
    let before = cluster.values(0);
    let first = words(&cluster, 1, piece(0, Some(5), 70));
    cluster.hear(0, &name(1), &first);
    assert_eq!(cluster.values(0), before);
    let last = words(&cluster, 1, piece(5, None, 71));
    cluster.hear(0, &name(1), &last);
    cluster.run_for(ms(1));
    assert_eq!(cluster.values(0), &before | &BTreeSet::from([70, 71]));
}

#[test]
fn a_piece_of_an_earlier_snapshot_does_not_end_a_later_one() {
    let mut cluster = settled(3);
    let piece = |position: u64, next: Option<u64>, value: u32, count: u64| {
        json!({"piece": {"position": position, "next": next, "part": [value]},
            "have": [["n9", 1, count]]})
    };
    let before = cluster.values(0);
    let words: Vec<String> =
        [piece(0, Some(5), 70, 2), piece(5, None, 71, 1), piece(5, None, 72, 2)]
            .map(|piece| words(&cluster, 1, piece))
            .into();
    cluster.hear(0, &name(1), &words[0]);
    cluster.hear(0, &name(1), &words[1]);
    cluster.run_for(ms(1));
    assert_eq!(cluster.values(0), before);
    cluster.hear(0, &name(1), &words[2]);
    cluster.run_for(ms(1));
    assert_eq!(cluster.values(0), &before | &BTreeSet::from([70, 72]));
}

#[test]
fn messages_of_bursts_that_never_begin_wait_in_memory_up_to_a_limit() {
    let mut cluster = settled(3);
    for index in 1..100 {
        for from in 1..3 {
            let words = words(&cluster, from, json!({"place": [9, index, 100 - index]}));
            cluster.hear(0, &name(from), &words);
        }
        let waiting: usize = cluster.engine(0).bursts.waiting();
        assert_eq!(waiting, (2 * index).min(window::BATCHES_MAX));
    }
    assert_still_works(&mut cluster);
}
