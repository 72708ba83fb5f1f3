//! Raft: a replicated log that serves the workload `lin-kv`. Read it beside the paper: Ongaro and
//! Ousterhout, *In Search of an Understandable Consensus Algorithm* (2014), extended version.
//!
//! Run it under the checker, with real processes that are killed and restarted:
//!
//! ```sh
//! cargo build --release -p maelstrom-sim --examples
//! target/release/maelstrom-sim test -w lin-kv --bin target/release/examples/raft --node-count 3 \
//!     --concurrency 2n --time-limit 20 --rate 50 --nemesis partition,kill -- --data-dir "$PWD/store/raft"
//! ```
//!
//! # The life of a write
//!
//! 1. [`Raft::message`]: a client sends a request to a node. The node gives the command a name and
//!    remembers the request.
//! 2. [`Raft::submit`]: the leader appends the command to its log. Another node forwards it to the
//!    leader, or refuses with error 11 if it knows no leader. That error is true, because the
//!    request had no effect.
//! 3. [`Raft::replicate`], [`Raft::append_entries`]: the leader sends the entry to its followers,
//!    and each follower appends it. Each node makes the entry durable before it sends its next
//!    message.
//! 4. [`Raft::advance_commit_index`]: a majority has the entry, so it is committed.
//! 5. [`Raft::apply_committed`]: every node applies the entry to its own map. The node that took
//!    the request then replies to its client.
//!
//! Reads take the same path. A node that answered a read from its own map could have lost its
//! leadership without knowing it.
//!
//! # Details that the paper leaves open
//!
//! * *Duplicate commands.* The network may deliver a forwarded command twice. A second execution of
//!   a write would undo the commands in between. So each command has a name: the node that took it,
//!   the node's life, and a number. The map remembers the numbers that it has applied. It forgets
//!   those for which their node no longer waits. (Lee et al., *Implementing Linearizability at
//!   Large Scale and Low Latency*, 2015, section 4.)
//! * *Pipelining.* A leader sends new entries at once, and does not wait for the replies to earlier
//!   ones. If a message is lost, the follower refuses the next one and reports the length of its
//!   log.
//!
//! Snapshots (section 7) and membership changes (section 6) are missing: the log grows forever.

mod registers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Parser;
use maelstrom_core::rand::{Rng, RngExt};
use maelstrom_core::{DataArgs, Error, MessageHandler, Node, NodeArgs, NodeId, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::registers::{Command, Operation, Origin, Registers};

/// The interval of a leader's heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// A follower that hears from no leader for this long, or up to twice as long, becomes a candidate.
const ELECTION_TIMEOUT: Duration = Duration::from_millis(500);

/// How many entries a message may hold.
const BATCH: usize = 64;

/// How long a node remembers a client's request. The client waits one second.
const REMEMBER: Duration = Duration::from_secs(5);

/// An entry of the log. A new leader begins its term with an entry without a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    term: u64,
    command: Option<Command>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    // Requests of clients.
    Read {
        key: Value,
    },
    Write {
        key: Value,
        value: Value,
    },
    Cas {
        key: Value,
        from: Value,
        to: Value,
    },
    // Messages between nodes: those of figure 2 of the paper, and a command for the leader.
    Forward {
        command: Command,
    },
    RequestVote {
        term: u64,
        last_log_index: u64,
        last_log_term: u64,
    },
    RequestVoteRes {
        term: u64,
        vote_granted: bool,
    },
    AppendEntries {
        term: u64,
        prev_log_index: u64,
        prev_log_term: u64,
        entries: Vec<Entry>,
        leader_commit: u64,
    },
    /// `index`: the index up to which the logs are equal. Without success, up to which they may be
    /// equal.
    AppendEntriesRes {
        term: u64,
        success: bool,
        index: u64,
    },
}

/// A record on a node's disk. `Log`: the log consists of its first `kept` entries and then
/// `entries`.
#[derive(Serialize, Deserialize)]
enum Record {
    Term { term: u64, voted_for: Option<NodeId> },
    Log { kept: u64, entries: Vec<Entry> },
}

