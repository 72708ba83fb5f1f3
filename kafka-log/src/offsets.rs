//! Committed offsets: the largest offset that was ever committed, by key. They gossip.
//!
//! The invariant: an offset only rises. So the larger of two offsets is the newer one, and the join
//! of two replicas takes the larger one for each key. Lost, repeated and late messages do no harm.
//! This is a map of max-registers (Shapiro et al., *A comprehensive study of convergent and
//! commutative replicated data types*, 2011).
//!
//! All sizes are bytes of JSON: a key of control characters is six times longer there. An update
//! takes at most half of a line, as the gossip engine demands of an entry. So does each key with
//! its offset. The handler refuses longer requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use maelstrom_core::Error;
use maelstrom_core::gossip::{Entry, Origin, State};
use serde::{Deserialize, Serialize};

use crate::wire::{Offsets, string_len};

/// The largest size of an offset as JSON, with colon and comma.
pub(crate) const OFFSET_BYTES: usize = 22;

/// The length of offsets of these keys as JSON, in bytes. Each offset counts as the longest one.
pub(crate) fn offsets_len<'a>(keys: impl IntoIterator<Item = &'a Arc<str>>) -> usize {
    keys.into_iter().map(|key| register_len(key)).fold(2, usize::saturating_add)
}

/// The length of a key and its offset as JSON, in bytes. The offset counts as the longest one.
fn register_len(key: &str) -> usize {
    string_len(key).saturating_add(OFFSET_BYTES)
}

/// The offsets that rose by one request: the entry that a node gossips.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OffsetUpdate(pub Offsets);

impl Entry for OffsetUpdate {
    fn encoded_len(&self) -> usize {
        offsets_len(self.0.keys())
    }
}

/// The committed offsets.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    offsets: BTreeMap<Arc<str>, Place>,
    /// The keys by their stamps. A key moves to the end whenever its offset rises.
    order: BTreeMap<u64, Arc<str>>,
    next_stamp: u64,
    /// The length of all offsets as JSON, in bytes. Each offset counts as the longest one.
    bytes: usize,
}

/// The offset of a key.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    /// A number that grows with every rise of any offset here.
    stamp: u64,
}

impl Committed {
    /// The committed offset of a key, if there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<u64> {
        self.offsets.get(key).map(|place| place.offset)
    }

    /// Number of keys with a committed offset.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// True if no key has a committed offset.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The offsets that are above the committed ones.
    #[must_use]
    pub fn newer(&self, offsets: Offsets) -> OffsetUpdate {
        let rises =
            |key: &Arc<str>, offset: &u64| self.get(key).is_none_or(|known| known < *offset);
        OffsetUpdate(offsets.into_iter().filter(|(key, offset)| rises(key, offset)).collect())
    }

    /// Merges an update: an offset of it counts if it is above the committed one.
    pub fn merge_update(&mut self, update: OffsetUpdate) {
        for (key, offset) in update.0 {
            self.raise(key, offset);
        }
    }

    fn raise(&mut self, key: Arc<str>, offset: u64) {
        let stamp = self.next_stamp;
        match self.offsets.get_mut(&key) {
            Some(place) if place.offset >= offset => return,
            Some(place) => {
                self.order.remove(&place.stamp);
                *place = Place { offset, stamp };
            }
            None => {
                self.bytes = self.bytes.saturating_add(register_len(&key));
                self.offsets.insert(key.clone(), Place { offset, stamp });
            }
        }
        self.order.insert(stamp, key);
        self.next_stamp = stamp.saturating_add(1);
    }
}

impl State for Committed {
    type Entry = OffsetUpdate;
    type Piece = Offsets;

    fn apply(&mut self, _origin: &Origin, entries: Vec<OffsetUpdate>) {
        entries.into_iter().for_each(|update| self.merge_update(update));
    }

