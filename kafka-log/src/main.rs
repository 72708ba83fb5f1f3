//! Maelstrom's `kafka` node.

use clap::Parser;
use kafka_log::{GOSSIP_PERIOD_MIN, KafkaLog, LogArgs};
use maelstrom_core::gossip::GossipArgs;
use maelstrom_core::{DataArgs, LINE_BYTES_MAX, NodeArgs};

/// Logs of messages, replicated by leaders, epochs and in-sync replicas. Speaks Maelstrom's
/// protocol on stdin and stdout.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    gossip: GossipArgs,
}

fn main() -> anyhow::Result<()> {
    let Cli { node, data, log, gossip } = Cli::parse();
    // A batch of entries must fit into a line. If it did not, its receiver would skip it for ever.
    anyhow::ensure!(
        node.max_line_bytes() >= LINE_BYTES_MAX,
        "--max-line-bytes: nodes of a log need at least {LINE_BYTES_MAX}"
    );
    let gossip = gossip.config(node.max_line_bytes(), GOSSIP_PERIOD_MIN)?;
    let config = log.config(node.max_pending_bytes());
    node.run_with(&data, KafkaLog::new(config, gossip))
}
