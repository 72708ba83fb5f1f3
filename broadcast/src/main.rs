//! Maelstrom's `broadcast` node.

use broadcast::Broadcast;
use clap::Parser;
use maelstrom_core::NodeArgs;

/// A set of JSON values, replicated to every node. Speaks Maelstrom's protocol on stdin and stdout.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
}

fn main() -> anyhow::Result<()> {
    Cli::parse().node.run(Broadcast::default())
}
