//! Maelstrom's `echo` node.

use clap::Parser;
use echo::Echo;
use maelstrom_core::NodeArgs;

/// Answers every `echo` with the value of the request. Speaks Maelstrom's protocol on stdin and
/// stdout.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
}

fn main() -> anyhow::Result<()> {
    Cli::parse().node.run(Echo)
}
