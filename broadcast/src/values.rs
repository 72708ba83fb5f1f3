//! The set: JSON texts, each once, in the order in which this node learned of them.
//!
//! All texts are in one buffer, separated by commas. This is the inside of the list that a read
//! returns, so a read only copies bytes. Beside its own text, a value costs a comma, the position
//! of its end, and its place in the index: about 20 bytes.
//!
//! The index is many small tables. They grow one at a time, so no value takes long to add, however
//! many there are.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use hashbrown::HashTable;
use maelstrom_core::Error;
use maelstrom_core::gossip::{Origin, State};
use serde_json::value::RawValue;

use crate::Value;

/// A set of JSON texts that only grows.
#[derive(Clone, Debug, Default)]
pub struct Values {
    text: String,
    /// The position in `text` at which each value ends.
    ends: Vec<usize>,
    index: Index,
}

/// Places in [`Values::ends`], by the hash of the value's text. Never iterated.
#[derive(Clone, Debug, Default)]
struct Index {
    /// [`TABLES`] of them, or none yet.
    tables: Vec<HashTable<u32>>,
}

/// Number of tables. With five million values, a table that grows moves 20,000 of them.
const TABLES: usize = 256;

/// The number of the table for a hash. The tables themselves use the lowest and the highest bits.
fn table_of(hash: u64) -> usize {
    let [_, _, _, _, byte, ..] = hash.to_le_bytes();
    usize::from(byte)
}

impl Index {
    fn find(&self, hash: u64, is_it: impl FnMut(&u32) -> bool) -> Option<u32> {
        self.tables.get(table_of(hash))?.find(hash, is_it).copied()
    }

    fn insert(&mut self, hash: u64, at: u32, rehash: impl Fn(&u32) -> u64) {
        if self.tables.is_empty() {
            self.tables.resize_with(TABLES, HashTable::new);
        }
        if let Some(table) = self.tables.get_mut(table_of(hash)) {
            table.insert_unique(hash, at, rehash);
        }
    }

    fn allocation_size(&self) -> usize {
        self.tables.iter().map(HashTable::allocation_size).sum()
    }
}

/// A hash that is the same in every run.
fn hash(text: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

/// The value at a place in `ends`.
fn value_at<'a>(text: &'a str, ends: &[usize], at: u32) -> &'a str {
    let Ok(at) = usize::try_from(at) else { return "" };
    // One more for the comma.
    let before = at.checked_sub(1).and_then(|before| ends.get(before));
    let start = before.map_or(0, |end| end.saturating_add(1));
    ends.get(at).and_then(|end| text.get(start..*end)).unwrap_or_default()
}

impl Values {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All values as the inside of a JSON list: `1,"two",{"three":3}`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True if this text is one of the values.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.position(text).is_some()
    }

    /// Number of values that this node learned of before this one. It never changes.
    #[must_use]
    pub fn position(&self, text: &str) -> Option<usize> {
        let is_it = |at: &u32| value_at(&self.text, &self.ends, *at) == text;
        let at = self.index.find(hash(text), is_it)?;
        usize::try_from(at).ok()
    }

    /// Estimated size in memory, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let ends = self.ends.capacity().saturating_mul(size_of::<usize>());
        self.text.capacity().saturating_add(ends).saturating_add(self.index.allocation_size())
    }

    /// The texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0_u32..).take(self.ends.len()).map(|at| value_at(&self.text, &self.ends, at))
    }

    /// Adds a text that is JSON. Returns true if it is new.
    fn insert(&mut self, text: &str) -> bool {
        let Ok(at) = u32::try_from(self.ends.len()) else {
            return false;
        };
        let hash = hash(text);
        if self.contains(text) {
            return false;
        }
        if at > 0 {
            self.text.push(',');
        }
        self.text.push_str(text);
        self.ends.push(self.text.len());
        let Self { text, ends, index } = self;
        let rehash = |at: &u32| self::hash(value_at(text, ends, *at));
        index.insert(hash, at, rehash);
        true
    }
}

impl State for Values {
    type Entry = Value;
    /// A list of values.
    type Piece = Box<RawValue>;

    fn apply(&mut self, _origin: &Origin, entries: Vec<Value>) {
        for value in entries {
            self.insert(value.text());
        }
    }

