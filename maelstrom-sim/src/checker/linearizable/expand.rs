//! Lets operations take effect before a certain operation returns.
//!
//! [`Pass::expand`] finds the operations that can help, and advances configurations until the
//! returning operation has taken effect in each. Every other operation takes effect as late as
//! possible.

use std::collections::VecDeque;

use super::Reason;
use super::configuration::{Antichain, Bits, Configuration, lengthen};
use super::model::Model;
use super::search::{Open, Pass};
use super::states::StateId;

/// The operations that may have to take effect before a certain operation.
struct Helpers {
    open: Vec<Open>,
    /// Whether a class is among them, by class.
    classes: Vec<bool>,
}

/// The configurations on the way to the operation that returns.
struct Expansion<'a> {
    /// The operation that returns.
    x: Open,
    helpers: Helpers,
    seen: Antichain<'a>,
    /// The configurations to advance, by the number of indeterminate operations used on the way.
    levels: Vec<VecDeque<Configuration>>,
}

impl Expansion<'_> {
    /// Queues a configuration, unless another one dominates it.
    fn push(&mut self, level: usize, configuration: Configuration) {
        let Some(new) = self.seen.insert(configuration).cloned() else { return };
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, VecDeque::new);
        }
        if let Some(queue) = self.levels.get_mut(level) {
            queue.push_back(new);
        }
    }
}

impl<'a, M: Model> Pass<'a, M> {
    /// From each start, lets operations take effect until `x` has. The results go to `next`.
    ///
    /// Visits configurations with fewer indeterminate operations first.
    pub(super) fn expand(
        &mut self,
        starts: &[Configuration],
        x: Open,
        next: &mut Antichain<'a>,
    ) -> Result<(), Reason> {
        let settled = starts.iter().fold(Bits::MAX, |bits, one| bits & (one.done | one.free));
        let helpers = self.helpers(x, settled);
        let seen = self.antichain();
        let mut expansion = Expansion { x, helpers, seen, levels: Vec::new() };
        for start in starts {
            expansion.push(0, start.clone());
        }
        let mut found = None;
        let mut level = 0;
        while level < expansion.levels.len() {
            let most = found.zip(self.policy.slack).map(|(found, slack): (usize, _)| found + slack);
            if most.is_some_and(|most| level > most) {
                self.dropped = true;
                break;
            }
            while let Some(one) = expansion.levels.get_mut(level).and_then(VecDeque::pop_front) {
                self.advance(&one, level, &mut expansion, next)?;
                let configurations = expansion.seen.len() + next.len();
                if configurations * self.size + self.states.len() > self.limits.entries {
                    return Err(Reason::Entries(self.limits.entries));
                }
            }
            found = found.or((!next.is_empty()).then_some(level));
            level += 1;
        }
        self.dropped |= expansion.seen.dropped;
        Ok(())
    }

    /// The operations that may have to come before `x`, directly or through another helper: those
    /// that cannot be moved behind it.
    ///
    /// A read helps no configuration. But the operations before an unsettled read can, because the
    /// read may need a state that `x` ends.
    fn helpers(&self, x: Open, settled: Bits) -> Helpers {
        let (timeline, model) = (self.timeline, self.timeline.model);
        let known = self.called.len();
        let mut helpers = Helpers { open: Vec::new(), classes: vec![false; known] };
        let is_other = |open: &&Open| open.op != x.op && !(open.is_read && settled & open.bit != 0);
        let mut open: Vec<Open> = self.open.iter().filter(is_other).copied().collect();
        let mut classes: Vec<usize> = (0..known).collect();
        let mut todo: Vec<&M::Op> = timeline.op(x.op).into_iter().collect();
        while let Some(later) = todo.pop() {
            let helps = |op: &M::Op| op != later && !model.swaps(op, later);
            open.retain(|one| {
                let Some(op) = timeline.op(one.op).filter(|op| helps(op)) else { return true };
                if !one.is_read {
                    helpers.open.push(*one);
                }
                todo.push(op);
                false
            });
            // Indeterminate operations need not come before one that overwrites the state.
            if model.overwrites(later) {
                continue;
            }
            classes.retain(|class| {
                let op = timeline.representative(*class).filter(|op| helps(op));
                let (Some(op), Some(is_helper)) = (op, helpers.classes.get_mut(*class)) else {
                    return true;
                };
                *is_helper = true;
                todo.push(op);
                false
            });
        }
        helpers
    }

