//! A replicated log as in Kafka. The leader acknowledges a message when all in-sync replicas have
//! it. A record in `lin-kv` names the leader and the in-sync replicas, and changes only by
//! compare-and-set. The handler does not tolerate crashes.
//!
//! The invariant: all in-sync replicas have every committed entry, and only an in-sync replica may
//! become leader. There is one log for all keys. The offset of a message is its index in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maelstrom_core::service::{Cas, KvClient};
use maelstrom_core::{Error, MessageHandler, Node, NodeId, Reply, Request, RpcError, RpcResult};
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::Kafka;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::GOOD_SEEDS;
use super::hunt::is_caught;

const TICK: Duration = Duration::from_millis(200);

/// How long a node waits for a reply, and how long it retries.
const RPC_TIMEOUT: Duration = Duration::from_millis(700);
const GIVE_UP_AFTER: Duration = Duration::from_secs(4);

/// A follower that stays silent for this long leaves the in-sync set.
const SILENT_AFTER: Duration = Duration::from_secs(2);

const ENTRIES_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq)]
enum Mutation {
    None,
    /// The leader acknowledges and shows entries that only it has.
    CommitEarly,
    /// A leader that has been replaced continues.
    NotFenced,
}

type Offsets = BTreeMap<String, usize>;

/// The requests of clients.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Send { key: String, msg: Value },
    Poll { offsets: Offsets },
    CommitOffsets { offsets: Offsets },
    ListCommittedOffsets { keys: Vec<String> },
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Entry {
    /// The node that forwarded the request, and its number there. No request enters the log twice.
    id: (String, u64),
    ask: Ask,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Send { key: String, msg: Value },
    Poll { offsets: Offsets },
    CommitOffsets { offsets: Offsets },
    ListCommittedOffsets { keys: Vec<String> },
    Pass { seq: u64, ask: Ask },
    Append { epoch: u64, at: usize, committed: usize, entries: Vec<Entry> },
    Have { epoch: u64, have: usize },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Tell<'a> {
    Pass { seq: u64, ask: &'a Ask },
    Append { epoch: u64, at: usize, committed: usize, entries: &'a [Entry] },
    Have { epoch: u64, have: usize },
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "so they are called")]
enum Answer {
    SendOk { offset: usize },
    PollOk { msgs: BTreeMap<String, Vec<(usize, Value)>> },
    CommitOffsetsOk,
    ListCommittedOffsetsOk { offsets: Offsets },
}

/// The record of the leader and the in-sync set. Every change raises the version.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Record {
    version: u64,
    epoch: u64,
    leader: NodeId,
    in_sync: BTreeSet<NodeId>,
}

/// A client's request for which this node is responsible.
struct Passed {
    request: Request,
    ask: Ask,
    seq: u64,
    since: Duration,
}

enum Event {
    Tick,
    Again(Passed),
    Answered(Passed, RpcResult),
    Read(Result<Option<Record>, RpcError>),
    Swapped(Record, Result<Cas, RpcError>),
}

struct Replica {
    mutation: Mutation,
    /// How many requests this node has forwarded.
    passed: u64,
    log: Vec<Entry>,
    committed: usize,
    epoch: u64,
    leader: Option<NodeId>,
    leads: bool,
    /// The time at which the node tries to become leader, unless it hears from one.
    patience: Duration,
    record: Option<Record>,
    /// Whether the node waits for a reply of `lin-kv`.
    busy: bool,
    /// Leader only: the nodes that must have an entry before it is committed. Includes every node
    /// that may be in sync.
    needed: BTreeSet<NodeId>,
    /// Leader only: how many entries each follower has, and when it reported that.
    followers: BTreeMap<NodeId, (usize, Duration)>,
    /// Leader only: the requests that wait, each with the log length that must be committed.
    waiting: Vec<(usize, Request)>,
}

