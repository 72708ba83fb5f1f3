//! Reads the fields of a body, without the core's own fields.
//!
//! The invariant: a payload never sees the core's fields `type`, `msg_id` and `in_reply_to`. It
//! sees each of the remaining fields once, in the order of the line.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IgnoredAny, IntoDeserializer,
    MapAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use crate::message::MsgId;

/// A field that the core reads in every body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CoreField {
    Type,
    MsgId,
    InReplyTo,
}

impl CoreField {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "type" => Some(Self::Type),
            "msg_id" => Some(Self::MsgId),
            "in_reply_to" => Some(Self::InReplyTo),
            _ => None,
        }
    }
}

/// Facts about a body that the core learns while it reads the payload.
#[derive(Debug, Default)]
pub(super) struct Core {
    /// True if the core has read its fields already.
    pub(super) knows_its_fields: bool,
    /// The `msg_id`, once it has been read.
    pub(super) msg_id: Option<Option<MsgId>>,
    /// True if the payload has no variant for the type.
    pub(super) is_unknown_type: bool,
    /// The payload's field that was refused, if one was.
    pub(super) refused: String,
}

impl Core {
    /// Takes the value of `field`, which is the next one of `map`.
    pub(super) fn take<'de, M: MapAccess<'de>>(
        &mut self,
        field: CoreField,
        map: &mut M,
    ) -> Result<(), M::Error> {
        if self.knows_its_fields {
            return map.next_value::<IgnoredAny>().map(drop);
        }
        if field == CoreField::MsgId && self.msg_id.is_none() {
            self.msg_id = Some(map.next_value()?);
            return Ok(());
        }
        Err(M::Error::custom("a reply, or a field is there twice"))
    }
}

/// Reads a key. The result is borrowed from the line, unless the key has escapes.
pub(super) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Cow<'de, str>, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// A field whose value is not parsed yet.
pub(super) type RawField<'de> = (&'de str, &'de RawValue);

/// The payload's fields: first those in `early`, then the rest of `map`.
pub(super) struct Fields<'f, 'de, M> {
    early: std::slice::Iter<'f, RawField<'de>>,
    /// The last key. Empty if it had escapes.
    key: &'de str,
    /// The value that belongs to it, if it is from `early`.
    value: Option<&'de RawValue>,
    map: M,
    core: &'f mut Core,
}

impl<'f, 'de, M: MapAccess<'de>> Fields<'f, 'de, M> {
    pub(super) fn new(early: &'f [RawField<'de>], map: M, core: &'f mut Core) -> Self {
        Self { early: early.iter(), key: "", value: None, map, core }
    }

    /// The next field of the payload in `map`.
    fn next_name(&mut self) -> Result<Option<Cow<'de, str>>, M::Error> {
        while let Some(key) = self.map.next_key_seed(Key)? {
            match CoreField::named(&key) {
                Some(field) => self.core.take(field, &mut self.map)?,
                None => return Ok(Some(key)),
            }
        }
        Ok(None)
    }

    /// Reads the rest of the object, and ignores the payload's fields in it.
    fn finish<T>(mut self, value: T) -> Result<T, M::Error> {
        while self.next_name()?.is_some() {
            self.map.next_value::<IgnoredAny>()?;
        }
        Ok(value)
    }
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for Fields<'_, 'de, M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, M::Error> {
        if let Some(&(key, value)) = self.early.next() {
            (self.key, self.value) = (key, Some(value));
            return seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some);
        }
        match self.next_name()? {
            Some(Cow::Borrowed(key)) => {
                self.key = key;
                seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
            }
            Some(Cow::Owned(key)) => {
                self.key = "";
                seed.deserialize(StrDeserializer::new(&key)).map(Some)
            }
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, M::Error> {
        match self.value.take() {
            Some(value) => {
                // For an integer of 128 bits, serde_json reads the digits only. So `end` checks
                // that no fraction follows them.
                let mut json = serde_json::Deserializer::from_str(value.get());
                let value = seed.deserialize(&mut json).map_err(M::Error::custom)?;
                json.end().map_err(M::Error::custom)?;
                Ok(value)
            }
            None => {
                let (key, core) = (self.key, &mut *self.core);
                self.map.next_value_seed(seed).inspect_err(|_| key.clone_into(&mut core.refused))
            }
        }
    }
}

/// The content of a payload's variant is the set of all fields, whether the variant is a unit, a
/// newtype or a struct. A tuple variant is refused.
impl<'de, M: MapAccess<'de>> VariantAccess<'de> for Fields<'_, 'de, M> {
    type Error = M::Error;

    fn unit_variant(self) -> Result<(), M::Error> {
        self.finish(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        mut self,
        seed: T,
    ) -> Result<T::Value, M::Error> {
        let value = seed.deserialize(Object(&mut self))?;
        self.finish(value)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, M::Error> {
        Err(M::Error::custom("a payload's variant must not be a tuple"))
    }

    fn struct_variant<V: Visitor<'de>>(
        mut self,
        _names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, M::Error> {
        let value = visitor.visit_map(&mut self)?;
        self.finish(value)
    }
}

/// A payload: an enum whose variant is the type.
pub(super) struct Tagged<'f, 'de, M> {
    pub(super) kind: &'de str,
    pub(super) fields: Fields<'f, 'de, M>,
}

/// The error for a payload that is not a plain enum. It names the attributes to remove.
fn not_a_plain_enum(payload: &dyn Expected) -> String {
    format!(
        "the payload's Rust type is {payload} and must be a plain enum: remove \
         `#[serde(tag = \"type\")]`, `content` and `untagged` from it, since the name of the \
         variant is the message's type already"
    )
}

impl<'de, M: MapAccess<'de>> Deserializer<'de> for Tagged<'_, 'de, M> {
    type Error = M::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, M::Error> {
        Err(M::Error::custom(not_a_plain_enum(&visitor)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, M::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'f, 'de, M: MapAccess<'de>> EnumAccess<'de> for Tagged<'f, 'de, M> {
    type Error = M::Error;
    type Variant = Fields<'f, 'de, M>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), M::Error> {
        let kind: StrDeserializer<'de, M::Error> = self.kind.into_deserializer();
        let variant = seed.deserialize(kind);
        self.fields.core.is_unknown_type = variant.is_err();
        Ok((variant?, self.fields))
    }
}

/// The fields as one object, for the struct or the map in a variant.
struct Object<M>(M);

impl<'de, M: MapAccess<'de>> Deserializer<'de> for Object<M> {
    type Error = M::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, M::Error> {
        visitor.visit_map(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, M::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, M::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
