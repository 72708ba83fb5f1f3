//! The built-in models: register, grow-only set, counter and queue.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use super::model::Model;

/// A register with read, write and compare-and-set. It is empty (`None`) at first.
///
/// ```
/// use maelstrom_sim::checker::linearizable::{Limits, Operation, Register, RegisterOp, check};
///
/// let history = [
///     Operation::completed(RegisterOp::Read(None), 0, 1),
///     Operation::completed(RegisterOp::Write(1), 2, 5),
///     Operation::completed(RegisterOp::Cas { from: Some(1), to: 2 }, 3, 6),
///     Operation::completed(RegisterOp::Read(Some(2)), 4, 7),
/// ];
/// assert!(check(&Register::new(), &history, Limits::default()).is_linearizable());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Register<V>(PhantomData<fn() -> V>);

/// An operation on a [`Register`], with its result. The example of [`Register`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegisterOp<V> {
    /// A read returned this value. A key that does not exist reads as `None`.
    Read(Option<V>),
    /// A write of this value succeeded.
    Write(V),
    /// A compare-and-set succeeded. If `from` is `None`, it created the value.
    Cas {
        /// The value before.
        from: Option<V>,
        /// The value after.
        to: V,
    },
}

impl<V> Register<V> {
    /// A register that is empty at first.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<V> Default for Register<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> RegisterOp<V> {
    /// The content that the operation needs, if any.
    const fn needs(&self) -> Option<Option<&V>> {
        match self {
            Self::Read(value) => Some(value.as_ref()),
            Self::Write(_) => None,
            Self::Cas { from, .. } => Some(from.as_ref()),
        }
    }

    /// The value after the operation. `None` if the operation changes nothing.
    const fn leaves(&self) -> Option<&V> {
        match self {
            Self::Read(_) => None,
            Self::Write(value) | Self::Cas { to: value, .. } => Some(value),
        }
    }
}

impl<V: Clone + Eq + Hash + Debug> Model for Register<V> {
    type State = Option<V>;
    type Op = RegisterOp<V>;

    fn init(&self) -> Option<V> {
        None
    }

    fn step(&self, state: &Option<V>, op: &RegisterOp<V>) -> Option<Option<V>> {
        let is_legal = op.needs().is_none_or(|need| need == state.as_ref());
        is_legal.then(|| op.leaves().cloned().or_else(|| state.clone()))
    }

    fn describe_state(&self, state: &Option<V>) -> String {
        state.as_ref().map_or_else(|| "nil".into(), |value| format!("{value:?}"))
    }

    fn describe_op(&self, op: &RegisterOp<V>) -> String {
        let text = |value: &Option<V>| self.describe_state(value);
        match op {
            RegisterOp::Read(value) => format!("read {}", text(value)),
            RegisterOp::Write(value) => format!("write {value:?}"),
            RegisterOp::Cas { from, to } => format!("cas {} to {to:?}", text(from)),
        }
    }

    fn describe_need(&self, op: &RegisterOp<V>) -> Option<String> {
        op.needs().map(|need| self.describe_state(&need.cloned()))
    }

    fn is_read(&self, op: &RegisterOp<V>) -> bool {
        op.leaves().is_none() || op.needs() == Some(op.leaves())
    }

    fn overwrites(&self, op: &RegisterOp<V>) -> bool {
        matches!(op, RegisterOp::Write(_))
    }

    fn swaps(&self, first: &RegisterOp<V>, second: &RegisterOp<V>) -> bool {
        if first == second {
            return true;
        }
        let before = first.needs();
        let between = first.leaves().map(Some).or(before);
        let second_needs = second.needs();
        if second_needs.is_some() && second_needs != between {
            return true; // The pair is legal in no state.
        }
        // If `first` is legal in every state, it is a write, and its value differs from that of
        // `second`.
        before.is_some_and(|before| {
            let after_second = second.leaves().map_or(before, Some);
            let after_both = first.leaves().map_or(after_second, Some);
            second_needs.is_none_or(|need| need == before)
                && after_second == before
                && second.leaves().map(Some).or(between) == Some(after_both)
        })
    }

    fn covers(&self, a: &RegisterOp<V>, b: &RegisterOp<V>) -> bool {
        matches!(a, RegisterOp::Write(_)) && a.leaves() == b.leaves()
    }
}

