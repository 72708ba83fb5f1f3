//! The engine's parameters as command-line flags, the same for every node that uses the engine.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::Config;
use super::limits::{LINE_BYTES_MIN, batch_bytes_in};

/// Flags of a node that gossips. Flatten them into the flags of a program.
///
/// ```
/// use std::time::Duration;
///
/// use clap::Parser;
/// use maelstrom_core::gossip::{GossipArgs, StateArgs};
///
/// #[derive(Parser)]
/// struct Cli {
///     #[command(flatten)]
///     gossip: GossipArgs,
///     #[command(flatten)]
///     state: StateArgs,
/// }
///
/// let words = ["node", "--gossip-period", "250", "--max-state-bytes", "1000000"];
/// let cli = Cli::parse_from(words);
/// let config = cli.gossip.config(1 << 20, Duration::from_millis(5))?;
/// let config = cli.state.limit(config);
/// assert_eq!(config.period, Some(Duration::from_millis(250)));
/// assert_eq!((config.line_bytes_max, config.state_bytes_max), (1 << 20, 1_000_000));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Args, Clone, Debug)]
#[command(about = None, long_about = None, next_help_heading = "Gossip")]
pub struct GossipArgs {
    /// How long a hub collects entries before it passes them on, in ms. A longer period needs fewer
    /// messages, but entries arrive later, and a lost message is noticed later. The default is a
    /// little more than twice the measured round trip: at least the minimum of the node, at most 10
    /// s.
    ///
    /// With a hop of 100 ms the default is 454. A period of 1700 needs a third of the messages, and
    /// a value reaches every node within 2 s. A node that starts collects entries for about as
    /// long before its first message: 0.3 s by default, and at most 2 s.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    gossip_period: Option<u64>,

    /// The approximate size of the entries in one message, in bytes; a single entry always fits. At
    /// most a quarter of --max-line-bytes. [default: 262144, or less if lines are short]
    #[arg(long, value_name = "BYTES",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    gossip_batch_bytes: Option<usize>,

    /// The approximate size of the newest entries that stay in memory for nodes that lack them, in
    /// bytes. A node that lacks older entries gets a snapshot instead.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().log_bytes_max)]
    gossip_log_bytes: usize,

    /// The minimum time beyond the measured round trip that an answer may take, in ms. After that
    /// the node asks again, and after a second silence it considers the other node down.
    #[arg(long, value_name = "MS", default_value_t = millis(Config::default().patience_min),
        value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    gossip_patience: u64,

    /// How often a node probes one of the nodes that are down, in ms. If a hub does so, the other
    /// nodes probe up to 8 times less often.
    #[arg(long, value_name = "MS", default_value_t = millis(Config::default().probe_interval),
        value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    gossip_probe: u64,
}

/// The limit of a node that keeps all values of its clients. Flatten it into the flags of such a
/// program. [`GossipArgs`] shows it in use.
#[derive(Args, Clone, Copy, Debug)]
#[command(about = None, long_about = None)]
pub struct StateArgs {
    /// Refuse all writes of clients with error 11 once the values of the node take more than about
    /// this many bytes. The node still accepts values from other nodes. [default: no limit]
    #[arg(long, value_name = "BYTES")]
    max_state_bytes: Option<usize>,
}

impl StateArgs {
    /// The engine's configuration with this limit.
    #[must_use]
    pub fn limit(self, config: Config) -> Config {
        let state_bytes_max = self.max_state_bytes.unwrap_or(config.state_bytes_max);
        Config { state_bytes_max, ..config }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl GossipArgs {
    /// The engine's configuration, for a node that reads lines of up to `line_bytes_max` bytes.
    /// `period_min` is the shortest period that the node may learn.
    ///
    /// # Errors
    ///
    /// If lines are too short for gossip, or for batches of the requested size. Receivers would
    /// skip such messages again and again.
    pub fn config(&self, line_bytes_max: usize, period_min: Duration) -> anyhow::Result<Config> {
        anyhow::ensure!(
            line_bytes_max >= LINE_BYTES_MIN,
            "--max-line-bytes: nodes that gossip need at least {LINE_BYTES_MIN}"
        );
        let batch_bytes_max = batch_bytes_in(line_bytes_max);
        let default = Config::default();
        let batch_bytes =
            self.gossip_batch_bytes.unwrap_or(default.batch_bytes_max.min(batch_bytes_max));
        anyhow::ensure!(
            batch_bytes <= batch_bytes_max,
            "--gossip-batch-bytes: with lines of up to {line_bytes_max} bytes (see \
             --max-line-bytes), at most {batch_bytes_max}"
        );
        Ok(Config {
            period: self.gossip_period.map(Duration::from_millis),
            period_min,
            batch_bytes_max: batch_bytes,
            line_bytes_max,
            log_bytes_max: self.gossip_log_bytes,
            state_bytes_max: default.state_bytes_max,
            patience_min: Duration::from_millis(self.gossip_patience),
            probe_interval: Duration::from_millis(self.gossip_probe),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::message::LINE_BYTES_MAX;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        gossip: GossipArgs,
    }

    /// The batch size, or the reason why a node does not start.
    fn batch_bytes(line_bytes_max: usize, batch: Option<&str>) -> Result<usize, String> {
        let flag = batch.map(|batch| ["--gossip-batch-bytes", batch]);
        let words = ["node"].into_iter().chain(flag.into_iter().flatten());
        let args = Cli::try_parse_from(words).map_err(|error| error.to_string())?.gossip;
        let config =
            args.config(line_bytes_max, Duration::ZERO).map_err(|error| error.to_string())?;
        assert_eq!(config.line_bytes_max, line_bytes_max);
        Ok(config.batch_bytes_max)
    }

    #[test]
    fn a_node_does_not_start_with_lines_that_do_not_hold_its_messages() {
        let why = batch_bytes(512, None).unwrap_err();
        assert_eq!(why, "--max-line-bytes: nodes that gossip need at least 65536");
        assert!(batch_bytes(LINE_BYTES_MIN - 1, None).is_err());
        assert_eq!(batch_bytes(LINE_BYTES_MIN, None), Ok(16 << 10));
        assert_eq!(batch_bytes(LINE_BYTES_MAX, None), Ok(256 << 10));
        let why = batch_bytes(LINE_BYTES_MAX, Some("8388608")).unwrap_err();
        let expected = "--gossip-batch-bytes: with lines of up to 16777216 bytes (see \
                        --max-line-bytes), at most 4194304";
        assert_eq!(why, expected);
        assert_eq!(batch_bytes(2 * LINE_BYTES_MAX, Some("8388608")), Ok(8 << 20));
        assert_eq!(batch_bytes(LINE_BYTES_MAX, Some("4194304")), Ok(4 << 20));
        assert_eq!(batch_bytes(LINE_BYTES_MIN, Some("1")), Ok(1));
        assert!(batch_bytes(LINE_BYTES_MIN, Some("20000")).is_err());
        assert!(batch_bytes(LINE_BYTES_MAX, Some("0")).is_err());
    }
}
