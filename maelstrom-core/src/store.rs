//! A node's records on disk: a journal that survives the end of the process.
//!
//! Each node has its own folder with a database of the [`redb`] crate. The database has one table
//! of records, numbered in the order in which they were persisted. [`Store::commit`] makes a batch
//! of records durable with one sync (group commit). A snapshot is written to a second file, part by
//! part ([`Store::add_part`], [`Store::complete_part`]), and then replaces the journal. Each of the
//! two is atomic, even if the process or the machine stops at any point. A separate thread writes
//! and syncs the parts, so the node does not wait for them.
//!
//! | failure | reaction of the node |
//! |---|---|
//! | an operation on the journal, except in the next case | ends; every acknowledged record is on disk |
//! | a write to the journal for lack of room, while a snapshot or a replaced file takes up room | removes that file and tries once more |
//! | the file of a snapshot cannot be created, written, synced or renamed | gives the snapshot up, removes its file, goes on |
//! | the sync of the folder after the rename | ends before it acknowledges anything else |
//! | a write of the number of records | goes on; damage to the last commit may go unnoticed |
//! | the removal of a replaced file, or of a file that an earlier process left | goes on; takes no snapshot while the file exists |
//!
//! After it gave up a snapshot, the node tries again when the journal has grown enough to make a
//! snapshot worthwhile.
//!
//! The invariant: [`Store::records`] returns the last snapshot, if there is one, and every record
//! committed since the snapshot's first part, in order, or it returns an error. The store verifies
//! the checksum of every page when it is opened, and knows how many records there should be
//! (`store/count.rs`). One kind of damage may go unnoticed: the last commit before a loss of power.

#![expect(clippy::disallowed_methods, reason = "this is the driver's disk")]

mod count;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod faulty;
mod replacement;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::error::{Error, ErrorCode};
use crate::store_error::StoreError;
use count::{CountFile, Counted};
use replacement::{Removal, Replaced, Replacement};

/// The records, by number.
const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");

/// The owner of the records: layout, node, record format, and the name of the journal.
const OWNER: TableDefinition<'_, &str, &str> = TableDefinition::new("owner");

/// Version of the layout of this module's tables.
const LAYOUT: &str = "1";

const FILE: &str = "records.redb";

/// The extension of the file with the number of records.
const COUNT_EXTENSION: &str = "count";

/// The extensions of the file that a snapshot is written to, and of the file that it replaced.
const NEW_EXTENSION: &str = "new";
const OLD_EXTENSION: &str = "old";

/// Size of the cache in memory. A small one is enough: records are read once, and written in order.
const CACHE_BYTES: usize = 4 << 20;

/// A snapshot replaces a journal that is larger than twice the snapshot plus this many bytes.
const SLACK_BYTES: u64 = 1 << 20;

type SyncFolder = fn(&Path) -> Result<(), StoreError>;

/// The records of a node.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    node: String,
    format: String,
    database: Database,
    /// The random name of the journal.
    journal: u64,
    /// The number of the next record.
    next: u64,
    /// The number of records that an earlier process committed to a journal.
    counted: Option<Counted>,
    count_file: CountFile,
    /// Size of the records in the journal. After a snapshot was given up, only of the records since
    /// then.
    bytes: u64,
    /// Size of the last snapshot that this process took.
    snapshot_bytes: u64,
    /// The snapshot that is being written.
    replacement: Option<Replacement>,
    /// The thread that removes the file that the last snapshot replaced.
    removal: Option<Removal>,
    /// True if a snapshot has replaced the journal and the folder may not be synced yet.
    is_unsynced: bool,
    /// Makes the list of files in a folder durable.
    sync_folder: SyncFolder,
    /// Snapshots taken and given up since [`Store::take_snapshot_counts`] was last called.
    snapshots: (u64, u64),
    /// An error that makes it impossible to commit anything more. The next commit returns it.
    broken: Option<StoreError>,
}

