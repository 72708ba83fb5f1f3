//! A replica: one append-only log per origin, and the version vector that summarizes them.
//!
//! Every entry has a name (node, incarnation, sequence), and a replica holds a prefix of each
//! origin's log, without holes. So one number per origin says exactly which entries it has, and
//! applying an entry twice is harmless. The union of two replicas is the longer prefix of each log.
//! That makes the merge commutative, associative and idempotent (a join), in whatever order
//! messages arrive.
//!
//! A replica keeps only the newest entries, up to a limit in bytes, and the newest entry of each
//! origin in any case. Older entries exist only in the state to which they were applied. A peer
//! that lacks such entries gets that state, piece by piece. ([`Replica::missing`] decides between
//! the two.)
//!
//! Version vectors are due to Parker et al., *Detection of Mutual Inconsistency in Distributed
//! Systems* (1983). The exchange of missing log suffixes is Bayou's anti-entropy (Petersen et al.,
//! *Flexible Update Propagation for Weakly Consistent Replication*, 1997). Bayou also trims logs,
//! and sends the whole state to a replica that lacks trimmed entries.

use std::collections::{BTreeMap, VecDeque};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The type of entry that an engine replicates. [`State`](super::State) shows how it is used.
///
/// ```
/// use maelstrom_core::gossip::Entry;
/// use serde::{Deserialize, Serialize};
///
/// /// The sum of all that this node has added so far: a new entry replaces the older ones.
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Sum(u64);
///
/// impl Entry for Sum {
///     const CUMULATIVE: bool = true;
///
///     fn encoded_len(&self) -> usize {
///         20
///     }
/// }
/// ```
pub trait Entry: Clone + Serialize + DeserializeOwned {
    /// Whether each entry replaces all earlier ones of its origin. A replica then keeps only the
    /// newest of each origin, and no node needs a snapshot.
    const CUMULATIVE: bool = false;

    /// The approximate size of the entry in a message, in bytes. Keeps batches below their limit.
    fn encoded_len(&self) -> usize;
}

/// Consecutive entries of one origin's log. The [module's example](super) shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run<T> {
    /// The log.
    pub origin: Origin,
    /// The sequence number of the first entry. A log begins with 0.
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

/// The entries that a peer lacks. The [module's example](super) shows it in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing<T> {
    /// The entries themselves.
    Runs {
        /// As many as fit into a batch.
        runs: Vec<Run<T>>,
        /// Whether some entries did not fit.
        cut: bool,
    },
    /// The logs do not hold all of them any more, so the peer needs a snapshot.
    Snapshot,
}

/// The name of consecutive entries of one log. It refers to the same entries at all times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) origin: Origin,
    /// The sequence number of the first entry.
    start: u64,
    /// The sequence number after the last entry.
    pub(super) end: u64,
}

impl Span {
    pub(super) fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// A [`Run`] that borrows its entries.
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
    /// The encoded size of this entry and the entries before it. Only differences count.
    sum: u64,
    /// Number of entries, of all logs, that this replica had taken before this one.
    arrival: u64,
}

/// The newest entries of one origin.
#[derive(Clone, Debug)]
struct Log<T> {
    /// The value of `Replica::changes` when this log last changed.
    changed: u64,
    /// The sequence number of the first kept entry.
    base: u64,
    entries: VecDeque<Kept<T>>,
    /// The approximate memory of the kept entries, in bytes.
    bytes: usize,
}

impl<T: Entry> Log<T> {
    /// A log without kept entries.
    const fn empty(base: u64) -> Self {
        Self { changed: 0, base, entries: VecDeque::new(), bytes: 0 }
    }

    /// The approximate memory of its newest entry, in bytes.
    fn newest_bytes(&self) -> usize {
        self.entries.back().map_or(0, |newest| footprint(&newest.entry))
    }

    /// Drops this many of the oldest entries.
    fn drop_oldest(&mut self, count: usize) {
        let dropped: usize = self.entries.drain(..count).map(|old| footprint(&old.entry)).sum();
        self.bytes = self.bytes.saturating_sub(dropped);
        self.base = self.base.saturating_add(count as u64);
    }

    fn end(&self) -> u64 {
        self.base.saturating_add(self.entries.len() as u64)
    }

    fn push(&mut self, entry: T, arrival: u64) {
        let before = self.entries.back().map_or(0, |newest| newest.sum);
        let sum = before.saturating_add(entry.encoded_len() as u64);
        self.bytes = self.bytes.saturating_add(footprint(&entry));
        self.entries.push_back(Kept { entry, sum, arrival });
    }

