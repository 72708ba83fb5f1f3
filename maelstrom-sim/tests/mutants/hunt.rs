//! Measures how many seeds it takes to find a broken handler, and by which anomaly or figure.
//!
//! Each mutant is hunted from several starting seeds, on disjoint ranges. Prints a row of a table:
//! workload, mutant, sign, the median number of seeds, and the maximum. All rows:
//! `make hunts HUNTS=21 | grep '^|'`.

#[path = "shrunk.rs"]
mod shrunk;

use std::collections::BTreeSet;

use maelstrom_core::{MessageHandler, NodeId};
use maelstrom_sim::checker::Verdict;
use maelstrom_sim::results::Results;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::Sweep;

/// How many seeds a hunt may take, from any starting seed.
const SEEDS_MAX: u64 = 100;

/// The first seed that shows the sign of a mutant, where many others do not. A single hunt begins
/// there, unless `HUNTS` asks for hunts.
const KNOWN: [(&str, &str, u64); 15] = [
    ("old leader not fenced", "inconsistent-offsets", 17),
    ("tell once, never again", "lost-count", 9),
    ("half a transaction visible", "fractured-read", 6),
    ("half a transaction visible", "non-atomic-view", 8),
    ("reads outside of a snapshot", "fractured-read", 16),
    ("replies first, power loss", "duplicated-count", 7),
    ("times as ids, drift", "duplicated-count", 15),
    ("an unfenced leader, slow link", "duplicated-count", 6),
    ("an unfenced leader, slow disk", "duplicated-count", 16),
    ("seen before the whole transaction ran", "G1b", 4),
    ("last writer wins without a tie-break", "divergence", 2),
    ("no isolation", "G1b", 2),
    ("only its own log on record", "lost-own-write", 2),
    ("effects before their causes", "causal-violation", 38),
    ("a tie is broken by arrival", "divergence", 2),
];

/// The distance between their starting seeds.
const RANGE: u64 = 1_000;

/// Asserts that a sweep catches a mutant, with `sign` in the results: an anomaly, or a figure that
/// is not zero.
pub(crate) fn is_caught<H: MessageHandler>(
    sweep: &Sweep,
    mutant: &str,
    sign: &str,
    build: impl Fn(&NodeId) -> H,
) {
    let shows = |results: &Results| {
        results.workload.valid == Verdict::Invalid && signs(results).contains(sign)
    };
    is_caught_when(sweep, mutant, sign, shows, &build);
    shrunk::row(sweep, mutant, 0, build);
}

/// The same, with a function `shows` that recognizes the sign.
pub(crate) fn is_caught_when<H: MessageHandler>(
    sweep: &Sweep,
    mutant: &str,
    sign: &str,
    shows: impl Fn(&Results) -> bool,
    build: impl Fn(&NodeId) -> H,
) {
    let hunt = |start: u64| {
        let shows = |seed: &u64| shows(&simulate(sweep.test_for(*seed), &build).results());
        let caught = (start..start + SEEDS_MAX).find(shows);
        let caught = caught.unwrap_or_else(|| panic!("{mutant}: no {sign} from seed {start} on"));
        caught - start + 1
    };
    let mut seeds: Vec<u64> = match crate::seeds::number_from_env("HUNTS") {
        Some(hunts) => (0..hunts).map(|nth| hunt(nth * RANGE)).collect(),
        None => {
            let known = KNOWN.iter().find(|(name, of_it, _)| (*name, *of_it) == (mutant, sign));
            let first = known.map_or(0, |(_, _, first)| *first);
            vec![first + hunt(first)]
        }
    };
    seeds.sort_unstable();
    let (median, worst) = (seeds[seeds.len() / 2], seeds[seeds.len() - 1]);
    println!("| {} | {mutant} | {sign} | {median} | {worst} |", sweep.workload.name());
}

/// All anomalies, and all figures that are not zero.
fn signs(results: &Results) -> BTreeSet<&str> {
    let fields = results.workload.fields.iter();
    let not_zero = fields.filter(|(_, value)| {
        let count = value.as_u64().or_else(|| value["count"].as_u64());
        let list = value.as_array().is_some_and(|list| !list.is_empty());
        list || count.is_some_and(|count| count > 0)
    });
    let anomalies = results.workload.fields.get("anomaly-types").and_then(|list| list.as_array());
    let anomalies = anomalies.into_iter().flatten().filter_map(|name| name.as_str());
    not_zero.map(|(name, _)| name.as_str()).chain(anomalies).collect()
}
