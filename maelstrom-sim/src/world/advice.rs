//! What the author of a node most likely has to change where a line is no message.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

/// The byte order mark of UTF-8.
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The fields that every message has.
const FIELDS: [&str; 3] = ["src", "dest", "body"];

/// Advice on a line that is no message, or that cannot be sent.
pub(super) fn on(line: &[u8]) -> Option<&'static str> {
    if line.starts_with(&BOM) {
        return Some("it begins with a byte order mark: write UTF-8 without one");
    }
    let line = line.trim_ascii();
    if line.is_empty() {
        return Some("it is empty: print nothing but messages");
    }
    if line == b"{" {
        return Some("a message is one line: print its JSON without line breaks");
    }
    let is_log = match serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(line) {
        Ok(fields) => !FIELDS.iter().any(|name| fields.contains_key(*name)),
        Err(_) => !line.starts_with(b"{"),
    };
    is_log.then_some("stdout is for messages only: log to stderr")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn about(line: &str) -> &'static str {
        on(line.as_bytes()).unwrap_or_default()
    }

    #[test]
    fn a_line_of_a_log_belongs_on_stderr() {
        for line in [
            "Hello, I am a node",
            "2026-01-02 12:00:00 INFO started",
            r#"{"level":"info","msg":"started"}"#,
            "[1]",
            "\"text\"",
        ] {
            assert!(about(line).contains("log to stderr"), "{line}");
        }
    }

    #[test]
    fn other_mistakes_have_their_own_advice() {
        assert!(about("\u{feff}{\"src\":\"n0\"}").contains("byte order mark"));
        assert!(about("").contains("empty"));
        assert!(about("{\n").contains("without line breaks"));
    }

    #[test]
    fn what_is_nearly_a_message_needs_no_advice() {
        for line in [r#"{"src":"n0","dest":"n99","body":{}}"#, r#"{"src":"n0","dest":"#] {
            assert_eq!(on(line.as_bytes()), None, "{line}");
        }
    }
}
