//! The [metrics](maelstrom_core::metrics) of this crate. The committed offsets have the metrics of
//! [gossip](maelstrom_core::gossip::metrics) as well.
//!
//! Metrics about partitions count only the partitions that this node keeps, and that have been used.
//! A node also knows partitions to which it only forwards sends.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `kafka_partitions` | gauge | | Partitions of which this node keeps a replica that has been used. |
//! | `kafka_partitions_led` | gauge | | Partitions that this node leads. |
//! | `kafka_partitions_leaderless` | gauge | | Partitions of which this node knows no leader. |
//! | `kafka_partitions_under_replicated` | gauge | | Led partitions with a replica that is not in sync. |
//! | `kafka_partitions_unavailable` | gauge | | Partitions whose replicas cannot be compared, so that none may lead. |
//! | `kafka_epoch` | gauge | | Highest epoch of all partitions. |
//! | `kafka_in_sync_replicas` | gauge | | Replicas in sync, summed over all led partitions. |
//! | `kafka_in_sync_replicas_min` | gauge | | Replicas in sync in the led partition that has the fewest, 0 if none is led. |
//! | `kafka_follower_lag_entries` | gauge | `follower` | Entries that a follower is not known to have, summed over all led partitions. |
//! | `kafka_uncommitted_entries` | gauge | | End of the log minus high watermark, summed over all led partitions. |
//! | `kafka_log_entries` | gauge | | Entries in the logs of all partitions. |
//! | `kafka_log_bytes` | gauge | | Bytes of the entries in the logs of all partitions. |
//! | `kafka_sends_pending` | gauge | | Sends that have no outcome yet. |
//! | `kafka_sends_pending_bytes` | gauge | | Bytes of the sends that have no outcome yet. |
//! | `kafka_peers_down` | gauge | | Nodes that did not answer when they were last asked. |
//! | `kafka_elections_total` | counter | | Times that this node began to lead a partition. |
//! | `kafka_step_downs_total` | counter | | Times that a follower told this leader of a newer epoch. |
//! | `kafka_in_sync_changes_total` | counter | `change` | Changes of the in-sync set of a led partition: expand or shrink. |
//! | `kafka_truncations_total` | counter | | Times that a follower cut off a diverging suffix. |
//! | `kafka_redirects_total` | counter | | Sends that came to a node that does not lead their partition. |
//! | `kafka_sends_refused_total` | counter | `reason` | Sends that this leader refused: few_in_sync (few replicas are in sync) or no_room. |
//! | `kafka_sends_timed_out_total` | counter | | Sends given up after their time. |
//! | `kafka_failures_total` | counter | | Times that this node marked a peer as down. |

use std::collections::BTreeMap;

use maelstrom_core::NodeId;
use maelstrom_core::metrics::{Gauges, Metric, float};

use crate::KafkaLog;

/// The metrics of this crate, in the order of the documentation.
pub const METRICS: &[&Metric] = &[
    &PARTITIONS,
    &LED,
    &LEADERLESS,
    &UNDER_REPLICATED,
    &UNAVAILABLE,
    &EPOCH,
    &IN_SYNC,
    &IN_SYNC_MIN,
    &LAG,
    &UNCOMMITTED,
    &LOG_ENTRIES,
    &LOG_BYTES,
    &PENDING,
    &PENDING_BYTES,
    &PEERS_DOWN,
    &ELECTIONS,
    &STEP_DOWNS,
    &IN_SYNC_CHANGES,
    &TRUNCATIONS,
    &REDIRECTS,
    &REFUSALS,
    &TIMED_OUT,
    &FAILURES,
];

static PARTITIONS: Metric = Metric::gauge(
    "kafka_partitions",
    &[],
    "Partitions of which this node keeps a replica that has been used.",
);

static LED: Metric = Metric::gauge("kafka_partitions_led", &[], "Partitions that this node leads.");

static LEADERLESS: Metric = Metric::gauge(
    "kafka_partitions_leaderless",
    &[],
    "Partitions of which this node knows no leader.",
);

static UNDER_REPLICATED: Metric = Metric::gauge(
    "kafka_partitions_under_replicated",
    &[],
    "Led partitions with a replica that is not in sync.",
);

static UNAVAILABLE: Metric = Metric::gauge(
    "kafka_partitions_unavailable",
    &[],
    "Partitions whose replicas cannot be compared, so that none may lead.",
);

static EPOCH: Metric = Metric::gauge("kafka_epoch", &[], "Highest epoch of all partitions.");

static IN_SYNC: Metric = Metric::gauge(
    "kafka_in_sync_replicas",
    &[],
    "Replicas in sync, summed over all led partitions.",
);

static IN_SYNC_MIN: Metric = Metric::gauge(
    "kafka_in_sync_replicas_min",
    &[],
    "Replicas in sync in the led partition that has the fewest, 0 if none is led.",
);

static LAG: Metric = Metric::gauge(
    "kafka_follower_lag_entries",
    &["follower"],
    "Entries that a follower is not known to have, summed over all led partitions.",
);

static UNCOMMITTED: Metric = Metric::gauge(
    "kafka_uncommitted_entries",
    &[],
    "End of the log minus high watermark, summed over all led partitions.",
);

static LOG_ENTRIES: Metric =
    Metric::gauge("kafka_log_entries", &[], "Entries in the logs of all partitions.");

