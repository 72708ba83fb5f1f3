//! Keys and values: the text of any JSON.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
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
    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// True for null. No client writes it: a key that was never written reads as null.
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
/// Two spellings of one string, list or object are the same key. Space, escapes and the order of
/// members do not matter. A number is the same only with the same text: `1` and `1.0` are two keys,
/// and no digit is lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Box<RawValue>")]
pub struct Key(Arc<RawValue>);

impl From<Box<RawValue>> for Key {
    fn from(raw: Box<RawValue>) -> Self {
        let text = match canonical(raw.get()) {
            Cow::Owned(text) if text != raw.get() => text,
            _ => return Self(raw.into()),
        };
        // It is the same value, so it is JSON.
        Self(RawValue::from_string(text).map_or_else(|_| raw.into(), Into::into))
    }
}

impl Key {
    /// The JSON text, the same for all spellings.
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

/// The depth to which spellings are compared. Deeper values are equal only if their texts are. Each
/// level may copy the text once.
const DEPTH_MAX: usize = 16;

/// The canonical spelling of a value. A value without one, such as half of a surrogate pair, stays
/// as it is. O(length × depth), with a depth of at most [`DEPTH_MAX`], and the cost to sort the
/// members of an object.
fn canonical(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| !matches!(byte, b'\\' | b'{' | b' ' | b'\t' | b'\n' | b'\r');
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut usual = String::with_capacity(text.len());
    match (Scanner { rest: text }).value(&mut usual, 0) {
        Some(()) => Cow::Owned(usual),
        None => Cow::Borrowed(text),
    }
}

/// Reads a text that is known to be JSON, and writes its canonical spelling. `None`: it is no JSON.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// The next character that is no space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.as_bytes().first().copied()
    }

    /// Takes `count` bytes.
    fn take(&mut self, count: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes a string with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let (mut is_escaped, mut is_open) = (false, false);
        let end = self.rest.bytes().position(|byte| {
            let is_quote = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_quote && std::mem::replace(&mut is_open, true)
        })?;
        self.take(end.checked_add(1)?)
    }

    /// Takes a value as it is.
    fn verbatim(&mut self) -> Option<&'a str> {
        self.peek()?;
        let (whole, mut depth) = (self.rest, 0_usize);
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'[' | b'{' => (depth, _) = (depth.checked_add(1)?, self.take(1)?),
                b']' | b'}' => (depth, _) = (depth.checked_sub(1)?, self.take(1)?),
                b',' | b':' => drop(self.take(1)?),
                _ => drop(self.scalar()?),
            }
            if depth == 0 {
                return whole.get(..whole.len().checked_sub(self.rest.len())?);
            }
        }
    }

    /// Takes a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Option<&'a str> {
        let ends = |byte| matches!(byte, b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        let end = self.rest.bytes().position(ends).unwrap_or(self.rest.len());
        self.take(end).filter(|text| !text.is_empty())
    }

    fn value(&mut self, usual: &mut String, depth: usize) -> Option<()> {
        match self.peek()? {
            b'[' | b'{' if depth >= DEPTH_MAX => usual.push_str(self.verbatim()?),
            b'[' => self.list(usual, depth)?,
            b'{' => self.object(usual, depth)?,
            b'"' => usual.push_str(&canonical_string(self.string()?)),
            _ => usual.push_str(self.scalar()?),
        }
        Some(())
    }

    fn list(&mut self, usual: &mut String, depth: usize) -> Option<()> {
        loop {
            // The bracket at first, then a comma.
            usual.push_str(self.take(1)?);
            if self.peek()? != b']' {
                self.value(usual, depth.saturating_add(1))?;
            }
            if self.peek()? == b']' {
                usual.push_str(self.take(1)?);
                return Some(());
            }
        }
    }

    /// Writes the members in the order of their names. Of members with the same name, the last one
    /// counts. If a name is no valid string, the object stays as it is.
    fn object(&mut self, usual: &mut String, depth: usize) -> Option<()> {
        let (whole, mut members, mut is_usual) = (self.rest, BTreeMap::new(), true);
        while self.peek()? != b'}' {
            // The bracket at first, then a comma.
            self.take(1)?;
            if self.peek()? == b'}' {
                break;
            }
            let name: Result<String, _> = serde_json::from_str(self.string()?);
            self.peek().filter(|byte| *byte == b':').and_then(|_| self.take(1))?;
            let mut member = String::new();
            self.value(&mut member, depth.saturating_add(1))?;
            is_usual &= name.is_ok();
            members.extend(name.map(|name| (name, member)));
        }
        self.take(1)?;
        if !is_usual {
            usual.push_str(whole.get(..whole.len().checked_sub(self.rest.len())?)?);
            return Some(());
        }
        usual.push('{');
        for (at, (name, member)) in members.into_iter().enumerate() {
            usual.push_str(if at > 0 { "," } else { "" });
            usual.push_str(&serde_json::to_string(&name).ok()?);
            usual.push(':');
            usual.push_str(&member);
        }
        usual.push('}');
        Some(())
    }
}

