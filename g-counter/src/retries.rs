//! Which requests have been served lately, so that one that comes again is known.

use std::collections::{BTreeSet, VecDeque};

use maelstrom_core::{MsgId, NodeId, Request};

/// A sender names each of its requests once: the two together name a request of anybody.
type Name = (NodeId, MsgId);

/// The names of the last few requests. Of more than its limit the oldest is forgotten.
#[derive(Debug)]
pub(crate) struct Recent {
    /// The oldest first.
    order: VecDeque<Name>,
    /// Always what is in `order`.
    names: BTreeSet<Name>,
    len_max: usize,
}

impl Recent {
    pub(crate) fn new(len_max: usize) -> Self {
        Self { order: VecDeque::new(), names: BTreeSet::new(), len_max }
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
        self.order.push_back(name);
        if self.order.len() > self.len_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
        debug_assert_eq!(self.order.len(), self.names.len());
    }
}

fn name(request: &Request) -> Option<Name> {
    Some((request.src().clone(), request.msg_id()?))
}
