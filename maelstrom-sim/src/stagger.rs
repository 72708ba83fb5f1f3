//! When operations are started.

use std::time::Duration;

use rand::RngExt;

use crate::rng::SimRng;

/// Spreads operations over time: from one to the next it is a random time between 0 and twice the
/// mean. Jepsen's `stagger`.
#[derive(Clone, Debug)]
pub struct Stagger {
    mean: Duration,
    next_at: Option<Duration>,
}

impl Stagger {
    /// Operations every `mean`, about.
    #[must_use]
    pub fn new(mean: Duration) -> Self {
        Self { mean, next_at: None }
    }

    /// When the next operation is due. The first is due when it is first asked for.
    pub fn next_at(&mut self, now: Duration) -> Duration {
        *self.next_at.get_or_insert(now)
    }

    /// An operation was started at `at`.
    pub fn advance(&mut self, at: Duration, rng: &mut SimRng) {
        let gap = random_below(self.mean.saturating_mul(2), rng);
        self.next_at = Some(at.saturating_add(gap));
    }
}

/// A uniformly random duration below `max`.
pub(crate) fn random_below(max: Duration, rng: &mut SimRng) -> Duration {
    if max.is_zero() { max } else { rng.random_range(Duration::ZERO..max) }
}
