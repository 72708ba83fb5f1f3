//! Tests the conclusions about a peer from its messages, and from its silence.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use super::super::Config;
use super::super::members::{fetch_slack, slack};
use super::*;

const SLACK: Duration = ms(100);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn have(count: u64) -> VersionVector {
    vec![("n1".into(), 1, count)].into()
}

fn echo(sent_ms: u64) -> Option<Echo> {
    Some(Echo { life: 0, sent: sent_ms * 1_000, held: 0 })
}

/// A peer in life 5 that has heard the message sent at 10 ms, and has three entries.
fn peer() -> Peer {
    let mut peer = Peer::new(1);
    assert_eq!(peer.record_message(ms(20), 5, 1, echo(10)), Standing::Reborn);
    peer.acknowledged(ms(20), &have(3), SLACK);
    peer
}

#[test]
fn a_new_life_is_believed_once_it_has_heard_news_that_the_old_one_cannot_have() {
    let mut peer = peer();
    for nothing_newer in [None, echo(5), echo(10)] {
        assert_eq!(peer.record_message(ms(30), 6, 1, nothing_newer), Standing::Unclear);
        assert!(peer.known.covers(&have(3)) && peer.life() == Some(5));
    }
    assert_eq!(peer.record_message(ms(40), 5, 2, None), Standing::Same);
    assert_eq!(peer.record_message(ms(50), 6, 2, echo(11)), Standing::Reborn);
    assert_eq!(peer.known, VersionVector::default());
    // Now the old life is the one whose echo shows nothing new.
    assert_eq!(peer.record_message(ms(60), 5, 3, echo(10)), Standing::Unclear);
    assert_eq!(peer.life(), Some(6));
}

#[test]
fn a_message_that_was_overtaken_sets_nothing_back() {
    let mut peer = peer();
    peer.record_message(ms(30), 5, 9, echo(25));
    peer.record_message(ms(31), 5, 4, echo(15));
    assert_eq!(peer.echo(ms(32)), Some(Echo { life: 5, sent: 9, held: 2_000 }));
    assert_eq!(
        peer.record_message(ms(40), 6, 1, echo(20)),
        Standing::Unclear,
        "25 ms had been heard"
    );
}

#[test]
fn news_for_a_life_that_is_over_counts_for_nothing() {
    let mut peer = peer();
    (peer.is_introduced, peer.fetch_at) = (true, Some(ms(99)));
    peer.told = have(3);
    peer.ask(ms(30), ms(0), SLACK);
    peer.record_message(ms(50), 6, 2, echo(30));
    assert!(!peer.is_introduced && peer.awaited.is_none() && peer.fetch_at.is_none());
    // Entries that were sent before the peer's first message count if this life has heard them.
    for (heard, is_introduced) in [(echo(10), true), (None, false)] {
        let mut peer = Peer::new(1);
        peer.is_introduced = true;
        peer.ask(ms(10), ms(0), SLACK);
        peer.record_message(ms(20), 5, 1, heard);
        assert_eq!(peer.is_introduced, is_introduced);
        assert_eq!(peer.awaited.is_some(), is_introduced, "and is still to be confirmed");
    }
}

#[test]
fn a_peer_that_is_silent_twice_is_silent_and_one_that_only_lags_is_not() {
    let mut peer = peer();
    peer.told = have(4);
    peer.ask(ms(30), ms(0), SLACK);
    assert!(!peer.is_overdue(ms(129)) && peer.is_overdue(ms(130)) && !peer.is_silent());
    peer.ask_again(ms(130), SLACK);
    assert!(!peer.is_overdue(ms(229)) && peer.is_overdue(ms(230)) && peer.is_silent());
    // An echo of the first question shows that the peer hears. It does not show that it has heard
    // the second one.
    peer.record_message(ms(231), 5, 2, echo(30));
    peer.acknowledged(ms(231), &have(3), SLACK);
    assert!(peer.is_silent());
    peer.record_message(ms(232), 5, 3, echo(130));
    peer.acknowledged(ms(232), &have(3), SLACK);
    assert!(!peer.is_silent() && peer.awaited.is_some());
    peer.acknowledged(ms(233), &have(4), SLACK);
    assert!(peer.awaited.is_none());
}

