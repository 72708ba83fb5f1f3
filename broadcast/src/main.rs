//! Maelstrom's `broadcast` node.

use std::time::Duration;

use broadcast::Broadcast;
use clap::Parser;
use maelstrom_core::gossip::{GossipArgs, StateArgs};
use maelstrom_core::{DataArgs, LINE_BYTES_MAX, NodeArgs};

/// A set of JSON values, replicated to every node. Speaks Maelstrom's protocol on stdin and stdout.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    gossip: GossipArgs,
    #[command(flatten)]
    state: StateArgs,
}

/// The default for the shortest gossip period: so short that no client notices it.
const PERIOD_MIN: Duration = Duration::from_millis(5);

fn main() -> anyhow::Result<()> {
    let Cli { node, data, gossip, state } = Cli::parse();
    // A batch of values must fit into a line. If it did not, its receiver would skip it for ever.
    anyhow::ensure!(
        node.max_line_bytes() >= LINE_BYTES_MAX,
        "--max-line-bytes: nodes of a broadcast need at least {LINE_BYTES_MAX}"
    );
    let config = gossip.config(node.max_line_bytes(), PERIOD_MIN)?;
    node.run_with(&data, Broadcast::new(state.limit(config)))
}
