//! A follower whose log ends before the leader's first entry begins a new log at that entry. For
//! this it gets a summary of the deleted entries, a [`Floor`]: a number for each key (its next
//! offset) and for each producer (sends below it are too old).
//!
//! A log may have deleted messages of many keys and producers, and keys may be long: a whole
//! [`Floor`] can be longer than a line. So the leader sends it in parts ([`FloorPart`]), one at a
//! time, each within the budget of a packet. If the log deletes more entries meanwhile, the leader
//! sends the numbers that have changed again.
//!
//! A snapshot has its own parts of a floor: see [`PartitionLog::floor_part`].
//!
//! The follower writes a long floor in parts as well ([`Restart`]): each is a record of about
//! [`RECORD_BYTES`] bytes, with a sync of its own. So its pauses do not depend on the length. The
//! last part puts a new log in the place of the old one, in memory and on the disk. So a crash
//! leaves one of the two. The node takes no part of a snapshot meanwhile: a snapshot has all parts
//! of a restart or none.
//!
//! The invariants:
//!
//! * A part names the newest part that its follower has confirmed (`after`). The follower takes the
//!   part only if it still holds all parts up to that one. The leader counts a number as known only
//!   if a confirmed part had it. So a follower that takes a part holds every number that the leader
//!   counts as known.
//! * The last part has all numbers that the leader does not count as known. So a follower that
//!   takes it holds the leader's floor at that part's position. Until then the follower's log stays
//!   as it is: no follower uses a partial floor.
//! * While a replica leads, the numbers of a key or producer only rise. So if two parts name the
//!   same key or producer, the larger number is the newer one.
//! * A leader never uses the number of a part again. So a part counts once, and a late part never
//!   counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use maelstrom_core::NodeId;

use crate::log::PartitionLog;
use crate::queue::encoded_len;
use crate::wire::{Floor, FloorPart, Position, number_len, string_len};

/// The colon and the comma. `string_len` counts the quotes.
const KEY_PUNCTUATION: usize = 2;

/// Two brackets and three commas.
const PRODUCER_PUNCTUATION: usize = 5;

/// The length of a key and its number in a floor as JSON, in bytes.
fn key_len(name: &str, first: u64) -> usize {
    let parts = [string_len(name), number_len(first), KEY_PUNCTUATION];
    parts.into_iter().fold(0, usize::saturating_add)
}

/// The length of a producer and its number in a floor as JSON, in bytes.
fn producer_len(node: &str, life: u64, floor: u64) -> usize {
    let parts = [string_len(node), number_len(life), number_len(floor)];
    parts.into_iter().fold(PRODUCER_PUNCTUATION, usize::saturating_add)
}

/// A number in a floor, with the log's index of its key or its producer.
#[derive(Clone, Copy, Debug)]
enum Item {
    Key(usize, u64),
    Producer(usize, u64),
}

/// A leader's knowledge of the floor that it sends to a follower.
#[derive(Clone, Debug, Default)]
pub(crate) struct FloorSender {
    /// The numbers that the follower is known to hold, by the index of the key and of the producer.
    keys: Vec<u64>,
    producers: Vec<u64>,
    /// The newest part that the follower has confirmed, 0 if there is none.
    confirmed: u64,
    /// The number of the newest part that was sent.
    sent: u64,
    /// The contents of that part, if no answer has come yet.
    under_way: Option<Vec<Item>>,
}

/// A part that can be sent.
#[derive(Debug)]
pub(crate) struct NextPart {
    pub(crate) part: FloorPart,
    items: Vec<Item>,
}

fn known(numbers: &[u64], place: usize) -> u64 {
    numbers.get(place).copied().unwrap_or(0)
}

fn note(numbers: &mut Vec<u64>, place: usize, number: u64) {
    if numbers.len() <= place {
        numbers.resize(place.saturating_add(1), 0);
    }
    if let Some(known) = numbers.get_mut(place) {
        *known = number;
    }
}

impl FloorSender {
    /// True if an answer to a part is awaited.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// The next part of the floor of `log`, in up to `bytes_max` bytes of JSON. `None` if nothing
    /// fits. With `is_alone`, one item always fits.
    pub(crate) fn next_part(
        &self,
        log: &PartitionLog,
        bytes_max: usize,
        is_alone: bool,
    ) -> Option<NextPart> {
        let (at, number) = (log.start(), self.sent.saturating_add(1));
        let floor = Floor { at, epoch: log.epoch_before(at), ..Floor::default() };
        let mut part = FloorPart { number, after: self.confirmed, more: true, floor };
        let mut left = bytes_max.checked_sub(encoded_len(&part)).or(is_alone.then_some(0))?;
        let mut items = Vec::new();
        let mut take = |bytes: usize, item| {
            let fits = bytes <= left || (is_alone && items.is_empty());
            if fits {
                left = left.saturating_sub(bytes);
                items.push(item);
            }
            fits
        };
        let keys = log.first_offsets().enumerate();
        let mut keys = keys.filter(|(at, (_, first))| *first > known(&self.keys, *at));
        let are_all_keys = keys.all(|(at, (name, first))| {
            let fits = take(key_len(name, first), Item::Key(at, first));
            if fits {
                part.floor.next.insert(name.clone(), first);
            }
            fits
        });
        let producers = log.producer_floors().enumerate();
        let mut producers =
            producers.filter(|(at, (_, _, floor))| *floor > known(&self.producers, *at));
        let are_all = are_all_keys
            && producers.all(|(at, (node, life, floor))| {
                let fits = take(producer_len(&node, life, floor), Item::Producer(at, floor));
                if fits {
                    part.floor.producers.push((node, life, floor));
                }
                fits
            });
        part.more = !are_all;
        (are_all || !items.is_empty()).then_some(NextPart { part, items })
    }

