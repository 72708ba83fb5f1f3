//! Parses and formats messages as lines of JSON.
//!
//! After `maelstrom.process`: the parser is as lenient, and as strict, as Maelstrom's.
//!
//! | part of a line | Maelstrom |
//! |---|---|
//! | `src`, `dest` | must be strings |
//! | `id` | may be missing, else must be an integer |
//! | `body` | an object; a missing body, `null`, `[]` and `""` count as `{}` |
//! | any other field | malformed |
//! | a field twice | the last one counts |
//! | anything behind the closing brace | dropped |
//! | a byte that is not UTF-8 | replaced by U+FFFD |
//! | a control character in a string | taken as it is |
//! | a carriage return | ends the line |

use serde::Deserialize as _;
use serde_json::json;
use serde_json::value::RawValue;

use super::World;
use crate::excerpt::excerpt;
use crate::json::{Fields, is_integer};
use crate::network::Message;

impl World {
    /// Whether a line that a node printed is addressed to a client. Clients read lines of any
    /// length.
    pub(crate) fn is_to_client(&self, line: &[u8]) -> bool {
        let is_node = |line: &Line| self.options.nodes.iter().any(|id| **id == *line.dest);
        Line::read(line).is_ok_and(|line| !is_node(&line))
    }
}

/// A message that a node printed.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) src: String,
    pub(super) dest: String,
    pub(super) body: Box<RawValue>,
}

