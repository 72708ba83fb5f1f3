//! Splits a sweep over many machines. `SHARD=3/20` runs the third of 20 equal parts of the seeds,
//! and stores the result as JSON. [`merge`] combines the results of all shards.

#![expect(clippy::disallowed_methods, reason = "it reads the environment, and results are files")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{FULL, Finding, Reached, Summary};

/// The folder for results, relative to the folder of the crate.
const FOLDER: &str = "store/shards";

/// The part of a sweep that one machine runs. [`merge`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Its number, from 1.
    pub number: u64,
    /// The number of shards.
    pub of: u64,
}

impl Shard {
    /// The shard that the environment variable `SHARD` names, if it is set.
    ///
    /// # Errors
    ///
    /// A message, if the variable is invalid.
    pub(super) fn from_env() -> Result<Option<Self>, String> {
        let text = std::env::var("SHARD").unwrap_or_default();
        if text.is_empty() { Ok(None) } else { Self::parse(&text).map(Some) }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').map(|(a, b)| (a.parse(), b.parse()));
        match parts {
            Some((Ok(number), Ok(of))) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(format!("SHARD must be like 3/20, the third of 20, not {text:?}")),
        }
    }

    /// The part of this many seeds that the shard runs.
    pub(super) fn part(self, seeds: u64) -> Range<u64> {
        let until = |number: u64| {
            u64::try_from(u128::from(seeds) * u128::from(number) / u128::from(self.of))
                .unwrap_or(seeds)
        };
        until(self.number - 1)..until(self.number)
    }
}

/// The result of one shard, as stored in its file. [`merge`] shows it in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShardResult {
    /// The name of the sweep.
    pub sweep: String,
    /// The shard.
    pub shard: Shard,
    /// How many seeds all shards have together.
    pub seeds: u64,
    /// How many runs of this shard ended well. Fewer than its part if there was a finding.
    pub ran: u64,
    /// How many operations clients began.
    pub operations: u64,
    /// How many messages were sent.
    pub messages: u64,
    /// The marks that the whole sweep must reach.
    pub expected: BTreeSet<String>,
    /// The marks that this shard reached.
    pub marks: BTreeMap<String, Reached>,
    /// The finding of the shard, if it has one.
    pub finding: Option<Found>,
}

/// A finding of a shard. [`merge`] shows it in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Its seed.
    pub seed: u64,
    /// Its full text.
    pub text: String,
}

impl ShardResult {
    pub(super) fn new(
        sweep: &str,
        (shard, seeds): (Shard, u64),
        expected: &[&'static str],
        (summary, finding): (&Summary, Option<&Finding>),
    ) -> Self {
        let name = |mark: &&str| (*mark).to_owned();
        let found = |it: &Finding| Found { seed: it.seed, text: it.text.clone() };
        Self {
            sweep: sweep.to_owned(),
            shard,
            seeds,
            ran: summary.seeds,
            operations: summary.operations,
            messages: summary.messages,
            expected: expected.iter().map(name).collect(),
            marks: summary.marks.iter().map(|(mark, reached)| (name(mark), *reached)).collect(),
            finding: finding.map(found),
        }
    }

    /// Writes the result as a file, and returns its path.
    pub(super) fn write(&self) -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(FOLDER)?;
        let Shard { number, of } = self.shard;
        let path = Path::new(FOLDER).join(format!("{}-{number}-of-{of}.json", self.sweep));
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }
}

/// Reads all results in folders and their subfolders. [`merge`] shows it in use.
///
/// # Errors
///
/// If a folder or a file cannot be read.
pub fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<ShardResult>> {
    let mut all = Vec::new();
    let mut todo: Vec<PathBuf> = paths.to_vec();
    while let Some(path) = todo.pop() {
        let cannot = || format!("cannot read {}", path.display());
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).with_context(cannot)? {
                todo.push(entry.with_context(cannot)?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).with_context(cannot)?;
            all.push(serde_json::from_str(&text).with_context(cannot)?);
        }
    }
    Ok(all)
}

