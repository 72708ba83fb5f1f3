//! A token bucket.

use std::num::NonZeroU32;
use std::time::Duration;

/// A number of requests per second, which is also the size of a burst.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate(NonZeroU32);

/// Time in units of a nanosecond divided by the rate. So a token takes [`TOKEN`] units whatever the
/// rate, and nothing is rounded.
type Ticks = u128;

/// The time in which a bucket gains one token.
const TOKEN: Ticks = 1_000_000_000;

impl Rate {
    pub(super) const fn new(per_second: NonZeroU32) -> Self {
        Self(per_second)
    }

    fn ticks(self, time: Duration) -> Ticks {
        time.as_nanos().saturating_mul(Ticks::from(self.0.get()))
    }
}

/// A token bucket, stored as the time at which it will be full again. It starts full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket {
    full_at: Ticks,
}

impl Bucket {
    /// The bucket with one token less. `None`: it has no token.
    pub(super) fn take(self, rate: Rate, now: Duration) -> Option<Self> {
        let all = rate.ticks(Duration::from_secs(1));
        let now = rate.ticks(now);
        let full_at = self.full_at.max(now).saturating_add(TOKEN);
        (full_at <= now.saturating_add(all)).then_some(Self { full_at })
    }

    pub(super) fn is_full(self, rate: Rate, now: Duration) -> bool {
        self.full_at <= rate.ticks(now)
    }
}