    /// The kept entries with sequence numbers from `start` to before `end`.
    fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &T> {
        let place = |number: u64| usize::try_from(number.saturating_sub(self.base));
        let (start, end) = (place(start).unwrap_or(usize::MAX), place(end).unwrap_or(usize::MAX));
        let entries = self.entries.iter().take(end).skip(start);
        entries.map(|kept| &kept.entry)
    }

    /// The encoded size of the kept entries with sequence numbers from `start` to before `end`.
    /// O(1).
    fn bytes_in(&self, start: u64, end: u64) -> u64 {
        let place = |number: u64| usize::try_from(number.saturating_sub(self.base)).ok();
        let kept_at = |place: usize| self.entries.get(place);
        let first = place(start).and_then(kept_at);
        let last = place(end).and_then(|end| end.checked_sub(1)).and_then(kept_at);
        let before = first.map(|kept| kept.sum.saturating_sub(kept.entry.encoded_len() as u64));
        last.zip(before).map_or(0, |(last, before)| last.sum.saturating_sub(before))
    }

    /// How many entries from `start` on fit into `bytes_max`, and their encoded size.
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

/// The trimmed logs of all origins. The [module's example](super) shows it in use.
#[derive(Clone, Debug)]
pub struct Replica<T> {
    logs: BTreeMap<Origin, Log<T>>,
    /// Always equals the ends of `logs`.
    version: VersionVector,
    /// The approximate memory of the kept entries, in bytes.
    bytes: usize,
    /// The same of the newest entries of all logs.
    newest_bytes: usize,
    bytes_max: usize,
    /// Counts the changes of logs.
    changes: u64,
    /// Counts the entries that this replica has taken.
    arrivals: u64,
}

/// A part of the kept entries, for a snapshot.
#[derive(Debug)]
pub(super) struct KeptPart<T> {
    pub(super) runs: Vec<Run<T>>,
    /// The logs whose oldest kept entry is in this part, with the number of that entry. The entries
    /// before it may have been dropped since the part before this one.
    pub(super) bases: VersionVector,
    /// The arrival of the first entry of the next part. `None`: this was the last part.
    pub(super) next: Option<u64>,
}

/// The most bytes that a run adds to a message besides its entries and the name of its node.
const RUN_OVERHEAD_BYTES: usize = 96;

/// The names of logs in a batch may take as many bytes as its entries, or this many if that is
/// more.
const NAMES_BYTES_MIN: usize = 16 << 10;

/// The approximate memory of an entry besides its own bytes: its slot in a log, and an allocation.
const ENTRY_OVERHEAD_BYTES: usize = 48;

/// The approximate memory of an entry in bytes.
pub(super) fn footprint<T: Entry>(entry: &T) -> usize {
    entry.encoded_len().saturating_add(ENTRY_OVERHEAD_BYTES)
}

impl<T: Entry> Replica<T> {
    /// An empty replica that keeps entries of about `bytes_max` bytes in all. It keeps the newest
    /// entry of each origin, whatever its size. If these are large, the older entries still share
    /// at least a quarter of `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let (logs, version) = (BTreeMap::new(), VersionVector::default());
        Self { logs, version, bytes: 0, newest_bytes: 0, bytes_max, changes: 0, arrivals: 0 }
    }

    /// The version of this replica: the entries that it has.
    #[must_use]
    pub fn version(&self) -> &VersionVector {
        &self.version
    }

