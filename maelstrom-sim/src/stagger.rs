//! The times at which operations begin.

use std::time::Duration;

use rand::RngExt;

use crate::rng::SimRng;

/// Spreads operations over time: the gap between two operations is random, between 0 and twice the
/// mean. Jepsen's `stagger`.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_sim::rng::{self, Stream};
/// use maelstrom_sim::stagger::Stagger;
///
/// let mut stagger = Stagger::new(Duration::from_millis(100));
/// let first = stagger.next_at(Duration::from_secs(1));
/// stagger.advance(first, &mut rng::stream(7, Stream::Generator));
/// let gap = stagger.next_at(first) - first;
/// assert!(gap < Duration::from_millis(200));
/// ```
#[derive(Clone, Debug)]
pub struct Stagger {
    mean: Duration,
    next_at: Option<Duration>,
}

impl Stagger {
    /// A stagger with this mean gap.
    #[must_use]
    pub fn new(mean: Duration) -> Self {
        Self { mean, next_at: None }
    }

    /// The time of the next operation. The first call returns `now`.
    pub fn next_at(&mut self, now: Duration) -> Duration {
        *self.next_at.get_or_insert(now)
    }

    /// Records that an operation began at `at`, and draws the gap to the next.
    pub fn advance(&mut self, at: Duration, rng: &mut SimRng) {
        let gap = random_below(self.mean.saturating_mul(2), rng);
        self.next_at = Some(at.saturating_add(gap));
    }
}

/// Draws a uniform random duration below `max`.
pub(crate) fn random_below(max: Duration, rng: &mut SimRng) -> Duration {
    if max.is_zero() { max } else { rng.random_range(Duration::ZERO..max) }
}
