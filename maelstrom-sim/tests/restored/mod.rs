//! Sweeps of nodes that gossip, in which one node is restored from an older copy of its folder now
//! and then.
//!
//! A record may be lost if another node has the entry at that time: that node sends it again. So
//! the other nodes must not forget entries. Either they do not crash, or every entry that they
//! receive is in their records at once. In the end, every node must have all entries that any other
//! node ever had.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use maelstrom_core::gossip::{Run, VersionVector};
use maelstrom_core::{Error, MessageHandler, Node, NodeId, Records, Request, SnapshotPosition};
use maelstrom_sim::Test;
use maelstrom_sim::checker::{Verdict, WorkloadResults};
use maelstrom_sim::history::History;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::options::{Losable, Options};
use maelstrom_sim::sweep::Case;
use maelstrom_sim::workload::{Generator, Rpc, Workload};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A handler that contains the gossip engine.
pub(crate) trait Replicated: MessageHandler {
    /// How many entries of each log it has.
    fn version(&self) -> &VersionVector;
}

/// The test in which the folder of one node is restored. `crash`: whether nodes may also crash,
/// because every entry that they receive is in their records.
pub(crate) fn restored<H: Replicated>(
    Test { workload, mut options }: Test,
    crash: bool,
    build: impl Fn(&NodeId) -> H,
) -> Case<impl FnMut(&NodeId) -> Watched<H>> {
    if options.nodes.len() == 1 {
        // A single node has no other node that could send lost entries again.
        options = options.with_node_count(2);
    }
    options.nemesis.insert(Fault::Restore);
    if crash {
        // Every entry that a node has is then in its records, whenever it crashes.
        options.sync_max = Some(Duration::ZERO);
    } else {
        options.nemesis.remove(&Fault::Crash);
    }
    options.snapshot_part_bytes = options.seed.is_multiple_of(2).then_some(50);
    let board = Board::default();
    let known = board.clone();
    options.losable = Some(Losable::new(move |record| known.is_elsewhere(record)));
    let workload = Arc::new(Judged { workload, board: board.clone() });
    let watch =
        move |id: &NodeId| Watched { handler: build(id), id: id.clone(), board: board.clone() };
    Case::new(Test { workload, options }, watch)
}

/// The entries that each node has, and those that it had.
#[derive(Clone, Debug, Default)]
struct Board(Arc<Mutex<BTreeMap<NodeId, Row>>>);

#[derive(Debug, Default)]
struct Row {
    has: VersionVector,
    /// The entries of other nodes that it had at any time.
    had: VersionVector,
}

/// A record of a node's own entries.
#[derive(Deserialize)]
struct Own {
    own: Run<IgnoredAny>,
}

impl Board {
    fn note(&self, id: &NodeId, has: &VersionVector) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.entry(id.clone()).or_default();
        if row.has != *has {
            row.has = has.clone();
            // Does not count its own entries: they may be lost with the node before any other node
            // has them.
            let mut others: Vec<(NodeId, u64, u64)> = has.clone().into();
            others.retain(|(node, ..)| node != id);
            row.had.join(&others.into());
        }
    }

    /// Whether another node has the entries of this record. True for entries of other nodes.
    fn is_elsewhere(&self, record: &[u8]) -> bool {
        let Ok(Own { own }) = serde_json::from_slice(record) else { return true };
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = rows.iter().filter(|(id, _)| **id != own.origin.node);
        others.any(|(_, row)| row.has.get(&own.origin) >= own.end())
    }

    /// Describes a node that lacks entries which another node once had.
    fn lacking(&self) -> Option<String> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks = |(id, row): (&NodeId, &Row)| {
            let mut others = rows.iter().filter(|(other, _)| *other != id);
            let (other, _) = others.find(|(_, other)| !row.has.covers(&other.had))?;
            Some(format!("{id} lacks entries that {other} had"))
        };
        rows.iter().find_map(lacks)
    }
}

/// A node that reports its entries to the board.
pub(crate) struct Watched<H> {
    handler: H,
    id: NodeId,
    board: Board,
}

impl<H: Replicated> MessageHandler for Watched<H> {
    type Payload = H::Payload;
    type Event = H::Event;

    const RECORD_FORMAT: Option<&'static str> = H::RECORD_FORMAT;

    const REPLY_WITHIN: Option<Duration> = H::REPLY_WITHIN;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.handler.recover(record)
    }

    fn snapshot_bytes(&self) -> Option<usize> {
        self.handler.snapshot_bytes()
    }

    fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        self.handler.snapshot(from, bytes_max, records)
    }

    fn started(&mut self, node: &mut Node<H::Event>) {
        self.handler.started(node);
        self.board.note(&self.id, self.handler.version());
    }

    fn message(
        &mut self,
        node: &mut Node<H::Event>,
        request: &Request,
        payload: H::Payload,
    ) -> Result<(), Error> {
        let result = self.handler.message(node, request, payload);
        self.board.note(&self.id, self.handler.version());
        result
    }

    fn event(&mut self, node: &mut Node<H::Event>, event: H::Event) {
        self.handler.event(node, event);
        self.board.note(&self.id, self.handler.version());
    }
}

/// A workload after which all nodes must have all entries.
#[derive(Debug)]
struct Judged {
    workload: Arc<dyn Workload>,
    board: Board,
}

impl Workload for Judged {
    fn name(&self) -> &'static str {
        self.workload.name()
    }

    fn about(&self) -> &'static str {
        self.workload.about()
    }

    fn rpcs(&self) -> &'static [Rpc] {
        self.workload.rpcs()
    }

    fn validate(&self, options: &Options) -> Result<(), String> {
        self.workload.validate(options)
    }

    fn generator(&self, options: &Options) -> Box<dyn Generator> {
        self.workload.generator(options)
    }

    fn check(&self, history: &History) -> WorkloadResults {
        let results = self.workload.check(history);
        match self.board.lacking() {
            Some(lacking) if results.valid != Verdict::Invalid => {
                WorkloadResults::new(Verdict::Invalid, Verdict::Invalid, results.fields)
                    .because(Some(lacking))
            }
            _ => results,
        }
    }

    fn is_idempotent(&self, f: &str) -> bool {
        self.workload.is_idempotent(f)
    }

    fn definite_errors_fail(&self) -> bool {
        self.workload.definite_errors_fail()
    }

    fn reuses_address(&self) -> bool {
        self.workload.reuses_address()
    }

    fn call_timeout(&self, options: &Options) -> Duration {
        self.workload.call_timeout(options)
    }
}
