//! How much goes to a peer at once, before it answers: a window of several batches.
//!
//! A node that waited for each batch would get one in a round trip, however fast the network is. So it
//! asks for as many batches as come in a round trip at [`BYTES_PER_MICROSECOND`]. It begins with one,
//! and asks for twice as many after each answer that came whole. A batch that is lost or late makes
//! those after it worthless, so the node begins with one again.

use std::time::Duration;

use super::replica::{Span, VersionVector};
use super::{Gossip, State};

/// As fast as this, a peer gets what it lacks.
const BYTES_PER_MICROSECOND: u128 = 16;

/// All batches of a window take about so many bytes, unless a single one takes more.
const WINDOW_BYTES_MAX: u128 = 4 << 20;

/// No window has more batches.
pub(super) const BATCHES_MAX: usize = 16;

/// How many batches go into a window at the most, where an answer takes so long.
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

    /// An answer has come whole.
    pub(super) fn widen(&mut self) {
        self.0 = self.0.saturating_mul(2).min(BATCHES_MAX);
    }
}

/// The entries of one message.
type Batch = Vec<Span>;

impl<S: State> Gossip<S> {
    /// Entries that are here and in none of `have`: at most `count` batches of `bytes_max`, and at
    /// least one, which may be empty. Whether something did not go in. `None` if the logs do not hold all of it any more.
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
