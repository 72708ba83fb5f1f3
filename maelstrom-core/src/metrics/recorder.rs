//! The metrics of a node, recorded if its driver wants them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::core::{
    CALL_SECONDS, DISK_METRICS, ERRORS, MESSAGE_BYTES, MESSAGES, METRICS, REQUEST_SECONDS, REQUESTS,
};
use super::{
    Family, Gauges, Histogram, Metric, OTHER, SECONDS, Sample, Snapshot, TYPES_MAX, Value,
};
use crate::error::ErrorCode;

/// The metrics of a node. If the driver does not want them, each call costs one comparison.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Option<Box<Recording>>);

/// The type of a message: an index into the types that the recorder distinguishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeId(u8);

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Error(ErrorCode),
    Late,
}

#[derive(Debug)]
struct Recording {
    /// By [`TypeId`]. The first one stands for all types that are not distinguished.
    types: Vec<Type>,
    /// The types of the last message received and sent. The next message often has the same type.
    newest_received: TypeId,
    newest_sent: TypeId,
    families: BTreeMap<&'static str, Family>,
}

/// The numbers of one type of message. They change with every message, so they are not in a map.
#[derive(Debug)]
struct Type {
    name: Box<str>,
    received: Traffic,
    sent: Traffic,
    ok: u64,
    failed: u64,
    late: u64,
    duration: Histogram,
    call_duration: Histogram,
}

#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    messages: u64,
    bytes: u64,
}

impl Traffic {
    fn add(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

impl Type {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            received: Traffic::default(),
            sent: Traffic::default(),
            ok: 0,
            failed: 0,
            late: 0,
            duration: Histogram::new(SECONDS),
            call_duration: Histogram::new(SECONDS),
        }
    }
}

