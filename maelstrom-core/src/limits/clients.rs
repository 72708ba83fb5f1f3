//! The token buckets of clients.
//!
//! Invariants:
//!
//! * There are at most [`CLIENTS_MAX`] buckets and the shared one. Only clients with short names
//!   have their own bucket.
//! * Each message of a client takes a token of some bucket, whatever name the client uses.
//! * A client never gets more than its rate, even if it had no bucket of its own or lost it: only a
//!   full bucket is dropped, and a new bucket starts with the tokens of the shared one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bucket::{Bucket, Rate};
use crate::message::NodeId;

/// Limit on the number of clients with their own bucket.
pub const CLIENTS_MAX: usize = if cfg!(test) { 8 } else { 1024 };

/// A client with a longer name has no bucket of its own.
pub const NAME_BYTES_MAX: usize = 64;

/// The buckets of all clients.
#[derive(Debug)]
pub(super) struct Clients {
    rate: Rate,
    buckets: BTreeMap<NodeId, Bucket>,
    /// The same buckets, sorted by the time at which they will be full.
    order: BTreeSet<(Bucket, NodeId)>,
    /// The bucket of all other clients.
    shared: Bucket,
}

impl Clients {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, buckets: BTreeMap::new(), order: BTreeSet::new(), shared: Bucket::default() }
    }

    /// The bucket of this client with one token less, to be stored with [`put`](Self::put). `None`:
    /// it has no token.
    pub(super) fn take(&self, name: &NodeId, now: Duration) -> Option<Bucket> {
        self.buckets.get(name).unwrap_or(&self.shared).take(self.rate, now)
    }

    /// Stores the bucket of this client.
    pub(super) fn put(&mut self, name: &NodeId, bucket: Bucket, now: Duration) {
        if let Some(own) = self.buckets.get_mut(name) {
            let before = std::mem::replace(own, bucket);
            self.order.remove(&(before, name.clone()));
        } else if name.len() <= NAME_BYTES_MAX && self.make_room(now) {
            self.buckets.insert(name.clone(), bucket);
        } else {
            self.shared = bucket;
            return;
        }
        self.order.insert((bucket, name.clone()));
        debug_assert!(self.buckets.len() == self.order.len() && self.order.len() <= CLIENTS_MAX);
    }

    /// Returns whether there is room for one more bucket. Drops a full one if necessary.
    fn make_room(&mut self, now: Duration) -> bool {
        if self.buckets.len() < CLIENTS_MAX {
            return true;
        }
        let first = self.order.first().filter(|(bucket, _)| bucket.is_full(self.rate, now));
        let Some(first) = first.cloned() else { return false };
        self.order.remove(&first);
        self.buckets.remove(&first.1);
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }
}
