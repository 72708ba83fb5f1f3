//! Checks whether a history is linearizable: each operation takes effect at one moment between its
//! call and its return, in an order that a sequential model allows.
//!
//! # Invariants
//!
//! * If a history has a linearization, the outcome is never [`Outcome::NotLinearizable`].
//! * [`Outcome::Linearizable`] carries an order that proves it.
//! * A search that reaches a limit returns [`Outcome::Unknown`].
//! * The same history and limits give the same outcome, because the limits are counts and not
//!   times.
//!
//! # Main path
//!
//! 1. [`check_by_key`] splits a history by key, and [`check`] judges one part.
//! 2. `Timeline::new` sorts calls and returns. Equal indeterminate operations form a class.
//! 3. `Pass::run` goes from return to return with a frontier of configurations. A configuration is
//!    a state, the open operations that took effect, and how many operations of each class took
//!    effect.
//! 4. At a return, `Pass::on_return` keeps the configurations where the operation took effect.
//!    `Pass::expand` advances the others. It applies only operations that can help.
//! 5. `Antichain::insert` drops configurations that another one dominates.
//! 6. If no configuration is left, `explain` says why.
//!
//! # The size of the frontier
//!
//! A configuration forgets an operation when the operation returns. These rules keep the frontier
//! small:
//!
//! * An operation takes effect as late as possible: right before it returns, or before another one
//!   that needs it ([`Model::swaps`]).
//! * An open operation that did not change the state is free: it may also take effect later. Reads
//!   that fit are free. So are writes that another write overwrites at once.
//! * Indeterminate operations count by class. Among configurations with equal states, the one that
//!   used fewer dominates. An unused operation also makes up for one that can do less
//!   ([`Model::covers`]). Example: of two register configurations, one used a compare-and-set and
//!   the other a write of the same value. The first dominates the second.
//!
//! Without indeterminate operations, a history of n operations with at most c open at a time takes
//! n · 2^c · c steps per reachable state in the worst case. Registers mostly take n · c.
//!
//! Many indeterminate operations make an exact frontier explode: each unexpected value has several
//! explanations, and these multiply. Therefore [`check`] makes several passes. Some passes drop
//! configurations; they can prove that a history is linearizable. Others join two configurations
//! into one that can do all that both can; they can prove that it is not. If no pass proves
//! anything, the search repeats them with more configurations. The last pass keeps all of them.
//!
//! If a pass that drops configurations gets stuck, it first goes back some events and retries with
//! more configurations (`Snapshots`). A register has few states. So for registers, narrow passes of
//! both kinds take time proportional to the length of the history and the number of classes. For
//! other models, joined configurations may reach ever more states; limits end such passes.
//!
//! # Sources
//!
//! * Wing & Gong, *Testing and Verifying Concurrent Objects* (JPDC 1993): the search
//! * Lowe, *Testing for Linearizability* (Concurrency and Computation 2017): a set of visited
//!   configurations, and just-in-time linearization
//! * Athalye, *Porcupine* (2017): partitions by key, and the visited set as bits and state
//!
//! New here: a frontier in place of the depth-first search, classes, free operations, and joins.

mod configuration;
mod covers;
mod expand;
mod explain;
mod model;
mod models;
mod search;
mod snapshots;
mod states;
mod timeline;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

pub use explain::{Candidate, Explanation, LastState};
pub use model::Model;
pub use models::{Counter, CounterOp, GrowSet, Queue, QueueOp, Register, RegisterOp, SetOp};

use configuration::{Bits, Excess, order};
use search::{End, Pass, Policy, Stuck};
use timeline::Timeline;

/// An operation of a history, with its result.
///
/// Times come from any clock that all operations share, or are positions in a log. One operation
/// precedes another if it returned before the other's call. Operations with equal times are
/// concurrent. An [`Explanation`] writes the times as numbers of ops, as in `read 1 (ops 5 to 8)`.
///
/// The caller leaves out operations that failed, because they had no effect. The caller also leaves
/// out reads that never returned, because they have no result. [`check`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation<O> {
    /// The operation and its result.
    pub op: O,
    /// The time of its call.
    pub call: u64,
    /// The time of its return. `None` if it is indeterminate: it takes effect at any time after its
    /// call, or never.
    pub returned: Option<u64>,
}

impl<O> Operation<O> {
    /// An operation that succeeded.
    #[must_use]
    pub const fn completed(op: O, call: u64, returned: u64) -> Self {
        Self { op, call, returned: Some(returned) }
    }

    /// An indeterminate operation: it takes effect at any time after its call, or never.
    #[must_use]
    pub const fn indeterminate(op: O, call: u64) -> Self {
        Self { op, call, returned: None }
    }
}

/// The limits of a search. [`check`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most steps. A step tries an operation in a state.
    pub steps: u64,
    /// The most configurations and states in memory at a time. A configuration counts once more for
    /// every 32 different indeterminate operations of the history.
    pub entries: usize,
}

impl Limits {
    /// The most completed operations that may be open at the same time.
    pub const MOST_OPEN: u32 = Bits::BITS;
}

