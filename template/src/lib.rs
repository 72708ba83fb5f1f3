//! A node for the workload `g-set`: a set that only grows, replicated on every node.
//!
//! The life of an element:
//!
//! 1. [`SetNode::message`] gets `add`. [`SetNode::insert`] puts the element into the set and makes
//!    it a record. The node replies; the reply leaves after the record is durable.
//! 2. [`SetNode::replicate`] sends `merge`, this node's own message, to each peer that has not
//!    acknowledged the element yet.
//! 3. The peer inserts the element, and replies `merge_ok`.
//! 4. [`SetNode::event`] gets that reply, and forgets that the peer lacked the element. If an error
//!    or no reply comes, a later timer sends the element again.
//! 5. After a restart [`SetNode::recover`] gets all records. The node does not know which peers have
//!    these elements, so it sends all of them again.
//!
//! A merge is a union of sets. So neither the order of messages nor their repetition matters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, Node, NodeId, Request, RpcResult};
use serde::{Deserialize, Serialize};

/// The most elements of a set. A read of all of them still fits into one line of 16 MiB: an element
/// takes at most 21 bytes.
pub const ELEMENTS_MAX: usize = 700_000;

/// The most elements of one `merge`.
const MERGE_MAX: usize = 1_000;

/// How often a node looks for elements that a peer lacks.
const PERIOD: Duration = Duration::from_millis(100);

/// How long a node waits before its first message. Other nodes may not run before.
const START: Duration = Duration::from_secs(1);

/// How long a node waits for a `merge_ok` before it sends the elements again.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The requests and messages that the node understands. The name of a variant in snake case is the
/// type of the message, and the fields are those of its body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// A client adds an element. Maelstrom's elements are integers.
    Add {
        /// The element.
        element: i64,
    },
    /// A client reads the set.
    Read,
    /// Another node sends elements that this node may lack.
    Merge {
        /// The elements.
        elements: Vec<i64>,
    },
}

/// The replies and messages that the node sends. They borrow their content, so a read does not copy
/// the set. One enum can also serve for both directions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<'a> {
    AddOk,
    ReadOk { value: &'a BTreeSet<i64> },
    Merge { elements: &'a [i64] },
    MergeOk,
}

/// The events that timers and calls bring back.
#[derive(Debug)]
pub enum Event {
    /// It is time to look for elements that a peer lacks.
    Tick,
    /// A `merge` has ended.
    Merged {
        /// The peer that it was for.
        peer: NodeId,
        /// Its elements.
        elements: Vec<i64>,
        /// Whether the peer has acknowledged them.
        outcome: RpcResult,
    },
}

/// The knowledge that a node has about one peer.
#[derive(Debug, Default)]
struct Peer {
    /// The elements that it has not acknowledged.
    lacks: BTreeSet<i64>,
    /// Whether a `merge` to it waits for its reply. There is one at a time, so the traffic to a
    /// peer that does not answer is bounded.
    is_busy: bool,
}

/// The handler.
#[derive(Debug, Default)]
pub struct SetNode {
    elements: BTreeSet<i64>,
    peers: BTreeMap<NodeId, Peer>,
}

impl SetNode {
    /// Adds an element to the set and to those that the peers lack, and makes it a record.
    fn insert(&mut self, node: &mut Node<Event>, from: &NodeId, element: i64) -> Result<(), Error> {
        if self.elements.contains(&element) {
            return Ok(());
        }
        if self.elements.len() >= ELEMENTS_MAX {
            return Err(Error::temporarily_unavailable("the set is full"));
        }
        self.elements.insert(element);
        node.persist(&element);
        // The peer that sent it has it.
        for (_, peer) in self.peers.iter_mut().filter(|(id, _)| *id != from) {
            peer.lacks.insert(element);
        }
        Ok(())
    }

    /// Sends to each peer some of the elements that it lacks, unless it still has to reply.
    fn replicate(&mut self, node: &mut Node<Event>) {
        for (id, peer) in &mut self.peers {
            if peer.is_busy || peer.lacks.is_empty() {
                continue;
            }
            peer.is_busy = true;
            let elements: Vec<i64> = peer.lacks.iter().take(MERGE_MAX).copied().collect();
            let body = Reply::Merge { elements: &elements };
            // The call takes the elements along, and brings them back with its outcome.
            let (dest, peer) = (id.clone(), id.clone());
            let sent = elements.clone();
            node.rpc(&dest, &body, TIMEOUT, move |outcome| Event::Merged {
                peer,
                elements: sent,
                outcome,
            });
        }
    }
}

impl MessageHandler for SetNode {
    type Payload = Payload;
    type Event = Event;

    const RECORD_FORMAT: Option<&'static str> = Some("my-node 1");

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let element = serde_json::from_slice(record)
            .map_err(|error| Error::crash(format!("a record is no element: {error}")))?;
        self.elements.insert(element);
        Ok(())
    }

    fn started(&mut self, node: &mut Node<Event>) {
        for peer in node.peers() {
            let lacks = self.elements.clone();
            self.peers.insert(peer, Peer { lacks, is_busy: false });
        }
        node.set_timer(START, Event::Tick);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Add { element } => {
                self.insert(node, request.src(), element)?;
                node.reply(request, &Reply::AddOk);
            }
            Payload::Read => node.reply(request, &Reply::ReadOk { value: &self.elements }),
            Payload::Merge { elements } => {
                for element in elements {
                    self.insert(node, request.src(), element)?;
                }
                node.reply(request, &Reply::MergeOk);
            }
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Tick => {
                self.replicate(node);
                node.set_timer(PERIOD, Event::Tick);
            }
            Event::Merged { peer, elements, outcome } => {
                let Some(peer) = self.peers.get_mut(&peer) else { return };
                peer.is_busy = false;
                match outcome {
                    Ok(_) => elements.iter().for_each(|element| {
                        peer.lacks.remove(element);
                    }),
                    // For sweeps: they list the marks that they reached.
                    Err(_) => node.mark("my-node: a peer did not acknowledge a merge"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
