//! Coverage-guided sweeps (`GUIDED=1`): half of the runs are variations of earlier runs that reached
//! rare [marks](maelstrom_core::Node::mark).
//!
//! A sweep runs in generations:
//!
//! 1. [`Plans::next`] plans the runs of a generation. Every second one is the next seed of the
//!    sweep. The others are [variations](vary) of runs that the [`Corpus`] draws, or next seeds as
//!    well while the corpus is empty.
//! 2. [`together`] runs them on all processors.
//! 3. The corpus gets the marks of each run, in the order of their numbers.
//!
//! So nothing depends on how fast a run is or how many processors there are: the same seeds give
//! the same runs on every machine.

#![expect(clippy::disallowed_methods, reason = "a generation runs on threads")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use maelstrom_core::{MessageHandler, NodeId};

use super::case::{BUDGET, Case, Finding};
use super::changes::Changes;
use super::corpus::{Corpus, Planned};
use super::replay::Replay;
use super::shrunk::{file_in_env, varied_file};
use super::vary::vary;
use super::{Summary, Sweep};
use crate::nemesis::Fault;
use crate::rng::{self, Stream};
use crate::test::Test;

/// How many runs a generation has. The corpus learns between generations.
const GENERATION: usize = 16;

impl Sweep {
    /// Runs as many runs as there are seeds, half of them variations. Returns the summary of all
    /// runs that ended well before the first finding, and that finding. In the summary a run has
    /// the number `seeds.start` plus how many were before it.
    pub(super) fn run_guided<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        seeds: Range<u64>,
        case: impl Fn(Test) -> Case<B> + Sync,
        done: impl Fn(u64) + Sync,
    ) -> (Summary, Option<Box<Finding>>) {
        let replay = Replay::here();
        let mut plans = Plans { next_seed: seeds.start, number: seeds.start, ..Plans::default() };
        let mut summary = Summary::default();
        while plans.number < seeds.end {
            let plan = |rng: &mut _, parent: &Planned| self.variation(parent, &case, rng);
            let planned = plans.next(seeds.end, plan);
            let outcomes = together(planned.len(), &|nth| {
                let (number, planned) = planned.get(nth)?;
                let outcome = self.run_planned(name, (*number, planned), &case, &replay);
                done(*number);
                Some(outcome)
            });
            for ((_, planned), outcome) in planned.into_iter().zip(outcomes.into_iter().flatten()) {
                match outcome {
                    Ok(one) => {
                        summary.varied += u64::from(planned.changes != Changes::default());
                        let marks = one.marks.keys().copied().collect();
                        summary.join(&one);
                        plans.corpus.add(planned, marks);
                    }
                    Err(finding) => return (summary, Some(finding)),
                }
            }
        }
        (summary, None)
    }

    /// Runs a planned run. Returns the summary of this run alone.
    fn run_planned<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        (number, Planned { seed, changes }): (u64, &Planned),
        case: impl Fn(Test) -> Case<B>,
        replay: &Replay,
    ) -> Result<Summary, Box<Finding>> {
        let outcome = if *changes == Changes::default() {
            case(self.test_for(*seed)).run_for(name, replay)
        } else {
            let again = replay.again(&file_in_env(&varied_file(name, *seed)));
            let case = self.changed(*seed, changes, case);
            case.run_within(name, BUDGET, again)
        };
        match outcome {
            Ok((world, _)) => {
                let mut summary = Summary::default();
                summary.count_as(number, &world);
                Ok(summary)
            }
            Err(mut finding) => {
                finding.changes = changes.clone();
                Err(finding)
            }
        }
    }

    /// Varies a run: see [`vary`].
    fn variation<B>(
        &self,
        Planned { seed, changes }: &Planned,
        case: impl Fn(Test) -> Case<B>,
        rng: &mut rng::SimRng,
    ) -> Planned {
        let options = self.changed(*seed, changes, &case).test.options;
        // The case says which faults it takes, if it is offered all.
        let mut all = self.test_for(*seed);
        all.options.nemesis.extend(&self.faults);
        let kinds: BTreeSet<Fault> = case(all).test.options.nemesis;
        Planned { seed: *seed, changes: vary(changes, &options, &kinds, rng) }
    }
}

/// Plans the runs of a guided sweep.
#[derive(Default)]
struct Plans {
    corpus: Corpus,
    /// The next seed without changes.
    next_seed: u64,
    /// The number of the next run.
    number: u64,
}

impl Plans {
    /// Plans the next generation, of the runs before the number `end`. Each has its number.
    fn next(
        &mut self,
        end: u64,
        mut vary: impl FnMut(&mut rng::SimRng, &Planned) -> Planned,
    ) -> Vec<(u64, Planned)> {
        let mut planned = Vec::with_capacity(GENERATION);
        while planned.len() < GENERATION && self.number < end {
            let mut rng = rng::stream(self.number, Stream::Variation);
            let is_variation = !self.number.is_multiple_of(2);
            let parent = self.corpus.choose(&mut rng).filter(|_| is_variation);
            let run = parent.map(|parent| vary(&mut rng, parent)).unwrap_or_else(|| {
                let seed = self.next_seed;
                self.next_seed = seed.saturating_add(1);
                Planned { seed, ..Planned::default() }
            });
            planned.push((self.number, run));
            self.number = self.number.saturating_add(1);
        }
        planned
    }
}

/// Calls `run` with each number below `count`, on all processors. Returns the results in the order
/// of their numbers.
fn together<T: Send>(count: usize, run: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
    let work = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= count {
                return;
            }
            let result = run(nth);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((nth, result));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(nth, _)| *nth);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
