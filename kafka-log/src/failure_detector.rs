//! Finds out whether a peer answers.
//!
//! A packet that wants an answer is a *demand*. The detector measures how long answers take, by
//! Jacobson's estimate (RFC 6298). From the estimate it computes the time at which a node repeats a
//! demand that has no answer. The detector suspects a peer that does not answer for a while. The
//! next answer clears the suspicion.
//!
//! The detector is complete: while a demand is open, it will suspect a peer that never answers. At
//! the earliest, this happens when the first repeat is late and the time `patience` is over. The
//! detector is not accurate, and need not be: a wrong suspicion costs messages and an election, but
//! never an entry.

use std::collections::VecDeque;
use std::time::Duration;

use crate::link::{LAZY, part};

/// Bounds of the time after which a node repeats a demand.
const RETRY_MIN: Duration = Duration::from_millis(60);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// That time before the first measurement.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// Bounds of the silence after which a peer is suspected to be down.
const PATIENCE_MIN: Duration = Duration::from_millis(400);
const PATIENCE_MAX: Duration = Duration::from_secs(2);

/// Number of open demands whose send times are kept, to measure round trips.
const DEMANDS_MAX: usize = 16;

/// The demands that have no answer yet.
#[derive(Clone, Debug)]
struct Awaited {
    /// The number of the newest packet that wants an answer.
    number: u64,
    /// The earliest time at which an answer to the open demands could arrive.
    since: Duration,
    deadline: Duration,
    tries: u32,
}

/// The consequences of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    /// True if no demand is open any more.
    pub(crate) is_all: bool,
    /// True if the peer was suspected until now.
    pub(crate) is_back: bool,
}

/// The consequences of a deadline that has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimedOut {
    /// True if the node must ask the peer again.
    pub(crate) asks_again: bool,
    /// True if the peer is suspected now, and was not before.
    pub(crate) is_failure: bool,
}

/// The failure detector for one peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureDetector {
    awaited: Option<Awaited>,
    /// The demands that want an answer at once, and their send times.
    demands: VecDeque<(u64, Duration)>,
    /// The mean and the mean deviation of round trips.
    round_trip: Option<(Duration, Duration)>,
    /// The time since which an answer of the peer is late.
    silent_since: Option<Duration>,
    /// The time since which the peer is suspected to be down.
    down_since: Option<Duration>,
}

impl FailureDetector {
    /// True if the peer is suspected to be down.
    pub(crate) fn is_down(&self) -> bool {
        self.down_since.is_some()
    }

    /// The time since which the peer is suspected to be down.
    pub(crate) fn down_since(&self) -> Option<Duration> {
        self.down_since
    }

    /// The time since which an answer of the peer is late. Such a peer may be down.
    pub(crate) fn silent_since(&self) -> Option<Duration> {
        self.silent_since
    }

