//! A small failing run as a file.

#![expect(clippy::disallowed_methods, reason = "cases are files")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::kind::{Kind, Size};

/// A run of a sweep that did not end well, made as small as possible: what the seed draws, and what
/// is otherwise. As a file it is JSON. A sweep that draws something else by now refuses the file. What
/// the sweep's case makes of the test is not in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedCase {
    /// The name of the sweep.
    pub sweep: String,
    /// The seed.
    pub seed: u64,
    /// The draw of the seed when the file was made, in words.
    pub drawn: String,
    /// The kind of the finding.
    pub finding: Kind,
    /// How large the run of the seed was.
    pub before: Size,
    /// How large this one was.
    pub after: Size,
    /// The differences to the run of the seed.
    pub changes: Changes,
}

impl SavedCase {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// In words, with the name of the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        serde_json::from_str(&text)
            .map_err(|error| format!("{} holds no case of a sweep: {error}", path.display()))
    }

    /// Writes it as a file of `folder`, whose path it returns.
    ///
    /// # Errors
    ///
    /// If that is not possible.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}-{}.json", self.sweep, self.seed));
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&path, text + "\n")?;
        Ok(path.canonicalize().unwrap_or(path))
    }

    /// All cases of a folder, with their paths, in the order of their names.
    ///
    /// # Errors
    ///
    /// In words, if there is no such folder, or if a file cannot be read or is of another sweep.
    pub(super) fn read_all(folder: &Path, sweep: &str) -> Result<Vec<(PathBuf, Self)>, String> {
        let cannot = |error: io::Error| format!("cannot read {}: {error}", folder.display());
        let entries = fs::read_dir(folder).map_err(cannot)?;
        let paths: io::Result<Vec<PathBuf>> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths.map_err(cannot)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        if paths.is_empty() {
            return Err(format!("there is no *.json in {}", folder.display()));
        }
        let read = |path: PathBuf| {
            let saved = Self::read_for(&path, sweep)?;
            Ok((path, saved))
        };
        paths.into_iter().map(read).collect()
    }

    /// Reads a file of this sweep.
    ///
    /// # Errors
    ///
    /// In words, with the name of the file.
    pub(super) fn read_for(path: &Path, sweep: &str) -> Result<Self, String> {
        let saved = Self::read(path)?;
        if saved.sweep == sweep {
            return Ok(saved);
        }
        let (path, other) = (path.display(), saved.sweep);
        Err(format!("{path} is of the sweep {other}, not of {sweep}: each has its own folder"))
    }
}
