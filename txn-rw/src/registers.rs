//! The map: what each node makes of all transactions, whole and in causal order.
//!
//! # The invariant
//!
//! What is *shown* is a set of transactions that holds, with each of them, all that it was made
//! upon; and the value of each key is what the one with the largest [`Version`] among them wrote.
//!
//! It holds whatever the engine brings in whatever order. A log comes in order ([`State::apply`]),
//! and a transaction names what its node had learned of others since the one before it; so it is
//! shown when all of that is, and until then it is held back ([`Held`]). Where several were folded
//! into one, these are shown with all that they need at once: a set that is closed, added to one
//! that is, makes one that is. A snapshot is merged when it is whole, and shown at once ([`staging`]):
//! the union of two such sets is such a set.
//!
//! # Snapshots of a map that changes
//!
//! Every register knows when it last changed here, and a snapshot is read in that order. One that
//! changes while it is under way moves to the end and is read again: so what has been read when the
//! end is reached is what the map is at that moment, whole, with no copy kept for the reader. Who
//! reads has what it was before as well, until it has all: pieces grow with the changes meanwhile.

mod staging;

use std::collections::BTreeMap;

use maelstrom_core::gossip::{Origin, State};
use maelstrom_core::{Error, NodeId};
use serde::{Deserialize, Serialize};

use crate::clocks::Clocks;
use crate::entry::Transaction;
use crate::held::{Held, Waiting};
use crate::json::{Key, Value};
use staging::{Old, Staging};

/// What is held back takes about so much memory at most, or twice what its keys and last values
/// take. (If those of one log do not fit into a line, they are several, and a key may be in each.)
pub const HELD_BYTES_MAX: usize = 4 << 20;

/// The largest clock: 53 bits, so that any JSON parser keeps all its digits. At a million
/// transactions a second, that is 285 years.
pub const CLOCK_MAX: u64 = (1 << 53) - 1;

/// A snapshot that raises the clock by more than this is refused. Nobody has run so many
/// transactions (at 10,000 a second it takes a century), so its sender is out of order.
pub const CLOCK_LEAP_MAX: u64 = 1 << 45;

/// Which of two writes of a key wins: the larger one, the same on every node. Whoever had seen the
/// other one has the larger clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The transaction's place in Lamport time.
    pub clock: u64,
    /// Whose it is.
    pub origin: Origin,
}

#[derive(Clone, Debug)]
struct Register {
    value: Value,
    version: Version,
    /// When it last changed here.
    stamp: u64,
}

/// What changed here at some time.
#[derive(Clone, Debug)]
enum Change {
    Register(Key),
    /// Something came that is held back.
    Held(Origin),
}

/// Last-writer-wins registers, written by transactions.
#[derive(Clone, Debug)]
pub struct Registers {
    registers: BTreeMap<Key, Register>,
    shown: Clocks,
    /// Always the largest of `shown`.
    clock: u64,
    held: Held,
    held_bytes_max: usize,
    /// Exactly the registers and what is held back, by when each last changed.
    changes: BTreeMap<u64, Change>,
    next_stamp: u64,
    /// What the registers take in a message, about.
    bytes: usize,
    /// A snapshot that is being merged.
    staging: Option<Box<Staging>>,
    /// The rest of the map before the last merge.
    old: Old,
}

/// What a handler of transactions needs to know of the map.
pub trait Map: State<Entry = Transaction> {
    /// The value of a key, if it was ever written.
    fn get(&self, key: &Key) -> Option<&Value>;

    /// The transactions that are shown.
    fn shown(&self) -> &Clocks;

    /// The largest clock among these.
    fn clock(&self) -> u64;
}

impl Map for Registers {
    fn get(&self, key: &Key) -> Option<&Value> {
        self.registers.get(key).map(|register| &register.value)
    }

    fn shown(&self) -> &Clocks {
        &self.shown
    }

    fn clock(&self) -> u64 {
        self.clock
    }
}

impl Default for Registers {
    fn default() -> Self {
        Self::with_held_bytes_max(HELD_BYTES_MAX)
    }
}

impl Registers {
    /// No register yet. What is held back is folded when it takes more than this.
    #[must_use]
    pub fn with_held_bytes_max(held_bytes_max: usize) -> Self {
        Self {
            registers: BTreeMap::new(),
            shown: Clocks::default(),
            clock: 0,
            held: Held::default(),
            held_bytes_max,
            changes: BTreeMap::new(),
            next_stamp: 0,
            bytes: 0,
            staging: None,
            old: Old::default(),
        }
    }

