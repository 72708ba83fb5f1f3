//! Why a runtime cannot keep records.

use std::io;
use std::path::PathBuf;

/// Why records cannot be kept or had back. Nothing that was acknowledged is lost by any of these:
/// the node does not go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("{0}: in use by another process")]
    InUse(PathBuf),
    /// It holds what another node keeps.
    #[error("{path}: holds the {what} `{found}`, not `{wanted}`")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The part that differs: a name, say.
        what: &'static str,
        /// The value found.
        found: String,
        /// The value expected.
        wanted: String,
    },
    /// A later version of this program, or of its store, has written it.
    #[error("{path}: written by another version ({what})")]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The evidence.
        what: String,
    },
    /// It does not go with how this node was started.
    #[error("{path}: {what}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The handler's error text.
        what: String,
    },
    /// Its content makes no sense. It is left as it is; a copy of it may be had from a backup, or
    /// the node starts anew once the folder is gone: the others then take it for a new replica.
    #[error("{path}: damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The contents found.
        what: String,
    },
    /// The disk is full, or fails, or the folder may not be written to.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}
