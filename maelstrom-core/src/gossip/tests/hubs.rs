//! Tests hubs that fail, are paused, are cut off, or come and go.

use super::hostile::words;
use super::*;

const DELAY_MS: u64 = 10;

fn settled(seed: u64, size: usize) -> Cluster<Set> {
    let faults = Faults { delay_ms: 2..=DELAY_MS, loss: 0.0, duplication: 0.0 };
    let mut cluster = Cluster::new(seed, size, Config::default(), faults);
    cluster.append(size - 1);
    cluster.run_for(secs(10));
    cluster.assert_converged();
    cluster
}

/// Appends for `seconds`, a few times per second, at running nodes.
fn append_for(cluster: &mut Cluster<Set>, seconds: u64) {
    for _ in 0..seconds * 5 {
        cluster.append_anywhere(2);
        cluster.run_for(ms(200));
    }
}

/// How long values take to reach all nodes but a hub that has failed. The hub's peers wait for an
/// acknowledgement, and then once more, and then send the values to all nodes themselves.
fn takeover(cluster: &Cluster<Set>) -> Duration {
    cluster.config.patience_min + 2 * patience(cluster) + 4 * ms(DELAY_MS)
}

fn patience(cluster: &Cluster<Set>) -> Duration {
    (6 * ms(DELAY_MS)).max(2 * ms(DELAY_MS) + cluster.config.patience_min)
}

#[test]
fn with_a_dead_hub_everyone_else_gets_everything_from_the_next() {
    with_seeds(3, |seed| {
        let mut cluster = settled(seed, 6);
        cluster.kill(0);
        let at = cluster.rng.random_range(1..6);
        cluster.append(at);
        cluster.run_for(takeover(&cluster));
        cluster.assert_converged();
        append_for(&mut cluster, 5);
        cluster.run_for(secs(1));
        cluster.assert_converged();
        assert!((2..6).all(|index| cluster.hub(index) == Some(1)));
    });
}

#[test]
fn a_dead_node_costs_bounded_probes_and_nothing_else() {
    for dead in [0, 7] {
        let mut cluster = settled(1, 8);
        cluster.kill(dead);
        cluster.append_anywhere(1);
        cluster.run_for(secs(10));
        cluster.assert_converged();
        // Each node probes it once per interval, which is between half of the configured one and
        // all of it. Any node could be the only one that reaches it.
        let probes = cluster.messages_in(secs(60));
        assert!((60 * 7..=120 * 7).contains(&probes), "{probes} probes of n{dead}");
    }
}

/// The rate of probes must not depend on the load.
#[test]
fn a_dead_node_is_not_tried_more_often_under_load() {
    for dead in [0, 7] {
        let mut cluster = settled(1, 8);
        cluster.kill(dead);
        append_for(&mut cluster, 10);
        let mut probes = 0;
        for n in 0..2_000 {
            if n % 5 == 0 {
                cluster.append_anywhere(1);
            }
            cluster.run_for(ms(1));
            probes += (0..8).map(|from| cluster.intercept(from, dead).len()).sum::<usize>();
        }
        assert!(probes > 0 && probes <= 4 * 7, "{probes} probes of n{dead}");
    }
}

#[test]
fn entries_that_a_dead_hub_had_are_not_told_again() {
    let mut cluster = settled(1, 12);
    append_for(&mut cluster, 40);
    cluster.run_for(secs(5));
    cluster.assert_converged();
    cluster.kill(0);
    let entries = cluster.entries_sent;
    cluster.append(11);
    cluster.run_for(secs(5));
    cluster.assert_converged();
    // In the worst case every node sends the new value to every other node, also to the dead one, and
    // then the new hub sends it to all.
    let entries = cluster.entries_sent - entries;
    assert!(entries <= 11 * 11 + 10, "{entries} entries, of {}", cluster.appended.len());
}

/// The last node is cut off from its hub and chooses the next one. That node serves it long before
/// the hub notices. Earlier messages with the old hub may arrive only now.
#[test]
fn a_node_that_follows_another_hub_is_served_by_it_at_once() {
    for is_overtaken in [false, true] {
        let mut cluster = settled(2, 5);
        let earlier = words(&cluster, 4, serde_json::json!({"hub": name(0)}));
        cluster.cut_between(&[0], &[4]);
        cluster.append(4);
        cluster.run_until(secs(1), |cluster| cluster.hub(4) == Some(1));
        cluster.run_for(2 * ms(DELAY_MS));
        if is_overtaken {
            cluster.hear(1, &name(4), &earlier);
        }
        let value = cluster.append(2);
        let took = cluster.run_until(secs(5), |cluster| cluster.values(4).contains(&value));
        let period = cluster.engine(0).period.max(cluster.engine(1).period);
        assert!(took <= 2 * period + 3 * ms(DELAY_MS), "{took:?}");
    }
}

