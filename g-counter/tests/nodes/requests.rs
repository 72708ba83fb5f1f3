//! Requests of clients, and their replies.

use std::time::Duration;

use g_counter::RETRIES_KEPT;

use crate::cluster::Cluster;

fn alone() -> Cluster {
    Cluster::new(&["n1"])
}

/// The reply to an add, with these fields at the end of the body.
fn add(cluster: &mut Cluster, fields: &str) -> String {
    cluster.ask("n1", &format!(r#"{{"type":"add","msg_id":2{fields}}}"#))
}

#[test]
fn a_node_counts_the_adds_of_its_clients() {
    let mut cluster = alone();
    assert_eq!(cluster.read("n1"), 0);
    for delta in [3, 0, 4, u64::from(u32::MAX)] {
        cluster.add("n1", delta);
    }
    assert_eq!(cluster.read("n1"), 7 + u128::from(u32::MAX));
}

#[test]
fn an_add_of_nothing_is_acknowledged_and_nothing_is_kept_or_said() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.run_for(Duration::from_secs(5));
    cluster.add("n1", 0);
    assert_eq!(cluster.records("n1"), 0);
    assert!(cluster.run_for(Duration::from_secs(5)).is_empty());
}

#[test]
fn a_delta_that_is_no_count_is_refused_by_name_and_changes_nothing() {
    let mut cluster = alone();
    for delta in [
        "-1",
        "-9223372036854775808",
        "1.5",
        "1.0",
        "1e3",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "1e400",
        "\"7\"",
        "null",
        "true",
        "[1]",
        "{}",
    ] {
        let reply = add(&mut cluster, &format!(r#","delta":{delta}"#));
        let error = r#"{"type":"error","in_reply_to":2,"code":12,"text":"field `delta`: "#;
        assert!(reply.starts_with(error), "{delta}: {reply}");
    }
    let missing = r#"{"type":"error","in_reply_to":2,"code":12,"text":"missing field `delta`"}"#;
    assert_eq!(add(&mut cluster, ""), missing);
    assert_eq!(add(&mut cluster, r#","value":3"#), missing);
    assert_eq!((cluster.read("n1"), cluster.records("n1")), (0, 0));
}

#[test]
fn an_add_beyond_a_nodes_largest_total_is_refused_for_good_and_changes_nothing() {
    let mut cluster = alone();
    cluster.add("n1", u64::MAX - 1);
    let refused = r#"{"type":"error","in_reply_to":2,"code":22,"text":"field `delta`: 2 more is "#;
    for _again in 0..2 {
        let reply = add(&mut cluster, r#","delta":2"#);
        assert!(reply.starts_with(refused), "{reply}");
        assert_eq!((cluster.read("n1"), cluster.records("n1")), (u128::from(u64::MAX) - 1, 1));
    }
    // A smaller add still fits, even with the same message id: no add was counted under it.
    assert_eq!(add(&mut cluster, r#","delta":1"#), r#"{"type":"add_ok","in_reply_to":2}"#);
    cluster.add("n1", 0);
    assert_eq!(cluster.read("n1"), u128::from(u64::MAX));
}

#[test]
fn a_sum_beyond_64_bits_has_all_its_digits_on_every_node() {
    let mut cluster = Cluster::new(&["n1", "n2", "n3"]);
    for name in ["n1", "n2", "n3"] {
        cluster.add(name, u64::MAX);
    }
    cluster.assert_all_read(3 * u128::from(u64::MAX));
    assert_eq!(
        cluster.ask("n2", r#"{"type":"read","msg_id":5}"#),
        r#"{"type":"read_ok","in_reply_to":5,"value":55340232221128654845}"#
    );
}

#[test]
fn a_repeated_add_is_acknowledged_again_and_counted_once() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    for _again in 0..3 {
        cluster.add_as("n1", "c1", 7, 5);
    }
    cluster.assert_all_read(5);
    cluster.add_as("n1", "c1", 7, 5);
    cluster.assert_all_read(5);
    assert_eq!(cluster.records("n1"), 1);
    assert_eq!(cluster.metric("n1", "g_counter_recent_adds"), 1.0);
    assert_eq!(cluster.metric("n1", "g_counter_repeated_adds_total"), 3.0);
}

#[test]
fn adds_of_other_names_count_each() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.add_as("n1", "c1", 7, 1);
    cluster.add_as("n1", "c1", 8, 10);
    cluster.add_as("n1", "c2", 7, 100);
    // Another node cannot recognize the request.
    cluster.add_as("n2", "c1", 7, 1_000);
    // A request of another type is no add, either.
    cluster.ask("n1", r#"{"type":"read","msg_id":9}"#);
    cluster.add_as("n1", "c1", 9, 10_000);
    cluster.assert_all_read(11_111);
}

#[test]
fn an_add_that_wants_no_reply_gets_none_and_counts_each_time() {
    let mut cluster = alone();
    for _again in 0..2 {
        assert!(cluster.send("n1", "c1", r#"{"type":"add","delta":5}"#).is_empty());
    }
    assert_eq!(cluster.read("n1"), 10);
}

#[test]
fn as_many_adds_as_promised_are_known_again_and_no_more() {
    let mut cluster = alone();
    let last = RETRIES_KEPT as u64 + 1;
    for msg_id in 1..=last {
        cluster.add_as("n1", "c1", msg_id, 1);
    }
    for msg_id in [2, 3, last] {
        cluster.add_as("n1", "c1", msg_id, 1);
    }
    assert_eq!(cluster.read("n1"), u128::from(last));
    // The first add has been forgotten. It counts again, and displaces the second one.
    cluster.add_as("n1", "c1", 1, 1);
    cluster.add_as("n1", "c1", 1, 1);
    assert_eq!(cluster.read("n1"), u128::from(last) + 1);
    cluster.add_as("n1", "c1", 2, 1);
    assert_eq!(cluster.read("n1"), u128::from(last) + 2);
}

/// The memory of recent requests is limited in bytes, too.
#[test]
fn fewer_adds_are_known_again_where_the_names_of_clients_are_long() {
    let mut cluster = alone();
    let client = "c".repeat(1 << 20);
    for msg_id in 1..=6 {
        cluster.add_as("n1", &client, msg_id, 1);
    }
    cluster.add_as("n1", &client, 6, 1);
    assert_eq!(cluster.read("n1"), 6, "the last one is known");
    cluster.add_as("n1", &client, 1, 1);
    assert_eq!(cluster.read("n1"), 7, "the first one is forgotten");
}

#[test]
fn gossip_of_a_client_is_refused() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.add("n2", 5);
    let mut body = cluster.run_for(Duration::from_secs(5)).swap_remove(0);
    body["msg_id"] = 2.into();
    body["runs"][0]["entries"][0] = 1_000.into();
    let reply = cluster.ask("n1", &body.to_string());
    assert!(reply.starts_with(r#"{"type":"error","in_reply_to":2,"code":12,"#), "{reply}");
    assert_eq!(cluster.read_all(), [5, 5]);
}

#[test]
fn a_snapshot_is_refused_and_its_promised_adds_come_as_an_entry() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.run_for(Duration::from_secs(5));
    cluster.cut_off("n1");
    cluster.add("n2", 5);
    let mut body = cluster.run_for(Duration::ZERO).swap_remove(0);
    body["runs"] = serde_json::json!([]);
    body["piece"] = serde_json::json!({ "position": 0, "part": null });
    cluster.heal();
    cluster.send("n1", "n2", &body.to_string());
    assert_eq!(cluster.read("n1"), 0);
    cluster.assert_all_read(5);
}

#[test]
fn however_many_adds_there_are_a_message_holds_one_total() {
    let mut cluster = Cluster::new(&["n1", "n2"]);
    cluster.run_for(Duration::from_secs(5));
    for _ in 0..1_000 {
        cluster.add("n2", 3);
    }
    let sent = cluster.run_for(Duration::from_secs(5));
    let totals: Vec<_> = sent.iter().flat_map(|body| body["runs"].as_array()).flatten().collect();
    // The first add leaves at once, the others together.
    assert_eq!(totals.len(), 2);
    assert!(totals.iter().all(|run| run["entries"].as_array().unwrap().len() == 1));
    assert!(sent.len() <= 4, "{sent:?}");
    assert_eq!(cluster.read_all(), [3_000, 3_000]);
    // A node does not keep more than that, either.
    for name in ["n1", "n2"] {
        assert!(cluster.node(name).gossip().replica().log_bytes() < 100);
    }
}
