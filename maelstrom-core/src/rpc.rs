//! Calls to other nodes and to services. Each call has a timeout.
//!
//! The invariant: every call ends exactly once, by its reply or by its timeout, whichever comes
//! first. The node forgets a call that timed out, so nothing leaks and a late reply is harmless. A
//! call that cannot be sent ends at once, and all open calls end when no more input can come.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::{self, DecodeError};
use crate::error::{Error, ErrorCode};
use crate::message::{MsgId, NodeId};
use crate::metrics::TypeId;

/// Maximum number of open calls of a node. One more call fails, and its message is not sent.
pub const PENDING_RPCS_MAX: usize = 65_536;

/// The outcome of a call. [`Node::rpc`](crate::Node::rpc) hands it to the handler. [`Reply`] shows
/// it in use.
pub type RpcResult = Result<Reply, RpcError>;

/// The answer to a call: any reply that is not an error.
///
/// A node that asks `lin-tso` for each of its own answers:
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_core::{Error, MessageHandler, Node, Request, RpcResult};
/// # use maelstrom_core::{Clock, RawNode};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Ts, TsOk { ts: u64 } }
///
/// struct Answered(Request, RpcResult);
///
/// # struct Proxy;
/// impl MessageHandler for Proxy {
/// #   type Payload = Payload;
///     type Event = Answered;
///     // …
///     fn message(
///         &mut self, node: &mut Node<Answered>, from: &Request, _: Payload,
///     ) -> Result<(), Error> {
///         let (from, timeout) = (from.clone(), Duration::from_secs(1));
///         let then = |result| Answered(from, result);
///         node.rpc(&"lin-tso".into(), &Payload::Ts, timeout, then);
///         Ok(())
///     }
///
///     fn event(&mut self, node: &mut Node<Answered>, Answered(from, result): Answered) {
///         let answer = result.and_then(|reply| reply.decode::<Payload>());
///         node.reply_result(&from, answer);
///     }
/// }
/// # let mut node = RawNode::new(Proxy, [7; 32], false);
/// # let mut ask = |src: &str, body: serde_json::Value| {
/// #     let line = serde_json::json!({"src": src, "dest": "n1", "body": body}).to_string();
/// #     node.handle_line(Clock::default(), line.as_bytes());
/// #     serde_json::from_slice::<serde_json::Value>(&node.poll_lines().unwrap()).unwrap()
/// # };
/// # let names = ["n1"];
/// # use serde_json::json;
/// # ask("c1", json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": names}));
/// # let call = ask("c1", json!({"type": "ts", "msg_id": 2}));
/// # let id = &call["body"]["msg_id"];
/// # let answer = ask("lin-tso", json!({"type": "ts_ok", "in_reply_to": id, "ts": 5}));
/// # assert_eq!((&answer["dest"], &answer["body"]["ts"]), (&json!("c1"), &json!(5)));
/// ```
#[derive(Clone, Debug)]
pub struct Reply {
    src: NodeId,
    kind: String,
    body: Box<RawValue>,
}

impl Reply {
    pub(crate) fn new(src: NodeId, kind: String, body: Box<RawValue>) -> Self {
        Self { src, kind, body }
    }

    /// The node or service that answered.
    #[must_use]
    pub fn src(&self) -> &NodeId {
        &self.src
    }

    /// The reply's type.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The reply as a variant of the enum `P`.
    ///
    /// # Errors
    ///
    /// [`RpcError::Malformed`] if `P` has no such variant, or if the fields do not fit it.
    pub fn decode<'a, P: Deserialize<'a>>(&'a self) -> Result<P, RpcError> {
        body::decode(&self.kind, &self.body).map_err(|error| match error {
            DecodeError::UnknownType(kind) => {
                RpcError::Malformed(format!("unexpected reply of type `{kind}`"))
            }
            DecodeError::Malformed(text) => {
                RpcError::Malformed(format!("reply `{}`: {text}", self.kind))
            }
        })
    }
}

