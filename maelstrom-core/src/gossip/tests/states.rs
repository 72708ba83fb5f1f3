//! Two states to replicate: a set whose entries are its values, and one in which each entry holds
//! all values of its origin so far.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cluster::Payload;
use super::*;
use crate::MessageHandler;
use crate::message::Request;

/// A state whose contents a test can inspect.
pub(super) trait Values: State + Clone + Default {
    /// The entry for the log of `origin` that adds `value` to the values.
    fn entry(&self, origin: &Origin, value: u32) -> Self::Entry;

    fn values(&self) -> BTreeSet<u32>;

    /// Whether it holds only values from this set.
    fn is_within(&self, all: &BTreeSet<u32>) -> bool {
        self.values().is_subset(all)
    }

    /// The values that arrived as entries, so that the node can name them.
    fn applied(&self) -> BTreeSet<u32> {
        self.values()
    }

    fn len(&self) -> usize {
        self.values().len()
    }

    /// How many values a piece of a snapshot contains, if a test needs that.
    fn values_in(_piece: &Self::Piece) -> usize {
        0
    }

    /// Whether it holds all numbers below `count`.
    fn has_first(&self, count: u32) -> bool {
        (0..count).all(|value| self.values().contains(&value))
    }
}

/// A handler that appends the values that clients send.
pub(super) struct Store<S: State> {
    pub(super) gossip: Gossip<S>,
}

impl<S: Values> Store<S> {
    pub(super) fn new(config: Config) -> Self {
        Self { gossip: Gossip::new(config, S::default()) }
    }
}

impl<S: Values> MessageHandler for Store<S> {
    type Payload = Payload<S>;
    type Event = Tick;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.gossip.recover(record)
    }

    fn started(&mut self, node: &mut Node<Tick>) {
        self.gossip.start(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Tick>,
        request: &Request,
        payload: Payload<S>,
    ) -> Result<(), Error> {
        match payload {
            Payload::Append { value } => {
                let entry = self.gossip.state().entry(&self.gossip.origin, value);
                self.gossip.append(node, entry);
                Ok(())
            }
            Payload::Gossip(message) => self.gossip.message_from(node, request.src(), *message),
        }
    }

    fn event(&mut self, node: &mut Node<Tick>, tick: Tick) {
        self.gossip.tick(node, tick);
    }
}

/// A set of numbers that ascend in each log.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    values: BTreeSet<u32>,
    /// The same values, in the order of their arrival.
    list: Vec<u32>,
    /// The values that arrived as entries, and the last value of each origin.
    applied: BTreeSet<u32>,
    last: BTreeMap<Origin, u32>,
}

pub(super) const VALUE_BYTES: usize = 10;

impl Entry for u32 {
    fn encoded_len(&self) -> usize {
        VALUE_BYTES
    }
}

impl State for Set {
    type Entry = u32;
    type Piece = Vec<u32>;

    fn apply(&mut self, origin: &Origin, entries: Vec<u32>) {
        assert!(!entries.is_empty());
        for value in entries {
            assert!(self.applied.insert(value), "{value} is applied twice");
            let before = self.last.insert(origin.clone(), value);
            assert!(before < Some(value), "{value} comes after {before:?}");
            self.insert(value);
        }
    }

    /// The values in the order of their arrival, so a later value belongs to a later part.
    fn piece(&self, position: u64, bytes_max: usize) -> (Vec<u32>, Option<u64>) {
        let start = usize::try_from(position).map_or(self.list.len(), |at| at.min(self.list.len()));
        let end = (start + (bytes_max / VALUE_BYTES).max(1)).min(self.list.len());
        let next = (end < self.list.len()).then_some(end as u64);
        (self.list[start..end].to_vec(), next)
    }

    fn bytes(&self) -> usize {
        self.values.len() * VALUE_BYTES
    }

    /// A piece with this number is invalid.
    fn merge(&mut self, pieces: Vec<Vec<u32>>) -> Result<(), Error> {
        if pieces.iter().any(|piece| piece.contains(&NONSENSE)) {
            return Err(Error::malformed_request("nonsense"));
        }
        pieces.into_iter().flatten().for_each(|value| self.insert(value));
        Ok(())
    }
}

impl Set {
    pub(super) fn has(&self, value: u32) -> bool {
        self.values.contains(&value)
    }

    fn insert(&mut self, value: u32) {
        if self.values.insert(value) {
            self.list.push(value);
        }
    }
}

pub(super) const NONSENSE: u32 = u32::MAX;

impl Values for Set {
    fn entry(&self, _origin: &Origin, value: u32) -> u32 {
        value
    }

    fn values(&self) -> BTreeSet<u32> {
        self.values.clone()
    }

    fn is_within(&self, all: &BTreeSet<u32>) -> bool {
        self.values.is_subset(all)
    }

    fn applied(&self) -> BTreeSet<u32> {
        self.applied.clone()
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn has_first(&self, count: u32) -> bool {
        (0..count).rev().all(|value| self.values.contains(&value))
    }
}

/// All values that an origin has appended so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sum(Vec<u32>);

impl Entry for Sum {
    const CUMULATIVE: bool = true;

    fn encoded_len(&self) -> usize {
        VALUE_BYTES
    }
}

/// The newest entry of each origin.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums(BTreeMap<Origin, Vec<u32>>);

impl State for Sums {
    type Entry = Sum;
    type Piece = ();

    fn apply(&mut self, origin: &Origin, entries: Vec<Sum>) {
        assert!(!entries.is_empty());
        for Sum(values) in entries {
            let before = self.0.insert(origin.clone(), values);
            let (before, now) = (before.unwrap_or_default(), &self.0[origin]);
            assert!(now.len() > before.len() && now.starts_with(&before), "out of order");
        }
    }

    fn piece(&self, _position: u64, _bytes_max: usize) -> ((), Option<u64>) {
        panic!("nobody needs a snapshot");
    }

    fn bytes(&self) -> usize {
        self.0.values().map(|values| values.len() * VALUE_BYTES).sum()
    }

    fn merge(&mut self, _pieces: Vec<()>) -> Result<(), Error> {
        panic!("nobody needs a snapshot");
    }
}

impl Values for Sums {
    fn entry(&self, origin: &Origin, value: u32) -> Sum {
        let mut values = self.0.get(origin).cloned().unwrap_or_default();
        values.push(value);
        Sum(values)
    }

    fn values(&self) -> BTreeSet<u32> {
        self.0.values().flatten().copied().collect()
    }
}
