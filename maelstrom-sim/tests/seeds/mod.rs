//! The seeds of a test that is not a sweep.

use std::ops::Range;

/// `count` seeds, or as many as the environment variable `SEEDS` asks for.
#[expect(clippy::disallowed_methods, reason = "a test has no other command line")]
pub(crate) fn seeds(count: u64) -> Range<u64> {
    let asked = std::env::var("SEEDS").ok().filter(|text| !text.is_empty());
    0..asked.map_or(count, |text| text.parse().unwrap())
}
