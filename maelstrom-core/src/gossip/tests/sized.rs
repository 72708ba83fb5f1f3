//! A set whose values claim a size. So sizes and times are those of a real cluster, but the memory
//! is not. Each thread has one size, not each type: rustc would build the engine once for each type.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::*;

thread_local! {
    static VALUE_SIZE: Cell<usize> = const { Cell::new(0) };
}

/// Sets the size in bytes of each value that this thread handles from now on.
pub(super) fn set_value_bytes(bytes: usize) {
    VALUE_SIZE.set(bytes);
}

fn value_bytes() -> usize {
    VALUE_SIZE.get()
}

/// A value that claims a size in bytes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Value(u32);

impl Entry for Value {
    fn encoded_len(&self) -> usize {
        value_bytes()
    }
}

/// Like a [`Set`], with such values.
#[derive(Clone, Debug, Default)]
pub(super) struct Sized(Set);

impl Sized {
    pub(super) fn has(&self, value: u32) -> bool {
        self.0.has(value)
    }
}

impl State for Sized {
    type Entry = Value;
    type Piece = Vec<u32>;

    fn apply(&mut self, origin: &Origin, entries: Vec<Value>) {
        self.0.apply(origin, entries.into_iter().map(|Value(value)| value).collect());
    }

    fn piece(&self, position: u64, bytes_max: usize) -> (Vec<u32>, Option<u64>) {
        self.0.piece(position, bytes_max / value_bytes() * VALUE_BYTES)
    }

    fn piece_bytes(piece: &Vec<u32>) -> usize {
        piece.len() * value_bytes()
    }

    fn bytes(&self) -> usize {
        self.0.len() * value_bytes()
    }

    fn merge(&mut self, pieces: Vec<Vec<u32>>) -> Result<(), Error> {
        self.0.merge(pieces)
    }
}

impl Values for Sized {
    fn entry(&self, _origin: &Origin, value: u32) -> Value {
        Value(value)
    }

    fn values(&self) -> BTreeSet<u32> {
        self.0.values()
    }

    fn applied(&self) -> BTreeSet<u32> {
        self.0.applied()
    }

    fn is_within(&self, all: &BTreeSet<u32>) -> bool {
        self.0.is_within(all)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn values_in(piece: &Vec<u32>) -> usize {
        piece.len()
    }
}
