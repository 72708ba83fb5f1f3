//! Writes bodies: first the type and the ids, then the fields.

use std::fmt::{self, Display, Write};

use serde::Serialize;
use serde::ser::{
    Error as _, Impossible, SerializeMap, SerializeStruct, SerializeStructVariant, Serializer,
};
use serde_json::Error;
use serde_json::ser::{CompactFormatter, Compound};

use super::verbatim;
use crate::message::MsgId;

/// The ids that the core adds to a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) msg_id: Option<MsgId>,
    pub(crate) in_reply_to: Option<MsgId>,
}

/// Appends `body` with its type and `ids` to `out`, as one JSON object.
///
/// # Errors
///
/// If `body` is neither an enum of struct-like variants nor a struct or map, or if a value in it
/// has no JSON form. `out` is then unchanged. A struct or map must hold its own type: this is not
/// checked.
pub(crate) fn encode<B: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    ids: Ids,
    body: &B,
) -> Result<(), Error> {
    let start = out.len();
    let result = body.serialize(Tagged { out, kind: None, ids });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// serde_json's serializer.
type Json<'b> = serde_json::Serializer<&'b mut Vec<u8>>;

/// serde_json's writer of arrays and objects.
type JsonCompound<'s, 'b> = Compound<'s, &'b mut Vec<u8>, CompactFormatter>;

/// Passes to the macro `$apply` those serde methods whose values are neither objects nor wrappers.
macro_rules! scalars_and_sequences {
    ($apply:ident) => {
        $apply! {
            serialize_bool(value: bool) -> Self::Ok;
            serialize_i8(value: i8) -> Self::Ok;
            serialize_i16(value: i16) -> Self::Ok;
            serialize_i32(value: i32) -> Self::Ok;
            serialize_i64(value: i64) -> Self::Ok;
            serialize_i128(value: i128) -> Self::Ok;
            serialize_u8(value: u8) -> Self::Ok;
            serialize_u16(value: u16) -> Self::Ok;
            serialize_u32(value: u32) -> Self::Ok;
            serialize_u64(value: u64) -> Self::Ok;
            serialize_u128(value: u128) -> Self::Ok;
            serialize_f32(value: f32) -> Self::Ok;
            serialize_f64(value: f64) -> Self::Ok;
            serialize_char(value: char) -> Self::Ok;
            serialize_str(value: &str) -> Self::Ok;
            serialize_bytes(value: &[u8]) -> Self::Ok;
            serialize_none() -> Self::Ok;
            serialize_unit() -> Self::Ok;
            serialize_unit_struct(name: &'static str) -> Self::Ok;
            serialize_seq(len: Option<usize>) -> Self::SerializeSeq;
            serialize_tuple(len: usize) -> Self::SerializeTuple;
            serialize_tuple_struct(name: &'static str, len: usize) -> Self::SerializeTupleStruct;
            serialize_tuple_variant(
                name: &'static str, index: u32, variant: &'static str, len: usize
            ) -> Self::SerializeTupleVariant;
        }
    };
}

/// Does the same for the methods of objects and of variants without content.
macro_rules! objects {
    ($apply:ident) => {
        $apply! {
            serialize_unit_variant(name: &'static str, index: u32, variant: &'static str)
                -> Self::Ok;
            serialize_map(len: Option<usize>) -> Self::SerializeMap;
            serialize_struct(name: &'static str, len: usize) -> Self::SerializeStruct;
            serialize_struct_variant(
                name: &'static str, index: u32, variant: &'static str, len: usize
            ) -> Self::SerializeStructVariant;
        }
    };
}

/// Defines methods that refuse a value with the text `REFUSAL`.
macro_rules! refuse {
    ($($method:ident($($arg:ident: $type:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$ok, Error> {
            Err(Error::custom(Self::REFUSAL))
        })*
    };
}

/// Defines methods that let serde_json write a value.
macro_rules! delegate {
    ($($method:ident($($arg:ident: $type:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $($arg: $type),*) -> Result<$ok, Error> {
            self.json()?.$method($($arg),*)
        })*
    };
}

/// Writes an enum's variant as an object whose first fields are the type and the ids.
struct Tagged<'b> {
    out: &'b mut Vec<u8>,
    /// The type, once the variant is known.
    kind: Option<&'static str>,
    ids: Ids,
}

impl<'b> Tagged<'b> {
    const REFUSAL: &'static str =
        "a body must be an enum with named fields, without `untagged` or `content`";

    fn open(self) -> Result<Fields<'b>, Error> {
        let mut fields = Fields { out: self.out, empty: true };
        if let Some(kind) = self.kind {
            fields.put("type", kind)?;
        }
        if let Some(id) = self.ids.msg_id {
            fields.put("msg_id", &id)?;
        }
        if let Some(id) = self.ids.in_reply_to {
            fields.put("in_reply_to", &id)?;
        }
        Ok(fields)
    }
}

impl<'b> Serializer for Tagged<'b> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Fields<'b>;
    type SerializeStruct = Fields<'b>;
    type SerializeStructVariant = Fields<'b>;

    fn serialize_struct_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Fields<'b>, Error> {
        self.kind = Some(variant);
        self.open()
    }

    fn serialize_unit_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.kind = Some(variant);
        self.open()?.close()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.kind = Some(variant);
        value.serialize(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'b>, Error> {
        self.open()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Fields<'b>, Error> {
        self.open()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    scalars_and_sequences!(refuse);
}

/// An object whose end is not written yet.
struct Fields<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
}

impl Fields<'_> {
    fn put<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.out.push(if self.empty { b'{' } else { b',' });
        self.empty = false;
        serde_json::to_writer(&mut *self.out, key)?;
        self.put_value(value)
    }

    fn put_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.out.push(b':');
        value.serialize(Field(&mut Some(Json::new(&mut *self.out))))
    }

    fn close(self) -> Result<(), Error> {
        self.out.extend_from_slice(if self.empty { b"{}" } else { b"}" });
        Ok(())
    }
}

