//! Nodes whose records were written with other settings.

use kafka_log::Config;
use maelstrom_core::{Error, ErrorCode};
use serde_json::{Value, json};

use crate::cluster::Cluster;

fn config(partitions: u32, replication: usize) -> Config {
    Config { partitions, replication, ..Config::default() }
}

/// A lone node that has four messages.
fn alone(config: Config) -> Cluster {
    let mut cluster = Cluster::new(&["n1"], config);
    for n in 0..4 {
        cluster.send("n1", n, n);
    }
    cluster
}

fn value(record: &[u8]) -> Value {
    serde_json::from_slice(record).unwrap()
}

/// Makes of a node's records what earlier versions wrote: they name the incarnation only.
fn make_old(cluster: &mut Cluster) {
    let records = cluster.records("n1");
    let first = value(&records[0]);
    let incarnation = &first["replica"]["incarnation"];
    assert!(incarnation.is_u64(), "{first}");
    records[0] = json!({"incarnation": incarnation}).to_string().into_bytes();
}

/// Why the node does not start from its records.
fn refusal(cluster: &Cluster, config: Config) -> String {
    let Error { code, text } = cluster.recovered("n1", config).unwrap_err();
    assert_eq!(code, ErrorCode::PreconditionFailed, "{text}");
    text.into_owned()
}

#[test]
fn records_are_refused_with_other_settings_and_go_on_with_their_own() {
    for is_snapshot in [false, true] {
        let mut cluster = alone(config(4, 3));
        if is_snapshot {
            cluster.compact("n1");
        }
        cluster.crash("n1");
        for other in [config(8, 3), config(4, 2), config(1, 1)] {
            let settings = format!(
                "--partitions {} --replication-factor {}",
                other.partitions, other.replication
            );
            let text = refusal(&cluster, other);
            assert!(text.contains("--partitions 4 --replication-factor 3"), "{text}");
            assert!(text.contains(&settings), "{text}");
        }
        cluster.start("n1");
        cluster.send("n1", 4, 4);
    }
}

#[test]
fn the_first_record_names_the_settings_and_no_later_one_does() {
    let mut cluster = alone(config(4, 3));
    cluster.crash("n1");
    cluster.start("n1");
    cluster.send("n1", 4, 4);
    let names_them = |record: &Vec<u8>| value(record).get("replica").is_some();
    let which: Vec<bool> = cluster.records("n1").iter().map(names_them).collect();
    assert!(which[0] && !which[1..].contains(&true), "{which:?}");
}

#[test]
fn records_of_an_earlier_version_are_taken_and_from_then_on_name_the_settings() {
    let mut cluster = alone(config(4, 3));
    cluster.crash("n1");
    make_old(&mut cluster);
    let incarnation = cluster.records("n1")[0].clone();
    // They do not tell how many nodes were to keep a partition.
    assert!(cluster.recovered("n1", config(4, 2)).is_ok());
    cluster.start("n1");
    cluster.send("n1", 4, 4);
    cluster.crash("n1");
    let text = refusal(&cluster, config(4, 2));
    assert!(text.contains("--replication-factor 3"), "{text}");
    let records = cluster.records("n1");
    assert_eq!(records[0], incarnation);
    let stamp = records.iter().find_map(|record| value(record).get("replica").cloned()).unwrap();
    assert_eq!(stamp["incarnation"], value(&incarnation)["incarnation"], "it is the same replica");
    cluster.start("n1");
    cluster.send("n1", 5, 5);
}

#[test]
fn records_of_an_earlier_version_are_refused_if_a_key_would_be_in_another_partition() {
    let mut cluster = alone(config(64, 3));
    cluster.crash("n1");
    make_old(&mut cluster);
    let text = refusal(&cluster, config(1, 3));
    assert!(text.contains("--partitions 1"), "{text}");
    let others = [2, 5, 63, 65, 1_000].map(|n| cluster.recovered("n1", config(n, 3)).is_err());
    assert!(others.contains(&true), "{others:?}");
    assert!(cluster.recovered("n1", config(64, 3)).is_ok());
}
