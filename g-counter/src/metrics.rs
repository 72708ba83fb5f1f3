//! The [metrics](maelstrom_core::metrics) of this crate. A node has the metrics of
//! [gossip](maelstrom_core::gossip::metrics) as well.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `g_counter_recent_adds` | gauge | | Recent adds that this node recognizes when they come again. |
//! | `g_counter_repeated_adds_total` | counter | | Adds that came again and were not counted again. |

use maelstrom_core::metrics::Metric;

/// The metrics of this crate, in the order of the documentation.
pub const METRICS: &[&Metric] = &[&RECENT, &REPEATED];

pub(crate) static RECENT: Metric = Metric::gauge(
    "g_counter_recent_adds",
    &[],
    "Recent adds that this node recognizes when they come again.",
);

pub(crate) static REPEATED: Metric = Metric::counter(
    "g_counter_repeated_adds_total",
    &[],
    "Adds that came again and were not counted again.",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        maelstrom_core::metrics::assert_documented(include_str!("metrics.rs"), METRICS);
    }
}
