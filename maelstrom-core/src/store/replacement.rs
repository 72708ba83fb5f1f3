//! The file that a snapshot is written to, part by part, until it replaces the journal.
//!
//! The invariants:
//!
//! * The journal stays valid and complete until one rename puts the new file in its place. If
//!   anything fails before the rename, the new file is removed, at the latest when the store is
//!   opened again.
//! * The new file holds the parts, and the records committed between them, in the order in which
//!   they were made. The first part comes first, because a handler may not understand the records
//!   without it. Each part is durable before the next one is requested, so the last part takes no
//!   longer than any other.
//! * A thread writes and syncs one part at a time. The node itself syncs only the few records that
//!   arrived with the last part. It waits for the thread only if records arrive much faster than
//!   the thread writes ([`WAITING_FACTOR_MAX`]).
//! * A new file has no free space, so each snapshot shrinks the journal's file. A file system that
//!   frees a large file at once delays every sync, so the old file is removed in steps, after the
//!   folder is synced. A thread does both. The first commit after the rename waits for the sync,
//!   but not for these steps.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redb::Database;
use tokio::sync::Notify;

#[cfg(test)]
use super::faulty;
use super::{StoreError, SyncFolder, append, create, failure};

/// If more bytes of records than this wait for the next part, the thread writes them before it.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// If this many times [`WAITING_BYTES_MAX`] bytes wait, a commit waits until the current part is
/// written.
const WAITING_FACTOR_MAX: usize = 8;

/// If more bytes than this wait after the last part, the thread writes them, too. It does so at
/// most [`REST_ROUNDS_MAX`] times, since new records may keep coming.
const REST_BYTES_MAX: usize = 64 << 10;
const REST_ROUNDS_MAX: u32 = 8;

/// Bytes of an old file that are removed per step, and the interval between steps.
const REMOVED_BYTES: u64 = 8 << 20;
const REMOVED_EVERY: Duration = Duration::from_millis(10);

/// A snapshot that is being written.
#[derive(Debug)]
pub(super) struct Replacement {
    /// The name of the journal that it will be.
    journal: u64,
    /// The part that is being written. The thread must end before the file is removed.
    writing: Option<Writing>,
    /// `None` while a part is being written: the thread owns the database then.
    database: Option<Database>,
    file: Temporary,
    next: u64,
    bytes: u64,
    /// Records that are in the journal and not yet in this file.
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
    /// Whether the first part was added, and whether the last part was.
    has_begun: bool,
    is_last: bool,
    /// How often the thread has written records that waited after the last part.
    rounds: u32,
}

/// A snapshot that has replaced the journal.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) database: Database,
    /// The name of the journal.
    pub(super) journal: u64,
    /// The number of the next record.
    pub(super) next: u64,
    /// Size of all records.
    pub(super) bytes: u64,
}

/// A thread that writes records, and the number of those records.
#[derive(Debug)]
struct Writing {
    thread: Option<JoinHandle<(Database, Result<u64, redb::Error>)>>,
    count: usize,
    /// Notified at the end.
    is_done: Arc<Notify>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.thread.take().map(JoinHandle::join);
    }
}

/// A file that is removed when this value is dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is no such file. If the removal fails, the next process removes the
        // file.
        fs::remove_file(&self.0).ok();
    }
}

