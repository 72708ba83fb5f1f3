//! Prometheus' text format, written with the functions of `metrics-exporter-prometheus`.
//!
//! The recorder of that crate does not fit: it is global to the process, reads the clock itself,
//! and its histograms store single observations. Here each node counts for itself, so that a
//! simulator can hold many nodes and replay them.

use ::metrics::{Key, Label};
use metrics_exporter_prometheus::LabelSet;
use metrics_exporter_prometheus::formatting::{
    write_help_line, write_metric_line, write_type_line,
};

use crate::metrics::{Family, Snapshot, Value};

/// All metrics as text.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for family in snapshot.families() {
        write_family(&mut out, family);
    }
    out
}

fn write_family(out: &mut String, family: &Family) {
    let metric = family.metric;
    write_help_line(out, metric.name, None, None, metric.help);
    write_type_line(out, metric.name, None, None, metric.kind.name());
    for sample in &family.samples {
        let named = metric.labels.iter().zip(&sample.labels);
        let labels: Vec<Label> =
            named.map(|(name, value)| Label::new(*name, String::from(&**value))).collect();
        let key = Key::from_parts(metric.name, labels);
        let labels = LabelSet::from_key_and_global(&key, &Default::default());
        let mut write = |suffix, le: Option<String>, value: &dyn std::fmt::Display| {
            let le = le.map(|le| ("le", le));
            write_metric_line(out, metric.name, suffix, &labels, le, value, None);
        };
        match &sample.value {
            Value::Counter(count) => write(None, None, count),
            Value::Gauge(value) => write(None, None, value),
            Value::Histogram(histogram) => {
                for (bound, count) in histogram.cumulative() {
                    let le = if bound.is_finite() { bound.to_string() } else { "+Inf".into() };
                    write(Some("bucket"), Some(le), &count);
                }
                write(Some("sum"), None, &histogram.sum());
                write(Some("count"), None, &histogram.count());
            }
        }
    }
}
