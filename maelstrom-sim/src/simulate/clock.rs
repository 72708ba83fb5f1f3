//! The clocks of a simulated machine: they can run too fast or too slow, and the wall clock can
//! be shifted.
//!
//! Both clocks of a machine follow one oscillator. So while it drifts, the monotonic clock and the
//! timers drift as well. When the drift ends, the monotonic clock goes on from where it is, because
//! it never steps. The wall clock is set right in one step, as a time service does, so it may go
//! back.

use std::time::Duration;

use maelstrom_core::Clock;

/// The wall-clock time at which a run begins: 2026-01-01.
pub(super) const WALL_CLOCK_START: Duration = Duration::from_secs(1_767_225_600);

/// A rate of 1, in thousandths.
const ONE: i64 = 1_000;

/// The oscillator of a machine, and the error of its wall clock.
#[derive(Debug)]
pub(super) struct MachineClock {
    /// The moment at which the rate last changed: the true time, and the monotonic clock then.
    changed: (Duration, Duration),
    /// How fast the clocks run, in thousandths of the true rate.
    rate: i64,
    /// The shift of the wall clock in milliseconds.
    pub(super) offset_ms: i64,
}

impl Default for MachineClock {
    fn default() -> Self {
        Self { changed: Default::default(), rate: ONE, offset_ms: 0 }
    }
}

impl MachineClock {
    /// Lets the clocks run faster from now on, by this many thousandths, or slower if it is
    /// negative. 0 ends the drift.
    pub(super) fn drift(&mut self, now: Duration, per_mille: i16) {
        self.changed = (now, self.monotonic(now));
        self.rate = (ONE + i64::from(per_mille)).max(1);
    }

    /// The clocks at the true time `now`.
    pub(super) fn read(&self, now: Duration) -> Clock {
        let monotonic = self.monotonic(now);
        let (true_then, then) = self.changed;
        // Without a drift, the wall clock shows the true time.
        let wall = match self.rate {
            ONE => now,
            _ => true_then + monotonic.saturating_sub(then),
        };
        let wall = WALL_CLOCK_START + wall;
        let offset = Duration::from_millis(self.offset_ms.unsigned_abs());
        let wall = if self.offset_ms < 0 { wall - offset } else { wall + offset };
        Clock { monotonic, wall }
    }

    /// The first true time at which the monotonic clock shows `deadline`, or more.
    pub(super) fn true_time(&self, deadline: Duration) -> Duration {
        let (true_then, then) = self.changed;
        true_then + scaled_up(deadline.saturating_sub(then), ONE, self.rate)
    }

    fn monotonic(&self, now: Duration) -> Duration {
        let (true_then, then) = self.changed;
        then + scaled(now.saturating_sub(true_then), self.rate, ONE)
    }
}

/// `time * by / of`, rounded down.
fn scaled(time: Duration, by: i64, of: i64) -> Duration {
    let [by, of] = [by, of].map(|n| u128::from(n.unsigned_abs()));
    nanos(time.as_nanos().saturating_mul(by) / of)
}

/// `time * by / of`, rounded up.
fn scaled_up(time: Duration, by: i64, of: i64) -> Duration {
    let [by, of] = [by, of].map(|n| u128::from(n.unsigned_abs()));
    nanos(time.as_nanos().saturating_mul(by).div_ceil(of))
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn shows(clock: &MachineClock, at: Duration) -> (Duration, Duration) {
        let Clock { monotonic, wall } = clock.read(at);
        (monotonic, wall - WALL_CLOCK_START)
    }

    #[test]
    fn a_clock_without_drift_shows_the_true_time_to_the_nanosecond() {
        let clock = MachineClock::default();
        let at = Duration::from_nanos(123_456_789_123);
        assert_eq!(shows(&clock, at), (at, at));
        assert_eq!(clock.true_time(at), at);
    }

    #[test]
    fn both_clocks_drift_and_only_the_wall_clock_is_set_right_in_the_end() {
        let mut clock = MachineClock::default();
        clock.drift(s(10), 200);
        assert_eq!(shows(&clock, s(20)), (s(22), s(22)));
        clock.drift(s(20), 0);
        assert_eq!(shows(&clock, s(20)), (s(22), s(20)));
        assert_eq!(shows(&clock, s(30)), (s(32), s(30)));
        // A slow clock stands behind, and the wall clock then steps forward.
        clock.drift(s(30), -200);
        assert_eq!(shows(&clock, s(40)), (s(40), s(38)));
        clock.drift(s(40), 0);
        assert_eq!(shows(&clock, s(41)), (s(41), s(41)));
    }

    #[test]
    fn a_shift_of_the_wall_clock_adds_to_its_drift() {
        let mut clock = MachineClock { offset_ms: -3_000, ..MachineClock::default() };
        clock.drift(s(10), 100);
        assert_eq!(shows(&clock, s(20)), (s(21), s(18)));
    }

    #[test]
    fn a_deadline_is_due_at_the_first_moment_at_which_the_clock_shows_it() {
        for per_mille in [-200, -7, 0, 1, 13, 200] {
            let mut clock = MachineClock::default();
            clock.drift(Duration::from_nanos(1_000_000_007), per_mille);
            for deadline in (2_000_000_000..2_000_000_050).map(Duration::from_nanos) {
                let due = clock.true_time(deadline);
                assert!(clock.read(due).monotonic >= deadline);
                let before = due - Duration::from_nanos(1);
                assert!(clock.read(before).monotonic < deadline, "{per_mille}, {deadline:?}");
            }
        }
    }
}