    /// The approximate memory of the kept entries, in bytes.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.bytes
    }

    /// The sequence number at which the kept part of each log begins.
    #[must_use]
    pub fn bases(&self) -> VersionVector {
        let mut bases = VersionVector::default();
        for (origin, log) in &self.logs {
            bases.raise(origin, log.base);
        }
        bases
    }

    /// The number of the first kept entry of a log.
    pub(super) fn base(&self, origin: &Origin) -> u64 {
        self.logs.get(origin).map_or(0, |log| log.base)
    }

    /// The kept entries in the order of their arrival: about `bytes_max` bytes of those that came
    /// as number `from` or later, and at least one if there is any. Entries that come between two
    /// parts are in a later one. O(origins + size of the result).
    pub(super) fn kept_part(&self, from: u64, bytes_max: usize) -> KeptPart<T> {
        let first = |log: &Log<T>| log.entries.partition_point(|kept| kept.arrival < from);
        let left = self.logs.iter().map(|(origin, log)| (origin, log, first(log)));
        let arrival =
            |(_, log, place): &(_, &Log<T>, usize)| Some(log.entries.get(*place)?.arrival);
        let mut left: BTreeMap<u64, _> =
            left.filter_map(|log| Some((arrival(&log)?, log))).collect();
        let (mut runs, mut bytes) = (BTreeMap::<&Origin, Run<T>>::new(), 0_usize);
        let (mut bases, mut next) = (VersionVector::default(), None);
        while let Some((arrived, (origin, log, place))) = left.pop_first() {
            let Some(Kept { entry, .. }) = log.entries.get(place) else { continue };
            bytes = bytes.saturating_add(entry.encoded_len());
            if bytes > bytes_max && !runs.is_empty() {
                next = Some(arrived);
                break;
            }
            let run = runs.entry(origin).or_insert_with(|| {
                if place == 0 {
                    bases.raise(origin, log.base);
                }
                let start = log.base.saturating_add(place as u64);
                Run { origin: origin.clone(), start, entries: Vec::new() }
            });
            run.entries.push(entry.clone());
            let following = (origin, log, place.saturating_add(1));
            left.extend(arrival(&following).map(|arrived| (arrived, following)));
        }
        KeptPart { runs: runs.into_values().collect(), bases, next }
    }

    /// Appends to the log of `origin`, and returns the entry's sequence number.
    pub fn append(&mut self, origin: &Origin, entry: T) -> u64 {
        let start = self.version.get(origin);
        self.push(origin, start, [entry]);
        start
    }

    /// The new part of a run. `None` if the run starts after the end of the log: the entries in
    /// between have not arrived, and a replica has no holes. Cumulative entries may skip others.
    #[must_use]
    pub fn news_in(&self, mut run: Run<T>) -> Option<Run<T>> {
        let have = self.version.get(&run.origin);
        // Rejects a run whose numbers overflow.
        run.start.checked_add(run.entries.len() as u64)?;
        if run.end() <= have || (run.start > have && !T::CUMULATIVE) {
            return None;
        }
        let known = usize::try_from(have.saturating_sub(run.start)).unwrap_or(usize::MAX);
        run.entries.drain(..known.min(run.entries.len()));
        run.start = run.start.max(have);
        Some(run)
    }

    /// Adds a run that [`news_in`](Self::news_in) returned.
    pub fn extend(&mut self, news: &Run<T>) {
        let have = self.version.get(&news.origin);
        debug_assert!(news.start == have || (T::CUMULATIVE && news.start > have), "not new");
        self.push(&news.origin, news.start, news.entries.iter().cloned());
    }

    /// Adopts a state that contains all of `version`. The replica then has these entries, but
    /// cannot send them as entries.
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

    /// The entries that this replica has and none of `have` includes, up to about `bytes_max`, but
    /// at least one if there is any. O(origins × log + size of the result).
    #[must_use]
    pub fn missing(&self, have: &[&VersionVector], bytes_max: usize) -> Missing<T> {
        self.runs(self.lacking(have, bytes_max))
    }

    /// Like [`missing`](Self::missing), for one origin only.
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

    /// Like [`missing`](Self::missing), but returns names: the spans, and whether some did not fit.
    /// `None` if a snapshot is needed. O(origins × log).
    pub(super) fn lacking(
        &self,
        have: &[&VersionVector],
        bytes_max: usize,
    ) -> Option<(Vec<Span>, bool)> {
        Self::lacking_of(self.logs.iter(), have, bytes_max)
    }

    /// Like [`lacking`](Self::lacking), for one origin only.
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

    /// The encoded size of the entries of a span.
    pub(super) fn span_bytes(&self, span: &Span) -> u64 {
        self.logs.get(&span.origin).map_or(0, |log| log.bytes_in(span.start, span.end))
    }

    /// Encodes a span as a [`Run`] in JSON.
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
            log.push(entry, self.arrivals);
            self.arrivals = self.arrivals.saturating_add(1);
        }
        self.bytes = self.bytes.saturating_add(log.bytes);
        self.newest_bytes = self.newest_bytes.saturating_add(log.newest_bytes());
        let end = log.end();
        self.version.raise(origin, end);
        self.trim();
    }

    /// The limit for all logs in bytes. Without the second part, one entry larger than `bytes_max`
    /// would empty all other logs, and every peer that lacks an entry would need a snapshot.
    fn limit(&self) -> usize {
        self.bytes_max.max(self.newest_bytes.saturating_add(self.bytes_max / 4))
    }

    /// Drops the older half of the largest log until all logs fit. Keeps the newest entry of each
    /// origin.
    ///
    /// O(origins) for each log that is halved. Amortized, this happens once per as many appended
    /// bytes as it drops.
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
mod version;

pub(super) use claim::DigestedRows;
pub use version::{Origin, VersionVector};

#[cfg(test)]
mod tests;
