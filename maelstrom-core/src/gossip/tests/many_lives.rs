//! What past lives cost: nodes without a disk begin a new log each time they restart.

use super::*;

/// Restarts a node without its records so many times. Each life appends something.
fn lives<S: Values>(cluster: &mut Cluster<S>, count: usize) {
    for life in 0..count {
        let index = life % cluster.size();
        cluster.restart(index, NO_RECORDS);
        cluster.append(index);
        cluster.run_for(ms(500));
    }
}

/// Bytes for each value, of a steady load on all nodes.
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
