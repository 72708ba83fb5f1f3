//! Maelstrom's `txn-rw-register` node.

use clap::{Parser, ValueEnum};
use maelstrom_core::gossip::{GossipArgs, StateArgs};
use maelstrom_core::{DataArgs, LINE_BYTES_MAX, NodeArgs};
use txn_rw::{Config, Isolation, OPERATIONS_MAX, PERIOD_MIN, TxnRw};

/// Transactions over a replicated map, run at once on any node. Speaks Maelstrom's protocol on
/// stdin and stdout.
///
/// Unless --gossip-period says otherwise, nodes collect for at least 60 ms: on a fast network they
/// are then at most 0.1 s behind each other, and n nodes send 2(n-1) messages in that time, whatever
/// the load.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    data: DataArgs,

    /// What transactions may see of each other. The weaker levels are there to show the difference:
    /// with them, operations take 5 ms each, one by one; a transaction of more than 200 takes 1 s.
    #[arg(long, value_enum, default_value_t = Level::Causal)]
    isolation: Level,

    /// Refuse transactions of more operations than this.
    #[arg(long, value_name = "COUNT", default_value_t = OPERATIONS_MAX)]
    max_txn_operations: usize,

    #[command(flatten)]
    gossip: GossipArgs,
    #[command(flatten)]
    state: StateArgs,
}

/// The levels by name.
#[derive(Clone, Copy, ValueEnum)]
enum Level {
    /// Who only reads may see the writes of transactions that are still running.
    ReadUncommitted,
    /// Each operation sees what is committed by then.
    ReadCommitted,
    /// A transaction sees one snapshot, and all that led to what it sees.
    Causal,
}

impl From<Level> for Isolation {
    fn from(level: Level) -> Self {
        match level {
            Level::ReadUncommitted => Self::ReadUncommitted,
            Level::ReadCommitted => Self::ReadCommitted,
            Level::Causal => Self::Causal,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let Cli { node, data, isolation, max_txn_operations, gossip, state } = Cli::parse();
    // What a transaction writes has to fit into a line, or it would be skipped by its receiver for
    // ever.
    anyhow::ensure!(
        node.max_line_bytes() >= LINE_BYTES_MAX,
        "--max-line-bytes: nodes with transactions need at least {LINE_BYTES_MAX}"
    );
    let config = Config {
        isolation: isolation.into(),
        operations_max: max_txn_operations,
        gossip: state.limit(gossip.config(node.max_line_bytes(), PERIOD_MIN)?),
    };
    node.run_with(&data, TxnRw::new(config))
}