/// Timers. Those of an earlier election timeout or an earlier term have no effect.
enum Event {
    ElectionTimeout { nth: u64 },
    Heartbeat { term: u64 },
}

/// The progress of a follower, as its leader knows it.
#[derive(Clone, Copy, Default)]
struct Progress {
    next_index: u64,
    match_index: u64,
}

enum Role {
    Follower,
    Candidate { votes: BTreeSet<NodeId> },
    Leader { followers: BTreeMap<NodeId, Progress> },
}

/// A node. Its first three fields are durable.
struct Raft {
    current_term: u64,
    voted_for: Option<NodeId>,
    /// The first entry has index 1.
    log: Vec<Entry>,
    role: Role,
    leader: Option<NodeId>,
    commit_index: u64,
    last_applied: u64,
    registers: Registers,
    /// The number of the current election timeout.
    timeout: u64,
    origin: Origin,
    /// The number of the next command.
    next_number: u64,
    /// The requests that wait for a command, each with the time of its arrival.
    waiting: BTreeMap<u64, (Request, Duration)>,
}

impl Raft {
    fn new() -> Self {
        Self {
            current_term: 0,
            voted_for: None,
            log: Vec::new(),
            role: Role::Follower,
            leader: None,
            commit_index: 0,
            last_applied: 0,
            registers: Registers::default(),
            timeout: 0,
            origin: Origin { node: String::new(), life: 0 },
            next_number: 0,
            waiting: BTreeMap::new(),
        }
    }

    fn last_log_index(&self) -> u64 {
        self.log.len() as u64
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        self.log.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }

    /// The term of an entry. Index 0, before the first entry, has term 0.
    fn term_at(&self, index: u64) -> Option<u64> {
        if index == 0 { Some(0) } else { self.entry(index).map(|entry| entry.term) }
    }

    /// The entries after `index`, as many as fit into a message.
    fn entries_after(&self, index: u64) -> Vec<Entry> {
        let start = usize::try_from(index).unwrap_or(usize::MAX);
        self.log.iter().skip(start).take(BATCH).cloned().collect()
    }

    /// Replaces all entries after the first `kept`.
    fn write_log(&mut self, node: &mut Node<Event>, kept: u64, entries: Vec<Entry>) {
        debug_assert!(kept >= self.commit_index, "a committed entry stays");
        let record = Record::Log { kept, entries };
        node.persist(&record);
        self.recover_log(record);
    }

    fn recover_log(&mut self, record: Record) {
        match record {
            Record::Term { term, voted_for } => {
                (self.current_term, self.voted_for) = (term, voted_for);
            }
            Record::Log { kept, entries } => {
                self.log.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
                self.log.extend(entries);
            }
        }
    }

    fn set_term(&mut self, node: &mut Node<Event>, term: u64, voted_for: Option<NodeId>) {
        let record = Record::Term { term, voted_for };
        node.persist(&record);
        self.recover_log(record);
    }

    /// Rules for all servers (section 5.1): a node that sees a higher term becomes a follower.
    fn observe_term(&mut self, node: &mut Node<Event>, term: u64) {
        if term > self.current_term {
            self.set_term(node, term, None);
            self.leader = None;
            self.become_follower(node);
        }
    }

    fn become_follower(&mut self, node: &mut Node<Event>) {
        if !matches!(self.role, Role::Follower) {
            self.role = Role::Follower;
            self.reset_election_timeout(node);
        }
    }

    fn reset_election_timeout(&mut self, node: &mut Node<Event>) {
        self.timeout = self.timeout.wrapping_add(1);
        let spread = node.rng().random_range(0.0..1.0);
        let after = ELECTION_TIMEOUT.saturating_add(ELECTION_TIMEOUT.mul_f64(spread));
        node.set_timer(after, Event::ElectionTimeout { nth: self.timeout });
    }

