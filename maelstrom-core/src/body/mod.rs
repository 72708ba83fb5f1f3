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
//!   decoded. When the body is encoded, the object has two fields of that name, which no reader
//!   accepts.
//! * A field of type `Option` is `None` if it is missing, and also if it is `null`.
//! * A variant may hold a struct or a map, but not one [`RawValue`] with all of the body.
//!
//! # Invariant
//!
//! If a body decodes, the payload has exactly the fields that its variant asks for, each as it
//! came. If it does not, the error is either *unknown type* or *malformed*, with the field's name.

use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::value::RawValue;

use self::fields::{Fields, Skip};
use crate::error::{Error, ErrorCode};
use crate::message::Header;

mod encode;
mod fields;
pub(crate) mod line;
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

impl serde::de::Error for DecodeError {
    fn custom<T: Display>(text: T) -> Self {
        Self::Malformed(text.to_string())
    }

    fn unknown_variant(variant: &str, _expected: &'static [&'static str]) -> Self {
        Self::UnknownType(variant.to_owned())
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
    let body = body.get();
    P::deserialize(Body { kind, body, name_field: false }).map_err(|error| match error {
        DecodeError::UnknownType(_) => error,
        // A second pass finds the field's name. Only errors are worth its time.
        DecodeError::Malformed(_) => {
            P::deserialize(Body { kind, body, name_field: true }).err().unwrap_or(error)
        }
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
    serde_json::from_str(body).map_err(|error| {
        let mut json = serde_json::Deserializer::from_str(body);
        match serde_path_to_error::deserialize::<_, Header<'_>>(&mut json) {
            Err(error) => malformed(&error.path().to_string(), error.inner()),
            Ok(_) => malformed("", &error),
        }
    })
}

/// A body, presented to serde as an externally tagged enum.
#[derive(Clone, Copy)]
struct Body<'de> {
    kind: &'de str,
    body: &'de str,
    /// True if an error must name the field. That is slower, so only a second pass does it.
    name_field: bool,
}

/// The error for a payload that is not a plain enum. It names the attributes to remove.
fn not_a_plain_enum(payload: &dyn Expected) -> String {
    format!(
        "the payload's Rust type is {payload} and must be a plain enum: remove \
         `#[serde(tag = \"type\")]`, `content` and `untagged` from it, since the name of the \
         variant is the message's type already"
    )
}

impl<'de> Deserializer<'de> for Body<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::Malformed(not_a_plain_enum(&visitor)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Body<'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let kind: StrDeserializer<'de, DecodeError> = self.kind.into_deserializer();
        Ok((seed.deserialize(kind)?, self))
    }
}

impl<'de> Body<'de> {
    /// Reads the object. With `name_field`, an error has the path to the field.
    fn read<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let mut json = serde_json::Deserializer::from_str(self.body);
        if self.name_field {
            let mut track = serde_path_to_error::Track::new();
            serde_path_to_error::Deserializer::new(&mut json, &mut track)
                .deserialize_map(visitor)
                .map_err(|error| malformed(&track.path().to_string(), &error))
        } else {
            json.deserialize_map(visitor).map_err(|error| malformed("", &error))
        }
    }
}

/// Passes the object's fields to the struct or the map in a variant.
struct Newtype<T>(T);

/// Passes the object's fields to a variant that has named fields.
struct Struct<V>(V);

impl<'de, T: DeserializeSeed<'de>> Visitor<'de> for Newtype<T> {
    type Value = T::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T::Value, M::Error> {
        Fields::new(&[], map, &mut Skip).newtype_variant_seed(self.0)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Struct<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<V::Value, M::Error> {
        Fields::new(&[], map, &mut Skip).struct_variant(&[], self.0)
    }
}

impl<'de> VariantAccess<'de> for Body<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        self.read(Newtype(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::Malformed("a payload's variant must not be a tuple".into()))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.read(Struct(visitor))
    }
}

/// A text for people that names the field and its problem. It has no line and no column, because a
/// message is always one line.
fn malformed(path: &str, error: &serde_json::Error) -> DecodeError {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    DecodeError::Malformed(if path.is_empty() || path == "." {
        text.to_owned()
    } else {
        format!("field `{path}`: {text}")
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
