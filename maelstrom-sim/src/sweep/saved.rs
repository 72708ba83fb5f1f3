//! A failing run, stored as a file.

#![expect(clippy::disallowed_methods, reason = "cases are files")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::kind::{Kind, Size};

/// A failing run of a sweep: the draw of the seed, and the changes to it. It is the smallest run
/// that a search found, or a variation in a coverage-guided sweep. The file is JSON. If the sweep
/// now draws something else, it rejects the file. The file does not contain the changes that the
/// sweep's case makes to the test.
///
/// ```
/// use maelstrom_sim::sweep::{Changes, SavedCase, Size};
///
/// let saved = SavedCase {
///     sweep: "echo".into(),
///     seed: 7,
///     drawn: "3 nodes".into(),
///     finding: serde_json::from_str(r#""invalid: # is lost""#)?,
///     before: Size { messages: 900, faults: 6, operations: 200, nodes: 3, millis: 30_000 },
///     after: Size { messages: 8, faults: 0, operations: 1, nodes: 1, millis: 500 },
///     changes: Changes { nodes: Some(1), operations: Some([4].into()), ..Changes::default() },
/// };
/// let folder = tempfile::tempdir()?;
/// let file = saved.write(folder.path())?;
/// assert!(file.ends_with("echo-7.json"));
/// assert_eq!(SavedCase::read(&file)?, saved);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedCase {
    /// The name of the sweep.
    pub sweep: String,
    /// The seed.
    pub seed: u64,
    /// The draw of the seed in words, when the file was written.
    pub drawn: String,
    /// The kind of the finding.
    pub finding: Kind,
    /// The size of the run in which the sweep had the finding.
    pub before: Size,
    /// The size of this run.
    pub after: Size,
    /// The differences from the original run of the seed.
    pub changes: Changes,
}

impl SavedCase {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A message with the name of the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        serde_json::from_str(&text)
            .map_err(|error| format!("{} holds no case of a sweep: {error}", path.display()))
    }

    /// Writes the case as a file in `folder`, and returns its path.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        self.write_to(&folder.join(format!("{}-{}.json", self.sweep, self.seed)))
    }

    /// Writes the case as this file, and returns its full path.
    pub(super) fn write_to(&self, path: &Path) -> io::Result<PathBuf> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n")?;
        Ok(path.canonicalize().unwrap_or_else(|_| path.to_path_buf()))
    }

    /// Reads all cases of a folder, with their paths, in the order of their names.
    ///
    /// # Errors
    ///
    /// A message, if the folder does not exist or has a folder, or if a file cannot be read or
    /// belongs to another sweep.
    pub(super) fn read_all(folder: &Path, sweep: &str) -> Result<Vec<(PathBuf, Self)>, String> {
        let cannot = |error: io::Error| format!("cannot read {}: {error}", folder.display());
        let entries = fs::read_dir(folder).map_err(cannot)?;
        let paths: io::Result<Vec<PathBuf>> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = paths.map_err(cannot)?;
        if let Some(inner) = paths.iter().find(|path| path.is_dir()) {
            let (folder, inner) = (folder.display(), inner.display());
            return Err(format!("{folder} has a folder, {inner}: no test would run its files"));
        }
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
    /// A message with the name of the file.
    pub(super) fn read_for(path: &Path, sweep: &str) -> Result<Self, String> {
        let saved = Self::read(path)?;
        if saved.sweep == sweep {
            return Ok(saved);
        }
        let (path, other) = (path.display(), saved.sweep);
        Err(format!("{path} is of the sweep {other}, not of {sweep}: each has its own folder"))
    }
}