/// The reason why a call failed.
///
/// ```
/// use maelstrom_core::{Error, ErrorCode, RpcError};
///
/// let remote = RpcError::Remote(Error::key_does_not_exist("x"));
/// assert_eq!((remote.code(), remote.is_definite()), (Some(ErrorCode::KeyDoesNotExist), true));
/// assert!(!RpcError::Timeout.is_definite());
/// // The answer to a client whose request failed because of the call.
/// assert_eq!(Error::from(RpcError::Overloaded).code, ErrorCode::TemporarilyUnavailable);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No reply came in time. The operation may have happened, or may still happen.
    #[error("no reply in time")]
    Timeout,
    /// The other side answered with an error. It is definite if its code is.
    #[error("{0}")]
    Remote(#[from] Error),
    /// The other side's answer makes no sense. The operation may have happened.
    #[error("{0}")]
    Malformed(String),
    /// [`PENDING_RPCS_MAX`] calls were open. The message was not sent.
    #[error("too many calls are open")]
    Overloaded,
    /// The message has no JSON form, which is a mistake in the program. The message was not sent.
    #[error("the call has no JSON form: {0}")]
    NoJsonForm(String),
}

impl RpcError {
    /// True if the operation certainly did not happen and never will.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        match self {
            Self::Timeout | Self::Malformed(_) => false,
            Self::Remote(error) => error.is_definite(),
            Self::Overloaded | Self::NoJsonForm(_) => true,
        }
    }

    /// The code of the other side's error. `None`: the call failed in another way.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Remote(error) => Some(error.code),
            _ => None,
        }
    }
}

impl From<RpcError> for Error {
    /// The answer to a request that failed because of the call: the other side's own error, or 0
    /// for a timeout, 11 for too many calls, 13 for a reply that makes no sense, and 14 for a
    /// message that has no JSON form.
    ///
    /// This error is definite if the call's error is. So it is right only if the node did nothing
    /// else for the request: after an earlier step that had an effect, the answer must be
    /// indefinite.
    fn from(error: RpcError) -> Self {
        let code = match &error {
            RpcError::Timeout => ErrorCode::Timeout,
            RpcError::Remote(error) => return error.clone(),
            RpcError::Malformed(_) => ErrorCode::Crash,
            RpcError::Overloaded => ErrorCode::TemporarilyUnavailable,
            RpcError::NoJsonForm(_) => ErrorCode::Abort,
        };
        Self::new(code, error.to_string())
    }
}

/// The message of a call, as the metrics see it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) kind: TypeId,
    /// The time when it was sent.
    pub(crate) at: Duration,
}

/// A call that ended: the event for the handler, and the message that was sent.
pub(crate) type Ended<E> = (E, Sent);

type Continuation<E> = Box<dyn FnOnce(RpcResult) -> E + Send>;

/// The open calls.
pub(crate) struct RpcTable<E> {
    pending: BTreeMap<MsgId, Pending<E>>,
    /// The same calls, ordered by deadline.
    deadlines: BTreeSet<(Duration, MsgId)>,
}

struct Pending<E> {
    dest: NodeId,
    deadline: Duration,
    sent: Sent,
    then: Continuation<E>,
}

impl<E> fmt::Debug for RpcTable<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcTable").field("deadlines", &self.deadlines).finish_non_exhaustive()
    }
}

