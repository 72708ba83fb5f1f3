//! A partition on one node: its epochs, its high watermark, and changes of its leader.

use std::sync::Arc;

use serde_json::value::to_raw_value;

use maelstrom_core::Records;

use super::*;
use crate::leader::Next;
use crate::queue::Budget;
use crate::wire::{Floor, FloorPart, Producer};

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

/// A follower of epoch 1 with `count` entries, all of them committed.
fn follower(count: u64) -> Vec<Record> {
    let (partition, log_id, leader) = (0, 7, Some("n1".into()));
    let epoch =
        Record::Epoch { partition, log_id, epoch: 1, leader, incarnation: Some(1), matched: false };
    let entries = (0..count).map(|seq| entry(1, seq)).collect();
    vec![epoch, Record::Append { partition, at: 0, high: count, entries }]
}

/// All records of a snapshot.
fn snapshot(partition: &Partition) -> Vec<Record> {
    let (mut all, mut next) = (Vec::new(), Some(0));
    let mut add = |record: &[u8]| all.push(serde_json::from_slice(record).unwrap());
    let mut records = Records::new(&mut add);
    while let Some(at) = next {
        next = partition.snapshot(at, 100, &mut records).unwrap();
    }
    all
}

#[test]
fn nothing_above_the_end_of_the_log_is_committed_after_a_restart() {
    let cut = Record::Truncate { partition: 0, to: 2 };
    let more = Record::Append { partition: 0, at: 2, high: 2, entries: vec![entry(2, 9)] };
    let partition = recovered(follower(4).into_iter().chain([cut, more]));
    assert_eq!((partition.high(), partition.log().end()), (2, 3));
    // The log starts again below its old end.
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
    let part = FloorPart { number: 1, after: 0, more: false, floor };
    let (log_id, entries, floor) = (7, vec![entry(9, 9)], Some(Box::new(part)));
    let append = Append {
        partition: 0,
        log_id,
        epoch: UNCLEAN_EPOCHS,
        at: 2,
        prev: 5,
        high: 2,
        sole_follower: false,
        entries,
        floor,
        requests: Vec::new(),
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
    // Now the newer leader has been heard from.
    partition.learn_leader(5).unwrap();
    let second = Some((2, id("n2", 5)));
    assert_eq!(partition.holding().leader, second);
    assert_eq!(recovered(snapshot(&partition)).holding().leader, second);
}

/// Otherwise a log with entries that its leader lacks would count as one of the leader's epoch.
#[test]
fn a_follower_records_that_its_log_matches_after_it_has_truncated_it() {
    let [epoch, _] = <[Record; 2]>::try_from(follower(0)).unwrap();
    let entries = (0..3).map(|seq| entry(1, seq)).collect();
    let first = [epoch, Record::Append { partition: 0, at: 0, high: 1, entries }];
    let mut partition = recovered(first.clone());
    assert_eq!(partition.holding().matched, 0);
    let append = Append {
        partition: 0,
        log_id: 7,
        epoch: 2,
        at: 1,
        prev: 1,
        high: 1,
        sole_follower: false,
        entries: Vec::new(),
        floor: None,
        requests: Vec::new(),
    };
    let retention = Retention::default();
    let records = partition.replicate(&"n2".into(), append.clone(), &retention, Duration::ZERO);
    let at = |is: fn(&Record) -> bool| records.iter().position(is).unwrap();
    let truncated = at(|record| matches!(record, Record::Truncate { to: 1, .. }));
    let matched = at(|record| matches!(record, Record::Epoch { matched: true, .. }));
    assert!(truncated < matched, "{records:?}");
    let restarted = |records: &[Record]| recovered([&first, records].concat()).holding();
    assert_eq!((restarted(&records).matched, restarted(&records)), (2, partition.holding()));
    assert_eq!(restarted(&records[..matched]).matched, 0);
    // It records this once, and keeps it when it hears of a newer epoch.
    assert!(
        partition.replicate(&"n2".into(), append, &retention, Duration::ZERO).is_empty(),
        "nothing is new"
    );
    let heard = partition.enter(7, 3, "n3".into(), Duration::ZERO);
    assert_eq!(partition.holding().matched, 2);
    assert_eq!(recovered(snapshot(&partition)).holding(), partition.holding());
    let records: Vec<Record> = records.into_iter().chain(heard).collect();
    assert_eq!(restarted(&records), partition.holding());
}

/// KIP-320: a leader of an older epoch goes on.
#[test]
fn a_restart_does_not_make_a_follower_follow_an_older_leader() {
    for (rule, end) in [(None, 1), (Some(Rule::PersistEpoch), 2)] {
        let rules = rule.map_or_else(Rules::default, Rules::without);
        let mut records = follower(1);
        let mut partition = Partition::new(0, rules);
        for record in records.clone() {
            partition.recover(record, &Retention::default(), false);
        }
        records.extend(partition.enter(7, 2, "n2".into(), Duration::ZERO));
        let mut partition = recovered(records);
        let old = Append {
            partition: 0,
            log_id: 7,
            epoch: 1,
            at: 1,
            prev: 1,
            high: 1,
            sole_follower: false,
            entries: vec![entry(1, 9)],
            floor: None,
            requests: Vec::new(),
        };
        partition.replicate(&"n1".into(), old, &Retention::default(), Duration::ZERO);
        assert_eq!(partition.log().end(), end, "{rule:?}");
    }
}

#[test]
fn a_proposal_names_all_replicas_that_may_be_in_sync() {
    let mut partition = recovered(follower(1));
    let from = Metadata::first(7, id("n1", 1), [id("n2", 2)]);
    let names = |record: &Record| -> Vec<String> {
        let Record::Metadata { record, .. } = record else { panic!("{record:?}") };
        record.nodes().map(ToString::to_string).collect()
    };
    let joins = from.with(id("n3", 3));
    assert_eq!(names(&partition.propose(&from, &joins)), ["n1", "n2", "n3"]);
    // The outcome of the first proposal is not known when the next one begins.
    let leaves = from.without(|id| *id.node == *"n2").unwrap();
    let record = partition.propose(&from, &leaves);
    assert_eq!(names(&record), ["n1", "n2", "n3"]);
    assert_eq!(recovered([record]).holding().last_proposal, partition.holding().last_proposal);
    // The second proposal succeeded.
    partition.record_proposal(leaves.clone());
    let next = leaves.with(id("n4", 4));
    assert_eq!(names(&partition.propose(&leaves, &next)), ["n1", "n4"]);
}

#[test]
fn a_replica_that_may_be_about_to_lead_does_not_tell_its_entries() {
    let mut partition = recovered(follower(1));
    assert!(partition.may_report_holding());
    partition.metadata.is_swapping = true;
    assert!(!partition.may_report_holding());
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

/// All logs of up to four entries in epochs 1 to 3, as the epochs of their entries.
fn all_logs() -> Vec<Vec<Epoch>> {
    let mut all = vec![Vec::new()];
    for length in 1..=4 {
        let shorter: Vec<Vec<Epoch>> =
            all.iter().filter(|log: &&Vec<Epoch>| log.len() + 1 == length).cloned().collect();
        for log in shorter {
            let last = log.last().copied().unwrap_or(1);
            all.extend((last..=3).map(|epoch| [&log[..], &[epoch]].concat()));
        }
    }
    all
}

/// True if both logs can exist. An epoch has one leader, so if both have an entry of it, all
/// entries before that are equal.
fn can_both_exist(one: &[Epoch], other: &[Epoch]) -> bool {
    let common = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[common..], &other[common..]);
    !one.iter().any(|epoch| other.contains(epoch))
}

fn log_of(epochs: &[Epoch]) -> Vec<Record> {
    let (partition, log_id) = (0, 7);
    let epoch = epochs.last().copied().unwrap_or(1);
    let begin =
        Record::Epoch { partition, log_id, epoch, leader: None, incarnation: None, matched: false };
    let entries = epochs.iter().zip(0..).map(|(epoch, at)| entry(*epoch, epoch * 10 + at));
    vec![begin, Record::Append { partition, at: 0, high: 0, entries: entries.collect() }]
}

fn names(partition: &Partition) -> Vec<(Epoch, u64)> {
    let entries = partition.log().entries(0, usize::MAX);
    entries.into_iter().map(|entry| (entry.epoch, entry.seq)).collect()
}

/// The follower's log after at most 8 packets of the leader.
fn followed(led: &[Epoch], followed: &[Epoch], rules: Rules) -> Vec<(Epoch, u64)> {
    let (log, mut follower) = (recovered(log_of(led)).log, Partition::new(0, rules));
    for record in log_of(followed) {
        assert!(follower.recover(record, &Retention::default(), false));
    }
    let record = Metadata { epoch: 4, ..Metadata::first(7, id("n1", 1), [id("n2", 2)]) };
    let replicas = ["n1", "n2"].map(NodeId::from);
    let mut leader = Leader::new(record, &replicas, log.end(), 1, Duration::ZERO);
    leader.reset_progress(&replicas[1], Some(2), log.end());
    for _ in 0..8 {
        let mut budget = Budget::new(10_000);
        let next = leader.next_append(&replicas[1], 0, &log, 0, 1_000, &mut budget);
        let Next::Append(append) = next else { break };
        follower.replicate(&replicas[0], append, &Retention::default(), Duration::ZERO);
        leader.acknowledged(&replicas[1], &follower.ack(), &log);
    }
    names(&follower)
}

/// KIP-101 and KIP-279: a follower ends with its leader's log, whatever failovers came before.
#[test]
fn a_follower_of_any_log_gets_the_log_of_a_leader_of_any_other() {
    let (mut count, mut broken) = (0, 0);
    for (led, other) in all_logs().iter().flat_map(|a| all_logs().into_iter().map(move |b| (a, b)))
    {
        if !can_both_exist(led, &other) {
            continue;
        }
        let entries = led.iter().zip(0..);
        let expected: Vec<_> = entries.map(|(epoch, at)| (*epoch, epoch * 10 + at)).collect();
        assert_eq!(followed(led, &other, Rules::default()), expected, "{led:?} {other:?}");
        count += 1;
        broken += usize::from(followed(led, &other, Rules::without(Rule::Truncate)) != expected);
    }
    assert!(count > 200 && broken > 50, "{broken} of {count}");
}
