//! One partition's log: its entries by position, an index by key, the epochs of the entries, and
//! the names of recent sends, which must not be appended again.
//!
//! The invariants:
//!
//! * A key's offsets are dense and follow the positions of its entries. The n-th entry of a key
//!   that was ever appended, and not truncated, has offset n, on every replica.
//! * Epochs never fall from one position to the next.
//! * A producer's sequence number is in the log at most once.
//!
//! Entries are in segments. So old segments are deleted whole, and an append never moves older
//! entries. To find an offset costs one step in the key's index and a binary search for its
//! segment.
//!
//! The log keeps a summary of the deleted entries, its [`Floor`]: one number for each of their keys
//! (its first offset that is left) and producers (sends below it are too old). A snapshot writes
//! the numbers in parts ([`PartitionLog::floor_part`]), and recovery puts them together
//! ([`PartitionLog::advance`]).

mod deleted;
mod producers;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::NodeId;
use serde_json::value::RawValue;

use crate::wire::{Entry, Epoch, Floor, Position, Producer, number_len, string_len};
use deleted::{Deleted, Item};
use producers::Producers;
pub use producers::{DEDUPE_WINDOW, SendLookup};

/// The largest number of entries in a segment.
const SEGMENT_ENTRIES_MAX: usize = 4_096;

/// The limits above which old messages are deleted. By default there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Largest size of a segment in bytes of messages, approximately.
    pub segment_bytes: usize,
    /// Bytes of messages that a partition keeps, approximately.
    pub bytes_max: Option<usize>,
    /// How long a partition keeps messages.
    pub age_max: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { segment_bytes: 1 << 20, bytes_max: None, age_max: None }
    }
}

/// Brackets and commas around a producer in a floor in JSON. A key has fewer.
const FLOOR_PUNCTUATION: usize = 5;

/// An entry in memory.
#[derive(Clone, Debug)]
struct Slot {
    msg: Arc<RawValue>,
    seq: u64,
    /// The key's index in `keys`.
    key: u32,
    /// The index of the producer in `producers`.
    producer: u32,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    base: Position,
    slots: Vec<Slot>,
    bytes: usize,
    /// The time at which this node appended its last entry.
    newest: Duration,
}

/// The positions of a key's entries.
#[derive(Clone, Debug)]
struct KeyIndex {
    name: Arc<str>,
    /// The offset of the first entry that has not been deleted.
    first: u64,
    positions: VecDeque<Position>,
}

impl KeyIndex {
    fn next(&self) -> u64 {
        self.first.saturating_add(self.positions.len() as u64)
    }
}

