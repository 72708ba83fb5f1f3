//! A small replicated map with transactions. It is correct, or broken in one way.
//!
//! A transaction runs at once, against the local replica. Its writes become one entry with a
//! Lamport version. A replica applies an entry as a whole, and only after all entries that its
//! writer had applied. The larger version of a key wins. A replica requests lost entries again and
//! again. This gives causal consistency with atomic visibility and convergence.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{Error, ErrorCode, MessageHandler, Node, NodeId, Request};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const TICK: Duration = Duration::from_millis(500);

/// How many entries a message may hold.
const ENTRIES_MAX: usize = 64;

/// The bug of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// No bug.
    None,
    /// It shows the first write of a remote transaction at once, and the others later.
    HalfVisible,
    /// The write that arrives last wins.
    ArrivalOrder,
    /// Of two writes with the same Lamport clock, the one that arrives last wins.
    TieByArrival,
    /// Versions are wall-clock times.
    WallClock,
    /// Transactions take some time, and each operation reads the current state.
    NoSnapshot,
    /// The writes of an aborted transaction were visible for a while.
    DirtyRead,
    /// It acknowledges transactions, and applies them a little later.
    LostOwnWrite,
    /// Transactions take some time, and each write is visible at once.
    PublishEarly,
    /// It applies entries on arrival, even before their dependencies.
    NotCausal,
    /// It keeps nothing over a crash.
    Forget,
    /// It does not request lost entries.
    NoRetry,
}

type Key = String;
type Version = (u64, NodeId);
type MicroOp = (String, Value, Value);

