//! The [metrics](maelstrom_core::metrics) of this crate. A node has the metrics of
//! [gossip](maelstrom_core::gossip::metrics) as well.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `txn_clock` | gauge | | Logical clock: the largest clock of a visible transaction. |
//! | `txn_registers` | gauge | | Keys that were ever written. |
//! | `txn_running` | gauge | | Transactions that wait for their next step. |
//! | `txn_running_bytes` | gauge | | Bytes of the transactions that wait for their next step. |
//! | `txn_messages_invalid_total` | counter | | Gossip messages that were refused as invalid. |
//! | `txn_clock_leaps_total` | counter | | Messages that raised the clock by more than 1,000. |

use maelstrom_core::metrics::Metric;

/// The metrics of this crate, in the order of the documentation.
pub const METRICS: &[&Metric] = &[&CLOCK, &REGISTERS, &RUNNING, &RUNNING_BYTES, &INVALID, &LEAPS];

pub(crate) static CLOCK: Metric =
    Metric::gauge("txn_clock", &[], "Logical clock: the largest clock of a visible transaction.");

pub(crate) static REGISTERS: Metric =
    Metric::gauge("txn_registers", &[], "Keys that were ever written.");

pub(crate) static RUNNING: Metric =
    Metric::gauge("txn_running", &[], "Transactions that wait for their next step.");

pub(crate) static RUNNING_BYTES: Metric = Metric::gauge(
    "txn_running_bytes",
    &[],
    "Bytes of the transactions that wait for their next step.",
);

pub(crate) static INVALID: Metric = Metric::counter(
    "txn_messages_invalid_total",
    &[],
    "Gossip messages that were refused as invalid.",
);

pub(crate) static LEAPS: Metric = Metric::counter(
    "txn_clock_leaps_total",
    &[],
    "Messages that raised the clock by more than 1,000.",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        maelstrom_core::metrics::assert_documented(include_str!("metrics.rs"), METRICS);
    }
}
