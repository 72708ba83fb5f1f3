//! Searches for a smaller run. The search is a pure function of the options and the outcome of each
//! run.
//!
//! A candidate is the run of the same seed with some [`Changes`]. The search keeps it if it shows
//! the same kind of finding and is not larger. Each change removes something, so the search ends.

use std::collections::BTreeSet;

use super::changes::{Changes, Unit, faults, kind, schedule};
use super::ddmin::ddmin;
use super::kind::{Kind, Size};
use crate::options::{LatencyDist, Options};

/// The shortest time limit that the search tries.
const TIME_LIMIT_MIN_MS: u64 = 50;

/// The kind and the size of a failing run.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) size: Size,
    /// How many operations were drawn for clients. Counts those that were skipped, too.
    pub(super) drawn: u64,
}

/// The smallest run that the search found.
#[derive(Clone, Debug)]
pub(super) struct Smallest {
    pub(super) changes: Changes,
    pub(super) size: Size,
    /// How many candidates ran.
    pub(super) runs: u64,
}

/// Searches for a smaller run with the same kind of finding as `first`. That is the finding of the
/// run of a seed with these options and the changes `best`. `run` returns the finding of a
/// candidate, if it has one. The search calls `may_go_on` before each candidate, and stops if it
/// returns false.
pub(super) fn shrink(
    options: &Options,
    (best, first): (Changes, Found),
    may_go_on: impl FnMut() -> bool,
    run: impl FnMut(&Changes) -> Option<Found>,
) -> Smallest {
    let (tried, runs, is_over) = (BTreeSet::new(), 0, false);
    let mut search = Search { options, best, found: first, may_go_on, run, tried, runs, is_over };
    loop {
        let before = search.best.clone();
        search.round();
        if search.is_over || search.best == before {
            break;
        }
    }
    Smallest { changes: search.best, size: search.found.size, runs: search.runs }
}

struct Search<'a, G, R> {
    options: &'a Options,
    /// The best candidate so far, and its finding.
    best: Changes,
    found: Found,
    may_go_on: G,
    run: R,
    /// All candidates so far, as JSON.
    tried: BTreeSet<String>,
    runs: u64,
    is_over: bool,
}

impl<G: FnMut() -> bool, R: FnMut(&Changes) -> Option<Found>> Search<'_, G, R> {
    /// Tries each kind of change. Those that remove most come first, which makes the later runs
    /// faster.
    fn round(&mut self) {
        self.fewer_nodes();
        self.no_faults();
        self.shorter();
        self.fewer_threads();
        self.simpler_latency();
        self.lower_rate();
        self.fewer_faults();
        self.fewer_operations();
        self.shorter();
    }

    /// Runs a candidate, and keeps it if it is not larger and has the same kind of finding.
    fn attempt(&mut self, candidate: Changes) -> bool {
        // Serialization cannot fail: every option has a JSON form.
        let text = serde_json::to_string(&candidate).unwrap_or_default();
        if candidate == self.best || !self.tried.insert(text) {
            return false;
        }
        self.is_over = self.is_over || !(self.may_go_on)();
        if self.is_over {
            return false;
        }
        self.runs += 1;
        let Some(found) = (self.run)(&candidate) else {
            return false;
        };
        let is_kept =
            found.kind == self.found.kind && found.size.weight() <= self.found.size.weight();
        if is_kept {
            (self.best, self.found) = (candidate, found);
        }
        is_kept
    }

    /// The options of the best candidate.
    fn present(&self) -> Options {
        let mut options = self.options.clone();
        self.best.apply(&mut options);
        options
    }

    fn fewer_nodes(&mut self) {
        let Options { nodes, concurrency, .. } = self.present();
        for count in 1..nodes.len() {
            // Some workloads require a multiple of the number of nodes.
            let threads = concurrency.saturating_mul(count).div_ceil(nodes.len()).max(count);
            let concurrency = Some(threads.min(concurrency));
            if self.attempt(Changes { nodes: Some(count), concurrency, ..self.best.clone() }) {
                return;
            }
        }
    }

    fn no_faults(&mut self) {
        if self.found.size.faults > 0 {
            self.attempt(Changes { schedule: Some(Vec::new()), ..self.best.clone() });
        }
    }

    /// Halves the time limit as often as possible, then removes smaller parts.
    fn shorter(&mut self) {
        for (part, whole) in [(1, 2), (3, 4), (7, 8), (15, 16)] {
            loop {
                let limit = u64::try_from(self.present().time_limit.as_millis()).unwrap_or(0);
                let shorter = limit.saturating_mul(part) / whole;
                let time_limit_ms = Some(shorter);
                if shorter < TIME_LIMIT_MIN_MS
                    || !self.attempt(Changes { time_limit_ms, ..self.best.clone() })
                {
                    break;
                }
            }
        }
    }

    fn fewer_threads(&mut self) {
        let threads = self.present().concurrency;
        let smaller = [1, threads / 4, threads / 2, threads.saturating_sub(1)];
        let mut smaller: Vec<usize> =
            smaller.into_iter().filter(|count| (1..threads).contains(count)).collect();
        smaller.dedup();
        for count in smaller {
            if self.attempt(Changes { concurrency: Some(count), ..self.best.clone() }) {
                return;
            }
        }
    }

    fn simpler_latency(&mut self) {
        let latency = self.present().latency;
        let is_simple =
            |mean_ms| latency.dist == LatencyDist::Constant && latency.mean_ms == mean_ms;
        for ms in [0, latency.mean_ms] {
            if !is_simple(ms) && self.attempt(Changes { latency_ms: Some(ms), ..self.best.clone() })
            {
                return;
            }
        }
    }

    /// Halves the rate as often as possible. A new rate changes the operations that are drawn, so
    /// this comes before the search for unnecessary operations.
    fn lower_rate(&mut self) {
        while self.best.operations.is_none() {
            #[expect(clippy::cast_possible_truncation, reason = "a rate is far below 2^32")]
            #[expect(clippy::cast_sign_loss, reason = "a rate is not negative")]
            let half = (self.present().rate / 2.0).round() as u32;
            let rate = Some(half);
            if half == 0 || !self.attempt(Changes { rate, ..self.best.clone() }) {
                break;
            }
        }
    }

    /// Removes kinds of faults, then single faults.
    fn fewer_faults(&mut self) {
        let all = faults(&self.present());
        for name in all.iter().filter_map(kind).collect::<BTreeSet<_>>() {
            let mut others = faults(&self.present());
            others.retain(|unit| kind(unit) != Some(name));
            self.attempt_faults(&others);
        }
        ddmin(&faults(&self.present()), |units| self.attempt_faults(units));
    }

    fn attempt_faults(&mut self, units: &[Unit]) -> bool {
        self.attempt(Changes { schedule: Some(schedule(units)), ..self.best.clone() })
    }

    fn fewer_operations(&mut self) {
        let kept = |search: &Self| match &search.best.operations {
            Some(kept) => kept.iter().copied().filter(|n| *n < search.found.drawn).collect(),
            None => (0..search.found.drawn).collect::<Vec<u64>>(),
        };
        let numbers = kept(self);
        ddmin(&numbers, |part| {
            let operations = Some(part.iter().copied().collect());
            self.attempt(Changes { operations, ..self.best.clone() })
        });
    }
}

#[cfg(test)]
mod tests;
