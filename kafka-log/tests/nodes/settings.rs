//! Nodes whose records were written with other settings, or whose peers have other settings.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_log::{Acks, Config, Retention};
use maelstrom_core::{Error, ErrorCode};
use serde_json::{Value, json};

use crate::cluster::{A_WHILE, Cluster};

fn config(partitions: u32, replication: usize) -> Config {
    Config { partitions, replication, ..Config::default() }
}

/// A lone node with four messages.
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

/// Turns a node's records into those of earlier versions, which name only the incarnation.
fn make_old(cluster: &mut Cluster) {
    let records = cluster.records("n1");
    let first = value(&records[0]);
    let incarnation = &first["replica"]["incarnation"];
    assert!(incarnation.is_u64(), "{first}");
    records[0] = json!({"incarnation": incarnation}).to_string().into_bytes();
}

/// The error with which the node does not start from its records.
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

/// If such a cluster served, a partition with only new replicas would start again, and its
/// acknowledged messages would be lost.
#[test]
fn a_cluster_of_other_nodes_serves_nothing_from_these_records() {
    for is_snapshot in [false, true] {
        let config = Config { partitions: 8, replication: 1, ..Config::default() };
        let mut cluster = Cluster::new(&["n1", "n2", "n3"], config);
        for n in 0..4 {
            cluster.send("n1", n, n);
        }
        if is_snapshot {
            cluster.compact("n1");
        }
        for name in ["n1", "n2", "n3"] {
            cluster.crash(name);
        }
        // `lin-kv` is empty in each test of Maelstrom.
        cluster.kv.clear();
        cluster.rename(&["n1", "n2", "n3", "n4", "n5"]);
        for name in ["n1", "n2", "n3"] {
            cluster.start(name);
        }
        cluster.run_for(A_WHILE);
        for request in [
            json!({"type": "send", "key": "k", "msg": 1}),
            json!({"type": "poll", "offsets": {"k": 0}}),
            json!({"type": "commit_offsets", "offsets": {"k": 0}}),
            json!({"type": "list_committed_offsets", "keys": ["k"]}),
        ] {
            let reply = cluster.ask("n1", request);
            assert_eq!(reply["code"], 11, "{reply}");
            let text = reply["text"].as_str().unwrap();
            assert!(
                text.contains("the nodes n1, n2, n3, but this one has the nodes n1, n2"),
                "{text}"
            );
        }
        // The order of the names does not matter.
        for name in ["n1", "n2", "n3"] {
            cluster.crash(name);
        }
        cluster.rename(&["n3", "n1", "n2"]);
        for name in ["n1", "n2", "n3"] {
            cluster.start(name);
        }
        cluster.run_for(A_WHILE);
        cluster.send("n1", 4, 4);
    }
}

