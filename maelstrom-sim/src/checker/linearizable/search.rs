//! One pass over a history, from return to return, with all configurations side by side.
//!
//! [`Pass::run`] replays the calls and returns. At a return, [`Pass::on_return`] keeps the
//! configurations where the operation took effect. In the others, `Pass::expand` lets operations
//! take effect until the returning one has.

use std::collections::BTreeSet;

use super::configuration::{Antichain, Bits, Configuration, Excess, Trail};
use super::model::Model;
use super::snapshots::{Snapshot, Snapshots};
use super::states::{StateId, States};
use super::timeline::{Event, Timeline};
use super::{Limits, Reason};

/// How many configurations a pass keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// The action for configurations beyond the limit.
    pub(super) excess: Excess,
    /// The most configurations per state.
    pub(super) per_state: usize,
    /// The most configurations in all. Applies only if the pass drops configurations.
    pub(super) total: usize,
    /// How many indeterminate operations beyond the necessary ones may take effect for one return.
    /// `None` for any number.
    pub(super) slack: Option<usize>,
    /// How often a pass that drops configurations goes back when it is stuck. Each try goes back
    /// farther and keeps more configurations.
    pub(super) tries: u32,
}

impl Policy {
    /// The policy after this many tries, with more configurations.
    fn widened(self, tries: u32) -> Self {
        let factor = 4usize.saturating_pow(tries);
        let per_state = self.per_state.saturating_mul(factor);
        let total = self.total.saturating_mul(factor);
        let slack =
            self.slack.map(|slack| slack.saturating_add(usize::try_from(tries).unwrap_or(0)));
        Self { per_state, total, slack, ..self }
    }
}

/// How a pass ended.
pub(super) enum End<M: Model> {
    /// The pass got to the end.
    Reached(Trail),
    /// No configuration that the pass kept continues.
    Stuck(Stuck<M>),
}

/// The place where a pass ended early.
pub(super) struct Stuck<M: Model> {
    /// The index of the return that no configuration passes.
    pub(super) event: usize,
    /// The operation that returns there.
    pub(super) op: usize,
    /// The trail of one of the configurations before it.
    pub(super) trail: Trail,
    /// The states of the configurations before it.
    pub(super) states: Vec<M::State>,
    /// Whether the pass dropped configurations. If so, a dropped one may continue.
    pub(super) dropped: bool,
}

/// An open operation that will return.
#[derive(Clone, Copy)]
pub(super) struct Open {
    pub(super) bit: Bits,
    pub(super) op: usize,
    pub(super) is_read: bool,
    pub(super) overwrites: bool,
}

/// For how many events after the place where it was stuck a pass keeps more configurations.
const MARGIN: usize = 32;

/// A configuration counts as one more entry for each of this many classes.
const CLASSES_OF_ENTRY: usize = 32;

/// The state of a pass.
pub(super) struct Pass<'a, M: Model> {
    pub(super) timeline: &'a Timeline<'a, M>,
    pub(super) policy: Policy,
    pub(super) limits: Limits,
    /// How many entries a configuration counts as.
    pub(super) size: usize,
    /// How many steps are left, for this pass and the next ones.
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
        let classes = timeline.covers.len();
        let frontier = vec![Configuration::new(state, classes)];
        let size = 1 + classes / CLASSES_OF_ENTRY;
        let (open, called, dropped) = (Vec::new(), Vec::new(), false);
        Self { timeline, policy, limits, size, steps, states, frontier, open, called, dropped }
    }

    /// Replays the events before `until`.
    ///
    /// A pass that drops configurations may drop one that it needs later. If it gets stuck, it goes
    /// back some events and passes this place with more configurations.
    pub(super) fn run(mut self, until: usize) -> Result<End<M>, Reason> {
        let narrow = self.policy;
        let mut snapshots = Snapshots::new(narrow.tries);
        let (mut at, mut tries, mut hardest) = (0, 0, 0);
        while let Some(event) = self.timeline.events.get(at).filter(|_| at < until) {
            if at > hardest && tries > 0 {
                (self.policy, tries) = (narrow, 0);
            }
            snapshots.at(at, || self.snapshot(at));
            match *event {
                Event::Call(op) => self.on_call(op)?,
                Event::Return(op) => {
                    if !self.on_return(op)? {
                        let is_final = !self.dropped || tries >= narrow.tries;
                        let Some(back) = (!is_final).then(|| snapshots.go_back(tries)).flatten()
                        else {
                            return Ok(End::Stuck(self.stuck(at, op)));
                        };
                        // The retry may get stuck earlier than before, so it must pass both places.
                        hardest = hardest.max(at + MARGIN);
                        tries += 1;
                        self.policy = narrow.widened(tries);
                        self.restore(&back);
                        at = back.event;
                        continue;
                    }
                    self.forget_states();
                }
            }
            at += 1;
        }
        let least = self.frontier.into_iter().min_by_key(|configuration| configuration.total_used);
        Ok(End::Reached(least.and_then(|configuration| configuration.trail)))
    }

    fn snapshot(&self, event: usize) -> Snapshot<M> {
        let with_state =
            |one: &Configuration| Some((one.clone(), self.states.get(one.state)?.clone()));
        let frontier = self.frontier.iter().filter_map(with_state).collect();
        let (open, called, dropped) = (self.open.clone(), self.called.clone(), self.dropped);
        Snapshot { event, frontier, open, called, dropped }
    }

    fn restore(&mut self, snapshot: &Snapshot<M>) {
        self.states = States::new();
        self.frontier.clear();
        for (configuration, state) in &snapshot.frontier {
            let mut configuration = configuration.clone();
            configuration.state = self.states.intern(state.clone());
            self.frontier.push(configuration);
        }
        self.open.clone_from(&snapshot.open);
        self.called.clone_from(&snapshot.called);
        self.dropped = snapshot.dropped;
    }

    pub(super) fn antichain(&self) -> Antichain<'a> {
        let Policy { excess, per_state, total, .. } = self.policy;
        Antichain::new(&self.timeline.covers, per_state, total, excess)
    }

    fn stuck(mut self, event: usize, op: usize) -> Stuck<M> {
        self.frontier.sort_by_key(|configuration| configuration.total_used);
        let mut ids: Vec<StateId> = self.frontier.iter().map(|one| one.state).collect();
        let trail = self.frontier.first().and_then(|one| one.trail.clone());
        let mut is_seen = BTreeSet::new();
        ids.retain(|id| is_seen.insert(*id));
        let states = ids.iter().filter_map(|id| self.states.get(*id).cloned()).collect();
        Stuck { event, op, trail, states, dropped: self.dropped }
    }

    /// Handles a call: from now on the operation may take effect.
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

    /// Handles a return: the operation must have taken effect by now. Returns whether any
    /// configuration allows it.
    fn on_return(&mut self, op: usize) -> Result<bool, Reason> {
        let Some(at) = self.open.iter().position(|open| open.op == op) else { return Ok(true) };
        let Some(x) = self.open.get(at).copied() else { return Ok(true) };
        let mut next = self.antichain();
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
            self.expand(&starts, x, &mut next)?;
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

    /// Forgets the states that no configuration uses, once there are many.
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
