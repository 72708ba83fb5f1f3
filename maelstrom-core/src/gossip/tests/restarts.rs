//! Tests nodes that fail, and restart with their records or empty.

use super::*;

/// A storm in which nodes also fail, and stay down for a while. `keep` returns the records with
/// which they restart. Node 0 never fails.
fn storm_with_deaths<S: Values>(
    cluster: &mut Cluster<S>,
    keep: impl Fn(&mut Cluster<S>) -> Records,
) {
    for _ in 0..8 {
        cut_anything(cluster, 0.3);
        let dead = cluster.rng.random_range(1..cluster.size());
        cluster.append_anywhere(2);
        let pause = cluster.rng.random_range(0..300);
        cluster.run_for(ms(pause));
        cluster.kill(dead);
        cluster.append_anywhere(2);
        let pause = cluster.rng.random_range(0..3) * cluster.rng.random_range(0..1_500);
        cluster.run_for(ms(pause));
        let records = keep(cluster);
        cluster.start(dead, records);
        let pause = cluster.rng.random_range(0..800);
        cluster.run_for(ms(pause));
    }
}

#[test]
fn nodes_that_come_back_with_their_records_lose_nothing_at_all() {
    with_seeds(6, |seed| {
        let mut cluster: Cluster<Set> = any_cluster(seed);
        storm_with_deaths(&mut cluster, |_| Records::All);
        calm_down(&mut cluster);
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
    });
}

#[test]
fn nodes_that_come_back_empty_lose_nothing_that_somebody_has() {
    with_seeds(6, |seed| {
        let mut cluster: Cluster<Set> = any_cluster(seed);
        storm_with_deaths(&mut cluster, |_| NO_RECORDS);
        calm_down(&mut cluster);
        let known = cluster.union();
        cluster.run_for(bound(&cluster));
        cluster.assert_have(&known);
    });
}

#[test]
fn cumulative_entries_survive_restarts() {
    with_seeds(5, |seed| {
        let mut cluster: Cluster<Sums> = any_cluster(seed);
        let any = |cluster: &mut Cluster<Sums>| {
            if cluster.rng.random_bool(0.5) { Records::All } else { NO_RECORDS }
        };
        storm_with_deaths(&mut cluster, any);
        calm_down(&mut cluster);
        let known = cluster.union();
        cluster.run_for(bound(&cluster));
        cluster.assert_have(&known);
    });
}

/// A cluster whose last node will restart. The others have `values` values in batches of four. They
/// keep them in their logs if `log_bytes_max` allows it.
fn with_a_past(seed: u64, size: usize, values: usize, log_bytes_max: usize) -> Cluster<Set> {
    let config = Config { batch_bytes_max: 4 * VALUE_BYTES, log_bytes_max, ..Config::default() };
    let mut cluster = Cluster::new(seed, size, config, steady(10));
    cluster.run_for(secs(3));
    for _ in 0..values {
        cluster.append_anywhere(1);
        cluster.run_for(ms(100));
    }
    cluster.run_for(secs(10));
    cluster.assert_converged();
    (cluster.fetches_sent, cluster.pieces_sent, cluster.messages_sent) = (0, 0, 0);
    cluster
}

#[test]
fn an_empty_node_catches_up_piece_by_piece_from_one_node_at_a_time() {
    for log_bytes_max in [1 << 20, 0] {
        for back in 0..3 {
            let mut cluster = with_a_past(1, 3, 100, log_bytes_max);
            cluster.restart(back, NO_RECORDS);
            // The node is silent at first. Then there are 25 batches, in windows of 1, 2, 4, 8 and
            // the rest.
            let took = cluster.run_until(secs(10), |cluster| cluster.values(back).len() == 100);
            let silence = 2 * cluster.config.probe_interval;
            assert!(took <= silence + 2 * ms(20) + 5 * ms(20), "{took:?}");
            cluster.run_for(secs(20));
            cluster.assert_converged();
            let (fetches, pieces) = (cluster.fetches_sent, cluster.pieces_sent);
            assert!((5..=6).contains(&fetches), "{fetches} fetches");
            assert_eq!(pieces > 0, log_bytes_max == 0);
            assert!(pieces <= 26, "{pieces} pieces");
            assert_eq!(cluster.messages_in(secs(60)), 0);
        }
    }
}

#[test]
fn a_node_that_was_cut_off_for_long_catches_up_as_well() {
    for (log_bytes_max, away) in [(1 << 20, 0), (1 << 20, 2), (0, 0), (0, 2), (2_000, 1)] {
        let mut cluster = with_a_past(2, 4, 10, log_bytes_max);
        cluster.cut_between(&[away], &[0, 1, 2, 3]);
        for _ in 0..50 {
            cluster.append_anywhere(4);
            cluster.run_for(ms(200));
        }
        cluster.cut.clear();
        cluster.run_for(secs(1) + bound(&cluster));
        cluster.assert_converged();
    }
}

/// In its new life, its views are counted from the beginning.
#[test]
fn the_hub_of_an_earlier_life_does_not_serve_the_next_one() {
    let mut cluster = with_a_past(4, 5, 5, 1 << 20);
    cluster.cut_between(&[0], &[1, 2, 3, 4]);
    cluster.append(3);
    cluster.run_for(secs(5));
    assert_eq!(cluster.hub(4), Some(1));
    cluster.cut.clear();
    cluster.restart(4, Records::All);
    cluster.run_for(secs(10));
    let entries = cluster.entries_sent;
    for _ in 0..5 {
        cluster.append(0);
        cluster.run_for(secs(3));
        cluster.assert_converged();
    }
    assert_eq!(cluster.entries_sent - entries, 5 * 4, "each gets each once");
}

