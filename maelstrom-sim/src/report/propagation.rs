//! The true propagation latency: from a client's request with a value to its delivery at the last
//! node, as the messages of the trace show it.
//!
//! Nodes may send values in any format, so this module finds the fields that carry values. A field
//! carries values if, in every message, the sender already had each scalar of the field. A client
//! sent the scalar to the sender, or an earlier message brought it in such a field. A counter or a
//! time soon breaks this rule. A value that no message shows as it is, such as a part of a
//! compressed text, counts as not delivered.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::chart::{Chart, Series};
use crate::network::is_client;
use crate::trace::{Fate, Sent};
use crate::world::World;

/// With more bytes of messages between servers than this, nothing is measured.
const BYTES_MAX: usize = 64 << 20;

/// With more values in these messages than this, nothing is measured.
const SCALARS_MAX: usize = 4_000_000;

/// The reason why users see another latency.
pub(super) const WHY: &str = "Maelstrom's reader sleeps until its earliest message is due, so a read waits for the \
                              last hop of a value. The stable latency leaves that hop out. It also begins only \
                              when the node has acknowledged the value.";

/// The propagation of all values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Propagation {
    /// For each value that reached every node: when a client sent it, and how long it took to the
    /// last node, in nanoseconds.
    pub(super) values: Vec<(i64, i64)>,
    /// How many values did not reach every node, as far as the trace shows.
    pub(super) missing: usize,
}

impl Propagation {
    /// The propagation in this test. `None` if its values do not spread to all nodes, or if the
    /// trace does not show how they do.
    pub(super) fn of(world: &World) -> Option<Self> {
        let (kind, field) = world.workload().spreading_field()?;
        let trace = world.trace().filter(|trace| trace.left_out() == 0)?;
        let messages: Vec<Sent<'_>> = trace.messages().collect();
        let nodes: Vec<&str> = world.options().nodes.iter().map(AsRef::as_ref).collect();
        let all = Spread::of(&messages, (kind, field))?.measure(&nodes);
        (!all.values.is_empty()).then_some(all)
    }

    /// The latency below which `part` thousandths of the values stay, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "a test does not last that long")]
    pub(super) fn quantile_ms(&self, part: usize) -> Option<f64> {
        let mut all: Vec<i64> = self.values.iter().map(|(_, latency)| *latency).collect();
        all.sort_unstable();
        let at = (all.len() * part / 1_000).min(all.len().checked_sub(1)?);
        all.get(at).map(|nanos| *nanos as f64 / 1e6)
    }

    /// The meaning of the figures.
    pub(super) fn about(&self) -> String {
        let (known, missing) = (self.values.len(), self.missing);
        let of = known + missing;
        format!(
            "From a client's request to the delivery of the value at the last node, as the messages \
             show it for {known} of {of} values. {WHY}"
        )
    }

    /// A chart: one point for each value, at the time of its request.
    #[expect(clippy::cast_precision_loss, reason = "a test does not last that long")]
    pub(super) fn chart(&self) -> Chart {
        let point = |(at, latency): &(i64, i64)| {
            let at = std::time::Duration::from_nanos(u64::try_from(*at).unwrap_or(0));
            (at, *latency as f64 / 1e6)
        };
        let points = self.values.iter().map(point).collect();
        Chart {
            title: "True propagation latency of values".into(),
            about: format!(
                "A point is a value: when a client sent it, and how long it took to the last node, \
                 as the messages show it. {WHY}"
            ),
            unit: "ms".into(),
            series: vec![Series {
                name: "true propagation latency".into(),
                is_line: false,
                points,
            }],
        }
    }
}

/// A message that left a server or reached one.
struct Event<'a> {
    at: i64,
    /// Sorts after arrivals at the same time: a node may pass a value on at once.
    is_departure: bool,
    server: &'a str,
    /// The values in the message, each with the number of its field. `None`: the request of a
    /// client, which certainly carries the value.
    carried: Vec<(Option<usize>, usize)>,
}

/// All values, and all messages that may carry one.
struct Spread<'a> {
    /// When a client first sent each value.
    requests: Vec<i64>,
    events: Vec<Event<'a>>,
    /// The fields that do not carry values.
    others: BTreeSet<usize>,
}

