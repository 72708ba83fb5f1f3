//! The engine's parameters as flags, the same for every node that is built on it.

use std::time::Duration;

use clap::Args;

use super::Config;

/// Flags of a node that gossips; flatten them into a program's own.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Gossip")]
pub struct GossipArgs {
    /// How long a hub collects news before it passes them on, in ms. Longer: fewer messages and
    /// later news. By default a little more than twice the round trip, which is measured.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    gossip_period: Option<u64>,

    /// About how many bytes of entries go into one message; a single entry always does.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().batch_bytes_max)]
    gossip_batch_bytes: usize,

    /// About how many bytes of the newest entries are kept in memory for nodes that lack them. Who
    /// lacks more gets a snapshot instead.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().log_bytes_max)]
    gossip_log_bytes: usize,

    /// How long beyond the measured round trip an answer may take at the least, in ms: then a node
    /// is asked again, and the second time it is taken to be down.
    #[arg(long, value_name = "MS", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    gossip_patience: u64,

    /// How often nodes that are down are tried again, in ms.
    #[arg(long, value_name = "MS", default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    gossip_probe: u64,
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
