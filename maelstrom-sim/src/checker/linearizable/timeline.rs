//! The history as the search needs it: calls and returns in order, and classes of equal operations.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::covers::Covers;
use super::model::Model;
use super::{Operation, Reason};

/// A call or a return. It names the operation by its index in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Call(usize),
    Return(usize),
}

/// A class of equal indeterminate operations. They are interchangeable, so only their number
/// counts.
#[derive(Debug, Default)]
pub(super) struct Class {
    /// The operations of the class, in the order of their calls.
    pub(super) members: Vec<usize>,
}

/// A history in the order of its calls and returns.
///
/// Classes are in the order of their first calls. So the classes that have been called by some
/// event are always the first few.
pub(super) struct Timeline<'a, M: Model> {
    pub(super) model: &'a M,
    pub(super) ops: &'a [Operation<M::Op>],
    pub(super) events: Vec<Event>,
    pub(super) classes: Vec<Class>,
    /// The class of each indeterminate operation.
    class_of: BTreeMap<usize, usize>,
    pub(super) covers: Covers,
}

impl<'a, M: Model> Timeline<'a, M> {
    /// Sorts the calls and returns. A call and a return at the same time are concurrent, so the
    /// call goes first.
    pub(super) fn new(model: &'a M, ops: &'a [Operation<M::Op>]) -> Result<Self, Reason> {
        let is_reversed = |op: &Operation<M::Op>| op.returned.is_some_and(|end| end < op.call);
        if let Some(at) = ops.iter().position(is_reversed) {
            return Err(Reason::ReturnsBeforeCall(at));
        }
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(ops.len() * 2);
        for (at, op) in ops.iter().enumerate() {
            events.push((op.call, false, at));
            events.extend(op.returned.map(|end| (end, true, at)));
        }
        events.sort_unstable();
        let event =
            |&(_, returns, at): &_| if returns { Event::Return(at) } else { Event::Call(at) };
        let events = events.iter().map(event).collect();
        let (classes, class_of, covers) = (Vec::new(), BTreeMap::new(), Covers::default());
        let mut timeline = Self { model, ops, events, classes, class_of, covers };
        timeline.classify();
        let all = (0..timeline.classes.len()).filter_map(|class| timeline.representative(class));
        timeline.covers = Covers::new(model, &all.collect::<Vec<_>>());
        Ok(timeline)
    }

    fn classify(&mut self) {
        let mut by_hash: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for event in &self.events {
            let Event::Call(at) = *event else { continue };
            let Some(op) = self.ops.get(at).filter(|op| op.returned.is_none()) else { continue };
            // A read changes nothing, so an indeterminate one never helps another operation.
            if self.model.is_read(&op.op) {
                continue;
            }
            let same_hash = by_hash.entry(hash(&op.op)).or_default();
            let is_equal = |class: &&usize| {
                let member = self.classes.get(**class).and_then(|class| class.members.first());
                member.and_then(|at| self.ops.get(*at)).is_some_and(|other| other.op == op.op)
            };
            let class = same_hash.iter().find(is_equal).copied().unwrap_or_else(|| {
                same_hash.push(self.classes.len());
                self.classes.push(Class::default());
                self.classes.len() - 1
            });
            if let Some(class) = self.classes.get_mut(class) {
                class.members.push(at);
            }
            self.class_of.insert(at, class);
        }
    }

    /// The operation at an index of the history, with its result.
    pub(super) fn op(&self, at: usize) -> Option<&'a M::Op> {
        self.ops.get(at).map(|op| &op.op)
    }

    /// The class of an indeterminate operation. `None` for an operation that returned, and for a
    /// read.
    pub(super) fn class_of(&self, at: usize) -> Option<usize> {
        self.class_of.get(&at).copied()
    }

    /// An operation that represents its class.
    pub(super) fn representative(&self, class: usize) -> Option<&'a M::Op> {
        self.op(*self.classes.get(class)?.members.first()?)
    }

    /// The member of a class that takes effect after `used` others.
    pub(super) fn member(&self, class: usize, used: u32) -> Option<usize> {
        self.classes.get(class)?.members.get(usize::try_from(used).ok()?).copied()
    }
}

/// A hash that is the same in every run.
pub(super) fn hash<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
