//! Message bodies as plain serde enums, without `tag`, `flatten` or buffering.
//!
//! On the network, a body is one object: `{"type": "echo", "msg_id": 1, "echo": …}`. In Rust it is
//! an enum. The variant is the type, and its fields are the other fields of the object:
//!
//! ```
//! #[derive(serde::Deserialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Request {
//!     Echo { echo: Box<serde_json::value::RawValue> },
//! }
//! ```
//!
//! serde's own internally tagged enums buffer every value to find the tag. That costs time, loses
//! the digits of large numbers and cannot hold a [`RawValue`]. Here the type is known before the
//! fields are read. So serde gets a body as an *externally* tagged enum: the variant is the type,
//! and its content is the rest of the object. Fields that the variant does not name are ignored.
//!
//! The core reads and writes the fields of every body: `type`, `msg_id` and `in_reply_to`. A
//! payload never sees them. With `#[serde(deny_unknown_fields)]`, a variant refuses all fields but
//! its own.
//!
//! # Traps
//!
//! * If a payload's field has the name of a core field, it is always missing when the body is
//!   decoded. When the body is encoded, the object can have two fields of that name. This crate
//!   refuses such an object.
//! * A field of type `Option` is `None` if it is missing, and also if it is `null`.
//! * A variant may hold a struct or a map, but not one [`RawValue`] with all of the body.
//!
//! # Invariant
//!
//! If a body decodes, the payload has exactly the fields that its variant asks for, each as it
//! came. If it does not, the error is either *unknown type* or *malformed*, with the field's name.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use self::fields::{Core, Fields, Tagged};
use crate::error::{Error, ErrorCode};
use crate::message::Header;

mod encode;
mod fields;
pub(crate) mod line;
mod path;
mod verbatim;

pub(crate) use encode::{Ids, encode};
pub use verbatim::Verbatim;

/// The reason why a body could not be decoded.
///
/// ```
/// use maelstrom_core::body::DecodeError;
/// use maelstrom_core::{Error, ErrorCode};
///
/// // The answer to a client whose request has no such type.
/// let answer = Error::from(DecodeError::UnknownType("wipe".into()));
/// assert_eq!(answer.code, ErrorCode::NotSupported);
/// assert_eq!(answer.text, "unknown message type `wipe`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No variant of the payload has this type.
    #[error("unknown message type `{0}`")]
    UnknownType(String),
    /// The type is known, but a field is missing or of the wrong type. The text names the field.
    #[error("{0}")]
    Malformed(String),
}

impl From<DecodeError> for Error {
    /// Error 10 for an unknown type, error 12 for a malformed body. Both are definite.
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::UnknownType(_) => Self::new(ErrorCode::NotSupported, error.to_string()),
            DecodeError::Malformed(text) => Self::malformed_request(text),
        }
    }
}

/// Decodes the body of a message of type `kind` into the enum `P`.
///
/// ```
/// use maelstrom_core::body::{DecodeError, decode};
/// use serde_json::value::RawValue;
///
/// #[derive(Debug, PartialEq, serde::Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Payload {
///     Read { key: u64 },
/// }
///
/// let body: &RawValue = serde_json::from_str(r#"{"type":"read","msg_id":1,"key":7}"#)?;
/// assert_eq!(decode("read", body), Ok(Payload::Read { key: 7 }));
/// assert_eq!(decode::<Payload>("wipe", body), Err(DecodeError::UnknownType("wipe".into())));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
///
/// [`DecodeError::UnknownType`] if `P` has no such variant. [`DecodeError::Malformed`] if a field
/// is missing or of the wrong type, or if the body is not an object.
pub fn decode<'de, P: Deserialize<'de>>(
    kind: &'de str,
    body: &'de RawValue,
) -> Result<P, DecodeError> {
    if !body.get().starts_with('{') {
        return Err(DecodeError::Malformed("the body is not an object".into()));
    }
    let (mut core, body) = (Core { knows_its_fields: true, ..Core::default() }, body.get());
    let mut json = serde_json::Deserializer::from_str(body);
    let payload = json.deserialize_map(Payload { kind, core: &mut core, payload: PhantomData });
    payload.map_err(|error| match core.is_unknown_type {
        true => DecodeError::UnknownType(kind.to_owned()),
        false => malformed(body, &error, &core.refused),
    })
}

/// Decodes the fields that the core reads in every body.
///
/// # Errors
///
/// [`DecodeError::Malformed`] if a field is missing or of the wrong type, or if the body is not an
/// object.
pub(crate) fn decode_header<'de>(body: &'de RawValue) -> Result<Header<'de>, DecodeError> {
    let body = body.get();
    if !body.starts_with('{') {
        return Err(DecodeError::Malformed("the body is not an object".into()));
    }
    serde_json::from_str(body).map_err(|error| malformed(body, &error, ""))
}

/// Reads a body as an enum whose variant is `kind`.
struct Payload<'c, 'de, P> {
    kind: &'de str,
    core: &'c mut Core,
    payload: PhantomData<P>,
}

impl<'de, P: Deserialize<'de>> Visitor<'de> for Payload<'_, 'de, P> {
    type Value = P;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<P, M::Error> {
        P::deserialize(Tagged { kind: self.kind, fields: Fields::new(&[], map, self.core) })
    }
}

