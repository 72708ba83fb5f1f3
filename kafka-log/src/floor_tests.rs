use std::time::Duration;

use proptest::prelude::*;
use serde_json::value::to_raw_value;

use super::*;
use crate::log::Retention;
use crate::wire::{Entry, Producer};

fn append(log: &mut PartitionLog, life: u64, seq: u64, key: &str) {
    let producer = Producer { node: "n1".into(), life };
    let msg = to_raw_value(&seq).unwrap().into();
    let entry = Entry { epoch: 1, producer, seq, key: key.into(), msg };
    log.append(entry, &one_each(), Duration::ZERO);
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
            let part = self.sender.send(next);
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
            Step::Restart => self.sender.restart(),
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
        sender.send(part);
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
