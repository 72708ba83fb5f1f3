//! The adds of a node that ends and starts again.

use crate::cluster::{A_WHILE, Cluster};

const ALL: usize = usize::MAX;

fn three() -> Cluster {
    Cluster::new(&["n1", "n2", "n3"])
}

#[test]
fn a_node_adds_to_the_total_of_its_records() {
    for seen_by_others in [true, false] {
        let mut cluster = three();
        cluster.add("n2", 5);
        cluster.add("n2", 3);
        if seen_by_others {
            cluster.assert_all_read(8);
        }
        cluster.restart("n2", ALL);
        assert_eq!(cluster.read("n2"), 8);
        cluster.add("n2", 2);
        assert_eq!(cluster.read("n2"), 10);
        cluster.assert_all_read(10);
        let rows = |name| cluster.node(name).gossip().state().row_count();
        assert_eq!(["n1", "n2", "n3"].map(rows), [2; 3], "one for each life that added");
    }
}

#[test]
fn a_node_can_restart_again_and_again() {
    let mut cluster = three();
    for round in 1..=20 {
        cluster.add("n1", 1);
        cluster.restart("n1", ALL);
        cluster.restart("n1", ALL);
        cluster.add("n1", 1);
        assert_eq!(cluster.read("n1"), 2 * round);
    }
    cluster.assert_all_read(40);
}

#[test]
fn without_records_adds_that_others_have_seen_stay_and_new_adds_come_on_top() {
    let mut cluster = three();
    cluster.add("n1", 5);
    cluster.assert_all_read(5);
    cluster.restart("n1", 0);
    // Adds before it has heard from any other node.
    cluster.add("n1", 2);
    assert_eq!(cluster.read("n1"), 2);
    cluster.assert_all_read(7);
}

#[test]
fn without_records_adds_that_nobody_has_seen_are_gone_and_hide_nothing() {
    let mut cluster = three();
    cluster.cut_off("n1");
    cluster.run_for(A_WHILE);
    cluster.add("n1", 1_000);
    cluster.restart("n1", 0);
    cluster.heal();
    cluster.add("n1", 2);
    cluster.assert_all_read(2);
}

#[test]
fn a_node_that_has_lost_records_counts_nothing_twice_and_hides_nothing_that_it_adds_later() {
    for kept in 1..4 {
        let mut cluster = three();
        for delta in [1, 10, 100, 1_000] {
            cluster.add("n1", delta);
        }
        cluster.assert_all_read(1_111);
        cluster.restart("n1", kept);
        cluster.assert_all_read(1_111);
        for delta in [20_000, 20_000] {
            cluster.add("n1", delta);
        }
        cluster.assert_all_read(41_111);
        // Its last records are of the new row, which goes on.
        cluster.restart("n1", ALL);
        cluster.add("n1", 1);
        cluster.assert_all_read(41_112);
    }
}

/// A node answers a repeated add from memory. The reply must not overtake the record of the first
/// add.
#[test]
fn an_add_and_its_repetition_are_acknowledged_after_its_record() {
    use g_counter::GCounter;
    use maelstrom_core::gossip::Config;
    use maelstrom_core::{Clock, Output, RawNode};
    let mut node = RawNode::new(GCounter::new(Config::default()), [0; 32], true);
    let add = r#"{"type":"add","msg_id":2,"delta":5}"#;
    let init = r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}"#;
    for body in [init, add, add] {
        let line = format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#);
        node.handle_line(Clock::default(), line.as_bytes());
    }
    let outputs: Vec<_> = std::iter::from_fn(|| node.poll_output()).collect();
    let [Output::Lines(init_ok), Output::Record(record), Output::Lines(add_oks)] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    let count = |lines: &[u8]| lines.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!((count(init_ok), count(add_oks)), (1, 2));
    let mut next = RawNode::new(GCounter::new(Config::default()), [1; 32], true);
    next.recover(record).unwrap();
    assert_eq!(next.handler().gossip().state().sum(), 5);
}

#[test]
fn acknowledged_adds_are_on_the_nodes_own_disk_and_reads_need_not_be() {
    let mut cluster = three();
    cluster.add("n1", 10);
    cluster.add("n2", 5);
    cluster.assert_all_read(15);
    for name in ["n1", "n2", "n3"] {
        cluster.cut_off(name);
    }
    cluster.restart("n1", ALL);
    assert_eq!(cluster.read("n1"), 10);
    // The writer has it on its disk, so it comes back.
    cluster.heal();
    cluster.assert_all_read(15);
}

#[test]
fn a_record_that_makes_no_sense_or_comes_without_the_ones_before_is_refused() {
    use g_counter::GCounter;
    use maelstrom_core::RawNode;
    use maelstrom_core::gossip::Config;
    let good = r#"{"own":{"origin":{"node":"n1","incarnation":7},"start":0,"entries":[5]}}"#;
    for (record, is_good) in [
        (good, true),
        (&good.replace("\"start\":0", "\"start\":1"), false),
        (&good.replace("[5]", "[-5]"), false),
        ("5", false),
    ] {
        let mut node = RawNode::new(GCounter::new(Config::default()), [0; 32], true);
        assert_eq!(node.recover(record.as_bytes()).is_ok(), is_good, "{record}");
    }
}
