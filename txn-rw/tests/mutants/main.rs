//! Nodes that are broken on purpose, in one way each. The checker must find each of them, by the
//! anomaly that it causes.
//!
//! `make hunts HUNTS=21 | grep '^|'` prints the number of seeds that a hunt needs: the median and
//! the maximum of 21 hunts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "tests may fail"
)]

#[path = "../../../maelstrom-sim/tests/mutants/hunt.rs"]
mod hunt;
#[path = "../../../maelstrom-sim/tests/seeds/mod.rs"]
mod seeds;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use maelstrom_core::gossip::{Origin, State};
use maelstrom_core::{Error, MessageHandler, Node, Request};
use maelstrom_sim::checker::Verdict;
use maelstrom_sim::checker::txn::Model;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::TxnRwRegister;
use txn_rw::marks::Counts;
use txn_rw::{
    Config, Event, Isolation, Key, Map, Payload, Piece, Registers, Transaction, TxnRw, Value,
    VectorClock,
};

use crate::hunt::is_caught;
use crate::seeds::seeds;

/// The fault of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    /// None.
    None,
    /// Half of the writes of a batch's last transaction become visible with the next batch.
    HalfAnEntry,
    /// Of two writes with the same clock, the one that comes later wins.
    TieByArrival,
    /// Clocks are wall clock times.
    WallClock,
    /// A transaction becomes visible as soon as it comes, without its dependencies.
    NotCausal,
}

/// A map with a fault. Unless it keeps `ALL`, only a node's own log is durable.
#[derive(Debug)]
struct Broken<const ALL: bool> {
    mutant: Mutant,
    map: Registers,
    /// The values that reads return instead of those in the map.
    instead: BTreeMap<Key, Option<Value>>,
    wall: Rc<Cell<u64>>,
}

impl<const ALL: bool> Broken<ALL> {
    /// Keeps the old values for half of the keys of the last transaction.
    fn hide_half(&mut self, transactions: &[Transaction]) {
        self.instead.clear();
        let writes = transactions.last().map(Transaction::writes).unwrap_or_default();
        for (key, _) in &writes[writes.len().div_ceil(2)..] {
            self.instead.insert(key.clone(), self.map.get(key).cloned());
        }
    }

    fn let_the_last_win(&mut self, transactions: &[Transaction]) {
        for transaction in transactions {
            for (key, value) in transaction.writes() {
                let clock = self.map.iter().find(|row| row.0 == key).map(|row| row.2.clock);
                if clock == Some(transaction.clock()) {
                    self.instead.insert(key.clone(), Some(value.clone()));
                }
            }
        }
    }
}

impl<const ALL: bool> State for Broken<ALL> {
    type Entry = Transaction;
    type Piece = Piece;

    const MONOTONIC: bool = ALL;

    fn apply(&mut self, origin: &Origin, transactions: Vec<Transaction>) {
        match self.mutant {
            Mutant::None | Mutant::WallClock => self.map.apply(origin, transactions),
            Mutant::HalfAnEntry => {
                self.hide_half(&transactions);
                self.map.apply(origin, transactions);
            }
            Mutant::TieByArrival => {
                let keys = transactions.iter().flat_map(Transaction::writes);
                keys.for_each(|(key, _)| drop(self.instead.remove(key)));
                self.map.apply(origin, transactions.clone());
                self.let_the_last_win(&transactions);
            }
            Mutant::NotCausal => {
                let bare = |it: &Transaction| {
                    let writes = it.writes().iter().cloned().collect();
                    Transaction::new(it.clock(), VectorClock::default(), writes)
                };
                self.map.apply(origin, transactions.iter().map(bare).collect());
            }
        }
    }

    fn piece(&self, position: u64, bytes_max: usize) -> (Piece, Option<u64>) {
        self.map.piece(position, bytes_max)
    }

    fn piece_bytes(piece: &Piece) -> usize {
        Registers::piece_bytes(piece)
    }

    fn bytes(&self) -> usize {
        self.map.bytes()
    }

    fn merge(&mut self, pieces: Vec<Piece>) -> Result<(), Error> {
        self.map.merge(pieces)
    }
}

impl<const ALL: bool> Map for Broken<ALL> {
    fn get(&self, key: &Key) -> Option<&Value> {
        self.instead.get(key).map_or_else(|| self.map.get(key), Option::as_ref)
    }

