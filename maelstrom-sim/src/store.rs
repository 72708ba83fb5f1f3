//! Stores the files of a test in `store/<workload>/<time>/`, as Maelstrom does.
//!
//! `store/current` is the test that started last, and `store/latest` the one that finished last.

#![expect(clippy::disallowed_methods, reason = "traces are files")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use crate::report::write_shiviz;
use crate::results::Results;
use crate::world::World;

/// The results of a run. Its report is in [`REPORT`]. While it is going, its progress is in
/// [`PROGRESS`].
pub const RESULTS: &str = "results.json";
/// See [`RESULTS`].
pub const REPORT: &str = "report.html";
/// See [`RESULTS`].
pub const PROGRESS: &str = "progress.json";
/// The command for a shell that repeats a run in virtual time: only the test program can.
pub const REPLAY: &str = "replay.txt";
/// The finding of a run in virtual time, if it has one. The first line is a summary.
pub const FINDING: &str = "finding.txt";
/// The command that started the run.
pub const COMMAND: &str = "command.json";

/// The folder of one test.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_sim::store::{RESULTS, Store, write_history, write_trace};
/// use maelstrom_sim::{Test, options::Options, workload::Echo, world::World};
///
/// let root = tempfile::tempdir()?;
/// let store = Store::create(root.path(), "echo")?;
/// let world = World::new(Test::new(Echo::default(), Options::default()), Duration::ZERO);
/// write_history(store.dir(), &world)?;
/// write_trace(store.dir(), &world)?;
/// store.write_results(&world.results())?;
/// assert!(store.dir().join(RESULTS).is_file() && store.dir().join("history.jsonl").is_file());
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    workload: String,
    dir: PathBuf,
}

impl Store {
    /// Creates the folder for a test that begins now, below `root`.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    pub fn create(root: &Path, workload: &str) -> anyhow::Result<Self> {
        let parent = root.join(workload);
        fs::create_dir_all(&parent).with_context(|| cannot_create(&parent))?;
        let stamp = stamp(SystemTime::now());
        // Two tests that start in the same millisecond get separate folders.
        let names = std::iter::once(stamp.clone()).chain((2..100).map(|n| format!("{stamp}-{n}")));
        for name in names {
            let dir = parent.join(name);
            match fs::create_dir(&dir) {
                Ok(()) => {
                    let (root, workload) = (root.to_owned(), workload.to_owned());
                    let store = Self { root, workload, dir };
                    store.link("current");
                    return Ok(store);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot create {}", dir.display()));
                }
            }
        }
        anyhow::bail!("cannot find a new name in {}", parent.display())
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder for the stderr of the nodes.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("node-logs")
    }

    /// Writes `results.json`, and makes this test the latest one.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_results(&self, results: &Results) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(results)?;
        fs::write(self.dir.join(RESULTS), text + "\n")?;
        self.link("latest");
        Ok(())
    }

    /// Points the links `store/<name>` and `store/<workload>/<name>` to this test. The links are a
    /// convenience: if they cannot be created, a message on stderr says so, and the test continues.
    fn link(&self, name: &str) {
        let Some(own) = self.dir.file_name() else {
            return;
        };
        let links = [
            (PathBuf::from(own), self.root.join(&self.workload).join(name)),
            (Path::new(&self.workload).join(own), self.root.join(name)),
        ];
        for (target, link) in links {
            if let Err(error) = replace_link(&target, &link) {
                let link = link.display();
                let dir = self.dir.display();
                let text = format!("warning: {link} does not point to this run, {dir}: {error}");
                writeln!(io::stderr(), "{text}").ok();
            }
        }
    }
}

/// A time as a folder name, in the basic format of ISO 8601: `20260131T235959.123Z`.
fn stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string().replace(['-', ':'], "")
}

/// Writes `history.jsonl`. [`Store`] shows it in use.
///
/// # Errors
///
/// If it cannot be written.
pub fn write_history(dir: &Path, world: &World) -> io::Result<()> {
    write_file(&dir.join("history.jsonl"), |out| world.history().write_jsonl(out))
}

/// Writes `messages.jsonl`, `events.jsonl` and `shiviz.log`, if there is a trace. [`Store`] shows
/// it in use.
///
/// # Errors
///
/// If they cannot be written.
pub fn write_trace(dir: &Path, world: &World) -> io::Result<()> {
    let Some(trace) = world.trace() else { return Ok(()) };
    write_file(&dir.join("messages.jsonl"), |out| trace.write_messages(out))?;
    write_file(&dir.join("events.jsonl"), |out| trace.write_events(out))?;
    write_file(&dir.join("shiviz.log"), |out| write_shiviz(trace, out))
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    write(&mut out)?;
    out.flush()
}

/// The error that a folder cannot be created. Names a dangling link in its path, if there is one.
fn cannot_create(folder: &Path) -> String {
    let mut text = format!("cannot create {}", folder.display());
    let is_dangling = |path: &&Path| path.is_symlink() && !path.exists();
    if let Some(link) = folder.ancestors().find(is_dangling) {
        let target = fs::read_link(link).unwrap_or_default();
        let (link, target) = (link.display(), target.display());
        text.push_str(&format!(": {link} is a link to {target}, which is not there"));
    }
    text
}

/// Points `link` to `target` in one step, so that it never dangles.
///
/// # Errors
///
/// If the link cannot be created. If `link` is a file or a folder, it stays as it is.
fn replace_link(target: &Path, link: &Path) -> io::Result<()> {
    if link.symlink_metadata().is_ok_and(|there| !there.is_symlink()) {
        let why = "it is no symbolic link; move it away to have one";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    let new = link.with_extension(format!("new-{}", std::process::id()));
    fs::remove_file(&new).ok();
    let replaced = symlink(target, &new).and_then(|()| fs::rename(&new, link));
    if replaced.is_err() {
        fs::remove_file(&new).ok();
    }
    replaced
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "there are no symbolic links here"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_name_of_a_folder_is_its_time() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_903_999_123);
        assert_eq!(stamp(time), "20260131T235959.123Z");
    }
}
