use std::sync::Arc;

use serde_json::value::to_raw_value;

use super::*;
use crate::wire::{Floor, Producer};

fn id(node: &str, incarnation: u64) -> ReplicaId {
    ReplicaId { node: node.into(), incarnation }
}

fn entry(epoch: Epoch, seq: u64) -> Entry {
    let producer = Producer { node: "n1".into(), life: 1 };
    let msg: Arc<_> = to_raw_value(&seq).unwrap().into();
    Entry { epoch, producer, seq, key: "k".into(), msg }
}

/// A partition with these records.
fn recovered(records: impl IntoIterator<Item = Record>) -> Partition {
    let mut partition = Partition::new(0, Rules::default());
    for record in records {
        assert!(partition.recover(record, &Retention::default(), false));
    }
    partition
}

/// A follower of epoch 1 with `count` entries that are all committed.
fn follower(count: u64) -> Vec<Record> {
    let (partition, log_id, leader) = (0, 7, Some("n1".into()));
    let epoch = Record::Epoch { partition, log_id, epoch: 1, leader, incarnation: Some(1) };
    let entries = (0..count).map(|seq| entry(1, seq)).collect();
    vec![epoch, Record::Append { partition, at: 0, high: count, entries }]
}

/// All records of a snapshot.
fn snapshot(partition: &Partition) -> Vec<Record> {
    let (mut all, mut next) = (Vec::new(), Some(0));
    let mut add = |record: &[u8]| all.push(serde_json::from_slice(record).unwrap());
    let mut records = Records::new(&mut add);
    while let Some(at) = next {
        next = partition.snapshot(at, 100, &mut records).unwrap().1;
    }
    all
}

#[test]
fn nothing_above_the_end_of_the_log_is_committed_after_a_restart() {
    let cut = Record::Truncate { partition: 0, to: 2 };
    let more = Record::Append { partition: 0, at: 2, high: 2, entries: vec![entry(2, 9)] };
    let partition = recovered(follower(4).into_iter().chain([cut, more]));
    assert_eq!((partition.high(), partition.log().end()), (2, 3));
    // The log begins anew below its old end.
    let floor = Floor { at: 2, epoch: 1, ..Floor::default() };
    let floor = Record::Floor { partition: 0, floor };
    let more = Record::Append { partition: 0, at: 2, high: 2, entries: vec![entry(2, 9)] };
    let partition = recovered(follower(4).into_iter().chain([floor, more]));
    assert_eq!((partition.high(), partition.log().end()), (2, 3));
}

#[test]
fn a_log_that_begins_anew_below_its_old_end_has_nothing_committed_above_it() {
    let mut partition = recovered(follower(4));
    let floor = Floor { at: 2, epoch: 5, ..Floor::default() };
    let (log_id, entries, floor) = (7, vec![entry(9, 9)], Some(Box::new(floor)));
    let append = Append {
        partition: 0,
        log_id,
        epoch: UNCLEAN_EPOCHS,
        at: 2,
        prev: 5,
        high: 2,
        sole: false,
        entries,
        floor,
    };
    partition.replicate(&"n2".into(), append, &Retention::default(), Duration::ZERO);
    assert_eq!((partition.high(), partition.log().end()), (2, 3));
}

#[test]
fn the_last_leader_is_kept_when_a_newer_epoch_is_heard_of() {
    let mut partition = recovered(follower(1));
    let heard = partition.enter(7, 2, "n2".into(), Duration::ZERO).unwrap();
    let first = Some((1, id("n1", 1)));
    let holding = partition.holding();
    assert_eq!((holding.epoch, &holding.leader), (2, &first));
    let restarted = recovered(follower(1).into_iter().chain([heard]));
    assert_eq!(restarted.holding(), holding);
    assert_eq!(recovered(snapshot(&partition)).holding(), holding);
    // Until the newer leader is heard from.
    partition.learn_leader(5).unwrap();
    let second = Some((2, id("n2", 5)));
    assert_eq!(partition.holding().leader, second);
    assert_eq!(recovered(snapshot(&partition)).holding().leader, second);
}

#[test]
fn a_proposal_names_everyone_who_may_be_in_sync() {
    let mut partition = recovered(follower(1));
    let from = Metadata::first(7, id("n1", 1), [id("n2", 2)]);
    let names = |record: &Record| -> Vec<String> {
        let Record::Metadata { record, .. } = record else { panic!("{record:?}") };
        record.nodes().map(ToString::to_string).collect()
    };
    let joins = from.with(id("n3", 3));
    assert_eq!(names(&partition.propose(&from, &joins)), ["n1", "n2", "n3"]);
    // Its outcome is not known when the next one is tried.
    let leaves = from.without(|id| *id.node == *"n2").unwrap();
    let record = partition.propose(&from, &leaves);
    assert_eq!(names(&record), ["n1", "n2", "n3"]);
    assert_eq!(recovered([record]).holding().known, partition.holding().known);
    // This one came true.
    partition.know(leaves.clone());
    let next = leaves.with(id("n4", 4));
    assert_eq!(names(&partition.propose(&leaves, &next)), ["n1", "n4"]);
}

#[test]
fn a_replica_that_may_be_about_to_lead_does_not_tell_what_it_holds() {
    let mut partition = recovered(follower(1));
    assert!(partition.may_tell());
    partition.metadata.is_swapping = true;
    assert!(!partition.may_tell());
}

#[test]
fn an_epoch_that_was_proposed_is_not_used_again() {
    let mut partition = recovered(follower(1));
    let from = Metadata::first(7, id("n1", 1), [id("n2", 2)]);
    let to = from.taken_over(&id("n2", 2), |_| false).unwrap();
    assert_eq!((to.epoch, partition.next_epoch()), (2, 2));
    partition.propose(&from, &to);
    assert_eq!(partition.next_epoch(), 3);
}
