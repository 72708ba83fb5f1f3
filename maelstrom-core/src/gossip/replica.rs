//! What a node has: one append-only log per origin, and the version vector that sums them up.
//!
//! Every entry is named (node, incarnation, sequence), and a replica holds a prefix of each
//! origin's log: no holes. So one number per origin says exactly what it has, applying an entry
//! twice is harmless, and the union of two replicas is the longer prefix of each log. That makes
//! the merge commutative, associative and idempotent (a join), whatever order messages come in.
//!
//! Only the newest entries are kept as such, up to a limit in bytes, and the newest entry of each
//! origin in any case. Older entries live on in the state that they were applied to. A peer that lacks
//! more than the logs still hold gets that state, piece by piece ([`Replica::missing`] says which of
//! the two it takes).
//!
//! Version vectors are due to Parker et al., *Detection of Mutual Inconsistency in Distributed
//! Systems* (1983); exchanging missing log suffixes by them is Bayou's anti-entropy (Petersen et
//! al., *Flexible Update Propagation for Weakly Consistent Replication*, 1997), which also trims
//! logs and sends the whole state to who needs what was trimmed.

use std::collections::{BTreeMap, VecDeque};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::message::NodeId;

/// What an engine replicates.
pub trait Entry: Clone + Serialize + DeserializeOwned {
    /// Whether each entry says all that the earlier ones of its origin said. A replica then keeps
    /// the newest of each origin only, and nobody ever needs a snapshot.
    const CUMULATIVE: bool = false;

    /// About how many bytes the entry takes in a message. Keeps batches below their limit.
    fn encoded_len(&self) -> usize;
}

/// Names a log: one life of one node. A node that restarts begins a new log, so that no two entries
/// ever share a name, whatever became of its records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// A number drawn at random when this log began.
    pub incarnation: u64,
}

/// How much of each origin's log somebody has.
///
/// On the wire: a list of `[node, incarnation, count]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(NodeId, u64, u64)>", into = "Vec<(NodeId, u64, u64)>")]
pub struct VersionVector(BTreeMap<Origin, u64>);

impl VersionVector {
    /// How many entries of `origin`.
    #[must_use]
    pub fn get(&self, origin: &Origin) -> u64 {
        self.0.get(origin).copied().unwrap_or(0)
    }

    /// How many entries of all origins together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().copied().fold(0, u64::saturating_add)
    }

    /// Whether everything that `other` has is here as well. O(origins of `other` × log).
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(origin, count)| self.get(origin) >= *count)
    }

    /// Takes the larger count of each origin.
    pub fn join(&mut self, other: &Self) {
        for (origin, count) in &other.0 {
            self.raise(origin, *count);
        }
    }

    pub(super) fn raise(&mut self, origin: &Origin, count: u64) {
        match self.0.get_mut(origin) {
            Some(mine) => *mine = count.max(*mine),
            None if count > 0 => drop(self.0.insert(origin.clone(), count)),
            None => {}
        }
    }
}

impl From<Vec<(NodeId, u64, u64)>> for VersionVector {
    fn from(rows: Vec<(NodeId, u64, u64)>) -> Self {
        let mut vector = Self::default();
        for (node, incarnation, count) in rows {
            vector.raise(&Origin { node, incarnation }, count);
        }
        vector
    }
}

impl From<VersionVector> for Vec<(NodeId, u64, u64)> {
    fn from(vector: VersionVector) -> Self {
        vector.0.into_iter().map(|(origin, n)| (origin.node, origin.incarnation, n)).collect()
    }
}

/// Consecutive entries of one origin's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run<T> {
    /// Whose log.
    pub origin: Origin,
    /// The sequence number of the first entry; the log's own first is 0.
    pub start: u64,
    /// The entries.
    pub entries: Vec<T>,
}

impl<T> Run<T> {
    /// The sequence number after the last entry.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.entries.len() as u64)
    }
}

/// What somebody lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing<T> {
    /// These entries, and more of them if it was cut.
    Runs {
        /// As many as go into a batch.
        runs: Vec<Run<T>>,
        /// Whether something did not go in.
        cut: bool,
    },
    /// More than the logs still hold.
    Snapshot,
}

/// The name of consecutive entries of one origin's log. It names the same ones at all times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) origin: Origin,
    /// The sequence number of the first entry.
    start: u64,
    /// The one after the last entry.
    pub(super) end: u64,
}

