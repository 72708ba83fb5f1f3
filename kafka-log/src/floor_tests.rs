//! Floors in parts: on the way to a follower, in records, and in snapshots.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::value::to_raw_value;

use maelstrom_core::Records;

use super::*;
use crate::indexed::Index;
use crate::log::Retention;
use crate::partition::Partition;
use crate::rules::Rules;
use crate::wire::{Append, Entry, Position, Producer, Record};

fn entry(life: u64, seq: u64, key: &str) -> Entry {
    let producer = Producer { node: "n1".into(), life };
    let msg = to_raw_value(&seq).unwrap().into();
    Entry { epoch: 1, producer, seq, key: key.into(), msg }
}

fn append(log: &mut PartitionLog, life: u64, seq: u64, key: &str) {
    log.append(entry(life, seq, key), &one_each(), Duration::ZERO);
}

/// Each message is a segment, and all but the last one can be deleted.
fn one_each() -> Retention {
    Retention { segment_bytes: 1, bytes_max: Some(0), age_max: None }
}

/// A floor with its producers sorted.
fn sorted(floor: Floor) -> Floor {
    let mut floor = floor;
    floor.producers.sort();
    floor
}

#[derive(Clone, Debug)]
enum Step {
    /// The leader appends a message of a key from a life of a node.
    Append(u8, u8),
    /// The leader deletes all but that many messages.
    Retain(u64),
    /// The leader sends a part of that many bytes, if it may.
    Send(usize),
    /// Any part that was sent arrives, perhaps again.
    Arrive(prop::sample::Index),
    /// The follower acknowledges the parts that it holds.
    Tell,
    /// Any acknowledgement arrives, perhaps again.
    Hear(prop::sample::Index),
    /// The leader gives up waiting for an answer.
    Lose,
    /// The leader decides that the follower needs no floor.
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0..6_u8, 0..3_u8).prop_map(|(key, life)| Step::Append(key, life)),
        2 => (1..6_u64).prop_map(Step::Retain),
        6 => (60..160_usize).prop_map(Step::Send),
        6 => index().prop_map(Step::Arrive),
        5 => Just(Step::Tell),
        5 => index().prop_map(Step::Hear),
        2 => Just(Step::Lose),
        1 => Just(Step::Restart),
    ]
}

/// One leader and one follower.
#[derive(Default)]
struct Pair {
    log: PartitionLog,
    seq: u64,
    sender: FloorSender,
    receiver: FloorReceiver,
    /// Each part, with the floor of the log when the leader sent it.
    parts: Vec<(FloorPart, Floor)>,
    told: Vec<u64>,
    /// Number of whole floors that the follower got.
    whole: usize,
}

impl Pair {
    fn send(&mut self, bytes_max: usize) {
        if self.sender.is_under_way() {
            return;
        }
        if let Some(next) = self.sender.next_part(&self.log, bytes_max, false) {
            let len = serde_json::to_string(&next.part).unwrap().len();
            assert!(len <= bytes_max, "{len} > {bytes_max}");
            let part = self.sender.send_part(next);
            self.parts.push((part, sorted(self.log.floor())));
        }
    }

    fn arrive(&mut self, nth: usize) {
        let Some((part, floor)) = self.parts.get(nth).cloned() else { return };
        if let Some(whole) = self.receiver.take(part) {
            assert_eq!(sorted(whole), floor);
            self.whole += 1;
        }
    }

    fn hear(&mut self, nth: usize) {
        if let Some(held) = self.told.get(nth) {
            self.sender.confirm(*held);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(key, life) => {
                append(&mut self.log, life.into(), self.seq, &format!("key {key}"));
                self.seq += 1;
            }
            Step::Retain(kept) => {
                let high = self.log.end().saturating_sub(kept);
                self.log.retain(&one_each(), high, Duration::ZERO);
            }
            Step::Send(bytes_max) => self.send(bytes_max),
            Step::Arrive(nth) if !self.parts.is_empty() => self.arrive(nth.index(self.parts.len())),
            Step::Tell => self.told.push(self.receiver.held()),
            Step::Hear(nth) if !self.told.is_empty() => self.hear(nth.index(self.told.len())),
            Step::Lose => self.sender.lose(),
            Step::Restart => self.sender.begin_again(),
            Step::Arrive(_) | Step::Hear(_) => {}
        }
    }
}

