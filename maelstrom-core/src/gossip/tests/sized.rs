//! A set whose values claim a size. So sizes and times are those of a real cluster, but the memory
//! is not.

use std::collections::BTreeSet;

use super::*;

/// A value that claims a size in bytes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Value<const BYTES: usize>(u32);

impl<const BYTES: usize> Entry for Value<BYTES> {
    fn encoded_len(&self) -> usize {
        BYTES
    }
}

/// Like a [`Set`], with such values.
#[derive(Clone, Debug, Default)]
pub(super) struct Sized<const BYTES: usize>(Set);

impl<const BYTES: usize> Sized<BYTES> {
    pub(super) fn has(&self, value: u32) -> bool {
        self.0.has(value)
    }
}

impl<const BYTES: usize> State for Sized<BYTES> {
    type Entry = Value<BYTES>;
    type Piece = Vec<u32>;

    fn apply(&mut self, origin: &Origin, entries: Vec<Value<BYTES>>) {
        self.0.apply(origin, entries.into_iter().map(|Value(value)| value).collect());
    }

    fn piece(&self, position: u64, bytes_max: usize) -> (Vec<u32>, Option<u64>) {
        self.0.piece(position, bytes_max / BYTES * VALUE_BYTES)
    }

    fn piece_bytes(piece: &Vec<u32>) -> usize {
        piece.len() * BYTES
    }

    fn bytes(&self) -> usize {
        self.0.len() * BYTES
    }

    fn merge(&mut self, pieces: Vec<Vec<u32>>) -> Result<(), Error> {
        self.0.merge(pieces)
    }
}

impl<const BYTES: usize> Values for Sized<BYTES> {
    fn entry(&self, _origin: &Origin, value: u32) -> Value<BYTES> {
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
