//! What an engine makes durable.

use serde::{Deserialize, Serialize};

use super::State;
use super::replica::{Run, VersionVector};
use crate::error::Error;

/// A record, as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", bound = "S: State")]
pub(super) enum Record<S: State> {
    /// What this node appended itself: that is its log.
    Own(Run<S::Entry>),
    /// What it was told and has shown.
    Others(Run<S::Entry>),
    /// A whole snapshot, and all that is in it.
    Snapshot(VersionVector, Vec<S::Piece>),
}

/// A record, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", bound = "S: State")]
pub(super) enum RecordRef<'a, S: State> {
    Own(&'a Run<S::Entry>),
    Others(&'a Run<S::Entry>),
    Snapshot(&'a VersionVector, &'a [S::Piece]),
}

impl<S: State> Record<S> {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::crash(format!("a record makes no sense: {error}")))
    }
}
