//! Snapshots of a pass, so that it can go back to an earlier event.

use std::rc::Rc;

use super::configuration::Configuration;
use super::model::Model;
use super::search::Open;

/// A pass as it was before an event.
pub(super) struct Snapshot<M: Model> {
    pub(super) event: usize,
    /// The frontier, with the states themselves.
    pub(super) frontier: Vec<(Configuration, M::State)>,
    pub(super) open: Vec<Open>,
    pub(super) called: Vec<u32>,
    pub(super) dropped: bool,
}

/// Recent snapshots at several distances.
pub(super) struct Snapshots<M: Model> {
    /// The snapshots for each try. Each try has at most two, the older one first.
    by_try: Vec<Vec<Rc<Snapshot<M>>>>,
}

impl<M: Model> Snapshots<M> {
    pub(super) fn new(tries: u32) -> Self {
        Self { by_try: (0..tries).map(|_| Vec::new()).collect() }
    }

    /// How many events lie between the snapshots for a try.
    const fn distance(number: u32) -> usize {
        64 << (2 * number)
    }

    /// Takes a snapshot if one is due before this event.
    pub(super) fn at(&mut self, event: usize, snapshot: impl FnOnce() -> Snapshot<M>) {
        if self.by_try.is_empty() || !event.is_multiple_of(Self::distance(0)) {
            return;
        }
        let new = Rc::new(snapshot());
        for (number, kept) in (0..).zip(&mut self.by_try) {
            if event.is_multiple_of(Self::distance(number)) {
                kept.retain(|old| old.event < event);
                if kept.len() > 1 {
                    kept.remove(0);
                }
                kept.push(Rc::clone(&new));
            }
        }
    }

    /// The snapshot to which this try goes back. Forgets all later ones.
    pub(super) fn go_back(&mut self, number: u32) -> Option<Rc<Snapshot<M>>> {
        let kept = self.by_try.get(usize::try_from(number).ok()?)?;
        let snapshot = Rc::clone(kept.first()?);
        for kept in &mut self.by_try {
            kept.retain(|old| old.event <= snapshot.event);
        }
        Some(snapshot)
    }
}