impl Default for Limits {
    /// Enough for a register history of about ten thousand operations on a key, if a few percent of
    /// them are indeterminate.
    fn default() -> Self {
        Self { steps: 50_000_000, entries: 1_000_000 }
    }
}

/// Why there is no verdict. [`check`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The limit on steps was reached.
    #[error("the search took more than {0} steps")]
    Steps(u64),
    /// The limit on entries was reached.
    #[error("the search held more than {0} configurations and states")]
    Entries(usize),
    /// Too many operations were open at a time.
    #[error("more than {0} operations were open at a time")]
    TooManyOpen(u32),
    /// The operation at this index returns before its call.
    #[error("operation {0} returns before its call")]
    ReturnsBeforeCall(usize),
}

/// The verdict on a history. [`check`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The model allows some order of the operations.
    Linearizable {
        /// Such an order, as indices into the history. It may omit indeterminate operations that
        /// did not need to take effect.
        order: Vec<usize>,
    },
    /// The model allows no order.
    NotLinearizable(Box<Explanation>),
    /// The search ended too early to decide.
    Unknown(Reason),
}

impl Outcome {
    /// Whether the search proved that the history is linearizable.
    #[must_use]
    pub const fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable { .. })
    }

    /// Whether the search proved that the history is not linearizable.
    #[must_use]
    pub const fn is_not_linearizable(&self) -> bool {
        matches!(self, Self::NotLinearizable(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable { .. } => f.write_str("linearizable"),
            Self::NotLinearizable(explanation) => write!(f, "{explanation}"),
            Self::Unknown(reason) => write!(f, "unknown: {reason}"),
        }
    }
}

/// The verdicts on the parts of a history. [`check_by_key`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Parts<K> {
    /// The verdict on each key. Indices refer to the whole history.
    pub by_key: BTreeMap<K, Outcome>,
}

impl<K> Parts<K> {
    /// Whether all parts are linearizable. `None` if that is unknown.
    #[must_use]
    pub fn is_linearizable(&self) -> Option<bool> {
        if self.first_error().is_some() {
            return Some(false);
        }
        self.by_key.values().all(Outcome::is_linearizable).then_some(true)
    }

    /// The first key that is not linearizable.
    #[must_use]
    pub fn first_error(&self) -> Option<(&K, &Explanation)> {
        self.by_key.iter().find_map(|(key, outcome)| match outcome {
            Outcome::NotLinearizable(explanation) => Some((key, &**explanation)),
            _ => None,
        })
    }
}

/// The operations of a key, and their indices in the whole history.
type Part<O> = (Vec<usize>, Vec<Operation<O>>);

/// Judges a history in which each operation concerns one key. The limits apply to each key.
///
/// A history is linearizable if and only if each of its parts is (locality; Herlihy & Wing 1990).
///
/// ```
/// use maelstrom_sim::checker::linearizable::{
///     Limits, Operation, Register, RegisterOp, check_by_key,
/// };
///
/// let history = [
///     ("x", Operation::completed(RegisterOp::Write(1), 0, 1)),
///     ("y", Operation::completed(RegisterOp::Read(None), 2, 3)),
///     ("x", Operation::completed(RegisterOp::Read(None), 4, 5)),
/// ];
/// let parts = check_by_key(&Register::new(), history, Limits::default());
/// assert_eq!(parts.is_linearizable(), Some(false));
/// assert!(parts.by_key["y"].is_linearizable());
/// let (key, explanation) = parts.first_error().unwrap();
/// assert_eq!((*key, explanation.operation), ("x", 2));
/// ```
pub fn check_by_key<K: Ord, M: Model>(
    model: &M,
    history: impl IntoIterator<Item = (K, Operation<M::Op>)>,
    limits: Limits,
) -> Parts<K> {
    let mut parts: BTreeMap<K, Part<M::Op>> = BTreeMap::new();
    for (at, (key, op)) in history.into_iter().enumerate() {
        let (places, ops) = parts.entry(key).or_default();
        places.push(at);
        ops.push(op);
    }
    let judge = |(key, (places, ops)): (K, Part<M::Op>)| {
        let outcome = check(model, &ops, limits);
        (key, in_whole(outcome, &|at| places.get(at).copied().unwrap_or(at)))
    };
    Parts { by_key: parts.into_iter().map(judge).collect() }
}

/// The same outcome with indices into the whole history.
fn in_whole(outcome: Outcome, place: &dyn Fn(usize) -> usize) -> Outcome {
    match outcome {
        Outcome::Linearizable { order } => {
            Outcome::Linearizable { order: order.into_iter().map(place).collect() }
        }
        Outcome::NotLinearizable(mut explanation) => {
            explanation.translate(place);
            Outcome::NotLinearizable(explanation)
        }
        Outcome::Unknown(Reason::ReturnsBeforeCall(at)) => {
            Outcome::Unknown(Reason::ReturnsBeforeCall(place(at)))
        }
        Outcome::Unknown(reason) => Outcome::Unknown(reason),
    }
}

