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
//! * A new file has no free space, so the journal's file shrinks with each snapshot. The old file is
//!   removed bit by bit, once the folder is synced: a file system that frees a large file at once
//!   keeps every sync waiting.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::Database;

use super::{StoreError, append, create, failure};

/// How many bytes of records may wait for the next part.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// How much of an old file is removed at a time, and how often.
const REMOVED_BYTES: u64 = 8 << 20;
const REMOVED_EVERY: Duration = Duration::from_millis(10);

/// A snapshot that is being written.
#[derive(Debug)]
pub(super) struct Replacement {
    file: Temporary,
    database: Database,
    next: u64,
    bytes: u64,
    /// Records that are in the journal, and not yet here.
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
    /// Whether a part has been added.
    has_begun: bool,
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
        let (waiting, waiting_bytes) = (Vec::new(), 0);
        let has_begun = false;
        Ok(Self { file, database, next: 0, bytes: 0, waiting, waiting_bytes, has_begun })
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
        if self.waiting_bytes > WAITING_BYTES_MAX { self.add(Vec::new()) } else { Ok(()) }
    }

    /// Adds the next part, and makes it durable.
    pub(super) fn add(&mut self, part: Vec<Vec<u8>>) -> Result<(), StoreError> {
        self.has_begun = true;
        let mut records = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        records.extend(part);
        let bytes = append(&self.database, self.next, &records);
        let bytes = bytes.map_err(|error| failure(&self.file.0, error))?;
        self.next = self.next.saturating_add(records.len() as u64);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Takes the place of the file at `path`, which is then at `old`, if the file system can link.
    /// Returns the database, the number of the next record, and the size of all records. If it fails,
    /// the file at `path` is as before.
    pub(super) fn take_place(
        self,
        path: &Path,
        old: &Path,
    ) -> Result<(Database, u64, u64), StoreError> {
        let Self { file, database, next, bytes, .. } = self;
        let failed = |source| StoreError::Io { path: path.to_owned(), source };
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

/// Removes the file of a database that nobody needs any more, on a thread of its own.
pub(super) fn remove(database: Database, path: PathBuf) -> Option<JoinHandle<()>> {
    // Its name may soon be another file's. If this fails, the next life removes the file.
    let file = File::options().write(true).open(&path);
    fs::remove_file(&path).ok();
    let work = move || {
        drop(database);
        if let Ok(file) = file {
            let mut len = file.metadata().map_or(0, |metadata| metadata.len());
            while len > 0 {
                len = len.saturating_sub(REMOVED_BYTES);
                file.set_len(len).ok();
                std::thread::sleep(REMOVED_EVERY);
            }
        }
    };
    std::thread::Builder::new().spawn(work).ok()
}