    fn majority(node: &Node<Event>) -> usize {
        (node.node_ids().len() / 2).saturating_add(1)
    }

    /// Section 5.2: a follower that hears from no leader becomes a candidate.
    fn start_election(&mut self, node: &mut Node<Event>) {
        let own = node.id().clone();
        self.set_term(node, self.current_term.saturating_add(1), Some(own.clone()));
        self.leader = None;
        self.role = Role::Candidate { votes: BTreeSet::from([own]) };
        self.reset_election_timeout(node);
        let last_log_index = self.last_log_index();
        node.send_to_peers(&Payload::RequestVote {
            term: self.current_term,
            last_log_index,
            last_log_term: self.term_at(last_log_index).unwrap_or(0),
        });
        self.count_votes(node);
    }

    /// Decides whether this node votes for a candidate: at most once per term, and only if the
    /// candidate's log is at least as up-to-date as its own (section 5.4.1).
    fn vote(
        &mut self,
        node: &mut Node<Event>,
        candidate: &NodeId,
        (term, last): (u64, (u64, u64)),
    ) {
        let own = (self.term_at(self.last_log_index()).unwrap_or(0), self.last_log_index());
        let is_free = self.voted_for.as_ref().is_none_or(|voted_for| voted_for == candidate);
        let vote_granted = term == self.current_term && is_free && last >= own;
        if vote_granted {
            self.set_term(node, term, Some(candidate.clone()));
            self.reset_election_timeout(node);
        }
        node.send(candidate, &Payload::RequestVoteRes { term: self.current_term, vote_granted });
    }

    fn count_votes(&mut self, node: &mut Node<Event>) {
        let Role::Candidate { votes } = &self.role else { return };
        if votes.len() < Self::majority(node) {
            return;
        }
        let next_index = self.last_log_index().saturating_add(1);
        let progress = Progress { next_index, match_index: 0 };
        let followers = node.peers().map(|peer| (peer, progress)).collect();
        self.role = Role::Leader { followers };
        self.leader = Some(node.id().clone());
        // Section 8: a leader knows which entries are committed only after it commits one of its
        // own term.
        self.append(node, None);
        node.set_timer(HEARTBEAT, Event::Heartbeat { term: self.current_term });
    }

    /// Appends to the leader's own log, and replicates to all followers.
    fn append(&mut self, node: &mut Node<Event>, command: Option<Command>) {
        let entry = Entry { term: self.current_term, command };
        self.write_log(node, self.last_log_index(), vec![entry]);
        self.replicate_to_all(node);
        self.advance_commit_index(node);
    }

    fn replicate_to_all(&mut self, node: &mut Node<Event>) {
        for peer in node.peers() {
            self.replicate(node, &peer);
        }
    }

    /// Sends the missing entries to a follower, or an empty message as a heartbeat.
    fn replicate(&mut self, node: &mut Node<Event>, follower: &NodeId) {
        let Role::Leader { followers } = &self.role else { return };
        let next_index = followers.get(follower).map_or(1, |progress| progress.next_index);
        let prev_log_index = next_index.saturating_sub(1);
        let entries = self.entries_after(prev_log_index);
        let sent = entries.len() as u64;
        node.send(
            follower,
            &Payload::AppendEntries {
                term: self.current_term,
                prev_log_index,
                prev_log_term: self.term_at(prev_log_index).unwrap_or(0),
                entries,
                leader_commit: self.commit_index,
            },
        );
        if let Role::Leader { followers } = &mut self.role
            && let Some(progress) = followers.get_mut(follower)
        {
            progress.next_index = next_index.saturating_add(sent);
        }
    }

