//! The kind of a finding, and the size of its run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::checker::{Verdict, finals};
use crate::history::OpType;
use crate::nemesis::Schedule;
use crate::results::Results;
use crate::world::{Failure, World};

/// How many characters of a cause a kind contains.
const CHARS_MAX: usize = 80;

/// The kind of a finding: its category, and the words of its first cause without numbers, node
/// names and values. Two runs with the same bug have the same kind. [`Case`](super::Case) shows it
/// in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(String);

impl Kind {
    /// The kind of a run that did not end well.
    pub(super) fn of(world: &World, results: &Results) -> Self {
        if let Some(failure) = world.failure() {
            return Self::of_failure(failure);
        }
        if let Some(why) = world.muted().values().next() {
            return Self::new("muted node", why);
        }
        let has_faults = !world.options().nemesis.is_empty();
        let cause = results.cause.as_deref().unwrap_or_default();
        if results.valid == Verdict::Invalid && !(has_faults && results.is_uninformative) {
            return Self::new("invalid", cause);
        }
        match finals::unanswered(world.history()).into_values().next() {
            Some(op) if !world.options().forgive_silence => Self::new("silence", op.f),
            _ => Self::new("unknown", cause),
        }
    }

    /// The kind of a run in which the simulator or a checker panicked with this text.
    pub(super) fn of_own_panic(said: &str) -> Self {
        Self::of_panic("panic of the simulator or a checker", said)
    }

    /// Uses the whole first line of a panic, because many begin with "assertion failed".
    fn of_panic(category: &str, said: &str) -> Self {
        Self::new(category, &said.replace(": ", " "))
    }

    fn of_failure(failure: &Failure) -> Self {
        let (category, cause) = match failure {
            Failure::Unsuitable(_, why) => ("unsuitable options", why.as_str()),
            Failure::InitTimeout(_) => ("no init_ok", ""),
            Failure::InitRefused(..) => ("another answer than init_ok", ""),
            Failure::SetupRefused(_, why) => ("set-up refused", why.as_str()),
            Failure::NodeGone(_, why) => ("node gone", why.as_str()),
            Failure::Panicked(_, _, said) => return Self::of_panic("panic", said),
            Failure::Livelock(..) => ("livelock", ""),
            Failure::OverBudget(..) => return Self::over_budget(),
            Failure::LongLine(..) => ("long line", ""),
            Failure::Flood(_) => ("flood", ""),
        };
        Self::new(category, cause)
    }

    fn over_budget() -> Self {
        Self::new("no end", "")
    }

    /// Whether only the time or message budget ended the run.
    pub(super) fn is_over_budget(&self) -> bool {
        *self == Self::over_budget()
    }

    pub(super) fn new(category: &str, cause: &str) -> Self {
        let words = words(cause);
        Self(if words.is_empty() { category.to_owned() } else { format!("{category}: {words}") })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first part of a cause, up to a colon. Replaces everything that differs between runs by `#`.
fn words(cause: &str) -> String {
    let first = cause.lines().next().unwrap_or_default();
    let first = first.split_once(": ").map_or(first, |(first, _)| first);
    let words = first.split_whitespace().map(|word| if is_value(word) { "#" } else { word });
    let mut words: Vec<&str> = words.collect();
    words.dedup_by(|a, b| *a == "#" && *b == "#");
    words.join(" ").chars().take(CHARS_MAX).collect()
}

/// Whether a word is a number, a node name such as `n0`, or JSON.
fn is_value(word: &str) -> bool {
    let mut chars = word.chars();
    let (first, rest) = (chars.next().unwrap_or(' '), chars.as_str());
    let digit = |rest: &str| rest.chars().next().is_some_and(|c| c.is_ascii_digit());
    match first {
        '0'..='9' | '"' | '{' | '[' | '`' => true,
        '-' | 'a'..='z' => digit(rest),
        _ => false,
    }
}

/// The size of a run. [`Case`](super::Case) shows it in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Size {
    /// How many messages were sent.
    pub messages: u64,
    /// How many faults the nemesis scheduled.
    pub faults: u64,
    /// How many operations clients began, including the final ones.
    pub operations: u64,
    /// How many nodes took part.
    pub nodes: u64,
    /// The virtual time of the last event of a client or the nemesis.
    pub millis: u64,
}

impl Size {
    pub(super) fn of(world: &World) -> Self {
        let (options, history) = (world.options(), world.history());
        let begun = history.client_ops().filter(|op| op.kind == OpType::Invoke);
        let last = history.ops().last().map(|op| op.time).unwrap_or_default();
        Self {
            messages: world.net_stats().all().sent,
            faults: Schedule::new(options).faults(),
            operations: begun.count() as u64,
            nodes: options.nodes.len() as u64,
            millis: u64::try_from(last.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The amount that a person has to read: an operation or a fault counts as several messages.
    pub(super) fn weight(&self) -> u64 {
        let Self { messages, faults, operations, .. } = self;
        messages.saturating_add(faults.saturating_mul(20)).saturating_add(operations * 5)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, faults, operations, nodes, millis } = self;
        for (count, word) in
            [(messages, "message"), (faults, "fault"), (operations, "operation"), (nodes, "node")]
        {
            write!(f, "{count} {word}{}, ", if *count == 1 { "" } else { "s" })?;
        }
        write!(f, "{}.{} virtual seconds", millis / 1_000, millis % 1_000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_kind_is_told_in_the_singular() {
        let size = Size { messages: 12, faults: 1, operations: 0, nodes: 1, millis: 2_345 };
        assert_eq!(
            size.to_string(),
            "12 messages, 1 fault, 0 operations, 1 node, 2.3 virtual seconds"
        );
    }

    #[test]
    fn numbers_names_and_values_make_no_difference() {
        for (one, other) in [
            ("7 is lost: it was known", "12 is lost: it was not"),
            ("there is no n99 in the network: {}", "there is no c3 in the network: []"),
            ("3 × lost-write: key 1", "17 × lost-write: key 9"),
            (
                "a final read shows -3, which no sum explains",
                "a final read shows 7, which no sum explains",
            ),
            ("values 1, 2, 3 and 4 more", "values 9, 8, 7 and 12 more"),
        ] {
            assert_eq!(words(one), words(other));
        }
        for (one, other) in [
            ("the transactions show G1a: a", "the transactions show G1b: a"),
            ("3 × lost-write: key 1", "3 × unseen: key 1"),
            ("7 is lost: it was known", "7 stands twice in one read"),
        ] {
            assert_ne!(words(one), words(other));
        }
        assert_ne!(Kind::new("panic", "no"), Kind::new("invalid", "no"));
        let panic = |said| Kind::of_panic("panic", said);
        assert_ne!(panic("assertion failed: a < b"), panic("assertion failed: c < d"));
        assert_eq!(panic("no entry: index 3"), panic("no entry: index 8"));
        assert_eq!(Kind::new("flood", "").to_string(), "flood");
    }
}
