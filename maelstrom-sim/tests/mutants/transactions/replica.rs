//! A small replicated map with transactions, right or broken in one way.
//!
//! A transaction runs against the local replica at once. What it wrote becomes one entry with a
//! Lamport version; replicas apply entries whole, after all that the entry's writer had applied,
//! and the larger version of a key wins. What gets lost on the way is asked for again and again.
//! That is causal consistency with atomic visibility and convergence.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{Error, ErrorCode, MessageHandler, Node, NodeId, Request};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const TICK: Duration = Duration::from_millis(500);

/// How many entries go into a message.
const ENTRIES_MAX: usize = 64;

/// What is wrong with a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing.
    None,
    /// Of a transaction from elsewhere, it shows the first write at once and the others later.
    HalfVisible,
    /// What arrives last wins.
    ArrivalOrder,
    /// Of two with the same Lamport clock, what arrives last wins.
    TieByArrival,
    /// Versions are the time of a wall clock.
    WallClock,
    /// Transactions take a while, and read what is there at that moment.
    NoSnapshot,
    /// A transaction that aborts has been seen by then.
    DirtyRead,
    /// It acknowledges transactions, and applies them a little later.
    LostOwnWrite,
    /// Transactions take a while, and each write is seen at once.
    PublishEarly,
    /// It applies what arrives, whether it has what that depends on or not.
    NotCausal,
    /// It keeps nothing over a crash.
    Forget,
    /// It does not ask for what got lost.
    NoRetry,
}

type Key = String;
type Version = (u64, NodeId);
type MicroOp = (String, Value, Value);

/// What a transaction wrote.
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
    /// Go on with a transaction of which so many operations have been run.
    Continue(Request, Vec<MicroOp>, usize),
    /// Apply what was held back.
    Later(Version, Vec<(Key, Value)>),
    Commit(BTreeMap<Key, Value>),
}

pub(crate) struct Replica {
    mutant: Mutant,
    registers: BTreeMap<Key, (Version, Value)>,
    clock: u64,
    /// How many entries of each origin have been applied.
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

    /// Runs the operations of a transaction from `start` on, up to `end`. Its own writes are in its
    /// operations.
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

    /// An entry from elsewhere.
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

    /// Runs a transaction and answers, or tells why not.
    fn transact(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        mut txn: Vec<MicroOp>,
    ) -> Result<(), Error> {
        // What only reads is in conflict with nobody.
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

    /// Runs the next operation of a transaction that takes a while.
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