    /// Section 5.3, the follower's side. Returns the reply.
    fn append_entries(
        &mut self,
        node: &mut Node<Event>,
        (prev_log_index, prev_log_term): (u64, u64),
        entries: Vec<Entry>,
        leader_commit: u64,
    ) -> Payload {
        let term = self.current_term;
        if self.term_at(prev_log_index) != Some(prev_log_term) {
            // Committed entries are equal on all nodes, so the logs can differ only after them.
            let below = prev_log_index.saturating_sub(1).max(self.commit_index);
            let index = below.min(self.last_log_index());
            return Payload::AppendEntriesRes { term, success: false, index };
        }
        let index = prev_log_index.saturating_add(entries.len() as u64);
        // A delayed message may hold entries that this log already has, and the log may have more.
        let mut numbered = (prev_log_index.saturating_add(1)..).zip(&entries);
        let first_new = numbered.find(|(at, entry)| self.term_at(*at) != Some(entry.term));
        if let Some((first, _)) = first_new {
            let kept = first.saturating_sub(1);
            let known = usize::try_from(kept.saturating_sub(prev_log_index)).unwrap_or(0);
            self.write_log(node, kept, entries.into_iter().skip(known).collect());
        }
        self.commit_index = leader_commit.min(index).max(self.commit_index);
        self.apply_committed(node);
        Payload::AppendEntriesRes { term, success: true, index }
    }

    /// Section 5.3, the leader's side: updates the progress of a follower.
    fn appended(&mut self, node: &mut Node<Event>, follower: &NodeId, success: bool, index: u64) {
        let last = self.last_log_index();
        let Role::Leader { followers } = &mut self.role else { return };
        let Some(progress) = followers.get_mut(follower) else { return };
        if success {
            progress.match_index = index.max(progress.match_index);
        } else {
            progress.next_index = index.max(progress.match_index).saturating_add(1);
        }
        progress.next_index = progress.next_index.max(progress.match_index.saturating_add(1));
        let lacks_some = progress.next_index <= last;
        if !success || lacks_some {
            self.replicate(node, follower);
        }
        self.advance_commit_index(node);
    }

    /// Sections 5.3 and 5.4: an entry of the current term on a majority of nodes is committed, and
    /// so are all entries before it. An entry of an earlier term does not commit by itself, however
    /// many nodes have it (figure 8).
    fn advance_commit_index(&mut self, node: &mut Node<Event>) {
        let Role::Leader { followers } = &self.role else { return };
        let mut indexes: Vec<u64> =
            followers.values().map(|progress| progress.match_index).collect();
        indexes.push(self.last_log_index());
        indexes.sort_unstable_by(|a, b| b.cmp(a));
        let place = Self::majority(node).saturating_sub(1);
        let index = indexes.get(place).copied().unwrap_or(0);
        if index > self.commit_index && self.term_at(index) == Some(self.current_term) {
            self.commit_index = index;
            self.apply_committed(node);
            // Tells the followers now, because nodes that forwarded a request wait for the commit.
            self.replicate_to_all(node);
        }
    }

    /// Applies all committed commands, and replies to the clients of this node that wait for them.
    fn apply_committed(&mut self, node: &mut Node<Event>) {
        while self.last_applied < self.commit_index {
            let Some(entry) = self.entry(self.last_applied.saturating_add(1)) else { return };
            let command = entry.command.clone();
            self.last_applied = self.last_applied.saturating_add(1);
            let Some(command) = command else { continue };
            let result = self.registers.apply(&command);
            if command.origin == self.origin
                && let Some(result) = result
                && let Some((request, _)) = self.waiting.remove(&command.number)
            {
                node.reply_result(&request, result);
            }
        }
    }

    /// Accepts a client's request, and passes its command to the leader.
    fn submit(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        operation: Operation,
    ) -> Result<(), Error> {
        let Some(leader) = self.leader.clone() else {
            return Err(Error::temporarily_unavailable("no leader is known"));
        };
        let now = node.now();
        self.waiting.retain(|_, (_, since)| now.saturating_sub(*since) < REMEMBER);
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        self.waiting.insert(number, (request.clone(), now));
        let done_below = self.waiting.keys().next().copied().unwrap_or(number);
        let command = Command { origin: self.origin.clone(), number, done_below, operation };
        if leader == *node.id() {
            self.append(node, Some(command));
        } else {
            node.send(&leader, &Payload::Forward { command });
        }
        Ok(())
    }
}