/// A text for people that names the field and its problem. `field`: the payload's field, if it is
/// known, for an error whose position does not tell it. The text has no line and no column, because a
/// message is always one line.
fn malformed(body: &str, error: &serde_json::Error, field: &str) -> DecodeError {
    let (path, text) = (path::path(body, error), error.to_string());
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    let path = if path.is_empty() { field } else { &path };
    DecodeError::Malformed(match path.is_empty() {
        true => text.to_owned(),
        false => format!("field `{path}`: {text}"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Request {
        Read,
        Echo { echo: Box<RawValue> },
        Add { delta: u64 },
        Topology { topology: BTreeMap<String, Vec<String>> },
        Gossip(Gossip),
    }

    #[derive(Debug, Deserialize)]
    struct Gossip {
        have: Vec<u64>,
    }

    fn decoded(body: &str) -> Result<Request, DecodeError> {
        let raw: &RawValue = serde_json::from_str(body).unwrap();
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        decode(value["type"].as_str().unwrap(), raw)
    }

    #[test]
    fn a_raw_field_keeps_every_digit_and_unknown_fields_are_ignored() {
        let body = r#"{"type":"echo","x":[],"echo":{"n": 123456789012345678901234567890.10}}"#;
        let Request::Echo { echo } = decoded(body).unwrap() else { panic!("not an echo") };
        assert_eq!(echo.get(), r#"{"n": 123456789012345678901234567890.10}"#);
    }

    #[test]
    fn every_shape_of_variant_decodes() {
        assert!(matches!(decoded(r#"{"type":"read","msg_id":1}"#), Ok(Request::Read)));
        assert!(matches!(decoded(r#"{"delta":3,"type":"add"}"#), Ok(Request::Add { delta: 3 })));
        let topology = decoded(r#"{"type":"topology","topology":{"n1":["n2"]}}"#);
        assert!(matches!(topology, Ok(Request::Topology { topology }) if topology["n1"] == ["n2"]));
        let gossip = decoded(r#"{"have":[1,18446744073709551615],"type":"gossip"}"#);
        assert!(matches!(gossip, Ok(Request::Gossip(g)) if g.have == [1, u64::MAX]));
    }

    #[test]
    fn a_payload_with_a_tag_is_refused_with_the_attribute_to_remove() {
        #[derive(Debug, Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        enum Tagged {
            Read,
        }
        let raw = RawValue::from_string(r#"{"type":"read"}"#.into()).unwrap();
        let error = decode::<Tagged>("read", &raw).map(|Tagged::Read| ()).unwrap_err().to_string();
        assert!(error.contains("internally tagged enum Tagged"), "{error}");
        assert!(error.contains("remove `#[serde(tag = \"type\")]`"), "{error}");
    }

    #[test]
    fn an_unknown_type_is_told_apart_from_a_malformed_body() {
        assert_eq!(
            decoded(r#"{"type":"nope"}"#).unwrap_err(),
            DecodeError::UnknownType("nope".into())
        );
        let missing = decoded(r#"{"type":"add"}"#).unwrap_err();
        assert_eq!(missing, DecodeError::Malformed("missing field `delta`".into()));
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named_with_its_path() {
        let error = decoded(r#"{"type":"add","delta":"x"}"#).unwrap_err().to_string();
        assert_eq!(error, "field `delta`: invalid type: string \"x\", expected u64");
        let error = decoded(r#"{"type":"topology","topology":{"n1":["n2",3]}}"#).unwrap_err();
        assert!(error.to_string().starts_with("field `topology.n1[1]`: "), "{error}");
        let error = decoded(r#"{"type":"gossip","have":[1,-1]}"#).unwrap_err().to_string();
        assert!(error.starts_with("field `have[1]`: "), "{error}");
    }

    #[test]
    fn a_payload_never_sees_the_fields_that_are_the_cores() {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "snake_case", deny_unknown_fields)]
        enum Strict {
            Add { delta: u64 },
            Rest(BTreeMap<String, u64>),
            Echo { in_reply_to: Option<u64> },
        }
        fn strict(kind: &str, fields: &str) -> Result<Strict, DecodeError> {
            let body = format!(r#"{{"type":"{kind}","msg_id":1,"in_reply_to":2{fields}}}"#);
            let raw = RawValue::from_string(body).unwrap();
            // The payload borrows nothing.
            decode(kind, &raw)
        }
        assert!(matches!(strict("add", r#","delta":3"#), Ok(Strict::Add { delta: 3 })));
        let error = strict("add", r#","delta":3,"x":4"#).unwrap_err().to_string();
        assert_eq!(error, "unknown field `x`, expected `delta`");
        let rest = strict("rest", r#","x":4"#);
        assert!(matches!(rest, Ok(Strict::Rest(rest)) if rest == [("x".into(), 4)].into()));
        assert!(matches!(strict("echo", ""), Ok(Strict::Echo { in_reply_to: None })));
    }

    #[test]
    fn a_body_that_is_no_object_is_malformed() {
        let raw: &RawValue = serde_json::from_str("[1]").unwrap();
        assert!(matches!(decode::<Request>("add", raw), Err(DecodeError::Malformed(_))));
    }
}
