//! A node for the workload `pn-counter`: a replicated counter that goes up and down.
//!
//! Run it under the checker, with real processes that keep their records:
//!
//! ```sh
//! cargo build --release -p maelstrom-sim --examples
//! target/release/maelstrom-sim test -w pn-counter --bin target/release/examples/pn_counter \
//!     --node-count 3 --time-limit 10 --rate 100 --nemesis partition,kill -- --data-dir "$PWD/store/pn"
//! ```
//!
//! It is hard to sum numbers that may arrive in any order, twice, or not at all. Totals that only
//! grow are easy: of two versions of such a total, the larger one is newer. So each writer (one
//! life of one node) has a row of two totals: the sum of its increments and the sum of its
//! decrements. Only the writer changes its row. The value of the counter is the sum over all rows.
//! (Shapiro, Preguiça, Baquero, Zawirski, *A comprehensive study of convergent and commutative
//! replicated data types*, 2011, section 3.1.3.)
//!
//! The engine [`gossip`] replicates each node's row to all others, and restores the rows from its
//! records after a restart. The newest totals replace all earlier ones. So the engine keeps one
//! entry per row, and no other node needs a snapshot.

use std::collections::BTreeMap;

use clap::Parser;
use maelstrom_core::gossip::{self, Entry, Gossip, Origin, State, Tick};
use maelstrom_core::{DataArgs, Error, MessageHandler, Node, NodeArgs, Request};
use serde::{Deserialize, Serialize};

/// The sum of a writer's increments, and the sum of its decrements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Row(u64, u64);

impl Entry for Row {
    /// A row replaces all earlier versions of it.
    const CUMULATIVE: bool = true;

    fn encoded_len(&self) -> usize {
        // Two numbers of at most 20 digits, two brackets, and two commas.
        44
    }
}

#[derive(Debug, Default)]
struct Rows(BTreeMap<Origin, Row>);

impl Rows {
    fn row(&self, writer: &Origin) -> Row {
        self.0.get(writer).copied().unwrap_or_default()
    }

    fn sum(&self) -> i128 {
        let net = |row: &Row| i128::from(row.0).saturating_sub(row.1.into());
        self.0.values().map(net).fold(0, i128::saturating_add)
    }
}

impl State for Rows {
    type Entry = Row;
    /// Other nodes need no snapshots: the newest entry of each row replaces all others.
    type Piece = ();

    fn apply(&mut self, writer: &Origin, rows: Vec<Row>) {
        for row in rows {
            let mine = self.0.entry(writer.clone()).or_default();
            *mine = Row(row.0.max(mine.0), row.1.max(mine.1));
        }
    }

    fn piece(&self, _position: u64, _bytes_max: usize) -> ((), Option<u64>) {
        ((), None)
    }

    fn bytes(&self) -> usize {
        self.0.len().saturating_mul(128)
    }

    fn merge(&mut self, _pieces: Vec<()>) -> Result<(), Error> {
        Err(Error::malformed_request("a counter has no snapshots"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one at a time, and gossip is the commonest")]
enum Payload {
    Add { delta: i64 },
    Read,
    Gossip(gossip::Message<Rows>),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    AddOk,
    ReadOk { value: i128 },
}

struct Counter {
    gossip: Gossip<Rows>,
}

impl Counter {
    fn new() -> Self {
        Self { gossip: Gossip::new(gossip::Config::default(), Rows::default()) }
    }

    fn add(&mut self, node: &mut Node<Tick>, delta: i64) -> Result<(), Error> {
        let Row(added, taken) = self.gossip.state().row(self.gossip.origin());
        let amount = delta.unsigned_abs();
        let row = if delta < 0 {
            taken.checked_add(amount).map(|taken| Row(added, taken))
        } else {
            added.checked_add(amount).map(|added| Row(added, taken))
        };
        let full = || Error::abort("this node's row is full");
        self.gossip.append(node, row.ok_or_else(full)?);
        Ok(())
    }
}

impl MessageHandler for Counter {
    type Payload = Payload;
    type Event = Tick;

    const RECORD_FORMAT: Option<&'static str> = Some("pn-counter example 1");

    maelstrom_core::forward_to_gossip!(gossip);

    fn message(
        &mut self,
        node: &mut Node<Tick>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Add { delta } => {
                self.add(node, delta)?;
                node.reply(request, &Reply::AddOk);
            }
            Payload::Read => {
                node.reply(request, &Reply::ReadOk { value: self.gossip.state().sum() });
            }
            Payload::Gossip(message) => self.gossip.message_from(node, request.src(), message)?,
        }
        Ok(())
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    data: DataArgs,
}

fn main() -> anyhow::Result<()> {
    let Cli { node, data } = Cli::parse();
    node.run_with(&data, Counter::new())
}

#[cfg(test)]
mod tests {
    use maelstrom_sim::nemesis::Fault;
    use maelstrom_sim::sweep::Sweep;
    use maelstrom_sim::workload::PnCounter;

    use super::*;

    #[test]
    fn sweep() {
        Sweep::new(PnCounter::default(), Fault::ALL).test(6, |_| Counter::new());
    }

    #[test]
    fn sweep_with_snapshots() {
        let sweep = Sweep::new(PnCounter::default(), Fault::ALL);
        sweep.test_snapshots("pn-counter-snapshots", 4, |_| Counter::new());
    }
}
