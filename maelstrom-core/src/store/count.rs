//! A small file beside the journal, with the number of its records.
//!
//! If the last commit of a killed process is damaged, the database takes it for a commit that never
//! ended, and drops it. So the store writes down the number of records after each commit, without a
//! sync. The file survives a kill of the process. A journal that has fewer records lacks a commit
//! that had ended.
//!
//! The file never counts too many: a commit is durable before its number is written. After a loss
//! of power the file may be old, or damaged, so it says less, or nothing. A snapshot that replaces
//! the journal has another name, so the file says nothing about it until the store writes it again.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use tracing::warn;

/// The name of a journal, and how many records it has.
pub(super) type Counted = (u64, u64);

/// The file. `None` if it cannot be opened.
#[derive(Debug)]
pub(super) struct CountFile {
    file: Option<File>,
    has_warned: bool,
}

impl CountFile {
    /// Opens the file, or creates it. Returns its content, too.
    pub(super) fn open(path: &Path) -> (Self, Option<Counted>) {
        let counted = fs::read(path).ok().and_then(|bytes| decode(&bytes));
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let mut it = Self { file: None, has_warned: false };
        it.file = it.known(file);
        (it, counted)
    }

    /// Writes the number of records of a journal.
    pub(super) fn write(&mut self, counted: Counted) {
        let Some(file) = &mut self.file else { return };
        let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&encode(counted)));
        self.known(written);
    }

    /// Logs the first error.
    fn known<T>(&mut self, result: io::Result<T>) -> Option<T> {
        result
            .inspect_err(|error| {
                if !std::mem::replace(&mut self.has_warned, true) {
                    warn!(%error, "the number of records cannot be written, so damage to the last commit may go unnoticed");
                }
            })
            .ok()
    }
}

fn encode((journal, count): Counted) -> [u8; 24] {
    let mut bytes = [0; 24];
    let words = [journal, count, check(journal, count)];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Counted> {
    let words = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok());
    let words: Vec<u64> = words.map(u64::from_le_bytes).collect();
    match words[..] {
        [journal, count, sum] if sum == check(journal, count) => Some((journal, count)),
        _ => None,
    }
}

/// A file of zeros, as a loss of power may leave it, does not pass.
fn check(journal: u64, count: u64) -> u64 {
    !(journal ^ count.rotate_left(32))
}
