//! The numbers of a node at one moment.

use super::{Histogram, Kind, Metric, OTHER, SERIES_MAX, float};

/// All metrics of a node at one moment, sorted by name. The same run gives the same snapshot.
///
/// ```
/// use maelstrom_core::metrics::Snapshot;
/// use maelstrom_core::{Clock, RawNode};
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Ping, Pong }
/// # struct Ping;
/// # impl MessageHandler for Ping {
/// #     type Payload = Payload;
/// #     type Event = NoEvent;
/// #     fn message(
/// #         &mut self, node: &mut Node<NoEvent>, from: &Request, _: Payload,
/// #     ) -> Result<(), Error> {
/// #         node.reply(from, &Payload::Pong);
/// #         Ok(())
/// #     }
/// # }
///
/// let mut node = RawNode::new(Ping, [7; 32], false);
/// node.record_metrics();
/// # let body =
/// #     serde_json::json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]});
/// # let init = serde_json::json!({"src": "c0", "dest": "n1", "body": body}).to_string() + "\n";
/// # let ping = r#"{"src":"c1","dest":"n1","body":{"type":"ping","msg_id":2}}"#;
/// for line in [init.as_str(), ping] {
///     node.handle_line(Clock::default(), line.as_bytes());
/// }
/// let snapshot: Snapshot = node.metrics().unwrap();
/// let answered = snapshot.sum("maelstrom_requests_total", &[("type", "ping"), ("outcome", "ok")]);
/// assert_eq!(answered, 1.0);
/// let open = snapshot.families().iter().find(|family| family.metric.name == "maelstrom_timers");
/// assert_eq!(open.unwrap().samples[0].value.number(), 0.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub(super) families: Vec<Family>,
}

/// A metric and its numbers. [`Snapshot`] shows it in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The metric.
    pub metric: &'static Metric,
    /// One sample for each combination of label values, sorted by these values.
    pub samples: Vec<Sample>,
}

/// A number with its labels. [`Snapshot`] shows it in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The values of the metric's labels, in the order of [`Metric::labels`].
    pub labels: Vec<Box<str>>,
    /// The number.
    pub value: Value,
}

/// The number of a sample. The example of [`Snapshot`] reads one of a node.
///
/// ```
/// use maelstrom_core::metrics::Value;
///
/// assert_eq!([Value::Counter(3), Value::Gauge(0.5)].map(|value| value.number()), [3.0, 0.5]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The value of a counter.
    Counter(u64),
    /// The value of a gauge.
    Gauge(f64),
    /// The observations of a histogram.
    Histogram(Histogram),
}

impl Value {
    pub(super) fn zero(metric: &Metric) -> Self {
        match metric.kind {
            Kind::Counter => Self::Counter(0),
            Kind::Gauge => Self::Gauge(0.0),
            Kind::Histogram(bounds) => Self::Histogram(Histogram::new(bounds)),
        }
    }

    /// The count of a counter, the value of a gauge, the number of observations of a histogram.
    #[must_use]
    pub fn number(&self) -> f64 {
        match self {
            Self::Counter(count) => float(*count),
            Self::Gauge(value) => *value,
            Self::Histogram(histogram) => float(histogram.count()),
        }
    }
}

impl Family {
    /// A metric without labels starts at zero. A metric with labels starts without samples.
    pub(super) fn new(metric: &'static Metric) -> Self {
        let mut samples = Vec::new();
        if metric.labels.is_empty() {
            samples.push(Sample { labels: Vec::new(), value: Value::zero(metric) });
        }
        Self { metric, samples }
    }

    /// The value with these labels. Beyond [`SERIES_MAX`] samples, new combinations share one
    /// value, whose labels are all [`OTHER`].
    pub(super) fn value(&mut self, labels: &[&str]) -> Option<&mut Value> {
        let count = self.metric.labels.len();
        debug_assert_eq!(labels.len(), count, "{}: labels {labels:?}", self.metric.name);
        let mut at = self.find(labels);
        if at.is_none() && self.samples.len() >= SERIES_MAX {
            let others = vec![OTHER; count];
            at = self.find(&others);
            if at.is_none() {
                at = Some(self.add(&others));
            }
        }
        let at = at.unwrap_or_else(|| self.add(labels));
        self.samples.get_mut(at).map(|sample| &mut sample.value)
    }

    fn find(&self, labels: &[&str]) -> Option<usize> {
        let is_it =
            |sample: &Sample| sample.labels.iter().map(|label| &**label).eq(labels.iter().copied());
        self.samples.iter().position(is_it)
    }

    fn add(&mut self, labels: &[&str]) -> usize {
        let labels = labels.iter().map(|label| (*label).into()).collect();
        self.samples.push(Sample { labels, value: Value::zero(self.metric) });
        self.samples.len().saturating_sub(1)
    }
}

impl Snapshot {
    /// The metrics, sorted by name.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// Adds up the [numbers](Value::number) of all samples that belong to the metric `name` and
    /// have these labels, given as pairs of name and value. 0 if there are none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.families.iter().filter(|family| family.metric.name == name);
        let mut sum = 0.0;
        for family in families {
            let fits = |sample: &&Sample| {
                labels.iter().all(|(label, wanted)| {
                    let mut found = family.metric.labels.iter().zip(&sample.labels);
                    found.any(|(name, value)| name == label && **value == **wanted)
                })
            };
            sum +=
                family.samples.iter().filter(fits).map(|sample| sample.value.number()).sum::<f64>();
        }
        sum
    }

    /// The histogram of this name without labels, if there is one.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Option<&Histogram> {
        let family = self.families.iter().find(|family| family.metric.name == name)?;
        match &family.samples.first()?.value {
            Value::Histogram(histogram) => Some(histogram),
            _ => None,
        }
    }
}

/// Collects a handler's gauges. See [`MessageHandler::gauges`](crate::MessageHandler::gauges).
///
/// ```
/// use maelstrom_core::metrics::{Gauges, Metric};
///
/// static KEYS: Metric = Metric::gauge("book_keys", &[], "Keys in the book.");
///
/// fn gauges(keys: &[&str], gauges: &mut Gauges) {
///     gauges.set_count(&KEYS, keys.len());
/// }
///
/// gauges(&["a", "b"], &mut Gauges::default());
/// assert_eq!(KEYS.documentation(), "| `book_keys` | gauge | | Keys in the book. |");
/// ```
#[derive(Debug, Default)]
pub struct Gauges {
    pub(super) set: Vec<(&'static Metric, Vec<Box<str>>, f64)>,
}

impl Gauges {
    /// Sets a gauge with these label values, in the order of [`Metric::labels`].
    pub fn set(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|label| (*label).into()).collect();
        self.set.push((metric, labels, value));
    }

    /// Sets a gauge without labels to a count.
    pub fn set_count(&mut self, metric: &'static Metric, count: usize) {
        self.set(metric, &[], float(count as u64));
    }
}
