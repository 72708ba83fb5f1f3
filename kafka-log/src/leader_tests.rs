//! The leader of a partition: commits, the in-sync set, and the progress of followers.

use std::sync::Arc;

use serde_json::value::to_raw_value;

use super::*;
use crate::log::Retention;
use crate::wire::{Entry, Producer};

const EPOCH: Epoch = 3;

fn id(number: u64) -> ReplicaId {
    ReplicaId { node: format!("n{number}").as_str().into(), incarnation: number }
}

fn node(number: u64) -> NodeId {
    id(number).node
}

fn entry(seq: u64) -> Entry {
    let producer = Producer { node: node(1), life: 1 };
    let msg: Arc<_> = to_raw_value(&seq).unwrap().into();
    Entry { epoch: EPOCH, producer, seq, key: "k".into(), msg }
}

fn log_of(count: u64) -> PartitionLog {
    let mut log = PartitionLog::default();
    for seq in 0..count {
        log.append(entry(seq), &Retention::default(), Duration::ZERO);
    }
    log
}

const fn any(_: &ReplicaId) -> bool {
    true
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// `n1` leads three nodes with this in-sync set. It has not sent anything yet.
fn leader(in_sync: &[u64], in_sync_min: usize, rules: Rules) -> Leader {
    let record =
        Metadata { epoch: EPOCH, ..Metadata::first(7, id(1), in_sync.iter().map(|n| id(*n))) };
    let replicas = [1, 2, 3].map(node);
    let mut leader = Leader::new(record, &replicas, 0, in_sync_min, Duration::ZERO).under(rules);
    for follower in [2, 3] {
        leader.reset_progress(&node(follower), Some(follower), 0);
    }
    leader
}

fn ack(epoch: Epoch, end: Position) -> Ack {
    let (partition, log_id, matched, last, high) = (0, 7, true, EPOCH, 0);
    Ack { partition, log_id, epoch, matched, end, last, high, gap: false, floor_part: 0 }
}

/// Sends the follower everything.
fn send_all(leader: &mut Leader, follower: u64, log: &PartitionLog) -> Vec<Append> {
    let mut all = Vec::new();
    while let Next::Append(append) =
        leader.next_append(&node(follower), 0, log, 0, 1_000, &mut Budget::new(10_000))
    {
        all.push(append);
    }
    all
}

/// Sends the follower everything. The follower acknowledges up to `end`.
fn acknowledge(leader: &mut Leader, follower: u64, log: &PartitionLog, end: Position) {
    send_all(leader, follower, log);
    leader.acknowledged(&node(follower), &ack(EPOCH, end), log);
}

/// Checks that the test holds with all rules, and fails without this one.
fn depends_on(rule: Rule, holds: impl Fn(Rules) -> bool) {
    assert!(holds(Rules::default()), "{rule:?} holds");
    assert!(!holds(Rules::without(rule)), "{rule:?} is broken, and nothing shows it");
}

#[test]
fn an_entry_is_committed_once_all_replicas_that_may_be_in_sync_have_it() {
    let table: [(&[u64], [u64; 2], u64); 7] = [
        // The followers in sync, the acknowledgements of n2 and n3, and the committed part of 5
        // entries.
        (&[2, 3], [5, 5], 5),
        (&[2, 3], [4, 2], 2),
        (&[2, 3], [0, 5], 0),
        (&[2], [4, 0], 4),
        (&[2], [0, 5], 0),
        (&[3], [0, 1], 1),
        (&[], [0, 0], 5),
    ];
    for (in_sync, [second, third], committed) in table {
        let (log, mut leader) = (log_of(5), leader(in_sync, 1, Rules::default()));
        acknowledge(&mut leader, 2, &log, second);
        acknowledge(&mut leader, 3, &log, third);
        assert_eq!(leader.committed(5), Some(committed), "{in_sync:?}: {second}, {third}");
    }
}

#[test]
fn nothing_is_committed_while_too_few_are_in_sync() {
    depends_on(Rule::MinInSync, |rules| {
        let (log, mut leader) = (log_of(5), leader(&[2], 3, rules));
        acknowledge(&mut leader, 2, &log, 5);
        acknowledge(&mut leader, 3, &log, 5);
        leader.committed(5).is_none()
    });
}

/// KIP-320: a follower that does not know of the election yet acknowledges to a new leader.
#[test]
fn an_acknowledgement_counts_in_its_epoch_only() {
    depends_on(Rule::CheckAckEpoch, |rules| {
        let (log, mut leader) = (log_of(5), leader(&[2], 1, rules));
        send_all(&mut leader, 2, &log);
        leader.acknowledged(&node(2), &ack(EPOCH - 1, 5), &log);
        leader.committed(5) == Some(0)
    });
}

#[test]
fn an_acknowledgement_counts_for_the_incarnation_that_is_in_sync() {
    depends_on(Rule::CheckIncarnation, |rules| {
        let (log, mut leader) = (log_of(5), leader(&[2], 1, rules));
        leader.reset_progress(&node(2), Some(99), 0);
        acknowledge(&mut leader, 2, &log, 5);
        leader.committed(5) == Some(0)
    });
}

#[test]
fn an_acknowledgement_of_unsent_entries_does_not_count() {
    let (log, mut leader) = (log_of(5), leader(&[2], 1, Rules::default()));
    leader.acknowledged(&node(2), &ack(EPOCH, 5), &log);
    assert_eq!(leader.committed(5), Some(0));
}

#[test]
fn a_late_acknowledgement_takes_nothing_back() {
    let (log, mut leader) = (log_of(5), leader(&[2], 1, Rules::default()));
    acknowledge(&mut leader, 2, &log, 5);
    leader.acknowledged(&node(2), &ack(EPOCH, 3), &log);
    assert_eq!(leader.committed(5), Some(5));
    // An entry without acknowledgement is sent again if it may be lost.
    acknowledge(&mut leader, 3, &log, 3);
    leader.rewind(&node(3));
    let again = send_all(&mut leader, 3, &log);
    assert_eq!(again.iter().map(|append| append.at).collect::<Vec<_>>(), [3]);
}

/// The record that lets n3 in, if its acknowledgements suffice.
fn let_in(leader: &mut Leader, high: Position, end: Position) -> Option<Metadata> {
    leader.expanded_in_sync(secs(9), high, end, |peer| (**peer == *"n3").then(|| id(3)))
}

/// KIP-903: the leader appends entries while a replica joins.
#[test]
fn a_replica_that_joins_must_have_the_entries_committed_meanwhile() {
    depends_on(Rule::CountJoining, |rules| {
        let (mut log, mut leader) = (log_of(5), leader(&[2], 1, rules));
        acknowledge(&mut leader, 2, &log, 5);
        acknowledge(&mut leader, 3, &log, 5);
        assert!(let_in(&mut leader, 5, 6).is_none(), "it lacks one");
        log.append(entry(5), &Retention::default(), Duration::ZERO);
        acknowledge(&mut leader, 2, &log, 6);
        leader.committed(6) == Some(5)
    });
}

/// KIP-903: a replica comes back with an empty disk while the change that lets it in is under way.
#[test]
fn a_replica_that_joins_and_loses_its_records_counts_for_nothing() {
    depends_on(Rule::CheckIncarnation, |rules| {
        let (log, mut leader) = (log_of(5), leader(&[2], 1, rules));
        acknowledge(&mut leader, 2, &log, 5);
        acknowledge(&mut leader, 3, &log, 5);
        let record = let_in(&mut leader, 5, 5).unwrap();
        leader.note_proposal(&record);
        leader.reset_progress(&node(3), Some(33), 0);
        acknowledge(&mut leader, 3, &log, 5);
        leader.committed(5) == Some(0)
    });
}

/// The leader told the other follower that it is the only one, so all that it has is committed.
#[test]
fn a_replica_joins_when_it_has_all_that_was_there_when_it_began_to() {
    depends_on(Rule::JoinCaughtUp, |rules| {
        let (log, mut leader) = (log_of(5), leader(&[2], 1, rules));
        acknowledge(&mut leader, 2, &log, 3);
        acknowledge(&mut leader, 3, &log, 3);
        let_in(&mut leader, 3, 5).is_none()
    });
    let (log, mut leader) = (log_of(5), leader(&[2], 1, Rules::default()));
    acknowledge(&mut leader, 3, &log, 5);
    let record = let_in(&mut leader, 3, 5).unwrap();
    assert_eq!(record.nodes().cloned().collect::<Vec<_>>(), [1, 2, 3].map(node));
}

#[test]
fn a_change_whose_outcome_is_not_known_counts() {
    depends_on(Rule::CountProposed, |rules| {
        let (log, mut leader) = (log_of(5), leader(&[2], 1, rules));
        acknowledge(&mut leader, 2, &log, 5);
        let next = leader.record().with(id(3));
        leader.note_proposal(&next);
        leader.committed(5) == Some(0)
    });
    // Any later version settles the proposal.
    let (log, mut leader) = (log_of(5), leader(&[2], 1, Rules::default()));
    acknowledge(&mut leader, 2, &log, 5);
    let next = leader.record().with(id(3));
    leader.note_proposal(&next);
    let other = leader.record().without(|_| false).unwrap();
    leader.adopt(other, secs(1));
    assert_eq!(leader.committed(5), Some(5));
}

#[test]
fn a_follower_is_told_to_commit_its_entries_only_if_it_is_the_only_one() {
    depends_on(Rule::SoleFollower, |rules| {
        let (log, mut leader) = (log_of(5), leader(&[2, 3], 1, rules));
        send_all(&mut leader, 2, &log).iter().all(|append| !append.sole_follower)
    });
    let (log, mut leader) = (log_of(5), leader(&[2], 1, Rules::default()));
    assert!(send_all(&mut leader, 2, &log).iter().all(|append| append.sole_follower));
    assert!(send_all(&mut leader, 3, &log).iter().all(|append| !append.sole_follower));
}

/// KIP-966: a replica that was eligible lacks entries that were committed without it.
#[test]
fn a_replica_is_not_eligible_any_more_when_enough_are_in_sync() {
    depends_on(Rule::ClearEligible, |rules| {
        let (log, mut leader) = (log_of(5), leader(&[2], 2, rules));
        let is_n2 = |id: &ReplicaId| *id.node == *"n2";
        let alone = leader.shrunk_in_sync(secs(1), is_n2, any).unwrap();
        assert!(alone.eligible.contains(&id(2)));
        leader.adopt(alone, secs(1));
        assert_eq!(leader.committed(5), None, "too few are in sync");
        acknowledge(&mut leader, 3, &log, 5);
        let joined = let_in(&mut leader, 0, 5).unwrap();
        joined.eligible.is_empty()
    });
}

/// `--min-isr` was lowered.
#[test]
fn nothing_is_committed_before_eligible_replicas_are_forgotten() {
    let (log, mut leader) = (log_of(5), leader(&[2], 1, Rules::default()));
    acknowledge(&mut leader, 2, &log, 5);
    let mut record = leader.record().without(|_| false).unwrap();
    record.eligible.insert(id(3));
    leader.adopt(record, secs(1));
    assert_eq!(leader.committed(5), None);
    let next = leader.shrunk_in_sync(secs(1), |_| false, any).unwrap();
    assert!(next.eligible.is_empty());
    leader.adopt(next, secs(2));
    assert_eq!(leader.committed(5), Some(5));
}

/// KIP-360: a retry comes after its entry has been deleted.
#[test]
fn a_follower_that_begins_anew_gets_to_know_which_sends_are_too_old() {
    depends_on(Rule::FloorNamesProducers, |rules| {
        let (mut log, mut leader) = (log_of(5), leader(&[2], 1, rules));
        let retention = Retention { segment_bytes: 1, bytes_max: Some(0), age_max: None };
        log.append(entry(5), &retention, Duration::ZERO);
        log.append(entry(6), &retention, Duration::ZERO);
        log.retain(&retention, 7, Duration::ZERO);
        assert!(log.start() > 0);
        let appends = send_all(&mut leader, 2, &log);
        let floor = appends.into_iter().find_map(|append| append.floor).unwrap();
        floor.floor.producers == [(node(1), 1, log.start())]
    });
}

#[test]
fn a_follower_that_stalls_goes_and_must_keep_up_for_longer_each_time() {
    let (log, mut leader) = (log_of(5), leader(&[2, 3], 1, Rules::default()));
    acknowledge(&mut leader, 2, &log, 5);
    acknowledge(&mut leader, 3, &log, 4);
    leader.wait(4, node(1), 1, secs(1));
    // A retry does not reset the clock.
    leader.wait(4, node(1), 1, secs(3));
    let is_up = |_: &ReplicaId| false;
    assert_eq!(leader.shrunk_in_sync(secs(3), is_up, any), None);
    // A leader in the minority waits.
    assert_eq!(leader.shrunk_in_sync(secs(4), is_up, |id| *id.node != *"n3"), None);
    let record = leader.shrunk_in_sync(secs(4), is_up, any).unwrap();
    assert_eq!(record.nodes().cloned().collect::<Vec<_>>(), [1, 2].map(node));
    leader.adopt(record, secs(4));
    assert_eq!(leader.committed(5), Some(5));
    assert_eq!(leader.may_join_at(secs(4)), Some(secs(4).saturating_add(REJOIN_BACKOFF_MIN)));
}

#[test]
fn a_follower_of_another_log_gets_nothing_and_that_is_news_once() {
    let (log, mut leader) = (log_of(5), leader(&[2], 1, Rules::default()));
    assert!(leader.mark_other_log(&node(3)));
    assert!(!leader.mark_other_log(&node(3)));
    assert!(send_all(&mut leader, 3, &log).is_empty());
    assert!(!leader.mark_other_log(&node(9)));
}

#[test]
fn a_follower_whose_progress_is_reset_gets_no_part_of_a_floor_with_an_earlier_number() {
    let mut leader = leader(&[1, 2], 1, Rules::default());
    let number_of_next_part = |leader: &mut Leader| {
        let floor = &mut leader.followers.get_mut(&node(2)).unwrap().floor;
        let next = floor.next_part(&log_of(2), 1_000, true).unwrap();
        floor.send_part(next).number
    };
    let first = number_of_next_part(&mut leader);
    leader.reset_progress(&node(2), Some(2), 2);
    assert!(number_of_next_part(&mut leader) > first);
}
