//! Keys and values: the text of any JSON.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The value of a register: any JSON, kept as the text that a client wrote. Cheap to clone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Box<RawValue>")]
pub struct Value(Arc<RawValue>);

impl From<Box<RawValue>> for Value {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw.into())
    }
}

impl Value {
    /// Its JSON.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Whether it is what nobody writes: a key reads as null that was never written.
    pub(crate) fn is_null(&self) -> bool {
        self.text() == "null"
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

/// The name of a register: any JSON. Cheap to clone.
///
/// Two spellings of one string, list or object are the same key, whatever space there is, however
/// characters are escaped and in whatever order the members stand. A number is what its digits say:
/// `1` and `1.0` are two keys, and no digit is lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Box<RawValue>")]
pub struct Key(Arc<RawValue>);

impl From<Box<RawValue>> for Key {
    fn from(raw: Box<RawValue>) -> Self {
        let text = match canonical(raw.get(), 0) {
            Cow::Owned(text) if text != raw.get() => text,
            _ => return Self(raw.into()),
        };
        // The same value, so it is JSON.
        Self(RawValue::from_string(text).map_or_else(|_| raw.into(), Into::into))
    }
}

impl Key {
    /// Its JSON, the same for all spellings.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text().cmp(other.text())
    }
}

/// How deep spellings are looked into. What is deeper is the same if its text is.
const DEPTH_MAX: usize = 64;

/// The usual spelling of a value. What has none, such as half of a surrogate pair, stays as it is.
fn canonical(text: &str, depth: usize) -> Cow<'_, str> {
    let usual = match text.as_bytes().first() {
        _ if depth >= DEPTH_MAX => None,
        Some(b'"') if text.contains('\\') => serde_json::from_str::<String>(text)
            .and_then(|string| serde_json::to_string(&string))
            .ok(),
        Some(b'[') => serde_json::from_str(text).ok().map(|list| of_list(&list, depth)),
        Some(b'{') => serde_json::from_str(text).ok().and_then(|map| of_object(&map, depth)),
        _ => None,
    };
    usual.map_or(Cow::Borrowed(text), Cow::Owned)
}

fn of_list(list: &Vec<&RawValue>, depth: usize) -> String {
    let mut text = "[".to_owned();
    for (at, item) in list.iter().enumerate() {
        text.push_str(if at > 0 { "," } else { "" });
        text.push_str(&canonical(item.get(), depth.saturating_add(1)));
    }
    text + "]"
}

fn of_object(members: &BTreeMap<String, &RawValue>, depth: usize) -> Option<String> {
    let mut text = "{".to_owned();
    for (at, (name, member)) in members.iter().enumerate() {
        text.push_str(if at > 0 { "," } else { "" });
        let name = serde_json::to_string(name).ok()?;
        write!(text, "{name}:{}", canonical(member.get(), depth.saturating_add(1))).ok()?;
    }
    Some(text + "}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        RawValue::from_string(text.to_owned()).unwrap().into()
    }

    #[test]
    fn spellings_of_one_value_are_one_key() {
        for (one, other) in [
            (r#""aé\n/""#, r#""\u0061\u00e9\u000a\/""#),
            (r#"[1,"x",[]]"#, r#"[ 1 , "\u0078",[ ] ]"#),
            (r#"{"a":1,"b":{"c":[2]}}"#, r#"{ "b" : {"c":[ 2 ]}, "\u0061":1 }"#),
        ] {
            assert_eq!(key(one), key(other));
            assert_eq!(key(other).text(), one);
        }
    }

    #[test]
    fn other_values_are_other_keys_and_keep_their_digits() {
        let texts = [
            "null",
            "true",
            "1",
            "\"1\"",
            "[1]",
            "[[1]]",
            "1.0",
            "-0",
            "0",
            "123456789012345678901234567890",
            "123456789012345678901234567891",
            "1e400",
            r#""\ud800""#,
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":1,"b":1}"#,
        ];
        let keys: std::collections::BTreeSet<Key> = texts.iter().map(|text| key(text)).collect();
        assert_eq!(keys.len(), texts.len());
        assert!(texts.iter().all(|text| key(text).text() == *text));
    }

    #[test]
    fn a_key_may_be_nested_without_end() {
        let deep = |space: &str| {
            let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
            key(&format!("{open}{space}{close}"))
        };
        assert_ne!(deep(""), deep("1"));
        assert_eq!(deep(""), deep(""));
    }
}
