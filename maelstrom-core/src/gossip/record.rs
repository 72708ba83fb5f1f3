//! What an engine makes durable, and has back in its next life.
//!
//! A snapshot is a beginning, the state in pieces, and an end. Entries that are persisted in between
//! are among its records. They are applied when all pieces have been merged, so it does no harm that
//! a piece may hold some of them.

use serde::{Deserialize, Serialize};

use super::replica::{Entry, Run, VersionVector};
use super::{Gossip, State};
use crate::error::Error;
use crate::handler::{Records, SnapshotPosition};

/// A record, as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", bound = "S: State")]
pub(super) enum Record<S: State> {
    /// What this node appended itself: that is its log.
    Own(Run<S::Entry>),
    /// What it was told and has shown.
    Others(Run<S::Entry>),
    /// A whole snapshot of a peer, and all that is in it. Earlier versions wrote it in one record.
    Snapshot(VersionVector, Vec<S::Piece>),
    /// A part of a peer's snapshot, and its number.
    Part(usize, S::Piece),
    /// All parts of the peer's snapshot are there: all of this version is in it.
    Whole(VersionVector),
    /// A snapshot begins. All that this version counts is in the pieces that follow, and the kept
    /// entries follow as runs.
    Start(VersionVector),
    /// A piece of the snapshot.
    Piece(S::Piece),
    /// It ends.
    End,
}

/// A record, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", bound = "S: State")]
pub(super) enum RecordRef<'a, S: State> {
    Own(&'a Run<S::Entry>),
    Others(&'a Run<S::Entry>),
    Part(usize, &'a S::Piece),
    Whole(&'a VersionVector),
    Start(&'a VersionVector),
    Piece(&'a S::Piece),
    End,
}

/// A snapshot that is being recovered.
#[derive(Debug)]
pub(super) struct Recovering<S: State> {
    /// Those that must be merged together.
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
    /// Takes back what was made durable in an earlier life. Only before [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// If the record is none of this engine's, or one before it is missing.
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
                // Parts of a snapshot that never became whole count for nothing.
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

    /// What is persisted while a snapshot is taken follows the snapshot.
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
        let Some(Recovering { pieces, runs }) = self.recovering.take() else {
            return Err(Error::crash("the beginning of the snapshot is missing"));
        };
        if !pieces.is_empty() {
            self.state.merge(pieces)?;
        }
        runs.into_iter().try_for_each(|run| self.recover_run(run))
    }

    /// Estimated size in bytes of a [`snapshot`](Self::snapshot). `None` while a snapshot of a peer is
    /// being merged: the state then holds entries that this node cannot name.
    #[must_use]
    pub fn snapshot_bytes(&self) -> Option<usize> {
        let bytes = self.state.bytes().saturating_add(self.replica.log_bytes());
        (!self.is_merging()).then_some(bytes)
    }

    /// Adds the part of a snapshot that begins at `from`, of about `bytes_max` bytes, and returns where
    /// the next part begins, as [`MessageHandler::snapshot`] does. The section is the handler's: it
    /// stays as it is. The first part holds the entries that are still kept for nodes that lack them;
    /// the others hold the state.
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
        let next = match from.offset.checked_sub(1) {
            None => {
                self.snapshot_start(records)?;
                // Cumulative entries say all that there is to say.
                (!S::Entry::CUMULATIVE).then_some(0)
            }
            Some(position) => {
                let (piece, next) = self.state.piece(position, bytes_max);
                records.add(&RecordRef::<S>::Piece(&piece))?;
                next
            }
        };
        if next.is_none() {
            records.add(&RecordRef::<S>::End)?;
        }
        let offset = next.map(|position| position.saturating_add(1));
        Ok(offset.map(|offset| SnapshotPosition { offset, ..from }))
    }

    fn snapshot_start(&self, records: &mut Records<'_>) -> Result<(), Error> {
        records.add(&RecordRef::<S>::Start(&self.replica.bases()))?;
        // These are in the state as well. They do no harm when they come again.
        for run in self.replica.kept() {
            let is_own = run.origin == self.origin;
            let record = if is_own { RecordRef::Own(&run) } else { RecordRef::Others(&run) };
            records.add::<RecordRef<'_, S>>(&record)?;
        }
        Ok(())
    }
}
