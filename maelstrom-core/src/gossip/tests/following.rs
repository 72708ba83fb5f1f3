//! Tests that a node keeps up with the others while it merges a snapshot for long.

use serde_json::{Value, json};

use super::hostile::words;
use super::monotonic::Whole;
use super::*;

const BATCH_BYTES: usize = 50 * VALUE_BYTES;

/// How many values are appended per second.
const RATE: u64 = 100;

/// Three nodes with this many values. The last node restarts without its records, and takes
/// `step_takes` for each step of a merge.
fn coming_back<S: Values>(values: usize, log_bytes_max: usize, step_takes: Duration) -> Cluster<S> {
    let config = Config { batch_bytes_max: BATCH_BYTES, log_bytes_max, ..Config::default() };
    let mut cluster: Cluster<S> = Cluster::new(7, 3, config, steady(10));
    (0..3).for_each(|index| _ = cluster.append(index));
    cluster.run_for(secs(5));
    for _ in 0..values / 50 {
        (0..50).for_each(|_| _ = cluster.append(1));
        cluster.run_for(ms(200));
    }
    cluster.run_for(secs(20));
    cluster.assert_converged();
    cluster.step_takes = step_takes;
    cluster.restart(2, NO_RECORDS);
    cluster.pieces_sent = 0;
    cluster
}

/// Appends while `goes_on`, and checks after each value.
fn append_while<S: Values>(cluster: &mut Cluster<S>, goes_on: impl Fn(&Cluster<S>) -> bool) {
    let start = cluster.now;
    while goes_on(cluster) {
        assert!(cluster.now - start < secs(200), "it has no end");
        cluster.append(1);
        cluster.run_for(secs(1) / u32::try_from(RATE).unwrap());
    }
}

/// Many more entries are appended during the merge than the logs hold.
fn keeps_up_during_a_merge<S: Values>(step_takes: Duration) {
    const VALUES: usize = 1_200;
    let mut cluster = coming_back::<S>(VALUES, 32 << 10, step_takes);
    append_while(&mut cluster, |cluster| !cluster.engine(2).is_merging());
    let (start, before) = (cluster.now, cluster.engine(2).state().len());
    append_while(&mut cluster, |cluster| cluster.engine(2).is_merging());
    let took = cluster.now - start;
    assert!(took >= secs(7), "the merge takes only {took:?}, so this tests nothing");
    assert!(before < VALUES, "the snapshot has {VALUES} values");
    // A second later it has applied the kept entries, and is never more than half a second behind.
    let soon = cluster.now + secs(1);
    append_while(&mut cluster, |cluster| cluster.now < soon);
    let until = cluster.now + secs(10);
    append_while(&mut cluster, |cluster| {
        let (has, all) = (cluster.engine(2).state().len(), cluster.appended.len());
        let behind = all.saturating_sub(has);
        assert!(behind <= usize::try_from(RATE / 2).unwrap(), "{behind} values behind");
        cluster.now < until
    });
    // A single snapshot: the pieces of all values, and those of new values meanwhile.
    let pieces_max = VALUES as u64 / 50 + 30;
    assert!(cluster.pieces_sent <= pieces_max, "{} pieces", cluster.pieces_sent);
    cluster.run_for(secs(5));
    cluster.assert_converged();
}

#[test]
fn a_durable_node_that_merges_for_long_keeps_up_and_needs_no_second_snapshot() {
    keeps_up_during_a_merge::<Whole>(ms(200));
}

#[test]
fn a_node_that_merges_piece_by_piece_for_long_keeps_up_and_needs_no_second_snapshot() {
    keeps_up_during_a_merge::<Set>(ms(600));
}

/// The entries that are appended during the merge do not fit into the buffer.
#[test]
fn a_node_keeps_a_bounded_number_of_entries_during_a_merge_and_gets_the_others_afterwards() {
    const LOG_BYTES: usize = 8 << 10;
    let mut cluster = coming_back::<Whole>(500, LOG_BYTES, ms(800));
    append_while(&mut cluster, |cluster| !cluster.engine(2).is_merging());
    let most = std::cell::Cell::new(0);
    append_while(&mut cluster, |cluster| {
        let bytes = cluster.engine(2).following.bytes();
        most.set(most.get().max(bytes));
        // A value takes 48 bytes more in memory.
        assert!(bytes <= 4 * LOG_BYTES + BATCH_BYTES * 58 / 10, "{bytes} bytes");
        cluster.engine(2).is_merging()
    });
    assert!(most.get() >= 4 * LOG_BYTES, "only {} bytes, so this tests nothing", most.get());
    cluster.run_for(secs(120));
    cluster.assert_converged();
    assert!(cluster.engine(2).following.is_idle());
    assert_eq!(cluster.engine(2).following.bytes(), 0);
}

