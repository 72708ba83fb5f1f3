//! Writes the trace of a test as a log for ShiViz, a tool that draws and searches space-time
//! diagrams.
//!
//! Each event takes two lines: `host {"host":clock,…}` and a text. ShiViz parses that with
//! `(?<host>\S*) (?<clock>{.*})\n(?<event>.*)`. All clients are one host. The clocks are vector
//! clocks (Fidge, *Timestamps in Message-Passing Systems*, 1988; Mattern, *Virtual Time and Global
//! States of Distributed Systems*, 1989). A host counts its own events, and merges the counts of a
//! sender when a message arrives.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::excerpt::cut;
use crate::network::is_client;
use crate::trace::{Fate, Sent, Trace};

/// How many messages the log contains. ShiViz can draw some thousand events.
const MESSAGES_MAX: usize = 5_000;

/// How many characters of a body an event shows.
const BODY_CHARS: usize = 120;

type Clock = BTreeMap<String, u64>;

/// A step in the life of a message.
enum Step {
    Sent,
    Ended(Fate),
}

/// Writes the log. [`Trace`] shows it in use.
///
/// # Errors
///
/// If writing fails.
pub fn write_shiviz(trace: &Trace, out: &mut impl Write) -> io::Result<()> {
    let messages: Vec<Sent<'_>> = trace.messages().take(MESSAGES_MAX).collect();
    let mut steps: Vec<(i64, usize, Step)> = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        steps.push((message.time, place, Step::Sent));
        let ends = message.ends.iter();
        steps.extend(ends.map(|end| (end.time, place, Step::Ended(end.fate))));
    }
    // The sort is stable, so a message without latency is sent before it arrives.
    steps.sort_by_key(|(time, ..)| *time);
    let mut hosts: BTreeMap<String, Clock> = BTreeMap::new();
    let mut carried: BTreeMap<usize, Clock> = BTreeMap::new();
    for (_, place, step) in steps {
        let Some(message) = messages.get(place) else { continue };
        let host = match step {
            Step::Sent => message.src,
            Step::Ended(Fate::Delivered) => message.dest,
            // No host sees that a message is lost.
            Step::Ended(_) => continue,
        };
        let host = host_of(host);
        let clock = hosts.entry(host.clone()).or_default();
        if let (Step::Ended(_), Some(learnt)) = (&step, carried.get(&place)) {
            for (other, count) in learnt {
                let known = clock.entry(other.clone()).or_default();
                *known = (*known).max(*count);
            }
        }
        *clock.entry(host.clone()).or_default() += 1;
        let other = match step {
            Step::Sent => format!("to {}", host_of(message.dest)),
            Step::Ended(_) => format!("from {}", host_of(message.src)),
        };
        let json = serde_json::to_string(clock)?;
        writeln!(out, "{host} {json}\n{other}: {}", cut(message.body.get(), BODY_CHARS))?;
        if matches!(step, Step::Sent) {
            carried.insert(place, clock.clone());
        }
    }
    Ok(())
}

/// The host of an address. Replaces spaces, because they would end its name.
fn host_of(address: &str) -> String {
    let name = if is_client(address) { "clients" } else { address };
    cut(&name.replace(char::is_whitespace, "_"), BODY_CHARS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::value::RawValue;

    use super::*;
    use crate::message::Message;

    #[test]
    fn clocks_tell_the_order_of_events() {
        let mut trace = Trace::default();
        let ms = Duration::from_millis;
        let mut message = |id, at, src: &str, dest: &str, end: Option<(u64, Fate)>| {
            let body = RawValue::from_string(format!(r#"{{"type":"m{id}"}}"#)).unwrap();
            let message = Message { id, src: src.into(), dest: dest.into(), body };
            trace.sent(ms(at), &message, 1);
            if let Some((at, fate)) = end {
                trace.ended(ms(at), id, fate);
            }
        };
        message(1, 0, "c1", "n1", Some((0, Fate::Delivered)));
        message(2, 1, "n1", "n2", Some((9, Fate::Delivered)));
        message(3, 2, "n1", "n2", Some((3, Fate::Lost)));
        message(4, 5, "n2", "n1", Some((6, Fate::Delivered)));
        let mut out = Vec::new();
        write_shiviz(&trace, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                r#"clients {"clients":1}"#,
                r#"to n1: {"type":"m1"}"#,
                r#"n1 {"clients":1,"n1":1}"#,
                r#"from clients: {"type":"m1"}"#,
                r#"n1 {"clients":1,"n1":2}"#,
                r#"to n2: {"type":"m2"}"#,
                r#"n1 {"clients":1,"n1":3}"#,
                r#"to n2: {"type":"m3"}"#,
                r#"n2 {"n2":1}"#,
                r#"to n1: {"type":"m4"}"#,
                r#"n1 {"clients":1,"n1":4,"n2":1}"#,
                r#"from n2: {"type":"m4"}"#,
                r#"n2 {"clients":1,"n1":2,"n2":2}"#,
                r#"from n1: {"type":"m2"}"#,
            ]
        );
    }
}
