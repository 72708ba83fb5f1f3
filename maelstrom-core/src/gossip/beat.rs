//! The schedule of messages: a hub sends once per period, and a leaf sends just before its hub
//! does.
//!
//! With one message per period and link in each direction, n nodes need 2(n − 1) messages per
//! period, whatever the load. A value waits for the *slot* of its leaf: the time at which the leaf
//! sends. It reaches the hub a margin before the next beat. So it reaches every node within a
//! period, a margin and two hops:
//!
//! ```text
//! hub   ──B────────────────────B────────────────────B──    B: a beat, ▼: its arrival
//!          \                ↗    \               ↗
//! leaf  ────▼─────────────S───────▼────────────S───────    S = ▼ + period − round trip − margin
//! ```
//!
//! News that arrives just after a beat waits for a whole period, so the margin has to be generous.
//! But a value that comes just after the slot waits for the margin as well. So a leaf that has
//! appended little has a *last call* later in the margin. News since the slot goes out then. It
//! reaches the same beat if all goes well, and is early for the next one if not.
//!
//! An idle leaf or hub sends a new value at once, so a lone value takes only two hops.

use std::time::Duration;

/// The schedule of a hub: the time of its last beat, and the period until the next one. The period
/// does not change after the beat, because the leaves rely on it.
///
/// A hub that knows no round trip yet cannot announce its next beat. Its beat is then provisional:
/// it waits for an answer, which shows the round trip.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beat {
    last: Option<(Duration, Duration)>,
    kind: Kind,
}

/// The kind of the last beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// Its period is known, so messages announce the next beat.
    #[default]
    Announced,
    /// The node has heard a first greeting, and not beaten yet. If it is a hub, it collects the
    /// other greetings. Its first beat counts from here, because the leaves will send their next
    /// news a period after their greetings.
    Collecting,
    /// Its period is not known yet.
    Provisional,
}

/// The period after a provisional beat if no answer shows the round trip. A leaf without a round
/// trip also waits this long before it sends further news to its hub.
pub(super) const PROVISIONAL: Duration = Duration::from_secs(1);

/// How long a hub that has just started collects the greetings of the other nodes. They start
/// almost at the same time.
pub(super) const COLLECTING: Duration = Duration::from_millis(150);

/// A beat that comes later than this did not collect greetings.
const COLLECTING_MAX: Duration = Duration::from_millis(300);

impl Beat {
    /// The earliest time of the next beat.
    pub(super) fn due(&self, now: Duration) -> Duration {
        self.last.map_or(now, |(last, period)| last.saturating_add(period).max(now))
    }

    /// The age of the last beat, and the period if it is known. `None` if there was no beat.
    pub(super) fn last(&self, now: Duration) -> Option<(Duration, Option<Duration>)> {
        let (last, period) = self.last.filter(|_| !self.is_collecting())?;
        Some((now.saturating_sub(last), Some(period).filter(|_| !self.is_provisional())))
    }

    /// Starts a beat. A `period` of `None` makes it provisional.
    pub(super) fn begin(&mut self, now: Duration, period: Option<Duration>) {
        let collected = self.last.filter(|_| self.kind == Kind::Collecting && period.is_none());
        // A leaf that becomes the hub later has collected nothing.
        let recent = collected.filter(|(start, _)| now.saturating_sub(*start) <= COLLECTING_MAX);
        let start = recent.map_or(now, |(start, _)| start);
        self.last = Some((start, period.unwrap_or(PROVISIONAL)));
        self.kind = if period.is_none() { Kind::Provisional } else { Kind::Announced };
    }

    /// Begins to collect the greetings of the others, if there was no beat yet: the first beat
    /// answers all of them.
    pub(super) fn begin_collecting(&mut self, now: Duration) {
        if self.last.is_none() {
            (self.last, self.kind) = (Some((now, COLLECTING)), Kind::Collecting);
        }
    }

    /// Whether this node collects greetings before its first beat.
    pub(super) fn is_collecting(&self) -> bool {
        self.kind == Kind::Collecting
    }

    /// Whether the last beat is provisional.
    pub(super) fn is_provisional(&self) -> bool {
        self.kind == Kind::Provisional
    }

    /// Ends a provisional beat: the round trip is known, and with it the period. The next beat comes
    /// after `wait`.
    pub(super) fn settle(&mut self, now: Duration, wait: Duration, period: Duration) {
        let next = now.saturating_add(wait);
        self.last = Some((next.saturating_sub(period), period));
        self.kind = Kind::Announced;
    }
}

