//! The engine's parameters as flags, the same for every node that is built on it.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::Config;
use crate::lines::LINE_BYTES_MAX;

/// Flags of a node that gossips; flatten them into a program's own.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Gossip")]
pub struct GossipArgs {
    /// How long a hub collects news before it passes them on, in ms. Longer: fewer messages and
    /// later news; what got lost is noticed later, too. By default a little more than twice the
    /// round trip, which is measured: at least what suits the node, at most 10 s.
    ///
    /// With a hop of 100 ms that is 410; 1700 makes a quarter of the messages, and a value is
    /// everywhere after 2 s.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    gossip_period: Option<u64>,

    /// About how many bytes of entries go into one message; a single entry always does.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().batch_bytes_max,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=BATCH_BYTES_MAX))]
    gossip_batch_bytes: usize,

    /// About how many bytes of the newest entries are kept in memory for nodes that lack them. Who
    /// lacks more gets a snapshot instead.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().log_bytes_max)]
    gossip_log_bytes: usize,

    /// How long beyond the measured round trip an answer may take at the least, in ms: then a node
    /// is asked again, and the second time it is taken to be down.
    #[arg(long, value_name = "MS", default_value_t = millis(Config::default().patience_min),
        value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    gossip_patience: u64,

    /// How often one of the nodes that are down is tried again, in ms. Where there is a hub that
    /// does so, the others do it up to 8 times less often.
    #[arg(long, value_name = "MS", default_value_t = millis(Config::default().probe_interval),
        value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    gossip_probe: u64,
}

/// A message must go into a line, or it would be skipped by its receiver again and again.
const BATCH_BYTES_MAX: u64 = LINE_BYTES_MAX as u64 / 2;

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl GossipArgs {
    /// The engine's configuration; `period_min` is the shortest period that it learns by itself.
    #[must_use]
    pub fn config(&self, period_min: Duration) -> Config {
        Config {
            period: self.gossip_period.map(Duration::from_millis),
            period_min,
            batch_bytes_max: self.gossip_batch_bytes,
            log_bytes_max: self.gossip_log_bytes,
            patience_min: Duration::from_millis(self.gossip_patience),
            probe_interval: Duration::from_millis(self.gossip_probe),
        }
    }
}
