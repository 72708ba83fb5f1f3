//! Challenge 6: transactions over a map of registers. Each node runs its clients' transactions
//! immediately, without the other nodes.
//!
//! A transaction runs on its node's own map. The node acknowledges it without a message to other
//! nodes. (If the driver keeps records, the node waits for its own disk.) The writes of the
//! transaction become one [entry](Transaction) of the node's log. [`gossip`] brings the entry to
//! all other nodes, through any partition that ends. They make it visible [whole and in causal
//! order](Registers). Of two writes of a key, all nodes keep the one with the larger [`Version`].
//!
//! See [`consistency`] for the consistency models that this gives, the reason why it cannot give
//! more, and the purpose of the weaker [`Isolation`] levels.
//!
//! # Guarantees for clients
//!
//! * A key is any JSON. A value is any JSON except null: a key that was never written reads as
//!   null. Keys and values keep all their digits. A key takes at most [`KEY_BYTES_MAX`].
//! * The reply has the operations of the request, in their order, with the values of the reads. A
//!   transaction reads from one snapshot, and sees its own writes.
//! * With records, everything that a reply shows is on the disk of the node that replied, before
//!   the reply leaves. This holds for reads as well, since a node records the transactions of other
//!   nodes when it applies them. So a node that restarts shows at least as much as before. (With
//!   the weaker [`Isolation`] levels, a transaction may read uncommitted writes. Nothing is
//!   promised about those.)
//! * A malformed or too long request gets error 12 with the place of the fault. None of it is
//!   executed.
//! * A request that comes again runs again, and writes its values again. So a client that retries
//!   after an unknown outcome may overwrite a later write.
//!
//! # Limits
//!
//! The map grows with its keys, not with transactions. The gossip engine trims its logs, and sends
//! the map itself to a node that needs a trimmed entry. If many transactions wait for their
//! dependencies, the node [folds](HELD_BYTES_MAX) them into one value for each key of a log (or a
//! few, if one line is too short). A transaction that takes several steps ends within about [a
//! second](SPREAD_MAX). Such transactions are limited in number and in
//! [bytes](Config::running_bytes_max): one above the limit gets error 11, and none of its writes
//! is committed. A node keeps the pieces of a snapshot until it has all of them. They may hold
//! several copies of a register that changes meanwhile.
//!
//! A clock can only count transactions. A node refuses an entry with a larger clock. So no node can
//! run ahead through its log, win all conflicts for ever, or use up the clocks of other nodes. A
//! snapshot names the clock of its sender, and the receiver cannot verify it. The receiver accepts
//! it unless it raises the clock by [more than is possible](CLOCK_LEAP_MAX). The node logs and
//! counts refused messages. It also logs and counts leaps of its clock by honest transactions of
//! other nodes.
//!
//! # Assumptions
//!
//! Records that the disk has reported as durable are there after a restart. The last records can be
//! lost, for example if the folder is an older copy. The node then shows an older state until the
//! other nodes have sent it the lost transactions. Lost transactions that no other node has are
//! gone. All replicas still converge: each life of a node has a log of its own.

mod entry;
mod held;
mod json;
pub mod marks;
pub mod metrics;
mod registers;
mod request;
mod underway;
mod vector_clock;

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::gossip::Entry as _;
use maelstrom_core::gossip::{self, Gossip, Origin, Tick};
use maelstrom_core::metrics::{Gauges, float};
use maelstrom_core::{
    Error, ErrorCode, LINE_BYTES_MAX, MessageHandler, Node, PENDING_BYTES_MAX, Request, Verbatim,
};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

pub use entry::Transaction;
pub use json::{Key, Value};
use marks::Counts;
pub use registers::{CLOCK_LEAP_MAX, CLOCK_MAX, HELD_BYTES_MAX, Map, Piece, Registers, Version};
use request::Running;
pub use request::{KEY_BYTES_MAX, Operation, RESULT_BYTES_MAX};
pub use underway::{RUNNING_MAX, SPREAD_MAX, STEP};
use underway::{Txn, Underway};
pub use vector_clock::VectorClock;

/// The crate's chapter of the guide. Its links to files work in the repository.
#[cfg(doc)]
#[doc = include_str!("../README.md")]
pub mod guide {}

#[doc = include_str!("../CONSISTENCY.md")]
pub mod consistency {}

