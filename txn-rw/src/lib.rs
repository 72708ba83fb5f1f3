//! Challenge 6: transactions over a map of registers, that every node runs at once and by itself.
//!
//! A transaction runs against its node's own map and is acknowledged without waiting for anyone
//! (but for the node's disk, where the driver keeps records). What it wrote becomes one
//! [entry](Transaction) of its node's log; [`gossip`] brings that to all others, through any
//! partition that ends; they show it [whole and in causal order](Registers), and of two writes of a
//! key the one with the larger [`Version`] wins on all of them alike.
//!
//! Which consistency models that gives, why it can give no more, and what the weaker [`Isolation`]s
//! are for: see [`consistency`].
//!
//! # What a client may rely on
//!
//! * A key is any JSON, and so is a value but for null, which is what a key reads as that was never
//!   written. Both keep all their digits.
//! * The reply has the operations of the request, in their order, with the values of reads filled
//!   in. A transaction reads one snapshot and what it has written itself.
//! * With records, all that a reply shows is on a record of the node that replied, before the reply
//!   leaves: writes and reads alike, since a node records the transactions of others when it applies
//!   them. So a node that restarts shows at least what it showed before. ([`Isolation`]s that run
//!   operations one by one may read what is not committed: of that nothing is promised.)
//! * What is malformed, or too long, gets error 12 that names the place, and nothing of it is done.
//! * A transaction that comes again runs again: it writes what it wrote before once more. Who
//!   retries without knowing better may undo a later write.
//!
//! # Bounds
//!
//! The map grows with its keys, not with transactions: the engine trims its logs, and who needs what
//! is gone gets the map itself. What waits for others is [folded](HELD_BYTES_MAX) into one value a
//! key, or a few if those of one log do not fit into a line. Transactions that take a while are
//! bounded in number and in [bytes](RUNNING_BYTES_MAX): one beyond that gets error 11, and nothing
//! of it is done. Each of them is done after about [a second](SPREAD_MAX). A snapshot that is coming
//! is kept until it is whole; of a register that changes meanwhile it may hold several copies.
//!
//! A clock can only count transactions: one that says more is refused, so that through its log no
//! node can run ahead and let its writes win for ever, nor wear out the clocks of others. A snapshot
//! says how far its sender has got, and nobody can tell whether that is so: it is taken unless it
//! raises the clock by [more than can be](CLOCK_LEAP_MAX). What is refused, and how often others
//! were far ahead by honest work, is logged and counted.
//!
//! # What it relies on
//!
//! That records which the disk has called durable are there after a restart. If the last ones are
//! lost, for example because the folder is an older copy, then the node shows an older state until
//! other nodes have told it what it lost, and what it told nobody is gone. All replicas still end up
//! alike: each life of a node has a log of its own.

mod clocks;
mod entry;
mod held;
mod json;
mod registers;
mod request;
mod underway;

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::gossip::Entry as _;
use maelstrom_core::gossip::{self, Gossip, Origin, Tick};
use maelstrom_core::{Error, ErrorCode, LINE_BYTES_MAX, MessageHandler, Node, Request, Verbatim};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

pub use clocks::Clocks;
pub use entry::Transaction;
pub use json::{Key, Value};
pub use registers::{CLOCK_LEAP_MAX, CLOCK_MAX, HELD_BYTES_MAX, Map, Piece, Registers, Version};
use request::Running;
pub use request::{Operation, RESULT_BYTES_MAX};
pub use underway::{RUNNING_BYTES_MAX, RUNNING_MAX, SPREAD_MAX, STEP};
use underway::{Txn, Underway};

#[doc = include_str!("../CONSISTENCY.md")]
pub mod consistency {}

/// The shortest period that the engine shall learn by itself: n nodes send 2(n − 1) messages in it,
/// whatever the load, and on a fast network nobody is more than 100 ms behind.
pub const PERIOD_MIN: Duration = Duration::from_millis(60);

/// The longest write set that is taken: one that other nodes can be sent in a single line.
pub const WRITES_BYTES_MAX: usize = LINE_BYTES_MAX / 2;

/// How many operations a transaction may have, unless it is told otherwise.
pub const OPERATIONS_MAX: usize = 1_000;

/// If a single message raises the clock by more than this, its sender's side has been much busier
/// than this one: what was written here meanwhile loses against what was written there.
pub const CLOCK_LEAP_NOTED: u64 = 1_000;

