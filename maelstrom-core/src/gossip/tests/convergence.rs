//! Tests that all replicas end up equal, whatever happens.

use super::*;

#[test]
fn after_any_faults_all_replicas_equal_the_union_within_the_bound() {
    with_seeds(10, |seed| {
        let mut cluster: Cluster<Set> = any_cluster(seed);
        stormy_weather(&mut cluster);
        calm_down(&mut cluster);
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
    });
}

#[test]
fn cumulative_entries_are_as_safe_and_nobody_needs_a_snapshot() {
    with_seeds(6, |seed| {
        let mut cluster: Cluster<Sums> = any_cluster(seed);
        stormy_weather(&mut cluster);
        calm_down(&mut cluster);
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
        for index in 0..cluster.size() {
            let logs = cluster.logs(index);
            assert!(logs.iter().all(|run| run.entries.len() == 1), "the newest of each origin");
        }
    });
}

#[test]
fn a_run_repeats_exactly_from_its_seed() {
    let run = |seed| {
        let mut cluster: Cluster<Set> = any_cluster(seed);
        stormy_weather(&mut cluster);
        let values: Vec<_> = (0..cluster.size()).map(|index| cluster.values(index)).collect();
        (cluster.messages_sent, cluster.entries_sent, values)
    };
    assert_eq!(run(5), run(5));
}

/// Cuts all links but these forever. A cut link may still deliver messages in one direction.
fn cut_to_a_graph(cluster: &mut Cluster<Set>, links: &[(usize, usize)]) {
    cluster.cut.clear();
    for b in 0..cluster.size() {
        for a in 0..b {
            if !links.contains(&(a, b)) && !links.contains(&(b, a)) {
                let way = cluster.rng.random_range(0..6);
                cluster.cut.extend([(a, b)].iter().filter(|_| way != 0));
                cluster.cut.extend([(b, a)].iter().filter(|_| way != 1));
            }
        }
    }
}

/// Appends now and then on a fixed graph, and asserts that every node gets all values.
fn assert_news_travel(cluster: &mut Cluster<Set>) {
    for _ in 0..4 {
        cluster.append_anywhere(2);
        let pause = cluster.rng.random_range(0..1_500);
        cluster.run_for(ms(pause));
    }
    (cluster.faults.loss, cluster.faults.duplication) = (0.0, 0.0);
    // No path is longer than a line of all nodes.
    let hops = u32::try_from(cluster.size() - 1).unwrap();
    cluster.run_for(bound(cluster) * hops);
    cluster.assert_converged();
}

/// A cluster of 2 to 9 nodes that has run without cuts.
fn cluster_to_cut(seed: u64) -> Cluster<Set> {
    let size = 2 + usize::try_from(seed % 8).unwrap();
    let faults = Faults { delay_ms: 2..=20, loss: 0.1, duplication: 0.1 };
    let mut cluster = Cluster::new(seed, size, Config::default(), faults);
    if !seed.is_multiple_of(3) {
        cluster.append_anywhere(3);
        cluster.run_for(secs(3));
    }
    cluster
}

#[test]
fn news_travel_over_any_connected_graph() {
    with_seeds(8, |seed| {
        let mut cluster = cluster_to_cut(seed);
        let size = cluster.size();
        let mut links: Vec<_> = (1..size).map(|b| (cluster.rng.random_range(0..b), b)).collect();
        // The names are shuffled, so that the positions in the tree do not depend on the ranks.
        let mut names: Vec<_> = (0..size).collect();
        for last in (1..size).rev() {
            names.swap(last, cluster.rng.random_range(0..=last));
        }
        for _ in 0..cluster.rng.random_range(0..3) {
            links.push((cluster.rng.random_range(0..size), cluster.rng.random_range(0..size)));
        }
        let links: Vec<_> = links.iter().map(|(a, b)| (names[*a], names[*b])).collect();
        cut_to_a_graph(&mut cluster, &links);
        assert_news_travel(&mut cluster);
    });
}

#[test]
fn news_travel_along_a_line_whoever_stands_at_its_end() {
    with_seeds(8, |seed| {
        let mut cluster = cluster_to_cut(seed);
        let size = cluster.size();
        // The ranks ascend, descend, or have the hubs in the middle.
        let mut line: Vec<_> = (0..size).collect();
        match seed % 4 {
            0 => {}
            1 => line.reverse(),
            2 => line.sort_by_key(|index| (index % 2, *index)),
            _ => line.sort_by_key(|index| {
                (index % 2, if index % 2 == 0 { size - index } else { *index })
            }),
        }
        let links: Vec<_> = line.windows(2).map(|pair| (pair[0], pair[1])).collect();
        cut_to_a_graph(&mut cluster, &links);
        assert_news_travel(&mut cluster);
    });
}

/// Every node reaches a majority, and no two nodes reach the same one.
#[test]
fn news_travel_round_a_ring_of_majorities() {
    with_seeds(8, |seed| {
        let mut cluster = cluster_to_cut(seed);
        let size = cluster.size();
        let reach = (size / 2).div_ceil(2);
        let links: Vec<_> = (0..size)
            .flat_map(|a| (1..=reach.max(1)).map(move |step| (a, (a + step) % size)))
            .collect();
        cut_to_a_graph(&mut cluster, &links);
        assert_news_travel(&mut cluster);
    });
}