/// Describes the results of all shards, with a paragraph for each sweep. Also returns whether all
/// is well: no finding, no shard missing, and no expected mark missed by a full sweep.
///
/// ```
/// use maelstrom_sim::sweep::shard::{Found, Shard, ShardResult, merge, read_all};
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(
///     folder.path().join("echo-1-of-2.json"),
///     r#"{"sweep": "echo", "shard": {"number": 1, "of": 2}, "seeds": 8, "ran": 4,
///         "operations": 90, "messages": 300, "expected": [], "marks": {}, "finding": null}"#,
/// )?;
/// let first = read_all(&[folder.path().into()])?.remove(0);
/// let second = ShardResult { shard: Shard { number: 2, of: 2 }, ..first.clone() };
/// assert!(merge(&[first.clone(), second.clone()]).1);
/// // The second shard is missing.
/// assert!(!merge(&[first.clone()]).1);
/// let finding = Some(Found { seed: 5, text: "an echo is wrong".into() });
/// assert!(!merge(&[first, ShardResult { finding, ..second }]).1);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[must_use]
pub fn merge(results: &[ShardResult]) -> (String, bool) {
    let mut sweeps: BTreeMap<&str, Vec<&ShardResult>> = BTreeMap::new();
    for result in results {
        sweeps.entry(&result.sweep).or_default().push(result);
    }
    let mut lines = Vec::new();
    let mut is_well = !sweeps.is_empty();
    if sweeps.is_empty() {
        lines.push("there is no result of any shard".to_owned());
    }
    for (sweep, results) in sweeps {
        let sum = |count: fn(&ShardResult) -> u64| results.iter().map(|it| count(it)).sum::<u64>();
        let of = results.iter().map(|it| it.shard.of).max().unwrap_or(0);
        let seeds = results.iter().map(|it| it.seeds).max().unwrap_or(0);
        let there: BTreeSet<u64> = results.iter().map(|it| it.shard.number).collect();
        let missing: Vec<u64> = (1..=of).filter(|number| !there.contains(number)).collect();
        lines.push(format!(
            "{sweep}: {} of {seeds} seeds, {} operations, {} messages",
            sum(|it| it.ran),
            sum(|it| it.operations),
            sum(|it| it.messages)
        ));
        if !missing.is_empty() {
            is_well = false;
            lines.push(format!("  missing: {missing:?} of {of} shards"));
        }
        if there.len() < results.len() {
            is_well = false;
            lines.push("  a shard is there twice".into());
        }
        if results.iter().any(|it| (it.shard.of, it.seeds) != (of, seeds)) {
            is_well = false;
            lines.push("  the shards are not parts of one sweep".into());
        }
        for found in results.iter().filter_map(|it| it.finding.as_ref()) {
            is_well = false;
            let first = found.text.lines().next().unwrap_or_default();
            lines.push(format!("  seed {}: {first}", found.seed));
        }
        let mut marks: BTreeMap<&str, Reached> = BTreeMap::new();
        for (mark, reached) in results.iter().flat_map(|it| &it.marks) {
            marks.entry(mark).or_default().join(reached);
        }
        for (mark, Reached { seeds, times, first }) in &marks {
            let median = match median_until(mark, &results) {
                Some(runs) => format!(", {runs} runs until then in the median of shards"),
                None => String::new(),
            };
            lines.push(format!("  {mark}: {seeds} seeds, {times} times, first {first}{median}"));
        }
        let expected: BTreeSet<&String> = results.iter().flat_map(|it| &it.expected).collect();
        let missed = expected.iter().filter(|mark| !marks.contains_key(mark.as_str()));
        // A shard with a finding stopped early, so it may have missed marks.
        let is_whole = missing.is_empty() && results.iter().all(|it| it.finding.is_none());
        for mark in missed.filter(|_| seeds >= FULL && is_whole) {
            is_well = false;
            lines.push(format!("  not reached: {mark}"));
        }
    }
    (lines.join("\n"), is_well)
}

/// How many runs it takes until the first one reaches a mark, in the median of the shards. A shard
/// without the mark counts as one that takes longest. `None` if fewer than half of them reach it.
fn median_until(mark: &str, results: &[&ShardResult]) -> Option<u64> {
    let until = |result: &&ShardResult| {
        let first = result.marks.get(mark)?.first;
        let start = result.shard.part(result.seeds).start;
        Some(first.saturating_sub(start).saturating_add(1))
    };
    let mut runs: Vec<Option<u64>> = results.iter().map(until).collect();
    runs.sort_by_key(|runs| runs.unwrap_or(u64::MAX));
    runs.get(runs.len().saturating_sub(1) / 2).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_until_a_mark_are_counted_from_the_start_of_each_shard() {
        let shard = |number, first: Option<u64>| {
            let mut summary = Summary::default();
            if let Some(first) = first {
                summary.marks.entry("a").or_default().count(first, 1);
            }
            ShardResult::new("x", (Shard { number, of: 3 }, 300), &[], (&summary, None))
        };
        let three = [shard(3, Some(207)), shard(1, None), shard(2, Some(101))];
        let all: Vec<&ShardResult> = three.iter().collect();
        assert_eq!(median_until("a", &all), Some(8));
        assert_eq!(median_until("b", &all), None);
        assert_eq!(median_until("a", &all[..2]), Some(8));
        assert!(merge(&three).0.contains("first 101, 8 runs until then in the median"));
    }

    #[test]
    fn the_parts_of_a_sweep_are_all_of_it_and_nothing_twice() {
        for (seeds, of) in [(1_000, 7), (3, 20), (u64::MAX, 3), (0, 2)] {
            let parts = (1..=of).map(|number| Shard { number, of }.part(seeds));
            let mut next = 0;
            for part in parts {
                assert_eq!(part.start, next);
                next = part.end;
            }
            assert_eq!(next, seeds);
        }
        assert_eq!(Shard::parse("3/20"), Ok(Shard { number: 3, of: 20 }));
        for bad in ["0/3", "4/3", "3", "a/b", "1/0", ""] {
            assert!(Shard::parse(bad).is_err(), "{bad}");
        }
    }

    fn result(number: u64, mark: Option<&str>) -> ShardResult {
        let mut summary = Summary { seeds: 500, operations: 10, ..Summary::default() };
        if mark == Some("a") {
            summary.marks.entry("a").or_default().count(number, 2);
        }
        let shard = (Shard { number, of: 2 }, 1_000);
        ShardResult::new("echo", shard, &["a"], (&summary, None))
    }

    #[test]
    fn all_shards_together_are_well_if_each_is_and_none_is_missing() {
        let (text, is_well) = merge(&[result(2, Some("a")), result(1, Some("a"))]);
        assert!(is_well, "{text}");
        assert!(text.contains("echo: 1000 of 1000 seeds, 20 operations"), "{text}");
        assert!(text.contains("a: 2 seeds, 4 times, first 1"), "{text}");
        let (text, is_well) = merge(&[result(1, Some("a"))]);
        assert!(!is_well && text.contains("missing: [2] of 2 shards"), "{text}");
        let (text, is_well) = merge(&[result(1, None), result(2, None)]);
        assert!(!is_well && text.contains("not reached: a"), "{text}");
        let mut bad = result(2, Some("a"));
        bad.finding = Some(Found { seed: 7, text: "lost\nmore".into() });
        let (text, is_well) = merge(&[result(1, Some("a")), bad]);
        assert!(!is_well && text.contains("seed 7: lost"), "{text}");
        let (text, is_well) = merge(&[result(1, Some("a")), result(2, None), result(2, Some("a"))]);
        assert!(!is_well && text.contains("a shard is there twice"), "{text}");
        assert!(!merge(&[]).1);
    }

    #[test]
    fn results_are_read_from_all_folders() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let text = serde_json::to_string(&result(1, Some("a"))).unwrap();
        std::fs::write(below.join("x.json"), &text).unwrap();
        std::fs::write(below.join("y.txt"), "no result").unwrap();
        let all = read_all(&[folder.path().to_owned()]).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].marks["a"].times, 2);
        std::fs::write(below.join("z.json"), "{}").unwrap();
        assert!(read_all(&[folder.path().to_owned()]).is_err());
    }
}
