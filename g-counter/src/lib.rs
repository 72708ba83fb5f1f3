//! Challenge 4: a counter that every node adds to. It only grows.
//!
//! A node acknowledges an add as soon as it has it (and has made it durable, if the node's driver
//! keeps records). A read returns the sum that its node knows. Both work even if no other node can
//! be reached. [`gossip`] brings each node's [row](Counter) to all other nodes, through any
//! partition that ends.
//!
//! # Repeated adds
//!
//! A node acknowledges a repeated add again, and counts it once. It recognizes the add if the same
//! life of the node took it before, from the same client and with the same `msg_id`. It remembers
//! the last [`RETRIES_KEPT`] adds (fewer if the names of the clients take more than 4 MiB). It
//! cannot recognize any other retry: one at another node, one after the node's restart, or one with
//! a new `msg_id`. An add without a `msg_id`, which wants no reply, counts each time it comes.
//!
//! # Restarts
//!
//! If the node's driver keeps records, an acknowledged add is durable on the node that acknowledged
//! it, before the reply leaves. Every add except that of 0 appends the new total to the node's own
//! log. A repeated add needs no record of its own: its reply leaves after all earlier records, and
//! so after that of the first add.
//!
//! A read is no promise. It includes rows of other nodes as gossip has brought them, and each total
//! is durable on its own writer only. A node that restarts has its own row, and the other rows as
//! its records have them. So a later read may return less until the node has caught up, and for
//! ever if a writer's disk is lost. For reads to be a promise, every node would have to write every
//! total to its disk.
//!
//! Each life of a node that adds something has a row of its own. The rows of earlier lives stay as
//! they are, in the node's records or at other nodes. So a folder that was restored from an older
//! copy does no harm: the old row rises again when another node sends its newest total.

mod counter;
pub mod metrics;
mod retries;

use std::time::Duration;

use maelstrom_core::gossip::{self, Gossip, Tick};
use maelstrom_core::metrics::Gauges;
use maelstrom_core::{Error, ErrorCode, MessageHandler, Node, Request};
use serde::{Deserialize, Serialize};

pub use counter::{Counter, Total};
use retries::Recent;

/// The crate's chapter of the guide. Its links to files work in the repository.
#[cfg(doc)]
#[doc = include_str!("../README.md")]
pub mod guide {}

/// The largest number of recent adds that a node recognizes when they come again.
pub const RETRIES_KEPT: usize = 10_000;

/// The default for the shortest gossip period. Readers of a counter prefer few messages to the very
/// last add. This makes 2(n − 1) messages in 420 ms, and leaves time for two short hops within 0.5
/// s.
pub const PERIOD_MIN: Duration = Duration::from_millis(420);

/// The messages that the node understands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "decoded, taken apart, and gone")]
pub enum Payload {
    /// Adds to the counter.
    Add {
        /// The amount to add.
        delta: u64,
    },
    /// Reads the sum, as far as this node knows it.
    Read,
    /// From another node.
    Gossip(gossip::Message<Counter>),
}

/// The replies of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The add is counted, and every node will count it.
    AddOk,
    /// The sum of all adds that this node knows.
    ReadOk {
        /// The exact sum, with as many digits as it needs.
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

    /// The gossip engine, with the counter as its state.
    #[must_use]
    pub fn gossip(&self) -> &Gossip<Counter> {
        &self.gossip
    }

    fn own_gauges(&self, gauges: &mut Gauges) {
        gauges.set_count(&metrics::RECENT, self.recent.len());
    }

    fn add(&mut self, node: &mut Node<Tick>, request: &Request, delta: u64) -> Result<(), Error> {
        if self.recent.contains(request) {
            node.count(&metrics::REPEATED, &[], 1);
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

    maelstrom_core::forward_to_gossip!(gossip, metrics::METRICS, Self::own_gauges);

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
