//! One pass over a history, from return to return, with all configurations side by side.
//!
//! [`Pass::run`] plays the calls and returns. At a return, [`Pass::on_return`] keeps the
//! configurations where the operation took effect, and `Pass::expand` lets operations take effect
//! in the others until it has.

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
    /// The treatment of configurations that are too many.
    pub(super) excess: Excess,
    /// The most of one state.
    pub(super) per_state: usize,
    /// The most of all states, where excess is dropped.
    pub(super) total: usize,
    /// How many more indeterminate operations than necessary may take effect for one return. None
    /// for any number.
    pub(super) slack: Option<usize>,
    /// How often a pass that drops some goes back from where it is stuck: each time farther, and
    /// with more configurations.
    pub(super) tries: u32,
}

impl Policy {
    /// With more configurations, the more tries there were.
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

/// How far a pass goes on with more configurations behind a place where it got stuck.
const MARGIN: usize = 32;

/// So many classes make a configuration count as one more entry.
const CLASSES_OF_ENTRY: usize = 32;

/// The state of a pass.
pub(super) struct Pass<'a, M: Model> {
    pub(super) timeline: &'a Timeline<'a, M>,
    pub(super) policy: Policy,
    pub(super) limits: Limits,
    /// How much a configuration counts against the limit on entries.
    pub(super) size: usize,
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
        let classes = timeline.covers.len();
        let frontier = vec![Configuration::new(state, classes)];
        let size = 1 + classes / CLASSES_OF_ENTRY;
        let (open, called, dropped) = (Vec::new(), Vec::new(), false);
        Self { timeline, policy, limits, size, steps, states, frontier, open, called, dropped }
    }

    /// Plays the events before `until`.
    ///
    /// A pass that drops configurations does so with little foresight. Where it gets stuck, it goes
    /// back some way, and passes this place with more of them.
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
                        // It may get stuck earlier than before: it must come past both places.
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
