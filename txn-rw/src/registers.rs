//! The map: the result of all visible transactions, whole and in causal order.
//!
//! # The invariant
//!
//! The visible transactions are a causally closed set: with each of them, all its dependencies are
//! visible. The value of each key is the one that the visible transaction with the largest
//! [`Version`] wrote.
//!
//! The invariant holds whatever the gossip engine delivers, in any order:
//!
//! * A log comes in order ([`State::apply`]). A transaction names those that became visible at
//!   its node since the transaction before it in the log. It becomes visible here when all of them
//!   are visible. Until then it is held ([`Held`]).
//! * Several folded transactions become visible at once, with all their dependencies: a closed set
//!   that is added to a closed set makes a closed set.
//! * A snapshot is merged when it is whole, and becomes visible at once ([`staging`]): the union of
//!   two closed sets is closed.
//!
//! # Snapshots of a map that changes
//!
//! Every register has a stamp of its last change here, and a snapshot is read in the order of
//! stamps. A register that changes during the read moves to the end, and is read again. So when the
//! reader reaches the end, it has the whole map as of that moment, and the map keeps no copy for
//! the reader. Until then, the reader keeps older values as well: the pieces grow with the changes
//! meanwhile.

mod staging;

use std::collections::BTreeMap;

use maelstrom_core::gossip::{Origin, State};
use maelstrom_core::{Error, NodeId};
use serde::{Deserialize, Serialize};

use crate::entry::Transaction;
use crate::held::{Held, HeldTransaction};
use crate::json::{Key, Value};
use crate::marks::Counts;
use crate::vector_clock::VectorClock;
use staging::{Old, Staging};

/// Limit for the size of all held transactions in memory, approximately. Above it they are folded.
/// They may still take twice the size of their keys and last values. (If those of one log do not
/// fit into a line, they are several, and a key may be in each of them.)
pub const HELD_BYTES_MAX: usize = 4 << 20;

/// The largest clock: 53 bits, so that any JSON parser keeps all digits. At a million transactions
/// a second, it lasts 285 years.
pub const CLOCK_MAX: u64 = (1 << 53) - 1;

/// A snapshot that raises the clock by more than this is refused. No system has run so many
/// transactions (at 10,000 a second it takes a century), so its sender is faulty.
pub const CLOCK_LEAP_MAX: u64 = 1 << 45;

/// The order of the writes of a key: the larger version wins, on every node. If one of two
/// transactions had seen the other one, it has the larger clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The transaction's place in Lamport time.
    pub clock: u64,
    /// The log that the transaction is in.
    pub origin: Origin,
}

#[derive(Clone, Debug)]
struct Register {
    value: Value,
    version: Version,
    /// The stamp of its last change here.
    stamp: u64,
}

/// A change of this map.
#[derive(Clone, Debug)]
enum Change {
    Register(Key),
    /// A transaction came, and is held.
    Held(Origin),
}

/// Last-writer-wins registers, written by transactions.
#[derive(Clone, Debug)]
pub struct Registers {
    registers: BTreeMap<Key, Register>,
    visible: VectorClock,
    /// The largest clock in `visible`.
    clock: u64,
    held: Held,
    held_bytes_max: usize,
    /// The last change of each register and of each held transaction, by stamp.
    changes: BTreeMap<u64, Change>,
    next_stamp: u64,
    /// Estimated size of the registers in a message, in bytes.
    bytes: usize,
    /// A snapshot that is being merged.
    staging: Option<Box<Staging>>,
    /// The rest of the map before the last merge.
    old: Old,
    /// Events for marks. The number of foldings is not here.
    counts: Counts,
}

/// The part of the map that the handler of transactions needs.
pub trait Map: State<Entry = Transaction> {
    /// The value of a key, if it was ever written.
    fn get(&self, key: &Key) -> Option<&Value>;

    /// The visible transactions.
    fn visible(&self) -> &VectorClock;

    /// The largest clock among them.
    fn clock(&self) -> u64;

    /// Number of keys that were ever written.
    fn registers(&self) -> usize;

    /// The events that only the map can see, for [marks](crate::marks).
    fn counts(&self) -> Counts;
}

impl Map for Registers {
    fn get(&self, key: &Key) -> Option<&Value> {
        self.registers.get(key).map(|register| &register.value)
    }

    fn visible(&self) -> &VectorClock {
        &self.visible
    }

    fn clock(&self) -> u64 {
        self.clock
    }

    fn registers(&self) -> usize {
        self.len()
    }

    fn counts(&self) -> Counts {
        Counts { folds: self.held.folds(), ..self.counts }
    }
}

impl Default for Registers {
    fn default() -> Self {
        Self::with_held_bytes_max(HELD_BYTES_MAX)
    }
}

