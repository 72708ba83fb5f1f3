//! The [metrics](crate::metrics) of the engine. A handler that
//! [forwards](crate::forward_to_gossip) to its engine has them.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `gossip_entries` | gauge | | Entries that this node has, in its logs or in its state. |
//! | `gossip_log_bytes` | gauge | | Bytes of the entries that this node still keeps for its peers. |
//! | `gossip_state_bytes` | gauge | | Estimated bytes of the state. |
//! | `gossip_round_trip_seconds` | gauge | | Median over all peers of the round trip, 0 if unknown. |
//! | `gossip_peers` | gauge | | Other nodes of the cluster. |
//! | `gossip_peers_down` | gauge | | Peers that did not answer when they were last needed. |
//! | `gossip_is_hub` | gauge | | 1 if no other node is the hub of this node, 0 otherwise. |
//! | `gossip_hub_changes_total` | counter | | Changes of this node's hub. |
//! | `gossip_failures_total` | counter | | Times that this node marked a peer as down. |
//! | `gossip_batch_entries` | histogram | | Entries in a message to a peer, if there are any. |
//! | `gossip_fetches_total` | counter | | Fetches: requests to a peer for entries that this node lacks. |
//! | `gossip_fetches_late_total` | counter | | Fetches that were given up, because no answer came in time. |
//! | `gossip_repairs_total` | counter | `with` | Answers to fetches of peers, with entries or with parts of the state. |
//! | `gossip_gaps_total` | counter | | Messages whose entries do not follow those that this node has. |

use std::time::Duration;

use super::{Gossip, State};
use crate::metrics::{Gauges, Metric, SIZES, float};

/// The metrics of the engine, in the order of the documentation.
pub const METRICS: &[&Metric] = &[
    &ENTRIES,
    &LOG_BYTES,
    &STATE_BYTES,
    &ROUND_TRIP,
    &PEERS,
    &PEERS_DOWN,
    &IS_HUB,
    &HUB_CHANGES,
    &FAILURES,
    &BATCH_ENTRIES,
    &FETCHES,
    &FETCHES_LATE,
    &REPAIRS,
    &GAPS,
];

static ENTRIES: Metric = Metric::gauge(
    "gossip_entries",
    &[],
    "Entries that this node has, in its logs or in its state.",
);

static LOG_BYTES: Metric = Metric::gauge(
    "gossip_log_bytes",
    &[],
    "Bytes of the entries that this node still keeps for its peers.",
);

static STATE_BYTES: Metric =
    Metric::gauge("gossip_state_bytes", &[], "Estimated bytes of the state.");

static ROUND_TRIP: Metric = Metric::gauge(
    "gossip_round_trip_seconds",
    &[],
    "Median over all peers of the round trip, 0 if unknown.",
);

static PEERS: Metric = Metric::gauge("gossip_peers", &[], "Other nodes of the cluster.");

static PEERS_DOWN: Metric = Metric::gauge(
    "gossip_peers_down",
    &[],
    "Peers that did not answer when they were last needed.",
);

static IS_HUB: Metric =
    Metric::gauge("gossip_is_hub", &[], "1 if no other node is the hub of this node, 0 otherwise.");

pub(super) static HUB_CHANGES: Metric =
    Metric::counter("gossip_hub_changes_total", &[], "Changes of this node's hub.");

pub(super) static FAILURES: Metric =
    Metric::counter("gossip_failures_total", &[], "Times that this node marked a peer as down.");

pub(super) static BATCH_ENTRIES: Metric = Metric::histogram(
    "gossip_batch_entries",
    &[],
    SIZES,
    "Entries in a message to a peer, if there are any.",
);

pub(super) static FETCHES: Metric = Metric::counter(
    "gossip_fetches_total",
    &[],
    "Fetches: requests to a peer for entries that this node lacks.",
);

pub(super) static FETCHES_LATE: Metric = Metric::counter(
    "gossip_fetches_late_total",
    &[],
    "Fetches that were given up, because no answer came in time.",
);

pub(super) static REPAIRS: Metric = Metric::counter(
    "gossip_repairs_total",
    &["with"],
    "Answers to fetches of peers, with entries or with parts of the state.",
);

pub(super) static GAPS: Metric = Metric::counter(
    "gossip_gaps_total",
    &[],
    "Messages whose entries do not follow those that this node has.",
);

impl<S: State> Gossip<S> {
    /// Sets the gauges of the engine. The handler forwards
    /// [`MessageHandler::gauges`](crate::MessageHandler::gauges) to this function.
    pub fn gauges(&self, _now: Duration, gauges: &mut Gauges) {
        gauges.set(&ENTRIES, &[], float(self.replica.version().total()));
        gauges.set_count(&LOG_BYTES, self.replica.log_bytes());
        gauges.set_count(&STATE_BYTES, self.state.bytes());
        let round_trip = self.usual_round_trip.unwrap_or_default();
        gauges.set(&ROUND_TRIP, &[], round_trip.as_secs_f64());
        gauges.set_count(&PEERS, self.peers.len());
        gauges.set_count(&PEERS_DOWN, self.peers.down_count());
        gauges.set_count(&IS_HUB, usize::from(self.hub.is_none()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        crate::metrics::assert_documented(include_str!("metrics.rs"), METRICS);
    }
}