/// Removes a file that an earlier process left.
pub(super) fn remove_left_over(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

impl Replacement {
    /// Creates the file.
    pub(super) fn begin(path: PathBuf, node: &str, format: &str) -> Result<Self, StoreError> {
        remove_left_over(&path)?;
        let file = Temporary(path);
        let database = create(&file.0)?;
        let journal = super::check_owner(&file.0, &database, node, format)?;
        Ok(Self {
            journal,
            writing: None,
            database: Some(database),
            file,
            next: 0,
            bytes: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            has_begun: false,
            is_last: false,
            rounds: 0,
        })
    }

    /// Adds records that were committed to the journal. Records from before the first part are
    /// skipped, since that part already contains their effects.
    pub(super) fn committed(&mut self, records: &[Vec<u8>]) -> Result<(), StoreError> {
        if !self.has_begun {
            return Ok(());
        }
        let bytes = records.iter().map(Vec::len);
        self.waiting_bytes = bytes.fold(self.waiting_bytes, usize::saturating_add);
        self.waiting.extend_from_slice(records);
        if self.waiting_bytes > WAITING_FACTOR_MAX.saturating_mul(WAITING_BYTES_MAX) {
            self.finish()?;
        }
        let is_idle = self.writing.is_none();
        if is_idle && self.waiting_bytes > WAITING_BYTES_MAX { self.write() } else { Ok(()) }
    }

    /// Begins to write the next part. The caller then [finishes](Self::finish) it.
    pub(super) fn add(&mut self, part: Vec<Vec<u8>>, is_last: bool) -> Result<(), StoreError> {
        debug_assert!(!self.is_last, "a part after the last one");
        self.finish()?;
        (self.has_begun, self.is_last) = (true, is_last);
        self.waiting.extend(part);
        self.write()
    }

    /// Begins to write the waiting records, and to make them durable.
    fn write(&mut self) -> Result<(), StoreError> {
        debug_assert!(self.writing.is_none());
        let Some(database) = self.database.take() else { return Ok(()) };
        let (records, next) = (std::mem::take(&mut self.waiting), self.next);
        self.waiting_bytes = 0;
        let (count, is_done) = (records.len(), Arc::new(Notify::new()));
        let notify = Arc::clone(&is_done);
        #[cfg(test)]
        let fails = faulty::fails();
        let work = move || {
            #[cfg(test)]
            faulty::fill_disk(fails);
            let result = append(&database, next, &records);
            notify.notify_one();
            (database, result)
        };
        let thread = thread::Builder::new().spawn(work).map_err(|source| self.io(source))?;
        self.writing = Some(Writing { thread: Some(thread), count, is_done });
        Ok(())
    }

    fn io(&self, source: io::Error) -> StoreError {
        StoreError::Io { path: self.file.0.clone(), source }
    }

    /// Notified when the current part is durable, or its write has failed.
    pub(super) fn written(&self) -> Option<&Arc<Notify>> {
        self.writing.as_ref().map(|writing| &writing.is_done)
    }

    /// Waits until the current part, if there is one, is durable.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        let Some(mut writing) = self.writing.take() else { return Ok(()) };
        let result = writing.thread.take().map(JoinHandle::join);
        let Some(Ok((database, bytes))) = result else {
            return Err(self.io(io::Error::other("the thread that writes it has panicked")));
        };
        self.database = Some(database);
        let bytes = bytes.map_err(|error| failure(&self.file.0, error))?;
        self.next = self.next.saturating_add(writing.count as u64);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// To be called after a part is [finished](Self::finish). Returns whether all parts are written
    /// and few enough records wait to be written at once. If too many wait after the last part, the
    /// thread begins to write them like a part.
    pub(super) fn is_complete(&mut self) -> Result<bool, StoreError> {
        if !self.is_last {
            return Ok(false);
        }
        if self.waiting_bytes > REST_BYTES_MAX && self.rounds < REST_ROUNDS_MAX {
            self.rounds = self.rounds.saturating_add(1);
            return self.write().map(|()| false);
        }
        Ok(true)
    }

    /// Renames this file to `path`, where it replaces the journal. The old file stays at `old` if
    /// the file system supports hard links. On failure, the file at `path` stays as it was.
    pub(super) fn take_place(mut self, path: &Path, old: &Path) -> Result<Replaced, StoreError> {
        self.finish()?;
        let failed = |source| StoreError::Io { path: path.to_owned(), source };
        let Self { file, journal, database, waiting, mut next, mut bytes, .. } = self;
        let database = database.ok_or_else(|| failed(io::Error::other("its database is gone")))?;
        if !waiting.is_empty() {
            let more = append(&database, next, &waiting);
            bytes = bytes.saturating_add(more.map_err(|error| failure(&file.0, error))?);
            next = next.saturating_add(waiting.len() as u64);
        }
        remove_left_over(old)?;
        // Without the link, the file system frees the old file at once. Nothing else changes.
        fs::hard_link(path, old).ok();
        if let Err(source) = fs::rename(&file.0, path) {
            fs::remove_file(old).ok();
            return Err(failed(source));
        }
        Ok(Replaced { database, journal, next, bytes })
    }
}

/// The last steps after a snapshot replaced the journal, on their own thread.
#[derive(Debug)]
pub(super) struct Removal {
    /// Receives the result of the folder's sync. If the sender is gone, no sync was completed.
    pub(super) synced: Receiver<Result<(), StoreError>>,
    pub(super) thread: Option<JoinHandle<()>>,
}

/// Syncs the folder of an old database's file, then removes that file.
pub(super) fn remove(database: Database, path: PathBuf, sync_folder: SyncFolder) -> Removal {
    let (sender, synced) = channel();
    let work = move || {
        let result = path.parent().map_or(Ok(()), sync_folder);
        let is_synced = result.is_ok();
        // Until the sync, a loss of power could bring the old file back as the journal. The name
        // goes first, because the next snapshot may soon use it. If the removal fails, the next
        // process removes the file.
        let file = if is_synced { File::options().write(true).open(&path).ok() } else { None };
        if is_synced {
            fs::remove_file(&path).ok();
        }
        sender.send(result).ok();
        drop(database);
        if let Some(file) = file {
            let mut len = file.metadata().map_or(0, |metadata| metadata.len());
            while len > 0 {
                len = len.saturating_sub(REMOVED_BYTES);
                file.set_len(len).ok();
                thread::sleep(REMOVED_EVERY);
            }
        }
    };
    Removal { synced, thread: thread::Builder::new().spawn(work).ok() }
}
