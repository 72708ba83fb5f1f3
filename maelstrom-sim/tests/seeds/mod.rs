//! The settings of a test that is not a sweep.

use std::ops::Range;

/// `count` seeds, or as many as the environment variable `SEEDS` asks for.
#[allow(dead_code, reason = "not all programs of tests need both functions")]
pub(crate) fn seeds(count: u64) -> Range<u64> {
    0..number_from_env("SEEDS").unwrap_or(count)
}

/// The number in an environment variable, if that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "a test has no other command line")]
pub(crate) fn number_from_env(name: &str) -> Option<u64> {
    let asked = std::env::var(name).ok().filter(|text| !text.is_empty());
    asked.map(|text| text.parse().unwrap())
}
