//! The names of recent requests, so that a node recognizes a request that comes again.

use std::collections::{BTreeSet, VecDeque};

use maelstrom_core::{MsgId, NodeId, Request};

/// The name of a request: a sender uses each message id once.
type Name = (NodeId, MsgId);

/// Largest size of all senders' names, in bytes. If a client's name is long, the node recognizes
/// fewer of its requests.
const BYTES_MAX: usize = 4 << 20;

/// The names of the last requests. Above the limits of their number and bytes, the oldest is
/// forgotten.
#[derive(Debug)]
pub(crate) struct Recent {
    /// The oldest first.
    order: VecDeque<Name>,
    /// The same names as in `order`.
    names: BTreeSet<Name>,
    /// The size of the senders' names.
    bytes: usize,
    len_max: usize,
}

impl Recent {
    pub(crate) fn new(len_max: usize) -> Self {
        Self { order: VecDeque::new(), names: BTreeSet::new(), bytes: 0, len_max }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// True if the request is among them. A request without a message id never is.
    pub(crate) fn contains(&self, request: &Request) -> bool {
        name(request).is_some_and(|name| self.names.contains(&name))
    }

    /// Adds a request, if it has a message id.
    pub(crate) fn insert(&mut self, request: &Request) {
        let Some(name) = name(request) else {
            return;
        };
        if !self.names.insert(name.clone()) {
            return;
        }
        self.bytes = self.bytes.saturating_add(name.0.len());
        self.order.push_back(name);
        while self.order.len() > self.len_max || self.bytes > BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.0.len());
            self.names.remove(&oldest);
        }
        debug_assert_eq!(self.order.len(), self.names.len());
    }
}

fn name(request: &Request) -> Option<Name> {
    Some((request.src().clone(), request.msg_id()?))
}