#[test]
fn a_hub_that_is_back_takes_its_place_and_nobody_does_its_work_twice() {
    for records in [Records::All, NO_RECORDS] {
        let mut cluster = settled(4, 8);
        cluster.kill(0);
        append_for(&mut cluster, 3);
        cluster.start(0, records);
        cluster.run_for(secs(10));
        cluster.assert_converged();
        assert!((1..8).all(|index| cluster.hub(index) == Some(0)));
        let (messages, entries) = (cluster.messages_sent, cluster.entries_sent);
        cluster.append(5);
        cluster.run_for(secs(10));
        cluster.assert_converged();
        assert_eq!(cluster.entries_sent - entries, 7);
        assert!(cluster.messages_sent - messages <= 2 * 7);
    }
}

/// Nodes often come back together: a node that finds a better hub back probes all others at once.
#[test]
fn two_halves_find_each_other_within_two_probes() {
    with_seeds(3, |seed| {
        let mut cluster = settled(seed, 12);
        cluster.cut_between(&[0, 1, 2, 3, 4, 5], &[6, 7, 8, 9, 10, 11]);
        append_for(&mut cluster, 5);
        cluster.cut.clear();
        cluster.run_for(2 * cluster.config.probe_interval + 10 * ms(DELAY_MS));
        cluster.assert_converged();
    });
}

#[test]
fn two_hubs_that_die_at_once_lose_nothing() {
    with_seeds(3, |seed| {
        let mut cluster = settled(seed, 7);
        let first = cluster.append(0);
        cluster.run_for(ms(copied(&cluster.rng).random_range(0..30)));
        cluster.kill(0);
        cluster.kill(1);
        let at = cluster.rng.random_range(2..7);
        cluster.append(at);
        cluster.run_for(2 * takeover(&cluster));
        // Only the first node may know its last value.
        let known = cluster.union();
        assert!(known.len() + 1 >= cluster.appended.len());
        cluster.assert_have(&known);
        append_for(&mut cluster, 2);
        cluster.start(0, Records::All);
        cluster.start(1, Records::All);
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
        assert!(cluster.values(6).contains(&first));
    });
}

/// A node that has lost its hub does not wait as long for the next one.
#[test]
fn with_two_dead_hubs_the_third_is_found_a_patience_later() {
    with_seeds(3, |seed| {
        let mut cluster = settled(seed, 6);
        cluster.kill(0);
        cluster.kill(1);
        cluster.append(5);
        cluster.run_for(takeover(&cluster) + patience(&cluster));
        assert_eq!(cluster.hub(5), Some(2));
    });
}

#[test]
fn a_hub_that_sleeps_misses_nothing_and_holds_nothing_up_for_long() {
    with_seeds(3, |seed| {
        let mut cluster = settled(seed, 6);
        let late = cluster.append(0);
        cluster.pause(0);
        append_for(&mut cluster, 5);
        let awake: Vec<_> = (1..6).map(|index| cluster.values(index)).collect();
        assert!(awake.iter().all(|values| values.len() + 5 >= cluster.appended.len()), "{awake:?}");
        cluster.resume(0);
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
        assert!(cluster.values(5).contains(&late));
        // And it is the hub again.
        cluster.run_for(secs(5));
        assert!((1..6).all(|index| cluster.hub(index) == Some(0)));
    });
}

#[test]
fn a_hub_that_some_cannot_reach_loses_nothing() {
    with_seeds(4, |seed| {
        let mut cluster = settled(seed, 7);
        let cut = cluster.rng.random_range(1..6);
        let (left, right) = (&[1, 2, 3, 4, 5, 6][..cut], [0]);
        match seed % 3 {
            0 => cluster.cut_between(left, &right),
            1 => cluster.cut.extend(left.iter().map(|index| (*index, 0))),
            _ => cluster.cut.extend(left.iter().map(|index| (0, *index))),
        }
        append_for(&mut cluster, 5);
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
        cluster.run_for(secs(5));
        let entries = cluster.entries_sent;
        cluster.append(3);
        cluster.run_for(secs(5));
        cluster.assert_converged();
        // Every node that the hub reaches serves every node that it does not reach.
        let entries = cluster.entries_sent - entries;
        assert!(entries <= 6 + 3 * 4, "{entries}");
    });
}