impl MessageHandler for Raft {
    type Payload = Payload;
    type Event = Event;

    const RECORD_FORMAT: Option<&'static str> = Some("raft example 1");

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let record = serde_json::from_slice(record)
            .map_err(|error| Error::crash(format!("a record of Raft: {error}")))?;
        self.recover_log(record);
        Ok(())
    }

    fn started(&mut self, node: &mut Node<Event>) {
        self.origin = Origin { node: node.id().to_string(), life: node.rng().next_u64() >> 12 };
        self.reset_election_timeout(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let src = request.src();
        match payload {
            Payload::Read { key } => return self.submit(node, request, Operation::Read { key }),
            Payload::Write { key, value } => {
                return self.submit(node, request, Operation::Write { key, value });
            }
            Payload::Cas { key, from, to } => {
                return self.submit(node, request, Operation::Cas { key, from, to });
            }
            Payload::Forward { command } => {
                if matches!(self.role, Role::Leader { .. }) {
                    self.append(node, Some(command));
                }
            }
            Payload::RequestVote { term, last_log_index, last_log_term } => {
                self.observe_term(node, term);
                self.vote(node, src, (term, (last_log_term, last_log_index)));
            }
            Payload::RequestVoteRes { term, vote_granted } => {
                self.observe_term(node, term);
                if term == self.current_term
                    && vote_granted
                    && let Role::Candidate { votes } = &mut self.role
                {
                    votes.insert(src.clone());
                    self.count_votes(node);
                }
            }
            Payload::AppendEntries {
                term,
                prev_log_index,
                prev_log_term,
                entries,
                leader_commit,
            } => {
                self.observe_term(node, term);
                let answer = if term < self.current_term {
                    let term = self.current_term;
                    Payload::AppendEntriesRes { term, success: false, index: 0 }
                } else {
                    self.become_follower(node);
                    self.reset_election_timeout(node);
                    self.leader = Some(src.clone());
                    self.append_entries(
                        node,
                        (prev_log_index, prev_log_term),
                        entries,
                        leader_commit,
                    )
                };
                node.send(src, &answer);
            }
            Payload::AppendEntriesRes { term, success, index } => {
                self.observe_term(node, term);
                if term == self.current_term {
                    self.appended(node, src, success, index);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        match event {
            Event::ElectionTimeout { nth } if nth == self.timeout => {
                if !matches!(self.role, Role::Leader { .. }) {
                    self.start_election(node);
                }
            }
            Event::Heartbeat { term } if term == self.current_term => {
                if matches!(self.role, Role::Leader { .. }) {
                    self.replicate_to_all(node);
                    node.set_timer(HEARTBEAT, Event::Heartbeat { term });
                }
            }
            Event::ElectionTimeout { .. } | Event::Heartbeat { .. } => {}
        }
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    data: DataArgs,
}

fn main() -> anyhow::Result<()> {
    let Cli { node, data } = Cli::parse();
    node.run_with(&data, Raft::new())
}

#[cfg(test)]
mod tests {
    use maelstrom_sim::nemesis::Fault;
    use maelstrom_sim::sweep::{Case, Sweep};
    use maelstrom_sim::workload::LinKv;

    use super::*;

    /// A command takes four hops and two disk writes, and a client waits one second. So neither
    /// network nor disk may be too slow. Otherwise the final operations would get no reply in time.
    #[test]
    fn sweep() {
        Sweep::new(LinKv::default(), Fault::ALL).test_cases("raft", 5, |mut test| {
            test.options.latency.mean_ms = test.options.latency.mean_ms.min(50);
            test.options.sync_max = Some(Duration::from_millis(20));
            Case::new(test, |_| Raft::new())
        });
    }

    #[test]
    fn a_seed_gives_the_same_run_every_time() {
        Sweep::new(LinKv::default(), Fault::ALL).test_determinism(0..2, |_| Raft::new());
    }
}
