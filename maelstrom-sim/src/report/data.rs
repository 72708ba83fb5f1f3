//! The data for the scripts of the page: operations, messages, faults and charts, as JSON.
//!
//! Times are whole microseconds since the first operation could begin. Texts are excerpts, so that
//! the page stays small. The number of operations and messages is limited. If there are more, the
//! page keeps those around the evidence, or else the first ones. It says how many it left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::bands::Band;
use crate::chart::Chart;
use crate::excerpt::cut;
use crate::history::{Op, OpType, Process};
use crate::network::is_client;
use crate::news::News;
use crate::trace::{Fate, Sent, Trace};
use crate::world::World;

/// How many operations a page shows.
const OPS_MAX: usize = 100_000;

/// How many messages a page shows.
const MESSAGES_MAX: usize = 100_000;

/// How many events a page shows.
const EVENTS_MAX: usize = 20_000;

/// The number of time intervals in which messages are counted.
const BUCKETS: usize = 120;

/// The approximate limit for all excerpts of bodies together, in bytes.
const BODIES_BYTES: usize = 8 << 20;

/// The limits of an excerpt of a body, in characters.
const BODY_CHARS: Range<usize> = 60..400;

/// How many characters of an operation's value or error the page shows.
const VALUE_CHARS: usize = 160;

/// The name of the clients' line in the space-time diagram.
const CLIENTS: &str = "clients";

/// The data for the scripts.
#[derive(Debug, Serialize)]
pub(super) struct Data<'a> {
    /// The end of the test.
    end: i64,
    threads: usize,
    nodes: usize,
    /// The lines of the space-time diagram: the clients, the nodes, the services.
    lines: Vec<String>,
    /// The names of functions, message types and fates. The rows below refer to them by index.
    functions: Vec<&'a str>,
    types: Vec<String>,
    fates: [&'static str; 8],
    ops: Vec<OpRow>,
    messages: Vec<MessageRow>,
    /// The messages between servers over time, by type. The time from the first operation to the
    /// end is divided into equal intervals. The counts include messages that are not shown.
    traffic: Vec<(String, Vec<u32>)>,
    events: Vec<EventRow>,
    bands: Vec<Band>,
    charts: &'a [Chart],
    /// The operations that prove the cause, as indices into `ops`.
    evidence: Vec<usize>,
    /// How many operations and messages are not shown.
    left_out: (usize, u64),
}

/// An operation: thread, process, function, beginning, end (or -1), outcome, value, error, whether
/// it is a final one, and the indices of its invocation and its end (or -1) in the history.
type OpRow = (usize, u64, usize, i64, i64, u8, String, String, u8, usize, i64);

/// A message: line of the sender, line of the receiver, type, time sent, time ended (or null),
/// fate, excerpt of its body, its `msg_id` and `in_reply_to` (or null), and its client, if it has
/// one.
type MessageRow = (
    usize,
    usize,
    usize,
    i64,
    Option<i64>,
    usize,
    String,
    Option<u64>,
    Option<u64>,
    Option<String>,
);

