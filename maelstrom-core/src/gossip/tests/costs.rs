//! Tests the costs without faults: messages, entries and time.

use super::*;

/// Clusters of many nodes take a long time, so they run only on request.
fn sizes() -> &'static [usize] {
    if seeds_asked_for().is_some() { &[5, 10, 25, 100] } else { &[5, 10, 25] }
}

/// A cluster that has settled after its start.
fn settled(seed: u64, size: usize, delay_ms: u64) -> Cluster<Set> {
    let mut cluster = Cluster::new(seed, size, Config::default(), steady(delay_ms));
    cluster.append(0);
    cluster.run_for(secs(20));
    cluster.assert_converged();
    cluster.messages_sent = 0;
    cluster.entries_sent = 0;
    cluster
}

fn per_round(cluster: &Cluster<Set>) -> u64 {
    2 * (cluster.size() as u64 - 1)
}

#[test]
fn a_fresh_cluster_greets_its_hub_and_falls_silent() {
    for size in [1, 2, 5, 25] {
        let mut cluster: Cluster<Set> = Cluster::new(7, size, Config::default(), steady(100));
        let greeting = cluster.messages_in(secs(20));
        let per_round = per_round(&cluster);
        assert!(greeting >= per_round && greeting <= 3 * per_round, "{greeting} of {size}");
        assert_eq!(cluster.messages_in(secs(60)), 0);
        assert!((1..size).all(|index| cluster.hub(index) == Some(0)));
        assert_eq!(cluster.hub(0), None);
    }
}

#[test]
fn a_start_under_load_costs_one_exchange_and_keeps_to_the_period() {
    for period in [None, Some(ms(1_700))] {
        for size in [5, 25] {
            let config = Config { period, ..Config::default() };
            let mut cluster: Cluster<Set> = Cluster::new(3, size, config, steady(100));
            (0..size).for_each(|index| _ = cluster.append(index));
            let first_period = period.unwrap_or_default().clamp(FIRST_PERIOD_MIN, FIRST_PERIOD_MAX);
            let greeting = first_period - beat::COLLECTING;
            cluster.run_for(greeting);
            let first = cluster.appended.len();
            (0..size).for_each(|index| _ = cluster.append(index));
            let has_first = |cluster: &Cluster<Set>| cluster.all_have_first(first);
            cluster.run_for(beat::COLLECTING + ms(2 * 100 - 1));
            assert!(!has_first(&cluster), "the start was expected to take a period");
            cluster.run_for(ms(1));
            assert!(has_first(&cluster));
            // The first beat announced no time for the next one, since no round trip was known. But
            // the leaves know the round trip now, and the hub learns it from a single answer. So
            // an entry from just after the greetings is everywhere after a period, a grace of half
            // a margin and two hops.
            assert_eq!(cluster.messages_sent, per_round(&cluster) + 1);
            cluster.run_for(period.unwrap_or(ms(454)) + ms(15) - beat::COLLECTING);
            cluster.assert_converged();
            assert_eq!(cluster.messages_sent, 2 * per_round(&cluster) + 1);
        }
    }
}

#[test]
fn a_hub_that_starts_alone_waits_for_nobody() {
    let mut cluster: Cluster<Set> = Cluster::without_nodes(5, 5, Config::default(), steady(10));
    cluster.start(0, NO_RECORDS);
    cluster.append(0);
    cluster.run_for(ms(479));
    assert_eq!(cluster.messages_sent, 0);
    cluster.run_for(ms(1));
    assert_eq!(cluster.messages_sent, 4, "it introduces itself to each node");
}

/// An operator chose a period of ten minutes. A node that restarts empty has everything soon, also
/// if the logs hold no entries any more, or if these are too many for one message.
#[test]
fn a_node_that_restarts_waits_no_long_period_before_it_asks_for_missing_entries() {
    let long = Config { period: Some(secs(600)), ..Config::default() };
    let default = Config::default();
    for (log_bytes_max, batch_bytes_max) in
        [(default.log_bytes_max, default.batch_bytes_max), (0, 100), (default.log_bytes_max, 100)]
    {
        let config = Config { log_bytes_max, batch_bytes_max, ..long.clone() };
        let mut cluster: Cluster<Set> = Cluster::without_nodes(11, 3, config, steady(10));
        cluster.start(0, Records::All);
        cluster.start(1, Records::All);
        (0..100).for_each(|_| _ = cluster.append(0));
        cluster.run_for(secs(4));
        cluster.start(2, Records::All);
        cluster.run_for(secs(3));
        cluster.assert_converged();
        cluster.restart(2, NO_RECORDS);
        cluster.run_for(secs(3));
        cluster.assert_converged();
    }
}

/// A hub that restarts under load answers at once. If it collected greetings, its leaves would
/// consider it down.
#[test]
fn a_hub_that_restarts_soon_stays_the_hub() {
    for (delay_ms, down_ms) in [(1, 100), (1, 150), (1, 200), (20, 100), (20, 150), (20, 200)] {
        let mut cluster = settled(17, 5, delay_ms);
        (0..40).for_each(|_| {
            cluster.append_anywhere(2);
            cluster.run_for(ms(20));
        });
        cluster.kill(0);
        cluster.run_for(ms(down_ms));
        cluster.start(0, Records::All);
        for _ in 0..100 {
            cluster.append(1);
            cluster.run_for(ms(20));
            assert!(
                (1..5).all(|index| cluster.hub(index) == Some(0)),
                "{delay_ms} ms, {down_ms} ms"
            );
        }
        cluster.run_for(secs(5));
        cluster.assert_converged();
    }
}

