//! Nodes that die, and come back with nothing but their names.

use super::*;

#[test]
fn restarts_on_any_connected_graph_lose_nothing_that_somebody_has() {
    with_seeds(60, |seed| {
        let mut cluster = any_cluster(seed);
        cut_to_a_connected_graph(&mut cluster);
        // Node 0 never dies, and all that counts is appended there.
        for value in 0..5 {
            cluster.append(0, value);
            let pause = cluster.rng.random_range(0..3000);
            cluster.run_for(Duration::from_millis(pause));
            let back = cluster.rng.random_range(1..cluster.size());
            cluster.restart(back);
        }
        let graph = std::mem::take(&mut cluster.cut);
        let bound = calm_down(&mut cluster);
        cluster.cut = graph;
        // Each may have to greet everyone before the right one.
        cluster.run_for(2 * bound * u32::try_from(cluster.size() - 1).unwrap());
        cluster.assert_converged();
    });
}

#[test]
fn a_node_that_comes_back_empty_gets_everything_again_and_starts_a_new_log() {
    with_seeds(60, |seed| {
        let mut cluster = any_cluster(seed);
        cluster.append_anywhere(10);
        stormy_weather(&mut cluster);
        let bound = calm_down(&mut cluster);
        cluster.run_for(bound);
        cluster.assert_converged();
        let before = cluster.logs(0);
        let back = cluster.rng.random_range(0..cluster.size());
        cluster.restart(back);
        // It asks somebody, who tells it all.
        cluster.run_for(bound);
        cluster.assert_converged();
        assert_eq!(cluster.logs(back), before);
        let value = u32::try_from(cluster.appended.len()).unwrap();
        cluster.append(back, value);
        cluster.run_for(bound);
        cluster.assert_converged();
        assert_eq!(cluster.logs(back).len(), before.len() + 1, "a log of its own");
    });
}

#[test]
fn a_node_that_comes_back_and_hears_of_more_than_it_has_asks_for_it() {
    let mut cluster = Cluster::new(1, 2, config(1 << 20), steady(10));
    cluster.append(0, 1);
    cluster.run_for(5 * INTERVAL);
    cluster.restart(1);
    // Sent to its earlier life, which had all of it.
    let have = cluster.version(0).clone();
    let late = words(cluster.incarnation(0), Stage::Ack, &have, &[]);
    cluster.tell(1, "n0", &late);
    cluster.run_for(bound(10));
    cluster.assert_converged();
}

#[test]
fn a_node_that_comes_back_greets_nobody_twice_before_it_has_greeted_everyone() {
    with_seeds(20, |seed| {
        let mut cluster = Cluster::new(seed, 6, config(1 << 20), steady(10));
        cluster.append(0, 1);
        cluster.run_for(10 * INTERVAL);
        cluster.assert_converged();
        cluster.cut_between(&[5], &[0, 1, 2, 4]);
        cluster.restart(5);
        cluster.run_for(5 * INTERVAL + Duration::from_millis(20));
        cluster.assert_converged();
    });
}

#[test]
fn restarts_among_faults_lose_nothing_that_somebody_has() {
    with_seeds(100, |seed| {
        let mut cluster = any_cluster(seed);
        let size = cluster.size();
        // Node 0 never dies, and all that counts is appended there.
        for value in 0..8 {
            cut_anything(&mut cluster, 0.4);
            cluster.append(0, value);
            let pause = cluster.rng.random_range(0..1500);
            cluster.run_for(Duration::from_millis(pause));
            let back = cluster.rng.random_range(1..size);
            cluster.restart(back);
        }
        let bound = calm_down(&mut cluster);
        cluster.run_for(2 * bound);
        cluster.assert_converged();
        assert_falls_silent(&mut cluster);
    });
}

/// A line n0, n1, n2, whose middle dies after it got a value and before it could pass it on, and
/// which on its return is first answered by the end that knows nothing.
#[test]
fn a_node_that_comes_back_asks_everyone_since_a_peer_may_think_it_knows() {
    with_seeds(20, |seed| {
        let mut cluster = Cluster::new(seed, 3, config(1 << 20), steady(10));
        cluster.cut_between(&[0], &[2]);
        cluster.run_for(3 * INTERVAL);
        cluster.cut_between(&[1], &[2]);
        cluster.append(0, 1);
        cluster.run_for(3 * INTERVAL);
        cluster.cut.retain(|(a, b)| a + b != 3);
        cluster.restart(1);
        cluster.run_for(4 * bound(10));
        cluster.assert_converged();
    });
}