proptest! {
    /// Packets are lost, come late or come twice. The log deletes entries meanwhile.
    #[test]
    fn a_follower_that_takes_the_last_part_has_the_floor_of_the_leader_and_gets_there(
        steps in prop::collection::vec(any_step(), 0..150),
    ) {
        let mut pair = Pair::default();
        steps.into_iter().for_each(|step| pair.step(step));
        // The network is good from now on.
        let whole = pair.whole;
        for _ in 0..30 {
            pair.sender.lose();
            pair.send(160);
            pair.arrive(pair.parts.len() - 1);
            pair.told.push(pair.receiver.held());
            pair.hear(pair.told.len() - 1);
        }
        prop_assert!(pair.whole > whole);
    }
}

#[test]
fn an_item_that_is_longer_than_a_packet_goes_alone() {
    let mut log = PartitionLog::default();
    for (seq, key) in ["a", &"long".repeat(100), "c", "d"].into_iter().enumerate() {
        append(&mut log, 7, seq as u64, key);
    }
    log.retain(&one_each(), log.end(), Duration::ZERO);
    let mut sender = FloorSender::default();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        assert!(sender.next_part(&log, 0, false).is_none(), "others come first");
        let part = sender.next_part(&log, 110, true).unwrap();
        sizes.push((part.part.floor.next.len(), part.part.floor.producers.len(), part.part.more));
        sender.send_part(part);
        sender.confirm(sender.sent);
    }
    assert_eq!(sizes, [(1, 0, true), (1, 0, true), (1, 1, false)]);
}

/// The leader does not know that the follower has the whole floor and has dropped the parts.
#[test]
fn a_part_that_follows_others_is_not_taken_without_them() {
    let mut pair = Pair::default();
    for life in 0..4 {
        pair.step(Step::Append(life, life));
    }
    pair.step(Step::Retain(0));
    pair.send(120);
    pair.arrive(0);
    while pair.whole == 0 {
        pair.sender.confirm(pair.receiver.held());
        pair.send(120);
        pair.arrive(pair.parts.len() - 1);
    }
    assert!(pair.sender.confirmed > 0);
    // The answer is lost, and the log deletes more.
    pair.sender.lose();
    pair.step(Step::Append(0, 0));
    pair.step(Step::Retain(0));
    pair.send(160);
    assert!(!pair.parts[pair.parts.len() - 1].0.more);
    pair.arrive(pair.parts.len() - 1);
    assert_eq!((pair.whole, pair.receiver.held()), (1, 0));
    // The leader gets the answer, and starts again.
    pair.sender.confirm(0);
    pair.send(160);
    assert_eq!(pair.parts[pair.parts.len() - 1].0.after, 0);
}

/// A partition, and the records that it writes while a snapshot is taken.
struct Saved {
    partition: Partition,
    seq: u64,
    /// The position of the next part of the snapshot. `None`: the snapshot is complete.
    next: Option<Position>,
    records: Vec<Record>,
}

/// A partition without records.
fn empty() -> Partition {
    Partition::new(0, Rules::default())
}

/// Passes the records of a snapshot to a partition. Returns false if it refuses one.
fn recover(partition: &mut Partition, records: &[Record]) -> bool {
    records.iter().all(|record| partition.recover(record.clone(), &one_each(), true))
}

impl Saved {
    fn new() -> Self {
        Self { partition: empty(), seq: 0, next: Some(0), records: Vec::new() }
    }

    fn append(&mut self, life: u8, key: u8) {
        let (at, high) = (self.partition.log.end(), self.partition.high());
        let entry = entry(life.into(), self.seq, &format!("key {key}"));
        self.seq += 1;
        self.write(Record::Append { partition: 0, at, high, entries: vec![entry] });
    }

    /// Removes the newest entries, and appends others of the same keys.
    fn truncate(&mut self, count: u64) {
        let log = &self.partition.log;
        let to = log.end().saturating_sub(count).max(log.start());
        self.write(Record::Truncate { partition: 0, to });
    }

    /// Starts again behind a leader's deleted entries.
    fn start_again(&mut self, at: Position) {
        let next = [("key 0".into(), at)].into();
        let floor = Floor { at, epoch: 1, next, producers: vec![("n1".into(), 0, self.seq)] };
        self.write(Record::Floor { partition: 0, floor });
    }