impl Store {
    /// Opens the records of `node` in their folder inside `dir`. Creates the folder if there is
    /// none.
    pub(crate) fn open(dir: &Path, node: &str, format: &str) -> Result<Self, StoreError> {
        let folder = dir.join(folder_name(node));
        create_durably(&folder)?;
        let path = folder.join(FILE);
        let database = create(&path)?;
        for left_over in [NEW_EXTENSION, OLD_EXTENSION] {
            if let Err(error) = replacement::remove_left_over(&path.with_extension(left_over)) {
                warn!(%error, "a left-over file cannot be removed, so no snapshot can be taken");
            }
        }
        sync_folder(&folder)?;
        let journal = check_owner(&path, &database, node, format)?;
        let (count_file, counted) = CountFile::open(&path.with_extension(COUNT_EXTENSION));
        let (node, format) = (node.to_owned(), format.to_owned());
        Ok(Self {
            path,
            node,
            format,
            database,
            journal,
            next: 0,
            counted,
            count_file,
            bytes: 0,
            snapshot_bytes: 0,
            replacement: None,
            removal: None,
            is_unsynced: false,
            sync_folder,
            snapshots: (0, 0),
            broken: None,
        })
    }

    /// Passes every record to `take`, in order, and returns how many there are. If `take` refuses a
    /// record, the store returns an error: [`StoreError::Mismatch`] for error 22, and
    /// [`StoreError::Damaged`] for any other.
    pub(crate) fn records(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<u64, StoreError> {
        let mut read = || -> Result<(u64, u64, Option<Error>), redb::Error> {
            let (mut next, mut bytes, mut wrong) = (0_u64, 0_u64, None);
            let transaction = self.database.begin_read()?;
            for row in transaction.open_table(JOURNAL)?.iter()? {
                let (number, record) = row?;
                let (number, record) = (number.value(), record.value());
                let result = if number == next {
                    take(record)
                } else {
                    Err(Error::crash(format!("it is missing, the next one is {number}")))
                };
                if let Err(error) = result {
                    wrong = Some(error);
                    break;
                }
                next = next.saturating_add(1);
                bytes = bytes.saturating_add(record.len() as u64);
            }
            Ok((next, bytes, wrong))
        };
        let (next, bytes, wrong) = read().map_err(|error| failure(&self.path, error))?;
        if let Some(Error { code, text }) = wrong {
            let path = self.path.clone();
            return Err(if code == ErrorCode::PreconditionFailed {
                StoreError::Mismatch { path, what: text.into_owned() }
            } else {
                StoreError::Damaged { path, what: format!("record {next}: {text}") }
            });
        }
        if let Some((journal, count)) = self.counted
            && journal == self.journal
            && next < count
        {
            let what = format!(
                "it has {next} records, and {count} were committed, as `records.{COUNT_EXTENSION}` says"
            );
            return Err(StoreError::Damaged { path: self.path.clone(), what });
        }
        (self.next, self.bytes) = (next, bytes);
        Ok(next)
    }

    /// Makes records durable, with one sync for all of them.
    pub(crate) fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), StoreError> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        self.sync_replaced()?;
        let bytes = append(&self.database, self.next, records);
        let bytes = match bytes.map_err(|error| failure(&self.path, error)) {
            Err(error) if is_full(&error) && self.make_room(&error) => {
                self.append_again(records, error)?
            }
            other => other?,
        };
        self.next = self.next.saturating_add(records.len() as u64);
        self.count_file.write((self.journal, self.next));
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(replacement) = &mut self.replacement
            && let Err(error) = replacement.committed(records)
        {
            self.give_up(&error);
        }
        Ok(())
    }

    /// Waits for the sync of the folder after a snapshot replaced the journal. Without this sync, a
    /// loss of power could bring the old file back, which lacks the records that come from now on.
    fn sync_replaced(&mut self) -> Result<(), StoreError> {
        if !std::mem::take(&mut self.is_unsynced) {
            return Ok(());
        }
        let synced = self.removal.as_ref().and_then(|removal| removal.synced.recv().ok());
        synced.unwrap_or_else(|| self.path.parent().map_or(Ok(()), self.sync_folder))
    }

    /// Gives up the snapshot that is being written, and waits for the removal of a replaced file.
    /// Returns whether one of them may have taken up room.
    fn make_room(&mut self, error: &StoreError) -> bool {
        let is_replacing = self.is_replacing();
        if is_replacing {
            self.give_up(error);
        }
        let removal = self.removal.take();
        // The thread may have ended before. One more attempt to append does no harm then.
        let was_removing = removal.is_some();
        removal.and_then(|removal| removal.thread).map(JoinHandle::join);
        is_replacing || was_removing
    }

    /// Appends records again after the first attempt failed with `error`. If the journal contains
    /// them already, only the sync failed. A second sync would prove nothing then, so this returns
    /// `error`.
    fn append_again(&mut self, records: &[Vec<u8>], error: StoreError) -> Result<u64, StoreError> {
        let failed = |error: redb::Error| failure(&self.path, error);
        // A database refuses all work after an error, and locks its file until it is closed.
        let closed = Database::builder().create_with_backend(InMemoryBackend::new());
        drop(std::mem::replace(&mut self.database, closed.map_err(|error| failed(error.into()))?));
        self.database = create(&self.path)?;
        if count(&self.database).map_err(|error| failure(&self.path, error))? != self.next {
            return Err(error);
        }
        let bytes = append(&self.database, self.next, records);
        bytes.map_err(|error| failure(&self.path, error))
    }

    /// Whether a snapshot of about `estimate` bytes is worth its cost: then all snapshots together
    /// cost less than the records themselves. The size of the last snapshot counts too, so an
    /// estimate that is too low does not cause endless snapshots.
    pub(crate) fn is_worth_replacing(&self, estimate: usize) -> bool {
        let snapshot_bytes = self.snapshot_bytes.max(estimate as u64);
        self.bytes > snapshot_bytes.saturating_mul(2).saturating_add(SLACK_BYTES)
    }

    /// Size of the journal's file in bytes. 0 if the file system does not report it.
    pub(crate) fn disk_bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Number of snapshots by outcome since the last call.
    pub(crate) fn take_snapshot_counts(&mut self) -> [(&'static str, u64); 2] {
        let (taken, given_up) = std::mem::take(&mut self.snapshots);
        [("taken", taken), ("given_up", given_up)]
    }

    /// Whether a snapshot is being written.
    pub(crate) fn is_replacing(&self) -> bool {
        self.replacement.is_some()
    }

    /// Begins a snapshot. The caller then [adds](Self::add_part) its parts.
    pub(crate) fn begin_snapshot(&mut self) {
        if let Err(error) = self.sync_replaced() {
            self.give_up(&error);
            self.broken = Some(error);
            return;
        }
        let path = self.path.with_extension(NEW_EXTENSION);
        match Replacement::begin(path, &self.node, &self.format) {
            Ok(replacement) => self.replacement = Some(replacement),
            Err(error) => self.give_up(&error),
        }
    }

    /// Begins to write the next part of the snapshot. The caller must
    /// [complete](Self::complete_part) it before it adds another.
    pub(crate) fn add_part(&mut self, part: Result<Vec<Vec<u8>>, Error>, is_last: bool) {
        let Some(replacement) = &mut self.replacement else { return };
        let result = match part {
            Ok(part) => replacement.add(part, is_last),
            Err(error) => return self.give_up(&error),
        };
        if let Err(error) = result {
            self.give_up(&error);
        }
    }

    /// Notified when [`complete_part`](Self::complete_part) can complete the current part without a
    /// wait. `None`: no part is being written.
    pub(crate) fn part_written(&self) -> Option<Arc<Notify>> {
        self.replacement.as_ref().and_then(|replacement| replacement.written().cloned())
    }

    /// Waits until the current part is durable. After the last part, the snapshot replaces all
    /// records. If any step fails, the journal stays as it was.
    pub(crate) fn complete_part(&mut self) {
        let Some(mut replacement) = self.replacement.take() else { return };
        let is_complete = replacement.finish().and_then(|()| replacement.is_complete());
        match is_complete {
            Ok(true) => self.replace(replacement),
            Ok(false) => self.replacement = Some(replacement),
            Err(error) => self.give_up(&error),
        }
    }

    /// Puts a complete snapshot in the place of the journal.
    fn replace(&mut self, replacement: Replacement) {
        let old_path = self.path.with_extension(OLD_EXTENSION);
        match replacement.take_place(&self.path, &old_path) {
            Ok(Replaced { database, journal, next, bytes }) => {
                info!(records = next, bytes, before_bytes = self.bytes, "a snapshot was taken");
                (self.journal, self.next) = (journal, next);
                self.count_file.write((journal, next));
                (self.bytes, self.snapshot_bytes) = (bytes, bytes);
                self.snapshots.0 = self.snapshots.0.saturating_add(1);
                let old = std::mem::replace(&mut self.database, database);
                self.removal = Some(replacement::remove(old, old_path, self.sync_folder));
                self.is_unsynced = true;
            }
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, error: &dyn std::error::Error) {
        warn!(%error, "no snapshot was taken: the node tries again when it has as many more records");
        self.replacement = None;
        self.snapshots.1 = self.snapshots.1.saturating_add(1);
        // Restarts the count, so that the next record does not trigger another attempt.
        self.bytes = 0;
    }
}

/// Opens a database, or creates it.
fn create(path: &Path) -> Result<Database, StoreError> {
    let builder = &mut Database::builder();
    let builder = builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    #[cfg(not(test))]
    let database = builder.create(path);
    #[cfg(test)]
    let database = faulty::create(builder, path);
    database.map_err(|error| failure(path, error.into()))
}

/// A difference between the owner of a database and this node: its kind, and both values.
type Difference = (&'static str, String, String);

/// Marks a new database as this node's, or checks that an existing one belongs to this node.
/// Returns the name of its journal.
fn check_owner(
    path: &Path,
    database: &Database,
    node: &str,
    format: &str,
) -> Result<u64, StoreError> {
    let marks = [("layout", LAYOUT), ("node", node), ("format", format)];
    let compare = || -> Result<Result<u64, Difference>, redb::Error> {
        let other = |error: getrandom::Error| io::Error::other(error.to_string());
        let journal;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(OWNER)?;
            for (what, wanted) in marks {
                let found = table.get(what)?.map(|found| found.value().to_owned());
                match found {
                    Some(found) if found == wanted => {}
                    Some(found) => return Ok(Err((what, found, wanted.to_owned()))),
                    None => drop(table.insert(what, wanted)?),
                }
            }
            let found = table.get("journal")?.and_then(|name| name.value().parse().ok());
            journal = match found {
                Some(journal) => journal,
                None => {
                    let journal = getrandom::u64().map_err(other)?;
                    table.insert("journal", journal.to_string().as_str())?;
                    journal
                }
            };
            transaction.open_table(JOURNAL)?;
        }
        transaction.commit()?;
        Ok(Ok(journal))
    };
    let path = path.to_owned();
    let journal = compare().map_err(|error| failure(&path, error))?;
    journal.map_err(|(what, found, wanted)| StoreError::Foreign { path, what, found, wanted })
}

/// Whether the error is that the disk, or the quota, has no room left.
fn is_full(error: &StoreError) -> bool {
    let StoreError::Io { source, .. } = error else { return false };
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Number of records in a journal.
fn count(database: &Database) -> Result<u64, redb::Error> {
    let table = database.begin_read()?.open_table(JOURNAL)?;
    Ok(table.last()?.map_or(0, |(number, _)| number.value().saturating_add(1)))
}

/// Appends records to a journal, numbered from `start`, with one sync. Returns their size in bytes.
fn append(database: &Database, start: u64, records: &[Vec<u8>]) -> Result<u64, redb::Error> {
    let mut bytes = 0_u64;
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(JOURNAL)?;
        for (number, record) in (start..).zip(records) {
            bytes = bytes.saturating_add(record.len() as u64);
            table.insert(number, record.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(bytes)
}

/// Translates an error of the database into the cases that matter to an operator.
fn failure(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
            StoreError::Io { path, source }
        }
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            StoreError::InUse(path)
        }
        error @ redb::Error::UpgradeRequired(_) => {
            StoreError::OtherVersion { path, what: error.to_string() }
        }
        error => StoreError::Damaged { path, what: error.to_string() },
    }
}

/// The folder name for a node: characters other than ASCII letters, digits, `-` and `_` are
/// percent-encoded.
fn folder_name(node: &str) -> String {
    let mut name = String::new();
    for byte in node.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

/// Creates a folder that survives a loss of power.
fn create_durably(folder: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(io)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

/// Makes the list of files in a folder durable.
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    // The parent of a relative path with one component is the empty path.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let io = |source| StoreError::Io { path: folder.to_owned(), source };
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
