//! Challenge 3: a set of values. Every node accepts values, and every node ends up with all of
//! them.
//!
//! A node acknowledges a value as soon as it has it. [`gossip`] brings it to all other nodes,
//! through any partition that ends. Nodes never parse values: any JSON is a value, and two values
//! are the same if their text is. A value that comes twice, to one node or to several, is in a read
//! once.
//!
//! # Durability
//!
//! If the node's driver keeps records, these are the invariants:
//!
//! * *An acknowledged value is on the disk of the node that acknowledged it*, before the reply
//!   leaves. It is in an entry of the node's own log, or among the values that the node recovered.
//!   A value that a node knows only from gossip need not be on its disk. It is on the disk of the
//!   node that accepted it. If a client sends that value to this node, the node appends it to its
//!   own log as well. That costs a record and one more entry for the other nodes, once for each
//!   value and node. Without records it costs nothing.
//! * *A read is no promise.* It includes values that this node knows only from gossip. Each of them
//!   is on the disk of the node that accepted it. A node that restarts reads the values of its own
//!   records. It reads the other values again when it has caught up. So a later read may return
//!   fewer values for a while, and for ever if the disk of the node that accepted a value is lost.
//!   For reads to be a promise, every node would have to write every value to its disk.
//!
//! The values are the [state](gossip::State) of the gossip engine. See [`Values`] for the way they
//! are kept.

mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use maelstrom_core::gossip::{self, Entry, Gossip, Tick};
use maelstrom_core::{Error, LINE_BYTES_MAX, MessageHandler, Node, Request, Verbatim};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use values::Values;

/// The crate's chapter of the guide. Its links to files work in the repository.
#[cfg(doc)]
#[doc = include_str!("../README.md")]
pub mod guide {}

/// The longest value that a node accepts, in bytes: it still fits into one line to another node.
pub const VALUE_BYTES_MAX: usize = LINE_BYTES_MAX / 2;

/// A value: the text of any JSON. Cheap to clone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Box<RawValue>")]
pub struct Value(Arc<RawValue>);

impl From<Box<RawValue>> for Value {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw.into())
    }
}

impl Value {
    fn text(&self) -> &str {
        self.0.get()
    }
}

impl Entry for Value {
    fn encoded_len(&self) -> usize {
        self.text().len().saturating_add(1)
    }
}

/// The messages that the node understands.
#[derive(Debug, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and gossip is the commonest")]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Adds a value to the set.
    Broadcast {
        /// Any JSON value of at most [`VALUE_BYTES_MAX`] bytes.
        message: Value,
    },
    /// Reads all values that this node knows.
    Read,
    /// Suggests the neighbours of each node. The node acknowledges and ignores it: every node may
    /// send to every other.
    Topology {
        /// The neighbours of each node.
        topology: BTreeMap<String, Vec<String>>,
    },
    /// From another node.
    Gossip(gossip::Message<Values>),
}

/// The replies of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<'a> {
    /// The value will be on every node.
    BroadcastOk,
    /// All values that this node knows.
    ReadOk {
        /// Each value once.
        messages: Verbatim<'a>,
    },
    /// The answer to [`Payload::Topology`].
    TopologyOk,
}

/// The handler.
#[derive(Debug)]
pub struct Broadcast {
    gossip: Gossip<Values>,
    /// For each position in the set: true if the value is known to be on this node's disk. False
    /// beyond the end. Empty if the node keeps no records.
    on_record: Vec<bool>,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self::new(gossip::Config::default())
    }
}

impl Broadcast {
    /// A node without values.
    #[must_use]
    pub fn new(config: gossip::Config) -> Self {
        Self { gossip: Gossip::new(config, Values::default()), on_record: Vec::new() }
    }

    /// The gossip engine, with all values that this node knows as its state.
    #[must_use]
    pub fn gossip(&self) -> &Gossip<Values> {
        &self.gossip
    }

    fn broadcast(&mut self, node: &mut Node<Tick>, value: Value) -> Result<(), Error> {
        if value.text().len() > VALUE_BYTES_MAX {
            let text = format!("field `message`: longer than {VALUE_BYTES_MAX} bytes");
            return Err(Error::malformed_request(text));
        }
        if !self.is_kept(node, value.text()) {
            self.gossip.check_room_for(value.encoded_len())?;
            self.gossip.append(node, value.clone());
            self.note_on_record(node, value.text());
        }
        Ok(())
    }

    /// True if a value that is acknowledged now stays in the cluster without another entry.
    fn is_kept(&self, node: &Node<Tick>, text: &str) -> bool {
        match self.gossip.state().position(text) {
            None => false,
            Some(at) if node.is_durable() => self.on_record.get(at).copied().unwrap_or(false),
            // The value is under way already: the request may be a retry. (But while a snapshot is
            // being merged, the node may know a value without the entry that names it.)
            Some(_) => !self.gossip.is_merging(),
        }
    }

    /// Notes that the value has just been appended.
    fn note_on_record(&mut self, node: &Node<Tick>, text: &str) {
        let position = self.gossip.state().position(text).filter(|_| node.is_durable());
        let Some(at) = position else { return };
        if self.on_record.len() <= at {
            self.on_record.resize(at.saturating_add(1), false);
        }
        if let Some(is_on_record) = self.on_record.get_mut(at) {
            *is_on_record = true;
        }
    }
}

impl MessageHandler for Broadcast {
    type Payload = Payload;
    type Event = Tick;

    const RECORD_FORMAT: Option<&'static str> = Some("broadcast 1");

    maelstrom_core::forward_to_gossip!(gossip, records);

    fn started(&mut self, node: &mut Node<Tick>) {
        if node.is_durable() {
            // The node has recovered all values that it knows by now.
            self.on_record = vec![true; self.gossip.state().len()];
        }
        self.gossip.start(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Tick>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Broadcast { message } => {
                self.broadcast(node, message)?;
                node.reply(request, &Reply::BroadcastOk);
            }
            Payload::Read => {
                let list = ["[", self.gossip.state().text(), "]"];
                node.reply(request, &Reply::ReadOk { messages: Verbatim::new(&list) });
            }
            Payload::Topology { topology: _ } => node.reply(request, &Reply::TopologyOk),
            Payload::Gossip(message) => self.gossip.message_from(node, request.src(), message)?,
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Tick>, tick: Tick) {
        self.gossip.tick(node, tick);
    }
}

/// The examples of the project's README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The examples of the chapter about sweeps, compiled and run: it needs a node.
#[cfg(doctest)]
#[doc = include_str!("../../maelstrom-sim/SWEEPS.md")]
pub struct Sweeps;
