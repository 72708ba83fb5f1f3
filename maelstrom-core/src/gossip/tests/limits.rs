//! Tests that lines respect the limits of their receivers, whatever limits the nodes have.

use super::*;
use crate::message::LINE_BYTES_MAX;

const KIB: usize = 1 << 10;

/// Nodes with these limits on lines, and batches as large as a line of the default length.
fn with_limits(limits: &[usize], log_bytes_max: usize) -> Cluster<Set> {
    let config = Config { batch_bytes_max: LINE_BYTES_MAX, log_bytes_max, ..Config::default() };
    let mut cluster = Cluster::without_nodes(5, limits.len(), config, steady(10));
    for (index, limit) in limits.iter().enumerate() {
        cluster.config.line_bytes_max = *limit;
        cluster.start(index, Records::All);
    }
    cluster
}

#[test]
fn nodes_with_different_limits_know_each_others_and_send_nothing_longer() {
    let limits = [LINE_BYTES_MAX, 8 * KIB, 64 * KIB];
    for log_bytes_max in [4 << 20, 0] {
        let mut cluster = with_limits(&limits, log_bytes_max);
        // The node that sends the first message does not know the limits of the others.
        cluster.append(0);
        cluster.run_for(secs(5));
        cluster.assert_converged();
        for (from, limit) in limits.iter().enumerate() {
            for to in (0..3).filter(|to| *to != from) {
                let known = cluster.engine(to).line_bytes_to(&name(from));
                // The other two may never have exchanged a message.
                let is_known = known.is_some() || (from != 0 && to != 0);
                assert!(is_known, "n{to} knows nothing of n{from}");
                assert_eq!(known.unwrap_or(*limit), *limit, "what n{to} knows of n{from}");
            }
        }
        // More than a line of any node but the first.
        cluster.cut_between(&[0], &[1, 2]);
        for _ in 0..3_000 {
            cluster.append(0);
        }
        cluster.run_for(secs(5));
        cluster.cut.clear();
        cluster.run_for(secs(20));
        cluster.assert_converged();
        assert_eq!(cluster.skipped, 0);
    }
}

#[test]
fn the_default_limit_takes_no_byte_of_a_message() {
    let line = |limit| {
        let mut cluster = with_limits(&[limit; 2], 4 << 20);
        cluster.append(0);
        cluster.run_for(secs(2));
        cluster.append(0);
        cluster.run_for(ms(1));
        String::from_utf8(cluster.intercept(0, 1)[0].line.clone()).unwrap()
    };
    assert!(!line(LINE_BYTES_MAX).contains("\"line\""));
    assert!(line(64 * KIB).contains("\"line\":65536,"));
}

#[test]
fn a_line_that_is_too_long_for_its_receiver_whatever_is_left_out_is_not_sent() {
    let mut cluster = with_limits(&[LINE_BYTES_MAX, 200], 4 << 20);
    cluster.append(1);
    cluster.run_for(secs(1));
    cluster.append(0);
    let before = cluster.skipped;
    cluster.run_for(secs(60));
    assert_eq!(cluster.skipped, before);
    assert!(cluster.engine(0).peers.get(&name(1)).unwrap().unsent > 0);
}
