//! The error of a runtime that cannot keep or read its records.

use std::io;
use std::path::PathBuf;

/// The reason why records cannot be kept or recovered. The node ends on each of these errors,
/// before it acknowledges anything that it did not keep.
/// [`DriveError::Store`](crate::runtime::DriveError::Store) has it.
///
/// ```
/// use maelstrom_core::StoreError;
/// use maelstrom_core::runtime::DriveError;
///
/// let error = DriveError::from(StoreError::InUse("data/n1".into()));
/// assert!(matches!(&error, DriveError::Store(StoreError::InUse(path)) if path.ends_with("n1")));
/// assert_eq!(error.to_string(), "data/n1: in use by another process");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the file open.
    #[error("{0}: in use by another process")]
    InUse(PathBuf),
    /// The file belongs to another node, or has another layout or record format.
    #[error("{path}: holds the {what} `{found}`, not `{wanted}`")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The property that differs, for example the node's name.
        what: &'static str,
        /// The value found.
        found: String,
        /// The value expected.
        wanted: String,
    },
    /// An older version of the database has written the file, in a format that this version cannot
    /// read.
    #[error("{path}: written by another version ({what})")]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The evidence.
        what: String,
    },
    /// The records do not fit the options that this node was started with.
    #[error("{path}: {what}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The handler's error text.
        what: String,
    },
    /// The contents of the file are damaged. The node leaves the file as it is. Either restore the
    /// whole folder from a copy that was made while the node was stopped, or remove it: the node
    /// then starts without records, and the other nodes treat it as a new replica.
    #[error("{path}: damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// A description of the damage.
        what: String,
    },
    /// The disk is full or fails, or the node has no permission to write to the folder.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}