static LOG_BYTES: Metric =
    Metric::gauge("kafka_log_bytes", &[], "Bytes of the entries in the logs of all partitions.");

static PENDING: Metric =
    Metric::gauge("kafka_sends_pending", &[], "Sends that have no outcome yet.");

static PENDING_BYTES: Metric =
    Metric::gauge("kafka_sends_pending_bytes", &[], "Bytes of the sends that have no outcome yet.");

static PEERS_DOWN: Metric =
    Metric::gauge("kafka_peers_down", &[], "Nodes that did not answer when they were last asked.");

pub(crate) static ELECTIONS: Metric = Metric::counter(
    "kafka_elections_total",
    &[],
    "Times that this node began to lead a partition.",
);

pub(crate) static STEP_DOWNS: Metric = Metric::counter(
    "kafka_step_downs_total",
    &[],
    "Times that a follower told this leader of a newer epoch.",
);

pub(crate) static IN_SYNC_CHANGES: Metric = Metric::counter(
    "kafka_in_sync_changes_total",
    &["change"],
    "Changes of the in-sync set of a led partition: expand or shrink.",
);

pub(crate) static TRUNCATIONS: Metric = Metric::counter(
    "kafka_truncations_total",
    &[],
    "Times that a follower cut off a diverging suffix.",
);

pub(crate) static REDIRECTS: Metric = Metric::counter(
    "kafka_redirects_total",
    &[],
    "Sends that came to a node that does not lead their partition.",
);

pub(crate) static REFUSALS: Metric = Metric::counter(
    "kafka_sends_refused_total",
    &["reason"],
    "Sends that this leader refused: few_in_sync (few replicas are in sync) or no_room.",
);

pub(crate) static TIMED_OUT: Metric =
    Metric::counter("kafka_sends_timed_out_total", &[], "Sends given up after their time.");

pub(crate) static FAILURES: Metric =
    Metric::counter("kafka_failures_total", &[], "Times that this node marked a peer as down.");

/// Sums over the partitions of a node.
#[derive(Default)]
struct Sums<'a> {
    kept: usize,
    led: usize,
    leaderless: usize,
    under_replicated: usize,
    unavailable: usize,
    epoch: u64,
    in_sync: usize,
    in_sync_min: Option<usize>,
    lag: BTreeMap<&'a NodeId, u64>,
    uncommitted: u64,
    entries: u64,
    bytes: usize,
}

impl KafkaLog {
    pub(crate) fn collect_gauges(&self, gauges: &mut Gauges) {
        let sums = self.sums();
        gauges.set_count(&PARTITIONS, sums.kept);
        gauges.set_count(&LED, sums.led);
        gauges.set_count(&LEADERLESS, sums.leaderless);
        gauges.set_count(&UNDER_REPLICATED, sums.under_replicated);
        gauges.set_count(&UNAVAILABLE, sums.unavailable);
        gauges.set(&EPOCH, &[], float(sums.epoch));
        gauges.set_count(&IN_SYNC, sums.in_sync);
        gauges.set_count(&IN_SYNC_MIN, sums.in_sync_min.unwrap_or_default());
        for (follower, lag) in sums.lag {
            gauges.set(&LAG, &[follower], float(lag));
        }
        gauges.set(&UNCOMMITTED, &[], float(sums.uncommitted));
        gauges.set(&LOG_ENTRIES, &[], float(sums.entries));
        gauges.set_count(&LOG_BYTES, sums.bytes);
        gauges.set_count(&PENDING, self.sends.len());
        gauges.set_count(&PENDING_BYTES, self.sends.bytes());
        let down = self.links.values().filter(|link| link.is_down());
        gauges.set_count(&PEERS_DOWN, down.count());
    }

    fn sums(&self) -> Sums<'_> {
        let mut sums = Sums::default();
        let own = &self.own.id;
        let kept = self.partitions.iter().filter(|(id, _)| self.placement.keeps(own, *id));
        for (id, partition) in kept {
            sums.kept = sums.kept.saturating_add(1);
            let (log, end) = (partition.log(), partition.log().end());
            sums.epoch = sums.epoch.max(partition.epoch());
            sums.entries = sums.entries.saturating_add(end.saturating_sub(log.start()));
            sums.bytes = sums.bytes.saturating_add(log.bytes());
            let is_leaderless = usize::from(partition.leader().is_none());
            sums.leaderless = sums.leaderless.saturating_add(is_leaderless);
            let is_unavailable = usize::from(partition.unavailable().is_some());
            sums.unavailable = sums.unavailable.saturating_add(is_unavailable);
            let Some(lead) = partition.leadership() else { continue };
            let in_sync = lead.record().in_sync.len();
            sums.led = sums.led.saturating_add(1);
            sums.in_sync = sums.in_sync.saturating_add(in_sync);
            sums.in_sync_min = Some(sums.in_sync_min.map_or(in_sync, |least| least.min(in_sync)));
            let is_under = usize::from(in_sync < self.placement.replicas(id).len());
            sums.under_replicated = sums.under_replicated.saturating_add(is_under);
            let uncommitted = end.saturating_sub(partition.high());
            sums.uncommitted = sums.uncommitted.saturating_add(uncommitted);
            for (follower, lag) in lead.lags(end) {
                let sum = sums.lag.entry(follower).or_default();
                *sum = sum.saturating_add(lag);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        maelstrom_core::metrics::assert_documented(include_str!("metrics.rs"), METRICS);
    }
}
