//! A node for the workload `g-set`: a grow-only set, replicated on every node, with records on
//! disk.
//!
//! Run it under the checker, with real processes that are killed and restarted:
//!
//! ```sh
//! cargo build --release -p maelstrom-sim --examples
//! target/release/maelstrom-sim test -w g-set --bin target/release/examples/g_set --node-count 5 \
//!     --time-limit 10 --rate 100 --nemesis partition,kill -- --data-dir "$PWD/store/g-set"
//! ```
//!
//! A node acknowledges an element as soon as its own record of it is durable. The engine [`gossip`]
//! replicates the element to all other nodes, through any partition that ends. `impl State` tells
//! the engine about sets:
//!
//! * `apply` adds new elements.
//! * `piece` and `merge` transfer the set itself, in pieces, to a node that lacks many elements.
//!
//! The node never parses elements: any JSON value is an element, and two elements are equal if
//! their texts are equal.

use std::collections::BTreeSet;

use clap::Parser;
use maelstrom_core::gossip::{self, Entry, Gossip, Origin, State, Tick};
use maelstrom_core::{DataArgs, Error, MessageHandler, Node, NodeArgs, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An element: the JSON text of any value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Element(Box<RawValue>);

impl Entry for Element {
    fn encoded_len(&self) -> usize {
        self.0.get().len().saturating_add(1)
    }
}

/// The set. Positions in `order` never change, so the next piece can begin where the last one
/// ended.
#[derive(Debug, Default)]
struct Elements {
    order: Vec<Element>,
    known: BTreeSet<String>,
    bytes: usize,
}

impl Elements {
    fn add(&mut self, element: Element) {
        if self.known.insert(element.0.get().to_owned()) {
            self.bytes = self.bytes.saturating_add(element.encoded_len());
            self.order.push(element);
        }
    }
}

impl State for Elements {
    type Entry = Element;
    type Piece = Vec<Element>;

    fn apply(&mut self, _origin: &Origin, elements: Vec<Element>) {
        elements.into_iter().for_each(|element| self.add(element));
    }

    fn piece(&self, position: u64, bytes_max: usize) -> (Vec<Element>, Option<u64>) {
        let (mut piece, mut bytes) = (Vec::new(), 0);
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        for element in self.order.iter().skip(start) {
            bytes = element.encoded_len().saturating_add(bytes);
            if bytes > bytes_max && !piece.is_empty() {
                return (piece.clone(), Some(position.saturating_add(piece.len() as u64)));
            }
            piece.push(element.clone());
        }
        (piece, None)
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn merge(&mut self, pieces: Vec<Vec<Element>>) -> Result<(), Error> {
        pieces.into_iter().flatten().for_each(|element| self.add(element));
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one at a time, and gossip is the commonest")]
enum Payload {
    Add { element: Element },
    Read,
    Gossip(gossip::Message<Elements>),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<'a> {
    AddOk,
    ReadOk { value: &'a [Element] },
}

struct GSet {
    gossip: Gossip<Elements>,
}

impl GSet {
    fn new() -> Self {
        Self { gossip: Gossip::new(gossip::Config::default(), Elements::default()) }
    }
}

impl MessageHandler for GSet {
    type Payload = Payload;
    type Event = Tick;

    const RECORD_FORMAT: Option<&'static str> = Some("g-set example 1");

    maelstrom_core::forward_to_gossip!(gossip);

    fn message(
        &mut self,
        node: &mut Node<Tick>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Add { element } => {
                // Appends the element even if the set has it from another node: a node must have
                // its own record of each element that it acknowledges.
                self.gossip.append(node, element);
                node.reply(request, &Reply::AddOk);
            }
            Payload::Read => {
                node.reply(request, &Reply::ReadOk { value: &self.gossip.state().order });
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
    node.run_with(&data, GSet::new())
}

#[cfg(test)]
mod tests {
    use maelstrom_sim::nemesis::Fault;
    use maelstrom_sim::sweep::Sweep;
    use maelstrom_sim::workload;

    use super::*;

    #[test]
    fn sweep() {
        Sweep::new(workload::GSet::default(), Fault::ALL).test(6, |_| GSet::new());
    }

    #[test]
    fn sweep_with_snapshots() {
        let sweep = Sweep::new(workload::GSet::default(), Fault::ALL);
        sweep.test_snapshots("g-set-snapshots", 4, |_| GSet::new());
    }
}