/// The writes of a transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    origin: NodeId,
    /// How many entries of each origin come before it.
    after: BTreeMap<NodeId, u64>,
    version: Version,
    writes: BTreeMap<Key, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payload {
    Txn { txn: Vec<MicroOp> },
    Ask { have: BTreeMap<NodeId, u64> },
    Tell { entries: Vec<Entry> },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<'a> {
    TxnOk { txn: &'a [MicroOp] },
    Ask { have: &'a BTreeMap<NodeId, u64> },
    Tell { entries: &'a [Entry] },
}

pub(crate) enum Event {
    Tick,
    /// Continue a transaction of which this many operations have run.
    Continue(Request, Vec<MicroOp>, usize),
    /// Apply the delayed writes.
    Later(Version, Vec<(Key, Value)>),
    Commit(BTreeMap<Key, Value>),
}

pub(crate) struct Replica {
    mutant: Mutant,
    registers: BTreeMap<Key, (Version, Value)>,
    clock: u64,
    /// How many entries of each origin the replica has applied.
    have: BTreeMap<NodeId, u64>,
    /// All entries, in the order in which they were applied.
    log: Vec<Entry>,
    ticks: usize,
}

impl Replica {
    pub(crate) fn new(mutant: Mutant) -> Self {
        let (registers, have, log) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { mutant, registers, clock: 0, have, log, ticks: 0 }
    }

    fn read(&self, key: &str) -> Value {
        self.registers.get(key).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Runs the operations of a transaction from `start` to `end`. The transaction's own writes are
    /// among its operations.
    fn run(&self, txn: &mut [MicroOp], start: usize, end: usize) -> Result<(), Error> {
        for at in start..end.min(txn.len()) {
            let (f, key, _) = txn[at].clone();
            match f.as_str() {
                "r" => {
                    let mut own = txn[..at].iter().rev();
                    let own = own.find(|(f, other, _)| f == "w" && *other == key);
                    let value = own.map(|(_, _, value)| value.clone());
                    txn[at].2 = value.unwrap_or_else(|| self.read(&key.to_string()));
                }
                "w" => {}
                _ => return Err(Error::malformed_request("an operation is `r` or `w`")),
            }
        }
        Ok(())
    }

    fn commit(&mut self, node: &mut Node<Event>, writes: BTreeMap<Key, Value>) {
        if writes.is_empty() {
            return;
        }
        self.clock += 1;
        if self.mutant == Mutant::WallClock {
            self.clock = u64::try_from(node.wall_clock().as_millis()).unwrap_or(0);
        }
        let (origin, after) = (node.id().clone(), self.have.clone());
        let version = (self.clock, origin.clone());
        let entry = Entry { origin, after, version, writes };
        let entries = std::slice::from_ref(&entry);
        self.keep(node, &entry);
        for peer in node.peers() {
            node.send(&peer, &Reply::Tell { entries });
        }
        for (key, value) in entry.writes.clone() {
            self.set(key, &entry.version, value);
        }
        self.note(entry);
    }

    fn keep(&self, node: &mut Node<Event>, entry: &Entry) {
        if self.mutant != Mutant::Forget {
            node.persist(entry);
        }
    }

    fn set(&mut self, key: Key, version: &Version, value: Value) {
        let known = self.registers.get(&key).map(|(version, _)| version);
        let wins = |known: &Version| match self.mutant {
            Mutant::ArrivalOrder => true,
            Mutant::TieByArrival => known.0 <= version.0,
            _ => known < version,
        };
        if known.is_none_or(wins) {
            self.registers.insert(key, (version.clone(), value));
        }
    }

    fn note(&mut self, entry: Entry) {
        self.clock = self.clock.max(entry.version.0);
        *self.have.entry(entry.origin.clone()).or_default() += 1;
        self.log.push(entry);
    }

    /// Handles an entry of another replica.
    fn take(&mut self, node: &mut Node<Event>, entry: Entry) {
        let count = |of: &BTreeMap<NodeId, u64>, id: &NodeId| of.get(id).copied().unwrap_or(0);
        let next = count(&entry.after, &entry.origin);
        let ready = match self.mutant {
            Mutant::NotCausal => true,
            _ => entry.after.iter().all(|(id, after)| count(&self.have, id) >= *after),
        };
        if count(&self.have, &entry.origin) != next || !ready {
            return;
        }
        self.keep(node, &entry);
        let mut writes: Vec<(Key, Value)> = entry.writes.clone().into_iter().collect();
        if self.mutant == Mutant::HalfVisible && writes.len() > 1 {
            let rest = writes.split_off(1);
            node.set_timer(Duration::from_millis(50), Event::Later(entry.version.clone(), rest));
        }
        for (key, value) in writes {
            self.set(key, &entry.version, value);
        }
        self.note(entry);
    }

    /// Runs a transaction and replies, or returns an error.
    fn transact(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        mut txn: Vec<MicroOp>,
    ) -> Result<(), Error> {
        // A read-only transaction conflicts with no other.
        let abort = node.rng().random_bool(0.05) && !writes(&txn).is_empty();
        if matches!(self.mutant, Mutant::NoSnapshot | Mutant::PublishEarly) {
            self.step(node, request.clone(), txn, 0);
            return Ok(());
        }
        let length = txn.len();
        self.run(&mut txn, 0, length)?;
        if abort && self.mutant != Mutant::DirtyRead {
            return Err(Error::new(ErrorCode::TxnConflict, "not today"));
        }
        let writes = writes(&txn);
        if self.mutant == Mutant::LostOwnWrite {
            node.set_timer(Duration::from_millis(50), Event::Commit(writes));
        } else {
            self.commit(node, writes);
        }
        if abort {
            return Err(Error::new(ErrorCode::TxnConflict, "too late"));
        }
        node.reply(request, &Reply::TxnOk { txn: &txn });
        Ok(())
    }

    /// Runs the next operation of a slow transaction.
    fn step(&mut self, node: &mut Node<Event>, request: Request, mut txn: Vec<MicroOp>, at: usize) {
        if self.run(&mut txn, at, at + 1).is_err() {
            return;
        }
        let early = self.mutant == Mutant::PublishEarly;
        if early {
            let done = txn.get(at..=at).unwrap_or_default();
            self.commit(node, writes(done));
        }
        if at + 1 < txn.len() {
            return node.set_timer(TICK / 25, Event::Continue(request, txn, at + 1));
        }
        if !early {
            self.commit(node, writes(&txn));
        }
        node.reply(&request, &Reply::TxnOk { txn: &txn });
    }
}

fn writes(txn: &[MicroOp]) -> BTreeMap<Key, Value> {
    let writes = txn.iter().filter(|(f, ..)| f == "w");
    writes.map(|(_, key, value)| (key.to_string(), value.clone())).collect()
}

impl MessageHandler for Replica {
    type Payload = Payload;
    type Event = Event;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let entry: Entry = serde_json::from_slice(record)
            .map_err(|error| Error::crash(json!(error.to_string()).to_string()))?;
        for (key, value) in entry.writes.clone() {
            self.set(key, &entry.version, value);
        }
        self.note(entry);
        Ok(())
    }

    fn started(&mut self, node: &mut Node<Event>) {
        if self.mutant != Mutant::NoRetry {
            node.set_timer(TICK, Event::Tick);
        }
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Txn { txn } => return self.transact(node, request, txn),
            Payload::Ask { have } => {
                let known = |id: &NodeId| have.get(id).copied().unwrap_or(0);
                let place = |entry: &Entry| entry.after.get(&entry.origin).copied().unwrap_or(0);
                let missing = self.log.iter().filter(|entry| place(entry) >= known(&entry.origin));
                let entries: Vec<Entry> = missing.take(ENTRIES_MAX).cloned().collect();
                if !entries.is_empty() {
                    node.send(request.src(), &Reply::Tell { entries: &entries });
                }
            }
            Payload::Tell { entries } => {
                for entry in entries {
                    self.take(node, entry);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Tick => {
                node.set_timer(TICK, Event::Tick);
                self.ticks += 1;
                let peers: Vec<NodeId> = node.peers().collect();
                if let Some(at) = self.ticks.checked_rem(peers.len()) {
                    node.send(&peers[at], &Reply::Ask { have: &self.have });
                }
            }
            Event::Continue(request, txn, at) => self.step(node, request, txn, at),
            Event::Commit(writes) => self.commit(node, writes),
            Event::Later(version, writes) => {
                for (key, value) in writes {
                    self.set(key, &version, value);
                }
            }
        }
    }
}
