//! Advice for the author of a node that printed a line which is not a message, or cannot be sent.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::lines::Line;
use crate::network::NoSuchAddress;

/// The byte order mark of UTF-8.
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The byte order marks of UTF-16.
const UTF_16: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];

/// The fields that every message has.
const FIELDS: [&str; 3] = ["src", "dest", "body"];

/// Advice on a line that is not a message, or that cannot be sent.
pub(super) fn on(line: &[u8]) -> Option<&'static str> {
    if line.starts_with(&BOM) {
        return Some("it begins with a byte order mark: write UTF-8 without one");
    }
    if UTF_16.iter().any(|mark| line.starts_with(mark)) || line.contains(&0) {
        return Some("it has the bytes of UTF-16, or bytes that are 0: write UTF-8");
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

/// Advice on a line for a client that has left the network. `why` is the reason why the line cannot
/// be sent, and `clients` is the number of all clients so far.
pub(super) fn on_late_reply(line: &[u8], why: &str, clients: u64) -> Option<&'static str> {
    let Line { dest, body, .. } = Line::read(line).ok()?;
    let nth: u64 = dest.strip_prefix('c')?.parse().ok()?;
    let is_unknown = why == NoSuchAddress(dest.into()).to_string();
    // A client that sent `init` leaves when it gets its reply. So this advice does not fit a second
    // `init_ok`.
    let is_init = body.get().contains("\"init_ok\"");
    (nth < clients && is_unknown && !is_init).then_some(
        "that client gave up after 5 s: the node must reply sooner, or reply with an error, or not \
         reply at all",
    )
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
        assert!(about("\0{\"src\":\"n0\"}").contains("write UTF-8"));
        assert!(on(b"\xff\xfe{").is_some_and(|advice| advice.contains("UTF-16")));
        assert!(about("").contains("empty"));
        assert!(about("{\n").contains("without line breaks"));
    }

    #[test]
    fn a_reply_to_a_client_that_has_gone_has_advice() {
        let reply = |dest: &str, kind: &str| {
            let body = format!(r#"{{"type":"{kind}","in_reply_to":1}}"#);
            let line = format!(r#"{{"src":"n0","dest":"{dest}","body":{body}}}"#);
            on_late_reply(line.as_bytes(), &format!("there is no {dest} in the network"), 7)
        };
        assert!(reply("c6", "echo_ok").unwrap().contains("gave up after 5 s"));
        for (dest, kind) in [
            ("c7", "echo_ok"),
            ("n9", "echo_ok"),
            ("c", "echo_ok"),
            ("cx", "echo_ok"),
            ("c0", "init_ok"),
        ] {
            assert_eq!(reply(dest, kind), None, "{dest} {kind}");
        }
        let unknown_src = r#"{"src":"n99","dest":"c6","body":{}}"#;
        let why = "there is no n99 in the network";
        assert_eq!(on_late_reply(unknown_src.as_bytes(), why, 7), None);
    }

    #[test]
    fn a_line_that_is_nearly_a_message_needs_no_advice() {
        for line in [r#"{"src":"n0","dest":"n99","body":{}}"#, r#"{"src":"n0","dest":"#] {
            assert_eq!(on(line.as_bytes()), None, "{line}");
        }
    }
}
