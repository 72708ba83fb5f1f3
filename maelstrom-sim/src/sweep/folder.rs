//! The folder for the files of one run in virtual time, below `store/` of the crate.
//!
//! | folder | run |
//! |---|---|
//! | `store/simulation/<sweep>-<seed>/` | the whole run of a seed, or the replay of a smaller one |
//! | `store/simulation/<sweep>-<choices>/` | a combination of an [`Exhaustive`](super::Exhaustive) |
//! | `store/shrunk/<sweep>-<seed>/` | a smaller run with the same kind of finding |

#![expect(clippy::disallowed_methods, reason = "runs are files")]

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::nemesis::Schedule;
use crate::report::Report;
use crate::results::Results;
use crate::store::{FINDING, REPLAY, REPORT, RESULTS, write_history, write_trace};
use crate::world::World;

/// The folder for smaller runs, relative to the folder of the crate.
pub(super) const SHRUNK: &str = "store/shrunk";

/// The folder for all other runs, relative to the folder of the crate.
const SIMULATION: &str = "store/simulation";

/// The folder for the files of one run.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    /// The title of the report.
    title: String,
    /// The shell command that runs it again.
    again: String,
}

impl Folder {
    /// The folder for a run of the sweep called `name`. `which` tells the runs of a sweep apart.
    /// The word for it is `what`, such as `seed`.
    pub(super) fn new(name: &str, (what, which): (&str, impl Display), again: String) -> Self {
        let dir = Path::new(SIMULATION).join(format!("{name}-{which}"));
        Self { dir, title: format!("{name}, {what} {which}"), again }
    }

    /// The folder for a smaller run than that of its seed.
    pub(super) fn shrunk(name: &str, seed: u64, again: String) -> Self {
        let dir = Path::new(SHRUNK).join(format!("{name}-{seed}"));
        Self { dir, title: format!("{name}, a smaller run of seed {seed}"), again }
    }

    /// Writes all files of a run, with the text of its finding, if it has one.
    ///
    /// # Errors
    ///
    /// If they cannot be written. Some of them may be there.
    pub(super) fn write(
        &self,
        (world, results): (&World, &Results),
        finding: Option<&str>,
    ) -> io::Result<()> {
        let Self { dir, title, again } = self;
        fs::create_dir_all(dir)?;
        fs::write(dir.join("schedule.txt"), Schedule::new(world.options()).to_string())?;
        write_history(dir, world)?;
        write_trace(dir, world)?;
        fs::write(dir.join(RESULTS), json!(results).to_string())?;
        fs::write(dir.join(REPLAY), from_here(again))?;
        match finding {
            Some(text) => fs::write(dir.join(FINDING), text)?,
            None if dir.join(FINDING).exists() => fs::remove_file(dir.join(FINDING))?,
            None => {}
        }
        let page = Report::new(world, results).titled(title).replayed_by(again);
        page.write(&dir.join(REPORT))
    }
}

/// A shell command that goes to the working directory, which is the crate's folder, and runs this.
fn from_here(command: &str) -> String {
    match std::env::current_dir() {
        Ok(here) => {
            let here = here.display().to_string().replace('\'', r"'\''");
            format!("cd '{here}' && {command}\n")
        }
        Err(_) => format!("{command}\n"),
    }
}

/// The full path of a file that exists, for a person.
pub(super) fn full(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