/// What transactions may see of each other. The weaker ones exist to show the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// Operations run one by one (those of a long transaction a few at a time, so that it is done
    /// after [`SPREAD_MAX`]), and a transaction that only reads may see what others have
    /// written so far that are still running. (One that writes may not, as in SQL-92, where this
    /// level is for reading.)
    ReadUncommitted,
    /// Operations run as in the level before, and each reads what is committed by then.
    ReadCommitted,
    /// Atomic visibility and causal order, for clients that stay at one node: about the strongest
    /// there is without waiting for others (see [`consistency`]).
    #[default]
    Causal,
}

/// How a node behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// What transactions may see of each other.
    pub isolation: Isolation,
    /// How many operations a transaction may have.
    pub operations_max: usize,
    /// The engine.
    pub gossip: gossip::Config,
}

impl Default for Config {
    fn default() -> Self {
        let gossip = gossip::Config { period_min: PERIOD_MIN, ..gossip::Config::default() };
        Self { isolation: Isolation::default(), operations_max: OPERATIONS_MAX, gossip }
    }
}

/// What the node understands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", bound = "M: Map")]
#[allow(clippy::large_enum_variant, reason = "decoded, taken apart, and gone")]
pub enum Payload<M: Map> {
    /// Runs a transaction.
    Txn {
        /// Its operations.
        txn: Vec<Operation>,
    },
    /// From another node.
    Gossip(gossip::Message<M>),
}

/// What the node answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<'a> {
    /// The transaction is done, and all nodes will show what it wrote.
    TxnOk {
        /// Its operations, reads with what they saw.
        txn: Verbatim<'a>,
    },
}

/// The [marks](Node::mark) of this crate. A transaction depends on what others wrote:
pub const DEPENDS: &str = "txn-rw: a transaction depends on another node's";
/// and where transactions do not run at once, one takes several steps.
pub const STEPS: &str = "txn-rw: a transaction takes another step";

/// What comes back to the node later.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// For the engine.
    Gossip(Tick),
    /// A running transaction goes on.
    Step(u64),
}

impl From<Tick> for Event {
    fn from(tick: Tick) -> Self {
        Self::Gossip(tick)
    }
}

/// The handler. It is generic over the map for tests alone, which break it.
#[derive(Debug)]
pub struct TxnRw<M: Map = Registers> {
    isolation: Isolation,
    operations_max: usize,
    gossip: Gossip<M>,
    /// What this node's log says that it was shown, and which log that is.
    said: (Option<Origin>, Clocks),
    /// Transactions that take a while.
    underway: Underway,
    /// How often a node said what makes no sense.
    refused: u64,
    /// How often a message raised the clock a lot.
    leaps: u64,
}

impl TxnRw {
    /// A node that knows of no transaction yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_map(config, Registers::default())
    }
}

impl<M: Map> TxnRw<M> {
    /// The same, with another map, which is empty.
    #[must_use]
    pub fn with_map(config: Config, map: M) -> Self {
        Self {
            isolation: config.isolation,
            operations_max: config.operations_max,
            gossip: Gossip::new(config.gossip, map),
            said: (None, Clocks::default()),
            underway: Underway::default(),
            refused: 0,
            leaps: 0,
        }
    }

    /// The engine, and in it the map.
    #[must_use]
    pub fn gossip(&self) -> &Gossip<M> {
        &self.gossip
    }

    /// How many messages of nodes were refused, since they made no sense.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// How often a message raised the clock by more than [`CLOCK_LEAP_NOTED`].
    #[must_use]
    pub fn leaps(&self) -> u64 {
        self.leaps
    }

    fn begin(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        operations: Vec<Operation>,
    ) -> Result<(), Error> {
        if operations.len() > self.operations_max {
            let (count, most) = (operations.len(), self.operations_max);
            let text = format!("field `txn`: {count} operations, and at most {most} are taken");
            return Err(Error::malformed_request(text));
        }
        let mut running = Running::new(operations);
        if self.isolation == Isolation::Causal {
            while !running.is_done() {
                running.step(|key| self.gossip.state().get(key))?;
            }
            return self.finish(node, request, &running);
        }
        let txn = Txn::new(request.clone(), running, node.now());
        let id = self.underway.admit(&txn)?;
        self.underway.keep(id, txn);
        self.step(node, id);
        Ok(())
    }

