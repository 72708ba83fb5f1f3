//! Which requests have been served lately, so that one that comes again is known.

use std::collections::{BTreeSet, VecDeque};

use maelstrom_core::{MsgId, NodeId, Request};

/// A sender names each of its requests once: the two together name a request of anybody.
type Name = (NodeId, MsgId);

/// How many bytes of names are kept. A client whose name is long is recognised for fewer requests.
const BYTES_MAX: usize = 4 << 20;

/// The names of the last few requests. Beyond a number of them, or [`BYTES_MAX`], the oldest is
/// forgotten.
#[derive(Debug)]
pub(crate) struct Recent {
    /// The oldest first.
    order: VecDeque<Name>,
    /// Always what is in `order`.
    names: BTreeSet<Name>,
    /// The size of the senders' names.
    bytes: usize,
    len_max: usize,
}

impl Recent {
    pub(crate) fn new(len_max: usize) -> Self {
        Self { order: VecDeque::new(), names: BTreeSet::new(), bytes: 0, len_max }
    }

    /// Whether a request is among them. One without a name never is.
    pub(crate) fn contains(&self, request: &Request) -> bool {
        name(request).is_some_and(|name| self.names.contains(&name))
    }

    /// Adds a request, if it has a name.
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