/// Judges a history of one object. The slice may have any order: only the times count.
///
/// ```
/// use maelstrom_sim::checker::linearizable::{
///     Limits, Operation, Outcome, Reason, Register, RegisterOp, check,
/// };
///
/// let mut history = vec![
///     Operation::completed(RegisterOp::Write(1), 0, 1),
///     Operation::completed(RegisterOp::Read(Some(2)), 4, 5),
/// ];
/// let outcome = check(&Register::new(), &history, Limits::default());
/// let Outcome::NotLinearizable(why) = outcome else { panic!("it must not be linearizable") };
/// assert_eq!((why.operation, why.last_states[0].candidates[0].operation), (1, 1));
/// // A write that never returned may have taken effect.
/// history.push(Operation::indeterminate(RegisterOp::Write(2), 3));
/// let outcome = check(&Register::new(), &history, Limits::default());
/// assert_eq!(outcome, Outcome::Linearizable { order: vec![0, 2, 1] });
/// let few = Limits { steps: 1, ..Limits::default() };
/// assert_eq!(check(&Register::new(), &history, few), Outcome::Unknown(Reason::Steps(1)));
/// ```
pub fn check<M: Model>(model: &M, history: &[Operation<M::Op>], limits: Limits) -> Outcome {
    let outcome = Timeline::new(model, history).and_then(|timeline| judge(&timeline, limits));
    outcome.unwrap_or_else(Outcome::Unknown)
}

/// The widths of the passes in turn: how many configurations of a state a pass keeps. A pass that
/// drops configurations also has a slack, and a number of retries from an earlier event.
const WIDTHS: [(usize, Option<usize>, u32); 7] = [
    (4, Some(1), 1),
    (4, Some(1), 2),
    (16, Some(1), 2),
    (64, Some(2), 2),
    (512, Some(4), 1),
    (4096, None, 0),
    (usize::MAX, None, 0),
];

/// The limit on entries of a pass that joins configurations.
const JOINED: usize = 10_000;

fn dropping((per_state, slack, tries): (usize, Option<usize>, u32)) -> Policy {
    let total = per_state.saturating_mul(32);
    Policy { excess: Excess::Drop, per_state, total, slack, tries }
}

/// Makes passes until one proves something.
fn judge<M: Model>(timeline: &Timeline<'_, M>, limits: Limits) -> Result<Outcome, Reason> {
    let mut steps = limits.steps;
    let all = timeline.events.len();
    let mut farthest: Option<Stuck<M>> = None;
    for width in WIDTHS {
        let stuck = match Pass::new(timeline, dropping(width), limits, &mut steps).run(all)? {
            End::Reached(trail) => {
                let order = order(&trail, timeline.ops.len());
                return Ok(Outcome::Linearizable { order });
            }
            End::Stuck(stuck) => stuck,
        };
        if !stuck.dropped {
            return Ok(not_linearizable(timeline, &stuck, &stuck));
        }
        let stuck = match farthest.take() {
            Some(farthest) if farthest.event >= stuck.event => farthest,
            _ => stuck,
        };
        let per_state = width.0 / 2;
        let (excess, total) = (Excess::Join, usize::MAX);
        let joining = Policy { excess, per_state, total, slack: None, tries: 0 };
        // Joined configurations may reach ever more states, so this pass has lower limits.
        let narrow = Limits { entries: limits.entries.min(JOINED), steps: steps / 4 };
        let mut left = narrow.steps;
        let end = Pass::new(timeline, joining, narrow, &mut left).run(all);
        steps -= narrow.steps - left;
        if let Ok(End::Stuck(proof)) = end {
            let prefix = farther(timeline, stuck, proof.event, limits);
            return Ok(not_linearizable(timeline, &proof, &prefix));
        }
        farthest = Some(stuck);
    }
    // The last pass drops nothing, so it has proved something.
    Err(Reason::Steps(limits.steps))
}

fn not_linearizable<M: Model>(
    timeline: &Timeline<'_, M>,
    proof: &Stuck<M>,
    prefix: &Stuck<M>,
) -> Outcome {
    Outcome::NotLinearizable(Box::new(Explanation::new(timeline, proof, prefix)))
}

/// Looks for a linearization of everything before an event, with a part of the steps.
fn farther<M: Model>(
    timeline: &Timeline<'_, M>,
    mut farthest: Stuck<M>,
    event: usize,
    limits: Limits,
) -> Stuck<M> {
    let mut steps = limits.steps / 8;
    for width in WIDTHS.into_iter().skip(1).take(2) {
        if farthest.event >= event {
            break;
        }
        match Pass::new(timeline, dropping(width), limits, &mut steps).run(event) {
            Ok(End::Reached(trail)) => farthest = Stuck { event, trail, ..farthest },
            Ok(End::Stuck(stuck)) if stuck.event > farthest.event => farthest = stuck,
            Ok(End::Stuck(_)) => {}
            Err(_) => break,
        }
    }
    farthest
}