impl Registers {
    /// A map without registers. Held transactions are folded when they take more bytes than this.
    #[must_use]
    pub fn with_held_bytes_max(held_bytes_max: usize) -> Self {
        Self {
            registers: BTreeMap::new(),
            visible: VectorClock::default(),
            clock: 0,
            held: Held::default(),
            held_bytes_max,
            changes: BTreeMap::new(),
            next_stamp: 0,
            bytes: 0,
            staging: None,
            old: Old::default(),
            counts: Counts::default(),
        }
    }

    /// Number of keys that have been written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.registers.len()
    }

    /// True if no key has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }

    /// All keys, their values and versions.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value, &Version)> {
        self.registers.iter().map(|(key, register)| (key, &register.value, &register.version))
    }

    /// Number of held transactions. A folded one counts as one.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Number of foldings of held transactions.
    #[must_use]
    pub fn folds(&self) -> u64 {
        self.held.folds()
    }

    /// The clock of an origin's last transaction that has come, visible or held.
    fn known(&self, origin: &Origin) -> u64 {
        self.held.last(origin).unwrap_or_else(|| self.visible.get(origin))
    }

    fn draw_stamp(&mut self) -> u64 {
        let stamp = self.next_stamp;
        self.next_stamp = stamp.saturating_add(1);
        stamp
    }

    fn write(&mut self, key: Key, value: Value, version: Version) {
        let stamp = self.draw_stamp();
        let bytes = self.bytes.saturating_add(value.text().len());
        let present = self.registers.get_mut(&key);
        if let Some(Register { version: old, .. }) = &present {
            let (is_tie, is_lost) = (old.clock == version.clock, *old >= version);
            self.counts.ties = self.counts.ties.saturating_add(u64::from(is_tie));
            self.counts.lost = self.counts.lost.saturating_add(u64::from(is_lost));
        }
        match present {
            Some(register) if register.version >= version => return,
            Some(register) => {
                self.bytes = bytes.saturating_sub(register.value.text().len());
                self.changes.remove(&register.stamp);
                *register = Register { value, version, stamp };
            }
            None => {
                let rest = key.text().len().saturating_add(NUMBERS_BYTES);
                self.bytes = bytes.saturating_add(rest);
                self.registers.insert(key.clone(), Register { value, version, stamp });
            }
        }
        self.changes.insert(stamp, Change::Register(key));
    }

    /// Makes a transaction visible, or a folded one. Its dependencies are visible, or become so in
    /// the same step.
    fn make_visible(&mut self, origin: &Origin, held: HeldTransaction) {
        debug_assert!(self.visible.covers(&held.dependencies));
        for (key, value, clock) in held.writes {
            self.write(key, value, Version { clock, origin: origin.clone() });
        }
        self.visible.raise(origin, held.clock);
        self.clock = self.clock.max(held.clock);
    }

    /// Makes all transactions visible that can be.
    fn release(&mut self) {
        loop {
            let visible = &self.visible;
            let is_due = |_: &Origin, first: &HeldTransaction| visible.covers(&first.dependencies);
            let Some((origin, stamp, held)) = self.held.pop(is_due) else {
                break;
            };
            self.changes.remove(&stamp);
            self.make_visible(&origin, held);
        }
        // These may depend on each other, so all of their clocks rise first.
        let together = self.held.pop_closed(&self.visible);
        let is_any = !together.is_empty();
        self.counts.together = self.counts.together.saturating_add(u64::from(is_any));
        for (origin, _, held) in &together {
            self.visible.raise(origin, held.clock);
        }
        for (origin, stamp, held) in together {
            self.changes.remove(&stamp);
            self.make_visible(&origin, held);
        }
    }

    fn hold(&mut self, origin: &Origin, held: HeldTransaction) {
        let stamp = self.draw_stamp();
        self.changes.insert(stamp, Change::Held(origin.clone()));
        self.held.push(origin, stamp, held);
        if self.held.needs_folding(self.held_bytes_max) {
            let Self { held, changes, next_stamp, .. } = self;
            let gone = held.fold(|origin| {
                let stamp = *next_stamp;
                *next_stamp = stamp.saturating_add(1);
                changes.insert(stamp, Change::Held(origin.clone()));
                stamp
            });
            gone.iter().for_each(|stamp| drop(changes.remove(stamp)));
        }
    }
}

/// A part of a snapshot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Piece {
    registers: Vec<Row>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<(NodeId, u64, HeldTransaction)>,
    /// In the last piece: the transactions that are visible in the snapshot.
    #[serde(default, rename = "shown", skip_serializing_if = "Option::is_none")]
    visible: Option<VectorClock>,
}