/// The schedule of a leaf.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// The arrival of the hub's last beat at this node, real or predicted, and the period after it.
    beat: Option<(Duration, Duration)>,
    /// When this node sends its news to the hub.
    flush_at: Option<Duration>,
    /// Whether the hub has not announced that period, so this node uses its own.
    is_guess: bool,
    /// How many entries this node has appended since the last slot.
    appended: u32,
    /// Whether this node may send once more before the beat: it appended little before the last
    /// slot, or that slot was early because the period is a guess.
    has_last_call: bool,
}

/// How many entries a leaf may append before a slot and still have a last call. Under a higher load
/// there would be news for many last calls.
const LAST_CALL_ENTRIES: u32 = 3;

/// How early a leaf plans to reach its hub. If it is only a little late, its news waits for a whole
/// period.
pub(super) fn margin(period: Duration, variation: Duration) -> Duration {
    const USUAL: Duration = Duration::from_millis(30);
    let part = |n| period.checked_div(n).unwrap_or_default();
    part(12).min(USUAL).saturating_add(variation.saturating_mul(2)).min(part(4))
}

/// How much earlier a leaf sends if it guesses the period of its hub. Hub and leaf have a single
/// sample of the round trip each, and a sample may be too long.
fn guess_margin(period: Duration) -> Duration {
    margin(period, Duration::ZERO)
}

/// How early the last call of a leaf reaches its hub.
fn last_margin(period: Duration) -> Duration {
    margin(period, Duration::ZERO).checked_div(4).unwrap_or_default()
}

/// The smallest number of whole periods that is at least `time` long.
fn whole_periods(time: Duration, period: Duration) -> Duration {
    let periods = time.as_nanos().div_ceil(period.as_nanos().max(1));
    period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX))
}

impl Slot {
    /// Records a message that the hub sent `age` after its last beat. `is_guess` says whether the
    /// period is only the one of this node.
    pub(super) fn hear_beat(
        &mut self,
        now: Duration,
        age: Duration,
        period: Duration,
        is_guess: bool,
    ) {
        let beat = Some((now.saturating_sub(age), period));
        *self = Self { beat, is_guess, appended: self.appended, ..Self::default() };
    }

    /// The period of the hub, if it is known.
    pub(super) fn period(&self) -> Option<Duration> {
        self.beat.map(|(_, period)| period)
    }

    /// The time at which to send news to the hub. `round_trip` and `variation` are those of the
    /// hub. If the round trip is unknown, half a period is a safe assumption.
    pub(super) fn flush_at(
        &mut self,
        now: Duration,
        round_trip: Option<Duration>,
        variation: Duration,
    ) -> Duration {
        let plan = || self.plan(now, round_trip, variation);
        let at = self.flush_at.unwrap_or_else(plan);
        self.flush_at = Some(at);
        at
    }

    fn plan(&self, now: Duration, round_trip: Option<Duration>, variation: Duration) -> Duration {
        let Some((beat, period)) = self.beat else {
            return now;
        };
        let more = if self.is_guess { guess_margin(period) } else { Duration::ZERO };
        let margin = margin(period, variation).saturating_add(more);
        let next_beat = beat.saturating_add(period);
        let idle_from = next_beat.saturating_add(margin);
        if now >= idle_from || period.is_zero() {
            return now;
        }
        let round_trip = round_trip.or(period.checked_div(2)).unwrap_or_default();
        let in_time_for =
            |beat: Duration, margin| beat.saturating_sub(round_trip.saturating_add(margin));
        let slot = in_time_for(next_beat, margin);
        // After a slot, the last beat is a predicted one.
        let last_call = in_time_for(if now > slot { next_beat } else { beat }, last_margin(period));
        if now <= last_call && (now > slot || self.has_last_call) {
            return last_call;
        }
        let Some(late) = now.checked_sub(slot).filter(|late| !late.is_zero()) else {
            return slot;
        };
        // This slot is missed, so the news waits for the next one. But if the hub becomes idle, it
        // need not wait.
        slot.saturating_add(whole_periods(late, period)).min(idle_from)
    }

    /// Counts an entry that this node appended.
    pub(super) fn note_append(&mut self) {
        self.appended = self.appended.saturating_add(1);
    }