/// A grow-only set: operations add elements and never remove any.
///
/// A step copies the set, so adding n elements takes time in the order of n².
///
/// ```
/// use maelstrom_sim::checker::linearizable::{GrowSet, Limits, Operation, SetOp, check};
///
/// let history = [
///     Operation::completed(SetOp::Add(1), 0, 1),
///     Operation::completed(SetOp::Read([].into()), 2, 3),
/// ];
/// assert!(check(&GrowSet::new(), &history, Limits::default()).is_not_linearizable());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GrowSet<V>(PhantomData<fn() -> V>);

/// An operation on a [`GrowSet`], with its result. The example of [`GrowSet`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SetOp<V: Ord> {
    /// This element was added, or was there already.
    Add(V),
    /// A read returned exactly these elements.
    Read(BTreeSet<V>),
}

impl<V> GrowSet<V> {
    /// A set that is empty at first.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<V> Default for GrowSet<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Clone + Ord + Hash + Debug> Model for GrowSet<V> {
    type State = BTreeSet<V>;
    type Op = SetOp<V>;

    fn init(&self) -> BTreeSet<V> {
        BTreeSet::new()
    }

    fn step(&self, state: &BTreeSet<V>, op: &SetOp<V>) -> Option<BTreeSet<V>> {
        match op {
            SetOp::Read(elements) => (elements == state).then(|| state.clone()),
            SetOp::Add(element) => {
                let mut state = state.clone();
                state.insert(element.clone());
                Some(state)
            }
        }
    }

    fn describe_state(&self, state: &BTreeSet<V>) -> String {
        describe_list(state.iter())
    }

    fn describe_op(&self, op: &SetOp<V>) -> String {
        match op {
            SetOp::Add(element) => format!("add {element:?}"),
            SetOp::Read(elements) => format!("read {}", describe_list(elements.iter())),
        }
    }

    fn describe_need(&self, op: &SetOp<V>) -> Option<String> {
        match op {
            SetOp::Add(_) => None,
            SetOp::Read(elements) => Some(describe_list(elements.iter())),
        }
    }

    fn is_read(&self, op: &SetOp<V>) -> bool {
        matches!(op, SetOp::Read(_))
    }

    fn swaps(&self, first: &SetOp<V>, second: &SetOp<V>) -> bool {
        match (first, second) {
            (SetOp::Add(_), SetOp::Add(_)) | (SetOp::Read(_), SetOp::Read(_)) => true,
            // If the read lacks the element, the pair is legal in no state.
            (SetOp::Add(element), SetOp::Read(elements)) => !elements.contains(element),
            (SetOp::Read(elements), SetOp::Add(element)) => elements.contains(element),
        }
    }
}

/// A counter that starts at zero.
///
/// ```
/// use maelstrom_sim::checker::linearizable::{Counter, CounterOp, Limits, Operation, check};
///
/// let history = [
///     Operation::indeterminate(CounterOp::Add(2), 0),
///     Operation::completed(CounterOp::Read(2), 1, 2),
///     Operation::completed(CounterOp::Read(2), 3, 4),
/// ];
/// assert!(check(&Counter, &history, Limits::default()).is_linearizable());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter;

/// An operation on a [`Counter`], with its result. The example of [`Counter`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CounterOp {
    /// This amount was added.
    Add(i64),
    /// A read returned this value.
    Read(i64),
}

impl Model for Counter {
    /// Wide enough: no history that fits into memory overflows it.
    type State = i128;
    type Op = CounterOp;

    fn init(&self) -> i128 {
        0
    }

    fn step(&self, state: &i128, op: &CounterOp) -> Option<i128> {
        match op {
            CounterOp::Add(delta) => Some(state.saturating_add(i128::from(*delta))),
            CounterOp::Read(value) => (i128::from(*value) == *state).then_some(*state),
        }
    }

    fn describe_state(&self, state: &i128) -> String {
        state.to_string()
    }

    fn describe_op(&self, op: &CounterOp) -> String {
        match op {
            CounterOp::Add(delta) => format!("add {delta}"),
            CounterOp::Read(value) => format!("read {value}"),
        }
    }

    fn describe_need(&self, op: &CounterOp) -> Option<String> {
        match op {
            CounterOp::Add(_) => None,
            CounterOp::Read(value) => Some(value.to_string()),
        }
    }

