//! Entries that arrive while a snapshot is being merged, and follow it.
//!
//! A complete snapshot of a large state takes many steps to merge, with writes to the disk in
//! between. Meanwhile other nodes append and push entries that continue the snapshot. They do not
//! continue the state that this node shows. If the node dropped them as gaps, its peers could trim
//! their logs beyond the snapshot's version before the node has merged it. The node would then need
//! another snapshot, again and again.
//!
//! So a node keeps these entries until the snapshot is merged. Then it applies them, a few in each
//! step. The *coming* version has everything that the node has, and that the snapshots and the kept
//! entries will bring. An entry is kept if it comes next after that version.
//!
//! # Steps
//!
//! 1. [`Following::expect`]: a snapshot is complete, so its version is coming.
//! 2. [`Following::keep`]: a run that follows the coming version is kept.
//! 3. `Gossip::fetch` asks for entries that the coming version lacks. The request names that
//!    version, so the peer answers with entries, or with nothing if its logs are trimmed.
//! 4. [`Gossip::apply_next_following`]: when all snapshots are merged, the node applies the kept
//!    entries like any others, with the same checks and records.
//!
//! # Invariants
//!
//! * No message claims the coming version as the sender's own: `have` never includes it, and only a
//!   fetch names it. So no peer adopts it, and no peer believes that this node could send it.
//! * Reads show nothing of a kept entry until the snapshot before it is merged, and no kept entry
//!   is on the disk before that. A crash loses it, as it loses an incomplete snapshot.
//! * Kept entries are in no log of this node's current life: only this node appends to that.
//! * An entry is kept whatever life of its sender the message is from, because its name says where
//!   it belongs. It is applied only if it comes next in its log.
//! * The kept entries take at most [`LOGS_MAX`] times the size of the logs, and one batch more. The
//!   node drops further ones, and fetches them after the merge.
//! * If a snapshot turns out to be invalid, the node forgets the coming version, and drops all kept
//!   entries.

use std::collections::{BTreeSet, VecDeque};

use super::fetch::Wait;
use super::replica::{Entry, Run, VersionVector, footprint};
use super::{Gossip, State};
use crate::error::Error;
use crate::message::NodeId;
use crate::node::Node;

/// The kept entries may take this many times the size of the logs of a node.
const LOGS_MAX: usize = 4;

/// The entries that follow the snapshots that are being merged.
#[derive(Debug)]
pub(super) struct Following<T> {
    /// The versions of the snapshots, and the ends of the kept runs.
    version: VersionVector,
    /// The kept runs, in the order in which they arrived.
    runs: VecDeque<Run<T>>,
    /// Their size in memory.
    bytes: usize,
    bytes_max: usize,
    /// The peers whose logs do not hold the entries after the coming version any more. The node
    /// does not ask them again before the merge ends.
    trimmed: BTreeSet<NodeId>,
}

impl<T: Entry> Following<T> {
    pub(super) fn new(log_bytes_max: usize) -> Self {
        let bytes_max = log_bytes_max.saturating_mul(LOGS_MAX);
        let (version, runs, trimmed) = (VersionVector::default(), VecDeque::new(), BTreeSet::new());
        Self { version, runs, bytes: 0, bytes_max, trimmed }
    }

    /// The part of the coming version that the snapshots and the kept entries bring.
    pub(super) fn version(&self) -> &VersionVector {
        &self.version
    }

    /// The rows of the coming version that exceed `have`, the version of the node.
    pub(super) fn beyond(&self, have: &VersionVector) -> VersionVector {
        self.version.beyond(have)
    }

    /// Whether entries are coming, and there is no room to keep more of them.
    pub(super) fn has_no_room(&self) -> bool {
        self.has_runs() && self.is_full()
    }

    /// Whether nothing is coming.
    pub(super) fn is_idle(&self) -> bool {
        self.version.is_empty()
    }