    /// How many keys have been written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.registers.len()
    }

    /// Whether no key has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }

    /// All keys, their values and versions.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value, &Version)> {
        self.registers.iter().map(|(key, register)| (key, &register.value, &register.version))
    }

    /// How many transactions have come that wait for others. Several count as one where there are
    /// very many.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How often what waits was folded.
    #[must_use]
    pub fn folds(&self) -> u64 {
        self.held.folds()
    }

    /// The clock of the last transaction of an origin that has come, shown or not.
    fn known(&self, origin: &Origin) -> u64 {
        self.held.last(origin).unwrap_or_else(|| self.shown.get(origin))
    }

    fn draw_stamp(&mut self) -> u64 {
        let stamp = self.next_stamp;
        self.next_stamp = stamp.saturating_add(1);
        stamp
    }

    fn write(&mut self, key: Key, value: Value, version: Version) {
        let stamp = self.draw_stamp();
        let bytes = self.bytes.saturating_add(value.text().len());
        match self.registers.get_mut(&key) {
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

    /// Shows all of a transaction, or of several. All that these need is shown, or about to be.
    fn show(&mut self, origin: &Origin, waiting: Waiting) {
        debug_assert!(self.shown.covers(&waiting.after));
        for (key, value, clock) in waiting.writes {
            self.write(key, value, Version { clock, origin: origin.clone() });
        }
        self.shown.raise(origin, waiting.clock);
        self.clock = self.clock.max(waiting.clock);
    }

    /// Shows what can be shown.
    fn release(&mut self) {
        loop {
            let shown = &self.shown;
            let is_due = |_: &Origin, first: &Waiting| shown.covers(&first.after);
            let Some((origin, stamp, waiting)) = self.held.pop(is_due) else {
                break;
            };
            self.changes.remove(&stamp);
            self.show(&origin, waiting);
        }
        // They may need each other: none of them before all of them.
        let together = self.held.pop_closed(&self.shown);
        for (origin, _, waiting) in &together {
            self.shown.raise(origin, waiting.clock);
        }
        for (origin, stamp, waiting) in together {
            self.changes.remove(&stamp);
            self.show(&origin, waiting);
        }
    }

    fn hold(&mut self, origin: &Origin, waiting: Waiting) {
        let stamp = self.draw_stamp();
        self.changes.insert(stamp, Change::Held(origin.clone()));
        self.held.push(origin, stamp, waiting);
        if self.held.is_to_be_folded(self.held_bytes_max) {
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
    held: Vec<(NodeId, u64, Waiting)>,
    /// What is shown when all of the map has been read, in the last piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<Clocks>,
}

/// A register: its key, its value, and its version's clock, node and incarnation.
type Row = (Key, Value, u64, NodeId, u64);

impl Piece {
    /// Tells of a change, and returns about how many bytes that takes.
    fn push(&mut self, map: &Registers, stamp: u64, change: &Change) -> usize {
        match change {
            Change::Register(key) => {
                let Some(Register { value, version, .. }) = map.registers.get(key) else {
                    return 0;
                };
                let Version { clock, origin: Origin { node, incarnation } } = version.clone();
                let texts = key.text().len().saturating_add(value.text().len());
                let bytes = texts.saturating_add(node.len()).saturating_add(NUMBERS_BYTES);
                self.registers.push((key.clone(), value.clone(), clock, node, incarnation));
                bytes
            }
            Change::Held(origin) => {
                let Some(waiting) = map.held.get(origin, stamp) else {
                    return 0;
                };
                self.held.push((origin.node.clone(), origin.incarnation, waiting.clone()));
                waiting.bytes()
            }
        }
    }

    /// What is wrong with it as a part of a snapshot of `shown`, if anything.
    fn fault(&self, shown: &Clocks) -> Option<&'static str> {
        let beyond = |(_, _, clock, node, incarnation): &Row| {
            *clock > shown.get(&Origin { node: node.clone(), incarnation: *incarnation })
        };
        if self.registers.iter().any(beyond) {
            return Some("a register is newer than all that is shown");
        }
        if self.registers.iter().any(|(_, value, ..)| value.is_null()) {
            return Some("a register is null");
        }
        self.held.iter().find_map(|(.., waiting)| waiting.fault())
    }
}

/// What the numbers and the signs of a [`Row`] take, at about the most.
const NUMBERS_BYTES: usize = 48;

impl State for Registers {
    type Entry = Transaction;
    type Piece = Piece;

    const MONOTONIC: bool = true;

    /// A clock that does not follow from what the transaction was made upon is refused: through its
    /// log, no node can run ahead in Lamport time but by running transactions.
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
            let waiting = Waiting::new(&transaction);
            let is_next = self.held.last(origin).is_none();
            if is_next && self.shown.covers(&waiting.after) {
                self.show(origin, waiting);
            } else {
                self.hold(origin, waiting);
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
        piece.shown = Some(self.shown.clone());
        (piece, None)
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
