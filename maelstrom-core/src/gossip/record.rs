//! The records that an engine persists, and recovers in its next life.
//!
//! A snapshot of this node has a beginning, the entries that are kept for other nodes, the state in
//! pieces, and an end. Entries that are persisted in between are among its records. All entries are
//! applied after all pieces have been merged, so a piece may already contain some of them. A
//! snapshot that this node gets from a peer has records of its own: `Part` and `Whole`.
//!
//! The kept entries come in parts, in the order of their arrival. Between two parts the node may
//! drop old entries. The next part then names the first entry that is left: the state, whose pieces
//! come later, contains those before it.

use serde::{Deserialize, Serialize};

use super::replica::{Entry, KeptPart, Run, VersionVector};
use super::{Gossip, State};
use crate::error::Error;
use crate::handler::{Records, SnapshotPosition};

/// A record as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", bound = "S: State")]
pub(super) enum Record<S: State> {
    /// Entries of this node's own log.
    Own(Run<S::Entry>),
    /// Entries of other nodes, which the state has shown.
    Others(Run<S::Entry>),
    /// A complete snapshot of a peer with all its pieces. Earlier versions of the engine wrote it
    /// as one record.
    Snapshot(VersionVector, Vec<S::Piece>),
    /// A piece of a peer's snapshot, with its number.
    Part(usize, S::Piece),
    /// The peer's snapshot is complete, and covers this version.
    Whole(VersionVector),
    /// A snapshot of this node begins. The pieces that follow contain everything that this version
    /// names. The kept entries follow as runs.
    Start(VersionVector),
    /// More kept entries follow. The pieces after them contain everything that this version names.
    Bases(VersionVector),
    /// A piece of this node's snapshot.
    Piece(S::Piece),
    /// This node's snapshot ends.
    End,
}