/// The default for the shortest gossip period. In it n nodes send 2(n − 1) messages, whatever the
/// load. On a fast network no node is more than 100 ms behind.
pub const PERIOD_MIN: Duration = Duration::from_millis(60);

/// The largest write set that a node accepts, in bytes: it fits into one line to another node.
pub const WRITES_BYTES_MAX: usize = LINE_BYTES_MAX / 2;

/// Default for the largest number of operations in a transaction.
pub const OPERATIONS_MAX: usize = 1_000;

/// A leap of the clock that is worth a log line. If a single message raises the clock by more than
/// this, the sender's side has been much busier. Writes of this node in the meantime lose against
/// the writes there.
pub const CLOCK_LEAP_NOTED: u64 = 1_000;

/// The isolation between transactions. The weaker levels exist to show the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// Operations run one by one. (In a long transaction they run a few at a time, so that it ends
    /// within [`SPREAD_MAX`].) A read-only transaction may see the writes of transactions that still
    /// run. (A transaction that writes may not: SQL-92 has this level for reading.)
    ReadUncommitted,
    /// Operations run as in the level before. Each one reads the values that are committed by then.
    ReadCommitted,
    /// Atomic visibility and causal order, for clients that stay at one node. This is about the
    /// strongest level that is possible without waiting for other nodes (see [`consistency`]).
    #[default]
    Causal,
}

/// The parameters of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The isolation between transactions.
    pub isolation: Isolation,
    /// The largest number of operations in a transaction.
    pub operations_max: usize,
    /// The largest size of all running transactions together, in bytes.
    pub running_bytes_max: usize,
    /// The gossip engine.
    pub gossip: gossip::Config,
}

impl Default for Config {
    fn default() -> Self {
        let gossip = gossip::Config { period_min: PERIOD_MIN, ..gossip::Config::default() };
        Self {
            isolation: Isolation::default(),
            operations_max: OPERATIONS_MAX,
            running_bytes_max: PENDING_BYTES_MAX,
            gossip,
        }
    }
}

/// The messages that the node understands.
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

/// The replies of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<'a> {
    /// The transaction is committed. All nodes will show its writes.
    TxnOk {
        /// Its operations, with the values of the reads.
        txn: Verbatim<'a>,
    },
}

/// The timers of the node.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// For the gossip engine.
    Gossip(Tick),
    /// The next step of a running transaction.
    Step(u64),
}

impl From<Tick> for Event {
    fn from(tick: Tick) -> Self {
        Self::Gossip(tick)
    }
}

/// The handler. It is generic over the map only so that tests can use a broken one.
#[derive(Debug)]
pub struct TxnRw<M: Map = Registers> {
    isolation: Isolation,
    operations_max: usize,
    gossip: Gossip<M>,
    /// This node's log, and the dependencies on other logs that its entries name so far.
    logged_dependencies: (Option<Origin>, VectorClock),
    /// Transactions that take several steps.
    underway: Underway,
    /// Number of messages that were refused as invalid.
    refused: u64,
    /// Number of messages that raised the clock by a leap.
    leaps: u64,
    /// The events of the map that have got their marks.
    marked: Counts,
}

impl TxnRw {
    /// A node without any transaction.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_map(config, Registers::default())
    }
}

impl<M: Map> TxnRw<M> {
    /// The same with another map, which is empty.
    #[must_use]
    pub fn with_map(config: Config, map: M) -> Self {
        Self {
            isolation: config.isolation,
            operations_max: config.operations_max,
            gossip: Gossip::new(config.gossip, map),
            logged_dependencies: (None, VectorClock::default()),
            underway: Underway::new(config.running_bytes_max),
            refused: 0,
            leaps: 0,
            marked: Counts::default(),
        }
    }

    /// The gossip engine, with the map as its state.
    #[must_use]
    pub fn gossip(&self) -> &Gossip<M> {
        &self.gossip
    }

