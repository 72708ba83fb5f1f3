//! Challenge 4: a counter that every node adds to and that only grows.
//!
//! An add is acknowledged as soon as the node that took it has it (and has made it durable, where
//! the node's driver keeps records), and a read shows what its node knows: both work whoever else
//! can be reached. [`gossip`] brings every node's [row](Counter) to all others, through any
//! partition that ends.
//!
//! # What counts once
//!
//! An add that is repeated is acknowledged again and counted once, if it comes to the same life of
//! the same node, from the same client and with the same `msg_id`, among the last
//! [`RETRIES_KEPT`] adds. Nothing else can be recognised: not a retry at another node, nor after
//! the node's restart, nor under a new `msg_id`; and an add without a `msg_id`, which wants no reply,
//! counts each time it comes.
//!
//! # Restarts
//!
//! With its records a node goes on in the row it had, whose total they tell. Without, it begins a new
//! one, and what others have seen of the old one stays counted. If it turns out that others know
//! more of its row than itself, records were lost that had been called durable. It begins a new row
//! then as well, since what it adds would be hidden below what they know: as it may be with what it
//! has added before it heard from them.

mod counter;
mod retries;

use std::time::Duration;

use maelstrom_core::gossip::{self, Gossip, Origin, Tick};
use maelstrom_core::{Error, ErrorCode, MessageHandler, Node, Request};
use rand::Rng;
use serde::{Deserialize, Serialize};
use tracing::warn;

pub use counter::{Counter, Total};
use retries::Recent;

/// How many adds a node knows again when they are repeated: the last ones.
pub const RETRIES_KEPT: usize = 10_000;

/// The shortest period that the engine shall learn by itself. Whoever reads a counter would rather
/// have few messages than the very last add: this makes 2(n − 1) messages in 400 ms, and leaves time
/// for two short hops until 0.5 s are over.
pub const PERIOD_MIN: Duration = Duration::from_millis(400);

/// What the node understands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "decoded, taken apart, and gone")]
pub enum Payload {
    /// Adds to the counter.
    Add {
        /// How much.
        delta: u64,
    },
    /// Asks for the sum, as far as this node knows.
    Read,
    /// From another node.
    Gossip(gossip::Message<Counter>),
}

/// What the node answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It counts, and will be counted by every node.
    AddOk,
    /// The sum of all adds that this node knows of.
    ReadOk {
        /// Exact, with as many digits as it takes.
        value: u128,
    },
}

/// The handler.
#[derive(Debug)]
pub struct GCounter {
    gossip: Gossip<Counter>,
    /// The row that this node adds to.
    row: Origin,
    /// How much it is: what this node itself has said last.
    total: u64,
    recent: Recent,
}

impl GCounter {
    /// A node that has counted nothing yet.
    #[must_use]
    pub fn new(config: gossip::Config) -> Self {
        Self {
            gossip: Gossip::new(config, Counter::default()),
            row: Origin { node: "".into(), incarnation: 0 },
            total: 0,
            recent: Recent::new(RETRIES_KEPT),
        }
    }

    /// The engine, and in it the counter.
    #[must_use]
    pub fn gossip(&self) -> &Gossip<Counter> {
        &self.gossip
    }

    fn begin_row(&mut self, node: &mut Node<Tick>) {
        // 53 bits, so that any JSON parser keeps all its digits.
        let incarnation = node.rng().next_u64() >> 11;
        self.row = Origin { node: node.id().clone(), incarnation };
        self.total = 0;
    }

    fn add(&mut self, node: &mut Node<Tick>, request: &Request, delta: u64) -> Result<(), Error> {
        if self.recent.contains(request) {
            return Ok(());
        }
        let total = self.total.checked_add(delta).ok_or_else(|| {
            let text = format!(
                "field `delta`: {delta} more is beyond the largest total of a node, {}",
                u64::MAX
            );
            Error::new(ErrorCode::PreconditionFailed, text)
        })?;
        self.recent.insert(request);
        if delta > 0 {
            self.total = total;
            self.gossip.append(node, Total { row: self.row.incarnation, total });
        }
        debug_assert!(self.gossip.state().row(&self.row) == self.total);
        Ok(())
    }

    fn message_from(
        &mut self,
        node: &mut Node<Tick>,
        request: &Request,
        message: gossip::Message<Counter>,
    ) -> Result<(), Error> {
        let result = self.gossip.message_from(node, request.src(), message);
        if self.gossip.state().row(&self.row) > self.total {
            warn!("this node has lost records that others know of: it begins a new row");
            self.begin_row(node);
        }
        result
    }
}

impl MessageHandler for GCounter {
    type Payload = Payload;
    type Event = Tick;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.gossip.recover(record)
    }

    fn started(&mut self, node: &mut Node<Tick>) {
        // Nothing but this node's own records has been applied yet.
        let counter = self.gossip.state();
        match counter.newest().filter(|row| row.node == *node.id()) {
            Some(row) => (self.row, self.total) = (row.clone(), counter.row(row)),
            None => self.begin_row(node),
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
            Payload::Add { delta } => {
                self.add(node, request, delta)?;
                node.reply(request, &Reply::AddOk);
            }
            Payload::Read => {
                let value = self.gossip.state().sum();
                node.reply(request, &Reply::ReadOk { value });
            }
            Payload::Gossip(message) => self.message_from(node, request, message)?,
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Tick>, tick: Tick) {
        self.gossip.tick(node, tick);
    }
}
