//! Files whose operations fail when a test says so.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};

thread_local! {
    static FAILS: Cell<fn(&Path, Call) -> bool> = const { Cell::new(|_, _| false) };
}

/// The operations that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Call {
    Write,
    Sync,
}

/// From now on, calls of this thread fail for lack of room if `fails` returns true for them.
pub(in crate::store) fn fill_disk(fails: fn(&Path, Call) -> bool) {
    FAILS.set(fails);
}

/// The function of this thread that [`fill_disk`] set.
pub(in crate::store) fn fails() -> fn(&Path, Call) -> bool {
    FAILS.get()
}

pub(in crate::store) fn create(builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let inner = FileBackend::new(file.map_err(redb::StorageError::Io)?)?;
    builder.create_with_backend(Faulty { path: path.to_owned(), inner })
}

#[derive(Debug)]
struct Faulty {
    path: PathBuf,
    inner: FileBackend,
}

impl Faulty {
    fn check(&self, call: Call) -> io::Result<()> {
        if FAILS.get()(&self.path, call) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

type Edge = Bound<u64>;

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(Call::Write).and_then(|()| self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check(Call::Sync).and_then(|()| self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(Call::Write).and_then(|()| self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
