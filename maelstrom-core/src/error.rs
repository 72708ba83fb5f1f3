//! The protocol's errors: the answers of a node that cannot serve a request.
//!
//! The invariant: a *definite* error promises that the operation did not happen and never will. A
//! checker relies on that promise. If in doubt, answer with an indefinite error.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An error code of the Maelstrom protocol.
///
/// The protocol defines the codes 0 to 999. Codes from 1000 on belong to programs, and are
/// indefinite.
///
/// ```
/// use maelstrom_core::ErrorCode;
///
/// let code = ErrorCode::from_code(22);
/// assert_eq!((code, code.name()), (ErrorCode::PreconditionFailed, "precondition-failed"));
/// assert!(code.is_definite());
/// assert!(!ErrorCode::Other(1_000).is_definite());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 0: no answer came in time. The operation may have happened, or may still happen.
    Timeout,
    /// 1: the addressed node does not exist.
    NodeNotFound,
    /// 10: the node does not know this type of request.
    NotSupported,
    /// 11: the node cannot serve the request now. A later attempt may succeed.
    TemporarilyUnavailable,
    /// 12: the request does not have the form that its type requires.
    MalformedRequest,
    /// 13: something went wrong half-way. The operation may have happened.
    Crash,
    /// 14: something went wrong. The operation did not happen.
    Abort,
    /// 20: the key does not exist.
    KeyDoesNotExist,
    /// 21: the key exists already, and must not be overwritten.
    KeyAlreadyExists,
    /// 22: the request's condition does not hold.
    PreconditionFailed,
    /// 30: the transaction lost against another one.
    TxnConflict,
    /// Any other code: one of a program, or one of a newer protocol. Indefinite.
    Other(u64),
}

impl ErrorCode {
    /// The number of the code in a message.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Timeout => 0,
            Self::NodeNotFound => 1,
            Self::NotSupported => 10,
            Self::TemporarilyUnavailable => 11,
            Self::MalformedRequest => 12,
            Self::Crash => 13,
            Self::Abort => 14,
            Self::KeyDoesNotExist => 20,
            Self::KeyAlreadyExists => 21,
            Self::PreconditionFailed => 22,
            Self::TxnConflict => 30,
            Self::Other(code) => code,
        }
    }

    /// The code with this number.
    #[must_use]
    pub const fn from_code(code: u64) -> Self {
        match code {
            0 => Self::Timeout,
            1 => Self::NodeNotFound,
            10 => Self::NotSupported,
            11 => Self::TemporarilyUnavailable,
            12 => Self::MalformedRequest,
            13 => Self::Crash,
            14 => Self::Abort,
            20 => Self::KeyDoesNotExist,
            21 => Self::KeyAlreadyExists,
            22 => Self::PreconditionFailed,
            30 => Self::TxnConflict,
            other => Self::Other(other),
        }
    }

    /// The protocol's name for the code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NodeNotFound => "node-not-found",
            Self::NotSupported => "not-supported",
            Self::TemporarilyUnavailable => "temporarily-unavailable",
            Self::MalformedRequest => "malformed-request",
            Self::Crash => "crash",
            Self::Abort => "abort",
            Self::KeyDoesNotExist => "key-does-not-exist",
            Self::KeyAlreadyExists => "key-already-exists",
            Self::PreconditionFailed => "precondition-failed",
            Self::TxnConflict => "txn-conflict",
            Self::Other(_) => "unknown",
        }
    }

    /// True if the error promises that the operation did not happen and never will.
    #[must_use]
    pub const fn is_definite(self) -> bool {
        !matches!(self, Self::Timeout | Self::Crash | Self::Other(_))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.code())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_code)
    }
}