#[test]
fn a_lone_append_takes_two_hops_and_two_messages_for_each_node() {
    for (seed, &size) in (0..).zip(sizes()) {
        for delay_ms in [0, 10, 100].into_iter().take(if size > 50 { 2 } else { 3 }) {
            for at in [0, size - 1] {
                let mut cluster = settled(seed, size, delay_ms);
                cluster.append(at);
                if delay_ms > 0 {
                    cluster.run_for(ms(2 * delay_ms - 1));
                    assert!(at == 0 || !cluster.is_converged(), "n{at} told everyone itself");
                }
                cluster.run_for(ms(1));
                cluster.assert_converged();
                cluster.run_for(secs(20));
                let (messages, entries) = (cluster.messages_sent, cluster.entries_sent);
                assert!(messages <= per_round(&cluster), "{messages} of {size}");
                assert_eq!(entries, size - 1, "each gets it once");
            }
        }
    }
}

/// Appends at `count` nodes every few ms for 5 periods. Returns the longest time until all nodes
/// had a value.
fn load(cluster: &mut Cluster<Set>, count: usize) -> Duration {
    let (until, mut worst) = (cluster.now + cluster.engine(0).period * 5, Duration::ZERO);
    while cluster.now < until {
        let (at, watched) = (cluster.now, cluster.appended.len());
        while !cluster.all_have_first(watched) {
            assert!(cluster.now < until + secs(5), "it never comes");
            cluster.append_anywhere(count);
            cluster.run_for(ms(4));
        }
        worst = worst.max(cluster.now - at);
        cluster.append_anywhere(count);
        cluster.run_for(ms(5));
    }
    worst
}

#[test]
fn under_load_a_period_costs_two_messages_for_each_node_and_delays_by_a_period_and_two_hops() {
    for (seed, &size) in (0..).zip(sizes()) {
        for (delay_ms, count) in [(20, 4), (5, 1)].into_iter().take(if size > 50 { 1 } else { 2 }) {
            let mut cluster = settled(seed, size, delay_ms);
            let before = cluster.appended.len();
            let start = cluster.now;
            let worst = load(&mut cluster, count);
            let period = cluster.engine(0).period;
            assert!(worst <= period + ms(2 * delay_ms + 4), "{worst:?} for {size}");
            let periods = (cluster.now - start).as_nanos().div_ceil(period.as_nanos());
            // The last values take one more period, and their acknowledgements are separate
            // messages.
            let rounds = u64::try_from(periods).unwrap() + 2;
            cluster.run_for(secs(30));
            cluster.assert_converged();
            let messages_max = rounds * per_round(&cluster);
            assert!(cluster.messages_sent <= messages_max, "{}, {size}", cluster.messages_sent);
            let entries = (cluster.appended.len() - before) * (size - 1);
            assert_eq!(cluster.entries_sent, entries, "each gets each once");
        }
    }
}

/// Each node loses half of the others, and half of the nodes lose their hub.
#[test]
fn a_partition_costs_few_messages_when_it_begins_and_when_it_ends() {
    const SIZE: usize = 24;
    let mut cluster = settled(3, SIZE, 20);
    let (left, right): (Vec<_>, Vec<_>) = (0..SIZE).partition(|index| index % 2 == 0);
    cluster.cut_between(&left, &right);
    let begin = load_for(&mut cluster, secs(5));
    cluster.cut.clear();
    let end = load_for(&mut cluster, secs(5));
    cluster.run_for(secs(20));
    cluster.assert_converged();
    let pairs = (left.len() * right.len()) as u64;
    println!("{begin} messages when it begins, {end} when it ends, {pairs} pairs");
    // The values alone take 460 messages each time. When the partition begins, no node but the hub
    // tries all peers at once: the others ask for one lost peer at a time.
    assert!(begin <= 4 * pairs, "{begin} messages, {pairs} pairs");
    assert!(end <= 5 * pairs, "{end} messages, {pairs} pairs");
}

/// Each node reaches half of the others, and no hub reaches all. Not every pair of a node that the
/// hub reaches and one that it does not reach exchanges all values.
#[test]
fn a_ring_in_which_each_node_reaches_half_costs_few_messages() {
    const SIZE: usize = 24;
    let mut cluster = settled(3, SIZE, 20);
    let distance = |a: usize, b: usize| a.abs_diff(b).min(SIZE - a.abs_diff(b));
    let pairs = (0..SIZE).flat_map(|a| (0..SIZE).map(move |b| (a, b)));
    cluster.cut.extend(pairs.filter(|(a, b)| distance(*a, *b) > SIZE / 4));
    let begin = load_for(&mut cluster, secs(5));
    let later = load_for(&mut cluster, secs(10));
    println!("{begin} messages when it begins, {later} in the ten seconds after that");
    // The values alone take 460 and 920 messages.
    assert!(begin <= 1_000, "{begin} messages");
    assert!(later <= 2_000, "{later} messages");
    cluster.run_for(secs(2));
    cluster.assert_converged();
}

/// Appends a value somewhere now and then, and returns the number of messages that this took.
fn load_for(cluster: &mut Cluster<Set>, time: Duration) -> u64 {
    let (before, until) = (cluster.messages_sent, cluster.now + time);
    while cluster.now < until {
        cluster.append_anywhere(1);
        cluster.run_for(ms(500));
    }
    cluster.messages_sent - before
}
