//! Tests outages of all nodes at once, and of links: for hours, or in one direction only.

use std::collections::BTreeSet;

use super::*;

const MINUTE: Duration = secs(60);

/// The most nodes of a cluster of which each node or each link fails in turn. Larger ones take long,
/// so they run only on request.
fn size_max() -> usize {
    if seeds_asked_for().is_some() { 5 } else { 4 }
}

fn settled<S: Values>(seed: u64, size: usize, config: Config) -> Cluster<S> {
    let faults = Faults { delay_ms: 2..=10, loss: 0.0, duplication: 0.0 };
    let mut cluster = Cluster::new(seed, size, config, faults);
    for index in 0..size {
        cluster.append(index);
    }
    cluster.run_for(secs(10));
    cluster.assert_converged();
    cluster
}

/// Asserts that there is no work left: a cluster without faults becomes silent.
fn assert_falls_silent<S: Values>(cluster: &mut Cluster<S>) {
    cluster.run_for(MINUTE);
    assert_eq!(cluster.messages_in(MINUTE), 0);
}

#[test]
fn a_partition_that_lasts_for_hours_ends_with_everything_on_every_node() {
    for (size, log_bytes_max) in [(2, 4 << 20), (3, 0), (4, 200), (5, 0)] {
        let config = Config {
            batch_bytes_max: 4 * VALUE_BYTES,
            log_bytes_max,
            // Otherwise most of the work would be probes.
            probe_interval: secs(20),
            ..Config::default()
        };
        let mut cluster: Cluster<Set> = settled(size as u64, size, config);
        let (left, right): (Vec<_>, Vec<_>) = (0..size).partition(|index| index % 2 == 0);
        cluster.cut_between(&left, &right);
        for _ in 0..2 * 60 {
            cluster.append_anywhere(1);
            cluster.run_for(MINUTE);
        }
        for side in [&left, &right] {
            let values = cluster.values(side[0]);
            assert!(side.iter().all(|index| cluster.values(*index) == values), "{side:?}");
            assert!(values.len() < cluster.appended.len());
        }
        cluster.cut.clear();
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
        assert_falls_silent(&mut cluster);
    }
}

/// All pairs of nodes in which the second no longer hears the first, but the first still hears the
/// second.
fn one_way_cuts(size: usize) -> impl Iterator<Item = (usize, usize)> {
    let pairs = move |from| (0..size).map(move |to| (from, to));
    (0..size).flat_map(pairs).filter(|(from, to)| from != to)
}

#[test]
fn a_link_that_works_in_one_direction_holds_nothing_up_where_there_is_a_way_round() {
    for (size, cut) in
        (3..=size_max()).flat_map(|size| one_way_cuts(size).map(move |cut| (size, cut)))
    {
        let mut cluster: Cluster<Set> = settled(size as u64, size, Config::default());
        cluster.cut.insert(cut);
        for index in [cut.0, cut.1, cut.0] {
            cluster.append(index);
            cluster.run_for(bound(&cluster));
            cluster.assert_converged();
        }
        // Each end of the link probes the other at most twice per probe interval, and gets an
        // answer.
        let messages = cluster.messages_in(MINUTE);
        assert!(messages <= 60 * 2 * 2 * 2, "{messages} messages, {size} nodes without {cut:?}");
        cluster.cut.clear();
        cluster.append(cut.0);
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
        assert_falls_silent(&mut cluster);
    }
}