/// A reply to a client waits behind the pieces that are persisted before it.
#[test]
fn a_durable_node_persists_one_piece_of_a_snapshot_at_a_time() {
    let mut cluster = coming_back::<Whole>(1_200, 32 << 10, Duration::ZERO);
    append_while(&mut cluster, |cluster| !cluster.engine(2).is_merging());
    let pieces = |cluster: &Cluster<Whole>| {
        let records = cluster.records(2);
        records.iter().filter(|record| record.starts_with(br#"{"part":"#)).count()
    };
    let before = pieces(&cluster);
    let (mut last, mut times) = (before, Vec::new());
    while cluster.engine(2).is_merging() {
        cluster.run_for(Duration::from_micros(500));
        if pieces(&cluster) > last {
            assert_eq!(pieces(&cluster), last + 1, "two pieces at once");
            (last, times) = (last + 1, [times, vec![cluster.now]].concat());
        }
    }
    assert!(times.len() > 20, "{} pieces, so this tests nothing", times.len());
    let shortest = times.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!((ms(4)..ms(6)).contains(&shortest), "{shortest:?}");
}

#[test]
fn a_crash_during_a_merge_loses_only_entries_that_were_never_shown() {
    let mut cluster = coming_back::<Whole>(1_000, 16 << 10, secs(1));
    append_while(&mut cluster, |cluster| !cluster.engine(2).is_merging());
    append_while(&mut cluster, |cluster| cluster.engine(2).following.bytes() < 5_000);
    let (values, version) = (cluster.values(2), cluster.version(2).clone());
    cluster.restart(2, Records::All);
    assert_eq!((cluster.values(2), cluster.version(2)), (values, &version));
    cluster.run_for(secs(60));
    cluster.assert_converged();
}

/// Runs clusters through cuts and restarts, with merges of any length. `keeps`: a node that restarts
/// with its records shows as much as before.
fn merges_lose_nothing<S: Values>(keeps: bool) {
    with_seeds(4, |seed| {
        let mut cluster: Cluster<S> = any_cluster(seed);
        cluster.step_takes = ms([5, 50, 500][usize::try_from(seed % 3).unwrap()]);
        for _ in 0..8 {
            cut_anything(&mut cluster, 0.3);
            cluster.append_anywhere(10);
            let pause = cluster.rng.random_range(0..1_500);
            cluster.run_for(ms(pause));
            let index = cluster.rng.random_range(0..cluster.size());
            let (values, version) = (cluster.values(index), cluster.version(index).clone());
            let is_lost = cluster.rng.random_bool(0.3);
            if !is_lost {
                cluster.restart(index, Records::All);
                if keeps {
                    assert_eq!((cluster.values(index), cluster.version(index)), (values, &version));
                }
            }
        }
        calm_down(&mut cluster);
        cluster.step_takes = Duration::ZERO;
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
    });
}

#[test]
fn merges_of_any_length_lose_nothing_whatever_fails() {
    merges_lose_nothing::<Whole>(true);
}

#[test]
fn merges_piece_by_piece_of_any_length_lose_nothing_whatever_fails() {
    merges_lose_nothing::<Set>(false);
}

/// Three nodes that all have a value of each of them.
fn converged<S: Values>() -> Cluster<S> {
    let mut cluster: Cluster<S> = Cluster::new(1, 3, Config::default(), steady(10));
    (0..3).for_each(|index| _ = cluster.append(index));
    cluster.run_for(secs(10));
    cluster.assert_converged();
    cluster
}

/// Such a cluster, where node 0 merges a snapshot of node 1 with an entry of `n9`. Two `pieces`
/// keep it busy.
fn merging<S: Values>(pieces: [Value; 2]) -> Cluster<S> {
    let mut cluster = converged();
    let [first, last] = pieces;
    let first = json!({"position": 0, "next": 1, "part": first});
    for piece in [first, json!({"position": 1, "part": last})] {
        let message = words(&cluster, 1, json!({"have": [["n9", 1, 1]], "piece": piece}));
        cluster.hear(0, &name(1), &message);
    }
    assert!(cluster.engine(0).is_merging());
    cluster
}

/// A fetch that names nothing would get another snapshot, and another one after that, until the
/// merge ends.
fn takes_no_snapshot_while_it_merges_one<S: Values>(pieces: [Value; 2]) {
    let mut cluster = merging::<S>(pieces);
    // The entry of the snapshot arrives from the other node, which has more.
    let run = json!({"origin": {"node": "n9", "incarnation": 1}, "start": 0, "entries": [91]});
    let have = json!([["n8", 1, 7], ["n9", 1, 1]]);
    let message = words(&cluster, 2, json!({"have": have, "runs": [run], "answer_within": 0}));
    cluster.hear(0, &name(2), &message);
    assert!(cluster.engine(0).is_merging());
    let sent = cluster.intercept(0, 2).remove(0).line;
    let sent = String::from_utf8(sent).unwrap();
    assert!(sent.contains(r#""fetch":{"coming":[["n9",1,1]]"#), "{sent}");
}

#[test]
fn a_node_that_merges_a_snapshot_fetches_no_other_even_if_entries_overtake_it() {
    takes_no_snapshot_while_it_merges_one::<Set>([json!([90]), json!([91])]);
    takes_no_snapshot_while_it_merges_one::<Whole>([
        json!([0, false, [90]]),
        json!([1, true, [91]]),
    ]);
}

#[test]
fn a_snapshot_that_brings_nothing_is_not_merged() {
    let mut cluster: Cluster<Whole> = converged();
    let piece = json!({"position": 0, "part": [0, true, [0, 1, 2]]});
    let message = words(&cluster, 1, json!({"piece": piece}));
    cluster.hear(0, &name(1), &message);
    assert!(!cluster.engine(0).is_merging());
}
