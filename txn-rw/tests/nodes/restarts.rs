//! Transactions of a node that ends and starts again.

use std::time::Duration;

use txn_rw::{Config, KEY_BYTES_MAX, Map};

use crate::cluster::{A_WHILE, Cluster};

const ALL: usize = usize::MAX;

fn three() -> Cluster {
    Cluster::new(&["n1", "n2", "n3"])
}

#[test]
fn a_node_comes_back_with_all_that_it_has_shown() {
    let mut cluster = three();
    cluster.txn("n1", r#"[["w",1,5],["w",2,5]]"#);
    cluster.run_for(Duration::from_secs(5));
    cluster.txn("n2", r#"[["r",1,null],["w",3,6]]"#);
    for name in ["n1", "n2"] {
        cluster.cut_off(name);
        let before = cluster.read(name, &["1", "2", "3"]);
        cluster.restart(name, ALL);
        assert_eq!(cluster.read(name, &["1", "2", "3"]), before, "{name}");
        cluster.heal();
    }
    cluster.txn("n2", r#"[["w",2,7]]"#);
    assert_eq!(cluster.all_read(&["1", "2", "3"]), ["5", "7", "6"]);
}

#[test]
fn a_node_goes_on_in_lamport_time() {
    let mut cluster = three();
    for round in 0..20 {
        let name = ["n1", "n2", "n3"][round % 3];
        cluster.txn(name, &format!(r#"[["w",1,{round}]]"#));
        cluster.restart(name, ALL);
        assert_eq!(cluster.read(name, &["1"]), [round.to_string()]);
        assert_eq!(cluster.all_read(&["1"]), [round.to_string()]);
    }
    assert_eq!(cluster.node("n1").gossip().state().visible().max(), 20);
}

#[test]
fn without_records_writes_that_others_have_seen_stay_and_the_others_are_gone() {
    let mut cluster = three();
    cluster.txn("n1", r#"[["w",1,5]]"#);
    assert_eq!(cluster.all_read(&["1"]), ["5"]);
    cluster.cut_off("n1");
    cluster.txn("n1", r#"[["w",1,6],["w",2,6]]"#);
    cluster.run_for(Duration::from_secs(5));
    cluster.restart("n1", 0);
    assert_eq!(cluster.read("n1", &["1", "2"]), ["null", "null"]);
    cluster.txn("n1", r#"[["w",3,7]]"#);
    cluster.heal();
    assert_eq!(cluster.all_read(&["1", "2", "3"]), ["5", "null", "7"]);
}

#[test]
fn of_lost_records_as_much_is_shown_as_still_makes_sense() {
    for kept in 0..5 {
        let mut cluster = three();
        for (at, name) in ["n1", "n2", "n3", "n1"].into_iter().enumerate() {
            cluster.txn(name, &format!(r#"[["w",1,{at}],["w",2,{at}]]"#));
            cluster.run_for(Duration::from_secs(5));
        }
        cluster.cut_off("n1");
        cluster.restart("n1", kept);
        let shown = cluster.read("n1", &["1", "2"]);
        assert_eq!(shown[0], shown[1], "a transaction is whole, with {kept} records");
        cluster.heal();
        assert_eq!(cluster.all_read(&["1", "2"]), ["3", "3"]);
        cluster.txn("n1", r#"[["w",2,4]]"#);
        assert_eq!(cluster.all_read(&["1", "2"]), ["3", "4"]);
    }
}

/// Each register takes almost half a line, and batches are as large as possible.
#[test]
fn large_registers_come_in_pieces_that_fit_into_lines() {
    let mut config = Config::default();
    (config.gossip.batch_bytes_max, config.gossip.log_bytes_max) = (8 << 20, 0);
    let mut cluster = Cluster::with(&["n1", "n2"], config);
    cluster.run_for(Duration::from_secs(5));
    cluster.cut_off("n2");
    // The first two are just short of a batch, so that a third one would go with them.
    for (key, bytes) in [(1, 4 << 20), (2, (4 << 20) - 150), (3, (8 << 20) - 100)] {
        cluster.txn("n1", &format!(r#"[["w",{key},"{}"]]"#, "x".repeat(bytes)));
    }
    cluster.run_for(Duration::from_secs(5));
    cluster.heal();
    cluster.run_for(A_WHILE);
    assert_eq!(cluster.node("n2").gossip().state().len(), 3);
}

/// Two other nodes go on, and each depends on the other one's transactions. The node gets the
/// missed entries in batches that are not cut along dependencies. So many transactions are held
/// that they are folded.
#[test]
fn a_node_that_was_cut_off_catches_up_though_waiting_entries_are_folded() {
    let mut config = Config::default();
    config.gossip.batch_bytes_max = 20_000;
    let names = ["n1", "n2", "n3"];
    let mut cluster = Cluster::with_held_bytes_max(&names, config, 5_000);
    cluster.txn("n1", r#"[["w",1,1]]"#);
    cluster.run_for(Duration::from_secs(5));
    cluster.cut_off("n3");
    for at in 0..800 {
        let write = |key: usize| format!(r#"["w",{},{at}]"#, key * 1_000 + at % 97);
        let writes: Vec<_> = (0..6).map(write).collect();
        cluster.txn(names[at % 2], &format!("[{}]", writes.join(",")));
        cluster.run_for(Duration::from_millis(10));
    }
    cluster.heal();
    cluster.run_for(A_WHILE);
    let map = |name: &str| cluster.node(name).gossip().state();
    assert!(map("n3").folds() > 0, "else this tests nothing");
    for name in names {
        assert_eq!((map(name).held(), map(name).clock()), (0, map("n1").clock()), "{name}");
        let rows = |name| map(name).iter().map(|(key, value, _)| (key.text(), value.text()));
        assert!(rows(name).eq(rows("n1")), "{name}");
    }
}

#[test]
fn a_record_that_makes_no_sense_or_comes_without_the_ones_before_is_refused() {
    use maelstrom_core::RawNode;
    use txn_rw::TxnRw;
    let good = r#"{"own":{"origin":{"node":"n1","incarnation":7},"start":0,"entries":[{"clock":1,"writes":[[1,5]]}]}}"#;
    for (record, is_good) in [
        (good, true),
        (&good.replace("own", "others"), true),
        (&good.replace("\"start\":0", "\"start\":1"), false),
        (&good.replace("\"clock\":1", "\"clock\":2"), false),
        (&good.replace("[[1,5]]", "5"), false),
        (r#"{"snapshot":[[],[{"registers":[],"shown":[]}]]}"#, true),
        (r#"{"snapshot":[[],[{"registers":[]}]]}"#, false),
        ("5", false),
    ] {
        let mut node = RawNode::new(TxnRw::new(Config::default()), [0; 32], true);
        assert_eq!(node.recover(record.as_bytes()).is_ok(), is_good, "{record}");
    }
}

/// The limit on keys holds for requests only. An earlier version may have written larger keys.
#[test]
fn a_larger_key_of_an_earlier_version_is_recovered_and_reaches_other_nodes() {
    let key = format!(r#"{{"a":"{}","z":1}}"#, "x".repeat(KEY_BYTES_MAX));
    let mut cluster = Cluster::new(&["n1", "n2"]);
    let origin = r#"{"node":"n1","incarnation":7}"#;
    let entry = format!(r#"{{"clock":1,"writes":[[{key},5]]}}"#);
    cluster.add_record(
        "n1",
        format!(r#"{{"own":{{"origin":{origin},"start":0,"entries":[{entry}]}}}}"#),
    );
    cluster.restart("n1", usize::MAX);
    cluster.run_for(A_WHILE);
    for name in ["n1", "n2"] {
        let map = cluster.node(name).gossip().state();
        let rows: Vec<_> = map.iter().map(|(key, value, _)| (key.text(), value.text())).collect();
        assert_eq!(rows, [(key.as_str(), "5")], "{name}");
        let read = format!(r#"{{"type":"txn","msg_id":2,"txn":[["r",{key},null]]}}"#);
        assert!(cluster.ask(name, &read).contains("\"code\":12"), "{name}");
    }
}