    /// The same with a floor of several keys in parts, or with the first of them only.
    fn start_again_in_parts(&mut self, at: Position, bytes_max: usize, is_complete: bool) {
        let next = (0..at.min(9)).map(|key| (format!("key {key}").into(), 1)).collect();
        let producers = (0..at.min(6)).map(|life| ("n1".into(), life, self.seq)).collect();
        let floor = Floor { at, epoch: 1, next, producers };
        let mut restart = Restart::new(&self.partition.log, floor);
        loop {
            let RestartPart { from, more, floor } = restart.take_part(bytes_max);
            if !more && !is_complete {
                return;
            }
            self.write(Record::RestartPart { partition: 0, from, more, floor });
            if !more {
                return;
            }
        }
    }

    fn write(&mut self, record: Record) {
        assert!(self.partition.recover(record.clone(), &one_each(), false));
        self.records.push(record);
    }

    fn part(&mut self, bytes_max: usize) {
        let Some(at) = self.next else { return };
        let mut add = |record: &[u8]| self.records.push(serde_json::from_slice(record).unwrap());
        self.next = self.partition.snapshot(at, bytes_max, &mut Records::new(&mut add)).unwrap();
    }
}

#[derive(Clone, Debug)]
enum Change {
    Append(u8, u8),
    Retain(u64),
    Truncate(u64),
    StartAgain(u64),
    /// In parts of that many bytes, of which the last one may be missing.
    StartAgainInParts(u64, usize, bool),
    /// The snapshot begins, unless it has begun. A part of it follows.
    Part(usize),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        12 => (0..6_u8, 0..9_u8).prop_map(|(life, key)| Change::Append(life, key)),
        4 => (0..6_u64).prop_map(Change::Retain),
        1 => (1..4_u64).prop_map(Change::Truncate),
        1 => (1..40_u64).prop_map(Change::StartAgain),
        1 => (1..40_u64, 0..80_usize, any::<bool>())
            .prop_map(|(at, bytes, is_complete)| Change::StartAgainInParts(at, bytes, is_complete)),
        6 => (150..260_usize).prop_map(Change::Part),
    ]
}

/// The parts of the floor have more keys and producers than positions, so some parts end where they
/// begin.
#[test]
fn a_snapshot_after_a_restart_in_parts_has_all_numbers_even_if_positions_are_few() {
    for at in 1..=3 {
        let mut saved = Saved::new();
        saved.append(0, 0);
        saved.start_again_in_parts(at, 0, true);
        saved.records.clear();
        while saved.next.is_some() {
            saved.part(150);
        }
        let mut copy = empty();
        assert!(recover(&mut copy, &saved.records));
        assert_eq!(sorted(copy.log.floor()), sorted(saved.partition.log.floor()), "{at}");
    }
}

proptest! {
    /// The log appends, deletes, truncates and starts again between the parts of a snapshot.
    #[test]
    fn the_parts_of_a_snapshot_and_the_records_between_them_bring_back_the_log(
        changes in prop::collection::vec(any_change(), 0..120),
    ) {
        let (mut saved, mut has_begun) = (Saved::new(), false);
        for change in changes {
            match change {
                Change::Append(life, key) => saved.append(life, key),
                Change::Retain(kept) => {
                    let high = saved.partition.log.end().saturating_sub(kept);
                    saved.partition.log.retain(&one_each(), high, Duration::ZERO);
                }
                Change::Truncate(count) => saved.truncate(count),
                Change::StartAgain(at) => saved.start_again(at),
                Change::StartAgainInParts(at, bytes, is_complete) => {
                    saved.start_again_in_parts(at, bytes, is_complete);
                }
                Change::Part(bytes_max) => {
                    if !std::mem::replace(&mut has_begun, true) {
                        saved.records.clear();
                    }
                    saved.part(bytes_max);
                }
            }
        }
        if !has_begun {
            saved.records.clear();
        }
        while saved.next.is_some() {
            saved.part(200);
        }
        let mut copy = empty();
        prop_assert!(recover(&mut copy, &saved.records) && !copy.lacks_floor());
        // The copy may keep entries that the log deleted after they were written.
        let log = &saved.partition.log;
        prop_assert!(copy.log.start() <= log.start());
        prop_assert_eq!(copy.log.end(), log.end());
        copy.log.retain(&one_each(), log.start(), Duration::ZERO);
        if copy.log.start() < log.start() {
            // A log keeps its last segment. That of this log was empty, since it was truncated.
            prop_assert_eq!(log.start(), log.end());
            return Ok(());
        }
        prop_assert_eq!(sorted(copy.log.floor()), sorted(log.floor()));
        let entries = |log: &PartitionLog| serde_json::to_value(log.entries(log.start(), usize::MAX));
        prop_assert_eq!(entries(&copy.log).unwrap(), entries(log).unwrap());
    }
}

