//! The marks that a sweep reached, and the expected ones that it missed.

use serde::{Deserialize, Serialize};

use super::{FULL, Summary};

/// How often a mark was reached. [`Summary`] shows it in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// In how many runs.
    pub seeds: u64,
    /// How often in all runs together.
    pub times: u64,
    /// The lowest seed that reached it.
    pub first: u64,
}

impl Reached {
    pub(super) fn count(&mut self, seed: u64, times: u64) {
        self.first = if self.seeds == 0 { seed } else { self.first.min(seed) };
        self.seeds += 1;
        self.times += times;
    }
}

impl Reached {
    /// Merges the counts of two sweeps over different seeds.
    pub(super) fn join(&mut self, other: &Self) {
        self.first = if self.seeds == 0 { other.first } else { self.first.min(other.first) };
        self.seeds += other.seeds;
        self.times += other.times;
    }
}

/// A Markdown table of the expected marks and of those that were reached. Empty if there are none.
pub(super) fn table(name: &str, expected: &[&'static str], summary: &Summary) -> String {
    let mut all: Vec<&str> = expected.iter().chain(summary.marks.keys()).copied().collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return String::new();
    }
    let width = all.iter().map(|mark| mark.len()).max().unwrap_or(0);
    let mut lines = vec![
        format!(
            "| {:<width$} | {:>8} | {:>9} | {:>8} |",
            format!("mark ({name})"),
            "seeds",
            "times",
            "first"
        ),
        format!("|{:-<w$}|{:->9}:|{:->10}:|{:->9}:|", "", "", "", "", w = width + 2),
    ];
    for mark in all {
        let Reached { seeds, times, first } = summary.marks.get(mark).copied().unwrap_or_default();
        let first = if seeds == 0 { "–".to_owned() } else { first.to_string() };
        lines.push(format!("| {mark:<width$} | {seeds:>8} | {times:>9} | {first:>8} |"));
    }
    lines.join("\n")
}

/// Describes the expected marks that no seed reached, if the sweep was a full one.
pub(super) fn missed(expected: &[&'static str], summary: &Summary, seeds: u64) -> Option<String> {
    let missed = expected.iter().filter(|mark| !summary.marks.contains_key(*mark));
    let missed: Vec<&str> = missed.copied().collect();
    let text = || format!("no seed of {seeds} reached these marks: {missed:?}");
    (seeds >= FULL && !missed.is_empty()).then(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(marks: &[(&'static str, u64)]) -> Summary {
        let mut summary = Summary::default();
        for (name, seed) in marks {
            summary.marks.entry(name).or_default().count(*seed, 2);
        }
        summary
    }

    #[test]
    fn a_full_sweep_must_reach_the_marks_that_it_expects() {
        let some = summary(&[("a", 7), ("a", 3)]);
        assert_eq!(missed(&["a", "b"], &some, FULL - 1), None);
        let text = missed(&["a", "b"], &some, FULL).unwrap();
        assert!(text.contains(r#"["b"]"#), "{text}");
        assert_eq!(missed(&["a"], &some, FULL), None);
        assert_eq!(missed(&[], &some, FULL), None);
    }

    #[test]
    fn the_table_tells_how_often_and_where_first() {
        let text = table("x", &["a", "b"], &summary(&[("a", 7), ("a", 3)]));
        let rows: Vec<Vec<&str>> =
            text.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
        assert_eq!(rows[2][1..5], ["a", "2", "4", "3"]);
        assert_eq!(rows[3][1..5], ["b", "0", "0", "–"]);
        assert_eq!(table("x", &[], &summary(&[])), "");
    }
}