impl Span {
    pub(super) fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// A [`Run`] whose entries are somewhere else.
#[derive(Serialize)]
#[serde(bound = "T: Serialize")]
struct RunRef<'a, T> {
    origin: &'a Origin,
    start: u64,
    entries: Vec<&'a T>,
}

/// An entry of a log.
#[derive(Clone, Debug)]
struct Kept<T> {
    entry: T,
    /// The size in messages of all entries that were ever kept in this log, this one included.
    sum: u64,
}

/// The newest entries of one origin.
#[derive(Clone, Debug)]
struct Log<T> {
    /// How many changes of the replica there had been when this log changed last.
    changed: u64,
    /// The sequence number of the first one that is kept.
    base: u64,
    entries: VecDeque<Kept<T>>,
    /// The size of the kept entries.
    bytes: usize,
}

impl<T: Entry> Log<T> {
    /// A log of which nothing is kept.
    const fn empty(base: u64) -> Self {
        Self { changed: 0, base, entries: VecDeque::new(), bytes: 0 }
    }

    /// The size of its newest entry.
    fn newest_bytes(&self) -> usize {
        self.entries.back().map_or(0, |newest| footprint(&newest.entry))
    }

    /// Drops so many of the oldest entries.
    fn drop_oldest(&mut self, count: usize) {
        let dropped: usize = self.entries.drain(..count).map(|old| footprint(&old.entry)).sum();
        self.bytes = self.bytes.saturating_sub(dropped);
        self.base = self.base.saturating_add(count as u64);
    }

    fn end(&self) -> u64 {
        self.base.saturating_add(self.entries.len() as u64)
    }

    fn push(&mut self, entry: T) {
        let before = self.entries.back().map_or(0, |newest| newest.sum);
        let sum = before.saturating_add(entry.encoded_len() as u64);
        self.bytes = self.bytes.saturating_add(footprint(&entry));
        self.entries.push_back(Kept { entry, sum });
    }

    /// The kept entries from one number to another.
    fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &T> {
        let place = |number: u64| usize::try_from(number.saturating_sub(self.base));
        let (start, end) = (place(start).unwrap_or(usize::MAX), place(end).unwrap_or(usize::MAX));
        let entries = self.entries.iter().take(end).skip(start);
        entries.map(|kept| &kept.entry)
    }

    /// As many entries from `start` as take `bytes_max`, and how many bytes they take.
    /// O(log entries).
    fn fit(&self, start: u64, bytes_max: u64) -> (u64, u64) {
        let skip = usize::try_from(start.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let sum_at = |end: usize| end.checked_sub(1).and_then(|last| self.entries.get(last));
        let Some(first) = self.entries.get(skip) else {
            return (0, 0);
        };
        let before = first.sum.saturating_sub(first.entry.encoded_len() as u64);
        let limit = before.saturating_add(bytes_max);
        let end = self.entries.partition_point(|kept| kept.sum <= limit).max(skip);
        let sum = sum_at(end).map_or(before, |last| last.sum.max(before));
        let bytes = sum.saturating_sub(before);
        (end.saturating_sub(skip) as u64, bytes)
    }
}

/// The logs of all origins, trimmed.
#[derive(Clone, Debug)]
pub struct Replica<T> {
    logs: BTreeMap<Origin, Log<T>>,
    /// Always the ends of `logs`.
    version: VersionVector,
    /// The size of the kept entries.
    bytes: usize,
    /// The size of the newest entries of all logs together.
    newest_bytes: usize,
    bytes_max: usize,
    /// How often a log has changed.
    changes: u64,
}

/// A run adds at most so many bytes to a message besides its entries and the name of its node.
const RUN_OVERHEAD_BYTES: usize = 96;

/// The names of the logs of a batch take no more than its entries may, or this if it is more.
const NAMES_BYTES_MIN: usize = 16 << 10;

/// What an entry takes besides its own bytes, about: its place in a log and an allocation.
const ENTRY_OVERHEAD_BYTES: usize = 48;

fn footprint<T: Entry>(entry: &T) -> usize {
    entry.encoded_len().saturating_add(ENTRY_OVERHEAD_BYTES)
}

impl<T: Entry> Replica<T> {
    /// A replica that has nothing, and keeps entries of about `bytes_max` bytes in all. The newest
    /// entry of each origin is kept whatever its size; if these are large, the older ones share at
    /// least a quarter of `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let (logs, version) = (BTreeMap::new(), VersionVector::default());
        Self { logs, version, bytes: 0, newest_bytes: 0, bytes_max, changes: 0 }
    }