#[test]
fn a_hub_that_comes_and_goes_is_trusted_less_each_time() {
    let mut cluster = settled(3, 6);
    let mut followers = Vec::new();
    for _ in 0..7 {
        cluster.cut_between(&[0], &[1, 2, 3, 4, 5]);
        append_for(&mut cluster, 3);
        cluster.cut.clear();
        let mut seconds = 0;
        for _ in 0..10 {
            cluster.append_anywhere(1);
            cluster.run_for(secs(1));
            seconds += (1..6).filter(|index| cluster.hub(*index) == Some(0)).count();
        }
        cluster.run_for(ms(500));
        cluster.assert_converged();
        followers.push(seconds);
    }
    let (first, last) = (&followers[..3], &followers[4..]);
    assert!(2 * last.iter().sum::<usize>() < first.iter().sum(), "{followers:?}");
    assert!(followers[0] >= 40, "{followers:?}");
    // Its earlier failures are forgiven.
    cluster.run_for(secs(60));
    assert!((1..6).all(|index| cluster.hub(index) == Some(0)));
}

#[test]
fn an_introduction_that_is_lost_is_made_again() {
    with_seeds(3, |seed| {
        let mut cluster: Cluster<Set> = Cluster::new(seed, 3, Config::default(), steady(10));
        cluster.append(0);
        cluster.run_for(secs(10));
        // n1 and the others consider each other down.
        cluster.cut_between(&[1], &[0, 2]);
        cluster.append(0);
        cluster.append(1);
        cluster.run_for(secs(20));
        // n1 and n2 still do, and both have a hub.
        cluster.cut.clear();
        cluster.cut_between(&[1], &[2]);
        cluster.run_for(secs(20));
        cluster.assert_converged();
        // Now it is the other way round, and only n1 has news.
        cluster.cut.clear();
        cluster.cut_between(&[1], &[0]);
        cluster.append(1);
        while !cluster.engine(1).peers.get(&name(2)).unwrap().is_up() {
            cluster.run_for(ms(1));
        }
        assert!(!cluster.intercept(1, 2).is_empty());
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
    });
}

#[test]
fn the_loss_of_a_node_is_told_again_if_nobody_confirms_it() {
    let config = Config { period: Some(secs(4)), ..Config::default() };
    let mut cluster: Cluster<Set> = Cluster::new(3, 3, config, steady(10));
    cluster.append(0);
    cluster.run_for(secs(60));
    cluster.assert_converged();
    cluster.cut_between(&[0], &[2]);
    cluster.append(0);
    cluster.run_for(ms(7_900));
    cluster.append(0);
    while cluster.engine(0).peers.get(&name(2)).unwrap().is_up() {
        cluster.run_for(ms(1));
    }
    // The next beat is due to tell its client n1 about that. n1 sends a late or duplicate fetch,
    // and the answer is lost. No node waits for an acknowledgement of such an answer.
    let words = super::hostile::words(&cluster, 1, serde_json::json!({"fetch": {}}));
    cluster.hear(0, &name(1), &words);
    assert_eq!(cluster.intercept(0, 1).len(), 1);
    cluster.run_for(bound(&cluster));
    cluster.assert_converged();
}

/// The hub has no news and considers the node up, so it would not probe it.
#[test]
fn a_node_that_gave_up_its_hub_alone_finds_it_back_though_the_hub_is_silent() {
    let mut cluster = settled(1, 3);
    cluster.cut.insert((0, 2));
    cluster.append(2);
    cluster.run_until(secs(3), |cluster| cluster.hub(2) == Some(1));
    cluster.run_for(secs(10));
    assert!(cluster.engine(0).peers.get(&name(2)).unwrap().is_up());
    cluster.cut.clear();
    cluster.run_for(cluster.config.probe_interval + 2 * ms(DELAY_MS));
    assert_eq!(cluster.hub(2), Some(0));
}

/// Every node sends its entries to every other node. If they are many, the others fetch them.
#[test]
fn nodes_that_lose_their_hub_tell_each_other_little() {
    let mut cluster = settled(1, 3);
    cluster.kill(0);
    for _ in 0..3 * push::LITTLE_BYTES / VALUE_BYTES {
        cluster.append(1);
    }
    cluster.run_until(secs(3), |cluster| cluster.hub(1).is_none());
    let (entries, _) = cluster.under_way_from(1);
    assert!(entries > 0 && entries * VALUE_BYTES <= push::LITTLE_BYTES, "{entries} entries");
    cluster.run_for(bound(&cluster));
    cluster.assert_converged();
}