/// Two nodes have no detour. Neither does a node that hears all others but that no other node
/// hears.
#[test]
fn a_node_that_hears_and_is_not_heard_catches_up_once_it_is_heard_and_so_do_the_others() {
    for (size, deaf) in (2..=size_max()).flat_map(|size| (0..size).map(move |deaf| (size, deaf))) {
        for is_mute in [true, false] {
            let mut cluster: Cluster<Set> = settled(size as u64, size, Config::default());
            for other in (0..size).filter(|other| *other != deaf) {
                cluster.cut.insert(if is_mute { (deaf, other) } else { (other, deaf) });
            }
            for _ in 0..10 {
                cluster.append_anywhere(size);
                cluster.run_for(secs(3));
            }
            let others: Vec<_> = (0..size).filter(|index| *index != deaf).collect();
            let values = cluster.values(others[0]);
            assert!(others.iter().all(|index| cluster.values(*index) == values));
            // Each node probes every other node at most twice per probe interval, and gets an
            // answer.
            let messages = cluster.messages_in(MINUTE);
            let messages_max = 60 * 2 * 2 * 2 * (size as u64 - 1);
            assert!(messages <= messages_max, "{messages} of {messages_max}");
            cluster.cut.clear();
            cluster.run_for(bound(&cluster));
            cluster.assert_converged();
            assert_falls_silent(&mut cluster);
        }
    }
}

/// Kills all nodes at once, for `pause`. The network loses the messages that arrive in the
/// meantime.
fn restart_all<S: Values>(
    cluster: &mut Cluster<S>,
    pause: Duration,
    records: impl Fn(usize) -> Records,
) {
    for index in 0..cluster.size() {
        cluster.kill(index);
    }
    cluster.run_for(pause);
    for index in (0..cluster.size()).rev() {
        cluster.start(index, records(index));
    }
}

fn loses_nothing_when_all_restart<S: Values>(seed: u64) {
    let mut cluster: Cluster<S> = any_cluster(seed);
    for pause in [ms(0), ms(5), secs(2)] {
        cut_anything(&mut cluster, 0.3);
        cluster.append_anywhere(5);
        let run = cluster.rng.random_range(0..1_500);
        cluster.run_for(ms(run));
        // These values are acknowledged, and no other node has them.
        cluster.append_anywhere(3);
        restart_all(&mut cluster, pause, |_| Records::All);
        cluster.append_anywhere(1);
    }
    calm_down(&mut cluster);
    cluster.run_for(bound(&cluster));
    cluster.assert_converged();
    assert_falls_silent(&mut cluster);
}

#[test]
fn nodes_that_all_restart_at_once_lose_nothing_that_was_acknowledged() {
    with_seeds(4, |seed| {
        loses_nothing_when_all_restart::<Set>(seed);
        loses_nothing_when_all_restart::<Sums>(seed);
        loses_nothing_when_all_restart::<monotonic::Whole>(seed);
    });
}

#[test]
fn nodes_that_all_restart_at_once_without_records_begin_anew() {
    for size in 2..=5 {
        let mut cluster: Cluster<Set> = settled(size as u64, size, Config::default());
        cluster.append_anywhere(3);
        restart_all(&mut cluster, secs(1), |_| NO_RECORDS);
        assert_eq!(cluster.union(), BTreeSet::new());
        let values: BTreeSet<u32> = (0..size).map(|index| cluster.append(index)).collect();
        cluster.run_for(bound(&cluster));
        assert!((0..size).all(|index| cluster.values(index) == values));
        assert!((1..size).all(|index| cluster.version(index) == cluster.version(0)));
        assert_falls_silent(&mut cluster);
    }
}

#[test]
fn an_entry_on_any_nodes_record_survives_the_restart_of_all() {
    with_seeds(6, |seed| {
        let mut cluster: Cluster<Set> = any_cluster(seed);
        cluster.append_anywhere(20);
        cluster.run_for(secs(1));
        cluster.append_anywhere(3);
        let size = cluster.size();
        let lost = cluster.rng.random_range(0..size);
        restart_all(
            &mut cluster,
            ms(3),
            |index| {
                if index == lost { NO_RECORDS } else { Records::All }
            },
        );
        let known = cluster.union();
        calm_down(&mut cluster);
        cluster.run_for(bound(&cluster));
        cluster.assert_have(&known);
        assert_falls_silent(&mut cluster);
    });
}