impl Recorder {
    /// Records from now on: the metrics of every node, and those of its handler.
    pub(crate) fn record(&mut self, is_durable: bool, handlers: &[&[&'static Metric]]) {
        let own = METRICS.len().saturating_sub(if is_durable { 0 } else { DISK_METRICS });
        let metrics = METRICS.iter().take(own).chain(handlers.iter().copied().flatten());
        let families = metrics.map(|metric| (metric.name, Family::new(metric))).collect();
        let recording = Recording {
            types: vec![Type::new(OTHER)],
            newest_received: TypeId::default(),
            newest_sent: TypeId::default(),
            families,
        };
        self.0.get_or_insert_with(|| Box::new(recording));
    }

    /// Whether metrics are recorded.
    pub(crate) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn count(&mut self, metric: &'static Metric, labels: &[&str], n: u64) {
        if let Some(recording) = &mut self.0
            && let Some(Value::Counter(count)) = recording.value(metric, labels)
        {
            *count = count.saturating_add(n);
        }
    }

    pub(crate) fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        if let Some(recording) = &mut self.0
            && let Some(Value::Gauge(gauge)) = recording.value(metric, labels)
        {
            *gauge = value;
        }
    }

    pub(crate) fn observe(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        if let Some(recording) = &mut self.0
            && let Some(Value::Histogram(histogram)) = recording.value(metric, labels)
        {
            histogram.observe(value);
        }
    }

    /// A message arrived on a line of `bytes` bytes. `kind` is a type that the node knows, or
    /// `None`.
    pub(crate) fn received(&mut self, kind: Option<&str>, bytes: usize) -> TypeId {
        let Some(recording) = &mut self.0 else { return TypeId::default() };
        let newest = recording.newest_received;
        let id = kind.map_or(TypeId::default(), |kind| recording.type_id(kind, newest));
        recording.newest_received = id;
        recording.with(id, |kind| kind.received.add(bytes));
        id
    }

    /// A message was written as a line of `bytes` bytes. `body` is its body, or the beginning of
    /// it.
    pub(crate) fn sent(&mut self, body: &[u8], bytes: usize) {
        let Some(recording) = &mut self.0 else { return };
        let newest = recording.newest_sent;
        let id = type_of(body).map_or(TypeId::default(), |kind| recording.type_id(&kind, newest));
        recording.newest_sent = id;
        recording.with(id, |kind| kind.sent.add(bytes));
    }

    /// A request was answered, or would have been answered if its client had not given up.
    pub(crate) fn answered(&mut self, kind: TypeId, outcome: Outcome, after: Duration) {
        let Some(recording) = &mut self.0 else { return };
        recording.with(kind, |kind| {
            let count = match outcome {
                Outcome::Ok => &mut kind.ok,
                Outcome::Error(_) => &mut kind.failed,
                Outcome::Late => &mut kind.late,
            };
            *count = count.saturating_add(1);
            // Most requests are answered at once.
            let seconds = if after.is_zero() { 0.0 } else { after.as_secs_f64() };
            kind.duration.observe(seconds);
        });
        if let Outcome::Error(code) = outcome {
            self.count(&ERRORS, &[code.name()], 1);
        }
    }

    /// The type of the last message sent.
    pub(crate) fn newest_sent(&self) -> TypeId {
        self.0.as_ref().map_or(TypeId::default(), |recording| recording.newest_sent)
    }

    /// A call with a message of this type ended.
    pub(crate) fn call_ended(&mut self, kind: TypeId, after: Duration) {
        if let Some(recording) = &mut self.0 {
            recording.with(kind, |kind| kind.call_duration.observe(after.as_secs_f64()));
        }
    }

    /// All numbers, with these gauges. `None` if metrics are not recorded.
    pub(crate) fn snapshot(&self, gauges: Gauges) -> Option<Snapshot> {
        let recording = self.0.as_ref()?;
        let mut families = recording.families.clone();
        for (metric, labels, value) in gauges.set {
            let family = families.entry(metric.name).or_insert_with(|| Family::new(metric));
            let labels: Vec<&str> = labels.iter().map(|label| &**label).collect();
            if let Some(Value::Gauge(gauge)) = family.value(&labels) {
                *gauge = value;
            }
        }
        for kind in &recording.types {
            kind.add_to(&mut families);
        }
        let mut families: Vec<Family> = families.into_values().collect();
        for family in &mut families {
            family.samples.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        Some(Snapshot { families })
    }
}

impl Recording {
    fn value(&mut self, metric: &'static Metric, labels: &[&str]) -> Option<&mut Value> {
        let family = self.families.entry(metric.name).or_insert_with(|| Family::new(metric));
        family.value(labels)
    }

    /// The type with this name. `newest` is tried first.
    fn type_id(&mut self, name: &str, newest: TypeId) -> TypeId {
        if self.types.get(usize::from(newest.0)).is_some_and(|kind| *kind.name == *name) {
            return newest;
        }
        let known = self.types.iter().position(|kind| *kind.name == *name);
        let at = known.unwrap_or_else(|| {
            if self.types.len() >= TYPES_MAX {
                return 0;
            }
            self.types.push(Type::new(name));
            self.types.len().saturating_sub(1)
        });
        TypeId(u8::try_from(at).unwrap_or_default())
    }

    fn with(&mut self, id: TypeId, change: impl FnOnce(&mut Type)) {
        if let Some(kind) = self.types.get_mut(usize::from(id.0)) {
            change(kind);
        }
    }
}

impl Type {
    /// Adds the numbers of this type, except those that are zero.
    fn add_to(&self, families: &mut BTreeMap<&'static str, Family>) {
        let name = &*self.name;
        let mut add = |metric: &'static Metric, labels: &[&str], value: Value| {
            if value.number() == 0.0 {
                return;
            }
            let family = families.entry(metric.name).or_insert_with(|| Family::new(metric));
            let labels = labels.iter().map(|label| (*label).into()).collect();
            family.samples.push(Sample { labels, value });
        };
        for (direction, traffic) in [("received", self.received), ("sent", self.sent)] {
            add(&MESSAGES, &[direction, name], Value::Counter(traffic.messages));
            add(&MESSAGE_BYTES, &[direction, name], Value::Counter(traffic.bytes));
        }
        for (outcome, count) in [("ok", self.ok), ("error", self.failed), ("late", self.late)] {
            add(&REQUESTS, &[name, outcome], Value::Counter(count));
        }
        add(&REQUEST_SECONDS, &[name], Value::Histogram(self.duration.clone()));
        add(&CALL_SECONDS, &[name], Value::Histogram(self.call_duration.clone()));
    }
}

/// The type of the message with this body. A body that does not begin with its type, as one written
/// from a map or a struct, is parsed.
fn type_of(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    if let Some(rest) = body.strip_prefix(br#"{"type":""#) {
        let end = memchr::memchr2(b'"', b'\\', rest)?;
        if rest.get(end) == Some(&b'"') {
            return std::str::from_utf8(rest.get(..end)?).ok().map(Cow::Borrowed);
        }
    }
    serde_json::from_slice::<Typed<'_>>(body).ok().map(|typed| typed.kind)
}
