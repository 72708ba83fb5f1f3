//! The figures of a test, with their limits.

use serde_json::Value;

use super::propagation::Propagation;
use crate::history::OpType;
use crate::limits::{Figures, Limits};
use crate::options::Availability;
use crate::results::Results;
use crate::world::World;

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// Its name.
    pub(super) name: &'static str,
    /// Its value, with its unit.
    pub(super) value: String,
    /// Its limit, if it has one.
    pub(super) limit: Option<String>,
    /// Whether it misses its limit.
    pub(super) is_missed: bool,
    /// Its meaning.
    pub(super) about: String,
}

/// All figures of a test.
pub(super) fn figures(world: &World, results: &Results, limits: &Limits) -> Vec<Figure> {
    let figures = Figures::of_results(results);
    let mut all = Vec::new();
    let mut add = |name, value: Option<String>, limit: Option<String>, is_missed, about: &str| {
        let about = about.to_owned();
        // An unknown figure misses its limit.
        let value = value.or_else(|| limit.is_some().then(|| "unknown".to_owned()));
        all.extend(value.map(|value| Figure { name, value, limit, is_missed, about }));
    };
    let tally = world.history().tally();
    let (ok, fail, info) = (tally.ok, tally.fail, tally.info);
    let text = format!("{ok} ok, {fail} failed, {info} of unknown outcome");
    add(
        "operations",
        Some(text),
        None,
        false,
        "An operation of unknown outcome may have happened.",
    );
    let expected = world.options().availability;
    let limit = expected.map(|expected| match expected {
        Availability::Total => "= 1".to_owned(),
        Availability::AtLeast(min) => format!("≥ {min}"),
    });
    let is_missed = results.availability.get("valid?") == Some(&Value::Bool(false));
    let value = figures.ok_fraction.map(|fraction| format!("{fraction:.4}"));
    let about = "The part of all operations that succeeded.";
    add("availability", value, limit, is_missed, about);
    let below = |limit: Option<f64>, unit: &str| limit.map(|limit| format!("< {limit}{unit}"));
    let missed = |value: Option<f64>, limit: Option<f64>| match (value, limit) {
        (Some(value), Some(limit)) => value >= limit,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    let value = figures.msgs_per_op.map(|n| format!("{n:.3}"));
    let is_missed = missed(figures.msgs_per_op, limits.max_msgs_per_op);
    let about = "Messages between nodes, and between nodes and services, for each operation.";
    add(
        "server messages per operation",
        value,
        below(limits.max_msgs_per_op, ""),
        is_missed,
        about,
    );
    let sent = world.net_stats().servers.sent;
    add("server messages", Some(sent.to_string()), None, false, "The same, over the whole test.");
    let ms = |value: Option<f64>| value.map(|ms| format!("{ms:.0} ms"));
    let is_missed = missed(figures.median_ms, limits.max_median_ms);
    let about = "From the acknowledgement of a value to the start of the last read that missed it. A \
                 node in Maelstrom's network reads a waiting message first, so this leaves out the \
                 last hop.";
    let limit = below(limits.max_median_ms, " ms");
    add("stable latency, median", ms(figures.median_ms), limit, is_missed, about);
    let is_missed = missed(figures.max_ms, limits.max_latency_ms);
    let limit = below(limits.max_latency_ms, " ms");
    add("stable latency, largest", ms(figures.max_ms), limit, is_missed, "The same.");
    all.extend(propagation_figures(world));
    all.extend(latency_figures(world));
    all
}

/// How long values took to all nodes, if the trace shows it.
fn propagation_figures(world: &World) -> Vec<Figure> {
    let Some(all) = Propagation::of(world) else { return Vec::new() };
    let parts = [
        ("true propagation latency, median", 500, all.about()),
        ("true propagation latency, largest", 1_000, "The same.".to_owned()),
    ];
    let covered = match (all.values.len(), all.missing) {
        (_, 0) => String::new(),
        (known, missing) => format!(" ({known} of {} values)", known + missing),
    };
    let figure = |(name, part, about)| {
        let value = format!("{:.0} ms{covered}", all.quantile_ms(part)?);
        Some(Figure { name, value, limit: None, is_missed: false, about })
    };
    parts.into_iter().filter_map(figure).collect()
}

/// How long operations took that succeeded.
fn latency_figures(world: &World) -> Vec<Figure> {
    let mut latencies = latencies(world);
    latencies.sort_unstable();
    let about = "From an operation's beginning to its end, of those that succeeded.";
    let figure = |(name, part): (&'static str, usize)| {
        let at = (latencies.len() * part / 1_000).min(latencies.len().saturating_sub(1));
        let value = milliseconds(*latencies.get(at)?);
        Some(Figure { name, value, limit: None, is_missed: false, about: about.to_owned() })
    };
    [("latency, median", 500), ("latency, 99 %", 990)].into_iter().filter_map(figure).collect()
}

/// The latency of each successful operation, in microseconds.
fn latencies(world: &World) -> Vec<u128> {
    let history = world.history();
    let ok = history.client_ops().filter(|op| op.kind == OpType::Ok);
    ok.filter_map(|end| Some((end.time.saturating_sub(history.invocation(end)?.time)).as_micros()))
        .collect()
}

fn milliseconds(micros: u128) -> String {
    format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10)
}