fn kv() -> KvClient {
    KvClient::lin_kv(RPC_TIMEOUT)
}

impl Replica {
    fn new(mutation: Mutation) -> Self {
        Self {
            mutation,
            passed: 0,
            log: Vec::new(),
            committed: 0,
            epoch: 0,
            leader: None,
            leads: false,
            patience: Duration::ZERO,
            record: None,
            busy: false,
            needed: BTreeSet::new(),
            followers: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    fn be_patient(&mut self, node: &mut Node<Event>) {
        let patience = Duration::from_millis(node.rng().random_range(1_500..3_000));
        self.patience = node.now() + patience;
    }

    // Requests.

    fn pass_on(&mut self, node: &mut Node<Event>, passed: Passed) {
        if self.leads {
            let id = (node.id().to_string(), passed.seq);
            self.serve(node, &passed.request, id, passed.ask);
        } else if let Some(leader) = self.leader.clone() {
            let (seq, ask) = (passed.seq, passed.ask.clone());
            let tell = Tell::Pass { seq, ask: &ask };
            node.rpc(&leader, &tell, RPC_TIMEOUT, |result| Event::Answered(passed, result));
        } else {
            node.set_timer(TICK, Event::Again(passed));
        }
    }

    /// Handles a request on the leader.
    fn serve(&mut self, node: &mut Node<Event>, request: &Request, id: (String, u64), ask: Ask) {
        let known = &self.log[..self.committed];
        let answer = match &ask {
            Ask::Poll { offsets } => {
                let msgs = offsets.iter().map(|(wanted, from)| {
                    let entries = known.iter().enumerate().skip(*from);
                    let msgs = entries.filter_map(|(at, entry)| match &entry.ask {
                        Ask::Send { key, msg } if key == wanted => Some((at, msg.clone())),
                        _ => None,
                    });
                    (wanted.clone(), msgs.take(20).collect())
                });
                Answer::PollOk { msgs: msgs.collect() }
            }
            Ask::ListCommittedOffsets { keys } => {
                let mut all = Offsets::new();
                for entry in known {
                    if let Ask::CommitOffsets { offsets } = &entry.ask {
                        for (key, offset) in offsets {
                            let slot = all.entry(key.clone()).or_default();
                            *slot = *offset.max(slot);
                        }
                    }
                }
                all.retain(|key, _| keys.contains(key));
                Answer::ListCommittedOffsetsOk { offsets: all }
            }
            Ask::Send { .. } | Ask::CommitOffsets { .. } => {
                let at = self.log.iter().position(|entry| entry.id == id);
                let at = at.unwrap_or_else(|| {
                    self.log.push(Entry { id, ask });
                    self.log.len() - 1
                });
                self.waiting.push((at, request.clone()));
                for peer in node.peers() {
                    self.append(node, &peer, at);
                }
                return self.advance(node);
            }
        };
        node.reply(request, &answer);
    }

    // Replication.

    /// Sends the entries from `at` on to a follower.
    fn append(&self, node: &mut Node<Event>, peer: &NodeId, at: usize) {
        let entries = &self.log[at.min(self.log.len())..];
        let entries = &entries[..entries.len().min(ENTRIES_MAX)];
        let (epoch, committed) = (self.epoch, self.committed);
        node.send(peer, &Tell::Append { epoch, at, committed, entries });
    }

    fn has(&self, follower: &NodeId) -> usize {
        self.followers.get(follower).map_or(0, |(have, _)| *have)
    }

    /// Commits the entries that all required nodes have.
    fn advance(&mut self, node: &mut Node<Event>) {
        let others = self.needed.iter().filter(|id| *id != node.id());
        let all_have = others.map(|id| self.has(id)).min();
        let early = self.mutation == Mutation::CommitEarly;
        let all_have = all_have.filter(|_| !early).unwrap_or(self.log.len());
        self.committed = self.committed.max(all_have.min(self.log.len()));
        let (done, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(at, _)| *at < self.committed);
        self.waiting = waiting;
        for (at, request) in done {
            let answer = match self.log[at].ask {
                Ask::Send { .. } => Answer::SendOk { offset: at },
                _ => Answer::CommitOffsetsOk,
            };
            node.reply(&request, &answer);
        }
    }

    fn appended(
        &mut self,
        node: &mut Node<Event>,
        from: &NodeId,
        (epoch, at, committed): (u64, usize, usize),
        entries: Vec<Entry>,
    ) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.step_down();
            // Every later leader has all committed entries, but maybe not the others. A replica
            // that is in sync in this epoch will receive the others again.
            self.log.truncate(self.committed);
        }
        if epoch == self.epoch {
            self.leader = Some(from.clone());
            self.be_patient(node);
            let known = self.log.len();
            if at <= known {
                self.log.extend(entries.into_iter().skip(known - at));
            }
            self.committed = self.committed.max(committed.min(self.log.len()));
        }
        node.send(from, &Tell::Have { epoch: self.epoch, have: self.log.len() });
    }