    /// The position is a stamp. An offset that rises later comes again in a later piece.
    fn piece(&self, position: u64, bytes_max: usize) -> (Offsets, Option<u64>) {
        let (mut piece, mut bytes) = (BTreeMap::new(), 0_usize);
        for (stamp, key) in self.order.range(position..) {
            bytes = bytes.saturating_add(register_len(key));
            if bytes > bytes_max && !piece.is_empty() {
                return (piece, Some(*stamp));
            }
            piece.insert(key.clone(), self.get(key).unwrap_or(0));
        }
        (piece, None)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn merge(&mut self, pieces: Vec<Offsets>) -> Result<(), Error> {
        pieces.into_iter().for_each(|piece| self.merge_update(OffsetUpdate(piece)));
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin() -> Origin {
        Origin { node: "n1".into(), incarnation: 1 }
    }

    fn any_offsets() -> impl Strategy<Value = Offsets> {
        prop::collection::btree_map("[a-e]".prop_map(Arc::from), 0..20_u64, 0..6)
    }

    fn offsets(committed: &Committed) -> Offsets {
        committed.offsets.iter().map(|(key, place)| (key.clone(), place.offset)).collect()
    }

    fn of(all: &[Offsets]) -> Committed {
        let mut committed = Committed::default();
        committed.apply(&origin(), all.iter().cloned().map(OffsetUpdate).collect());
        committed
    }

    proptest! {
        #[test]
        fn the_largest_offset_of_each_key_wins_in_any_order(
            all in prop::collection::vec(any_offsets(), 0..8).prop_shuffle(),
        ) {
            let mut naive = Offsets::new();
            for (key, offset) in all.iter().flatten() {
                let known = naive.entry(key.clone()).or_default();
                *known = (*offset).max(*known);
            }
            prop_assert_eq!(offsets(&of(&all)), naive);
        }

        #[test]
        fn pieces_of_any_size_make_the_whole_again_and_never_lower_anything(
            from in prop::collection::vec(any_offsets(), 0..8),
            to in any_offsets(),
            bytes_max in 0..200_usize,
        ) {
            let from = of(&from);
            let mut merged = of(std::slice::from_ref(&to));
            let mut position = Some(0);
            while let Some(at) = position {
                let (piece, next) = from.piece(at, bytes_max);
                merged.merge(vec![piece]).unwrap();
                prop_assert!(next.is_none_or(|next| next > at));
                position = next;
            }
            prop_assert_eq!(offsets(&merged), offsets(&of(&[offsets(&from), to])));
        }

        #[test]
        fn pieces_hold_all_that_is_there_when_the_last_is_taken(
            before in any_offsets(),
            meanwhile in prop::collection::vec(any_offsets(), 0..8),
            bytes_max in 0..60_usize,
        ) {
            let (mut from, mut merged) = (of(&[before]), Committed::default());
            let (mut meanwhile, mut position) = (meanwhile.into_iter(), Some(0));
            while let Some(at) = position {
                let (piece, next) = from.piece(at, bytes_max);
                merged.merge(vec![piece]).unwrap();
                if next.is_some() {
                    from.apply(&origin(), meanwhile.next().map(OffsetUpdate).into_iter().collect());
                }
                position = next;
            }
            prop_assert_eq!(offsets(&merged), offsets(&from));
        }

        #[test]
        fn an_offset_that_does_not_rise_is_in_no_update(
            known in any_offsets(),
            asked in any_offsets(),
        ) {
            let committed = of(std::slice::from_ref(&known));
            let OffsetUpdate(update) = committed.newer(asked.clone());
            for (key, offset) in asked {
                let rises = known.get(&key).is_none_or(|known| *known < offset);
                prop_assert_eq!(update.get(&key).copied(), rises.then_some(offset));
            }
        }

        #[test]
        fn an_entry_is_about_as_long_as_it_says(update in any_offsets().prop_map(OffsetUpdate)) {
            let len = serde_json::to_string(&update).unwrap().len();
            prop_assert!(len <= update.encoded_len() && update.encoded_len() <= len + 6 * 22);
        }

        #[test]
        fn a_piece_is_no_longer_than_it_may_be_or_has_one_key(
            all in prop::collection::btree_map(
                "[a\u{1}\"]{0,20}".prop_map(Arc::from),
                any::<u64>(),
                1..20,
            ),
            bytes_max in 0..600_usize,
        ) {
            let from = of(std::slice::from_ref(&all));
            prop_assert!(from.bytes() + 1 >= serde_json::to_string(&all).unwrap().len());
            let mut position = Some(0);
            while let Some(at) = position {
                let (piece, next) = from.piece(at, bytes_max);
                let len = serde_json::to_string(&piece).unwrap().len();
                prop_assert!(len <= bytes_max + 2 || piece.len() == 1, "{len} of {bytes_max}");
                position = next;
            }
        }
    }

    #[test]
    fn there_is_no_piece_beyond_the_end() {
        assert_eq!(of(&[]).piece(u64::MAX, 10), (Offsets::new(), None));
    }
}
