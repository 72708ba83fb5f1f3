//! A node for the workload `fencing`.

use clap::Parser;
use maelstrom_core::NodeArgs;
use own_workload::Tokens;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    /// Count alone, without calling the service
    #[arg(long)]
    local: bool,
}

fn main() -> anyhow::Result<()> {
    let Cli { node, local } = Cli::parse();
    node.run(if local { Tokens::local() } else { Tokens::new() })
}