/// An event: time, kind, line (or -1), and text.
type EventRow = (i64, &'static str, i64, String);

/// The outcome of an operation as a number.
const fn outcome(end: Option<&Op>) -> u8 {
    match end {
        Some(Op { kind: OpType::Ok, .. }) => 0,
        Some(Op { kind: OpType::Fail, .. }) => 1,
        Some(_) => 2,
        None => 3,
    }
}

/// The fates by index. The last one is for messages that are still in transit.
const FATES: [(&str, Option<Fate>); 8] = [
    ("delivered", Some(Fate::Delivered)),
    ("lost", Some(Fate::Lost)),
    ("stopped by a partition", Some(Fate::Refused)),
    ("its receiver was down", Some(Fate::Down)),
    ("the service was unreachable", Some(Fate::Unreachable)),
    ("no such address", Some(Fate::NoAddress)),
    ("its sender was muted", Some(Fate::Muted)),
    ("under way when the test ended", None),
];

/// Assigns indices to names, in the order of their first use.
#[derive(Debug, Default)]
struct Names {
    numbers: BTreeMap<String, usize>,
    names: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len();
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

/// The fields of a body that the page shows separately.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    in_reply_to: Option<&'a RawValue>,
}

/// An id, if it is a number. Only numbers link messages.
fn id(raw: Option<&RawValue>) -> Option<u64> {
    raw?.get().parse().ok()
}

impl<'a> Data<'a> {
    pub(super) fn of(
        world: &'a World,
        evidence: &[usize],
        bands: Vec<Band>,
        charts: &'a [Chart],
    ) -> Self {
        let (mut functions, mut types, mut lines) =
            (Vec::new(), Names::default(), Names::default());
        lines.number(CLIENTS);
        for node in &world.options().nodes {
            lines.number(node);
        }
        let ops = operations(world, &mut functions);
        let at = evidence.iter().filter_map(|index| world.history().ops().get(*index));
        let at = at.map(|op| micros(op.time)).max();
        let first = at.map(|at| ops.partition_point(|op| op.3 <= at));
        let kept = window(ops.len(), first, OPS_MAX);
        let ops_left_out = ops.len() - kept.len();
        let ops: Vec<OpRow> = ops.into_iter().skip(kept.start).take(kept.len()).collect();
        let is_evidence = |op: &OpRow| {
            let end = usize::try_from(op.10).ok();
            evidence.iter().position(|index| *index == op.9 || Some(*index) == end)
        };
        let mut proof: Vec<(usize, usize)> = (0..)
            .zip(&ops)
            .filter_map(|(place, op)| is_evidence(op).map(|rank| (rank, place)))
            .collect();
        proof.sort_unstable();
        let (messages, messages_left_out) = world
            .trace()
            .map(|trace| messages(trace, at, (&mut lines, &mut types)))
            .unwrap_or_default();
        let events = world.trace().map(|trace| events(trace, &mut lines)).unwrap_or_default();
        let ends = ops.iter().map(|op| op.4.max(op.3));
        let end = ends.chain(messages.iter().filter_map(|message| message.4)).max().unwrap_or(0);
        let end = events.iter().map(|event| event.0).fold(end, i64::max);
        Self {
            end,
            traffic: world.trace().map(|trace| traffic(trace, end)).unwrap_or_default(),
            threads: world.options().concurrency,
            nodes: world.options().nodes.len(),
            lines: lines.names,
            functions,
            types: types.names,
            fates: FATES.map(|(name, _)| name),
            ops,
            messages,
            events,
            bands,
            charts,
            evidence: proof.into_iter().map(|(_, place)| place).collect(),
            left_out: (ops_left_out, messages_left_out),
        }
    }

    /// How many operations and messages are not shown.
    pub(super) fn left_out(&self) -> (usize, u64) {
        self.left_out
    }

    /// The data as JSON for a `script` element. Escapes the character that could end the element.
    pub(super) fn to_script(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string(self)?.replace('<', "\\u003c"))
    }
}

/// The range of items to keep out of `count` in time order, if `max` fit. It is the range around
/// the place of interest, with most items before it, or else the first items.
fn window(count: usize, interest: Option<usize>, max: usize) -> Range<usize> {
    let before = max - max / 4;
    let first = interest.unwrap_or(0).saturating_sub(before).min(count.saturating_sub(max));
    first..(first + max).min(count)
}

fn operations<'a>(world: &'a World, functions: &mut Vec<&'a str>) -> Vec<OpRow> {
    let history = world.history();
    let mut ends: Vec<Option<&Op>> = vec![None; history.ops().len()];
    for op in history.client_ops() {
        if let Some(slot) = op.invocation.and_then(|index| ends.get_mut(index)) {
            *slot = Some(op);
        }
    }
    let begins = history.client_ops().filter(|op| op.kind == OpType::Invoke);
    let row = |begin: &'a Op| {
        let end = ends.get(begin.index).copied().flatten();
        let Process::Client(process) = begin.process else { return None };
        let function = functions.iter().position(|f| *f == begin.f).unwrap_or_else(|| {
            functions.push(begin.f);
            functions.len() - 1
        });
        let threads = world.options().concurrency.max(1) as u64;
        let value = end.and_then(|end| end.value.as_ref()).or(begin.value.as_ref());
        let error = end.and_then(|end| end.error.as_deref()).unwrap_or_default();
        Some((
            usize::try_from(process % threads).unwrap_or(0),
            process,
            function,
            micros(begin.time),
            end.map_or(-1, |end| micros(end.time)),
            outcome(end),
            value.map(|raw| cut(raw.get(), VALUE_CHARS)).unwrap_or_default(),
            cut(error, VALUE_CHARS),
            u8::from(begin.is_final),
            begin.index,
            end.map_or(-1, |end| i64::try_from(end.index).unwrap_or(-1)),
        ))
    };
    begins.filter_map(row).collect()
}