impl<E> RpcTable<E> {
    pub(crate) fn new() -> Self {
        Self { pending: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    pub(crate) fn len(&self) -> usize {
        debug_assert_eq!(self.pending.len(), self.deadlines.len());
        self.pending.len()
    }

    /// Adds a call. The caller has checked that there is room, and that `id` is new.
    pub(crate) fn insert(
        &mut self,
        id: MsgId,
        dest: NodeId,
        deadline: Duration,
        sent: Sent,
        then: Continuation<E>,
    ) {
        self.pending.insert(id, Pending { dest, deadline, sent, then });
        self.deadlines.insert((deadline, id));
    }

    /// Ends the call that a reply from `src` to `id` answers. `None`: there is no such call.
    ///
    /// Only the node that was called can reply to a call.
    pub(crate) fn complete(&mut self, id: MsgId, src: &str, result: RpcResult) -> Option<Ended<E>> {
        if self.pending.get(&id)?.dest.as_ref() != src {
            return None;
        }
        let call = self.pending.remove(&id)?;
        self.deadlines.remove(&(call.deadline, id));
        Some(((call.then)(result), call.sent))
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ends the next call that is due and whose id is below `mark`. A call with a timeout of zero
    /// that the handler opens while others end has a higher id, and waits for the next round.
    pub(crate) fn pop_due(&mut self, now: Duration, mark: MsgId) -> Option<Ended<E>> {
        let (deadline, id) = *self.deadlines.first()?;
        (deadline <= now && id < mark).then_some(())?;
        self.time_out(id)
    }

    /// Ends the oldest call whose id is below `mark`, even if it is not due.
    pub(crate) fn pop_open(&mut self, mark: MsgId) -> Option<Ended<E>> {
        let id = *self.pending.first_key_value()?.0;
        (id < mark).then_some(())?;
        self.time_out(id)
    }

    fn time_out(&mut self, id: MsgId) -> Option<Ended<E>> {
        let call = self.pending.remove(&id)?;
        self.deadlines.remove(&(call.deadline, id));
        Some(((call.then)(Err(RpcError::Timeout)), call.sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> RpcTable<RpcResult> {
        let mut table = RpcTable::new();
        for (id, secs) in [(1, 5), (2, 3)] {
            let (deadline, sent) = (Duration::from_secs(secs), Sent::default());
            table.insert(id, "n2".into(), deadline, sent, Box::new(|result| result));
        }
        table
    }

    fn reply() -> RpcResult {
        let body = RawValue::from_string(r#"{"type":"read_ok","value":3}"#.into()).unwrap();
        Ok(Reply::new("n2".into(), "read_ok".into(), body))
    }

    #[test]
    fn a_call_ends_once_and_a_late_or_repeated_reply_is_nobodys() {
        let mut table = table();
        assert!(matches!(table.complete(1, "n2", reply()), Some((Ok(_), _))));
        assert!(table.complete(1, "n2", reply()).is_none());
        let due = table.pop_due(Duration::from_secs(3), 9);
        assert!(matches!(due, Some((Err(RpcError::Timeout), _))));
        assert!(table.complete(2, "n2", reply()).is_none());
        assert_eq!(table.len(), 0);
        assert_eq!(table.next_deadline(), None);
    }

    #[test]
    fn calls_time_out_by_their_deadline_and_not_before() {
        let mut table = table();
        assert_eq!(table.next_deadline(), Some(Duration::from_secs(3)));
        assert!(table.pop_due(Duration::from_millis(2_999), 9).is_none());
        assert!(table.pop_due(Duration::from_secs(3), 9).is_some());
        assert_eq!(table.next_deadline(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_reply_from_somebody_else_is_not_a_reply() {
        let mut table = table();
        assert!(table.complete(1, "n3", reply()).is_none());
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_request_is_answered_with_an_error_as_definite_as_that_of_the_call() {
        let text = || String::from("what");
        let mut errors = vec![
            (RpcError::Timeout, 0, "no reply in time"),
            (RpcError::Malformed(text()), 13, "what"),
            (RpcError::Overloaded, 11, "too many calls are open"),
            (RpcError::NoJsonForm(text()), 14, "the call has no JSON form: what"),
        ];
        for code in [0, 1, 10, 11, 12, 13, 14, 20, 21, 22, 30, 1_000] {
            let error = Error::new(ErrorCode::from_code(code), "theirs");
            errors.push((RpcError::Remote(error), code, "theirs"));
        }
        for (error, code, text) in errors {
            let answer = Error::from(error.clone());
            assert_eq!((answer.code.code(), answer.text.as_ref()), (code, text));
            assert_eq!(answer.is_definite(), error.is_definite(), "{error:?}");
        }
    }

    #[test]
    fn a_reply_decodes_into_an_enum_or_says_why_not() {
        #[derive(Deserialize, Debug, PartialEq)]
        #[serde(rename_all = "snake_case")]
        enum Kv {
            ReadOk { value: u8 },
        }
        let reply = reply().unwrap();
        assert_eq!(reply.decode::<Kv>(), Ok(Kv::ReadOk { value: 3 }));
        let other = Reply::new("n2".into(), "what".into(), reply.body.clone());
        assert!(matches!(other.decode::<Kv>(), Err(RpcError::Malformed(t)) if t.contains("what")));
    }
}