/// An error as sent over the network: a code, and a text for people.
///
/// A handler returns one from [`MessageHandler::message`](crate::MessageHandler::message), and the
/// core answers the request with it.
///
/// ```
/// use maelstrom_core::{Error, ErrorCode};
///
/// let error = Error::temporarily_unavailable("no leader");
/// assert_eq!((error.code, error.is_definite()), (ErrorCode::TemporarilyUnavailable, true));
/// // After a timeout, the operation may have happened.
/// assert!(!Error::timeout("no answer").is_definite());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Error {
    /// The kind of the error. It decides whether the error is definite.
    pub code: ErrorCode,
    /// A description of the problem for people. A reply may omit it. If a reply has another JSON
    /// value in its place, this is the text of that JSON. Only the code decides the meaning of the
    /// error.
    #[serde(default, deserialize_with = "any_text")]
    pub text: Cow<'static, str>,
}

fn any_text<'de, D: Deserializer<'de>>(d: D) -> Result<Cow<'static, str>, D::Error> {
    Ok(match serde_json::Value::deserialize(d)? {
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Null => Cow::default(),
        other => other.to_string().into(),
    })
}

impl Error {
    /// An error with this code and this text.
    pub fn new(code: ErrorCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }

    /// Error 12: the request does not have the form that its type requires. Definite.
    pub fn malformed_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::MalformedRequest, text)
    }

    /// Error 11: the node cannot serve the request now. Definite.
    pub fn temporarily_unavailable(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::TemporarilyUnavailable, text)
    }

    /// Error 14: something went wrong, and the operation did not happen. Definite.
    pub fn abort(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Abort, text)
    }

    /// Error 20: the key does not exist. Definite.
    pub fn key_does_not_exist(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::KeyDoesNotExist, text)
    }

    /// Error 21: the key exists already and must not be overwritten. Definite.
    pub fn key_already_exists(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::KeyAlreadyExists, text)
    }

    /// Error 22: the request's condition does not hold. Definite.
    pub fn precondition_failed(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::PreconditionFailed, text)
    }

    /// Error 30: the transaction lost against another one. Definite.
    pub fn txn_conflict(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::TxnConflict, text)
    }

    /// Error 0: the outcome was not known in time. Indefinite.
    pub fn timeout(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Timeout, text)
    }

    /// Error 13: something went wrong, and the operation may have happened. Indefinite.
    pub fn crash(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Crash, text)
    }

    /// See [`ErrorCode::is_definite`].
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        self.code.is_definite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The protocol's own table: code, name, definite.
    const TABLE: [(u64, &str, bool); 11] = [
        (0, "timeout", false),
        (1, "node-not-found", true),
        (10, "not-supported", true),
        (11, "temporarily-unavailable", true),
        (12, "malformed-request", true),
        (13, "crash", false),
        (14, "abort", true),
        (20, "key-does-not-exist", true),
        (21, "key-already-exists", true),
        (22, "precondition-failed", true),
        (30, "txn-conflict", true),
    ];

    #[test]
    fn codes_names_and_definiteness_are_the_protocols() {
        for (number, name, definite) in TABLE {
            let code = ErrorCode::from_code(number);
            assert_eq!(code.code(), number);
            assert_eq!(code.name(), name);
            assert_eq!(code.is_definite(), definite, "{name}");
        }
    }

    #[test]
    fn a_code_outside_the_table_survives_and_is_indefinite() {
        for number in [2, 31, 1000, u64::MAX] {
            let code = ErrorCode::from_code(number);
            assert_eq!(code.code(), number);
            assert!(!code.is_definite());
        }
    }

    #[test]
    fn an_error_with_or_without_a_text_is_understood() {
        for (json, text) in [
            (r#"{"code":22}"#, ""),
            (r#"{"text":null,"code":22}"#, ""),
            (r#"{"code":22,"text":"\u006eo","type":"error","in_reply_to":1}"#, "no"),
        ] {
            let error: Error = serde_json::from_str(json).unwrap();
            assert_eq!(error, Error::new(ErrorCode::PreconditionFailed, text));
        }
    }
}