    /// Goes on with a transaction that does not run at once.
    fn step(&mut self, node: &mut Node<Event>, id: u64) {
        let Some(mut txn) = self.underway.take(id) else {
            return;
        };
        let result = match self.run(&mut txn, node.now()) {
            Ok(()) if !txn.running.is_done() => {
                node.mark(STEPS);
                node.set_timer(txn.until_next(node.now()), Event::Step(id));
                return self.underway.keep(id, txn);
            }
            Ok(()) => self.finish(node, &txn.request, &txn.running),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            node.reply_error(&txn.request, &error);
        }
    }

    /// Runs the operations that are due.
    fn run(&self, txn: &mut Txn, now: Duration) -> Result<(), Error> {
        let end = txn.begin_step(now);
        let sees_all =
            self.isolation == Isolation::ReadUncommitted && !txn.running.writes_anything();
        let others = self.underway.newest_first().filter(|_| sees_all);
        while txn.running.done() < end && !txn.running.is_done() {
            txn.running.step(|key| {
                let uncommitted = others.clone().find_map(|other| other.written(key));
                uncommitted.or_else(|| self.gossip.state().get(key))
            })?;
            self.underway.check(txn)?;
        }
        Ok(())
    }

    /// Commits and acknowledges a transaction that has run.
    fn finish(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        running: &Running,
    ) -> Result<(), Error> {
        if !running.writes().is_empty() {
            self.commit(node, running.writes())?;
        }
        let txn = ["[", running.text(), "]"];
        node.reply(request, &Reply::TxnOk { txn: Verbatim::new(&txn) });
        Ok(())
    }

    fn commit(
        &mut self,
        node: &mut Node<Event>,
        writes: &BTreeMap<Key, Value>,
    ) -> Result<(), Error> {
        let (origin, map) = (self.gossip.origin(), self.gossip.state());
        if self.said.0.as_ref() != Some(origin) {
            // A new log, or a new life: it begins with all that this node was shown.
            self.said = (Some(origin.clone()), Clocks::default());
        }
        let after = map.shown().since(&self.said.1, origin);
        if !after.is_empty() {
            node.mark(DEPENDS);
        }
        let Some(clock) = map.clock().checked_add(1).filter(|clock| *clock <= CLOCK_MAX) else {
            return Err(Error::new(ErrorCode::Abort, "this node's clock is at its end"));
        };
        let transaction = Transaction::new(clock, after, writes.clone());
        if transaction.encoded_len() > WRITES_BYTES_MAX {
            let text = format!("field `txn`: more than {WRITES_BYTES_MAX} bytes to write");
            return Err(Error::malformed_request(text));
        }
        self.gossip.check_room_for(transaction.encoded_len())?;
        self.said.1.join(transaction.after());
        self.gossip.append(node, transaction);
        Ok(())
    }

    fn message_from(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        message: gossip::Message<M>,
    ) -> Result<(), Error> {
        let before = self.gossip.state().clock();
        let result = self.gossip.message_from(node, request.src(), message);
        let leap = self.gossip.state().clock().saturating_sub(before);
        if leap > CLOCK_LEAP_NOTED {
            self.leaps = self.leaps.saturating_add(1);
            info!(peer = %request.src(), leap, times = self.leaps, "others were much busier");
        }
        if let Err(error) = &result {
            self.refused = self.refused.saturating_add(1);
            // It may come again and again.
            if self.refused.is_power_of_two() {
                warn!(peer = %request.src(), times = self.refused, %error, "makes no sense");
            }
        }
        result
    }
}

impl<M: Map> MessageHandler for TxnRw<M> {
    type Payload = Payload<M>;
    type Event = Event;

    const RECORD_FORMAT: Option<&'static str> = Some("txn-rw 1");

    const REPLY_WITHIN: Option<Duration> = Some(Duration::from_secs(5));

    maelstrom_core::forward_to_gossip!(gossip, records);

    fn started(&mut self, node: &mut Node<Event>) {
        self.gossip.start(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload<M>,
    ) -> Result<(), Error> {
        match payload {
            Payload::Txn { txn } => self.begin(node, request, txn),
            Payload::Gossip(message) => self.message_from(node, request, message),
        }
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Gossip(tick) => self.gossip.tick(node, tick),
            Event::Step(id) => self.step(node, id),
        }
    }
}
