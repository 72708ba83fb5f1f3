//! Smaller runs of a sweep: finds, describes, stores and replays them.
//!
//! 1. [`Sweep::shrink`] runs smaller candidates, and keeps one only if it shows the same kind of
//!    finding.
//! 2. The sweep stores the smallest run as a [`SavedCase`], writes its report, and prints both in
//!    front of the original finding.
//! 3. A later test runs the file again. It refuses a file whose seed now draws something else.
//!
//! Unless its time limit ends it, the search always finds the same run.

#![expect(clippy::disallowed_methods, reason = "it reads the environment, and cases are files")]

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use maelstrom_core::cli::{LogFormat, init_logging};
use maelstrom_core::{MessageHandler, NodeId};

use super::case::{BUDGET, Case, Finding};
use super::changes::Changes;
use super::folder::{Folder, SHRUNK};
use super::replay::Replay;
use super::saved::SavedCase;
use super::shrinker::{Found, shrink};
use super::{Sweep, number_from_env, tell, with_snapshots};
use crate::options::Options;
use crate::simulate::{Budget, Stopwatch};
use crate::test::Test;

/// The longest search for a smaller run in seconds, unless the environment sets another limit.
const LIMIT_S: u64 = 60;

/// How many more messages than the original run a candidate may send before it is aborted.
const MORE_MESSAGES: u64 = 10_000;

/// A smaller run with the same kind of finding.
///
/// ```
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, NodeId, Request};
/// # struct Silent;
/// # impl MessageHandler for Silent {
/// #     type Payload = serde_json::Value;
/// #     type Event = NoEvent;
/// #     fn message(
/// #         &mut self, _: &mut Node<NoEvent>, _: &Request, _: Self::Payload,
/// #     ) -> Result<(), Error> {
/// #         Ok(())
/// #     }
/// # }
/// use std::time::Duration;
///
/// use maelstrom_sim::sweep::{Case, Sweep};
/// use maelstrom_sim::workload::Echo;
///
/// let sweep = Sweep::new(Echo::default(), []);
/// let finding = sweep.run(7, |_| Silent).expect_err("no echo succeeds");
/// let case = |test| Case::new(test, |_: &NodeId| Silent);
/// let shrunk = sweep.shrink("echo", &finding, Duration::from_secs(60), case).unwrap();
/// assert_eq!((shrunk.case.after.nodes, shrunk.case.after.operations), (1, 1));
/// assert_eq!(shrunk.finding.kind, finding.kind);
/// ```
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// Everything that is necessary to run it again.
    pub case: SavedCase,
    /// Its finding.
    pub finding: Finding,
    /// How many candidates ran.
    pub runs: u64,
}