/// A register: its key, its value, and its version's clock, node and incarnation.
type Row = (Key, Value, u64, NodeId, u64);

/// Estimated size of a row in bytes.
fn row_bytes((key, value, _, node, _): &Row) -> usize {
    let texts = key.text().len().saturating_add(value.text().len());
    texts.saturating_add(node.len()).saturating_add(NUMBERS_BYTES)
}

impl Piece {
    /// Adds a change, and returns its estimated size in bytes.
    fn push(&mut self, map: &Registers, stamp: u64, change: &Change) -> usize {
        match change {
            Change::Register(key) => {
                let Some(Register { value, version, .. }) = map.registers.get(key) else {
                    return 0;
                };
                let Version { clock, origin: Origin { node, incarnation } } = version.clone();
                let row = (key.clone(), value.clone(), clock, node, incarnation);
                let bytes = row_bytes(&row);
                self.registers.push(row);
                bytes
            }
            Change::Held(origin) => {
                let Some(held) = map.held.get(origin, stamp) else {
                    return 0;
                };
                self.held.push((origin.node.clone(), origin.incarnation, held.clone()));
                held.bytes()
            }
        }
    }

    /// Estimated size in bytes.
    fn bytes(&self) -> usize {
        let registers = self.registers.iter().map(row_bytes);
        let held = self.held.iter().map(|(.., held)| held.bytes());
        registers.chain(held).fold(0, usize::saturating_add)
    }

    /// The fault of this piece, if it has one, in a snapshot with these visible transactions.
    fn fault(&self, visible: &VectorClock) -> Option<&'static str> {
        let beyond = |(_, _, clock, node, incarnation): &Row| {
            *clock > visible.get(&Origin { node: node.clone(), incarnation: *incarnation })
        };
        if self.registers.iter().any(beyond) {
            return Some("a register is newer than all that is shown");
        }
        if self.registers.iter().any(|(_, value, ..)| value.is_null()) {
            return Some("a register is null");
        }
        self.held.iter().find_map(|(.., held)| held.fault())
    }
}

/// Upper estimate for the numbers and punctuation of a [`Row`], in bytes.
const NUMBERS_BYTES: usize = 48;

impl State for Registers {
    type Entry = Transaction;
    type Piece = Piece;

    const MONOTONIC: bool = true;

    /// Refuses a clock that does not follow from the transaction's dependencies. So no node can run
    /// ahead in Lamport time through its log, except by running transactions.
    fn check(&self, origin: &Origin, transactions: &[Transaction]) -> Result<(), Error> {
        let mut before = self.known(origin);
        for transaction in transactions.iter().filter(|it| it.clock() > self.known(origin)) {
            if let Some(fault) = transaction.fault(before, origin) {
                let (node, clock) = (&origin.node, transaction.clock());
                let text = format!("the transaction of {node} with clock {clock}: {fault}");
                return Err(Error::malformed_request(text));
            }
            before = transaction.clock();
        }
        Ok(())
    }

    fn apply(&mut self, origin: &Origin, transactions: Vec<Transaction>) {
        for transaction in transactions {
            // A snapshot may have brought it.
            if transaction.clock() <= self.known(origin) {
                continue;
            }
            let held = HeldTransaction::new(&transaction);
            let is_next = self.held.last(origin).is_none();
            if is_next && self.visible.covers(&held.dependencies) {
                self.make_visible(origin, held);
            } else {
                self.counts.held = self.counts.held.saturating_add(1);
                self.hold(origin, held);
            }
        }
        if !self.held.is_empty() {
            self.release();
        }
    }

    fn piece(&self, position: u64, bytes_max: usize) -> (Piece, Option<u64>) {
        let (mut piece, mut bytes) = (Piece::default(), 0_usize);
        for (stamp, change) in self.changes.range(position..) {
            if bytes >= bytes_max.max(1) {
                return (piece, Some(*stamp));
            }
            bytes = bytes.saturating_add(piece.push(self, *stamp, change));
        }
        piece.visible = Some(self.visible.clone());
        (piece, None)
    }

    fn piece_bytes(piece: &Piece) -> usize {
        piece.bytes()
    }

    fn bytes(&self) -> usize {
        self.bytes.saturating_add(self.held.bytes())
    }

    fn merge(&mut self, pieces: Vec<Piece>) -> Result<(), Error> {
        while !self.stage(&pieces)? {}
        while !self.discard() {}
        Ok(())
    }

    fn merge_step(&mut self, pieces: &[Piece]) -> Result<bool, Error> {
        self.stage(pieces)
    }

    fn discard_step(&mut self) -> bool {
        self.discard()
    }
}

#[cfg(test)]
mod tests;