    fn visible(&self) -> &VectorClock {
        self.map.visible()
    }

    fn clock(&self) -> u64 {
        match self.mutant {
            Mutant::WallClock => self.wall.get(),
            _ => self.map.clock(),
        }
    }

    fn registers(&self) -> usize {
        self.map.registers()
    }

    fn counts(&self) -> Counts {
        self.map.counts()
    }
}

/// A node with such a map.
struct Sick<const ALL: bool> {
    node: TxnRw<Broken<ALL>>,
    wall: Rc<Cell<u64>>,
}

impl<const ALL: bool> Sick<ALL> {
    fn new(mutant: Mutant) -> Self {
        let wall = Rc::new(Cell::new(0));
        let (map, instead) = (Registers::default(), BTreeMap::new());
        let map = Broken { mutant, map, instead, wall: wall.clone() };
        let mut config = Config::default();
        if mutant == Mutant::NotCausal {
            // A batch that is cut by size need not be cut along causal order. With large batches
            // that is rare.
            config.gossip.batch_bytes_max = 500;
        }
        Self { node: TxnRw::with_map(config, map), wall }
    }
}

impl<const ALL: bool> MessageHandler for Sick<ALL> {
    type Payload = Payload<Broken<ALL>>;
    type Event = Event;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.node.recover(record)
    }

    fn started(&mut self, node: &mut Node<Event>) {
        self.node.started(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Self::Payload,
    ) -> Result<(), Error> {
        self.wall.set(u64::try_from(node.wall_clock().as_micros()).unwrap());
        self.node.message(node, request, payload)
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        self.node.event(node, event);
    }
}

fn sweep_of() -> Sweep {
    Sweep::new(TxnRwRegister::strongest_available(), Fault::ALL)
}

#[test]
fn a_map_with_nothing_wrong_is_not_blamed() {
    for seed in seeds(3) {
        assert!(sweep_of().run(seed, |_| Sick::<true>::new(Mutant::None)).is_ok(), "{seed}");
    }
}

#[test]
fn every_broken_map_is_caught() {
    for (mutant, name, anomaly) in [
        (Mutant::HalfAnEntry, "half an entry", "fractured-read"),
        (Mutant::TieByArrival, "a tie is broken by arrival", "divergence"),
        (Mutant::WallClock, "wall clocks as versions", "lost-own-write"),
        (Mutant::NotCausal, "effects before their causes", "causal-violation"),
    ] {
        is_caught(&sweep_of(), name, anomaly, |_| Sick::<true>::new(mutant));
    }
    let what = "only its own log on record";
    is_caught(&sweep_of(), what, "lost-own-write", |_| Sick::<false>::new(Mutant::None));
}

/// The weaker levels are equal to a faulty node: one that reads outside of its snapshot, or one
/// that publishes writes before its transaction has ended.
#[test]
fn reads_outside_a_snapshot_and_writes_before_the_end_are_caught() {
    for (isolation, name, anomaly) in [
        (Isolation::ReadCommitted, "reads outside of a snapshot", "fractured-read"),
        (Isolation::ReadUncommitted, "seen before the whole transaction ran", "G1b"),
    ] {
        let config = || Config { isolation, ..Config::default() };
        is_caught(&sweep_of(), name, anomaly, |_| TxnRw::new(config()));
    }
}

/// The same seeds as in the sweep, judged by weaker models: a level may have the anomalies that its
/// model permits.
#[test]
fn the_weaker_levels_are_not_blamed_for_anomalies_that_they_permit() {
    for (isolation, model) in [
        (Isolation::ReadCommitted, Model::ReadCommitted),
        (Isolation::ReadUncommitted, Model::ReadUncommitted),
    ] {
        for seed in seeds(2) {
            let mut workload = TxnRwRegister::strongest_available();
            workload.options.consistency_models = vec![model];
            let test = Sweep::new(workload, Fault::ALL).test_for(seed);
            let config = || Config { isolation, ..Config::default() };
            let world = simulate(test, |_| TxnRw::new(config()));
            let results = world.results();
            let fields = &results.workload.fields;
            assert_ne!(results.valid, Verdict::Invalid, "{isolation:?}, {seed}: {fields:?}");
        }
    }
}
