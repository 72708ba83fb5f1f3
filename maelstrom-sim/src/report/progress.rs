//! Shows the progress of a running test.

#![expect(clippy::disallowed_methods, reason = "other processes read a file")]

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::excerpt::printable;
use crate::history::Tally;
use crate::nemesis::NemesisOp;
use crate::news::News;

/// How often to print a line, if stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often to write the file for other processes.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// How often to draw the bar.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Shows the progress of a test on stderr: a bar on a terminal, plain lines elsewhere.
/// [`run`](crate::run::run) shows it in use.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    last: Duration,
    tally: Tally,
    length: Duration,
    phase: &'static str,
    file: Option<(PathBuf, Duration)>,
}

/// The progress of a test, in a file for other processes.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_sim::history::Tally;
/// use maelstrom_sim::report::{Progress, ProgressFile};
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("progress.json");
/// let mut progress = Progress::new(Duration::from_secs(60)).in_file(file.clone());
/// progress.update(Duration::from_secs(2), Tally { ok: 7, ..Tally::default() });
/// let now: ProgressFile = serde_json::from_slice(&std::fs::read(&file)?)?;
/// assert_eq!((now.seconds, now.of, now.ok), (2.0, 60.0, 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProgressFile {
    /// The current phase of the test.
    pub phase: String,
    /// Seconds since the test began.
    pub seconds: f64,
    /// The expected length in seconds.
    pub of: f64,
    /// Operations that succeeded.
    pub ok: u64,
    /// Operations that failed.
    pub fail: u64,
    /// Operations of unknown outcome.
    pub info: u64,
}

impl Progress {
    /// The progress of a test with about this length.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
            let style = ProgressStyle::with_template("{prefix:>20} {wide_bar} {elapsed} {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let (last, tally) = (Duration::ZERO, Tally::default());
        Self { bar, last, tally, length, phase: "", file: None }
    }

    /// Also writes the progress to this file, until [`remove_file`](Self::remove_file) removes it.
    #[must_use]
    pub fn in_file(self, file: PathBuf) -> Self {
        Self { file: Some((file, Duration::ZERO)), ..self }
    }

    /// The longest time that may pass between two calls of [`update`](Self::update).
    #[must_use]
    pub fn interval(&self) -> Duration {
        if self.bar.is_some() { DRAW_EVERY } else { LINE_EVERY }
    }

    /// Shows an event.
    pub fn tell(&mut self, now: Duration, news: &News) {
        match news {
            News::Phase(name) => {
                self.phase = name;
                if let Some(bar) = &self.bar {
                    bar.set_prefix(*name);
                } else {
                    line(now, name);
                }
            }
            // Named after the flag that the user gave: `--nemesis kill`.
            News::Nemesis(NemesisOp::Crash(node)) => {
                self.print(now, &format!("nemesis: kill {node}"));
            }
            News::Nemesis(what) => self.print(now, &format!("nemesis: {what}")),
            News::Mark { node, name } => self.print(now, &format!("{node}: {name}")),
            News::Muted { node, why } => {
                self.print(now, &format!("{node} is not listened to any more: {why}"));
            }
            News::BadRequest { node, why } => {
                self.print(now, &format!("{node} asked for something that makes no sense: {why}"));
            }
        }
    }

    /// Updates the time and the counts.
    pub fn update(&mut self, now: Duration, tally: Tally) {
        self.tally = tally;
        self.write_file(now);
        if now.saturating_sub(self.last) < self.interval() {
            return;
        }
        self.last = now;
        let text = format!("{} ok, {} fail, {} info", tally.ok, tally.fail, tally.info);
        match &self.bar {
            Some(bar) => {
                bar.set_position(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
                bar.set_message(text);
            }
            None => line(now, &text),
        }
    }

    /// Writes the file for other processes, at a limited rate. Ignores errors, because the file is
    /// only a convenience.
    fn write_file(&mut self, now: Duration) {
        let Some((file, last)) = &mut self.file else { return };
        if now.saturating_sub(*last) < WRITE_EVERY {
            return;
        }
        *last = now;
        let Tally { ok, fail, info } = self.tally;
        let (seconds, of) = (now.as_secs_f64(), self.length.as_secs_f64());
        let progress = ProgressFile { phase: self.phase.to_owned(), seconds, of, ok, fail, info };
        // Renames the file in one step, so that nobody reads a half-written one.
        let new = file.with_extension("new");
        if let Ok(text) = serde_json::to_string(&progress)
            && std::fs::write(&new, text).is_ok()
        {
            std::fs::rename(&new, file).ok();
        }
    }

    /// Shows that the test has ended and its history is being judged.
    pub fn finish(&mut self) {
        self.phase = "judging";
        if let Some((_, last)) = &mut self.file {
            let now = last.saturating_add(WRITE_EVERY);
            self.write_file(now);
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Removes the file. From now on other files tell the state of the test.
    pub fn remove_file(&self) {
        if let Some((file, _)) = &self.file {
            std::fs::remove_file(file).ok();
        }
    }

    fn print(&self, now: Duration, text: &str) {
        let text = printable(text);
        match &self.bar {
            Some(bar) => bar.println(text),
            None => line(now, &text),
        }
    }
}

fn line(now: Duration, text: &str) {
    writeln!(std::io::stderr(), "{:6.1} s  {text}", now.as_secs_f64()).ok();
}
