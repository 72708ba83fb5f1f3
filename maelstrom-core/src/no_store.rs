//! Replaces the store in a build without the feature `disk`: no node can open one.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::error::Error;
use crate::store_error::StoreError;

/// The records of a node. No value of this type exists.
#[derive(Debug)]
pub(crate) struct Store(Infallible);

impl Store {
    /// Always fails: a node must not acknowledge records that are not kept.
    pub(crate) fn open(dir: &Path, _node: &str, _format: &str) -> Result<Self, StoreError> {
        let why = "maelstrom-core was built without the feature `disk`: it keeps no records";
        let source = io::Error::new(io::ErrorKind::Unsupported, why);
        Err(StoreError::Io { path: dir.to_owned(), source })
    }

    pub(crate) fn records(
        &mut self,
        _take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<u64, StoreError> {
        match self.0 {}
    }

    pub(crate) fn commit(&mut self, _records: &[Vec<u8>]) -> Result<(), StoreError> {
        match self.0 {}
    }

    pub(crate) fn is_worth_replacing(&self, _estimate: usize) -> bool {
        match self.0 {}
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn take_snapshot_counts(&mut self) -> [(&'static str, u64); 2] {
        match self.0 {}
    }

    pub(crate) fn is_replacing(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn begin_snapshot(&mut self) {
        match self.0 {}
    }

    pub(crate) fn add_part(&mut self, _part: Result<Vec<Vec<u8>>, Error>, _is_last: bool) {
        match self.0 {}
    }

    pub(crate) fn part_written(&self) -> Option<Arc<Notify>> {
        match self.0 {}
    }

    pub(crate) fn complete_part(&mut self) {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_store_opens_and_the_error_names_the_feature() {
        let error = Store::open(Path::new("/data"), "n1", "1").unwrap_err().to_string();
        assert!(error.starts_with("/data: ") && error.contains("feature `disk`"), "{error}");
    }
}