impl Sweep {
    /// Searches for a smaller run with the same kind of finding: with fewer nodes, faults, clients
    /// and operations, less time, and simpler latencies. `case` derives the case from the test of
    /// the finding's seed.
    ///
    /// The search checks the wall clock before each run, and ends after `limit`. If the limit does
    /// not end it, it always finds the same run. Each candidate rests for 10 s before its final
    /// operations, as any run does. With less time, a correct node could be blamed.
    ///
    /// `None` if there is no smaller run, or if a budget ended the original run.
    pub fn shrink<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        finding: &Finding,
        limit: Duration,
        case: impl Fn(Test) -> Case<B>,
    ) -> Option<Shrunk> {
        if finding.kind.is_over_budget() {
            return None;
        }
        let seed = finding.seed;
        let watch = Stopwatch::start(Duration::MAX);
        let run = |changes: &Changes| {
            let budget = Budget {
                messages: finding.size.messages.saturating_add(MORE_MESSAGES),
                time: limit.saturating_sub(watch.elapsed()).min(BUDGET.time),
            };
            // If a handler never returns, the watchdog ends the process. It then prints the first
            // finding as well.
            let again = || format!("(a smaller run of this:)\n{}", finding.text);
            // A case may panic if there are too few nodes.
            let outcome =
                quietly(|| self.changed(seed, changes, &case).run_within(name, budget, again()));
            outcome?.err()
        };
        let options = case(self.test_for(seed)).test.options;
        let first = finding.found();
        let found = |changes: &Changes| run(changes).map(|finding| finding.found());
        let first = (finding.changes.clone(), first);
        let smallest = shrink(&options, first, || watch.elapsed() < limit, found);
        let changes = smallest.changes;
        if changes == finding.changes {
            return None;
        }
        let again = self.changed(seed, &changes, &case).run_within(name, BUDGET, String::new());
        let case = SavedCase {
            sweep: name.to_owned(),
            seed,
            drawn: self.drawn(seed),
            finding: finding.kind.clone(),
            before: finding.size,
            after: smallest.size,
            changes,
        };
        Some(Shrunk { case, finding: *again.err()?, runs: smallest.runs })
    }

    /// Describes the draw of a seed.
    fn drawn(&self, seed: u64) -> String {
        let Test { workload, options } = self.test_for(seed);
        let Options { concurrency, rate, time_limit, latency, sync_max, .. } = &options;
        let Options { nodes, nemesis, nemesis_interval, .. } = &options;
        format!(
            "{} nodes, {concurrency} threads, {rate} operations per second for {time_limit:?}, \
             {latency:?}, syncs {sync_max:?}, {nemesis:?} every {nemesis_interval:?}, {workload:?}",
            nodes.len(),
        )
    }

    /// The case of a file.
    ///
    /// # Errors
    ///
    /// A message, if the seed now draws something else than when the file was written.
    fn case_of<B>(
        &self,
        saved: &SavedCase,
        case: impl Fn(Test) -> Case<B>,
    ) -> Result<Case<B>, String> {
        let SavedCase { seed, drawn, changes, .. } = saved;
        let now = self.drawn(*seed);
        if *drawn != now {
            return Err(format!(
                "the sweep draws something else for seed {seed} than when this file was made, so it \
                 may show nothing any more: make it anew, or remove it\nthen: {drawn}\nnow:  {now}"
            ));
        }
        Ok(self.changed(*seed, changes, case))
    }

    /// The case of a seed with these changes.
    pub(super) fn changed<B>(
        &self,
        seed: u64,
        changes: &Changes,
        case: impl Fn(Test) -> Case<B>,
    ) -> Case<B> {
        let mut test = self.test_for(seed);
        changes.apply(&mut test.options);
        let mut case = case(test);
        changes.apply_but_nodes(&mut case.test.options);
        changes.tell_kinds(&mut case.test.options);
        case
    }

    /// The text of a finding, preceded by that of a smaller run, if there is one. Stores the
    /// smaller run as a file.
    pub(super) fn told_with_smaller<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        finding: &Finding,
        case: impl Fn(Test) -> Case<B>,
    ) -> String {
        let limit = Duration::from_secs(number_from_env("SHRINK").unwrap_or(LIMIT_S));
        let seed = finding.seed;
        let varied = self.keep_varied(name, finding);
        if limit.is_zero() {
            let report = self.keep_report(name, finding, None, case);
            return format!("{}{report}{varied}", finding.text);
        }
        tell(&format!(
            "{name}, seed {seed} shows something: a smaller run is looked for, for {limit:?} at most \
             (SHRINK=0: not at all)"
        ));
        match self.shrink(name, finding, limit, &case) {
            Some(shrunk) => {
                let report = self.keep_report(name, finding, Some(&shrunk), case);
                tell_of(&shrunk, finding, &report, &self.how_to_keep(name)) + &varied
            }
            None => {
                let report = self.keep_report(name, finding, None, case);
                format!("{}\nNo smaller run of it was found.{report}{varied}", finding.text)
            }
        }
    }

    /// Stores a finding that is a variation of its seed as a file. Returns a line with its path.
    fn keep_varied(&self, name: &str, finding: &Finding) -> String {
        if finding.changes == Changes::default() {
            return String::new();
        }
        let case = SavedCase {
            sweep: name.to_owned(),
            seed: finding.seed,
            drawn: self.drawn(finding.seed),
            finding: finding.kind.clone(),
            before: finding.size,
            after: finding.size,
            changes: finding.changes.clone(),
        };
        match case.write_to(&varied_file(name, finding.seed)) {
            Ok(path) => {
                format!("\nThe run is a variation of its seed. It is in {}", path.display())
            }
            Err(error) => format!("\nThe varied run could not be kept: {error}"),
        }
    }

    /// Stores the files of a finding, or of the smaller run with the same kind of finding. Returns
    /// a line with the path of the report.
    fn keep_report<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        finding: &Finding,
        smaller: Option<&Shrunk>,
        case: impl Fn(Test) -> Case<B>,
    ) -> String {
        if finding.kind.is_over_budget() {
            return String::new();
        }
        let (case, again) = self.again(name, finding, smaller, case);
        let folder = match smaller {
            Some(_) => Folder::shrunk(name, finding.seed, again),
            None => Folder::new(name, ("seed", finding.seed), again),
        };
        case.keep(name, &folder)
    }

    /// The case of a finding, or of the smaller run with the same kind of finding, and the command
    /// that runs it.
    fn again<B>(
        &self,
        name: &str,
        finding: &Finding,
        smaller: Option<&Shrunk>,
        case: impl Fn(Test) -> Case<B>,
    ) -> (Case<B>, String) {
        let seed = finding.seed;
        let again = match smaller {
            Some(_) => file_in_env(&shrunk_file(name, seed)),
            None if finding.changes == Changes::default() => format!("SEED={seed}"),
            None => file_in_env(&varied_file(name, seed)),
        };
        let changes = smaller.map_or(&finding.changes, |shrunk| &shrunk.case.changes);
        (self.changed(seed, changes, case), Replay::here().command(&again))
    }

    /// Runs a finding again, or the smaller run with the same kind of finding, and writes its
    /// [report](crate::report::Report) as a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_report<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        finding: &Finding,
        smaller: Option<&Shrunk>,
        case: impl Fn(Test) -> Case<B>,
        file: &Path,
    ) -> io::Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let (case, again) = self.again(name, finding, smaller, case);
        case.report(name, again, file)
    }

    /// Explains how to keep a file of this sweep.
    fn how_to_keep(&self, name: &str) -> String {
        let method = if name == self.name() {
            "Sweep::test_regressions".to_owned()
        } else {
            format!(
                "Sweep::test_case_regressions with the name {name:?} and the case of this test (or \
                 Sweep::test_snapshot_regressions, if this is Sweep::test_snapshots)"
            )
        };
        format!(
            "copy it to tests/regressions/{name}/, and run that folder in a test of its own, with this \
             sweep and {method}"
        )
    }

    /// Runs all cases (`*.json`) of a folder. They are smaller runs that once had a finding:
    /// [`test`](Self::test) writes them to `store/shrunk/`, and people copy them from there.
    /// `folder` is relative to the folder of the crate. A run that shows too little passes, unless
    /// that was its original finding.
    ///
    /// # Panics
    ///
    /// With all findings, if there are any, or with the name of a file that cannot be read or
    /// belongs to another sweep.
    pub fn test_regressions<H: MessageHandler>(
        &self,
        folder: impl AsRef<Path>,
        build: impl Fn(&NodeId) -> H,
    ) {
        let case = |test| Case::new(test, &build);
        self.test_case_regressions(&self.name(), folder, case);
    }

    /// Like [`test_regressions`](Self::test_regressions), for the sweep called `name` of
    /// [`test_snapshots`](Self::test_snapshots).
    ///
    /// # Panics
    ///
    /// As [`test_regressions`](Self::test_regressions) does.
    pub fn test_snapshot_regressions<H: MessageHandler>(
        &self,
        name: &str,
        folder: impl AsRef<Path>,
        build: impl Fn(&NodeId) -> H,
    ) {
        self.test_case_regressions(name, folder, |test| with_snapshots(test, &build));
    }

    /// Like [`test_regressions`](Self::test_regressions), for the sweep called `name` of
    /// [`test_cases`](Self::test_cases).
    ///
    /// # Panics
    ///
    /// As [`test_regressions`](Self::test_regressions) does.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    pub fn test_case_regressions<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        folder: impl AsRef<Path>,
        case: impl Fn(Test) -> Case<B>,
    ) {
        if self.replay_file(name, &case) {
            return;
        }
        let saved = match SavedCase::read_all(folder.as_ref(), name) {
            Ok(saved) => saved,
            Err(text) => panic!("{text}"),
        };
        let findings = saved.iter().filter_map(|(path, saved)| {
            let again = Replay::here().again(&file_in_env(path));
            let case = match self.case_of(saved, &case) {
                Ok(case) => case,
                Err(why) => return Some(format!("{}: {why}", path.display())),
            };
            let finding = case.run_within(name, BUDGET, again).err()?;
            // Such a small run may show too little once the bug is fixed.
            if finding.tells_nothing && finding.kind != saved.finding {
                return None;
            }
            Some(format!("{}: {}", path.display(), finding.text))
        });
        let findings: Vec<String> = findings.collect();
        assert!(findings.is_empty(), "{}", findings.join("\n\n"));
    }

    /// Runs the case in the file that `CASE=path` names, if it is set, with all logs, and stores
    /// its files.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    pub(super) fn replay_file<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        case: impl Fn(Test) -> Case<B>,
    ) -> bool {
        let Some(path) = std::env::var_os("CASE").filter(|path| !path.is_empty()) else {
            return false;
        };
        init_logging(LogFormat::Text);
        let replayed = SavedCase::read_for(path.as_ref(), name).and_then(|saved| {
            let again = Replay::here().command(&file_in_env(path.as_ref()));
            let folder = Folder::new(name, ("seed", saved.seed), again);
            self.case_of(&saved, case)?.replay(name, &folder)
        });
        match replayed {
            Ok(text) => tell(&text),
            Err(text) => panic!("{text}"),
        }
        true
    }
}