/// Writes the fields of a struct or of a variant.
macro_rules! named_fields {
    ($($trait:ident),*) => {
        $(impl $trait for Fields<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.put(key, value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        })*
    };
}

named_fields!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Fields<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let start = self.out.len();
        // serde_json decides which values can be keys. It also writes a brace before the key. For
        // every key but the first, a comma replaces this brace.
        Json::new(&mut *self.out).serialize_map(None)?.serialize_key(key)?;
        if let Some(brace) = self.out.get_mut(start)
            && !self.empty
        {
            *brace = b',';
        }
        self.empty = false;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.put_value(value)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

/// The value of a field. serde_json writes it, unless it is a [`Verbatim`](super::Verbatim).
///
/// The serializer is always there until the value is written. For the text of a `Verbatim`, it is
/// taken out, and the text goes straight into its buffer.
struct Field<'s, 'b>(&'s mut Option<Json<'b>>);

impl<'s, 'b> Field<'s, 'b> {
    fn json(self) -> Result<&'s mut Json<'b>, Error> {
        self.0.as_mut().ok_or_else(|| Error::custom("the field has been written already"))
    }
}

impl<'s, 'b> Serializer for Field<'s, 'b> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = JsonCompound<'s, 'b>;
    type SerializeTuple = JsonCompound<'s, 'b>;
    type SerializeTupleStruct = JsonCompound<'s, 'b>;
    type SerializeTupleVariant = JsonCompound<'s, 'b>;
    type SerializeMap = JsonCompound<'s, 'b>;
    type SerializeStruct = JsonCompound<'s, 'b>;
    type SerializeStructVariant = JsonCompound<'s, 'b>;

    scalars_and_sequences!(delegate);
    objects!(delegate);

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        if name != verbatim::TOKEN {
            return value.serialize(self);
        }
        match self.0.take() {
            Some(json) => value.serialize(Paste(json.into_inner())),
            None => self.json().map(drop),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.json()?.serialize_newtype_variant(name, index, variant, value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.json()?.collect_str(value)
    }
}

/// Accepts the text of a [`Verbatim`](super::Verbatim), and nothing else.
struct Paste<'b>(&'b mut Vec<u8>);