    fn follower_has(&mut self, node: &mut Node<Event>, from: &NodeId, epoch: u64, have: usize) {
        if epoch > self.epoch && self.mutation != Mutation::NotFenced {
            self.step_down();
        }
        if epoch != self.epoch || !self.leads {
            return;
        }
        let known = self.has(from);
        self.followers.insert(from.clone(), (have.max(known), node.now()));
        if have > known && have < self.log.len() {
            self.append(node, from, have);
        }
        self.advance(node);
    }

    // Leadership.

    fn step_down(&mut self) {
        (self.leads, self.leader) = (false, None);
        self.waiting.clear();
    }

    fn lead(&mut self, node: &mut Node<Event>, record: &Record) {
        (self.leads, self.epoch) = (true, record.epoch);
        self.needed = record.in_sync.clone();
        let now = node.now();
        self.followers = node.peers().map(|peer| (peer, (0, now))).collect();
        self.advance(node);
    }

    fn learn(&mut self, record: Record) {
        if self.record.as_ref().is_some_and(|known| known.version >= record.version) {
            return;
        }
        if self.leads && record.epoch == self.epoch {
            // No earlier proposal can succeed any more.
            self.needed = record.in_sync.clone();
        } else if self.mutation != Mutation::NotFenced {
            self.step_down();
        }
        self.record = Some(record);
    }

    fn read(&mut self, node: &mut Node<Event>) {
        self.busy = true;
        kv().read(node, "leader", Event::Read);
    }

    fn propose(&mut self, node: &mut Node<Event>, to: Record) {
        self.busy = true;
        if self.leads {
            self.needed.extend(to.in_sync.iter().cloned());
        }
        let from = self.record.clone().unwrap_or_else(|| to.clone());
        let create = self.record.is_none();
        let then = to.clone();
        kv().cas(node, "leader", from, to, create, |result| Event::Swapped(then, result));
    }

    /// Adds a follower to the in-sync set, or removes one.
    fn tend(&mut self, node: &mut Node<Event>) {
        let Some(record) = self.record.clone() else { return };
        let now = node.now();
        let change = self.followers.iter().find(|(id, (have, heard))| {
            let silent = *heard + SILENT_AFTER < now;
            let in_sync = record.in_sync.contains(*id);
            (in_sync && silent) || (!in_sync && !silent && *have >= self.committed)
        });
        let Some((id, _)) = change else { return };
        let mut to = Record { version: record.version + 1, ..record };
        if !to.in_sync.remove(id) {
            to.in_sync.insert(id.clone());
        }
        self.propose(node, to);
    }

    fn tick(&mut self, node: &mut Node<Event>) {
        node.set_timer(TICK, Event::Tick);
        if self.leads {
            for peer in node.peers() {
                self.append(node, &peer, self.has(&peer));
            }
            if !self.busy {
                self.tend(node);
            }
        } else if !self.busy && self.patience < node.now() {
            self.be_patient(node);
            self.read(node);
        }
    }