#[test]
fn a_node_that_restarts_appends_to_a_new_log_and_keeps_the_old_one() {
    for records in [Records::All, NO_RECORDS] {
        let mut cluster = with_a_past(3, 3, 30, 1 << 20);
        let before = cluster.engine(1).origin.clone();
        let count = cluster.version(1).get(&before);
        assert!(count > 0);
        cluster.restart(1, records);
        cluster.run_for(secs(5));
        cluster.append(1);
        cluster.append(1);
        cluster.run_for(secs(5));
        cluster.assert_converged();
        let after = cluster.engine(1).origin.clone();
        assert_ne!(after, before);
        assert_eq!(after.node, before.node);
        let version = cluster.version(0);
        assert_eq!((version.get(&before), version.get(&after)), (count, 2));
    }
}

/// The folder is an older copy, and a client's request arrives before a message of another node.
#[test]
fn a_node_that_lost_records_loses_nothing_that_it_appends_at_once() {
    with_seeds(4, |seed| {
        let mut cluster = with_a_past(seed, 4, 30, 1 << 20);
        let back = cluster.rng.random_range(0..4);
        let count = cluster.version(back).get(&cluster.engine(back).origin);
        let kept = cluster.rng.random_range(1..count);
        let known = cluster.union();
        cluster.restart(back, Records::First(usize::try_from(kept).unwrap()));
        cluster.append(back);
        cluster.append_anywhere(2);
        let appended = cluster.union();
        cluster.run_for(secs(5));
        cluster.assert_converged();
        cluster.assert_have(&known);
        cluster.assert_have(&appended);
    });
}

/// An earlier life lost records of its own log. It got them back with a snapshot, and then got more
/// of that log.
#[test]
fn a_snapshot_on_record_brings_the_missing_entries_of_the_own_log() {
    let mut gossip: Gossip<Set> = Gossip::new(Config::default(), Set::default());
    let origin = Origin { node: "n1".into(), incarnation: 5 };
    let run = |start, entries: &[u32]| {
        let entries = entries.to_vec();
        Run { origin: origin.clone(), start, entries }
    };
    let version = VersionVector::from(vec![("n1".into(), 5, 10)]);
    let (own, others) = (run(0, &[1, 2]), run(10, &[3]));
    let parts = [vec![90_u32], vec![91], vec![3, 4], vec![5, 6]];
    let records: [RecordRef<'_, Set>; 7] = [
        RecordRef::Own(&own),
        // The node failed before it had the other parts of this snapshot.
        RecordRef::Part(0, &parts[0]),
        RecordRef::Part(1, &parts[1]),
        RecordRef::Part(0, &parts[2]),
        RecordRef::Part(1, &parts[3]),
        RecordRef::Whole(&version),
        RecordRef::Others(&others),
    ];
    for record in records {
        gossip.recover(&serde_json::to_vec(&record).unwrap()).unwrap();
    }
    assert_eq!(gossip.replica().version().get(&origin), 11);
    assert_eq!(gossip.state().values(), (1..=6).collect());
    let late = serde_json::to_vec(&RecordRef::<Set>::Part(1, &parts[0])).unwrap();
    assert!(gossip.recover(&late).is_err(), "the first part is missing");
}

#[test]
fn a_record_that_is_out_of_place_is_refused() {
    let mut gossip: Gossip<Set> = Gossip::new(Config::default(), Set::default());
    let record = |start| {
        let origin = Origin { node: "n1".into(), incarnation: 5 };
        let run = Run { origin, start, entries: vec![7_u32] };
        serde_json::to_vec(&RecordRef::<Set>::Own(&run)).unwrap()
    };
    assert!(gossip.recover(&record(1)).is_err());
    assert!(gossip.recover(b"{}").is_err());
    assert_eq!(gossip.state().values().len(), 0);
    gossip.recover(&record(0)).unwrap();
    assert_eq!(gossip.state().values().len(), 1);
}

/// Node 1 fails, and messages of its life arrive only after it has restarted empty.
#[test]
fn a_late_message_of_an_earlier_life_does_not_count_for_the_new_one() {
    with_seeds(5, |seed| {
        let size = 2 + usize::try_from(seed % 2).unwrap();
        let mut cluster = with_a_past(seed, size, 20, 1 << 20);
        let teller = if seed % 4 < 2 { 0 } else { 1 };
        let back = 1 - teller;
        cluster.append(teller);
        cluster.run_until(secs(3), |cluster| cluster.values(back).len() == 21);
        // Its acknowledgement, and the values that it appends itself.
        cluster.append(back);
        cluster.append(back);
        cluster.run_for(ms(1));
        let mut late = cluster.intercept(back, teller);
        for _ in 0..100 {
            cluster.run_for(ms(5));
            late.extend(cluster.intercept(back, teller));
        }
        assert!(!late.is_empty());
        cluster.restart(back, NO_RECORDS);
        let pause = cluster.rng.random_range(0..1_500);
        let known = cluster.union();
        for packet in late.drain(..late.len() / 2) {
            cluster.deliver(packet);
        }
        cluster.run_for(ms(pause));
        for packet in late {
            cluster.deliver(packet);
        }
        cluster.run_for(bound(&cluster));
        cluster.assert_have(&known);
        assert!(cluster.messages_in(secs(60)) <= 10);
        let silent = cluster.messages_in(secs(60));
        assert_eq!(silent, 0, "it goes on talking");
    });
}