    /// Notes that the part goes to the follower.
    pub(crate) fn send_part(&mut self, next: NextPart) -> FloorPart {
        (self.sent, self.under_way) = (next.part.number, Some(next.items));
        next.part
    }

    /// The follower holds all parts up to this one, 0 if it holds none.
    pub(crate) fn confirm(&mut self, held: u64) {
        if held < self.confirmed {
            return self.begin_again();
        }
        let Some(items) = self.under_way.take_if(|_| held == self.sent) else { return };
        for item in items {
            match item {
                Item::Key(place, number) => note(&mut self.keys, place, number),
                Item::Producer(place, number) => note(&mut self.producers, place, number),
            }
        }
        self.confirmed = held;
    }

    /// The part under way is probably lost.
    pub(crate) fn lose(&mut self) {
        self.under_way = None;
    }

    /// The follower does not need the floor any more, or has lost its parts.
    pub(crate) fn begin_again(&mut self) {
        *self = Self { sent: self.sent, ..Self::default() };
    }
}

/// The parts of a floor that a follower has taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct FloorReceiver {
    /// The number of the newest part that was taken.
    newest: u64,
    /// The same, as long as the follower holds the contents of the parts.
    held: u64,
    next: BTreeMap<Arc<str>, u64>,
    producers: BTreeMap<(NodeId, u64), u64>,
}

impl FloorReceiver {
    /// The newest of the parts that the follower holds, 0 if there is none.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// The follower still holds the parts up to the newest one that it has taken: their contents
    /// are on their way to the disk.
    pub(crate) fn hold(&mut self) {
        self.held = self.newest;
    }

    /// The follower holds no parts any more.
    pub(crate) fn release(&mut self) {
        self.held = 0;
    }

    /// Takes a part. Returns the whole floor if this was the last part.
    pub(crate) fn take(&mut self, part: FloorPart) -> Option<Floor> {
        let FloorPart { number, after, more, floor } = part;
        if number <= self.newest || after > self.held {
            return None;
        }
        (self.newest, self.held) = (number, number);
        for (key, first) in floor.next {
            let known = self.next.entry(key).or_default();
            *known = first.max(*known);
        }
        for (node, life, number) in floor.producers {
            let known = self.producers.entry((node, life)).or_default();
            *known = number.max(*known);
        }
        if more {
            return None;
        }
        self.held = 0;
        let producers = std::mem::take(&mut self.producers);
        let producers = producers.into_iter().map(|((node, life), number)| (node, life, number));
        let next = std::mem::take(&mut self.next);
        Some(Floor { next, producers: producers.collect(), ..floor })
    }
}

/// About this many bytes of a floor are in one record. A single item may be longer.
pub(crate) const RECORD_BYTES: usize = 256 << 10;

/// A log that starts again from a leader's floor. It takes the floor part by part.
#[derive(Clone, Debug)]
pub(crate) struct Restart {
    /// The new log, with the parts that have been written.
    log: PartitionLog,
    /// The rest of the floor.
    rest: Floor,
    /// Number of keys and producers in the whole floor, and of those that have been written.
    count: u64,
    written: u64,
}

/// A part of a floor for the disk.
#[derive(Debug)]
pub(crate) struct RestartPart {
    pub(crate) from: Position,
    pub(crate) more: bool,
    pub(crate) floor: Floor,
}

impl Restart {
    /// The log is to take the place of `old`.
    pub(crate) fn new(old: &PartitionLog, floor: Floor) -> Self {
        let count = (floor.next.len() as u64).saturating_add(floor.producers.len() as u64);
        Self { log: old.emptied(), rest: floor, count, written: 0 }
    }

    /// Takes about `bytes_max` bytes of the rest of the floor, and at least one item. Each part
    /// gets a share of the positions below the floor, in proportion to its items. So a snapshot of
    /// the new log finds few items at each position.
    pub(crate) fn take_part(&mut self, bytes_max: usize) -> RestartPart {
        let (mut part, mut left) = (Floor::default(), bytes_max);
        let mut is_empty = true;
        let mut fits = |bytes: usize| {
            let fits = bytes <= left || is_empty;
            left = left.saturating_sub(bytes);
            is_empty = false;
            fits
        };
        let mut is_full = false;
        while let Some(key) = self.rest.next.first_entry() {
            is_full = !fits(key_len(key.key(), *key.get()));
            if is_full {
                break;
            }
            part.next.extend([key.remove_entry()]);
        }
        while let Some((node, life, floor)) = self.rest.producers.last().filter(|_| !is_full) {
            is_full = !fits(producer_len(node, *life, *floor));
            if !is_full {
                part.producers.extend(self.rest.producers.pop());
            }
        }
        let count = (part.next.len() as u64).saturating_add(part.producers.len() as u64);
        self.written = self.written.saturating_add(count);
        let (from, at, epoch) = (self.log.end(), self.rest.at, self.rest.epoch);
        (part.at, part.epoch) = (at, epoch);
        if is_full {
            let ahead = u128::from(at).saturating_mul(self.written.into());
            let ahead = ahead.checked_div(self.count.into()).unwrap_or_default();
            // Position 0 would stand for the first part.
            part.at = u64::try_from(ahead).unwrap_or(at).max(1);
        }
        self.log.advance(part.clone());
        RestartPart { from, more: is_full, floor: part }
    }

    /// The new log, once it has all parts.
    pub(crate) fn into_log(self) -> PartitionLog {
        self.log
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]
#[path = "floor_tests.rs"]
mod tests;