/// The canonical spelling of a string with its quotes.
fn canonical_string(text: &str) -> Cow<'_, str> {
    let usual = || {
        let string: String = serde_json::from_str(text).ok()?;
        serde_json::to_string(&string).ok()
    };
    let usual = text.contains('\\').then(usual).flatten();
    usual.map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// The same by a parser that reads each level again.
    fn naive(text: &str, depth: usize) -> String {
        let inner = |raw: &&RawValue| naive(raw.get(), depth.saturating_add(1));
        let usual = match text.as_bytes()[0] {
            _ if depth >= DEPTH_MAX => None,
            b'"' => serde_json::from_str::<String>(text)
                .ok()
                .map(|string| serde_json::to_string(&string).unwrap()),
            b'[' => serde_json::from_str::<Vec<&RawValue>>(text)
                .ok()
                .map(|list| format!("[{}]", list.iter().map(inner).collect::<Vec<_>>().join(","))),
            b'{' => serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok().map(|map| {
                let name = |name: &String| serde_json::to_string(name).unwrap();
                let member = |(key, raw)| format!("{}:{}", name(key), inner(raw));
                format!("{{{}}}", map.iter().map(member).collect::<Vec<_>>().join(","))
            }),
            _ => None,
        };
        usual.unwrap_or_else(|| text.to_owned())
    }

    fn any_json() -> impl Strategy<Value = String> {
        let string = r#""([a-c \[\]{},:]|\\[nt"\\/]|\\u0061|\\ud83d\\ude00|é|\\ud800){0,3}""#;
        let leaf = prop_oneof![string, "-?(0|[1-9][0-9]{0,3})([.]50?)?(e1)?", "true|null"];
        let space = "[ \t\n\r]{0,2}";
        leaf.prop_recursive(5, 40, 4, move |inner| {
            let item = (space, inner.clone(), space).prop_map(|(a, b, c)| format!("{a}{b}{c}"));
            let member = (space, string, space, item.clone());
            let member = member.prop_map(|(a, name, b, item)| format!("{a}{name}{b}:{item}"));
            let list = |items: Vec<String>| items.join(",");
            let (items, members) =
                (prop::collection::vec(item, 0..4), prop::collection::vec(member, 0..4));
            prop_oneof![
                (items, space).prop_map(move |(all, space)| match &all[..] {
                    [] => format!("[{space}]"),
                    _ => format!("[{}]", list(all)),
                }),
                (members, space).prop_map(move |(all, space)| match &all[..] {
                    [] => format!("{{{space}}}"),
                    _ => format!("{{{}}}", list(all)),
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_key_is_spelled_as_a_parser_would_spell_it(text in any_json()) {
            let key = key(&text);
            prop_assert_eq!(key.text(), naive(&text, 0), "{}", text);
        }
    }

    #[test]
    fn a_key_that_is_nested_too_deep_stays_as_it_is() {
        let deep = |depth: usize| format!("{}[ ]{}", "[ ".repeat(depth), "]".repeat(depth));
        assert_eq!(key(&deep(DEPTH_MAX - 1)).text(), deep(DEPTH_MAX - 1).replace(' ', ""));
        assert_eq!(key(&deep(DEPTH_MAX)).text(), naive(&deep(DEPTH_MAX), 0));
        assert!(key(&deep(DEPTH_MAX)).text().contains("[ ]"));
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
