//! Checks that each cause names the operations that prove it.

use std::collections::BTreeSet;

use super::history;
use crate::checker::txn::{self, Model};
use crate::checker::{WorkloadResults, counter, set_full};
use crate::workload::{echo, kafka, lin_kv, unique_ids};

/// Asserts that the cause contains `cause`, and that these events prove it.
fn proves(results: &WorkloadResults, cause: &str, evidence: &[usize]) {
    let text = results.cause.as_deref().unwrap_or_default();
    assert!(text.contains(cause), "{text}");
    assert_eq!(results.evidence, evidence, "{text}");
}

#[test]
fn of_a_set_the_adding_and_the_reads_around_the_loss() {
    let text = "0 1 invoke add 1
                1 1 ok add 1
                2 2 invoke read null
                3 2 ok read [1]
                4 2 invoke read null
                5 2 ok read []";
    proves(&set_full::check(&history(text), "add"), "1 is lost", &[0, 1, 3, 5]);
    let phantom = "0 2 invoke read null\n1 2 ok read [7]";
    proves(&set_full::check(&history(phantom), "add"), "nobody added it", &[1]);
    // The first such read, whatever other reads show.
    let twice = "0 2 invoke read null
                 1 1 invoke add 1
                 2 2 ok read []
                 3 1 ok add 1
                 4 2 invoke read null
                 5 2 ok read [1,1]
                 6 2 invoke read null
                 7 2 ok read [1,1,1]";
    proves(&set_full::check(&history(twice), "add"), "twice", &[1, 5]);
}

#[test]
fn of_a_counter_the_read() {
    let text = "0 1 invoke add 1\n1 1 ok add 1\n2 2 invoke read null\n3 2 ok read 5";
    proves(&counter::check(&history(text)), "more than all adds", &[3]);
}

#[test]
fn of_echoes_and_ids_the_wrong_answers() {
    let echoes = "0 1 invoke echo 1\n1 1 ok echo 1\n2 1 invoke echo 2\n3 1 ok echo 3";
    proves(&echo::check(&history(echoes)), "differ", &[3]);
    let ids = "0 1 invoke generate null
               1 1 ok generate 7
               2 1 invoke generate null
               3 1 ok generate 8
               4 1 invoke generate null
               5 1 ok generate 7";
    proves(&unique_ids::check(&history(ids)), "came 2 times", &[1, 5]);
}

#[test]
fn of_a_register_the_operation_that_fits_nowhere_first() {
    let text = "0 1 invoke write [7,1]
                1 1 ok write [7,1]
                2 1 invoke write [7,2]
                3 1 ok write [7,2]
                4 2 invoke read [7,null]
                5 2 ok read [7,1]";
    proves(&lin_kv::check(&history(text)), "not linearizable", &[5, 3, 1]);
}

/// Indices into a log are not indices into the history, and nodes choose values.
#[test]
fn of_a_lost_message_its_send_and_the_poll_that_passed_it_over() {
    let text = r#"0 1 invoke send ["a",{"index":0,"process":9}]
                  1 1 ok send ["a",[7,{"index":0,"process":9}]]
                  2 1 invoke send ["a",2]
                  3 1 ok send ["a",[8,2]]
                  4 2 invoke assign {"keys":["a"]}
                  5 2 ok assign {"keys":["a"]}
                  6 2 invoke poll null
                  7 2 ok poll {"a":[[8,2]]}"#;
    proves(&kafka::check(&history(text), &[]), "lost-write", &[7, 1]);
}

#[test]
fn of_transactions_those_of_the_cycle_which_depend_on_each_other() {
    let text = r#"0 1 invoke txn [["r",1,null],["w",1,1]]
                  0 2 invoke txn [["r",1,null],["w",1,2]]
                  1 1 ok txn [["r",1,null],["w",1,1]]
                  1 2 ok txn [["r",1,null],["w",1,2]]"#;
    let results = txn::check(&history(text), &BTreeSet::from([Model::Serializable]));
    assert_eq!(results.evidence.iter().copied().collect::<BTreeSet<_>>(), [2, 3].into());
    let cycle = "0 1 invoke txn [[\"r\",1,null],[\"w\",2,1]]
                 0 2 invoke txn [[\"r\",2,null],[\"w\",1,1]]
                 1 1 ok txn [[\"r\",1,null],[\"w\",2,1]]
                 1 2 ok txn [[\"r\",2,null],[\"w\",1,1]]";
    let results = txn::check(&history(cycle), &BTreeSet::from([Model::Serializable]));
    let edges: Vec<_> = results.dependencies.iter().map(|edge| (edge.from, edge.to)).collect();
    assert!(
        edges.contains(&(Some(2), Some(3))) && edges.contains(&(Some(3), Some(2))),
        "{edges:?}"
    );
    assert_eq!(results.explanation.len(), edges.len());
}