/// The log of one partition.
#[derive(Clone, Debug, Default)]
pub struct PartitionLog {
    segments: VecDeque<Segment>,
    /// The first position that has not been deleted.
    start: Position,
    end: Position,
    bytes: usize,
    keys: Vec<KeyIndex>,
    places: BTreeMap<Arc<str>, u32>,
    /// The epochs, each with the position of its first entry, in order: the last one that begins
    /// before `start`, if any, and all later ones.
    epochs: Vec<(Epoch, Position)>,
    producers: Producers,
    /// The keys and producers with deleted entries.
    deleted: Deleted,
    /// Estimated size of their numbers in a floor, in bytes.
    floor_bytes: usize,
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl PartitionLog {
    /// An empty log that remembers `dedupe_window` sends of each producer. The default is
    /// [`DEDUPE_WINDOW`].
    #[must_use]
    pub fn new(dedupe_window: u64) -> Self {
        Self { producers: Producers::new(dedupe_window), ..Self::default() }
    }

    /// The first position that has not been deleted.
    #[must_use]
    pub fn start(&self) -> Position {
        self.start
    }

    /// The position after the last entry.
    #[must_use]
    pub fn end(&self) -> Position {
        self.end
    }

    /// Bytes of all messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The epoch of the entry before `position`, 0 if there is none.
    #[must_use]
    pub fn epoch_before(&self, position: Position) -> Epoch {
        let after = self.epochs.partition_point(|(_, start)| *start < position);
        let run = after.checked_sub(1).and_then(|at| self.epochs.get(at));
        run.map_or(0, |(epoch, _)| *epoch)
    }

    /// The position of the first entry of a later epoch, or the end.
    #[must_use]
    pub fn end_of_epoch(&self, epoch: Epoch) -> Position {
        let later = self.epochs.partition_point(|(known, _)| *known <= epoch);
        self.epochs.get(later).map_or(self.end, |(_, start)| *start)
    }

    /// The largest position up to `position` with no entry of a later epoch than `epoch` before it.
    #[must_use]
    pub fn not_after_epoch(&self, position: Position, epoch: Epoch) -> Position {
        position.min(self.end).min(self.end_of_epoch(epoch)).max(self.start)
    }

    /// The place of a send in the log, if the log has it.
    #[must_use]
    pub fn lookup_send(&self, producer: &Producer, seq: u64) -> SendLookup {
        self.producers.lookup_send(producer, seq)
    }

    /// The sequence numbers of a producer's sends in a range of positions, sorted.
    #[must_use]
    pub fn seqs_of(&self, producer: &Producer, range: Range<Position>) -> Vec<u64> {
        let Some(place) = self.producers.find(producer) else { return Vec::new() };
        let slots = (range.start.max(self.start)..range.end).map_while(|at| self.slot(at));
        let mut seqs: Vec<u64> =
            slots.filter(|slot| slot.producer == place).map(|slot| slot.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    /// Appends an entry, and returns its offset. Its age counts from `now`. The entry's epoch must
    /// not be lower than the last one's, and its send must not be in the log.
    pub fn append(&mut self, entry: Entry, retention: &Retention, now: Duration) -> u64 {
        let Entry { epoch, producer, seq, key, msg } = entry;
        if self.epoch_before(self.end) < epoch {
            self.epochs.push((epoch, self.end));
        }
        let place = self.place(key);
        let position = self.end;
        let mut offset = 0;
        if let Some(key) = self.keys.get_mut(index(place.into())) {
            offset = key.next();
            key.positions.push_back(position);
        }
        let producer = self.producers.insert(producer, seq, position, offset, now);
        let bytes = msg.get().len();
        self.bytes = self.bytes.saturating_add(bytes);
        self.open_segment(retention, bytes);
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes = segment.bytes.saturating_add(bytes);
            segment.newest = now;
            segment.slots.push(Slot { msg, seq, key: place, producer });
        }
        self.end = position.saturating_add(1);
        offset
    }

    fn place(&mut self, name: Arc<str>) -> u32 {
        if let Some(place) = self.places.get(&name) {
            return *place;
        }
        let place = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.keys.push(KeyIndex { name: name.clone(), first: 0, positions: VecDeque::new() });
        self.places.insert(name, place);
        place
    }

    /// Opens a new segment, if the last one has no room.
    fn open_segment(&mut self, retention: &Retention, bytes: usize) {
        let is_open = self.segments.back().is_some_and(|segment| {
            segment.slots.len() < SEGMENT_ENTRIES_MAX
                && segment.bytes.saturating_add(bytes) <= retention.segment_bytes
        });
        if !is_open {
            self.segments.push_back(Segment { base: self.end, ..Segment::default() });
        }
    }

    /// Removes all entries from `to` on.
    pub fn truncate(&mut self, to: Position) {
        while self.end > to.max(self.start) {
            let Some(segment) = self.segments.back_mut() else { break };
            let Some(slot) = segment.slots.pop() else {
                self.segments.pop_back();
                continue;
            };
            let bytes = slot.msg.get().len();
            segment.bytes = segment.bytes.saturating_sub(bytes);
            self.bytes = self.bytes.saturating_sub(bytes);
            if let Some(key) = self.keys.get_mut(index(slot.key.into())) {
                key.positions.pop_back();
            }
            self.producers.remove(slot.producer, slot.seq);
            self.end = self.end.saturating_sub(1);
        }
        self.epochs.retain(|(_, start)| *start < self.end);
    }

    fn slot(&self, position: Position) -> Option<&Slot> {
        let after = self.segments.partition_point(|segment| segment.base <= position);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        segment.slots.get(index(position.checked_sub(segment.base)?))
    }

    /// The entry at a position.
    #[must_use]
    pub fn entry(&self, position: Position) -> Option<Entry> {
        let slot = self.slot(position)?;
        let (epoch, seq) = (self.epoch_before(position.saturating_add(1)), slot.seq);
        let producer = self.producers.name(slot.producer)?;
        let key = self.keys.get(index(slot.key.into()))?.name.clone();
        Some(Entry { epoch, producer, seq, key, msg: slot.msg.clone() })
    }

    /// The entries from a position on, up to about `bytes_max` bytes of them. At least one, if
    /// there is any.
    #[must_use]
    pub fn entries(&self, at: Position, bytes_max: usize) -> Vec<Entry> {
        let (mut entries, mut bytes) = (Vec::new(), 0_usize);
        for entry in (at..self.end).map_while(|position| self.entry(position)) {
            bytes = bytes.saturating_add(entry.encoded_len());
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        entries
    }

    /// The entries of a key from an offset on with positions below `high`, in order and without
    /// gaps. If the first of them have been deleted, begins with the oldest one that is left.
    pub fn read(
        &self,
        key: &str,
        from: u64,
        high: Position,
    ) -> impl Iterator<Item = (u64, Arc<RawValue>)> {
        let key = self.places.get(key).and_then(|place| self.keys.get(index((*place).into())));
        let (first, positions) = key.map_or((0, None), |key| (key.first, Some(&key.positions)));
        let count = positions.map_or(0, VecDeque::len);
        let skipped = index(from.saturating_sub(first)).min(count);
        let positions = positions.into_iter().flat_map(move |all| all.range(skipped..));
        let offsets = first.saturating_add(skipped as u64)..;
        let before = offsets.zip(positions).take_while(move |(_, position)| **position < high);
        before.filter_map(|(offset, position)| Some((offset, self.slot(*position)?.msg.clone())))
    }

    /// Deletes the oldest segments that are wholly below `high` and above the limits, but never the
    /// last segment.
    pub fn retain(&mut self, retention: &Retention, high: Position, now: Duration) {
        while let Some(oldest) = self.segments.front() {
            let next = oldest.base.saturating_add(oldest.slots.len() as u64);
            let rest = self.bytes.saturating_sub(oldest.bytes);
            let too_much = retention.bytes_max.is_some_and(|max| rest >= max);
            let age = now.saturating_sub(oldest.newest);
            let too_old = retention.age_max.is_some_and(|max| age > max);
            if self.segments.len() < 2 || next > high || !(too_much || too_old) {
                return;
            }
            let Some(oldest) = self.segments.pop_front() else { return };
            self.delete(oldest);
            (self.bytes, self.start) = (rest, next);
            while self.epochs.get(1).is_some_and(|(_, start)| *start < self.start) {
                self.epochs.remove(0);
            }
        }
    }

    /// Counts the entries of the oldest segment as deleted.
    fn delete(&mut self, oldest: Segment) {
        for (slot, at) in oldest.slots.into_iter().zip(oldest.base..) {
            if let Some(key) = self.keys.get_mut(index(slot.key.into())) {
                key.positions.pop_front();
                key.first = key.first.saturating_add(1);
            }
            self.producers.delete(slot.producer, slot.seq);
            self.note_deleted(Item::Key(slot.key), at);
            self.note_deleted(Item::Producer(slot.producer), at);
        }
    }

    fn note_deleted(&mut self, item: Item, at: Position) {
        if self.deleted.note(item, at) {
            self.floor_bytes = self.floor_bytes.saturating_add(self.item_bytes(item));
        }
    }

    /// Size of the number of a key or a producer in a floor in JSON, in bytes. A few bytes too many
    /// for a key.
    fn item_bytes(&self, item: Item) -> usize {
        let parts = match item {
            Item::Key(place) => self
                .keys
                .get(index(place.into()))
                .map(|key| [string_len(&key.name), number_len(key.first), 0]),
            Item::Producer(place) => self.producers.floor(place).map(|(node, life, floor)| {
                [string_len(&node), number_len(life), number_len(floor)]
            }),
        };
        parts.into_iter().flatten().fold(FLOOR_PUNCTUATION, usize::saturating_add)
    }

    /// Estimated size of the [`floor`](Self::floor), in bytes.
    #[must_use]
    pub fn floor_bytes(&self) -> usize {
        self.floor_bytes
    }

    /// A part of the floor for a snapshot: the numbers of the keys and producers whose last deleted
    /// entries are at `from` or later, in up to about `bytes_max` bytes. The next part begins at
    /// the part's position `at`. That is the start of the log if this was the last part.
    #[must_use]
    pub fn floor_part(&self, from: Position, bytes_max: usize) -> Floor {
        let (mut part, mut left) = (Floor::default(), bytes_max);
        let (mut before, mut at) = (None, self.start);
        for (position, item) in self.deleted.since(from) {
            let bytes = self.item_bytes(item);
            // A part has all items of a position or none: the next part begins at a position.
            if bytes > left && before.is_some_and(|before| before < position) {
                at = position;
                break;
            }
            (before, left) = (Some(position), left.saturating_sub(bytes));
            match item {
                Item::Key(place) => {
                    let key = self.keys.get(index(place.into()));
                    part.next.extend(key.map(|key| (key.name.clone(), key.first)));
                }
                Item::Producer(place) => part.producers.extend(self.producers.floor(place)),
            }
        }
        Floor { at, epoch: self.epoch_before(at), ..part }
    }

    /// A summary of the deleted entries, for a follower that has to start at `start`.
    #[must_use]
    pub fn floor(&self) -> Floor {
        let next = self.first_offsets().filter(|(_, first)| *first > 0);
        Floor {
            at: self.start,
            epoch: self.epoch_before(self.start),
            next: next.map(|(name, first)| (name.clone(), first)).collect(),
            producers: self.producer_floors().filter(|(_, _, floor)| *floor > 0).collect(),
        }
    }

    /// For each key, the offset of its first message that is not deleted, or of its next one. A key
    /// keeps its index here until the log is [reset](Self::reset), and its offset only rises.
    pub(crate) fn first_offsets(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.keys.iter().map(|key| (&key.name, key.first))
    }

    /// For each producer, a number above all of its sends that have been deleted or have left the
    /// window. A producer keeps its index here until the log is [reset](Self::reset), and its
    /// number only rises while nothing is truncated.
    pub(crate) fn producer_floors(&self) -> impl Iterator<Item = (NodeId, u64, u64)> {
        self.producers.floors()
    }

    /// An empty log that remembers as many sends of each producer.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self { producers: self.producers.cleared(), ..Self::default() }
    }

    /// Forgets everything, and starts again from `floor`.
    pub fn reset(&mut self, floor: Floor) {
        *self = self.emptied();
        self.advance(floor);
    }

    /// Deletes all entries, and continues at the position of `floor`. The floor has the numbers of
    /// all keys and producers with entries from the end of this log up to that position.
    pub fn advance(&mut self, floor: Floor) {
        let from = self.end;
        while let Some(oldest) = self.segments.pop_front() {
            self.delete(oldest);
        }
        (self.start, self.end, self.bytes) = (floor.at, floor.at, 0);
        self.epochs.clear();
        if let Some(last) = floor.at.checked_sub(1) {
            self.epochs.push((floor.epoch, last));
        }
        // The positions of these deleted entries are not known. The log only needs an order of the
        // keys and producers in which few of them share a position.
        let count = floor.next.len() as u64;
        for ((name, first), nth) in floor.next.into_iter().zip(0..) {
            let place = self.place(name);
            if let Some(key) = self.keys.get_mut(index(place.into())) {
                key.first = first;
            }
            self.note_deleted(Item::Key(place), spread(from..floor.at, nth, count));
        }
        let count = floor.producers.len() as u64;
        for ((node, life, number), nth) in floor.producers.into_iter().zip(0..) {
            let place = self.producers.raise_floor(Producer { node, life }, number);
            self.note_deleted(Item::Producer(place), spread(from..floor.at, nth, count));
        }
    }
}

/// The position of the `nth` of `count` items that are spread evenly over a range of positions. It is
/// before the end of the range even if the range is empty: a snapshot looks for deleted items only
/// before the first entry.
fn spread(range: Range<Position>, nth: u64, count: u64) -> Position {
    let length = range.end.saturating_sub(range.start);
    let before = u128::from(length).saturating_mul(nth.into()).checked_div(count.into());
    let at =
        range.start.saturating_add(before.and_then(|before| before.try_into().ok()).unwrap_or(0));
    at.min(range.end.saturating_sub(1))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]
mod tests;
