//! Interns states: stores each state once and gives it a number.

use std::collections::BTreeMap;

use super::model::Model;
use super::timeline::{Timeline, hash};

/// The number of an interned state.
pub(super) type StateId = u32;

/// Interns states, and caches where indeterminate operations lead from each.
pub(super) struct States<M: Model> {
    by_hash: BTreeMap<u64, Vec<StateId>>,
    states: Vec<Known<M::State>>,
}

struct Known<S> {
    state: S,
    /// The classes that change this state, each with the state after it.
    moves: Vec<(usize, StateId)>,
    /// How many classes the search has tried in this state.
    tried: usize,
}

impl<M: Model> States<M> {
    pub(super) const fn new() -> Self {
        Self { by_hash: BTreeMap::new(), states: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn get(&self, id: StateId) -> Option<&M::State> {
        self.known(id).map(|known| &known.state)
    }

    fn known(&self, id: StateId) -> Option<&Known<M::State>> {
        self.states.get(usize::try_from(id).ok()?)
    }

    /// The number of a state. A state that is new gets a new number.
    pub(super) fn intern(&mut self, state: M::State) -> StateId {
        let same_hash = self.by_hash.entry(hash(&state)).or_default();
        for id in same_hash.iter() {
            let known = usize::try_from(*id).ok().and_then(|at| self.states.get(at));
            if known.is_some_and(|known| known.state == state) {
                return *id;
            }
        }
        // The search reaches its limit on entries long before it runs out of numbers.
        let id = StateId::try_from(self.states.len()).unwrap_or(StateId::MAX);
        same_hash.push(id);
        self.states.push(Known { state, moves: Vec::new(), tried: 0 });
        id
    }

    /// The state after an operation. `None` if it is not legal.
    pub(super) fn step(&mut self, model: &M, from: StateId, op: &M::Op) -> Option<StateId> {
        let next = model.step(self.get(from)?, op)?;
        if self.get(from) == Some(&next) {
            return Some(from);
        }
        Some(self.intern(next))
    }

    /// Tries the first `classes` classes in a state, without those tried before. Returns how many
    /// steps that took.
    pub(super) fn explore(
        &mut self,
        timeline: &Timeline<'_, M>,
        from: StateId,
        classes: usize,
    ) -> u64 {
        let tried = self.known(from).map_or(classes, |known| known.tried);
        let mut moves = Vec::new();
        for class in tried..classes {
            let Some(op) = timeline.representative(class) else { continue };
            let to = self.step(timeline.model, from, op);
            moves.extend(to.filter(|to| *to != from).map(|to| (class, to)));
        }
        if let Some(known) = usize::try_from(from).ok().and_then(|at| self.states.get_mut(at)) {
            known.moves.append(&mut moves);
            known.tried = known.tried.max(classes);
        }
        u64::try_from(classes.saturating_sub(tried)).unwrap_or(u64::MAX)
    }

    /// One of the moves that [`Self::explore`] found.
    pub(super) fn a_move(&self, from: StateId, at: usize) -> Option<(usize, StateId)> {
        self.known(from)?.moves.get(at).copied()
    }
}
