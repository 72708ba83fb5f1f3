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
//! [`RETRIES_KEPT`] adds (fewer if the names of the clients take more than 4 MiB). Nothing else can be recognised: not a retry at another node, nor after
//! the node's restart, nor under a new `msg_id`; and an add without a `msg_id`, which wants no reply,
//! counts each time it comes.
//!
//! # Restarts
//!
//! Where the node's driver keeps records, an acknowledged add is on a record of the node that
//! acknowledged it, before the reply leaves: every add but that of 0 appends the new total to the
//! node's own log. A repeated add needs no record of its own, since a reply leaves after all records
//! before it, and so after that of the add that it repeats.
//!
//! A read is no promise. It shows rows of other nodes as gossip has brought them, and each total is
//! on a record of its own writer. A node that restarts reads its own row, and the others as its
//! records hold them; so a later read may show less until the node has caught up, and for ever if a
//! writer's disk is lost. For reads to be a promise, every node would have to write every total to
//! its disk.
//!
//! Each life of a node that adds something has a row of its own. The rows of earlier lives stay as
//! they are: the node's records hold them, or other nodes do. So a folder that was restored from an
//! older copy does no harm. The old row rises again when another node tells its newest total.

mod counter;
mod retries;

use std::time::Duration;

use maelstrom_core::gossip::{self, Gossip, Tick};
use maelstrom_core::{Error, ErrorCode, MessageHandler, Node, Request};
use serde::{Deserialize, Serialize};

pub use counter::{Counter, Total};
use retries::Recent;

/// How many adds a node knows again when they are repeated, at most: the last ones.
pub const RETRIES_KEPT: usize = 10_000;

/// The shortest period that the engine shall learn by itself. Whoever reads a counter would rather
/// have few messages than the very last add: this makes 2(n − 1) messages in 420 ms, and leaves time
/// for two short hops until 0.5 s are over.
pub const PERIOD_MIN: Duration = Duration::from_millis(420);

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
    recent: Recent,
}

impl GCounter {
    /// A node that has counted nothing yet.
    #[must_use]
    pub fn new(config: gossip::Config) -> Self {
        Self { gossip: Gossip::new(config, Counter::default()), recent: Recent::new(RETRIES_KEPT) }
    }

    /// The engine, and in it the counter.
    #[must_use]
    pub fn gossip(&self) -> &Gossip<Counter> {
        &self.gossip
    }

    fn add(&mut self, node: &mut Node<Tick>, request: &Request, delta: u64) -> Result<(), Error> {
        if self.recent.contains(request) {
            return Ok(());
        }
        let total = self.gossip.state().row(self.gossip.origin());
        let total = total.checked_add(delta).ok_or_else(|| {
            let text = format!(
                "field `delta`: {delta} more is beyond the largest total of a node, {}",
                u64::MAX
            );
            Error::new(ErrorCode::PreconditionFailed, text)
        })?;
        self.recent.insert(request);
        if delta > 0 {
            self.gossip.append(node, Total(total));
        }
        Ok(())
    }
}

impl MessageHandler for GCounter {
    type Payload = Payload;
    type Event = Tick;

    const RECORD_FORMAT: Option<&'static str> = Some("g-counter 1");

    maelstrom_core::forward_to_gossip!(gossip);

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
            Payload::Gossip(message) => self.gossip.message_from(node, request.src(), message)?,
        }
        Ok(())
    }
}