    /// Number of messages from nodes that were refused as invalid.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Number of messages that raised the clock by more than [`CLOCK_LEAP_NOTED`].
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
            node.mark(marks::LONG);
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
        self.check_room(node, &txn)?;
        let id = self.underway.admit()?;
        self.underway.keep(id, txn);
        self.step(node, id);
        Ok(())
    }

    /// Runs the next step of a transaction that takes several.
    fn step(&mut self, node: &mut Node<Event>, id: u64) {
        let Some(mut txn) = self.underway.take(id) else {
            return;
        };
        let result = match self.run(node, &mut txn) {
            Ok(()) if !txn.running.is_done() => {
                node.mark(marks::STEPS);
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

    /// Checks that there is room for a transaction beside the others.
    fn check_room(&self, node: &mut Node<Event>, txn: &Txn) -> Result<(), Error> {
        self.underway.check(txn).inspect_err(|_| {
            node.mark(marks::CROWDED);
            node.count_refused_for_pending_bytes();
        })
    }

    /// Runs the operations that are due.
    fn run(&self, node: &mut Node<Event>, txn: &mut Txn) -> Result<(), Error> {
        let end = txn.begin_step(node.now());
        let sees_all =
            self.isolation == Isolation::ReadUncommitted && !txn.running.writes_anything();
        let others = self.underway.newest_first().filter(|_| sees_all);
        while txn.running.done() < end && !txn.running.is_done() {
            txn.running.step(|key| {
                let uncommitted = others.clone().find_map(|other| other.written(key));
                if uncommitted.is_some() {
                    node.mark(marks::UNCOMMITTED);
                }
                uncommitted.or_else(|| self.gossip.state().get(key))
            })?;
            self.check_room(node, txn)?;
        }
        Ok(())
    }

    /// Commits a transaction that has run to its end, and replies.
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
        if self.logged_dependencies.0.as_ref() != Some(origin) {
            // A new log, or a new life: its first entry names everything that is visible here.
            self.logged_dependencies = (Some(origin.clone()), VectorClock::default());
        }
        let dependencies = map.visible().since(&self.logged_dependencies.1, origin);
        if !dependencies.is_empty() {
            node.mark(marks::DEPENDS);
        }
        let Some(clock) = map.clock().checked_add(1).filter(|clock| *clock <= CLOCK_MAX) else {
            return Err(Error::new(ErrorCode::Abort, "this node's clock is at its end"));
        };
        let transaction = Transaction::new(clock, dependencies, writes.clone());
        if transaction.encoded_len() > WRITES_BYTES_MAX {
            let text = format!("field `txn`: more than {WRITES_BYTES_MAX} bytes to write");
            return Err(Error::malformed_request(text));
        }
        let room = self.gossip.check_room_for(transaction.encoded_len());
        room.inspect_err(|_| node.mark(marks::NO_ROOM))?;
        self.logged_dependencies.1.join(transaction.dependencies());
        self.gossip.append(node, transaction);
        Ok(())
    }

    /// Marks the events that the map has met since the last call.
    fn mark_map(&mut self, node: &mut Node<Event>) {
        let counts = self.gossip.state().counts();
        let before = std::mem::replace(&mut self.marked, counts);
        counts.marks_since(&before).for_each(|mark| node.mark(mark));
    }

    fn own_gauges(&self, gauges: &mut Gauges) {
        let map = self.gossip.state();
        gauges.set(&metrics::CLOCK, &[], float(map.clock()));
        gauges.set_count(&metrics::REGISTERS, map.registers());
        gauges.set_count(&metrics::RUNNING, self.underway.len());
        gauges.set_count(&metrics::RUNNING_BYTES, self.underway.bytes());
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
            node.count(&metrics::LEAPS, &[], 1);
            info!(peer = %request.src(), leap, times = self.leaps, "the logical clock jumped: another node was much busier");
        }
        if let Err(error) = &result {
            self.refused = self.refused.saturating_add(1);
            node.count(&metrics::INVALID, &[], 1);
            // It may come again and again.
            if self.refused.is_power_of_two() {
                warn!(peer = %request.src(), times = self.refused, %error, "a gossip message was refused");
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

    maelstrom_core::forward_to_gossip!(gossip, records, metrics::METRICS, Self::own_gauges);

    fn started(&mut self, node: &mut Node<Event>) {
        // The events that recovery repeats happened in an earlier life.
        self.marked = self.gossip.state().counts();
        self.gossip.start(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload<M>,
    ) -> Result<(), Error> {
        let result = match payload {
            Payload::Txn { txn } => self.begin(node, request, txn),
            Payload::Gossip(message) => self.message_from(node, request, message),
        };
        self.mark_map(node);
        result
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Gossip(tick) => self.gossip.tick(node, tick),
            Event::Step(id) => self.step(node, id),
        }
        self.mark_map(node);
    }
}
