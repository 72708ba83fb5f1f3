//! The guarantees of token buckets, and a comparison with a naive model.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::admission::Limit;
use super::bucket::{Bucket, Rate};
use super::clients::Clients;
use super::*;
use crate::message::NodeId;

fn per_second(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A rate. For some rates, a token does not take a whole number of nanoseconds.
fn any_rate() -> impl Strategy<Value = u32> {
    prop_oneof![1_u32..10, 1_u32..1_000, Just(u32::MAX), Just(999_999_937)]
}

/// The times between requests, in nanoseconds: none, little or much for such a rate.
fn any_gaps(count: usize) -> impl Strategy<Value = Vec<u64>> {
    let gap = prop_oneof![
        4 => Just(0),
        4 => 0_u64..5_000_000,
        2 => 0_u64..400_000_000,
        1 => 0_u64..3_000_000_000,
    ];
    prop::collection::vec(gap, 1..count)
}

/// The times of requests with these gaps.
fn times(gaps: &[u64]) -> Vec<Duration> {
    let mut now = Duration::from_secs(3);
    let next = |gap: &u64| {
        now += Duration::from_nanos(*gap);
        now
    };
    gaps.iter().map(next).collect()
}

/// Whether every interval holds at most as many of these requests as the rate allows.
fn is_within(rate: u32, taken: &[Duration]) -> bool {
    let is_allowed = |(from, until): (usize, usize)| {
        let nanos = (taken[until] - taken[from]).as_nanos();
        let count = (until - from + 1) as u128;
        // count <= rate * t + rate
        count * 1_000_000_000 <= u128::from(rate) * (nanos + 1_000_000_000)
    };
    let windows = (0..taken.len()).flat_map(|from| (from..taken.len()).map(move |to| (from, to)));
    windows.into_iter().all(is_allowed)
}

/// A textbook token bucket: a number of tokens, in units of 10⁻⁹, that grows with time.
struct Tokens {
    tokens: u128,
    at: Duration,
}

impl Tokens {
    fn full(rate: u32) -> Self {
        Self { tokens: u128::from(rate) * 1_000_000_000, at: Duration::ZERO }
    }

    fn take(&mut self, rate: u32, now: Duration) -> bool {
        let come = (now - self.at).as_nanos() * u128::from(rate);
        self.tokens = (self.tokens + come).min(u128::from(rate) * 1_000_000_000);
        self.at = now;
        let is_taken = self.tokens >= 1_000_000_000;
        self.tokens -= if is_taken { 1_000_000_000 } else { 0 };
        is_taken
    }
}

proptest! {
    #[test]
    fn a_bucket_is_the_same_as_counted_tokens(rate in any_rate(), gaps in any_gaps(100)) {
        let (mut bucket, mut model) = (Bucket::default(), Tokens::full(rate));
        for now in times(&gaps) {
            let next = bucket.take(Rate::new(per_second(rate)), now);
            prop_assert_eq!(next.is_some(), model.take(rate, now), "at {:?}", now);
            bucket = next.unwrap_or(bucket);
        }
    }

    #[test]
    fn no_time_holds_more_requests_than_the_rate_and_one_second_of_it(
        rate in 1_u32..20,
        gaps in any_gaps(150),
    ) {
        let mut bucket = Bucket::default();
        let mut taken = Vec::new();
        for now in times(&gaps) {
            if let Some(next) = bucket.take(Rate::new(per_second(rate)), now) {
                (bucket, _) = (next, taken.push(now));
            }
        }
        prop_assert!(is_within(rate, &taken), "{:?}", taken);
    }

}

proptest! {
    #![proptest_config(crate::any_json::cases(64))]

    /// This includes clients that lose their bucket to another client.
    #[test]
    fn no_client_and_not_all_of_them_get_more_than_their_limit(
        rate in 1_u32..5,
        gaps in any_gaps(400),
        names in prop::collection::vec(0..3 * CLIENTS_MAX, 400),
    ) {
        let mut clients = Clients::new(Rate::new(per_second(rate)));
        let mut taken: BTreeMap<NodeId, Vec<Duration>> = BTreeMap::new();
        for (now, name) in times(&gaps).into_iter().zip(names) {
            let long = if name % 7 == 0 { NAME_BYTES_MAX } else { 0 };
            let name: NodeId = format!("c{name}{}", "x".repeat(long)).into();
            if let Some(bucket) = clients.take(&name, now) {
                clients.put(&name, bucket, now);
                taken.entry(name).or_default().push(now);
            }
            prop_assert!(clients.len() <= CLIENTS_MAX);
        }
        for (name, taken) in &taken {
            prop_assert!(is_within(rate, taken), "{}: {:?}", name, taken);
        }
        let mut all: Vec<Duration> = taken.into_values().flatten().collect();
        all.sort();
        let buckets = u32::try_from(CLIENTS_MAX).unwrap() + 1;
        prop_assert!(is_within(rate * buckets, &all));
    }
}

#[test]
fn a_clock_that_stands_still_brings_no_token() {
    let rate = Rate::new(per_second(5));
    for now in [Duration::ZERO, Duration::from_secs(9), Duration::MAX] {
        let mut bucket = Bucket::default();
        for _ in 0..5 {
            bucket = bucket.take(rate, now).unwrap();
        }
        assert_eq!(bucket.take(rate, now), None, "at {now:?}");
    }
}

#[test]
fn a_token_comes_when_it_is_due_and_no_nanosecond_before() {
    let rate = Rate::new(per_second(3));
    let now = Duration::from_secs(7);
    let empty = (0..3).fold(Bucket::default(), |bucket, _| bucket.take(rate, now).unwrap());
    let third = Duration::from_nanos(333_333_334);
    assert_eq!(empty.take(rate, now + third - Duration::from_nanos(1)), None);
    assert!(empty.take(rate, now + third).is_some());
    assert!(!empty.is_full(rate, now + ms(1_000) - Duration::from_nanos(1)));
    assert!(empty.is_full(rate, now + ms(1_000)));
}

fn admission(all: Option<u32>, each: Option<u32>) -> Admission {
    let limits = Limits {
        requests_per_second: all.map(per_second),
        client_requests_per_second: each.map(per_second),
        ..Limits::default()
    };
    Admission::new(&limits).unwrap()
}

#[test]
fn a_client_beyond_its_own_limit_does_not_use_up_that_of_the_node() {
    let mut admission = admission(Some(4), Some(2));
    let mut admit = |name: &str, at| admission.admit(&name.into(), 1, ms(at));
    for _ in 0..2 {
        assert_eq!(admit("flood", 0), Ok(()));
    }
    for _ in 0..100 {
        assert_eq!(admit("flood", 0), Err(Limit::ClientRequests));
    }
    assert_eq!((admit("c1", 0), admit("c1", 0)), (Ok(()), Ok(())));
    // Now the limit of the node refuses requests, and these take no token of the client.
    for _ in 0..100 {
        assert_eq!(admit("c2", 0), Err(Limit::Requests));
    }
    assert_eq!((admit("c2", 500), admit("c2", 500)), (Ok(()), Ok(())));
    assert_eq!(admit("c2", 500), Err(Limit::ClientRequests));
}

#[test]
fn one_client_more_than_there_are_buckets_shares_one_until_another_is_full_again() {
    let mut admission = admission(None, Some(1));
    let mut admit = |name: usize, at| admission.admit(&format!("c{name}").into(), 1, ms(at));
    for name in 0..CLIENTS_MAX {
        assert_eq!(admit(name, name as u64), Ok(()));
    }
    assert_eq!(admit(100, 500), Ok(()));
    assert_eq!(admit(101, 500), Err(Limit::ClientRequests), "it shares the bucket of c100");
    assert_eq!(admit(0, 500), Err(Limit::ClientRequests), "its bucket is kept");
    // The bucket of c0 is full, but the shared bucket is not: c101 gains nothing by a new bucket.
    assert_eq!(admit(101, 1_000), Err(Limit::ClientRequests));
    assert_eq!(admit(101, 1_500), Ok(()));
    assert_eq!(admit(101, 1_500), Err(Limit::ClientRequests), "it has the bucket that was c0's");
    assert_eq!(admit(102, 1_500), Ok(()), "and this one that of c1");
}

#[test]
fn a_client_with_a_long_name_has_no_bucket_of_its_own() {
    let mut clients = Clients::new(Rate::new(per_second(1)));
    for (bytes, at, kept) in [(NAME_BYTES_MAX + 1, 0, 0), (NAME_BYTES_MAX, 1_000, 1)] {
        let name: NodeId = "x".repeat(bytes).into();
        let bucket = clients.take(&name, ms(at)).unwrap();
        clients.put(&name, bucket, ms(at));
        assert_eq!(clients.len(), kept);
    }
}

#[test]
fn nothing_is_kept_without_limits() {
    assert!(Admission::new(&Limits::default()).is_none());
    assert!(Admission::new(&Limits { pending_bytes: 0, ..Limits::default() }).is_none());
    assert!(Admission::new(&Limits { open_requests: 1, ..Limits::default() }).is_some());
}

#[test]
fn the_log_tells_of_all_refusals_and_at_most_once_per_second() {
    let mut admission = admission(Some(1), None);
    let mut told = Vec::new();
    for at in 0..2_500 {
        told.extend(admission.refuse_one(ms(at)));
    }
    assert_eq!(told, [1, 1_000, 1_000]);
    assert_eq!(admission.refused(), 2_500);
}
