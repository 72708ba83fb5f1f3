//! The [metrics](maelstrom_core::metrics) of this crate. The number of ids is in the metrics of
//! every node: `maelstrom_requests_total`, with the type `generate`.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `unique_ids_last_stamp_seconds` | gauge | | Time in the last id, since the Unix epoch: later than now if ids run ahead. |
//! | `unique_ids_incarnations_total` | counter | | Incarnations drawn: one at the start, and one whenever all stamps are used up. |

use maelstrom_core::metrics::Metric;

/// The metrics of this crate, in the order of the documentation.
pub const METRICS: &[&Metric] = &[&STAMP, &INCARNATIONS];

pub(crate) static STAMP: Metric = Metric::gauge(
    "unique_ids_last_stamp_seconds",
    &[],
    "Time in the last id, since the Unix epoch: later than now if ids run ahead.",
);

pub(crate) static INCARNATIONS: Metric = Metric::counter(
    "unique_ids_incarnations_total",
    &[],
    "Incarnations drawn: one at the start, and one whenever all stamps are used up.",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        maelstrom_core::metrics::assert_documented(include_str!("metrics.rs"), METRICS);
    }
}
