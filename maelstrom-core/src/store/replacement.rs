//! The file that a snapshot is written to, part by part, until it takes the place of the journal.
//!
//! The invariants:
//!
//! * The journal stays valid, and complete, until one rename puts the new file in its place. Whatever
//!   happens before that, the new file is removed, at the latest when the store is opened again.
//! * The new file holds the parts and the records that were committed between them in the order in
//!   which they were made. The first part comes first: a handler may not understand the records
//!   without it. Every part is durable when the next one is asked for, so the last one
//!   does not take longer than any other.
//! * A part is written and synced on a thread of its own, one at a time. The node waits for no sync of
//!   this file, but for one of the few records that came with the last part.
//! * A new file has no free space, so the journal's file shrinks with each snapshot. The old file is
//!   removed bit by bit, once the folder is synced: a file system that frees a large file at once
//!   keeps every sync waiting. Both happen on a thread, and the first commit waits for the sync.

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

/// How many bytes of records may wait for the next part.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// With so many times as many, the next commit waits until a part is written.
const WAITING_FACTOR_MAX: usize = 8;

/// More bytes of records that wait after the last part are written on the thread as well, but not
/// more often than this: new ones may always come.
const REST_BYTES_MAX: usize = 64 << 10;
const REST_ROUNDS_MAX: u32 = 8;

/// How much of an old file is removed at a time, and how often.
const REMOVED_BYTES: u64 = 8 << 20;
const REMOVED_EVERY: Duration = Duration::from_millis(10);

/// A snapshot that is being written.
#[derive(Debug)]
pub(super) struct Replacement {
    /// The part that is being written. The thread must end before the file is removed.
    writing: Option<Writing>,
    /// `None` while a part is being written: the thread has it.
    database: Option<Database>,
    file: Temporary,
    next: u64,
    bytes: u64,
    /// Records that are in the journal, and not yet here.
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
    /// Whether a part has been added, and whether the last one has.
    has_begun: bool,
    is_last: bool,
    /// How often records that came with the last part have been written.
    rounds: u32,
}

/// A thread that writes records, and how many they are.
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

/// A file that is removed when it is not needed any more.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // If it is renamed, there is none. If this fails, the next life removes the file.
        fs::remove_file(&self.0).ok();
    }
}

/// Removes a file that a former life has left.
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
        super::check_owner(&file.0, &database, node, format)?;
        Ok(Self {
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

    /// These records have been committed to the journal. The first part tells of those that come
    /// before it is asked for.
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

    /// Begins to write the next part. It is to be [finished](Self::finish).
    pub(super) fn add(&mut self, part: Vec<Vec<u8>>, is_last: bool) -> Result<(), StoreError> {
        debug_assert!(!self.is_last, "a part after the last one");
        self.finish()?;
        (self.has_begun, self.is_last) = (true, is_last);
        self.waiting.extend(part);
        self.write()
    }

    /// Begins to write the records that wait, and to make them durable.
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

    /// Notified when the part that is being written is durable, or cannot be.
    pub(super) fn written(&self) -> Option<&Arc<Notify>> {
        self.writing.as_ref().map(|writing| &writing.is_done)
    }

    /// Waits until the part that is being written is durable, if there is one.
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

    /// After a part is [finished](Self::finish): whether all parts are there, and the rest can be
    /// written at once. If all are there, and the rest is large, that is written like a part.
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

    /// Takes the place of the file at `path`, which is then at `old`, if the file system can link.
    /// Returns the database, the number of the next record, and the size of all records. If it fails,
    /// the file at `path` is as before.
    pub(super) fn take_place(
        mut self,
        path: &Path,
        old: &Path,
    ) -> Result<(Database, u64, u64), StoreError> {
        self.finish()?;
        let failed = |source| StoreError::Io { path: path.to_owned(), source };
        let Self { file, database, waiting, mut next, mut bytes, .. } = self;
        let database = database.ok_or_else(|| failed(io::Error::other("its database is gone")))?;
        if !waiting.is_empty() {
            let more = append(&database, next, &waiting);
            bytes = bytes.saturating_add(more.map_err(|error| failure(&file.0, error))?);
            next = next.saturating_add(waiting.len() as u64);
        }
        remove_left_over(old)?;
        // Without the link, the file system frees the old file at once, and nothing else changes.
        fs::hard_link(path, old).ok();
        if let Err(source) = fs::rename(&file.0, path) {
            fs::remove_file(old).ok();
            return Err(failed(source));
        }
        Ok((database, next, bytes))
    }
}

/// The end of a replacement, on a thread of its own.
#[derive(Debug)]
pub(super) struct Removal {
    /// Whether the folder is synced. Without an answer, nobody has tried.
    pub(super) synced: Receiver<Result<(), StoreError>>,
    pub(super) thread: Option<JoinHandle<()>>,
}

/// Syncs a folder, then removes the file of a database in it that nobody needs any more.
pub(super) fn remove(database: Database, path: PathBuf, sync_folder: SyncFolder) -> Removal {
    let (sender, synced) = channel();
    let work = move || {
        let result = path.parent().map_or(Ok(()), sync_folder);
        let is_synced = result.is_ok();
        // Only then can a loss of power not bring the old file back any more. Its name may soon be
        // another file's. If this fails, the next life removes the file.
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