    /// What this replica has.
    #[must_use]
    pub fn version(&self) -> &VersionVector {
        &self.version
    }

    /// About how many bytes of memory the kept entries take.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.bytes
    }

    /// Where the kept part of each log begins.
    #[must_use]
    pub fn bases(&self) -> VersionVector {
        let mut bases = VersionVector::default();
        for (origin, log) in &self.logs {
            bases.raise(origin, log.base);
        }
        bases
    }

    /// What is kept of each log, as a run; an empty one, if it is nothing.
    pub fn kept(&self) -> impl Iterator<Item = Run<T>> {
        self.logs.iter().map(|(origin, log)| Run {
            origin: origin.clone(),
            start: log.base,
            entries: log.entries.iter().map(|kept| kept.entry.clone()).collect(),
        })
    }

    /// Appends to the log of `origin`, and tells the entry's sequence number.
    pub fn append(&mut self, origin: &Origin, entry: T) -> u64 {
        let start = self.version.get(origin);
        self.push(origin, start, [entry]);
        start
    }

    /// The part of a run that is new. There is none in a run that starts beyond the end of the log,
    /// unless its entries are cumulative: what is between has not come yet, and a replica has no
    /// holes.
    #[must_use]
    pub fn news_in(&self, mut run: Run<T>) -> Option<Run<T>> {
        let have = self.version.get(&run.origin);
        // No log is so long that its numbers end.
        run.start.checked_add(run.entries.len() as u64)?;
        if run.end() <= have || (run.start > have && !T::CUMULATIVE) {
            return None;
        }
        let known = usize::try_from(have.saturating_sub(run.start)).unwrap_or(usize::MAX);
        run.entries.drain(..known.min(run.entries.len()));
        run.start = run.start.max(have);
        Some(run)
    }

    /// Takes what [`news_in`](Self::news_in) has found.
    pub fn extend(&mut self, news: &Run<T>) {
        let have = self.version.get(&news.origin);
        debug_assert!(news.start == have || (T::CUMULATIVE && news.start > have), "not new");
        self.push(&news.origin, news.start, news.entries.iter().cloned());
    }

    /// Takes over a state that has all of `version`: nothing of that will be asked for any more,
    /// and it is not here to be given.
    pub fn advance(&mut self, version: &VersionVector) {
        for (origin, count) in &version.0 {
            if self.version.get(origin) < *count {
                self.changes = self.changes.saturating_add(1);
                let log = Log { changed: self.changes, ..Log::empty(*count) };
                if let Some(old) = self.logs.insert(origin.clone(), log) {
                    self.bytes = self.bytes.saturating_sub(old.bytes);
                    self.newest_bytes = self.newest_bytes.saturating_sub(old.newest_bytes());
                }
                self.version.raise(origin, *count);
            }
        }
    }

    /// What is here and in none of `have`, up to about `bytes_max` of it; at least one entry if
    /// there is any. O(origins + what is returned).
    #[must_use]
    pub fn missing(&self, have: &[&VersionVector], bytes_max: usize) -> Missing<T> {
        self.runs(self.lacking(have, bytes_max))
    }

    /// As [`missing`](Self::missing), of one origin only.
    #[must_use]
    pub fn missing_from(
        &self,
        origin: &Origin,
        have: &[&VersionVector],
        bytes_max: usize,
    ) -> Missing<T> {
        self.runs(self.lacking_from(origin, have, bytes_max))
    }

    fn runs(&self, lacking: Option<(Vec<Span>, bool)>) -> Missing<T> {
        let run = |span: Span| Run {
            entries: self.entries(&span).cloned().collect(),
            origin: span.origin,
            start: span.start,
        };
        match lacking {
            Some((spans, cut)) => Missing::Runs { runs: spans.into_iter().map(run).collect(), cut },
            None => Missing::Snapshot,
        }
    }

    /// As [`missing`](Self::missing), by name: the spans and whether something did not go in.
    /// `None` if a snapshot is needed. O(origins × log).
    pub(super) fn lacking(
        &self,
        have: &[&VersionVector],
        bytes_max: usize,
    ) -> Option<(Vec<Span>, bool)> {
        Self::lacking_of(self.logs.iter(), have, bytes_max)
    }

    /// As [`lacking`](Self::lacking), of one origin only.
    pub(super) fn lacking_from(
        &self,
        origin: &Origin,
        have: &[&VersionVector],
        bytes_max: usize,
    ) -> Option<(Vec<Span>, bool)> {
        Self::lacking_of(self.logs.get_key_value(origin).into_iter(), have, bytes_max)
    }

    fn lacking_of<'a>(
        logs: impl Iterator<Item = (&'a Origin, &'a Log<T>)>,
        have: &[&VersionVector],
        bytes_max: usize,
    ) -> Option<(Vec<Span>, bool)>
    where
        T: 'a,
    {
        let (mut left, mut cut, mut spans) = (bytes_max as u64, false, Vec::new());
        let mut left_for_names = bytes_max.max(NAMES_BYTES_MIN);
        for (origin, log) in logs {
            let known = have.iter().map(|version| version.get(origin)).max().unwrap_or(0);
            if known >= log.end() {
                continue;
            }
            if known < log.base && !T::CUMULATIVE {
                return None;
            }
            let start = known.max(log.base);
            let name = origin.node.len().saturating_add(RUN_OVERHEAD_BYTES);
            let is_full = cut || name > left_for_names;
            left_for_names = left_for_names.saturating_sub(name);
            let (fitting, bytes) = if is_full { (0, 0) } else { log.fit(start, left) };
            left = left.saturating_sub(bytes);
            let count = if spans.is_empty() { fitting.max(1) } else { fitting };
            if count > fitting {
                left = 0;
            }
            let end = start.saturating_add(count);
            cut |= end < log.end();
            if count > 0 {
                spans.push(Span { origin: origin.clone(), start, end });
            }
        }
        Some((spans, cut))
    }

    fn entries(&self, span: &Span) -> impl Iterator<Item = &T> {
        let log = self.logs.get(&span.origin);
        log.into_iter().flat_map(|log| log.range(span.start, span.end))
    }

    /// A span as a [`Run`] in JSON.
    pub(super) fn encode(&self, span: &Span) -> serde_json::Result<Vec<u8>> {
        let Span { origin, start, .. } = span;
        let entries = self.entries(span).collect();
        serde_json::to_vec(&RunRef { origin, start: *start, entries })
    }

    fn push(&mut self, origin: &Origin, start: u64, entries: impl IntoIterator<Item = T>) {
        if !self.logs.contains_key(origin) {
            self.logs.insert(origin.clone(), Log::empty(0));
        }
        let Some(log) = self.logs.get_mut(origin) else {
            return;
        };
        self.changes = self.changes.saturating_add(1);
        log.changed = self.changes;
        self.bytes = self.bytes.saturating_sub(log.bytes);
        self.newest_bytes = self.newest_bytes.saturating_sub(log.newest_bytes());
        if log.entries.is_empty() {
            log.base = start;
        }
        for (entry, sequence) in entries.into_iter().zip(start..) {
            if T::CUMULATIVE {
                log.drop_oldest(log.entries.len());
                log.base = sequence;
            }
            log.push(entry);
        }
        self.bytes = self.bytes.saturating_add(log.bytes);
        self.newest_bytes = self.newest_bytes.saturating_add(log.newest_bytes());
        let end = log.end();
        self.version.raise(origin, end);
        self.trim();
    }

    /// How many bytes all logs may take. Without the second part, one entry larger than `bytes_max`
    /// would empty all other logs, and every peer that lacks anything would need a snapshot.
    fn limit(&self) -> usize {
        self.bytes_max.max(self.newest_bytes.saturating_add(self.bytes_max / 4))
    }

    /// Drops the older half of the largest log until all fit. The newest entry of an origin stays.
    ///
    /// O(origins) for each log that is halved; an append pays for it once in as many bytes as it
    /// drops.
    fn trim(&mut self) {
        while self.bytes > self.limit() {
            let long = self.logs.values_mut().filter(|log| log.entries.len() > 1);
            let Some(log) = long.max_by_key(|log| log.bytes) else {
                return;
            };
            let before = log.bytes;
            log.drop_oldest(log.entries.len() / 2);
            self.bytes = self.bytes.saturating_sub(before.saturating_sub(log.bytes));
        }
    }
}

mod claim;

pub(super) use claim::Rest;

#[cfg(test)]
mod tests;
