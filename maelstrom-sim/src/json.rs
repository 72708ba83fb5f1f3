//! JSON as Maelstrom reads it. If an object has two equal names, the last one counts. A number is
//! an integer if it is written as one, however long it is.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::excerpt::{LONG_MAX, long_excerpt};

/// The name of a field. Borrowed, unless it has escapes.
#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The fields of a JSON object, each as raw text.
#[derive(Debug, Deserialize)]
pub(crate) struct Fields<'a>(#[serde(borrow)] BTreeMap<Name<'a>, &'a RawValue>);

impl<'a> Fields<'a> {
    /// # Errors
    ///
    /// If `body` is not an object.
    pub(crate) fn of(body: &'a RawValue) -> serde_json::Result<Self> {
        serde_json::from_str(body.get())
    }

    /// Removes a field, and returns it.
    pub(crate) fn remove(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| name.0.as_ref())
    }

    /// The value of a field that is a string.
    pub(crate) fn string(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }
}

/// Whether a JSON value is an integer: digits, perhaps with a sign, no fraction and no exponent.
pub(crate) fn is_integer(raw: &RawValue) -> bool {
    let text = raw.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The JSON value, to show it to a person. If serde cannot hold it (a number out of range, half a
/// surrogate pair, deep nesting), the result is its text. If it is long, the result is the
/// beginning of its text.
pub(crate) fn to_value(text: &str) -> Value {
    let value = if text.len() <= LONG_MAX { serde_json::from_str(text).ok() } else { None };
    value.unwrap_or_else(|| long_excerpt(text).into())
}

/// Objects and lists nested deeper than this are compared by their text.
const DEPTH_MAX: usize = 100;

/// Returns the same text for two JSON values exactly if Maelstrom considers them equal. The order
/// of an object's fields, whitespace and escapes do not matter. Neither does the notation of a
/// number with a fraction or an exponent. An integer never equals a number with a fraction.
///
/// ```
/// use maelstrom_sim::checker::canonical;
///
/// let canonical = |text| canonical(serde_json::from_str(text).unwrap());
/// assert_eq!(canonical(r#"{"a": 1, "b": 2.50}"#), canonical(r#"{"b":2.5,"a":1}"#));
/// assert_ne!(canonical("1"), canonical("1.0"));
/// ```
pub fn canonical(raw: &RawValue) -> String {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"' | b'{' | b'[' | b'-' | b'0'..=b'9') => {
            let mut out = String::with_capacity(text.len());
            write_canonical(raw, DEPTH_MAX, &mut out);
            out
        }
        _ => text.to_owned(),
    }
}

fn write_canonical(raw: &RawValue, depth: usize, out: &mut String) {
    let text = raw.get();
    let known = match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(text)
            .is_ok_and(|string| serde_json::to_string(&string).is_ok_and(|json| push(out, &json))),
        Some(b'[') if depth > 0 => serde_json::from_str::<Vec<&RawValue>>(text).is_ok_and(|list| {
            let mut open = '[';
            for value in &list {
                out.push(open);
                write_canonical(value, depth - 1, out);
                open = ',';
            }
            push(out, if list.is_empty() { "[]" } else { "]" })
        }),
        Some(b'{') if depth > 0 => serde_json::from_str::<Fields<'_>>(text).is_ok_and(|fields| {
            let mut open = '{';
            for (name, value) in &fields.0 {
                out.push(open);
                out.push_str(&serde_json::to_string(&name.0).unwrap_or_default());
                out.push(':');
                write_canonical(value, depth - 1, out);
                open = ',';
            }
            push(out, if fields.0.is_empty() { "{}" } else { "}" })
        }),
        Some(b'-' | b'0'..=b'9') if is_integer(raw) => {
            push(out, if text == "-0" { "0" } else { text })
        }
        Some(b'-' | b'0'..=b'9') => text.parse::<f64>().is_ok_and(|number| {
            // The sign of zero does not matter. `{:?}` keeps the fraction: 1.0 is not 1.
            push(out, &format!("{:?}", number + 0.0))
        }),
        _ => false,
    };
    if !known {
        out.push_str(text);
    }
}

fn push(out: &mut String, text: &str) -> bool {
    out.push_str(text);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_of(text: &str) -> String {
        canonical(&RawValue::from_string(text.into()).unwrap())
    }

    #[test]
    fn equal_values_have_one_text_and_others_another() {
        for (a, b) in [
            (r#"{"b":1,"a":[2, "x"]}"#, r#"{ "a":[2,"\u0078"], "b" : 1 }"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("1.0", "1.00"),
            ("1.0", "1e0"),
            ("0.0", "-0.0"),
            ("0", "-0"),
            ("[]", "[ ]"),
            ("1e999", "2e999"),
        ] {
            assert_eq!(canonical_of(a), canonical_of(b), "{a} {b}");
        }
        for (a, b) in [
            ("1", "1.0"),
            ("1", "\"1\""),
            ("1", "[1]"),
            ("18446744073709551616", "18446744073709551617"),
            ("null", "\"null\""),
            (r#"["a","b"]"#, r#"["a,b"]"#),
            (r#"["a\",\"b"]"#, r#"["a","b"]"#),
            ("{}", "[]"),
            ("true", "false"),
        ] {
            assert_ne!(canonical_of(a), canonical_of(b), "{a} {b}");
        }
    }

    #[test]
    fn deep_nesting_is_compared_without_deep_recursion() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(30_000), "]".repeat(30_000));
        assert_eq!(canonical_of(&deep("1")), canonical_of(&deep("1")));
        assert_ne!(canonical_of(&deep("1")), canonical_of(&deep("2")));
    }
}
