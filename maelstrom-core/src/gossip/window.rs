//! The window: how many batches a peer sends before the next request.
//!
//! With a request for each batch, a node would get one batch per round trip, however fast the
//! network is. So it asks for several batches: at most as many as arrive in a round trip at
//! [`BYTES_PER_MICROSECOND`]. It starts with one batch, and doubles the number after each complete
//! answer. If a batch is lost or late, the batches after it are useless, so the node starts with
//! one again.
//!
//! A link may be slow. Then messages wait behind an answer until all its batches are through, and the
//! nodes at the ends of the link could consider each other dead. The measured round trip does not
//! show this, because it includes that wait. So a window grows only while the batches of an answer
//! arrive within [`ARRIVAL_TARGET`], and it halves after an answer that took more than twice that.
//!
//! A batch may be larger than configured, since a single entry may be. So the sender counts the
//! bytes as well: the batches of a window together take at most [`WINDOW_BYTES_MAX`]. One batch is
//! always sent, whatever its size. The limit in bytes is a constant, and not the number of batches
//! times the size of a full batch: otherwise one entry larger than a batch would fill the window.

use std::time::Duration;

use super::replica::{Span, VersionVector};
use super::{Gossip, State};

/// The highest rate at which a node receives missing entries.
const BYTES_PER_MICROSECOND: u128 = 16;

/// The most bytes of all batches of a window together, unless a single batch is larger.
const WINDOW_BYTES_MAX: u64 = 4 << 20;

/// The time from the first batch of an answer to the last, up to which the window grows.
const ARRIVAL_TARGET: Duration = Duration::from_millis(500);

/// The most batches in a window.
pub(super) const BATCHES_MAX: usize = 16;

/// The largest window for a round trip of this length.
pub(super) fn batches_max(batch_bytes: usize, round_trip: Duration) -> usize {
    let bytes = round_trip.as_micros().saturating_mul(BYTES_PER_MICROSECOND);
    let bytes = bytes.min(u128::from(WINDOW_BYTES_MAX));
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

    /// Adapts the window to a complete answer. `took` is the time from its first batch to its last.
    pub(super) fn adapt(&mut self, took: Duration) {
        if took <= ARRIVAL_TARGET {
            self.0 = self.0.saturating_mul(2).min(BATCHES_MAX);
        } else if took > ARRIVAL_TARGET.saturating_mul(2) {
            self.0 = self.0.div_ceil(2);
        }
    }
}

/// The room in a window that is being filled, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    bytes: u64,
    is_empty: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: WINDOW_BYTES_MAX, is_empty: true }
    }
}

impl Room {
    /// Takes the room for a batch. Returns false if there is not enough room. The first batch
    /// always fits.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        let fits = self.is_empty || bytes <= self.bytes;
        if fits {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.is_empty = false;
        }
        fits
    }
}

/// The entries of one message.
type Batch = Vec<Span>;

impl<S: State> Gossip<S> {
    /// The entries that this replica has and none of `have` includes: at most `count` batches of
    /// `bytes_max`, as many as have [`Room`], and at least one, which may be empty. Also returns
    /// whether some entries did not fit. `None` if the logs do not hold all of them any more.
    pub(super) fn batches(
        &self,
        have: &[&VersionVector],
        (count, bytes_max): (usize, usize),
    ) -> Option<(Vec<Batch>, bool)> {
        let (mut sent, mut batches) = (VersionVector::default(), Vec::new());
        have.iter().for_each(|have| sent.join(have));
        let mut room = Room::default();
        loop {
            let (spans, cut) = self.replica.lacking(&[&sent], bytes_max)?;
            let bytes = spans.iter().map(|span| self.replica.span_bytes(span));
            if !room.take(bytes.fold(0, u64::saturating_add)) {
                return Some((batches, true));
            }
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
    fn a_window_holds_the_bytes_of_a_round_trip_and_is_bounded() {
        let batches = |ms| batches_max(256 << 10, Duration::from_millis(ms));
        assert_eq!([0, 1, 20, 100, 200].map(batches), [1, 1, 2, 7, 13]);
        assert_eq!(batches(60_000), 16);
        assert_eq!(batches_max(0, Duration::MAX), 16);
        assert_eq!(batches_max(3 << 20, Duration::MAX), 2);
        assert_eq!(batches_max(usize::MAX, Duration::MAX), 1);
    }

    #[test]
    fn a_window_grows_on_a_fast_link_and_shrinks_on_a_slow_one() {
        let mut window = Window::default();
        let mut after = |took_ms| {
            window.adapt(Duration::from_millis(took_ms));
            window.batches(BATCHES_MAX)
        };
        assert_eq!([0, 100, 500, 0, 0].map(&mut after), [2, 4, 8, 16, 16]);
        assert_eq!([501, 1_000].map(&mut after), [16, 16]);
        assert_eq!([1_001, 9_000, 9_000, 9_000, 9_000].map(&mut after), [8, 4, 2, 1, 1]);
    }

    #[test]
    fn a_window_is_full_when_its_bytes_are_and_has_room_for_one_batch_of_any_size() {
        let taken = |batches: &[u64]| {
            let mut room = Room::default();
            batches.iter().take_while(|bytes| room.take(**bytes)).count()
        };
        assert_eq!(taken(&[256 << 10; 20]), 16);
        assert_eq!(taken(&[300 << 10; 20]), 13);
        assert_eq!(taken(&[8 << 20; 20]), 1);
        assert_eq!(taken(&[1, 8 << 20]), 1);
        assert_eq!(taken(&[u64::MAX, 1]), 1);
    }
}
