//! How long a write matters to causality.
//!
//! A read of another version implies that a write in the reader's causal past came before that
//! version. This is not new if the write is in the causal past of the version's writer. So a write
//! matters until the last read of a version of the key whose writer does not depend on the write.
//!
//! A few transactions, the markers, make this cheap to estimate. Each marker is in the causal past
//! of the next. The estimate may be too long, never too short.

use super::causality::Related;
use super::transactions::{Transactions, TxnId, VersionId};

/// The markers that each transaction depends on. Markers are numbered from one.
#[derive(Debug)]
struct Markers {
    /// The last marker that each transaction depends on, or is. Zero if there is none.
    knows: Vec<usize>,
    /// The first marker that depends on each transaction, or is it.
    known_by: Vec<usize>,
}

impl Markers {
    /// Each marker is the first transaction that depends on the marker before it. Only a
    /// transaction that stays in the past of later ones until the end can be a marker.
    fn of(causes: &Related, order: &[TxnId], until: &[usize]) -> Self {
        let end = until.iter().max().copied().unwrap_or_default();
        let (mut knows, mut known_by) = (vec![0; until.len()], vec![usize::MAX; until.len()]);
        let mut latest = 0;
        for id in order {
            let theirs = causes.of(*id).iter().filter_map(|cause| knows.get(*cause));
            let mut known = theirs.max().copied().unwrap_or_default();
            if known == latest && until.get(*id) == Some(&end) {
                latest += 1;
                known = latest;
                known_by.get_mut(*id).into_iter().for_each(|first| *first = latest);
            }
            knows.get_mut(*id).into_iter().for_each(|slot| *slot = known);
        }
        for id in order.iter().rev() {
            let ours = known_by.get(*id).copied().unwrap_or(usize::MAX);
            for cause in causes.of(*id) {
                known_by.get_mut(*cause).into_iter().for_each(|first| *first = ours.min(*first));
            }
        }
        Self { knows, known_by }
    }
}

/// For each version, the last position in the order of transactions at which it matters. `until`
/// has the position of the last transaction that depends on each transaction. Takes O(n log n)
/// time.
pub(super) fn of(
    all: &Transactions<'_>,
    causes: &Related,
    order: &[TxnId],
    until: &[usize],
) -> Vec<usize> {
    let markers = Markers::of(causes, order, until);
    let mut last_read: Vec<Option<usize>> = vec![None; all.versions.len()];
    for (place, id) in order.iter().enumerate() {
        for (_, read) in all.txn(*id).into_iter().flat_map(|txn| txn.reads()) {
            last_read.get_mut(read.version).into_iter().for_each(|last| *last = Some(place));
        }
    }
    let mut matters = vec![0; all.versions.len()];
    for key in &all.keys {
        let versions = || key.versions().chain([key.initial]);
        // For each version: the last marker that its writer depends on, and the position of the
        // last read.
        let mut reads: Vec<(usize, usize, VersionId)> = Vec::new();
        for version in versions() {
            let last = last_read.get(version).copied().flatten();
            // The last write of the writer comes after this one, so it is not in the past of this
            // version.
            let is_whole = all.versions.get(version).is_some_and(|version| !version.intermediate);
            let writer = all.writer(version).filter(|_| is_whole);
            let knows = writer.and_then(|writer| markers.knows.get(writer)).copied();
            reads.extend(last.map(|last| (knows.unwrap_or_default(), last, version)));
        }
        reads.sort_unstable();
        let latest = two_latest(&reads);
        for version in versions() {
            let known_by = all.writer(version).and_then(|writer| markers.known_by.get(writer));
            let (Some(known_by), Some(slot)) = (known_by, matters.get_mut(version)) else {
                continue;
            };
            let unaware = reads.partition_point(|(knows, ..)| knows < known_by);
            let of_others = latest.get(unaware).into_iter().flatten().flatten();
            let mut of_others = of_others.filter(|(_, read)| *read != version);
            *slot = of_others.next().map(|(place, _)| *place).unwrap_or_default();
        }
    }
    matters
}

/// For the first 0, 1, 2, … of these reads: the two latest, the latest one first. Each is a
/// position and a version.
fn two_latest(reads: &[(usize, usize, VersionId)]) -> Vec<[Option<(usize, VersionId)>; 2]> {
    let mut latest = vec![[None; 2]];
    let [mut first, mut second] = [None; 2];
    for (_, place, version) in reads {
        let read = Some((*place, *version));
        (first, second) = if read > first { (read, first) } else { (first, second.max(read)) };
        latest.push([first, second]);
    }
    latest
}