impl Line {
    /// # Errors
    ///
    /// The reason why the line is not a message, as the rest of a sentence.
    pub(super) fn read(line: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(line);
        Self::parse(&text).or_else(|why| match escape_controls(&text) {
            Some(escaped) => Self::parse(&escaped),
            None => Err(why),
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_str(text);
        let mut fields = Fields::deserialize(&mut json)
            .map_err(|error| format!("not a message ({})", excerpt(&error.to_string())))?;
        let (src, dest) = (address(&mut fields, "src")?, address(&mut fields, "dest")?);
        if fields.remove("id").is_some_and(|id| !is_integer(id)) {
            return Err("not a message (`id` is not an integer)".into());
        }
        let body = body(fields.remove("body"))?;
        match fields.names().next() {
            Some(unknown) => Err(format!("not a message (unknown field `{}`)", excerpt(unknown))),
            None => Ok(Self { src, dest, body }),
        }
    }
}

fn address(fields: &mut Fields<'_>, name: &str) -> Result<String, String> {
    let Some(raw) = fields.remove(name) else {
        return Err(format!("not a message (missing field `{name}`)"));
    };
    serde_json::from_str(raw.get()).map_err(|_| format!("not a message (`{name}` is not a string)"))
}

fn body(raw: Option<&RawValue>) -> Result<Box<RawValue>, String> {
    let text = raw.map_or("null", RawValue::get);
    let is_empty =
        text == "null" || text == r#""""# || serde_json::from_str::<[(); 0]>(text).is_ok();
    match raw {
        Some(raw) if text.starts_with('{') => Ok(raw.to_owned()),
        _ if is_empty => RawValue::from_string("{}".into()).map_err(|error| error.to_string()),
        _ => Err("not a message (the body is not an object)".into()),
    }
}

/// Splits a line, with or without its line feed, at carriage returns: each of them ends a line for
/// Maelstrom.
pub(super) fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    text.split(|byte| *byte == b'\r')
}

/// Escapes control characters in strings, if there are any: Maelstrom accepts them, although JSON
/// forbids them.
fn escape_controls(text: &str) -> Option<String> {
    let (mut out, mut found) = (String::with_capacity(text.len()), false);
    let (mut in_string, mut escaped) = (false, false);
    for char in text.chars() {
        if in_string && char.is_ascii_control() && char != '\u{7f}' {
            // After a backslash the result would be an invalid escape.
            if escaped {
                return None;
            }
            out.push_str(&format!("\\u{:04x}", u32::from(char)));
            found = true;
            continue;
        }
        match char {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && char == '\\' && !escaped;
        out.push(char);
    }
    found.then_some(out)
}

/// Formats a message as a line for a node.
pub(super) fn node_line(message: &Message) -> Vec<u8> {
    let (id, src, dest) = (message.id, json!(message.src.as_ref()), json!(message.dest.as_ref()));
    let body = message.body.get();
    format!("{{\"id\":{id},\"src\":{src},\"dest\":{dest},\"body\":{body}}}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<String, String> {
        Line::read(line.as_bytes()).map(|line| line.body.get().to_owned())
    }

    #[test]
    fn a_line_is_read_as_leniently_as_maelstrom_reads_it() {
        for (line, body) in [
            (r#"{"src":"n0","dest":"c1","body":{"a":1}}"#, r#"{"a":1}"#),
            (r#"{"src":"n0","dest":"c1","body":{"a":1}} and more"#, r#"{"a":1}"#),
            (r#"{"src":"n0","dest":"c1","body":{"a":1}}{"src":3}"#, r#"{"a":1}"#),
            ("{\"src\":\"n0\",\"dest\":\"c1\",\"body\":{}}\r\n", "{}"),
            (r#"{"src":"n0","dest":"c1"}"#, "{}"),
            (r#"{"src":"n0","dest":"c1","body":null}"#, "{}"),
            (r#"{"src":"n0","dest":"c1","body":[ ]}"#, "{}"),
            (r#"{"src":"n0","dest":"c1","body":""}"#, "{}"),
            (
                "{\"src\":\"n0\",\"dest\":\"c1\",\"body\":{\"a\":\"\t\\\"\0\"}}",
                r#"{"a":"\u0009\"\u0000"}"#,
            ),
            (r#"{"src":"n0","dest":"c1","body":{"a":"\ud800"}}"#, r#"{"a":"\ud800"}"#),
            (r#"{"src":"n9","src":"n0","dest":"c1","body":{}}"#, "{}"),
            (r#"{"src":"n0","\u0064est":"c1","body":{}}"#, "{}"),
            (r#"{"src":"n0","dest":"c1","body":{},"id":100000000000000000000000}"#, "{}"),
        ] {
            assert_eq!(read(line).as_deref(), Ok(body), "{line}");
        }
        let not_utf8 = Line::read(b"{\"src\":\"n0\",\"dest\":\"c1\",\"body\":{\"a\":\"\xff\"}}");
        assert_eq!(not_utf8.unwrap().body.get(), "{\"a\":\"\u{fffd}\"}");
    }

    #[test]
    fn a_carriage_return_ends_a_line() {
        for (text, lines) in [
            ("a\n", vec!["a"]),
            ("a\r\n", vec!["a"]),
            ("a\rb\n", vec!["a", "b"]),
            ("a\r\r\n", vec!["a", ""]),
            ("a", vec!["a"]),
            ("\n", vec![""]),
        ] {
            let split: Vec<&[u8]> = split(text.as_bytes()).collect();
            assert_eq!(split, lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_line_that_maelstrom_refuses_is_refused_with_the_reason() {
        for (line, why) in [
            ("", "EOF"),
            ("hello", "expected value"),
            ("{\"src\":\"n0\",\"dest\":\"c1\",\"body\":{\"a\":\"\\\t\"}}", "invalid escape"),
            ("[]", "invalid type"),
            ("{\"src\":\"n0\",\"dest\":\"c1\",\"body\":{}", "EOF"),
            ("\u{feff}{\"src\":\"n0\",\"dest\":\"c1\",\"body\":{}}", "expected value"),
            (r#"{"dest":"c1","body":{}}"#, "missing field `src`"),
            (r#"{"src":"n0","body":{}}"#, "missing field `dest`"),
            (r#"{"src":null,"dest":"c1","body":{}}"#, "`src` is not a string"),
            (r#"{"src":"n0","dest":1,"body":{}}"#, "`dest` is not a string"),
            (r#"{"src":"n0","dest":"c1","body":{},"id":null}"#, "`id` is not an integer"),
            (r#"{"src":"n0","dest":"c1","body":{},"id":"1"}"#, "`id` is not an integer"),
            (r#"{"src":"n0","dest":"c1","body":{},"id":1.0}"#, "`id` is not an integer"),
            (r#"{"src":"n0","dest":"c1","body":{},"extra":1}"#, "unknown field `extra`"),
            (r#"{"src":"n0","dest":"c1","body":[1]}"#, "the body is not an object"),
            (r#"{"src":"n0","dest":"c1","body":"x"}"#, "the body is not an object"),
            (r#"{"src":"n0","dest":"c1","body":7}"#, "the body is not an object"),
        ] {
            let said = read(line).unwrap_err();
            assert!(said.starts_with("not a message (") && said.contains(why), "{line}: {said}");
        }
    }
}
