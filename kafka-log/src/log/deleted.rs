//! An index of the deleted entries: the keys and producers of a log's [`Floor`], in the order of
//! their last deleted entries.
//!
//! A snapshot writes the floor in parts, in this order. Between two parts the log may delete more.
//! The keys and producers of the new deletions move to the end of the order, behind everything that
//! has been written. So a snapshot that goes on where it ended writes their newest numbers, and
//! needs no memory of written ones.
//!
//! [`Floor`]: crate::wire::Floor

use std::collections::BTreeSet;

use crate::wire::Position;

/// A key or a producer, by its index in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Key(u32),
    Producer(u32),
}

/// The positions of the last deleted entries of keys and producers.
#[derive(Clone, Debug, Default)]
pub(super) struct Deleted {
    keys: Vec<Option<Position>>,
    producers: Vec<Option<Position>>,
    order: BTreeSet<(Position, Item)>,
}

impl Deleted {
    /// Notes that the entry at a position was the last deleted one of `item`. Returns true if the
    /// item had no deleted entry before.
    pub(super) fn note(&mut self, item: Item, at: Position) -> bool {
        let (all, place) = match item {
            Item::Key(place) => (&mut self.keys, super::index(place.into())),
            Item::Producer(place) => (&mut self.producers, super::index(place.into())),
        };
        if all.len() <= place {
            all.resize(place.saturating_add(1), None);
        }
        let before = all.get_mut(place).and_then(|last| last.replace(at));
        if let Some(before) = before {
            self.order.remove(&(before, item));
        }
        self.order.insert((at, item));
        before.is_none()
    }

    /// The items whose last deleted entry is at `from` or later, in order.
    pub(super) fn since(&self, from: Position) -> impl Iterator<Item = (Position, Item)> {
        self.order.range((from, Item::Key(0))..).copied()
    }
}
