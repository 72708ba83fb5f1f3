//! Explains to a person why a history is not linearizable.
//!
//! [`Explanation::new`] starts from the return that no configuration passed. The states at that
//! return come from the pass that proved the error. The order before it comes from the pass that
//! got farthest.

use std::fmt;

use super::configuration::order;
use super::model::Model;
use super::search::Stuck;
use super::timeline::{Event, Timeline};

/// How many states, and how many operations of a kind, the text names.
const SHOWN: usize = 3;

/// Why a history is not linearizable. As text, it is a few short lines.
/// [`check_by_key`](super::check_by_key) shows it in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The index of the operation that cannot be linearized. No order contains it together with all
    /// operations that returned before it.
    pub operation: usize,
    /// An order of the operations that returned before it, as indices. It may include concurrent
    /// and indeterminate operations.
    pub prefix: Vec<usize>,
    /// Whether operations that returned before are missing in the order. The search found no longer
    /// one.
    pub prefix_is_short: bool,
    /// The operation and the completed ones that are concurrent with it, in the order of their
    /// calls.
    pub window: Vec<usize>,
    /// Each state that the object can reach before the return, and why none continues. Some of
    /// these states may be unreachable.
    pub last_states: Vec<LastState>,
    lines: Vec<String>,
}

/// A state before the return of the operation that cannot be linearized.
/// [`check`](super::check) shows it in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastState {
    /// The state in words.
    pub state: String,
    /// The operations that may be next: first the one that cannot be linearized, then the other
    /// open ones. One of several equal indeterminate operations stands for all.
    pub candidates: Vec<Candidate>,
}

