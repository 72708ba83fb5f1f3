//! Maelstrom's `txn-rw-register` node.

use clap::{Parser, ValueEnum};
use maelstrom_core::gossip::{GossipArgs, StateArgs};
use maelstrom_core::{DataArgs, LINE_BYTES_MAX, NodeArgs};
use txn_rw::{Config, Isolation, OPERATIONS_MAX, PERIOD_MIN, TxnRw};

/// Transactions over a replicated map, run at once on any node. Speaks Maelstrom's protocol on
/// stdin and stdout.
///
/// Unless --gossip-period says otherwise, nodes collect for at least 60 ms. On a fast network they
/// are then at most 0.1 s behind each other, and n nodes send 2(n-1) messages in that time,
/// whatever the load.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    data: DataArgs,

    /// The isolation between transactions. The weaker levels exist to show the difference: with
    /// them, operations take 5 ms each, one by one. A transaction of more than 200 takes 1 s.
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
    /// A read-only transaction may see the writes of transactions that still run.
    ReadUncommitted,
    /// Each operation reads the values that are committed by then.
    ReadCommitted,
    /// A transaction reads from one snapshot, which is causally consistent.
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
    // The writes of a transaction must fit into a line. If they did not, a receiver would skip them
    // for ever.
    anyhow::ensure!(
        node.max_line_bytes() >= LINE_BYTES_MAX,
        "--max-line-bytes: nodes with transactions need at least {LINE_BYTES_MAX}"
    );
    let config = Config {
        isolation: isolation.into(),
        operations_max: max_txn_operations,
        running_bytes_max: node.max_pending_bytes(),
        gossip: state.limit(gossip.config(node.max_line_bytes(), PERIOD_MIN)?),
    };
    node.run_with(&data, TxnRw::new(config))
}