    /// Tries each operation that can take effect next.
    fn advance(
        &mut self,
        one: &Configuration,
        level: usize,
        expansion: &mut Expansion<'a>,
        next: &mut Antichain<'a>,
    ) -> Result<(), Reason> {
        let x = expansion.x;
        if one.free & x.bit != 0 {
            next.insert(one.clone().forgetting(x.bit));
            if x.is_read {
                return Ok(());
            }
        }
        if let Some(to) = self.effect(one, x)? {
            let after = self.after(one, x, to)?;
            next.insert(after.forgetting(x.bit));
        }
        for at in 0..expansion.helpers.open.len() {
            let Some(open) = expansion.helpers.open.get(at).copied() else { continue };
            if let Some(to) = self.effect(one, open)? {
                let after = self.after(one, open, to)?;
                expansion.push(level, after);
            }
        }
        if expansion.helpers.classes.is_empty() {
            return Ok(());
        }
        let steps = self.states.explore(self.timeline, one.state, self.called.len());
        self.charge(steps)?;
        let mut at = 0;
        while let Some((class, to)) = self.states.a_move(one.state, at) {
            at += 1;
            self.charge(1)?;
            let helps = expansion.helpers.classes.get(class) == Some(&true);
            let used = one.used(self.timeline.covers.slot(class));
            if helps && self.called.get(class).is_some_and(|called| used < *called) {
                let after = self.after_indeterminate(one, class, to)?;
                expansion.push(level + 1, after);
            }
        }
        Ok(())
    }

    /// The state after an open operation. `None` if the operation took effect before, is not legal,
    /// or changes nothing.
    fn effect(&mut self, one: &Configuration, open: Open) -> Result<Option<StateId>, Reason> {
        if one.done & open.bit != 0 || open.is_read {
            return Ok(None);
        }
        self.charge(1)?;
        let Some(op) = self.timeline.op(open.op) else { return Ok(None) };
        let to = self.states.step(self.timeline.model, one.state, op);
        Ok(to.filter(|to| *to != one.state))
    }

    /// The configuration after an open operation changed the state.
    fn after(
        &mut self,
        one: &Configuration,
        open: Open,
        to: StateId,
    ) -> Result<Configuration, Reason> {
        let mut after = one.clone();
        after.done |= open.bit;
        after.free &= !open.bit;
        if open.overwrites {
            self.free_overwritten(&mut after);
        }
        lengthen(&mut after.trail, open.op);
        self.enter(after, to)
    }

    /// The configuration after one more indeterminate operation of a class changed the state.
    fn after_indeterminate(
        &mut self,
        one: &Configuration,
        class: usize,
        to: StateId,
    ) -> Result<Configuration, Reason> {
        let mut after = one.clone();
        let op = self.timeline.representative(class);
        if op.is_some_and(|op| self.timeline.model.overwrites(op)) {
            self.free_overwritten(&mut after);
        }
        let slot = self.timeline.covers.slot(class);
        if let Some(member) = self.timeline.member(class, one.used(slot)) {
            lengthen(&mut after.trail, member);
        }
        after.count(slot, self.timeline.covers.cost(class));
        self.enter(after, to)
    }

    /// Frees all open operations that overwrite the state. They can take effect right before
    /// another overwrite, and no one notices.
    fn free_overwritten(&self, configuration: &mut Configuration) {
        for open in self.open.iter().filter(|open| open.overwrites) {
            if (configuration.done | configuration.free) & open.bit == 0 {
                configuration.free |= open.bit;
                lengthen(&mut configuration.trail, open.op);
            }
        }
    }

    fn enter(
        &mut self,
        mut configuration: Configuration,
        state: StateId,
    ) -> Result<Configuration, Reason> {
        configuration.state = state;
        for at in 0..self.open.len() {
            if let Some(open) = self.open.get(at).copied() {
                self.free_if_unnoticed(&mut configuration, open)?;
            }
        }
        Ok(configuration)
    }

    /// Makes an open operation free if it is legal in the state and does not change it.
    pub(super) fn free_if_unnoticed(
        &mut self,
        configuration: &mut Configuration,
        open: Open,
    ) -> Result<(), Reason> {
        if (configuration.done | configuration.free) & open.bit != 0 {
            return Ok(());
        }
        self.charge(1)?;
        let Some(op) = self.timeline.op(open.op) else { return Ok(()) };
        let state = self.states.get(configuration.state);
        let Some(state) = state else { return Ok(()) };
        if self.timeline.model.step(state, op).as_ref() == Some(state) {
            configuration.free |= open.bit;
            lengthen(&mut configuration.trail, open.op);
        }
        Ok(())
    }
}
