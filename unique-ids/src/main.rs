//! Maelstrom's `unique-ids` node.

use clap::Parser;
use maelstrom_core::NodeArgs;
use unique_ids::UniqueIds;

/// Answers every `generate` with an id that no other request on any node ever gets. Nodes send each
/// other no messages. Speaks Maelstrom's protocol on stdin and stdout.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
}

fn main() -> anyhow::Result<()> {
    Cli::parse().node.run(UniqueIds::default())
}
