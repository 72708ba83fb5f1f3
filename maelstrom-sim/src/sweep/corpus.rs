//! The runs of a coverage-guided sweep that are worth a variation: those that reached rare marks.
//!
//! A mark that `n` runs reached is worth `1/n` to each of them. The corpus keeps the runs whose marks
//! are worth most together. To draw a run, it first draws a mark, in proportion to its worth, and
//! then any of the runs with that mark. So a mark that was new draws many variations, and fewer of
//! them once they have reached it often.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::changes::Changes;
use crate::rng::SimRng;

/// The most runs that a corpus keeps.
pub(super) const ENTRIES_MAX: usize = 64;

/// The worth of a mark that only one run reached. Whole numbers are the same on every machine.
const SCALE: u64 = 1_000_000;

/// A run of a guided sweep: a seed, and the differences from its original run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Planned {
    pub(super) seed: u64,
    pub(super) changes: Changes,
}

#[derive(Debug, Default)]
pub(super) struct Corpus {
    /// Each run, with the marks that it reached. In the order in which they came.
    entries: Vec<(Planned, Vec<&'static str>)>,
    /// How many runs reached each mark.
    counts: BTreeMap<&'static str, u64>,
}

impl Corpus {
    /// Counts the marks of a run, and keeps it if it is worth more than another one.
    pub(super) fn add(&mut self, run: Planned, marks: Vec<&'static str>) {
        for mark in &marks {
            let count = self.counts.entry(mark).or_default();
            *count = count.saturating_add(1);
        }
        if marks.is_empty() {
            return;
        }
        self.entries.push((run, marks));
        if self.entries.len() > ENTRIES_MAX {
            let worths = self.entries.iter().map(|(_, marks)| self.worth(marks));
            let least = worths.enumerate().min_by_key(|(_, worth)| *worth);
            if let Some((nth, _)) = least {
                self.entries.remove(nth);
            }
        }
    }

    /// Draws a run, one of rare marks more often.
    pub(super) fn choose(&self, rng: &mut SimRng) -> Option<&Planned> {
        let marks: BTreeSet<&'static str> =
            self.entries.iter().flat_map(|(_, marks)| marks).copied().collect();
        let marks: Vec<&'static str> = marks.into_iter().collect();
        let sum = self.worth(&marks);
        let mut left = (sum > 0).then(|| rng.random_range(0..sum))?;
        let drawn = marks.iter().find(|mark| match left.checked_sub(self.worth(&[mark])) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })?;
        let with_it = self.entries.iter().filter(|(_, marks)| marks.contains(drawn));
        let with_it: Vec<&Planned> = with_it.map(|(run, _)| run).collect();
        with_it.choose(rng).copied()
    }

    /// The worth of these marks together.
    fn worth(&self, marks: &[&'static str]) -> u64 {
        let worth = |mark| SCALE / self.counts.get(mark).copied().unwrap_or(1).max(1);
        marks.iter().fold(0, |sum: u64, mark| sum.saturating_add(worth(mark)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, stream};

    fn run(seed: u64) -> Planned {
        Planned { seed, ..Planned::default() }
    }

    /// A corpus after 1,000 runs with a common mark, of which number 17 also reached a rare one.
    fn corpus() -> Corpus {
        let mut corpus = Corpus::default();
        for seed in 0..1_000 {
            let marks = if seed == 17 { vec!["common", "rare"] } else { vec!["common"] };
            corpus.add(run(seed), marks);
        }
        corpus
    }

    #[test]
    fn a_corpus_is_bounded_and_keeps_rare_runs() {
        let corpus = corpus();
        assert_eq!(corpus.entries.len(), ENTRIES_MAX);
        assert!(corpus.entries.iter().any(|(run, _)| run.seed == 17));
        assert_eq!(corpus.counts, [("common", 1_000), ("rare", 1)].into());
    }

    #[test]
    fn a_run_with_a_rare_mark_is_drawn_more_often_until_the_mark_is_common() {
        let share = |corpus: &Corpus| {
            let mut rng = stream(1, Stream::Variation);
            let drawn = (0..1_000).filter_map(|_| corpus.choose(&mut rng));
            drawn.filter(|run| run.seed == 17).count()
        };
        let mut corpus = corpus();
        assert!(share(&corpus) > 800, "{}", share(&corpus));
        for seed in 1_000..1_100 {
            corpus.add(run(seed), vec!["rare"]);
        }
        assert!((1..200).contains(&share(&corpus)), "{}", share(&corpus));
    }

    #[test]
    fn a_run_without_marks_is_not_kept() {
        let mut corpus = Corpus::default();
        corpus.add(run(1), Vec::new());
        assert_eq!(corpus.choose(&mut stream(1, Stream::Variation)), None);
    }
}
