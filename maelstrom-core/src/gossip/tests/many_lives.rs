//! Measures the cost of past lives: a node without a disk begins a new log each time it restarts.

use super::*;

/// Restarts a node without its records, `count` times. Each life appends something.
fn lives<S: Values>(cluster: &mut Cluster<S>, count: usize) {
    for life in 0..count {
        let index = life % cluster.size();
        cluster.restart(index, NO_RECORDS);
        cluster.append(index);
        cluster.run_for(secs(1));
    }
}

/// The bytes per value under a steady load on all nodes.
fn bytes_per_value<S: Values>(cluster: &mut Cluster<S>) -> usize {
    cluster.run_for(secs(10));
    cluster.bytes_sent = 0;
    for index in (0..cluster.size()).cycle().take(100) {
        cluster.append(index);
        cluster.run_for(ms(20));
    }
    cluster.run_for(secs(10));
    cluster.assert_converged();
    cluster.bytes_sent / 100
}

fn costs_no_more_after_many_lives<S: Values>(count: usize) {
    let config = Config::default;
    let fresh = bytes_per_value(&mut Cluster::<S>::new(0, 3, config(), steady(10)));
    let mut cluster = Cluster::<S>::new(0, 3, config(), steady(10));
    lives(&mut cluster, count);
    let old = bytes_per_value(&mut cluster);
    println!("{fresh} bytes a value on fresh nodes, {old} after {count} restarts");
    assert!(old <= fresh * 2, "{old} instead of {fresh}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test has no other command line")]
fn past_lives_take_no_bytes_of_a_message() {
    let count = std::env::var("LIVES").map_or(60, |text| text.parse().unwrap());
    costs_no_more_after_many_lives::<Set>(count);
    costs_no_more_after_many_lives::<Sums>(count);
}

/// The receiver adopts the version of a snapshot, so it must receive the whole version.
#[test]
fn a_message_that_brings_a_piece_of_a_snapshot_names_all_rows() {
    let config = Config { batch_bytes_max: 4 * VALUE_BYTES, log_bytes_max: 0, ..Config::default() };
    let mut cluster: Cluster<Set> = Cluster::new(3, 2, config, steady(10));
    lives(&mut cluster, 12);
    cluster.run_for(secs(10));
    cluster.cut_between(&[0], &[1]);
    (0..20).for_each(|_| _ = cluster.append(0));
    cluster.run_for(secs(3));
    cluster.cut.clear();
    let (mut pieces, mut in_short, until) = (0, 0, cluster.now + secs(60));
    while !cluster.is_converged() {
        assert!(cluster.now < until, "the nodes never converge");
        cluster.run_for(ms(1));
        for packet in cluster.intercept(0, 1) {
            let has = |field: &[u8]| packet.line.windows(field.len()).any(|part| part == field);
            let (is_piece, is_short) = (has(br#""piece":"#), has(br#""rest":"#));
            assert!(!is_piece || !is_short);
            pieces += usize::from(is_piece);
            in_short += usize::from(is_short);
            cluster.deliver(packet);
        }
    }
    assert!(pieces > 0 && in_short > 0, "{pieces} pieces, {in_short} other messages in short");
}