    /// Whether entries are kept.
    fn has_runs(&self) -> bool {
        !self.runs.is_empty()
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// The size of the kept entries in memory, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a peer is known to have no entries after the coming version in its logs.
    pub(super) fn is_trimmed(&self, id: &NodeId) -> bool {
        self.trimmed.contains(id)
    }

    /// Records that a snapshot with this version is complete.
    pub(super) fn expect(&mut self, version: &VersionVector) {
        self.version.join(version);
        self.trimmed.clear();
    }

    /// Keeps the part of a run that follows the coming version. `have` is the version of the node.
    /// Returns whether it keeps anything.
    fn keep(&mut self, have: &VersionVector, run: &Run<T>) -> bool {
        let coming = have.get(&run.origin).max(self.version.get(&run.origin));
        let is_sound = run.start.checked_add(run.entries.len() as u64).is_some();
        let is_next = is_sound && run.start <= coming && coming < run.end();
        if T::CUMULATIVE || self.is_idle() || self.is_full() || !is_next {
            return false;
        }
        let known = usize::try_from(coming.saturating_sub(run.start)).unwrap_or(usize::MAX);
        let entries: Vec<T> = run.entries.iter().skip(known).cloned().collect();
        self.bytes = entries.iter().map(footprint).fold(self.bytes, usize::saturating_add);
        self.version.raise(&run.origin, run.end());
        self.runs.push_back(Run { origin: run.origin.clone(), start: coming, entries });
        true
    }

    /// Removes the oldest run.
    fn pop(&mut self) -> Option<Run<T>> {
        let run = self.runs.pop_front()?;
        let bytes = run.entries.iter().map(footprint).fold(0, usize::saturating_add);
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(run)
    }

    /// Forgets the coming version, and drops the kept entries.
    fn forget(&mut self) {
        (self.version, self.bytes) = (VersionVector::default(), 0);
        self.runs = VecDeque::new();
        self.trimmed.clear();
    }
}

impl<S: State> Gossip<S> {
    /// Keeps a run that cannot be applied yet, if it follows the snapshots that are being merged.
    /// Returns whether it keeps anything.
    pub(super) fn keep_following(&mut self, run: &Run<S::Entry>) -> bool {
        let is_early = run.start > self.replica.version().get(&run.origin);
        is_early && self.following.keep(self.replica.version(), run)
    }

    /// After an empty answer: if the peer has entries after the coming version, its logs do not hold
    /// them. (An answer is not empty if it has entries that came another way in the meantime.)
    pub(super) fn note_trimmed(&mut self, src: &NodeId) {
        let versions = [self.replica.version(), self.following.version()];
        let has_more = self.peers.get(src).is_some_and(|it| !it.known.is_covered_by(versions));
        if has_more && !self.following.is_idle() {
            self.following.trimmed.insert(src.clone());
        }
    }

    /// Whether entries are missing between this node's version, or the coming one, and a run.
    pub(super) fn is_gap_before(&self, run: &Run<S::Entry>) -> bool {
        let have = self.replica.version().get(&run.origin);
        let coming = have.max(self.following.version().get(&run.origin));
        // A run that ends before the coming version is not needed, and nothing is missing.
        !S::Entry::CUMULATIVE && run.start > have && (run.start > coming || run.end() > coming)
    }

    /// Applies kept entries of about one batch, if no snapshot is being merged any more. After the
    /// last ones, fetches from the peers that have more.
    pub(super) fn apply_next_following<E>(&mut self, node: &mut Node<E>) -> Result<(), Error> {
        if self.fetching.is_merging() || self.following.is_idle() {
            return Ok(());
        }
        let (mut left, mut result) = (self.config.batch_bytes_max.max(1), Ok(()));
        while left > 0
            && let Some(run) = self.following.pop()
        {
            let bytes = run.entries.iter().map(footprint).fold(0, usize::saturating_add);
            left = left.saturating_sub(bytes.max(1));
            result = result.and(self.apply_and_record(node, run));
        }
        if !self.following.has_runs() {
            for id in self.peers.ids() {
                // Answers that brought nothing after the coming version say nothing about others.
                if let Some(mut peer) = self.peers.get_mut(&id) {
                    peer.fruitless = 0;
                }
            }
            self.forget_following(node);
        }
        result
    }

    /// Forgets the coming version, and fetches from the peers that have more than this node.
    pub(super) fn forget_following<E>(&mut self, node: &mut Node<E>) {
        self.following.forget();
        for id in self.peers.ids() {
            self.note_lacking_entries(node.now(), &id, Wait::RoundTrip);
        }
    }
}