impl<'a> Spread<'a> {
    fn of(messages: &'a [Sent<'a>], (kind, field): (&str, &str)) -> Option<Self> {
        let mut values: BTreeMap<String, usize> = BTreeMap::new();
        let (mut requests, mut events) = (Vec::new(), Vec::new());
        for message in messages.iter().filter(|it| is_client(it.src)) {
            let body: Value = serde_json::from_str(message.body.get()).unwrap_or_default();
            let Some(value) =
                body.get(field).filter(|_| body.get("type").is_some_and(|it| it == kind))
            else {
                continue;
            };
            let number = *values.entry(value.to_string()).or_insert_with(|| {
                requests.push(message.time);
                requests.len() - 1
            });
            events.extend(arrivals(message, &[(None, number)]));
        }
        let mut fields =
            Fields { values: &values, paths: BTreeMap::new(), others: BTreeSet::new() };
        let (mut bytes, mut scalars) = (0, 0);
        for message in messages {
            if [message.src, message.dest].into_iter().any(is_client) {
                continue;
            }
            bytes += message.body.get().len();
            let Ok(Value::Object(body)) = serde_json::from_str(message.body.get()) else {
                continue;
            };
            let mut carried = Vec::new();
            for (key, value) in &body {
                if !["type", "msg_id", "in_reply_to"].contains(&key.as_str()) {
                    fields.search(&format!("{}/{key}", body.get("type")?), value, &mut carried);
                }
            }
            scalars += carried.len();
            if bytes > BYTES_MAX || scalars > SCALARS_MAX {
                return None;
            }
            events.extend(arrivals(message, &carried));
            let (at, server) = (message.time, message.src);
            events.push(Event { at, is_departure: true, server, carried });
        }
        events.sort_by_key(|event| (event.at, event.is_departure));
        let others = fields.others;
        Some(Self { requests, events, others })
    }

    /// Finds the fields that carry values, and then when each value reached each node.
    fn measure(mut self, nodes: &[&str]) -> Propagation {
        let first = loop {
            let before = self.others.len();
            let first = self.first_arrivals();
            if self.others.len() == before {
                break first;
            }
        };
        let mut all = Propagation::default();
        for (value, sent) in self.requests.iter().enumerate() {
            let reached = nodes.iter().map(|node| first.get(&(*node, value)).copied());
            match reached.collect::<Option<Vec<i64>>>().and_then(|all| all.into_iter().max()) {
                Some(last) => all.values.push((*sent, last.saturating_sub(*sent))),
                None => all.missing += 1,
            }
        }
        all
    }

    /// When each server first got each value, in the fields that may carry values. Excludes each
    /// field with which a server sent values that it did not have.
    fn first_arrivals(&mut self) -> BTreeMap<(&'a str, usize), i64> {
        let mut first = BTreeMap::new();
        for Event { at, is_departure, server, carried } in &self.events {
            for (field, value) in carried {
                if field.is_some_and(|field| self.others.contains(&field)) {
                    continue;
                }
                if !is_departure {
                    first.entry((*server, *value)).or_insert(*at);
                } else if !first.contains_key(&(*server, *value)) {
                    self.others.extend(*field);
                }
            }
        }
        first
    }
}

/// The deliveries of a message.
fn arrivals<'a>(
    message: &Sent<'a>,
    carried: &[(Option<usize>, usize)],
) -> impl Iterator<Item = Event<'a>> {
    let ends = message.ends.iter().filter(|end| end.fate == Fate::Delivered);
    ends.map(|end| Event {
        at: end.time,
        is_departure: false,
        server: message.dest,
        carried: carried.to_vec(),
    })
}

/// The fields of all messages between servers.
struct Fields<'a> {
    values: &'a BTreeMap<String, usize>,
    /// The number of each field.
    paths: BTreeMap<String, usize>,
    /// The fields that hold a scalar that is no value.
    others: BTreeSet<usize>,
}

impl Fields<'_> {
    /// Adds the values in this field and below it.
    fn search(&mut self, path: &str, value: &Value, carried: &mut Vec<(Option<usize>, usize)>) {
        match value {
            Value::Array(items) => {
                let path = format!("{path}[]");
                items.iter().for_each(|item| self.search(&path, item, carried));
            }
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.search(&format!("{path}/{key}"), value, carried);
                }
            }
            Value::Null => {}
            scalar => {
                let count = self.paths.len();
                let field = *self.paths.entry(path.to_owned()).or_insert(count);
                match self.values.get(&scalar.to_string()) {
                    Some(value) if !self.others.contains(&field) => {
                        carried.push((Some(field), *value));
                    }
                    Some(_) => {}
                    None => {
                        self.others.insert(field);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
