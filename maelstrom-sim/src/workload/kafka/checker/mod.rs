//! Checks logs of messages: no message may get lost, come twice, or be skipped. After Jepsen's
//! `jepsen.tests.kafka`, for clients that send and poll one message after the other.
//!
//! Acknowledged sends and successful polls show the offsets of the messages in the log of each key.
//! Each finding names the operations that prove it:
//!
//! - `lost-write`: an acknowledged message that no poll shows, although a poll shows a later offset
//! - `unseen`: an acknowledged message that no poll shows until the end
//! - `inconsistent-offsets`: two messages at one offset
//! - `duplicate`: one message at two offsets
//! - `G1a`: a message that was read, although its send failed definitely
//! - `poll-skip`, `nonmonotonic-poll`: a poll that begins after the next known offset from its
//!   client's position, or before that position
//! - `int-poll-skip`, `int-nonmonotonic-poll`: the same between two messages of one poll
//! - `nonmonotonic-send`: a send whose offset is not above that of its process's previous send to
//!   the key
//!
//! Jepsen's `int-send-skip`, `int-nonmonotonic-send` and `precommitted-read` and its cycles require
//! transactions with several sends or polls. There are none here.
//!
//! Stricter than Jepsen:
//!
//! - A client's positions after an assign are known. So this checker also finds the messages that
//!   the first poll after an assign skips.
//! - An assign does not reset the order of sends.
//! - A message that nobody sent to the key is a `phantom`.
//!
//! If the committed offset that a process sees goes back, the results show a `nonmonotonic-commit`,
//! but the history stays valid: Maelstrom allows a client to start lower than necessary.

mod chart;
mod content;
mod lag;
mod log;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

pub use self::chart::charts;

use self::log::{Event, What};
use crate::checker::headline::short;
use crate::checker::{Verdict, WorkloadResults, indexes_in};
use crate::history::{History, MALFORMED, OpType};
use crate::json::to_value;
use crate::workload::rpc::TOO_WIDE;

/// How many findings of a kind the results show.
const SHOWN_MAX: usize = 8;

/// How many keys, offsets and messages a finding shows.
const LIST_MAX: usize = 32;

/// How many offsets around the one in question a finding shows of a poll.
const AROUND: u64 = 3;

/// The kinds of findings that do not make a history invalid.
const ALLOWED: [&str; 1] = ["nonmonotonic-commit"];

/// The kind of a message that nobody sent to the key where a poll shows it.
const PHANTOM: &str = "phantom";

/// Whether Jepsen also looks for a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Jepsen,
    Stricter,
}

/// All findings, by kind.
#[derive(Debug, Default)]
struct Findings {
    kinds: BTreeMap<&'static str, (usize, Vec<Value>)>,
    /// The first finding of each kind, written as part of a sentence.
    headlines: BTreeMap<&'static str, String>,
    /// The kinds for which Jepsen has a finding.
    by_jepsen: BTreeSet<&'static str>,
}

impl Findings {
    fn add(
        &mut self,
        rule: Rule,
        kind: &'static str,
        headline: impl FnOnce() -> String,
        finding: impl FnOnce() -> Value,
    ) {
        self.headlines.entry(kind).or_insert_with(headline);
        let (count, shown) = self.kinds.entry(kind).or_default();
        *count += 1;
        if shown.len() < SHOWN_MAX {
            shown.push(finding());
        }
        if rule == Rule::Jepsen {
            self.by_jepsen.insert(kind);
        }
    }
}

/// Whether Jepsen's checker fails. It fails on a message that nobody sent to that key, since its
/// graph of reads has no writer then. It also fails on an offset beyond 64 bits. Here such a reply
/// is malformed.
fn jepsen_fails(history: &History, findings: &Findings) -> bool {
    if findings.kinds.contains_key(PHANTOM) {
        return true;
    }
    let mut errors = history
        .client_ops()
        .filter(|op| ["send", "poll"].contains(&op.f))
        .filter_map(|op| op.error.as_deref());
    errors.any(|error| error.starts_with(MALFORMED) && error.contains(TOO_WIDE))
}

