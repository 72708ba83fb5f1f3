//! Challenge 3: a set of values that every node takes and every node ends up with.
//!
//! A value is acknowledged as soon as the node that took it has it (and has made it durable, where
//! the node's driver keeps records); [`gossip`] brings it to all
//! others, through any partition that ends. Values are never parsed: any JSON is a value, and two
//! values are the same if their text is. A value that comes twice, to one node or to several, is
//! read once.
//!
//! The invariant: `values` holds every distinct entry of the gossip replica exactly once, in the
//! order in which this node learned of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use maelstrom_core::gossip::{self, Entry, Gossip, Tick};
use maelstrom_core::{Error, LINE_BYTES_MAX, MessageHandler, Node, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest value that is taken: one that other nodes can still be sent in a single line.
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

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text().cmp(other.text())
    }
}

impl Entry for Value {
    fn encoded_len(&self) -> usize {
        self.text().len().saturating_add(1)
    }
}

/// What the node understands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Adds a value to the set.
    Broadcast {
        /// Any JSON value of at most [`VALUE_BYTES_MAX`] bytes.
        message: Value,
    },
    /// Asks for all values that this node knows.
    Read,
    /// Suggests who talks to whom. Taken note of politely: every node talks to every other.
    Topology {
        /// The neighbours of each node.
        topology: BTreeMap<String, Vec<String>>,
    },
    /// From another node.
    Gossip(gossip::Message<Value>),
}

/// What the node answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<'a> {
    /// The value will be on every node.
    BroadcastOk,
    /// All values that this node knows.
    ReadOk {
        /// Each value once.
        messages: &'a [Value],
    },
    /// The answer to [`Payload::Topology`].
    TopologyOk,
}

/// The handler.
#[derive(Debug)]
pub struct Broadcast {
    gossip: Gossip<Value>,
    values: Vec<Value>,
    seen: BTreeSet<Value>,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self::new(gossip::Config::default())
    }
}

impl Broadcast {
    /// A node that has no values yet.
    #[must_use]
    pub fn new(config: gossip::Config) -> Self {
        Self { gossip: Gossip::new(config), values: Vec::new(), seen: BTreeSet::new() }
    }

    /// All values that this node knows.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Tells whether the value is new.
    fn learn(&mut self, value: &Value) -> bool {
        let new = self.seen.insert(value.clone());
        if new {
            self.values.push(value.clone());
        }
        debug_assert_eq!(self.seen.len(), self.values.len());
        new
    }

    fn broadcast(&mut self, node: &mut Node<Tick>, value: Value) -> Result<(), Error> {
        if value.text().len() > VALUE_BYTES_MAX {
            let text = format!("field `message`: longer than {VALUE_BYTES_MAX} bytes");
            return Err(Error::malformed_request(text));
        }
        // A value that is known already is under way already: the request may be a retry.
        if self.learn(&value) {
            self.gossip.append(node, value);
        }
        Ok(())
    }
}

impl MessageHandler for Broadcast {
    type Payload = Payload;
    type Event = Tick;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        for value in self.gossip.recover(record)? {
            self.learn(&value);
        }
        Ok(())
    }

    fn started(&mut self, node: &mut Node<Tick>) {
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
            Payload::Read => node.reply(request, &Reply::ReadOk { messages: &self.values }),
            Payload::Topology { topology: _ } => node.reply(request, &Reply::TopologyOk),
            Payload::Gossip(message) => {
                for value in self.gossip.message_from(node, request.src(), message)? {
                    self.learn(&value);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Tick>, tick: Tick) {
        self.gossip.tick(node, &tick);
    }
}

/// The examples of the project's README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