    /// Ends a slot. `is_told` says whether this node sent news in it.
    ///
    /// If it did, the hub will beat: at once if it was idle, otherwise at its next beat. The hub
    /// need not send that beat to this node, so this node predicts it and does not consider the hub
    /// idle. A hub that has not announced its period is assumed to have the `period` of this node.
    pub(super) fn pass(
        &mut self,
        is_told: bool,
        now: Duration,
        round_trip: Duration,
        period: Duration,
    ) {
        self.flush_at = None;
        let appended = std::mem::take(&mut self.appended);
        if !is_told {
            return;
        }
        let beat = now.saturating_add(round_trip);
        let was_last_call = self.beat.is_some_and(|(last, _)| beat <= last);
        let is_light = appended <= LAST_CALL_ENTRIES || self.is_guess;
        self.has_last_call = is_light && !was_last_call;
        match &mut self.beat {
            // This message is in time for the beat that the previous one awaits.
            Some(_) if was_last_call => {}
            Some((last, period)) if now >= last.saturating_add(*period) => *last = beat,
            Some((last, period)) => {
                let periods = whole_periods(beat.saturating_sub(*last), *period).max(*period);
                *last = last.saturating_add(periods);
            }
            None => self.beat = Some((beat, period)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// The slot of a leaf 100 ms away from a hub that beats every 400 ms. The last beat arrived at
    /// 1 s.
    fn slot() -> Slot {
        let mut slot = Slot::default();
        slot.hear_beat(ms(1_030), ms(30), ms(400), false);
        slot
    }

    /// Appends so many entries, and sends them to the hub.
    fn tell(slot: &mut Slot, entries: u32, at: Duration) {
        (0..entries).for_each(|_| slot.note_append());
        slot.pass(true, at, ms(200), ms(7));
    }

    #[test]
    fn a_leaf_reaches_its_hub_just_before_the_next_beat() {
        // The hub beat at 900 and beats next at 1300. A message sent at 1170 arrives at 1270.
        assert_eq!(slot().flush_at(ms(1_010), Some(ms(200)), ms(0)), ms(1_170));
        // Later news waits for the same slot.
        let mut slot = slot();
        assert_eq!(slot.flush_at(ms(1_010), Some(ms(200)), ms(0)), ms(1_170));
        assert_eq!(slot.flush_at(ms(1_170), Some(ms(200)), ms(0)), ms(1_170));
    }

    #[test]
    fn a_leaf_that_missed_a_slot_waits_for_the_next_or_until_the_hub_is_idle() {
        let mut slot = slot();
        assert_eq!(slot.flush_at(ms(1_200), Some(ms(200)), ms(0)), ms(1_430));
        // The hub goes on beating: now the next slot is known.
        slot.hear_beat(ms(1_400), ms(0), ms(400), false);
        assert_eq!(slot.flush_at(ms(1_401), Some(ms(200)), ms(0)), ms(1_570));
    }

    #[test]
    fn with_an_idle_hub_the_first_word_goes_out_at_once_and_the_next_keeps_time() {
        let mut slot = slot();
        assert_eq!(slot.flush_at(ms(9_000), Some(ms(200)), ms(0)), ms(9_000));
        slot.pass(true, ms(9_000), ms(200), ms(7));
        // The hub beats at 9100 and next at 9500.
        assert_eq!(slot.flush_at(ms(9_010), Some(ms(200)), ms(0)), ms(9_370));
        assert_eq!(Slot::default().flush_at(ms(5), Some(ms(200)), ms(0)), ms(5));
    }

    #[test]
    fn a_leaf_that_has_told_its_hub_in_time_counts_on_the_next_beat_whether_it_hears_it_or_not() {
        let mut slot = slot();
        assert_eq!(slot.flush_at(ms(1_010), Some(ms(200)), ms(0)), ms(1_170));
        tell(&mut slot, 9, ms(1_170));
        // The hub beats at 1300, but maybe only to others.
        assert_eq!(slot.flush_at(ms(1_170), Some(ms(200)), ms(0)), ms(1_570));
        tell(&mut slot, 9, ms(1_570));
        assert_eq!(slot.flush_at(ms(1_900), Some(ms(200)), ms(0)), ms(1_970));
    }

    #[test]
    fn a_slot_in_which_there_was_nothing_to_say_is_over_all_the_same() {
        let mut slot = slot();
        assert_eq!(slot.flush_at(ms(1_040), Some(ms(200)), ms(0)), ms(1_170));
        slot.pass(false, ms(1_170), ms(200), ms(7));
        assert_eq!(slot.flush_at(ms(1_193), Some(ms(200)), ms(0)), ms(1_430));
    }

    #[test]
    fn a_leaf_with_few_values_has_one_last_call_before_the_beat() {
        let last_call = Duration::from_micros(1_192_500);
        // Nothing was sent in the slot at 1170.
        assert_eq!(slot().flush_at(ms(1_171), Some(ms(200)), ms(0)), last_call);
        for (entries, at) in [(3, last_call), (4, ms(1_570))] {
            let mut slot = slot();
            assert_eq!(slot.flush_at(ms(1_010), Some(ms(200)), ms(0)), ms(1_170));
            tell(&mut slot, entries, ms(1_170));
            assert_eq!(slot.flush_at(ms(1_171), Some(ms(200)), ms(0)), at);
            if at == last_call {
                slot.pass(true, last_call, ms(200), ms(7));
                assert_eq!(slot.flush_at(last_call, Some(ms(200)), ms(0)), ms(1_570));
            }
        }
        // The last call is over, and the next slot has one again.
        let mut slot = slot();
        slot.pass(true, ms(1_170), ms(200), ms(7));
        assert_eq!(slot.flush_at(ms(1_193), Some(ms(200)), ms(0)), ms(1_570));
        slot.pass(true, ms(1_570), ms(200), ms(7));
        assert_eq!(slot.flush_at(ms(1_571), Some(ms(200)), ms(0)), last_call + ms(400));
    }

    #[test]
    fn a_period_shorter_than_the_round_trip_is_kept_as_well() {
        let mut slot = Slot::default();
        slot.hear_beat(ms(1_000), ms(0), ms(40), false);
        let at = slot.flush_at(ms(1_001), Some(ms(200)), ms(0));
        assert!(at >= ms(1_001) && at <= ms(1_041), "{at:?}");
    }

    #[test]
    fn a_hub_that_knows_no_round_trip_promises_no_beat_and_waits_for_an_answer() {
        let mut beat = Beat::default();
        beat.begin(ms(5), None);
        assert_eq!((beat.last(ms(6)), beat.due(ms(6))), (Some((ms(1), None)), ms(1_005)));
        beat.settle(ms(205), ms(30), ms(230));
        assert_eq!(
            (beat.last(ms(205)), beat.due(ms(205))),
            (Some((ms(200), Some(ms(230)))), ms(235))
        );
        assert!(!beat.is_provisional());
    }

    #[test]
    fn a_first_beat_that_collected_greetings_counts_from_the_first_of_them() {
        let mut beat = Beat::default();
        beat.begin_collecting(ms(5));
        assert_eq!((beat.last(ms(6)), beat.due(ms(6))), (None, ms(155)));
        beat.begin(ms(155), None);
        assert_eq!(beat.last(ms(355)), Some((ms(350), None)));
        beat.settle(ms(355), ms(90), ms(440));
        assert_eq!(beat.last(ms(355)), Some((ms(350), Some(ms(440)))));
        assert_eq!(beat.due(ms(355)), ms(445));
        // An answer that comes after the period does not make the period longer.
        let mut late = Beat::default();
        late.begin(ms(5), None);
        late.settle(ms(9_005), ms(30), ms(440));
        assert_eq!(late.last(ms(9_005)), Some((ms(410), Some(ms(440)))));
        // A node that heard a greeting long ago, and becomes the hub now.
        let mut leaf = Beat::default();
        leaf.begin_collecting(ms(5));
        leaf.begin(ms(60_000), None);
        assert_eq!(leaf.last(ms(60_001)), Some((ms(1), None)));
        // Only the first beat collects.
        beat.begin_collecting(ms(400));
        assert_eq!(beat.due(ms(400)), ms(445));
    }

    #[test]
    fn a_hub_beats_once_a_period_and_at_once_after_a_pause() {
        let mut beat = Beat::default();
        assert_eq!(beat.due(ms(5)), ms(5));
        beat.begin(ms(5), Some(ms(400)));
        assert_eq!(beat.due(ms(6)), ms(405));
        assert_eq!(beat.last(ms(9)), Some((ms(4), Some(ms(400)))));
        assert_eq!(beat.due(ms(900)), ms(900));
    }
}
