//! Maelstrom's `g-counter` node.

use clap::Parser;
use g_counter::{GCounter, PERIOD_MIN};
use maelstrom_core::gossip::GossipArgs;
use maelstrom_core::{DataArgs, NodeArgs};

/// A counter that only grows, replicated to every node. Speaks Maelstrom's protocol on stdin and
/// stdout.
///
/// Unless --gossip-period says otherwise, nodes collect for at least 420 ms. On a fast network
/// reads are then at most 0.5 s behind, and n nodes send 2(n-1) messages in that time, whatever the
/// load.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    gossip: GossipArgs,
}

fn main() -> anyhow::Result<()> {
    let Cli { node, data, gossip } = Cli::parse();
    let config = gossip.config(node.max_line_bytes(), PERIOD_MIN)?;
    node.run_with(&data, GCounter::new(config))
}
