//! What a person gets to see while a test runs and when it is over.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::checker::Verdict;
use crate::excerpt::{printable, sentence};
use crate::history::Tally;
use crate::nemesis::NemesisOp;
use crate::results::Results;
use crate::world::{News, World};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often a bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// What is longer is spread over several lines.
const LINE_CHARS: usize = 92;

/// From how many messages between nodes on, in all and for each operation, a test reports a storm.
const STORM_MESSAGES: u64 = 5_000;
const STORM_PER_OP: u64 = 500;

/// Lists in the printed results are cut at this length.
const LIST_MAX: usize = 16;

/// Shows how a test is getting on: a bar on a terminal, plain lines elsewhere. All on stderr.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    last: Duration,
    tally: Tally,
}

impl Progress {
    /// For a test of about this length.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
            let style = ProgressStyle::with_template("{prefix:>20} {wide_bar} {elapsed} {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, last: Duration::ZERO, tally: Tally::default() }
    }

    /// How long a test may run without [`update`](Self::update).
    #[must_use]
    pub fn interval(&self) -> Duration {
        if self.bar.is_some() { DRAW_EVERY } else { LINE_EVERY }
    }

    /// Something has happened.
    pub fn tell(&mut self, now: Duration, news: &News) {
        match news {
            News::Phase(name) => {
                if let Some(bar) = &self.bar {
                    bar.set_prefix(*name);
                } else {
                    line(now, name);
                }
            }
            // The user asked for `kill`.
            News::Nemesis(NemesisOp::Crash(node)) => {
                self.print(now, &format!("nemesis: kill {node}"));
            }
            News::Nemesis(what) => self.print(now, &format!("nemesis: {what}")),
            News::Muted { node, why } => {
                self.print(now, &format!("{node} is not listened to any more: {why}"));
            }
            News::BadRequest { node, why } => {
                self.print(now, &format!("{node} asked for something that makes no sense: {why}"));
            }
        }
    }

    /// So far the test has come.
    pub fn update(&mut self, now: Duration, tally: Tally) {
        self.tally = tally;
        if now.saturating_sub(self.last) < self.interval() {
            return;
        }
        self.last = now;
        let text = format!("{} ok, {} fail, {} info", tally.ok, tally.fail, tally.info);
        match &self.bar {
            Some(bar) => {
                bar.set_position(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
                bar.set_message(text);
            }
            None => line(now, &text),
        }
    }

    /// The test is over.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn print(&self, now: Duration, text: &str) {
        let text = printable(text);
        match &self.bar {
            Some(bar) => bar.println(text),
            None => line(now, &text),
        }
    }
}

fn line(now: Duration, text: &str) {
    writeln!(std::io::stderr(), "{:6.1} s  {text}", now.as_secs_f64()).ok();
}

/// The results as they are printed: whole, but for long lists and texts; what is short stands in one
/// line.
#[must_use]
pub fn summary(results: &Results) -> String {
    let mut value = serde_json::to_value(results).unwrap_or_default();
    cut(&mut value);
    let mut text = String::new();
    write_value(&mut text, &value, 0);
    text
}

/// Appends `value`: in one line if it fits, else an object's fields each in a line of its own.
fn write_value(text: &mut String, value: &Value, indent: usize) {
    let compact = value.to_string();
    match value {
        Value::Object(fields) if compact.len() + indent > LINE_CHARS => {
            text.push_str("{\n");
            for (at, (name, value)) in fields.iter().enumerate() {
                text.extend(std::iter::repeat_n(' ', indent + 2));
                text.push_str(&format!("{}: ", Value::from(name.as_str())));
                write_value(text, value, indent + 2);
                text.push_str(if at + 1 < fields.len() { ",\n" } else { "\n" });
            }
            text.extend(std::iter::repeat_n(' ', indent));
            text.push('}');
        }
        _ => text.push_str(&compact),
    }
}

fn cut(value: &mut Value) {
    match value {
        Value::Array(items) => {
            let more = items.len().saturating_sub(LIST_MAX);
            if more > 0 {
                items.truncate(LIST_MAX);
                items.push(format!("… and {more} more").into());
            }
            items.iter_mut().for_each(cut);
        }
        Value::Object(fields) => {
            let cut_field = |(name, mut value): (String, Value)| {
                cut(&mut value);
                (sentence(&name), value)
            };
            *fields = std::mem::take(fields).into_iter().map(cut_field).collect();
        }
        Value::String(text) => *text = sentence(text),
        _ => {}
    }
}

/// A sentence about a storm of messages between nodes, if there was one: it names the node that sent
/// most. Such nodes do not scale, even if the verdict is valid.
#[must_use]
pub fn storm(world: &World) -> Option<String> {
    let (sent, tally) = (world.net_stats().servers.sent, world.history().tally());
    let per_op = sent / (tally.ok + tally.fail + tally.info).max(1);
    let (node, most) = world.busiest_node();
    let text = || {
        format!(
            "A storm: {sent} messages between nodes, {per_op} for each operation. {node} sent most of \
             them, {most}. Does it forward messages that it has seen before?"
        )
    };
    (sent >= STORM_MESSAGES && per_op >= STORM_PER_OP).then(text)
}

/// Maelstrom's closing line.
#[must_use]
pub const fn closing_line(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "Everything looks good! ヽ(‘ー`)ノ",
        Verdict::Invalid => "Analysis invalid! (ﾉಥ益ಥ）ﾉ ┻━┻",
        Verdict::Unknown => "Errors occurred during analysis, but no anomalies found. ಠ~ಠ",
    }
}

/// Maelstrom's exit code.
#[must_use]
pub const fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Valid => 0,
        Verdict::Invalid => 1,
        Verdict::Unknown => 2,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_short_stands_in_one_line_and_the_whole_stays_json() {
        let long: Vec<u32> = (0..100).collect();
        let mut value = json!({
            "net": { "servers": { "msg-count": 3 }, "valid?": true },
            "workload": { "lost": long, "valid?": false },
        });
        cut(&mut value);
        let mut text = String::new();
        write_value(&mut text, &value, 0);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], r#"  "net": {"servers":{"msg-count":3},"valid?":true},"#);
        assert_eq!(value["workload"]["lost"][16], "… and 84 more");
    }
}
