//! Variations of a schedule, for coverage-guided sweeps: faults move, last longer or
//! shorter, come twice, go away, or are added.
//!
//! Invariants of every variation: a repair follows its fault, all actions are before the time
//! limit, and the same random numbers give the same schedule. A fault and its repair move together.
//! If the services lose their data or a folder is restored, then the crashes stay where they are,
//! because no node tolerates one without the other.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::changes::{Changes, Unit, faults, schedule};
use crate::nemesis::{Fault, NemesisOp};
use crate::options::Options;
use crate::rng::SimRng;
use crate::stagger::random_below;

/// The most faults that a variation may have.
const FAULTS_MAX: usize = 200;

/// A variation changes at most this many faults.
const STEPS_MAX: usize = 3;

/// How far a fault moves at most if it does not move close to another one.
const SHIFT_MAX: Duration = Duration::from_secs(3);

/// A fault that moves close to another one begins or ends within this time after it.
const CLOSE: Duration = Duration::from_secs(1);

/// The kinds of faults that no variation adds: only their own rhythm makes them tolerable.
const NEVER_ADDED: [Fault; 3] = [Fault::Restore, Fault::Outage, Fault::PowerLoss];

/// Varies a run. `changes` makes the run from its seed, `options` are those of the run, and `kinds`
/// are the faults that may be added.
pub(super) fn vary(
    changes: &Changes,
    options: &Options,
    kinds: &BTreeSet<Fault>,
    rng: &mut SimRng,
) -> Changes {
    let mut varied = changes.clone();
    if rng.random_bool(0.5) {
        varied.network_seed = Some(u64::from(rng.random::<u32>()));
    }
    let kinds: Vec<Fault> =
        kinds.iter().copied().filter(|kind| !NEVER_ADDED.contains(kind)).collect();
    let mut variation = Variation::new(options, &kinds, rng);
    for _ in 0..variation.rng.random_range(1..=STEPS_MAX) {
        variation.step();
    }
    let events = schedule(&variation.units());
    if !events.is_empty() {
        varied.schedule = Some(events);
    }
    varied
}

struct Variation<'a> {
    options: &'a Options,
    kinds: &'a [Fault],
    /// The faults that never change.
    fixed: Vec<Unit>,
    /// The other faults.
    free: Vec<Unit>,
    rng: &'a mut SimRng,
}

impl<'a> Variation<'a> {
    fn new(options: &'a Options, kinds: &'a [Fault], rng: &'a mut SimRng) -> Self {
        let all = faults(options);
        let is_loss_of_data = |(_, op): &(Duration, NemesisOp)| {
            matches!(op, NemesisOp::Forget | NemesisOp::Restore(..))
        };
        let is_tied = |(_, op): &(Duration, NemesisOp)| {
            matches!(op, NemesisOp::Forget | NemesisOp::Restore(..) | NemesisOp::Crash(_))
        };
        let has_loss = all.iter().flatten().any(is_loss_of_data);
        let (fixed, free) = all.into_iter().partition(|unit| has_loss && unit.iter().any(is_tied));
        Self { options, kinds, fixed, free, rng }
    }

    fn units(&self) -> Vec<Unit> {
        self.fixed.iter().chain(&self.free).cloned().collect()
    }

    /// Changes one fault.
    fn step(&mut self) {
        let nth = random_index(self.free.len(), self.rng);
        let (choice, begin) = (self.rng.random_range(0..5), self.new_begin(nth));
        let unit = nth.and_then(|nth| self.free.get(nth)).cloned();
        match (choice, unit, nth) {
            (0, Some(unit), Some(nth)) => self.replace(nth, moved(&unit, begin)),
            (1, Some(unit), Some(nth)) => {
                // From a quarter to four times as long.
                let quarters = self.rng.random_range(1..=16);
                self.replace(nth, stretched(&unit, quarters));
            }
            (2, Some(_), Some(nth)) => {
                self.free.swap_remove(nth);
            }
            (3, Some(unit), _) => self.add(moved(&unit, begin)),
            _ => {
                if let Some(unit) = self.drawn() {
                    self.add(moved(&unit, begin));
                }
            }
        }
    }

    /// A new time for a fault: close to another fault, close to where it was, or anywhere.
    fn new_begin(&mut self, nth: Option<usize>) -> Duration {
        let events: Vec<Duration> =
            self.fixed.iter().chain(&self.free).flatten().map(|(at, _)| *at).collect();
        let was = nth.and_then(|nth| self.free.get(nth)).and_then(|unit| unit.first());
        let close = events.choose(self.rng).map(|at| at.saturating_add(below(CLOSE, self.rng)));
        let shifted = was.map(|(at, _)| {
            let later = at.saturating_add(below(SHIFT_MAX.saturating_mul(2), self.rng));
            later.saturating_sub(SHIFT_MAX)
        });
        let anywhere = below(self.options.time_limit, self.rng);
        let begin = match self.rng.random_range(0..4) {
            0 | 1 => close.unwrap_or(anywhere),
            2 => shifted.unwrap_or(anywhere),
            _ => anywhere,
        };
        if begin < self.options.time_limit { begin } else { anywhere }
    }

    /// A fault as the nemesis draws it.
    fn drawn(&mut self) -> Option<Unit> {
        let kind = *self.kinds.choose(self.rng)?;
        let options = Options {
            nemesis: [kind].into(),
            schedule: None,
            seed: self.rng.random(),
            ..self.options.clone()
        };
        faults(&options).choose(self.rng).cloned()
    }

    fn replace(&mut self, nth: usize, unit: Unit) {
        let unit = self.cut(unit);
        if let Some(place) = self.free.get_mut(nth) {
            *place = unit;
        }
    }