/// A partition that has deleted one message of each of 20 keys, and a snapshot of it in parts.
fn with_twenty_deleted_keys() -> Saved {
    let mut saved = Saved::new();
    (0..21).for_each(|key| saved.append(key, key));
    saved.partition.log.retain(&one_each(), 20, Duration::ZERO);
    saved.records.clear();
    while saved.next.is_some() {
        saved.part(250);
    }
    saved
}

#[test]
fn a_floor_in_parts_is_used_only_when_it_is_complete() {
    let saved = with_twenty_deleted_keys();
    let is_part = |record: &&Record| matches!(record, Record::FloorPart { .. });
    let count = saved.records.iter().filter(is_part).count();
    assert!(count > 5, "{count}");
    let mut copy = empty();
    for part in &saved.records[..count - 1] {
        assert!(recover(&mut copy, std::slice::from_ref(part)));
        assert!(copy.lacks_floor());
        assert_eq!((copy.log.end(), copy.log.floor()), (0, Floor::default()));
    }
    // Records follow the snapshot, but its last parts are not there.
    let next = Record::Append { partition: 0, at: 21, high: 21, entries: vec![entry(1, 99, "k")] };
    assert!(!copy.clone().recover(next, &one_each(), false));
    assert!(recover(&mut copy, &saved.records[count - 1..]));
    assert!(!copy.lacks_floor());
    assert_eq!(sorted(copy.log.floor()), sorted(saved.partition.log.floor()));
    // A part is missing.
    for missing in 0..count - 1 {
        let mut records = saved.records.clone();
        records.remove(missing);
        assert!(!recover(&mut empty(), &records), "without part {missing}");
    }
}

#[test]
fn a_floor_in_one_record_of_an_earlier_version_loads() {
    let saved = with_twenty_deleted_keys();
    let floor = saved.partition.log.floor();
    let record = serde_json::to_string(&Record::Floor { partition: 0, floor }).unwrap();
    let mut copy = empty();
    assert!(recover(&mut copy, &[serde_json::from_str(&record).unwrap()]));
    assert_eq!(sorted(copy.log.floor()), sorted(saved.partition.log.floor()));
    assert_eq!(copy.log.floor_bytes(), saved.partition.log.floor_bytes());
}

/// A follower with three messages whose leader has deleted more than these. Returns it with its
/// records.
fn a_follower_that_is_behind() -> (Partition, Vec<Record>) {
    let leader = Some("n1".into());
    let records = vec![
        Record::Epoch {
            partition: 0,
            log_id: 7,
            epoch: 1,
            leader,
            incarnation: Some(1),
            matched: false,
        },
        Record::Append {
            partition: 0,
            at: 0,
            high: 3,
            entries: (0..3).map(|seq| entry(9, seq, "old")).collect(),
        },
    ];
    let mut partition = empty();
    assert!(records.iter().all(|record| partition.recover(record.clone(), &one_each(), false)));
    (partition, records)
}

/// The leader's floor after 4,000 positions, of about four times as many bytes as a record takes.
fn a_long_floor() -> Floor {
    let key = |n: u64| (format!("{n:04} {}", "x".repeat(400)).into(), 1 + n % 2);
    let producers = (0..2_000).map(|life| ("n1".into(), life, 2)).collect();
    Floor { at: 4_000, epoch: 1, next: (0..2_000).map(key).collect(), producers }
}

/// The leader sends its floor in one part, with this number. Returns the records of the follower.
fn take_floor(partition: &mut Partition, number: u64) -> Vec<Record> {
    let part = FloorPart { number, after: 0, more: false, floor: a_long_floor() };
    let append = Append {
        partition: 0,
        log_id: 7,
        epoch: 1,
        at: 4_000,
        prev: 1,
        high: 4_000,
        sole_follower: false,
        entries: Vec::new(),
        floor: Some(Box::new(part)),
        requests: Vec::new(),
    };
    partition.replicate(&"n1".into(), append, &one_each(), Duration::ZERO)
}

