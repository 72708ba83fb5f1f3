//! The program: flags, and the handler on stdin and stdout.

use clap::Parser;
use maelstrom_core::{DataArgs, NodeArgs};
use my_node::SetNode;

/// A node for Maelstrom's workload `g-set`. Speaks Maelstrom's protocol on stdin and stdout.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    data: DataArgs,
}

fn main() -> anyhow::Result<()> {
    let Cli { node, data } = Cli::parse();
    node.run_with(&data, SetNode::default())
}