    fn add(&mut self, unit: Unit) {
        if self.fixed.len().saturating_add(self.free.len()) < FAULTS_MAX {
            let unit = self.cut(unit);
            self.free.push(unit);
        }
    }

    /// Leaves out the repairs after the time limit. The nemesis repairs everything in the end.
    fn cut(&self, mut unit: Unit) -> Unit {
        unit.retain(|(at, _)| *at < self.options.time_limit);
        unit
    }
}

/// A random duration below `max`.
fn below(max: Duration, rng: &mut SimRng) -> Duration {
    random_below(max, rng)
}

fn random_index(len: usize, rng: &mut SimRng) -> Option<usize> {
    (len > 0).then(|| rng.random_range(0..len))
}

/// The fault at another time, as long as before.
fn moved(unit: &Unit, begin: Duration) -> Unit {
    let was = unit.first().map(|(at, _)| *at).unwrap_or_default();
    let after = |at: Duration| begin.saturating_add(at.saturating_sub(was));
    unit.iter().map(|(at, op)| (after(*at), op.clone())).collect()
}

/// The fault from the same time on, for so many quarters of its duration.
fn stretched(unit: &Unit, quarters: u32) -> Unit {
    let begin = unit.first().map(|(at, _)| *at).unwrap_or_default();
    let after = |at: Duration| {
        let quarter = at.saturating_sub(begin) / 4;
        begin.saturating_add(quarter.saturating_mul(quarters))
    };
    unit.iter().map(|(at, op)| (after(*at), op.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, stream};

    fn options(faults: impl IntoIterator<Item = Fault>, seed: u64) -> Options {
        let time_limit = Duration::from_secs(20);
        let nemesis_interval = Duration::from_secs(2);
        let nemesis = faults.into_iter().collect();
        Options { nemesis, nemesis_interval, time_limit, seed, ..Options::default() }
    }

    /// A chain of variations of a run with these faults.
    fn chain(kinds: &BTreeSet<Fault>, seed: u64) -> Vec<Changes> {
        let options = options(kinds.iter().copied(), seed);
        let mut rng = stream(seed, Stream::Variation);
        let mut chain = vec![Changes::default()];
        for _ in 0..30 {
            let last = chain.last().cloned().unwrap();
            let mut present = options.clone();
            last.apply(&mut present);
            chain.push(vary(&last, &present, kinds, &mut rng));
        }
        chain
    }

    fn kinds() -> BTreeSet<Fault> {
        let more = [Fault::Outage, Fault::Restore];
        Fault::ALL.into_iter().chain(Fault::HARDWARE).chain(more).collect()
    }

    #[test]
    fn in_every_variation_repairs_follow_their_faults_before_the_time_limit() {
        let mut lengths = BTreeSet::new();
        for seed in 0..10 {
            for kinds in [kinds(), Fault::ALL.into(), [Fault::Crash].into()] {
                for changes in chain(&kinds, seed) {
                    let Some(events) = changes.schedule else { continue };
                    let mut owed: Vec<NemesisOp> = Vec::new();
                    for (at, op) in &events {
                        assert!(*at < Duration::from_secs(20));
                        if op.breaks() {
                            owed.extend(op.mend());
                        } else {
                            let nth = owed.iter().position(|mend| mend == op);
                            owed.swap_remove(nth.unwrap_or_else(|| panic!("{seed}: {op}")));
                        }
                        let is_known = op.kinds().iter().any(|kind| kinds.contains(kind));
                        assert!(is_known || !op.breaks(), "{op}");
                    }
                    assert!(events.windows(2).all(|pair| pair[0].0 <= pair[1].0));
                    lengths.insert(events.len());
                }
            }
        }
        assert!(lengths.len() > 20, "{lengths:?}");
    }

    #[test]
    fn the_same_random_numbers_give_the_same_variations_and_others_differ() {
        assert_eq!(chain(&kinds(), 3), chain(&kinds(), 3));
        assert_ne!(chain(&kinds(), 3)[1].schedule, chain(&kinds(), 4)[1].schedule);
        let chain = chain(&kinds(), 3);
        let same = chain.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(same <= 3, "{same}");
    }

    #[test]
    fn whatever_loses_data_and_its_crashes_stay_where_they_are() {
        for loss in [Fault::Restore, Fault::Outage] {
            let kinds = [loss, Fault::Slow].into();
            let tied = |events: Vec<(Duration, NemesisOp)>| {
                let is_free = |op: &NemesisOp| matches!(op, NemesisOp::Slow(..));
                events.into_iter().filter(|(_, op)| !is_free(op)).collect::<Vec<_>>()
            };
            let first = tied(schedule(&faults(&options([loss], 1))));
            assert!(first.len() > 5);
            let all = chain(&kinds, 1).into_iter().filter_map(|changes| changes.schedule);
            let all: Vec<_> = all.collect();
            assert!(all.len() >= 30);
            for events in all {
                let mut now = tied(events);
                now.sort_by_key(|(at, op)| (*at, op.to_string()));
                let mut first = first.clone();
                first.sort_by_key(|(at, op)| (*at, op.to_string()));
                assert_eq!(now, first);
            }
        }
    }

    #[test]
    fn a_fault_that_moves_is_as_long_as_before_and_one_that_is_stretched_begins_as_before() {
        let (ms, node) = (Duration::from_millis, "n1");
        let unit = vec![
            (ms(500), NemesisOp::Pause(node.into())),
            (ms(900), NemesisOp::Resume(node.into())),
        ];
        let times = |unit: Unit| unit.into_iter().map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(times(moved(&unit, ms(100))), [ms(100), ms(500)]);
        assert_eq!(times(stretched(&unit, 1)), [ms(500), ms(600)]);
        assert_eq!(times(stretched(&unit, 16)), [ms(500), ms(2_100)]);
    }
}
