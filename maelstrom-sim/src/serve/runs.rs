//! The runs of a store.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;

use crate::excerpt::sentence;
use crate::limits::Figures;
use crate::report::ProgressFile;
use crate::store::{COMMAND, FINDING, PROGRESS, REPLAY, REPORT, RESULTS};

/// How many runs the list shows, the newest first.
const RUNS_MAX: usize = 500;

/// A run that has not updated its progress for this long has stopped: its process was killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of the first line of a finding is read.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// The files of a run that the list links.
const FILES: [&str; 6] =
    [REPORT, RESULTS, "history.jsonl", "messages.jsonl", "events.jsonl", "shiviz.log"];

/// A run of a store. [`runs`] shows it in use.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The workload, or the sweep.
    pub workload: String,
    /// The time at which it began, or the seed and the kind of a run of a sweep.
    pub name: String,
    /// Its folder in the store.
    pub folder: String,
    /// The state it is in.
    pub state: State,
    /// Its figures in words, or its progress.
    pub figures: String,
    /// The first cause of a verdict that is not valid.
    pub cause: Option<String>,
    /// The files of the run that the page links.
    pub files: Vec<String>,
}

/// The state of a run. [`runs`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The run is still going.
    Running,
    /// The run has ended, and is valid.
    Valid,
    /// The run has ended, and is invalid.
    Invalid,
    /// The run has ended, with an unknown verdict.
    Unknown,
    /// The run ended early.
    Failed,
}

/// The runs of a store, the last modified one first.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_sim::serve::{State, runs};
/// use maelstrom_sim::store::Store;
/// use maelstrom_sim::{Test, options::Options, workload::Echo, world::World};
///
/// let root = tempfile::tempdir()?;
/// let mut world = World::new(Test::new(Echo::default(), Options::default()), Duration::ZERO);
/// world.node_gone(&"n2".into(), "exited with code 1".into());
/// Store::create(root.path(), "echo")?.write_results(&world.results())?;
/// let all = runs(root.path());
/// assert_eq!((all[0].workload.as_str(), all[0].state), ("echo", State::Unknown));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[must_use]
pub fn runs(store: &Path) -> Vec<Run> {
    let mut all: Vec<(Option<SystemTime>, String, String)> = Vec::new();
    for workload in names(store) {
        let folder = store.join(&workload);
        all.extend(names(&folder).into_iter().map(|name| {
            let changed = fs::metadata(folder.join(&name)).and_then(|data| data.modified()).ok();
            (changed, name, workload.clone())
        }));
    }
    all.sort_unstable_by(|a, b| b.cmp(a));
    let all = all.into_iter().filter_map(|(_, name, workload)| read(store, workload, name));
    all.take(RUNS_MAX).collect()
}

/// The names of the folders in a folder, without links.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Reads a run. `None` if the folder has no command, history, results or progress: it is not a run.
fn read(store: &Path, workload: String, name: String) -> Option<Run> {
    let folder = store.join(&workload).join(&name);
    let has = |file: &str| folder.join(file).is_file();
    let finding = first_line(&folder.join(FINDING));
    let results: Option<Value> = fs::read_to_string(folder.join(RESULTS))
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok());
    let progress = progress(&folder);
    let is_run = has(COMMAND) || has("history.jsonl") || results.is_some() || progress.is_some();
    if !is_run {
        return None;
    }
    let state = match (&results, &progress) {
        // The checker may accept the history of a run in which a handler panicked.
        _ if finding.is_some() => State::Invalid,
        (Some(results), _) => match results.get("valid?") {
            Some(Value::Bool(true)) => State::Valid,
            Some(Value::Bool(false)) => State::Invalid,
            _ => State::Unknown,
        },
        (None, Some(_)) => State::Running,
        (None, None) => State::Failed,
    };
    let figures = match (&results, &progress) {
        (Some(results), _) => Some(Figures::of(results).to_string()),
        (None, Some(ProgressFile { phase, seconds, of, ok, fail, info })) => Some(format!(
            "{phase}, {seconds:.0} of about {of:.0} s; {ok} ok, {fail} fail, {info} info"
        )),
        (None, None) => None,
    };
    let cause = results.as_ref().and_then(|results| results.get("cause")?.as_str());
    let cause = finding.or_else(|| cause.map(sentence));
    let files = FILES.into_iter().chain([REPLAY, FINDING]);
    let folder = format!("{workload}/{name}");
    let (workload, name) = titles(workload, name);
    Some(Run {
        files: files.filter(|file| has(file)).map(ToOwned::to_owned).collect(),
        figures: figures.unwrap_or_default(),
        workload,
        name,
        folder,
        state,
        cause,
    })
}

/// The workload and the time of a run, or the sweep and the seed. `kind` and `name` are its
/// folders.
fn titles(kind: String, name: String) -> (String, String) {
    let Some((sweep, seed)) = name.rsplit_once('-') else { return (kind, name) };
    match &*kind {
        "simulation" => (sweep.to_owned(), format!("run {seed} of a sweep")),
        "shrunk" => (sweep.to_owned(), format!("run {seed} of a sweep, made smaller")),
        _ => (kind, name),
    }
}

/// The first line of a file. Longer lines than a sentence are cut off.
fn first_line(path: &Path) -> Option<String> {
    let mut line = Vec::new();
    let file = BufReader::new(fs::File::open(path).ok()?);
    file.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).ok()?;
    Some(sentence(String::from_utf8_lossy(&line).trim_end()))
}

/// The progress of a run, if it is still going.
fn progress(folder: &Path) -> Option<ProgressFile> {
    let path = folder.join(PROGRESS);
    let changed = fs::metadata(&path).and_then(|data| data.modified()).ok()?;
    let age = SystemTime::now().duration_since(changed).unwrap_or_default();
    let text = fs::read_to_string(path).ok()?;
    serde_json::from_str(&text).ok().filter(|_| age < PATIENCE)
}
