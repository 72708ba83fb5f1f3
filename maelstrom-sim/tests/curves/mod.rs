//! The costs of a cluster as curves: server messages per operation against the number of nodes, the
//! rate of operations, and the latency of a hop. One axis varies, and the others stay where they are.
//!
//! A test runs a few points. With `CURVES=1` it runs all and prints them as a Markdown table, from
//! which `scripts/curves` draws a picture.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::Duration;

use maelstrom_sim::options::{Latency, LatencyDist, Options};

/// One size of a cluster, with its load and its network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) nodes: u32,
    /// Operations a second.
    pub(crate) rate: u32,
    pub(crate) hop_ms: u32,
}

const DEFAULT: Point = Point { nodes: 5, rate: 100, hop_ms: 10 };

impl Point {
    /// The points of all curves, with the name of the axis that varies.
    fn all() -> Vec<(&'static str, Self)> {
        let nodes = [2, 3, 5, 10, 25].map(|nodes| ("nodes", Self { nodes, ..DEFAULT }));
        let rates = [10, 100, 1_000].map(|rate| ("rate", Self { rate, ..DEFAULT }));
        let hops = [1, 10, 100].map(|hop_ms| ("latency", Self { hop_ms, ..DEFAULT }));
        nodes.into_iter().chain(rates).chain(hops).collect()
    }

    /// A few points that are quick to run: the middle of all axes, and an end of each.
    fn few() -> Vec<(&'static str, Self)> {
        vec![
            ("nodes", Self { nodes: 2, ..DEFAULT }),
            ("nodes", DEFAULT),
            ("rate", Self { rate: 10, ..DEFAULT }),
            ("latency", Self { hop_ms: 100, ..DEFAULT }),
        ]
    }

    /// The options of a run: a constant latency, and disks that take no time.
    pub(crate) fn options(self, time_limit: Duration) -> Options {
        let latency = Latency { mean_ms: self.hop_ms.into(), dist: LatencyDist::Constant };
        let rate = self.rate.into();
        let sync_max = Some(Duration::ZERO);
        let options = Options::default().with_node_count(usize::try_from(self.nodes).unwrap());
        Options { rate, latency, time_limit, sync_max, ..options }
    }

    /// The cost with the gossip engine, where `writes` is the fraction of operations that write. By
    /// the formula, the hub and each leaf send a message a period on each of the n − 1 links. The
    /// refined formula leaves out the messages without news: writes come by chance, so a period may
    /// have none.
    pub(crate) fn gossip(self, period_min: Duration, writes: f64) -> Costs {
        let learned = f64::from(self.hop_ms) / 1_000.0 * 2.0 * 2.27;
        let operations = learned.max(period_min.as_secs_f64()) * f64::from(self.rate);
        let (nodes, links) = (f64::from(self.nodes), f64::from(self.nodes - 1));
        let chance_of_any = |writes: f64| 1.0 - (-writes).exp();
        let hub = chance_of_any(writes * operations);
        let leaf = chance_of_any(writes * operations / nodes);
        let formula = 2.0 * links / operations;
        Costs { formula, refined: links * (hub + leaf) / operations }
    }
}

/// The cost of an operation in theory, in server messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// The formula of the chapter.
    pub(crate) formula: f64,
    /// The same with all known corrections.
    pub(crate) refined: f64,
}

/// Whether to run all points, and at length.
#[expect(clippy::disallowed_methods, reason = "a test has no other command line")]
pub(crate) fn is_full() -> bool {
    std::env::var("CURVES").is_ok_and(|text| !text.is_empty())
}

/// Runs the points. Each figure must be a multiple of the refined formula in this range. Returns the
/// table.
pub(crate) fn check(
    name: &str,
    allowed: RangeInclusive<f64>,
    measure: impl Fn(Point) -> f64,
    theory: impl Fn(Point) -> Costs,
) -> String {
    let points = if is_full() { Point::all() } else { Point::few() };
    let mut table = format!("Costs of {name}, in server messages per operation:\n\n");
    table += "| axis | nodes | operations a second | latency of a hop | measured | formula | refined |\n";
    table += "|---|--:|--:|--:|--:|--:|--:|\n";
    let mut wrong = Vec::new();
    for (axis, point) in points {
        let Point { nodes, rate, hop_ms } = point;
        let (measured, Costs { formula, refined }) = (measure(point), theory(point));
        let costs = [measured, formula, refined].map(rounded).join(" | ");
        writeln!(table, "| {axis} | {nodes} | {rate} | {hop_ms} ms | {costs} |").unwrap();
        if !allowed.contains(&(measured / refined)) {
            wrong.push(format!("{point:?}: {:.2} times the refined formula", measured / refined));
        }
    }
    assert!(
        wrong.is_empty(),
        "not within {allowed:?} times the refined formula: {wrong:#?}\n{table}"
    );
    table
}

/// A number with three digits that count.
fn rounded(number: f64) -> String {
    let decimals = if number >= 10.0 {
        1
    } else if number >= 1.0 {
        2
    } else {
        3
    };
    format!("{number:.decimals$}")
}