/// A record as it is written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", bound = "S: State")]
pub(super) enum RecordRef<'a, S: State> {
    Own(&'a Run<S::Entry>),
    Others(&'a Run<S::Entry>),
    Part(usize, &'a S::Piece),
    Whole(&'a VersionVector),
    Start(&'a VersionVector),
    Bases(&'a VersionVector),
    Piece(&'a S::Piece),
    End,
}

/// An offset in a snapshot with this bit is the arrival of a kept entry. Any other offset, except
/// the first, is one more than a position of the state.
const KEPT: u64 = 1 << 63;

/// A snapshot of this node that is being recovered.
#[derive(Debug)]
pub(super) struct Recovering<S: State> {
    /// The pieces that must be merged together.
    pub(super) pieces: Vec<S::Piece>,
    /// The kept entries, and those that were persisted while the snapshot was taken.
    pub(super) runs: Vec<Run<S::Entry>>,
}

impl<S: State> Record<S> {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::crash(format!("a record makes no sense: {error}")))
    }
}

impl<S: State> Gossip<S> {
    /// Recovers a record of an earlier life. Call this only before [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// If the record is not of this engine, or if an earlier one is missing.
    pub fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        match Record::<S>::read(record)? {
            Record::Own(run) => {
                self.origin = run.origin.clone();
                self.recover_run(run)
            }
            Record::Others(run) => self.recover_run(run),
            Record::Snapshot(version, pieces) => self.recover_peers_snapshot(&version, pieces),
            Record::Part(number, piece) => {
                if number > self.recovered_parts.len() {
                    return Err(Error::crash("a part of a snapshot is missing before this one"));
                }
                // Discards the pieces of an incomplete snapshot.
                self.recovered_parts.truncate(number);
                self.recovered_parts.push(piece);
                Ok(())
            }
            Record::Whole(version) => {
                let parts = std::mem::take(&mut self.recovered_parts);
                self.recover_peers_snapshot(&version, parts)
            }
            Record::Start(version) => {
                self.replica.advance(&version);
                self.recovering = Some(Recovering { pieces: Vec::new(), runs: Vec::new() });
                Ok(())
            }
            Record::Bases(_) if self.recovering.is_none() => {
                Err(Error::crash("the beginning of the snapshot is missing"))
            }
            Record::Bases(version) => {
                self.replica.advance(&version);
                Ok(())
            }
            Record::Piece(piece) => match &mut self.recovering {
                None => Err(Error::crash("the beginning of the snapshot is missing")),
                Some(recovering) if S::MONOTONIC => {
                    recovering.pieces.push(piece);
                    Ok(())
                }
                Some(_) => self.state.merge(vec![piece]),
            },
            Record::End => self.end_snapshot(),
        }
    }

    fn recover_peers_snapshot(
        &mut self,
        version: &VersionVector,
        pieces: Vec<S::Piece>,
    ) -> Result<(), Error> {
        if !pieces.is_empty() {
            self.state.merge(pieces)?;
        }
        self.replica.advance(version);
        Ok(())
    }

    /// Entries that were persisted while a snapshot was taken are applied after it.
    fn recover_run(&mut self, run: Run<S::Entry>) -> Result<(), Error> {
        if let Some(recovering) = &mut self.recovering {
            recovering.runs.push(run);
            return Ok(());
        }
        if run.start > self.replica.version().get(&run.origin) {
            return Err(Error::crash("a record is missing before this one"));
        }
        self.apply(run, |_| ())
    }

    fn end_snapshot(&mut self) -> Result<(), Error> {
        let Some(Recovering { pieces, mut runs }) = self.recovering.take() else {
            return Err(Error::crash("the beginning of the snapshot is missing"));
        };
        if !pieces.is_empty() {
            self.state.merge(pieces)?;
        }
        // New entries were persisted between two parts of the kept ones, which are older.
        runs.sort_by(|a, b| (&a.origin, a.start).cmp(&(&b.origin, b.start)));
        runs.into_iter().try_for_each(|run| self.recover_run(run))
    }

    /// Estimated size in bytes of a [`snapshot`](Self::snapshot). `None` while a snapshot of a peer
    /// is being merged: the state then holds entries that this node cannot name.
    #[must_use]
    pub fn snapshot_bytes(&self) -> Option<usize> {
        let bytes = self.state.bytes().saturating_add(self.replica.log_bytes());
        (!self.is_merging()).then_some(bytes)
    }

    /// Adds the part of a snapshot that begins at `from`, of about `bytes_max` bytes, and returns
    /// the position of the next part, as [`MessageHandler::snapshot`] does. The engine does not
    /// change the section, which belongs to the handler. The first parts hold the entries that are
    /// kept for other nodes. The other parts hold the state.
    ///
    /// # Errors
    ///
    /// If a record has no JSON form.
    ///
    /// [`MessageHandler::snapshot`]: crate::MessageHandler::snapshot
    pub fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        let offset = match from.offset {
            0 => {
                records.add(&RecordRef::<S>::Start(&self.replica.bases()))?;
                if self.replica.version().get(&self.origin) > 0 {
                    // Names the log of this node, even if no entry of it is kept.
                    let (origin, start) = (self.origin.clone(), self.replica.base(&self.origin));
                    let run = Run { origin, start, entries: Vec::new() };
                    records.add(&RecordRef::<S>::Own(&run))?;
                }
                self.snapshot_kept(0, bytes_max, records)?
            }
            kept if kept & KEPT != 0 => self.snapshot_kept(kept & !KEPT, bytes_max, records)?,
            place => {
                let (piece, next) = self.state.piece(place.saturating_sub(1), bytes_max);
                records.add(&RecordRef::<S>::Piece(&piece))?;
                next.map(|position| position.saturating_add(1))
            }
        };
        if offset.is_none() {
            records.add(&RecordRef::<S>::End)?;
        }
        Ok(offset.map(|offset| SnapshotPosition { offset, ..from }))
    }

    /// Adds a part of the kept entries. Returns the offset of the next part of the snapshot.
    fn snapshot_kept(
        &self,
        from: u64,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<u64>, Error> {
        let KeptPart { runs, bases, next } = self.replica.kept_part(from, bytes_max);
        if from > 0 {
            records.add(&RecordRef::<S>::Bases(&bases))?;
        }
        // The state contains these entries too. Duplicates are harmless.
        for run in runs {
            let is_own = run.origin == self.origin;
            let record = if is_own { RecordRef::Own(&run) } else { RecordRef::Others(&run) };
            records.add::<RecordRef<'_, S>>(&record)?;
        }
        // Cumulative entries contain the whole state.
        let pieces = (!S::Entry::CUMULATIVE).then_some(1);
        Ok(next.map(|arrival| arrival | KEPT).or(pieces))
    }
}
