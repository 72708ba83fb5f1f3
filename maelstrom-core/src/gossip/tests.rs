//! The engine against a model (the union of all that was appended), on networks of any temper.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use super::*;

mod cluster;
mod restarts;

use cluster::{Cluster, Faults};

const INTERVAL: Duration = Duration::from_secs(1);

fn config(batch_bytes_max: usize) -> Config {
    Config { exchange_interval: INTERVAL, batch_bytes_max }
}

/// A network that takes `delay_ms` for each message, and is otherwise perfect.
fn steady(delay_ms: u64) -> Faults {
    Faults { delay_ms: delay_ms..=delay_ms, loss: 0.0, duplication: 0.0 }
}

/// Within this time after the last fault, everyone has everything on a full graph: a tick that was
/// set just before it, the next one, and an exchange of three messages.
fn bound(delay_ms_max: u64) -> Duration {
    2 * INTERVAL + 3 * Duration::from_millis(delay_ms_max)
}

/// Runs `test` with many seeds, and says which one failed.
fn with_seeds(count: u64, test: impl Fn(u64)) {
    for seed in 0..count {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(seed)));
        if let Err(panic) = result {
            println!("with seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn run_until(cluster: &mut Cluster, happened: impl Fn(&Cluster) -> bool) {
    let until = cluster.now + 60 * INTERVAL;
    while !happened(cluster) {
        assert!(cluster.now < until, "it never happens");
        cluster.run_for(Duration::from_millis(1));
    }
}

/// A cluster of 2 to 6 nodes on a network of random temper.
fn any_cluster(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(seed, 2, config(1 << 20), steady(0));
    let size = cluster.rng.random_range(2..=6);
    let delay_ms = [0, 20, 100, 400][cluster.rng.random_range(0..4)];
    let faults = Faults {
        delay_ms: 0..=delay_ms,
        loss: cluster.rng.random_range(0.0..0.5),
        duplication: cluster.rng.random_range(0.0..0.3),
    };
    Cluster::new(seed, size, config(1 << 20), faults)
}

/// Cuts each link with the given probability, in one direction or in both.
fn cut_anything(cluster: &mut Cluster, probability: f64) {
    cluster.cut.clear();
    for from in 0..cluster.size() {
        for to in 0..cluster.size() {
            if from != to && cluster.rng.random_bool(probability) {
                cluster.cut.insert((from, to));
            }
        }
    }
}

/// Appends while links come and go.
fn stormy_weather(cluster: &mut Cluster) {
    for _ in 0..6 {
        cut_anything(cluster, 0.4);
        for _ in 0..cluster.rng.random_range(0..4) {
            let count = cluster.rng.random_range(0..3);
            cluster.append_anywhere(count);
            let pause = cluster.rng.random_range(0..400);
            cluster.run_for(Duration::from_millis(pause));
        }
    }
}

/// No more faults; messages still overtake each other.
fn calm_down(cluster: &mut Cluster) -> Duration {
    cluster.cut.clear();
    cluster.faults.loss = 0.0;
    cluster.faults.duplication = 0.0;
    bound(*cluster.faults.delay_ms.end())
}

/// Once everyone has greeted those it has not heard from yet (one an interval), all is said.
fn assert_falls_silent(cluster: &mut Cluster) {
    let size = u32::try_from(cluster.size()).unwrap();
    cluster.run_for(INTERVAL * size + bound(*cluster.faults.delay_ms.end()));
    assert_eq!(cluster.messages_in(20 * INTERVAL), 0, "it goes on talking");
}

#[test]
fn after_any_faults_all_replicas_equal_the_union_within_two_ticks_and_an_exchange() {
    with_seeds(150, |seed| {
        let mut cluster = any_cluster(seed);
        stormy_weather(&mut cluster);
        let bound = calm_down(&mut cluster);
        cluster.run_for(bound);
        cluster.assert_converged();
        assert_falls_silent(&mut cluster);
    });
}

#[test]
fn entries_of_one_origin_are_learned_in_the_order_they_were_appended_in() {
    with_seeds(30, |seed| {
        let mut cluster = any_cluster(seed);
        for value in 0..20 {
            cluster.append(0, value);
            let pause = cluster.rng.random_range(0..200);
            cluster.run_for(Duration::from_millis(pause));
        }
        for index in 0..cluster.size() {
            assert!(cluster.learned(index).is_sorted());
        }
    });
}

#[test]
fn a_run_repeats_exactly_from_its_seed() {
    let run = |seed| {
        let mut cluster = any_cluster(seed);
        stormy_weather(&mut cluster);
        let learned: Vec<_> = (0..cluster.size()).map(|i| cluster.learned(i).to_vec()).collect();
        (cluster.messages_sent, cluster.entries_sent, learned)
    };
    assert_eq!(run(5), run(5));
}

#[test]
fn without_faults_an_append_reaches_everyone_in_one_hop() {
    let mut cluster = Cluster::new(1, 5, config(1 << 20), steady(100));
    cluster.append_anywhere(1);
    cluster.run_for(Duration::from_millis(99));
    assert!(!cluster.is_converged());
    cluster.run_for(Duration::from_millis(1));
    cluster.assert_converged();
}

#[test]
fn a_lone_append_is_sent_once_to_each_peer() {
    let mut cluster = Cluster::new(1, 5, config(1 << 20), steady(100));
    cluster.run_for(10 * INTERVAL);
    cluster.append_anywhere(1);
    cluster.run_for(10 * INTERVAL);
    cluster.assert_converged();
    assert_eq!(cluster.entries_sent, 4);
}

#[test]
fn under_load_most_peers_settle_without_an_exchange() {
    let mut cluster = Cluster::new(4, 8, config(1 << 20), steady(100));
    cluster.run_for(10 * INTERVAL);
    let before = cluster.messages_sent;
    for _ in 0..500 {
        cluster.append_anywhere(1);
        cluster.run_for(Duration::from_millis(20));
    }
    // The pushes, and on average not one message more.
    let messages = cluster.messages_sent - before;
    assert!(messages < 500 * 8, "{messages} messages");
    cluster.run_for(bound(100));
    cluster.assert_converged();
    let entries = cluster.entries_sent;
    assert!(entries < 500 * 8, "{entries} entries, some of them sent again while under way");
}

#[test]
fn a_fresh_cluster_greets_everyone_once_and_then_falls_silent() {
    for size in 1..=5_u32 {
        let mut cluster = Cluster::new(7, size as usize, config(1 << 20), steady(100));
        // Each node greets one peer an interval, unless it has heard from it before.
        let greeting = cluster.messages_in(INTERVAL * size + bound(100));
        let pairs = u64::from(size * (size - 1) / 2);
        assert!(greeting >= 2 * pairs && greeting <= 4 * pairs);
        assert_eq!(cluster.messages_in(60 * INTERVAL), 0);
    }
}

#[test]
fn a_peer_that_stays_away_is_asked_once_an_interval_and_no_more() {
    let mut cluster = Cluster::new(3, 2, config(1 << 20), steady(10));
    cluster.run_for(3 * INTERVAL);
    cluster.cut_between(&[0], &[1]);
    cluster.append(0, 1);
    let asked = cluster.messages_in(60 * INTERVAL);
    // The push, and a syn every 0.5 to 1 intervals.
    assert!((61..=121).contains(&asked), "{asked} messages");
    assert_eq!(cluster.entries_sent, 1);
}

/// Cuts all links for ever but those of a random connected graph.
fn cut_to_a_connected_graph(cluster: &mut Cluster) {
    let size = cluster.size();
    cut_anything(cluster, 1.0);
    let tree: Vec<_> = (1..size).map(|node| (node, cluster.rng.random_range(0..node))).collect();
    let more = cluster.rng.random_range(0..3);
    let more: Vec<_> = (0..more)
        .map(|_| (cluster.rng.random_range(0..size), cluster.rng.random_range(0..size)))
        .collect();
    for (a, b) in tree.into_iter().chain(more) {
        cluster.cut.remove(&(a, b));
        cluster.cut.remove(&(b, a));
    }
}

#[test]
fn news_travel_over_any_connected_graph() {
    with_seeds(60, |seed| {
        let mut cluster = any_cluster(seed);
        cut_to_a_connected_graph(&mut cluster);
        for _ in 0..5 {
            cluster.append_anywhere(3);
            let pause = cluster.rng.random_range(0..1000);
            cluster.run_for(Duration::from_millis(pause));
        }
        let graph = std::mem::take(&mut cluster.cut);
        let bound = calm_down(&mut cluster);
        cluster.cut = graph;
        // No path is longer than a line of all nodes.
        cluster.run_for(bound * u32::try_from(cluster.size() - 1).unwrap());
        cluster.assert_converged();
    });
}

/// Two nodes of which one has got the first of `values` values that the other has, in batches of
/// four: after a restart it asked for them, after a partition it was asked.
fn catching_up(values: u32, restart: bool, duplication: f64) -> Cluster {
    let mut cluster = Cluster::new(11, 2, config(40), steady(10));
    cluster.run_for(3 * INTERVAL);
    if !restart {
        cluster.cut_between(&[0], &[1]);
    }
    for value in 0..values {
        cluster.append(0, value);
    }
    cluster.run_for(3 * INTERVAL);
    cluster.faults.duplication = duplication;
    if restart {
        cluster.restart(1);
    } else {
        cluster.cut.clear();
    }
    run_until(&mut cluster, |cluster| !cluster.learned(1).is_empty());
    cluster
}

#[test]
fn catching_up_goes_on_at_once_batch_by_batch() {
    for restart in [true, false] {
        let mut cluster = catching_up(100, restart, 0.0);
        // After the first of 25 batches 24 round trips of 20 ms, and no waiting for ticks.
        cluster.run_for(Duration::from_millis(480));
        cluster.assert_converged();
    }
}

#[test]
fn duplicated_messages_do_not_multiply_while_a_node_catches_up() {
    for restart in [true, false] {
        let mut cluster = catching_up(100, restart, 1.0);
        // A batch takes a syn, which comes twice, and so two acks.
        let messages = cluster.messages_in(2 * INTERVAL);
        cluster.assert_converged();
        assert!(messages < 25 * 4, "{messages} messages");
    }
}

#[test]
fn what_a_push_did_not_bring_takes_a_tick_and_three_messages() {
    with_seeds(20, |seed| {
        let mut cluster = Cluster::new(seed, 2, config(1 << 20), steady(10));
        cluster.run_for(3 * INTERVAL);
        cluster.faults.loss = 1.0;
        cluster.append(0, 1);
        cluster.faults.loss = 0.0;
        let before = cluster.messages_sent;
        run_until(&mut cluster, Cluster::is_converged);
        assert_eq!(cluster.messages_sent - before, 3);
    });
}

#[test]
fn no_entry_is_too_large_to_be_sent() {
    let mut cluster = Cluster::new(2, 3, config(0), steady(10));
    cluster.cut_between(&[0], &[1, 2]);
    cluster.append_anywhere(20);
    cluster.run_for(3 * INTERVAL);
    cluster.cut.clear();
    cluster.run_for(3 * INTERVAL);
    cluster.assert_converged();
}

/// The body of a message that some node might send.
fn words(incarnation: u64, stage: Stage, have: &VersionVector, runs: &[Run<u32>]) -> String {
    let body = serde_json::json!({"type": "gossip", "msg_id": 9, "stage": stage,
        "incarnation": incarnation, "have": have, "runs": runs});
    body.to_string()
}

#[test]
fn a_late_word_of_a_peer_does_not_make_it_forget_what_the_peer_has() {
    let mut cluster = Cluster::new(1, 2, config(1 << 20), steady(10));
    cluster.run_for(3 * INTERVAL);
    cluster.append(0, 1);
    cluster.run_for(3 * INTERVAL);
    // Sent by n1 before it had anything, and arriving now. (The cluster checks the answer.)
    let syn = words(cluster.incarnation(1), Stage::Syn, &VersionVector::default(), &[]);
    cluster.tell(0, "n1", &syn);
    cluster.run_for(3 * INTERVAL);
    assert_eq!(cluster.entries_sent, 1);
}

#[test]
fn gossip_of_a_stranger_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::new(1, 2, config(1 << 20), steady(10));
    cluster.run_for(3 * INTERVAL);
    let origin = Origin { node: "n7".into(), incarnation: 1 };
    let run = Run { origin, start: 0, entries: vec![5] };
    let words = words(1, Stage::Syn, &VersionVector::default(), &[run]);
    for stranger in ["n7", "c1", "n0"] {
        let answer = cluster.tell(0, stranger, &words);
        assert!(answer[0].contains(r#""type":"error","in_reply_to":9,"code":12"#), "{answer:?}");
    }
    assert!(cluster.logs(0).is_empty());
    assert_eq!(cluster.messages_in(20 * INTERVAL), 0);
}

#[test]
fn nobody_can_tell_a_node_what_it_appended_itself() {
    let mut cluster = Cluster::new(1, 2, config(1 << 20), steady(10));
    cluster.append(0, 1);
    cluster.run_for(3 * INTERVAL);
    let before = cluster.logs(0);
    let mut run = before[0].clone();
    run.start = 1;
    run.entries = vec![66];
    let words = words(1, Stage::Push, &VersionVector::default(), &[run]);
    cluster.tell(0, "n1", &words);
    assert_eq!(cluster.logs(0), before);
    assert_eq!(cluster.learned(0), [1]);
}
