//! Decodes a whole line in one pass: the envelope, the core's fields and the payload.
//!
//! The invariant: this is a shortcut for plain requests. If there is anything odd about a line,
//! [`decode`] returns `None`. If it returns a message, that is the message that `raw_node` reads
//! from the line step by step.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use memchr::memchr2_iter;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{Core, CoreField, Fields, Key, RawField, Tagged};
use crate::message::MsgId;

/// Maximum number of the payload's fields before the type. Clients of Maelstrom write the payload's
/// fields first. No challenge has more than two.
const EARLY_FIELDS_MAX: usize = 8;

/// Maximum number of brackets in a field before the type. serde_json allows 127 levels of brackets,
/// and counts anew where a field is parsed apart from its line.
const EARLY_BRACKETS_MAX: usize = 100;

/// A request or a message that wants no reply.
#[derive(Debug)]
pub(crate) struct Message<'a, P> {
    pub(crate) src: &'a str,
    pub(crate) dest: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) msg_id: Option<MsgId>,
    pub(crate) payload: P,
}

/// Decodes a line if it is plain.
///
/// `None` if the line must be read in another way: it is not a message, it has a field twice, a
/// name or the type has escapes, it is `init` or a reply, or the payload refuses its type or a
/// field.
pub(crate) fn decode<'a, P: Deserialize<'a>>(line: &'a str) -> Option<Message<'a, P>> {
    let mut json = serde_json::Deserializer::from_str(line);
    let message = json.deserialize_map(Envelope(PhantomData)).ok()?;
    json.end().ok()?;
    Some(message)
}

/// Reads the envelope.
struct Envelope<P>(PhantomData<P>);

impl<'de, P: Deserialize<'de>> Visitor<'de> for Envelope<P> {
    type Value = Message<'de, P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut src, mut dest, mut body) = (None, None, None);
        while let Some(key) = map.next_key_seed(Key)? {
            let twice = match key.as_ref() {
                "src" => src.replace(map.next_value()?).is_some(),
                "dest" => dest.replace(map.next_value()?).is_some(),
                "body" => body.replace(map.next_value_seed(Body(PhantomData::<P>))?).is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if twice {
                return Err(M::Error::custom("a field is there twice"));
            }
        }
        let (Some(src), Some(dest), Some((kind, msg_id, payload))) = (src, dest, body) else {
            return Err(M::Error::custom("a field is missing"));
        };
        Ok(Message { src, dest, kind, msg_id, payload })
    }
}

/// Reads a body: its type, its `msg_id` and the payload.
struct Body<P>(PhantomData<P>);

impl<'de, P: Deserialize<'de>> DeserializeSeed<'de> for Body<P> {
    type Value = (&'de str, Option<MsgId>, P);

    fn deserialize<D: Deserializer<'de>>(self, body: D) -> Result<Self::Value, D::Error> {
        body.deserialize_map(self)
    }
}

impl<'de, P: Deserialize<'de>> Visitor<'de> for Body<P> {
    type Value = (&'de str, Option<MsgId>, P);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a body")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut core = Core::default();
        let mut early: [RawField<'de>; EARLY_FIELDS_MAX] = [("", RawValue::NULL); EARLY_FIELDS_MAX];
        let mut free = early.iter_mut();
        let kind: &'de str = loop {
            let key = map.next_key_seed(Key)?.ok_or_else(|| M::Error::missing_field("type"))?;
            match (CoreField::named(&key), key) {
                (Some(CoreField::Type), _) => break map.next_value()?,
                (Some(field), _) => core.take(field, &mut map)?,
                (None, Cow::Borrowed(key)) => {
                    let field = free.next().ok_or_else(|| M::Error::custom("too many fields"))?;
                    *field = (key, early_value(&mut map)?);
                }
                (None, Cow::Owned(_)) => return Err(M::Error::custom("an escape in a key")),
            }
        };
        if kind == "init" {
            return Err(M::Error::custom("the core's own"));
        }
        let taken = EARLY_FIELDS_MAX.saturating_sub(free.len());
        let early = early.get(..taken).unwrap_or_default();
        let fields = Fields::new(early, map, &mut core);
        let payload = P::deserialize(Tagged { kind, fields })?;
        Ok((kind, core.msg_id.flatten(), payload))
    }
}

/// Reads the value of a field before the type.
fn early_value<'de, M: MapAccess<'de>>(map: &mut M) -> Result<&'de RawValue, M::Error> {
    let value: &RawValue = map.next_value()?;
    if memchr2_iter(b'[', b'{', value.get().as_bytes()).nth(EARLY_BRACKETS_MAX).is_some() {
        return Err(M::Error::custom("too many brackets"));
    }
    Ok(value)
}