    /// The mean round trip, 0 before the first measurement.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip.map_or(Duration::ZERO, |(mean, _)| mean)
    }

    /// True if a demand has no answer yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// The time at which the open demand counts as lost.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.awaited.as_ref().map(|awaited| awaited.deadline)
    }

    /// The time after which a node repeats a demand that has no answer.
    pub(crate) fn retry_after(&self) -> Duration {
        let Some((mean, deviation)) = self.round_trip else {
            return RETRY_FIRST;
        };
        let twice = mean.saturating_mul(2).saturating_add(deviation.saturating_mul(4));
        twice.saturating_add(Duration::from_millis(20)).clamp(RETRY_MIN, RETRY_MAX)
    }

    fn patience(&self) -> Duration {
        let patience = self.retry_after().saturating_mul(2).saturating_add(part(PATIENCE_MIN, 2));
        patience.clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// The peer has begun a new life, so it is up. The detector keeps its open demand: the first
    /// packet of the new life may answer a demand to the old one.
    pub(crate) fn peer_restarted(&mut self) {
        (self.silent_since, self.down_since) = (None, None);
    }

    /// A packet with this number goes out, and wants an answer within that time.
    pub(crate) fn demand(&mut self, now: Duration, number: u64, within: Duration) {
        let at = now.saturating_add(within);
        let deadline = at.saturating_add(self.retry_after());
        match &mut self.awaited {
            Some(awaited) => {
                awaited.number = number;
                if awaited.tries == 0 {
                    awaited.deadline = awaited.deadline.min(deadline);
                }
            }
            None => self.awaited = Some(Awaited { number, since: at, deadline, tries: 0 }),
        }
        if within.is_zero() {
            self.demands.push_back((number, now));
            while self.demands.len() > DEMANDS_MAX {
                self.demands.pop_front();
            }
        }
    }

    /// A packet of the peer names this demand as the newest one that the peer received.
    pub(crate) fn measure(&mut self, now: Duration, number: u64) {
        let Some(at) = self.demands.iter().position(|(demand, _)| *demand == number) else {
            return;
        };
        let sent = self.demands.drain(..=at).next_back().map_or(now, |(_, sent)| sent);
        let sample = now.saturating_sub(sent);
        self.round_trip = Some(match self.round_trip {
            None => (sample, part(sample, 2)),
            Some((mean, deviation)) => {
                let off = sample.abs_diff(mean);
                let mean = part(mean.saturating_mul(7).saturating_add(sample), 8);
                (mean, part(deviation.saturating_mul(3).saturating_add(off), 4))
            }
        });
    }

    /// The peer is known to have received all demands up to this one.
    pub(crate) fn answered(&mut self, now: Duration, number: u64) -> Answered {
        let is_back = self.down_since.take().is_some();
        self.silent_since = None;
        let retry = self.retry_after();
        let mut is_all = false;
        if let Some(awaited) = &mut self.awaited {
            if awaited.number <= number {
                self.awaited = None;
                is_all = true;
            } else {
                (awaited.since, awaited.tries) = (now, 0);
                let patient = now.saturating_add(LAZY).saturating_add(retry);
                awaited.deadline = awaited.deadline.max(patient);
            }
        }
        Answered { is_all, is_back }
    }

    /// The [deadline](Self::deadline) has passed. A peer that is down is asked again only if this
    /// node needs it.
    pub(crate) fn time_out(&mut self, now: Duration, is_needed: bool) -> TimedOut {
        let (patience, retry) = (self.patience(), self.retry_after());
        let Some(awaited) = &mut self.awaited else { return TimedOut::default() };
        awaited.tries = awaited.tries.saturating_add(1);
        self.silent_since.get_or_insert(now);
        let backoff = retry.saturating_mul(1_u32.checked_shl(awaited.tries.min(6)).unwrap_or(64));
        awaited.deadline = now.saturating_add(backoff.min(RETRY_MAX));
        let is_silent = awaited.tries >= 2 && now >= awaited.since.saturating_add(patience);
        let is_failure = is_silent && self.down_since.is_none();
        if is_failure {
            self.down_since = Some(now);
        }
        let asks_again = is_needed || self.down_since.is_none();
        if !asks_again {
            self.awaited = None;
        }
        TimedOut { asks_again, is_failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A detector that has measured `count` round trips of that time, and the next demand's number.
    fn measured(round_trip: Duration, count: u64) -> (FailureDetector, u64) {
        let mut detector = FailureDetector::default();
        for number in 1..=count {
            detector.demand(Duration::ZERO, number, Duration::ZERO);
            detector.measure(round_trip, number);
            detector.answered(round_trip, number);
        }
        (detector, count.saturating_add(1))
    }

    /// The time after which a silent peer is suspected, and the number of timeouts until then.
    fn suspected(detector: &mut FailureDetector, number: u64, is_needed: bool) -> (Duration, u32) {
        detector.demand(Duration::ZERO, number, Duration::ZERO);
        let mut tries: u32 = 0;
        while let Some(at) = detector.deadline() {
            tries = tries.saturating_add(1);
            if detector.time_out(at, is_needed).is_failure {
                return (at, tries);
            }
        }
        panic!("the peer is never suspected");
    }

    #[test]
    fn retries_follow_the_round_trip_within_bounds() {
        for (round_trip, retry) in [(0, 60), (10, 60), (100, 221), (2_000, 1_000)] {
            let (detector, _) = measured(ms(round_trip), 30);
            let found = detector.retry_after();
            assert!(found.abs_diff(ms(retry)) <= ms(2), "{round_trip} ms: {found:?}");
        }
        assert_eq!(FailureDetector::default().retry_after(), RETRY_FIRST);
    }

    #[test]
    fn a_silent_peer_is_suspected_after_two_repeats_and_its_patience() {
        for (round_trip, after) in [(0, 420), (100, 660), (1_000, 2_000)] {
            let (mut detector, number) = measured(ms(round_trip), 30);
            let (at, tries) = suspected(&mut detector, number, true);
            assert!(tries >= 2);
            assert!(at.abs_diff(ms(after)) <= ms(10), "{round_trip} ms: {at:?} after {tries}");
            assert!(detector.is_down());
            assert_eq!(detector.silent_since(), Some(detector.retry_after()));
        }
    }

    #[test]
    fn a_peer_that_is_down_is_asked_again_only_if_it_is_needed() {
        for is_needed in [false, true] {
            let (mut detector, number) = measured(ms(1), 1);
            suspected(&mut detector, number, is_needed);
            assert_eq!(detector.deadline().is_some(), is_needed);
        }
    }

    #[test]
    fn any_answer_shows_that_the_peer_is_up() {
        let (mut detector, number) = measured(ms(1), 1);
        suspected(&mut detector, number, true);
        detector.demand(ms(5_000), number.saturating_add(1), Duration::ZERO);
        let answered = detector.answered(ms(5_001), number);
        assert_eq!(answered, Answered { is_all: false, is_back: true });
        assert!(!detector.is_down() && detector.is_waiting());
        assert_eq!(detector.silent_since(), None);
        // The detector waits for the full patience again.
        let timed_out = detector.time_out(ms(9_000), true);
        assert_eq!(timed_out, TimedOut { asks_again: true, is_failure: false });
        let answered = detector.answered(ms(9_001), number.saturating_add(1));
        assert_eq!(answered, Answered { is_all: true, is_back: false });
    }

    #[test]
    fn an_answer_that_may_take_a_while_is_not_late_before() {
        let (mut detector, number) = measured(ms(1), 1);
        detector.demand(Duration::ZERO, number, ms(100));
        assert_eq!(detector.deadline(), Some(ms(160)));
        // A demand that wants an answer at once has its own, earlier deadline.
        detector.demand(ms(10), number.saturating_add(1), Duration::ZERO);
        assert_eq!(detector.deadline(), Some(ms(70)));
    }

    #[test]
    fn only_demands_that_want_an_answer_at_once_are_measured() {
        let mut detector = FailureDetector::default();
        detector.demand(Duration::ZERO, 1, ms(100));
        detector.measure(ms(100), 1);
        assert_eq!(detector.round_trip(), Duration::ZERO);
        detector.demand(ms(100), 2, Duration::ZERO);
        detector.demand(ms(101), 3, Duration::ZERO);
        detector.measure(ms(111), 3);
        assert_eq!(detector.round_trip(), ms(10));
        // The measurement of demand 3 covered the older demand.
        detector.measure(ms(500), 2);
        assert_eq!(detector.round_trip(), ms(10));
    }
}