#[test]
fn a_follower_writes_a_long_floor_in_parts_and_has_one_of_the_two_logs_after_each() {
    let (mut follower, before) = a_follower_that_is_behind();
    let mut records = take_floor(&mut follower, 1);
    while follower.is_restarting() {
        assert_eq!((follower.log.end(), follower.ack().matched), (3, false));
        records.extend(follower.restart_next());
    }
    assert_eq!((follower.log.end(), follower.high(), follower.ack().matched), (4_000, 4_000, true));
    assert_eq!(sorted(follower.log.floor()), sorted(a_long_floor()));
    let bytes = |record: &Record| serde_json::to_vec(record).unwrap().len();
    let sizes: Vec<usize> = records.iter().map(bytes).collect();
    assert!(sizes.iter().all(|bytes| *bytes < RECORD_BYTES + 1_000), "{sizes:?}");
    assert!(sizes.len() > 3 && sizes[1] > RECORD_BYTES - 1_000, "{sizes:?}");
    for count in 0..=records.len() {
        let mut restarted = empty();
        let kept = || before.iter().chain(&records[..count]);
        for record in kept() {
            assert!(restarted.recover(record.clone(), &one_each(), false));
        }
        let is_new = count == records.len();
        let (end, floor) = if is_new { (4_000, a_long_floor()) } else { (3, Floor::default()) };
        assert_eq!((restarted.log.end(), restarted.high()), (end, end), "{count} parts");
        assert_eq!(sorted(restarted.log.floor()), sorted(floor), "{count} parts");
        if is_new {
            continue;
        }
        // The next life begins again, and so do its records.
        restarted.end_recovery();
        let mut more = take_floor(&mut restarted, 2);
        while restarted.is_restarting() {
            more.extend(restarted.restart_next());
        }
        let mut again = empty();
        for record in kept().chain(&more) {
            assert!(again.recover(record.clone(), &one_each(), false));
        }
        assert_eq!(sorted(again.log.floor()), sorted(a_long_floor()), "{count} parts");
    }
    // A part is missing.
    let mut copy = empty();
    assert!(before.iter().all(|record| copy.recover(record.clone(), &one_each(), false)));
    assert!(copy.recover(records[0].clone(), &one_each(), false));
    assert!(!copy.recover(records[2].clone(), &one_each(), false));
}

/// A snapshot needs few keys and producers at each position.
#[test]
fn a_snapshot_after_a_floor_in_parts_has_parts_as_long_as_asked_for() {
    let (mut follower, _) = a_follower_that_is_behind();
    take_floor(&mut follower, 1);
    while follower.is_restarting() {
        follower.restart_next();
    }
    let (mut from, mut sizes) = (0, Vec::new());
    while from < follower.log.start() {
        let part = follower.log.floor_part(from, 10_000);
        sizes.push(serde_json::to_vec(&part).unwrap().len());
        from = part.at;
    }
    assert!(sizes.iter().all(|bytes| *bytes < 11_000), "{sizes:?}");
}

/// A new epoch, or a comparison of the replicas, begins before the last part.
#[test]
fn a_follower_that_stops_to_follow_keeps_its_old_log() {
    let (mut follower, before) = a_follower_that_is_behind();
    let mut records = take_floor(&mut follower, 1);
    let mut other = follower.clone();
    other.begin_recovery(Duration::ZERO);
    assert!(!other.is_restarting() && other.restart_next().is_none());
    records.extend(follower.enter(7, 2, "n2".into(), Duration::ZERO));
    assert!(!follower.is_restarting() && follower.restart_next().is_none());
    assert_eq!((follower.log.end(), other.log.end()), (3, 3));
    let mut restarted = empty();
    for record in before.iter().chain(&records) {
        assert!(restarted.recover(record.clone(), &one_each(), false));
    }
    assert_eq!((restarted.log.end(), restarted.epoch()), (3, 2));
}

/// Damaged on its way: it names a send that the log has already.
#[test]
fn a_damaged_message_does_not_end_a_follower() {
    let (mut follower, _) = a_follower_that_is_behind();
    let append = Append {
        partition: 0,
        log_id: 7,
        epoch: 1,
        at: 3,
        prev: 1,
        high: 3,
        sole_follower: false,
        entries: vec![entry(9, 1, "again")],
        floor: None,
        requests: Vec::new(),
    };
    follower.replicate(&"n1".into(), append, &one_each(), Duration::ZERO);
    assert_eq!(follower.log.end(), 4);
}