/// An operation that may be next. [`check`](super::check) shows it in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its index in the history.
    pub operation: usize,
    /// The state after it, in words. `None` if it is not legal.
    pub leads_to: Option<String>,
    /// The state that it needs, in words. `None` if it is legal in every state, or if the model
    /// does not tell.
    pub needs: Option<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl Explanation {
    /// The first line of the text: the operation that cannot be linearized.
    #[must_use]
    pub fn headline(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    pub(super) fn new<M: Model>(
        timeline: &Timeline<'_, M>,
        proof: &Stuck<M>,
        prefix: &Stuck<M>,
    ) -> Self {
        let operation = proof.op;
        let prefix_is_short = prefix.event < proof.event;
        let prefix = order(&prefix.trail, timeline.ops.len());
        let window = window(timeline, operation);
        let open = open_at(timeline, proof.event, operation);
        let last_state = |state: &M::State| LastState {
            state: timeline.model.describe_state(state),
            candidates: open.iter().filter_map(|at| candidate(timeline, state, *at)).collect(),
        };
        let last_states = proof.states.iter().map(last_state).collect();
        let lines = Vec::new();
        let mut new = Self { operation, prefix, prefix_is_short, window, last_states, lines };
        new.lines = new.write(timeline);
        new
    }

    /// Replaces indices in the part by indices in the whole history.
    pub(super) fn translate(&mut self, place: &dyn Fn(usize) -> usize) {
        let states = self.last_states.iter_mut().flat_map(|state| &mut state.candidates);
        let candidates = states.map(|candidate| &mut candidate.operation);
        let places = self.prefix.iter_mut().chain(&mut self.window).chain(candidates);
        for at in places.chain([&mut self.operation]) {
            *at = place(*at);
        }
    }

    fn write<M: Model>(&self, timeline: &Timeline<'_, M>) -> Vec<String> {
        let text = |at: &usize| describe(timeline, *at);
        let mut lines = vec![format!("{} cannot be linearized.", text(&self.operation))];
        let last = self.prefix.iter().skip(self.prefix.len().saturating_sub(SHOWN));
        let last: Vec<String> = last.map(text).collect();
        lines.push(match (last.is_empty(), self.prefix_is_short) {
            (true, false) => "It is the first to return.".into(),
            (true, true) => "No order is known of the operations before it.".into(),
            (false, false) => {
                let count = self.prefix.len();
                format!("The {count} operations before it can, for example … {}.", last.join(", "))
            }
            (false, true) => format!(
                "An order is known of {} operations only, … {}. The next one to return may have \
                 made it impossible.",
                self.prefix.len(),
                last.join(", ")
            ),
        });
        lines.push(self.states_line(timeline));
        lines.extend(self.until_line(timeline));
        let is_open = |at: usize| timeline.ops.get(at).is_some_and(|op| op.returned.is_some());
        lines.extend(self.candidates_line(timeline, "Concurrent", &is_open));
        lines.extend(self.candidates_line(timeline, "Indeterminate", &|at| !is_open(at)));
        lines
    }

    /// Describes the possible states, and the state that the operation needs.
    fn states_line<M: Model>(&self, timeline: &Timeline<'_, M>) -> String {
        let shown = self.last_states.iter().take(SHOWN).map(|last| last.state.as_str());
        let mut text = format!("Then the state is {}", shown.collect::<Vec<_>>().join(" or "));
        let more = self.last_states.len().saturating_sub(SHOWN);
        if more > 0 {
            text += &format!(" or one of {more} more");
        }
        let op = timeline.op(self.operation);
        match op.and_then(|op| timeline.model.describe_need(op)) {
            Some(need) => text + &format!("; it needs {need}."),
            None => text + "; it is not legal there.",
        }
    }

    /// Says until when the operation would have been legal in the order that was found.
    fn until_line<M: Model>(&self, timeline: &Timeline<'_, M>) -> Option<String> {
        let (model, x) = (timeline.model, timeline.op(self.operation)?);
        let what = model.describe_op(x);
        let mut state = model.init();
        let mut until = None;
        for at in &self.prefix {
            if *at == self.operation {
                continue;
            }
            let was_legal = model.step(&state, x).is_some();
            state = model.step(&state, timeline.op(*at)?)?;
            if was_legal && model.step(&state, x).is_none() {
                until = Some(*at);
            }
        }
        let Some(until) = until else {
            let is_legal = model.step(&state, x).is_some();
            let which = if is_legal { "the last state fits" } else { "no state fits" };
            return Some(format!("In this order, {which} {what}."));
        };
        let call = timeline.ops.get(self.operation)?.call;
        let returned = timeline.ops.get(until)?.returned;
        let until = describe(timeline, until);
        let text = format!("In this order, a state last fits {what} just before {until}");
        let preceded = returned.is_some_and(|returned| returned < call);
        let end = format!(", but that had ended before {what} began.");
        Some(text + if preceded { &end } else { "." })
    }

    /// Describes the effect of the other operations in the first state.
    fn candidates_line<M: Model>(
        &self,
        timeline: &Timeline<'_, M>,
        title: &str,
        counts: &dyn Fn(usize) -> bool,
    ) -> Option<String> {
        let candidates = &self.last_states.first()?.candidates;
        let other = candidates.iter().filter(|one| one.operation != self.operation);
        let other: Vec<&Candidate> = other.filter(|one| counts(one.operation)).collect();
        let text = |one: &&Candidate| {
            let op = describe(timeline, one.operation);
            match (&one.leads_to, &one.needs) {
                (Some(state), _) => format!("{op} leads to {state}"),
                (None, Some(need)) => format!("{op} needs {need}"),
                (None, None) => format!("{op} is not legal"),
            }
        };
        let shown: Vec<String> = other.iter().take(SHOWN).map(text).collect();
        let more = other.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; {more} more") } else { String::new() };
        (!shown.is_empty()).then(|| format!("{title}: {}{more}.", shown.join("; ")))
    }
}

fn describe<M: Model>(timeline: &Timeline<'_, M>, at: usize) -> String {
    let Some(op) = timeline.ops.get(at) else { return String::new() };
    let (what, call) = (timeline.model.describe_op(&op.op), op.call);
    match op.returned {
        Some(end) => format!("{what} (ops {call} to {end})"),
        None => format!("{what} (op {call}, with an unknown end)"),
    }
}

/// The operation and the completed ones that are concurrent with it, in the order of their calls.
fn window<M: Model>(timeline: &Timeline<'_, M>, x: usize) -> Vec<usize> {
    let Some(op) = timeline.ops.get(x) else { return Vec::new() };
    let (from, to) = (op.call, op.returned.unwrap_or(u64::MAX));
    let calls = timeline.events.iter().filter_map(|event| match *event {
        Event::Call(at) => Some(at),
        Event::Return(_) => None,
    });
    let overlaps = |at: &usize| {
        let op = timeline.ops.get(*at);
        op.is_some_and(|op| op.call <= to && op.returned.is_some_and(|end| end >= from))
    };
    calls.filter(overlaps).collect()
}

/// The operation, and the others that are open when it returns. One operation of each class stands
/// for all.
fn open_at<M: Model>(timeline: &Timeline<'_, M>, event: usize, x: usize) -> Vec<usize> {
    let mut is_open = vec![false; timeline.ops.len()];
    for event in timeline.events.iter().take(event) {
        let (at, opens) = match *event {
            Event::Call(at) => (at, true),
            Event::Return(at) => (at, false),
        };
        if let Some(is_open) = is_open.get_mut(at) {
            *is_open = opens;
        }
    }
    let stands = |at: &usize| {
        let returns = timeline.ops.get(*at).is_some_and(|op| op.returned.is_some());
        let class = timeline.class_of(*at).and_then(|class| timeline.member(class, 0));
        *at != x && (returns || class == Some(*at))
    };
    let open = is_open.iter().enumerate().filter_map(|(at, is_open)| is_open.then_some(at));
    [x].into_iter().chain(open.filter(stands)).collect()
}

fn candidate<M: Model>(
    timeline: &Timeline<'_, M>,
    state: &M::State,
    operation: usize,
) -> Option<Candidate> {
    let (model, op) = (timeline.model, timeline.op(operation)?);
    let leads_to = model.step(state, op).map(|state| model.describe_state(&state));
    Some(Candidate { operation, leads_to, needs: model.describe_need(op) })
}