/// Judges the history of a `kafka` test. Findings of a `harmless` kind do not make it invalid. O(n
/// log n) in the number of messages sent and read. The example of
/// [`unique_ids::check`](crate::workload::unique_ids::check) shows how to call it.
#[must_use]
pub fn check(history: &History, harmless: &[&str]) -> WorkloadResults {
    let events = log::events(history);
    let logs = log::logs(&events);
    let mut findings = Findings::default();
    let mut unseen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, log) in &logs {
        content::check(key, log, &events, &mut findings);
        let missing: Vec<&str> = content::unseen(log, &events).collect();
        if !missing.is_empty() {
            unseen.insert(key, missing);
        }
    }
    let worst_lag = sessions::check(&events, &logs, &mut findings);
    let jepsen_fails = jepsen_fails(history, &findings);
    let (by_jepsen, mut headlines) = (findings.by_jepsen, findings.headlines);
    let maelstrom_valid = if jepsen_fails {
        Verdict::Unknown
    } else {
        Verdict::invalid_if(!by_jepsen.is_empty() || !unseen.is_empty())
    };
    let mut fields: Map<String, Value> = findings
        .kinds
        .into_iter()
        .map(|(kind, (count, errs))| (kind.to_owned(), json!({ "count": count, "errs": errs })))
        .collect();
    if !unseen.is_empty() {
        fields.insert("unseen".into(), unseen_json(&unseen));
        headlines.extend(unseen_headline(&unseen, &logs, &events).map(|text| ("unseen", text)));
    }
    let kinds: Vec<String> = fields.keys().cloned().collect();
    let is_bad = |kind: &str| !ALLOWED.contains(&kind) && !harmless.contains(&kind);
    let bad: Vec<&String> = kinds.iter().filter(|kind| is_bad(kind)).collect();
    let valid = Verdict::invalid_if(!bad.is_empty());
    // Prefers a kind that Jepsen also knows: it is the cause under both rules.
    let is_jepsens = |kind: &str| kind == "unseen" || by_jepsen.contains(kind);
    let first = bad.iter().find(|kind| is_jepsens(kind)).or(bad.first());
    let cause = first.and_then(|kind| {
        let count = fields.get(*kind)?.get("count")?;
        let headline = headlines.get(kind.as_str())?;
        Some(format!("{count} × {kind}: {headline}"))
    });
    let proof = first.and_then(|kind| fields.get(*kind)?.get("errs")?.get(0)).map(indexes_in);
    let missing = || unseen_send(&unseen, &logs, &events).map(|index| vec![index]);
    let evidence = proof.filter(|all| !all.is_empty()).or_else(missing).unwrap_or_default();
    fields.insert("bad-error-types".into(), json!(bad));
    fields.insert("error-types".into(), json!(kinds));
    fields.insert("info-txn-causes".into(), json!(info_causes(history)));
    fields.insert("worst-realtime-lag".into(), worst_lag);
    WorkloadResults::new(valid, maelstrom_valid, fields).because(cause).proved_by(evidence)
}

fn unseen_json(unseen: &BTreeMap<&str, Vec<&str>>) -> Value {
    let shown = unseen.iter().take(LIST_MAX);
    let counts: BTreeMap<&str, usize> =
        shown.clone().map(|(key, texts)| (*key, texts.len())).collect();
    let messages = shown.map(|(key, texts)| {
        let shown = texts.iter().take(LIST_MAX).map(|text| to_value(text)).collect();
        ((*key).to_owned(), Value::Array(shown))
    });
    json!({
        "count": unseen.values().map(Vec::len).sum::<usize>(),
        "unseen": counts,
        "messages": Value::Object(messages.collect()),
    })
}

/// The first message that no poll shows, written as part of a sentence.
fn unseen_headline(
    unseen: &BTreeMap<&str, Vec<&str>>,
    logs: &BTreeMap<String, log::Log<'_>>,
    events: &[Event<'_>],
) -> Option<String> {
    let (key, texts) = unseen.iter().next()?;
    let text = texts.first()?;
    let message = logs.get(*key)?.messages.get(text)?;
    let (sender, offset) = (process(events, message.send), message.offsets.last()?);
    let (key, text) = (short(key), short(text));
    Some(format!("{sender} sent {text} to offset {offset} of key {key}, and no poll shows it"))
}

/// The send of the first message that no poll shows.
fn unseen_send(
    unseen: &BTreeMap<&str, Vec<&str>>,
    logs: &BTreeMap<String, log::Log<'_>>,
    events: &[Event<'_>],
) -> Option<usize> {
    let (key, texts) = unseen.iter().next()?;
    let message = logs.get(*key)?.messages.get(texts.first()?)?;
    Some(events.get(message.send?)?.op.index)
}

/// The process of an event.
fn process(events: &[Event<'_>], place: Option<usize>) -> String {
    let event = place.and_then(|place| events.get(place));
    event.map_or_else(|| "a process".into(), |event| format!("process {}", event.process))
}

/// The errors because of which the outcomes of sends and polls are unknown.
fn info_causes(history: &History) -> BTreeSet<&str> {
    let unknown = history.client_ops().filter(|op| op.kind == OpType::Info);
    unknown
        .filter(|op| ["send", "poll"].contains(&op.f))
        .filter_map(|op| op.error.as_deref())
        .collect()
}

/// An operation as a witness of a finding: its offsets and messages for a key, around an offset.
fn witness(event: &Event<'_>, key: &str, offset: i64) -> Value {
    let value = match &event.what {
        What::Sent { key, offset, message: text } => json!([key, [offset, to_value(text)]]),
        What::Polled(polled) => {
            let pairs = polled.get(key).into_iter().flatten();
            let near = pairs.filter(|(at, _)| at.abs_diff(offset) <= AROUND);
            let near = near.take(LIST_MAX).map(|(at, text)| json!([at, to_value(text.get())]));
            json!({ key: near.collect::<Vec<_>>() })
        }
        What::Assigned(assign) => json!({
            "seek-to-beginning?": assign.seek_to_beginning,
            "committed": assign.committed.as_ref().and_then(|offsets| offsets.get(key)),
        }),
    };
    let op = event.op;
    json!({
        "index": op.index,
        "process": event.process,
        "type": op.kind,
        "f": op.f,
        "value": value,
    })
}

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;