    /// Becomes leader if the record allows it.
    fn record_read(&mut self, node: &mut Node<Event>, record: Option<Record>) {
        let id = node.id().clone();
        let Some(record) = record else {
            let in_sync = node.node_ids().iter().cloned().collect();
            return self.propose(node, Record { version: 1, epoch: 1, leader: id, in_sync });
        };
        self.learn(record.clone());
        if self.leads || !record.in_sync.contains(&id) || record.epoch < self.epoch {
            return;
        }
        if record.leader == id {
            return self.lead(node, &record);
        }
        let (version, epoch) = (record.version + 1, record.epoch + 1);
        let in_sync = BTreeSet::from([id.clone()]);
        self.propose(node, Record { version, epoch, leader: id, in_sync });
    }
}

impl MessageHandler for Replica {
    type Payload = Payload;
    type Event = Event;

    fn started(&mut self, node: &mut Node<Event>) {
        node.set_timer(TICK, Event::Tick);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let from = request.src().clone();
        let ask = match payload {
            Payload::Send { key, msg } => Ask::Send { key, msg },
            Payload::Poll { offsets } => Ask::Poll { offsets },
            Payload::CommitOffsets { offsets } => Ask::CommitOffsets { offsets },
            Payload::ListCommittedOffsets { keys } => Ask::ListCommittedOffsets { keys },
            Payload::Pass { .. } if !self.leads => {
                return Err(Error::temporarily_unavailable("somebody else leads"));
            }
            Payload::Pass { seq, ask } => {
                self.serve(node, request, (from.to_string(), seq), ask);
                return Ok(());
            }
            Payload::Append { epoch, at, committed, entries } => {
                self.appended(node, &from, (epoch, at, committed), entries);
                return Ok(());
            }
            Payload::Have { epoch, have } => {
                self.follower_has(node, &from, epoch, have);
                return Ok(());
            }
        };
        self.passed += 1;
        let (request, seq, since) = (request.clone(), self.passed, node.now());
        self.pass_on(node, Passed { request, ask, seq, since });
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::Tick => self.tick(node),
            Event::Again(passed) if node.now() < passed.since + GIVE_UP_AFTER => {
                self.pass_on(node, passed);
            }
            Event::Again(_) => {}
            Event::Answered(passed, result) => match result.as_ref().map(Reply::decode::<Answer>) {
                Ok(Ok(answer)) => node.reply(&passed.request, &answer),
                _ => node.set_timer(TICK, Event::Again(passed)),
            },
            Event::Read(result) => {
                self.busy = false;
                if let Ok(record) = result {
                    self.record_read(node, record);
                }
            }
            Event::Swapped(record, Ok(Cas::Swapped)) => {
                self.busy = false;
                self.learn(record.clone());
                if !self.leads && record.leader == *node.id() {
                    self.lead(node, &record);
                }
            }
            Event::Swapped(record, _) => {
                if self.mutation == Mutation::NotFenced && self.leads {
                    self.needed = record.in_sync;
                    self.advance(node);
                }
                self.read(node);
            }
        }
    }
}

fn sweep() -> Sweep {
    let faults = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Crash);
    Sweep::new(Kafka::default(), faults)
}

#[test]
fn the_good_replicated_log_is_never_blamed() {
    sweep().test(GOOD_SEEDS, |_| Replica::new(Mutation::None));
}

#[test]
fn every_broken_replicated_log_is_caught() {
    for (mutation, name, finding) in [
        (Mutation::CommitEarly, "commit before the followers have it", "inconsistent-offsets"),
        (Mutation::NotFenced, "old leader not fenced", "inconsistent-offsets"),
    ] {
        is_caught(&sweep(), name, finding, |_| Replica::new(mutation));
    }
}
