//! The trait for sequential objects, against which the search checks a history.

use std::hash::Hash;

/// A sequential model: the states of an object, and the operations that are legal in each.
///
/// An operation includes its result. `read 3` and `read 4` are two operations.
///
/// ```
/// use maelstrom_sim::checker::linearizable::{Limits, Model, Operation, check};
///
/// /// A lock that somebody holds, or nobody.
/// struct Lock;
///
/// #[derive(PartialEq, Eq, Hash)]
/// enum LockOp {
///     Acquire,
///     Release,
/// }
///
/// impl Model for Lock {
///     type State = bool;
///     type Op = LockOp;
///
///     fn init(&self) -> bool {
///         false
///     }
///
///     fn step(&self, is_held: &bool, op: &LockOp) -> Option<bool> {
///         match (op, is_held) {
///             (LockOp::Acquire, false) => Some(true),
///             (LockOp::Release, true) => Some(false),
///             _ => None,
///         }
///     }
///
///     fn describe_state(&self, is_held: &bool) -> String {
///         (if *is_held { "held" } else { "free" }).into()
///     }
///
///     fn describe_op(&self, op: &LockOp) -> String {
///         (match op { LockOp::Acquire => "acquire", LockOp::Release => "release" }).into()
///     }
/// }
///
/// let twice = [
///     Operation::completed(LockOp::Acquire, 0, 1),
///     Operation::completed(LockOp::Acquire, 2, 3),
/// ];
/// assert!(check(&Lock, &twice, Limits::default()).is_not_linearizable());
/// ```
pub trait Model {
    /// The state of the object: all that later operations depend on.
    type State: Clone + Eq + Hash;
    /// An operation with its result. Equal operations are interchangeable.
    type Op: Eq + Hash;

    /// The state before the first operation.
    fn init(&self) -> Self::State;

    /// The state after `op`. `None` if `op` is not legal in `state`.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Describes the state, in words that follow "the state is".
    fn describe_state(&self, state: &Self::State) -> String;

    /// Describes the operation in a few words.
    fn describe_op(&self, op: &Self::Op) -> String;

    /// Describes the state that `op` needs, in words that follow "it needs". `None` if `op` is
    /// always legal, or if the model does not tell. The default is always `None`.
    fn describe_need(&self, _op: &Self::Op) -> Option<String> {
        None
    }

    /// Whether `op` never changes a state.
    ///
    /// The default is always correct. A model that returns true where it can makes the search
    /// faster.
    fn is_read(&self, _op: &Self::Op) -> bool {
        false
    }

    /// Whether `op` is legal in every state and always leads to the same state.
    ///
    /// The default is always correct. A model that returns true where it can makes the search
    /// faster.
    fn overwrites(&self, _op: &Self::Op) -> bool {
        false
    }

    /// Whether `first` may move behind `second`: wherever `first` then `second` is legal, `second`
    /// then `first` is legal too and leads to the same state.
    ///
    /// This also holds for a pair that is legal in no state. The default is always correct. A model
    /// that returns true where it can makes the search faster.
    fn swaps(&self, _first: &Self::Op, _second: &Self::Op) -> bool {
        false
    }

    /// Whether `a` can stand in for `b`: wherever `b` is legal, `a` is legal too and leads to the
    /// same state.
    ///
    /// The default is always correct. A model that returns true where it can makes the search
    /// faster.
    fn covers(&self, _a: &Self::Op, _b: &Self::Op) -> bool {
        false
    }
}