/// Stores a smaller run as a file, and describes it and the original run.
fn tell_of(shrunk: &Shrunk, finding: &Finding, report: &str, how_to_keep: &str) -> String {
    let Shrunk { case, finding: smaller, runs } = shrunk;
    let kept = match case.write(Path::new(SHRUNK)) {
        Ok(path) => format!(
            "The smaller run is in {}: {how_to_keep}.\n{}",
            path.display(),
            Replay::here().again(&file_in_env(&path)),
        ),
        Err(error) => format!("The smaller run could not be kept in {SHRUNK}/: {error}"),
    };
    let (before, after) = (case.before, case.after);
    format!(
        "{}{report}\nThis run is smaller than that of its seed, and shows the same ({}); found in {runs} \
         runs:\nbefore: {before}\nafter:  {after}\n{kept}\n\nThe run of the seed itself:\n{}",
        smaller.text.trim_end(),
        case.finding,
        finding.text,
    )
}

/// The environment variable, for a shell, with which a test runs this file.
pub(super) fn file_in_env(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let path = path.canonicalize().unwrap_or(path);
    format!("CASE='{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// The file of the smaller run of this seed.
fn shrunk_file(name: &str, seed: u64) -> PathBuf {
    Path::new(SHRUNK).join(format!("{name}-{seed}.json"))
}

/// The file of a finding that is a variation of this seed.
pub(super) fn varied_file(name: &str, seed: u64) -> PathBuf {
    Path::new(SHRUNK).join(format!("{name}-{seed}-varied.json"))
}

thread_local! {
    /// Whether panics of this thread are not printed.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Calls `f` without printing its panics, because each candidate may have one. `None` if `f`
/// panics.
pub(super) fn quietly<T>(f: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                tell(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(f)).ok();
    IS_QUIET.set(false);
    result
}

impl Finding {
    fn found(&self) -> Found {
        Found { kind: self.kind.clone(), size: self.size, drawn: self.drawn }
    }
}