/// Room for the bytes after a long text, so that the buffer need not grow again for them.
const SPARE_BYTES: usize = 64;

impl Write for Paste<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.reserve(text.len().saturating_add(SPARE_BYTES));
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl Paste<'_> {
    const REFUSAL: &'static str = "not a verbatim text";
}

impl Serializer for Paste<'_> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Impossible<(), Error>;
    type SerializeStructVariant = Impossible<(), Error>;

    /// False, so that the text of a `Verbatim` can tell this serializer from that of serde_json.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn collect_str<T: Display + ?Sized>(mut self, text: &T) -> Result<(), Error> {
        write!(self, "{text}").map_err(Error::custom)
    }

    scalars_and_sequences!(refuse);
    objects!(refuse);

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Error> {
        Err(Error::custom(Self::REFUSAL))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(Error::custom(Self::REFUSAL))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(Error::custom(Self::REFUSAL))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Body {
        Read,
        Add {
            delta: u64,
        },
        Gossip(Gossip),
        Offsets(BTreeMap<u64, Option<bool>>),
        Flat {
            node: &'static str,
            #[serde(flatten)]
            rest: Gossip,
        },
        #[serde(rename = "\"\n")]
        Odd {
            #[serde(rename = "\"\n")]
            odd: (),
        },
    }

    #[derive(Serialize)]
    struct Gossip {
        have: Vec<u64>,
    }

    const GOSSIP: fn() -> Gossip = || Gossip { have: vec![1] };

    fn encoded(ids: Ids, body: &impl Serialize) -> String {
        let mut out = Vec::new();
        encode(&mut out, ids, body).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bodies_encode_with_type_and_ids_first() {
        let ids = Ids { msg_id: Some(7), in_reply_to: Some(u64::MAX) };
        assert_eq!(
            encoded(ids, &Body::Add { delta: 3 }),
            r#"{"type":"add","msg_id":7,"in_reply_to":18446744073709551615,"delta":3}"#
        );
    }

    #[test]
    fn every_shape_with_named_fields_is_one_object() {
        let plain = |body: &Body| encoded(Ids::default(), body);
        assert_eq!(plain(&Body::Read), r#"{"type":"read"}"#);
        assert_eq!(plain(&Body::Gossip(GOSSIP())), r#"{"type":"gossip","have":[1]}"#);
        let offsets = BTreeMap::from([(1, Some(true)), (u64::MAX, None)]);
        assert_eq!(
            plain(&Body::Offsets(offsets)),
            r#"{"type":"offsets","1":true,"18446744073709551615":null}"#
        );
        assert_eq!(
            plain(&Body::Flat { node: "n1", rest: GOSSIP() }),
            r#"{"type":"flat","node":"n1","have":[1]}"#
        );
        assert_eq!(plain(&Body::Odd { odd: () }), r#"{"type":"\"\n","\"\n":null}"#);
    }

    #[test]
    fn a_struct_or_a_map_that_holds_its_own_type_is_a_body() {
        let ids = Ids { msg_id: Some(7), in_reply_to: None };
        assert_eq!(encoded(ids, &GOSSIP()), r#"{"msg_id":7,"have":[1]}"#);
        let map = BTreeMap::from([("type", "read"), ("x", "y")]);
        assert_eq!(encoded(Ids::default(), &map), r#"{"type":"read","x":"y"}"#);
        assert_eq!(encoded(Ids::default(), &BTreeMap::<u8, u8>::new()), "{}");
    }

    #[test]
    fn a_value_that_cannot_be_a_body_is_refused_and_leaves_the_buffer_alone() {
        let mut out = b"before".to_vec();
        assert!(encode(&mut out, Ids::default(), &17).is_err());
        let bad_key = BTreeMap::from([(vec![1], 1)]);
        assert!(encode(&mut out, Ids::default(), &bad_key).is_err());
        let bad_value = BTreeMap::from([("good", BTreeMap::new()), ("late", bad_key)]);
        assert!(encode(&mut out, Ids::default(), &bad_value).is_err());
        assert_eq!(out, b"before");
    }
}