fn messages(
    trace: &Trace,
    interest: Option<i64>,
    (lines, types): (&mut Names, &mut Names),
) -> (Vec<MessageRow>, u64) {
    let all = trace.messages();
    let count = all.len();
    let place = interest.map(|at| {
        let earlier = trace.messages().take_while(|message| message.time / 1_000 <= at);
        earlier.count()
    });
    let kept = window(count, place, MESSAGES_MAX);
    let chars = (BODIES_BYTES / kept.len().max(1)).clamp(BODY_CHARS.start, BODY_CHARS.end);
    let mut rows = Vec::with_capacity(kept.len());
    for message in all.skip(kept.start).take(kept.len()) {
        push_copies(&mut rows, &message, chars, (lines, types));
    }
    let cut = u64::try_from(count - kept.len()).unwrap_or(u64::MAX);
    (rows, cut.saturating_add(trace.left_out()))
}

/// Counts the messages between servers by type, in equal intervals up to `end`.
fn traffic(trace: &Trace, end: i64) -> Vec<(String, Vec<u32>)> {
    let mut counts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let is_of_servers = |sent: &Sent<'_>| !is_client(sent.src) && !is_client(sent.dest);
    for message in trace.messages().filter(is_of_servers) {
        let Ok(at) = usize::try_from(message.time / 1_000) else { continue };
        let body: Body<'_> = serde_json::from_str(message.body.get()).unwrap_or_default();
        let end = usize::try_from(end.max(1)).unwrap_or(usize::MAX);
        let part = (at.saturating_mul(BUCKETS) / end).min(BUCKETS - 1);
        let row = counts.entry(body.r#type.into_owned()).or_insert_with(|| vec![0; BUCKETS]);
        if let Some(count) = row.get_mut(part) {
            *count += 1;
        }
    }
    let mut rows: Vec<(String, Vec<u32>)> = counts.into_iter().collect();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.iter().map(|n| u64::from(*n)).sum::<u64>()));
    rows
}

/// Adds a row for each copy of a message.
fn push_copies(
    rows: &mut Vec<MessageRow>,
    message: &Sent<'_>,
    chars: usize,
    (lines, types): (&mut Names, &mut Names),
) {
    let body: Body<'_> = serde_json::from_str(message.body.get()).unwrap_or_default();
    let mut line = |address: &str| lines.number(if is_client(address) { CLIENTS } else { address });
    let (src, dest) = (line(message.src), line(message.dest));
    let kind = types.number(&body.r#type);
    let client = [message.src, message.dest].into_iter().find(|address| is_client(address));
    let text = cut(message.body.get(), chars);
    let ended = message.ends.iter().map(|end| (Some(end.time / 1_000), Some(end.fate)));
    let open = message.copies.max(1).saturating_sub(message.ends.len());
    for (end, fate) in ended.chain(std::iter::repeat_n((None, None), open)) {
        let fate = FATES.iter().position(|(_, known)| *known == fate).unwrap_or(FATES.len() - 1);
        rows.push((
            src,
            dest,
            kind,
            message.time / 1_000,
            end,
            fate,
            text.clone(),
            id(body.msg_id),
            id(body.in_reply_to),
            client.map(ToOwned::to_owned),
        ));
    }
}

fn events(trace: &Trace, lines: &mut Names) -> Vec<EventRow> {
    let mut line = |name: &str| i64::try_from(lines.number(name)).unwrap_or(-1);
    let row = |(at, news): (i64, &News)| {
        let (kind, line, text) = match news {
            News::Phase(name) => ("phase", -1, (*name).to_owned()),
            News::Nemesis(op) => {
                (op.name(), op.target().map_or(-1, |node| line(node)), op.to_string())
            }
            News::Mark { node, name } => ("mark", line(node), (*name).to_owned()),
            News::Muted { node, why } => ("muted", line(node), why.clone()),
            News::BadRequest { node, why } => ("bad-request", line(node), why.clone()),
        };
        (at / 1_000, kind, line, cut(&text, VALUE_CHARS))
    };
    trace.events().take(EVENTS_MAX).map(row).collect()
}

fn micros(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_the_operations_around_the_evidence() {
        assert_eq!(window(10, None, 100), 0..10);
        assert_eq!(window(10, Some(9), 100), 0..10);
        assert_eq!(window(1_000, None, 100), 0..100);
        assert_eq!(window(1_000, Some(500), 100), 425..525);
        assert_eq!(window(1_000, Some(10), 100), 0..100);
        assert_eq!(window(1_000, Some(1_000), 100), 900..1_000);
    }
}