    fn is_read(&self, op: &CounterOp) -> bool {
        matches!(op, CounterOp::Read(_) | CounterOp::Add(0))
    }

    fn swaps(&self, first: &CounterOp, second: &CounterOp) -> bool {
        match (first, second) {
            (CounterOp::Add(_), CounterOp::Add(_)) | (CounterOp::Read(_), CounterOp::Read(_)) => {
                true
            }
            (CounterOp::Add(delta), CounterOp::Read(_))
            | (CounterOp::Read(_), CounterOp::Add(delta)) => *delta == 0,
        }
    }
}

/// A first-in-first-out queue. It is empty at first.
///
/// The order of concurrent enqueues becomes visible only when their elements are dequeued. A
/// history with many concurrent enqueues takes exponential time, and the outcome is then unknown.
///
/// ```
/// use maelstrom_sim::checker::linearizable::{Limits, Operation, Queue, QueueOp, check};
///
/// let history = [
///     Operation::completed(QueueOp::Enqueue("a"), 0, 1),
///     Operation::completed(QueueOp::Enqueue("b"), 2, 3),
///     Operation::completed(QueueOp::Dequeue(Some("b")), 4, 5),
/// ];
/// assert!(check(&Queue::new(), &history, Limits::default()).is_not_linearizable());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Queue<V>(PhantomData<fn() -> V>);

/// An operation on a [`Queue`], with its result. The example of [`Queue`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QueueOp<V> {
    /// This element was enqueued.
    Enqueue(V),
    /// This element was dequeued. `None` if the queue was empty.
    Dequeue(Option<V>),
}

impl<V> Queue<V> {
    /// A queue that is empty at first.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<V> Default for Queue<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Clone + Eq + Hash + Debug> Model for Queue<V> {
    type State = VecDeque<V>;
    type Op = QueueOp<V>;

    fn init(&self) -> VecDeque<V> {
        VecDeque::new()
    }

    fn step(&self, state: &VecDeque<V>, op: &QueueOp<V>) -> Option<VecDeque<V>> {
        match op {
            QueueOp::Enqueue(element) => {
                let mut state = state.clone();
                state.push_back(element.clone());
                Some(state)
            }
            QueueOp::Dequeue(element) if state.front() == element.as_ref() => {
                Some(state.iter().skip(1).cloned().collect())
            }
            QueueOp::Dequeue(_) => None,
        }
    }

    fn describe_state(&self, state: &VecDeque<V>) -> String {
        describe_list(state.iter())
    }

    fn describe_op(&self, op: &QueueOp<V>) -> String {
        match op {
            QueueOp::Enqueue(element) => format!("enqueue {element:?}"),
            QueueOp::Dequeue(Some(element)) => format!("dequeue {element:?}"),
            QueueOp::Dequeue(None) => "dequeue from empty".into(),
        }
    }

    fn describe_need(&self, op: &QueueOp<V>) -> Option<String> {
        match op {
            QueueOp::Enqueue(_) => None,
            QueueOp::Dequeue(Some(element)) => Some(format!("{element:?} at the front")),
            QueueOp::Dequeue(None) => Some("an empty queue".into()),
        }
    }

    fn is_read(&self, op: &QueueOp<V>) -> bool {
        matches!(op, QueueOp::Dequeue(None))
    }

    fn swaps(&self, first: &QueueOp<V>, second: &QueueOp<V>) -> bool {
        match (first, second) {
            (QueueOp::Enqueue(a), QueueOp::Enqueue(b)) => a == b,
            // The dequeue took another element, so this one was not at the front.
            (QueueOp::Enqueue(a), QueueOp::Dequeue(b)) => b.as_ref() != Some(a),
            (QueueOp::Dequeue(a), QueueOp::Enqueue(_)) => a.is_some(),
            (QueueOp::Dequeue(a), QueueOp::Dequeue(b)) => a == b || a.is_none() && b.is_some(),
        }
    }
}

/// The first elements of a list, and the number of the others.
fn describe_list<V: Debug>(elements: impl ExactSizeIterator<Item = V>) -> String {
    const SHOWN: usize = 8;
    let more = elements.len().saturating_sub(SHOWN);
    let shown: Vec<String> = elements.take(SHOWN).map(|element| format!("{element:?}")).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("[{}{more}]", shown.join(" "))
}