#[test]
fn a_peer_that_lags_is_asked_less_and_less_often_up_to_a_limit() {
    let mut peer = peer();
    peer.told = have(4);
    let (mut now, mut waits) = (ms(30), Vec::new());
    peer.ask(now, ms(0), SLACK);
    for n in 0..8 {
        let deadline = peer.awaited.as_ref().unwrap().deadline;
        waits.push((deadline - now).as_millis());
        now = deadline;
        peer.record_message(now, 5, 2 + n, echo(u64::try_from(now.as_millis()).unwrap()));
        peer.ask_again(now, SLACK);
    }
    assert_eq!(waits, [100, 100, 200, 400, 800, 1_600, 1_600, 1_600]);
}

#[test]
fn news_after_the_confirmed_news_is_awaited_next() {
    let mut peer = peer();
    peer.told = have(4);
    peer.ask(ms(30), ms(1_500), SLACK);
    peer.told = have(5);
    peer.ask(ms(40), ms(1_500), SLACK);
    assert_eq!(peer.awaited.as_ref().unwrap().deadline, ms(1_630));
    // The peer must state its version after it has heard the question.
    peer.acknowledged(ms(45), &have(4), SLACK);
    assert_eq!(peer.awaited.as_ref().unwrap().sent, 30_000);
    peer.record_message(ms(50), 5, 2, echo(30));
    peer.acknowledged(ms(50), &have(4), SLACK);
    let awaited = peer.awaited.as_ref().unwrap();
    assert_eq!((awaited.sent, awaited.deadline), (40_000, ms(1_640)));
    assert!(!peer.known.covers(&peer.told), "the peer has not confirmed all that it was told");
    peer.record_message(ms(60), 5, 3, echo(40));
    peer.acknowledged(ms(60), &have(5), SLACK);
    assert!(peer.awaited.is_none());
}

#[test]
fn only_an_answer_to_a_message_sent_since_brings_a_peer_back() {
    let mut peer = peer();
    assert!(!peer.mark_up(ms(90)), "it is up");
    peer.is_introduced = true;
    peer.mark_down(ms(100));
    assert!(!peer.is_up() && !peer.is_introduced);
    peer.record_message(ms(110), 5, 2, echo(99));
    assert!(!peer.mark_up(ms(110)) && !peer.is_up());
    peer.record_message(ms(120), 5, 3, echo(101));
    assert!(peer.mark_up(ms(120)) && peer.is_up());
}

#[test]
fn each_fall_costs_twice_the_trust_until_it_is_forgiven() {
    // The peer has been up for a long time.
    let (mut peer, mut now) = (peer(), ms(1_000_000));
    let mut fall_and_rise = |pause: Duration| {
        now += pause;
        peer.mark_down(now);
        now += ms(10);
        peer.record_message(now, 5, micros(now), echo(u64::try_from(now.as_millis()).unwrap()));
        assert!(peer.mark_up(now));
        peer.trusted_from.saturating_sub(now).as_secs()
    };
    let distrust: Vec<_> = (0..9).map(|_| fall_and_rise(ms(10))).collect();
    assert_eq!(distrust, [0, 1, 2, 4, 8, 16, 32, 32, 32]);
    let distrust = [ms(93_000), ms(10), ms(10)].map(fall_and_rise);
    assert_eq!(distrust, [0, 1, 2]);
}

/// Messages carry whole microseconds, and clocks are finer.
#[test]
fn an_answer_to_a_peer_that_slept_tells_how_far_it_is() {
    let mut round_trip = RoundTrip::default();
    let awake = ms(4_000) + Duration::from_nanos(700);
    round_trip.sample(awake, ms(10), ms(0));
    round_trip.sample(awake + ms(20), Duration::from_micros(micros(awake)), ms(0));
    assert_eq!(round_trip.estimate().map(|it| it.as_millis()), Some(20));
}

