//! One pass over a history, from return to return, with all configurations side by side.
//!
//! [`Pass::run`] plays the calls and returns. At a return, [`Pass::on_return`] keeps the
//! configurations where the operation took effect, and `Pass::expand` lets operations take effect
//! in the others until it has.

use std::collections::BTreeSet;

use super::configuration::{Antichain, Bits, Configuration, Excess, Trail};
use super::model::Model;
use super::states::{StateId, States};
use super::timeline::{Event, Timeline};
use super::{Limits, Reason};

/// How many configurations a pass keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// What becomes of the ones that are too many.
    pub(super) excess: Excess,
    /// The most of one state.
    pub(super) per_state: usize,
    /// The most of all states, where excess is dropped.
    pub(super) total: usize,
    /// How many more indeterminate operations than necessary may take effect for one return. None
    /// for any number.
    pub(super) slack: Option<usize>,
}

impl Policy {
    pub(super) fn antichain(&self) -> Antichain {
        Antichain::new(self.per_state, self.total, self.excess)
    }
}

/// How a pass ended.
pub(super) enum End<M: Model> {
    /// All operations took effect.
    Reached(Trail),
    /// No configuration that was kept goes on.
    Stuck(Stuck<M>),
}

/// The place where a pass ended early.
pub(super) struct Stuck<M: Model> {
    /// The event that no configuration passes.
    pub(super) event: usize,
    /// The operation that returns there.
    pub(super) op: usize,
    /// The way to one of the configurations before it.
    pub(super) trail: Trail,
    /// The states of the configurations before it.
    pub(super) states: Vec<M::State>,
    /// Whether configurations were dropped: another one may go on.
    pub(super) dropped: bool,
}

/// An operation that is open and returns later.
#[derive(Clone, Copy)]
pub(super) struct Open {
    pub(super) bit: Bits,
    pub(super) op: usize,
    pub(super) is_read: bool,
    pub(super) overwrites: bool,
}

/// The state of a pass.
pub(super) struct Pass<'a, M: Model> {
    pub(super) timeline: &'a Timeline<'a, M>,
    pub(super) policy: Policy,
    pub(super) limits: Limits,
    /// How many steps are left, of this pass and the next ones.
    steps: &'a mut u64,
    pub(super) states: States<M>,
    frontier: Vec<Configuration>,
    pub(super) open: Vec<Open>,
    /// How many indeterminate operations of each class were called.
    pub(super) called: Vec<u32>,
    pub(super) dropped: bool,
}

impl<'a, M: Model> Pass<'a, M> {
    pub(super) fn new(
        timeline: &'a Timeline<'a, M>,
        policy: Policy,
        limits: Limits,
        steps: &'a mut u64,
    ) -> Self {
        let mut states = States::new();
        let state = states.intern(timeline.model.init());
        let (done, free, used, trail) = (0, 0, Vec::new(), None);
        let frontier = vec![Configuration { state, done, free, used, trail }];
        let (open, called, dropped) = (Vec::new(), Vec::new(), false);
        Self { timeline, policy, limits, steps, states, frontier, open, called, dropped }
    }

    /// Plays the events before `until`.
    pub(super) fn run(mut self, until: usize) -> Result<End<M>, Reason> {
        for (at, event) in self.timeline.events.iter().take(until).enumerate() {
            match *event {
                Event::Call(op) => self.on_call(op)?,
                Event::Return(op) => {
                    if !self.on_return(op)? {
                        return Ok(End::Stuck(self.stuck(at, op)));
                    }
                    self.forget_states();
                }
            }
        }
        let least = self.frontier.into_iter().min_by_key(|configuration| configuration.used.len());
        Ok(End::Reached(least.and_then(|configuration| configuration.trail)))
    }

    fn stuck(mut self, event: usize, op: usize) -> Stuck<M> {
        self.frontier.sort_by_key(|configuration| configuration.used.len());
        let mut ids: Vec<StateId> = self.frontier.iter().map(|one| one.state).collect();
        let trail = self.frontier.first().and_then(|one| one.trail.clone());
        let mut is_seen = BTreeSet::new();
        ids.retain(|id| is_seen.insert(*id));
        let states = ids.iter().filter_map(|id| self.states.get(*id).cloned()).collect();
        Stuck { event, op, trail, states, dropped: self.dropped }
    }

    /// An operation begins: from now on it may take effect.
    fn on_call(&mut self, op: usize) -> Result<(), Reason> {
        let timeline = self.timeline;
        let Some(operation) = timeline.ops.get(op) else { return Ok(()) };
        if operation.returned.is_none() {
            if let Some(class) = timeline.class_of(op) {
                self.called.resize(self.called.len().max(class + 1), 0);
                if let Some(called) = self.called.get_mut(class) {
                    *called += 1;
                }
            }
            return Ok(());
        }
        let taken = self.open.iter().fold(0, |taken, open| taken | open.bit);
        let bit = Bits::checked_shl(1, Bits::trailing_ones(taken));
        let bit = bit.ok_or(Reason::TooManyOpen(Limits::MOST_OPEN))?;
        let is_read = timeline.model.is_read(&operation.op);
        let overwrites = timeline.model.overwrites(&operation.op);
        let open = Open { bit, op, is_read, overwrites };
        self.open.push(open);
        let mut frontier = std::mem::take(&mut self.frontier);
        for configuration in &mut frontier {
            self.free_if_unnoticed(configuration, open)?;
        }
        self.frontier = frontier;
        Ok(())
    }

    /// An operation returns: it must have taken effect. Returns whether it can have.
    fn on_return(&mut self, op: usize) -> Result<bool, Reason> {
        let Some(at) = self.open.iter().position(|open| open.op == op) else { return Ok(true) };
        let Some(x) = self.open.get(at).copied() else { return Ok(true) };
        let mut next = self.policy.antichain();
        let mut starts = Vec::new();
        for configuration in std::mem::take(&mut self.frontier) {
            if configuration.done & x.bit != 0 {
                next.insert(configuration.forgetting(x.bit));
                continue;
            }
            if configuration.free & x.bit != 0 {
                next.insert(configuration.clone().forgetting(x.bit));
                if x.is_read {
                    continue;
                }
            }
            starts.push(configuration);
        }
        if !starts.is_empty() {
            let tries_without = self.policy.slack == Some(0) && !self.called.is_empty();
            if tries_without {
                self.expand(&starts, x, &mut next, false)?;
            }
            if tries_without && !next.is_empty() {
                self.dropped = true;
            } else {
                self.expand(&starts, x, &mut next, true)?;
            }
        }
        self.dropped |= next.dropped;
        if next.is_empty() {
            self.frontier = starts;
            return Ok(false);
        }
        self.open.remove(at);
        self.frontier = next.into_vec();
        Ok(true)
    }

    /// Forgets the states that no configuration is in, once they are many.
    fn forget_states(&mut self) {
        const KEPT: usize = 64;
        if self.states.len() <= KEPT + 4 * self.frontier.len() {
            return;
        }
        let old = std::mem::replace(&mut self.states, States::new());
        for configuration in &mut self.frontier {
            if let Some(state) = old.get(configuration.state) {
                configuration.state = self.states.intern(state.clone());
            }
        }
    }

    /// Counts steps against the limit.
    pub(super) fn charge(&mut self, steps: u64) -> Result<(), Reason> {
        let left = self.steps.checked_sub(steps);
        *self.steps = left.unwrap_or(0);
        left.map(|_| ()).ok_or(Reason::Steps(self.limits.steps))
    }
}
