//! The window: how many batches a peer sends before the next request.
//!
//! With a request for each batch, a node would get one batch per round trip, however fast the
//! network is. So it asks for as many batches as arrive in a round trip at
//! [`BYTES_PER_MICROSECOND`]. It starts with one batch, and doubles the number after each complete
//! answer. If a batch is lost or late, the batches after it are useless, so the node starts with
//! one again.

use std::time::Duration;

use super::replica::{Span, VersionVector};
use super::{Gossip, State};

/// The rate at which a peer receives missing entries.
const BYTES_PER_MICROSECOND: u128 = 16;

/// The approximate size of all batches of a window, unless a single batch is larger.
const WINDOW_BYTES_MAX: u128 = 4 << 20;

/// The most batches in a window.
pub(super) const BATCHES_MAX: usize = 16;

/// The largest window for a round trip of this length.
pub(super) fn batches_max(batch_bytes: usize, round_trip: Duration) -> usize {
    let bytes = round_trip.as_micros().saturating_mul(BYTES_PER_MICROSECOND).min(WINDOW_BYTES_MAX);
    let batches = bytes.div_ceil(batch_bytes.max(1) as u128);
    usize::try_from(batches).unwrap_or(BATCHES_MAX).clamp(1, BATCHES_MAX)
}

/// How many batches a node asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window(usize);

impl Default for Window {
    fn default() -> Self {
        Self(1)
    }
}

impl Window {
    pub(super) fn batches(self, batches_max: usize) -> usize {
        self.0.min(batches_max)
    }

    /// Doubles the window after a complete answer.
    pub(super) fn widen(&mut self) {
        self.0 = self.0.saturating_mul(2).min(BATCHES_MAX);
    }
}

/// The entries of one message.
type Batch = Vec<Span>;

impl<S: State> Gossip<S> {
    /// The entries that this replica has and none of `have` includes: at most `count` batches of
    /// `bytes_max`, and at least one, which may be empty. Also returns whether some entries did not
    /// fit. `None` if the logs do not hold all of them any more.
    pub(super) fn batches(
        &self,
        have: &[&VersionVector],
        (count, bytes_max): (usize, usize),
    ) -> Option<(Vec<Batch>, bool)> {
        let (mut sent, mut batches) = (VersionVector::default(), Vec::new());
        have.iter().for_each(|have| sent.join(have));
        loop {
            let (spans, cut) = self.replica.lacking(&[&sent], bytes_max)?;
            spans.iter().for_each(|span| sent.raise(&span.origin, span.end));
            batches.push(spans);
            if !cut || batches.len() >= count {
                return Some((batches, cut));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_what_comes_in_a_round_trip_and_is_bounded() {
        let batches = |ms| batches_max(256 << 10, Duration::from_millis(ms));
        assert_eq!([0, 1, 20, 100, 200].map(batches), [1, 1, 2, 7, 13]);
        assert_eq!(batches(60_000), 16);
        assert_eq!(batches_max(0, Duration::MAX), 16);
        assert_eq!(batches_max(3 << 20, Duration::MAX), 2);
        assert_eq!(batches_max(usize::MAX, Duration::MAX), 1);
    }
}