#[test]
fn the_round_trip_is_the_median_and_a_sleep_is_one_sample() {
    let mut round_trip = RoundTrip::default();
    assert_eq!(round_trip.estimate(), None);
    for n in 0..6 {
        round_trip.sample(ms(100 * n + 20), ms(100 * n), ms(0));
    }
    assert_eq!((round_trip.estimate(), round_trip.variation()), (Some(ms(20)), ms(0)));
    // The messages that waited during the pause arrive at once. Most of them were sent before the
    // last sample.
    for sent in 700..900 {
        round_trip.sample(ms(5_000), ms(sent), ms(0));
    }
    assert_eq!(round_trip.estimate(), Some(ms(20)));
    // The time that the peer held a message does not count. Impossible samples are ignored.
    round_trip.sample(ms(6_000), ms(5_900), ms(80));
    round_trip.sample(ms(7_000), ms(6_900), ms(500));
    round_trip.sample(ms(7_000), ms(8_000), ms(0));
    assert_eq!(round_trip.estimate(), Some(ms(20)));
    for n in 0..8 {
        round_trip.sample(ms(10_000 + 100 * n), ms(9_950 + 100 * n), ms(10 * (n % 2)));
    }
    assert_eq!((round_trip.estimate(), round_trip.variation()), (Some(ms(40)), ms(10)));
}

#[test]
fn a_first_sample_that_includes_a_pause_makes_no_fetch_wait_as_long() {
    let slack = |usual, peer: &Peer| fetch_slack(&Config::default(), usual, peer);
    let mut peer = Peer::new(1);
    peer.round_trip.sample(ms(7_000), ms(0), ms(0));
    assert_eq!(slack(Some(ms(50)), &peer), ms(1_500));
    // All peers are that far away, or this is the only one.
    assert!(slack(Some(ms(7_000)), &peer) > ms(7_000) && slack(None, &peer) > ms(7_000));
    peer.round_trip.sample(ms(14_000), ms(7_000), ms(0));
    assert!(slack(Some(ms(50)), &peer) > ms(7_000), "two samples are no pause");
}

#[test]
fn an_answer_may_take_as_long_as_the_flag_says_however_long_that_is() {
    let mut measured = peer();
    measured.record_message(ms(30), 5, 2, echo(25));
    let slack_with = |patience_min, peer: &Peer| {
        let config = Config { patience_min, ..Config::default() };
        slack(&config, None, peer).as_millis()
    };
    for (patience, expected, unknown) in
        [(1, 1..=100, 3_000), (20_000, 20_000..=20_000, 20_000), (9_999, 10_000..=10_000, 9_999)]
    {
        let [known, new] = [&measured, &Peer::new(1)].map(|peer| slack_with(ms(patience), peer));
        assert!(expected.contains(&known) && new == unknown, "{patience}: {known} and {new} ms");
    }
}

/// A peer gets no pushes while it fetches.
#[test]
fn a_peer_fetches_no_more_once_it_has_everything_or_is_silent_or_down_or_reborn() {
    let fetching = || {
        let mut peer = peer();
        peer.note_told(&have(5), 1);
        peer.fetches_until = Some(ms(500));
        peer.acknowledged(ms(30), &have(4), SLACK);
        assert!(peer.is_fetching(ms(499)));
        peer
    };
    assert!(!fetching().is_fetching(ms(500)));
    let mut peer = fetching();
    peer.acknowledged(ms(40), &have(5), SLACK);
    assert!(!peer.is_fetching(ms(40)));
    let mut peer = fetching();
    peer.mark_down(ms(40));
    assert!(!peer.is_fetching(ms(40)));
    let mut peer = fetching();
    assert_eq!(peer.record_message(ms(40), 6, 1, echo(11)), Standing::Reborn);
    assert!(!peer.is_fetching(ms(40)));
}