    /// The position is one in `text`. Values that are added later come behind it.
    fn piece(&self, position: u64, bytes_max: usize) -> (Box<RawValue>, Option<u64>) {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let limit = start.saturating_add(bytes_max);
        let after = self.ends.partition_point(|end| *end <= limit);
        let first = self.ends.partition_point(|end| *end <= start);
        // At least one, if there is any.
        let after = after.max(first.saturating_add(1)).min(self.ends.len());
        let end = after.checked_sub(1).and_then(|last| self.ends.get(last)).copied();
        let end = end.unwrap_or_default().max(start);
        let list = format!("[{}]", self.text.get(start..end).unwrap_or_default());
        let next = (end < self.text.len()).then_some(end.saturating_add(1) as u64);
        (RawValue::from_string(list).unwrap_or_else(|_| RawValue::NULL.to_owned()), next)
    }

    fn piece_bytes(piece: &Box<RawValue>) -> usize {
        piece.get().len()
    }

    fn bytes(&self) -> usize {
        self.text.len()
    }

    fn merge(&mut self, pieces: Vec<Box<RawValue>>) -> Result<(), Error> {
        let lists = pieces.iter().map(|piece| serde_json::from_str(piece.get()));
        let lists: Vec<Vec<&RawValue>> = lists
            .collect::<Result<_, _>>()
            .map_err(|_| Error::malformed_request("field `piece`: not a list of values"))?;
        for value in lists.into_iter().flatten() {
            self.insert(value.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str]) -> Values {
        let mut values = Values::default();
        for text in texts {
            values.insert(text);
        }
        values
    }

    #[test]
    fn a_value_is_there_once_and_in_the_order_it_came() {
        let mut values = values(&["1", "\"a,b\"", "[1,2]"]);
        assert!(!values.insert("\"a,b\""));
        assert!(values.insert("1.0"));
        assert_eq!(values.text(), r#"1,"a,b",[1,2],1.0"#);
        assert_eq!(values.iter().collect::<Vec<_>>(), ["1", "\"a,b\"", "[1,2]", "1.0"]);
        assert!(values.contains("[1,2]") && !values.contains("2"));
        assert_eq!((values.position("1.0"), values.position("2")), (Some(3), None));
        assert_eq!(values.len(), 4);
    }

    #[test]
    fn an_index_that_grows_moves_few_values_at_a_time() {
        let (mut index, mut most) = (Index::default(), 0);
        let hash_of = |at: u32| hash(&at.to_string());
        for at in 0..200_000 {
            let moved = std::cell::Cell::new(0);
            index.insert(hash_of(at), at, |at| {
                moved.set(moved.get() + 1);
                hash_of(*at)
            });
            most = most.max(moved.get());
        }
        assert!(most <= 200_000 / 100, "{most}");
        let is_found = |at: u32| index.find(hash_of(at), |other| *other == at) == Some(at);
        assert!((0..200_000).all(is_found) && !is_found(200_000));
    }

    #[test]
    fn pieces_of_any_size_make_the_whole_again() {
        let texts: Vec<String> = (0..100).map(|n| format!("\"{}\"", "x".repeat(n))).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for bytes_max in [0, 1, 10, 100, 1_000, 100_000] {
            let from = values(&texts);
            let (mut to, mut position, mut pieces) = (values(&texts[90..]), Some(0), 0);
            while let Some(at) = position {
                let (piece, next) = from.piece(at, bytes_max);
                assert!(piece.get().len() <= bytes_max.max(102) + 2, "{bytes_max}");
                to.merge(vec![piece]).unwrap();
                assert!(next.is_none_or(|next| next > at), "it goes on");
                (position, pieces) = (next, pieces + 1);
            }
            assert_eq!(to.len(), 100);
            assert!(texts.iter().all(|text| to.contains(text)));
            assert_eq!(pieces == 1, bytes_max == 100_000);
        }
    }

    #[test]
    fn there_is_a_piece_of_nothing_and_none_beyond_the_end() {
        assert_eq!(values(&[]).piece(0, 10).0.get(), "[]");
        assert_eq!(values(&["1"]).piece(u64::MAX, 10).0.get(), "[]");
        assert!(values(&[]).merge(vec![RawValue::from_string("5".into()).unwrap()]).is_err());
    }

    #[test]
    fn values_that_are_added_during_a_transfer_come_in_a_later_piece() {
        let mut from = values(&["1", "2"]);
        let (_, next) = from.piece(0, 1);
        from.insert("3");
        assert_eq!(from.piece(next.unwrap(), 100).0.get(), "[2,3]");
    }
}