#[test]
fn records_of_an_earlier_version_are_taken_and_from_then_on_name_the_settings() {
    let mut cluster = alone(config(4, 3));
    cluster.crash("n1");
    make_old(&mut cluster);
    let incarnation = cluster.records("n1")[0].clone();
    // Old records do not tell how many nodes should keep a partition.
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

/// Log lines of level `warn`, in memory.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<u8>>>);

impl Warnings {
    /// Collects the log lines of this thread while the guard lives.
    fn collect(&self) -> tracing::subscriber::DefaultGuard {
        let buffer = self.clone();
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN);
        let lines = lines.with_ansi(false).with_writer(move || buffer.clone());
        tracing::subscriber::set_default(lines.finish())
    }

    fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Warnings {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nodes_with_other_settings_are_named_once_by_each_node_that_meets_them() {
    for is_late in [false, true] {
        let warnings = Warnings::default();
        let _guard = warnings.collect();
        let mut cluster = Cluster::new(&["n1", "n2", "n3"], config(4, 3));
        cluster.run_for(A_WHILE);
        assert!(warnings.take().is_empty());
        cluster.crash("n2");
        cluster.lose_records("n2");
        cluster.reconfigure(config(8, 3));
        if is_late {
            cluster.cut_off("n2");
        }
        cluster.start("n2");
        cluster.run_for(Duration::from_secs(3));
        cluster.heal();
        cluster.run_for(A_WHILE);
        for n in 0..10 {
            cluster.begin("n1", json!({"type": "send", "key": "k", "msg": n}));
            cluster.run_for(Duration::from_secs(1));
        }
        // The other nodes warn of this one, and this one warns of the others.
        let lines = warnings.take();
        let with = |peer| lines.iter().filter(|line| line.contains(peer)).count();
        assert_eq!([with("peer=n1"), with("peer=n2"), with("peer=n3")], [1, 2, 1], "{lines:?}");
        for part in ["--partitions 4 --replication-factor 3", "--partitions 8 --"] {
            assert!(lines.iter().all(|line| line.contains(part)), "{lines:?}");
        }
        // The nodes know already. The next process of this node does not.
        cluster.crash("n2");
        cluster.start("n2");
        cluster.run_for(A_WHILE);
        let lines = warnings.take();
        assert!(lines.len() == 2 && !lines.concat().contains("peer=n2"), "{lines:?}");
    }
}

/// A guarantee is no stronger than the flags of the node that gives the weakest one. Records stay
/// valid with other flags of this kind, so a cluster can change them.
#[test]
fn nodes_whose_flags_weaken_a_guarantee_are_named() {
    let usual = || config(4, 3);
    let retention = |bytes_max, age_max| Retention { bytes_max, age_max, ..Retention::default() };
    let table = [
        (Config { in_sync_min: 2, ..usual() }, "--min-isr 2"),
        (Config { acks: Acks::Leader, ..usual() }, "--acks leader"),
        (Config { unclean_recovery: true, ..usual() }, "--unclean-recovery"),
        (Config { retention: retention(Some(9_000), None), ..usual() }, "--retention-bytes 9000"),
        (
            Config { retention: retention(None, Some(Duration::from_secs(3))), ..usual() },
            "--retention-time 3000ms",
        ),
    ];
    for (other, flag) in table {
        let warnings = Warnings::default();
        let _guard = warnings.collect();
        let mut cluster = Cluster::new(&["n1", "n2", "n3"], usual());
        cluster.run_for(A_WHILE);
        assert!(warnings.take().is_empty());
        cluster.crash("n2");
        cluster.reconfigure(other);
        cluster.start("n2");
        cluster.run_for(A_WHILE);
        let lines = warnings.take();
        let with = |peer| lines.iter().filter(|line| line.contains(peer)).count();
        assert_eq!([with("peer=n1"), with("peer=n2"), with("peer=n3")], [1, 2, 1], "{lines:?}");
        assert!(lines.iter().all(|line| line.contains(flag)), "{flag}: {lines:?}");
    }
}

/// Nodes of earlier versions name only the settings of their records.
#[test]
fn a_peer_that_does_not_say_its_flags_is_not_warned_of() {
    let warnings = Warnings::default();
    let _guard = warnings.collect();
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], Config { in_sync_min: 2, ..config(4, 3) });
    cluster.on_the_way = Some(|message| {
        if let Some(settings) = message["body"]["settings"].as_object_mut() {
            settings.remove("guarantees");
        }
    });
    cluster.crash("n2");
    cluster.reconfigure(config(4, 3));
    cluster.start("n2");
    cluster.run_for(A_WHILE);
    assert_eq!(warnings.take(), Vec::<String>::new());
}

#[test]
fn packets_name_the_settings_until_each_life_is_known_to_know_the_other() {
    let mut cluster = Cluster::three();
    let with_settings = |cluster: &mut Cluster| {
        let said = std::mem::take(&mut cluster.said);
        let packets = said.iter().filter(|message| message["body"]["type"] == "packet");
        let (with, without): (Vec<_>, Vec<_>) =
            packets.partition(|message| message["body"].get("settings").is_some());
        assert!(with.iter().all(|message| message["body"]["settings"]["partitions"] == 1));
        (with.len(), without.len())
    };
    cluster.send("n1", 0, 0);
    cluster.run_for(A_WHILE);
    with_settings(&mut cluster);
    cluster.send("n1", 1, 1);
    let (with, without) = with_settings(&mut cluster);
    assert!(with == 0 && without > 0, "{with} {without}");
    let follower = cluster.followers()[0];
    cluster.crash(follower);
    cluster.start(follower);
    cluster.run_for(A_WHILE);
    let (with, _) = with_settings(&mut cluster);
    assert!((4..=8).contains(&with), "one or two packets each way: {with}");
    cluster.send("n1", 2, 2);
    assert_eq!(with_settings(&mut cluster).0, 0);
}
