//! Values whose JSON text is known already.

use std::fmt;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The name by which the encoder recognises a [`Verbatim`].
pub(super) const TOKEN: &str = "$maelstrom_core::body::Verbatim";

/// Maximum length of a text that a debug build checks.
#[cfg(debug_assertions)]
const CHECK_BYTES_MAX: usize = 4 << 10;

/// A value of a body that the handler has as JSON text. The encoder writes it with one copy.
///
/// It is for a node that keeps its state as text, such as the values `1,2,3` of a set, and often
/// sends all of it. A [`RawValue`] has the same effect, but can only be built by parsing the whole
/// text:
///
/// ```
/// # use maelstrom_core::body::Verbatim;
/// #[derive(serde::Serialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Reply<'a> {
///     ReadOk { messages: Verbatim<'a> },
/// }
/// let values = "1,2,3";
/// let reply = Reply::ReadOk { messages: Verbatim::new(&["[", values, "]"]) };
/// ```
///
/// The encoder copies the text if the value is a field of a body, also in an `Option` or a newtype.
/// If the value is deeper inside another one, or if another serializer writes it, the text is
/// parsed first. The result is the same value, or an error if the text is not JSON.
#[derive(Clone, Copy, Debug)]
pub struct Verbatim<'a>(&'a [&'a str]);

impl<'a> Verbatim<'a> {
    /// The value whose text is these pieces, put together.
    ///
    /// The text must be JSON without line breaks. A release build does not check this. Any other
    /// text makes the whole message unreadable for its receiver.
    ///
    /// # Panics
    ///
    /// In a debug build, if a text of up to 4 KiB is not such JSON.
    #[must_use]
    pub fn new(pieces: &'a [&'a str]) -> Self {
        let verbatim = Self(pieces);
        #[cfg(debug_assertions)]
        if pieces.iter().map(|piece| piece.len()).fold(0, usize::saturating_add) <= CHECK_BYTES_MAX
        {
            let whole = !pieces.iter().any(|piece| piece.contains('\n'));
            debug_assert!(whole && verbatim.parse().is_ok(), "not JSON on one line: {verbatim:?}");
        }
        verbatim
    }

    fn parse(self) -> serde_json::Result<Box<RawValue>> {
        RawValue::from_string(self.0.concat())
    }
}

impl Serialize for Verbatim<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(TOKEN, &Text(*self))
    }
}

/// The content of a [`Verbatim`].
///
/// The encoder recognises the token. It then asks for the content with a serializer that is not
/// human-readable, and gets the text. Any binary format gets the text too. That is harmless: a
/// `RawValue` also becomes a text there. serde_json and similar formats get the parsed value.
struct Text<'a>(Verbatim<'a>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.0.parse().map_err(S::Error::custom)?.serialize(serializer)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.iter().try_for_each(|piece| f.write_str(piece))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::value::to_value;

    use super::super::{Ids, encode};
    use super::*;
    use crate::any_json::any_json;

    /// A body with values of the type `V` in every place where one can be.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Body<V> {
        Everywhere {
            field: V,
            number: u8,
            option: Option<V>,
            newtype: Newtype<V>,
            list: Vec<V>,
            map: BTreeMap<&'static str, V>,
            pair: (V, V),
            #[serde(flatten)]
            flat: Flat<V>,
        },
    }

    #[derive(Serialize)]
    struct Newtype<V>(V);

    #[derive(Serialize)]
    struct Flat<V> {
        last: V,
    }

    fn everywhere<V: Copy>(value: V) -> Body<V> {
        Body::Everywhere {
            field: value,
            number: 1,
            option: Some(value),
            newtype: Newtype(value),
            list: vec![value, value],
            map: BTreeMap::from([("a", value), ("b", value)]),
            pair: (value, value),
            flat: Flat { last: value },
        }
    }

    fn encoded(body: &impl Serialize) -> Result<String, serde_json::Error> {
        let mut out = Vec::new();
        encode(&mut out, Ids { msg_id: Some(7), in_reply_to: None }, body)?;
        Ok(String::from_utf8(out).unwrap())
    }

    proptest! {
        #[test]
        fn a_verbatim_is_written_byte_for_byte_as_a_raw_value(
            value in any_json(),
            spaces in any::<bool>(),
            cuts in prop::collection::vec(any::<Index>(), 0..3),
        ) {
            let mut text = value.to_string();
            if spaces {
                text = text.replace(':', ": ");
            }
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            ends.retain(|end| text.is_char_boundary(*end));
            ends.extend([0, text.len()]);
            ends.sort_unstable();
            let pieces: Vec<&str> = ends.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();

            let verbatim = Verbatim::new(&pieces);
            let raw: &RawValue = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(
                encoded(&everywhere(verbatim)).unwrap(),
                encoded(&everywhere(raw)).unwrap()
            );
            prop_assert_eq!(serde_json::to_string(&verbatim).unwrap(), &text[..]);
            prop_assert_eq!(to_value(verbatim).unwrap(), to_value(raw).unwrap());
        }
    }

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Reply<V> {
        ReadOk { messages: V },
    }

    #[test]
    fn a_field_is_not_looked_at_and_a_value_deeper_down_is_an_error_if_it_is_not_json() {
        let text = "one,".repeat(10_000);
        let pieces = ["[", &text, "]"];
        let verbatim = Verbatim::new(&pieces);
        let line = encoded(&Reply::ReadOk { messages: verbatim }).unwrap();
        assert_eq!(line, format!(r#"{{"type":"read_ok","msg_id":7,"messages":[{text}]}}"#));
        assert!(encoded(&Reply::ReadOk { messages: [verbatim] }).is_err());
        assert!(serde_json::to_string(&verbatim).is_err());
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_debug_build_refuses_short_texts_that_are_not_json_on_one_line() {
        for pieces in [&[][..], &[""], &["[", "1,"], &["1", " 2"], &["[1,\n2]"]] {
            let refused = std::panic::catch_unwind(|| Verbatim::new(pieces));
            assert!(refused.is_err(), "{pieces:?}");
        }
    }

    #[test]
    fn a_type_of_the_same_name_is_not_taken_for_a_verbatim() {
        #[derive(Serialize)]
        #[serde(rename = "$maelstrom_core::body::Verbatim")]
        struct Impostor(&'static str);
        assert!(encoded(&Reply::ReadOk { messages: Impostor("]}") }).is_err());
    }
}
