//! Challenge 2: ids that never repeat, without coordination.
//!
//! # Format
//!
//! ```text
//! 0193a5c2f1e80003-9f86d081884c7d65-n1
//! ╰──── stamp ───╯ ╰ incarnation ─╯ ╰ node
//! ```
//!
//! * **stamp**: 16 hex digits, a hybrid logical clock (Kulkarni et al., *Logical Physical Clocks*,
//!   2014). The upper 48 bits are milliseconds since the Unix epoch, the lower 16 a counter. Each
//!   stamp is at least one more than the last one. The wall clock can only pull it forward.
//! * **incarnation**: 16 hex digits. A process draws them at random when it starts, and again when
//!   it has used up all stamps.
//! * **node**: the node's name, to the end.
//!
//! # Why no id repeats
//!
//! Both numbers have a fixed width, so ids are equal only if all three parts are.
//!
//! * *Within one process* the stamp strictly rises, whatever the wall clock does: while the wall
//!   clock stands still or is behind, the stamp counts on.
//! * *Across nodes* the names differ.
//! * *Across restarts of a node*, and across the end of the stamps, the incarnations differ. Two of
//!   them are equal with probability 2⁻⁶⁴, and even then an id repeats only if the stamps are equal
//!   as well.
//!
//! # Order
//!
//! Ids of one incarnation sort, as text, by time of creation. So do ids of one node across
//! restarts, under one condition: its wall clock must be past the last stamp when the process
//! restarts. (It is not if the clock was set back, or if a burst of ids just before ran ahead of
//! it.) The node stores nothing.
//!
//! # Limits
//!
//! A process runs ahead of the wall clock if it makes more than 65,536 ids in a millisecond, or if
//! the wall clock stands still: 10 million ids run 153 ms ahead at most. The stamp holds times
//! until the year 10889. After a single reading of the clock beyond that, 65,536 stamps are left.
//! Then the process draws a new incarnation, and its stamps begin again at the time of the clock.
//! Ids stay unique, but later ones sort before earlier ones, once.

pub mod metrics;

use std::time::Duration;

use maelstrom_core::metrics::{Gauges, Metric};
use maelstrom_core::rand::Rng;
use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
use serde::{Deserialize, Serialize};

/// The crate's chapter of the guide. Its links to files work in the repository.
#[cfg(doc)]
#[doc = include_str!("../README.md")]
pub mod guide {}

/// The bits of a stamp that count ids within a millisecond.
const COUNTER_BITS: u32 = 16;

/// The last millisecond that a stamp can hold.
const MILLIS_MAX: u64 = u64::MAX >> COUNTER_BITS;

/// The handler: the last stamp, and the suffix of all ids of this incarnation.
#[derive(Clone, Debug, Default)]
pub struct UniqueIds {
    last: Option<u64>,
    suffix: String,
}

/// The requests that the node understands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Makes an id.
    Generate,
}

/// The replies of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The answer to [`Payload::Generate`].
    GenerateOk {
        /// The id. See the [crate's documentation](crate) for its format.
        id: String,
    },
}

impl UniqueIds {
    /// The next stamp: the wall clock's millisecond, or one more than the last stamp, whichever is
    /// later. `None` if no stamp is left.
    fn stamp(&mut self, wall_millis: u64) -> Option<u64> {
        let wall = wall_millis.min(MILLIS_MAX) << COUNTER_BITS;
        let stamp = match self.last {
            None => wall,
            Some(last) => last.checked_add(1)?.max(wall),
        };
        self.last = Some(stamp);
        Some(stamp)
    }

    fn begin_incarnation(&mut self, node: &mut Node<NoEvent>) {
        node.count(&metrics::INCARNATIONS, &[], 1);
        let incarnation = node.rng().next_u64();
        self.suffix = format!("-{incarnation:016x}-{}", node.id());
        self.last = None;
    }
}

impl MessageHandler for UniqueIds {
    type Payload = Payload;
    type Event = NoEvent;

    const METRICS: &'static [&'static [&'static Metric]] = &[metrics::METRICS];

    fn started(&mut self, node: &mut Node<NoEvent>) {
        self.begin_incarnation(node);
    }

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let Payload::Generate = payload;
        let wall_millis = u64::try_from(node.wall_clock().as_millis()).unwrap_or(u64::MAX);
        let stamp = self.stamp(wall_millis).or_else(|| {
            self.begin_incarnation(node);
            self.stamp(wall_millis)
        });
        // The first stamp of an incarnation always exists.
        let stamp = stamp.ok_or_else(|| Error::crash("no stamp is left"))?;
        node.reply(request, &Reply::GenerateOk { id: format!("{stamp:016x}{}", self.suffix) });
        Ok(())
    }

    fn gauges(&self, _now: Duration, gauges: &mut Gauges) {
        let last = Duration::from_millis(self.last.unwrap_or_default() >> COUNTER_BITS);
        gauges.set(&metrics::STAMP, &[], last.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_million_stamps_rise_and_run_153_ms_ahead_of_a_clock_that_stands_still() {
        let mut ids = UniqueIds::default();
        let mut last = None;
        for _ in 0..10_000_000 {
            let stamp = ids.stamp(1_750_000_000_000);
            assert!(stamp > last);
            last = stamp;
        }
        assert_eq!(last.map(|s| s >> COUNTER_BITS), Some(1_750_000_000_152));
    }

    #[test]
    fn the_last_stamp_of_the_range_is_given_once() {
        let mut ids = UniqueIds { last: Some(u64::MAX - 1), ..UniqueIds::default() };
        assert_eq!(ids.stamp(0), Some(u64::MAX));
        assert_eq!(ids.stamp(0), None);
        assert_eq!(ids.stamp(u64::MAX), None);
    }
}
