//! A corpus of unusual nodes: for each, the measured exit code of Maelstrom, and ours.
//!
//! `cases.tsv` has a row for each case: a name, the arguments of the test, the node, the exit code
//! of Maelstrom v0.2.4, ours, and the reason if ours differs. If the reason begins with `stricter`
//! or `kinder`, the verdict by Maelstrom's rules alone still equals Maelstrom's. If it begins with
//! `always`, that verdict differs too. The node is a habit of `habits.py` with its options, `@` and
//! the name of a program, or `./` and the path of a script in the repository. Programs of other
//! packages are for `scripts/corpus`, which runs the same table under either checker.
//!
//! The test runs every sixteenth case, and with `CORPUS=all` every case.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "tests may fail")]
#![expect(clippy::disallowed_methods, reason = "it tests processes")]

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const TABLE: &str = include_str!("cases.tsv");
const HABITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/habits.py");
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// How many cases run at the same time. Most of them are idle most of the time.
const JOBS: usize = 32;
/// How many cases run at the same time in the second run. A busy machine may start a node too late,
/// so each case with an unexpected outcome gets a second run.
const JOBS_AGAIN: usize = 4;
/// How long a case may take. The longest one takes 25 s on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A row of the table.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    arguments: &'static str,
    node: &'static str,
    maelstrom: i32,
    ours: i32,
    reason: &'static str,
}

impl Case {
    /// Whether the verdict by Maelstrom's rules also differs from Maelstrom's.
    fn differs_always(&self) -> bool {
        self.reason.starts_with("always")
    }

    /// The program of this case and its arguments. `None`: the program belongs to another package.
    fn node(&self, python: &Python) -> Option<Vec<String>> {
        let words = self.node.split(' ').map(str::to_owned);
        if let Some(script) = self.node.strip_prefix("./") {
            return Some(vec![format!("{REPOSITORY}/{script}")]);
        }
        match self.node.strip_prefix('@') {
            None => {
                let workload = self.arguments.split(' ').skip_while(|word| *word != "-w").nth(1);
                let start = [HABITS, "--workload", workload.unwrap_or("echo"), "--habit"];
                let start = python.command().into_iter().chain(start).map(str::to_owned);
                Some(start.chain(words).collect())
            }
            Some(program) if program.starts_with("broken-node") => {
                let program = env!("CARGO_BIN_EXE_broken-node").to_owned();
                Some([program].into_iter().chain(words.skip(1)).collect())
            }
            Some(_) => None,
        }
    }

    /// Runs the case. Returns a description of the error if the exit code or the verdict by
    /// Maelstrom's rules is wrong.
    fn complaint(&self, python: &Python) -> Option<String> {
        let node = self.node(python)?;
        let (program, arguments) = node.split_first()?;
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let file = File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-sim"));
        command.current_dir(&dir).arg("test").args(self.arguments.split(' '));
        command.args(["--seed", "1", "--bin", program, "--"]).args(arguments);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut child = command.spawn().unwrap();
        let started = Instant::now();
        let code = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if started.elapsed() > PATIENCE => {
                    child.kill().unwrap();
                    break child.wait().unwrap().code();
                }
                None => thread::sleep(Duration::from_millis(50)),
            }
        };
        let by_rules = by_maelstroms_rules(dir.path()).filter(|_| !self.differs_always());
        let is_right = code == Some(self.ours)
            && by_rules.is_none_or(|code| [code, 255].contains(&self.maelstrom));
        if is_right {
            return None;
        }
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        let end: Vec<_> = log.lines().rev().take(12).collect();
        let end: String = end.into_iter().rev().map(|line| format!("    {line}\n")).collect();
        let Self { name, arguments, node, ours, maelstrom, .. } = self;
        Some(format!(
            "{name}: {code:?} instead of {ours}, by Maelstrom's rules {by_rules:?} instead of \
             {maelstrom} ({arguments} -- {node})\n{end}"
        ))
    }
}

/// The exit code that `--as-maelstrom` would give, computed from the results of a run without it.
/// `None`: there are no results.
fn by_maelstroms_rules(dir: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(dir.join("store/latest/results.json")).ok()?;
    let results: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(match results.get("maelstrom-valid?")? {
        serde_json::Value::Bool(valid) => i32::from(!valid),
        _ => 2,
    })
}

/// A Python that starts quickly, because hundreds of nodes spend most of their time on starting.
struct Python {
    program: String,
    /// The `-X` argument with a folder for compiled files.
    cache: String,
    _folder: TempDir,
}

impl Python {
    /// Finds the interpreter itself, because `python3` may be a script that searches for it each
    /// time.
    fn find() -> Self {
        let output =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let program = String::from_utf8(output.unwrap().stdout).unwrap().trim_end().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let cache = format!("pycache_prefix={}", folder.path().display());
        Self { program, cache, _folder: folder }
    }

    /// Skips the packages and settings of the user, which the habits do not need.
    fn command(&self) -> [&str; 5] {
        [&self.program, "-S", "-E", "-X", &self.cache]
    }
}

fn cases() -> Vec<Case> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|row| {
        let columns: Vec<&str> = row.split('\t').collect();
        let [name, arguments, node, maelstrom, ours, reason] = columns.try_into().unwrap();
        let [maelstrom, ours] = [maelstrom, ours].map(|code| code.parse().unwrap());
        Case { name, arguments, node, maelstrom, ours, reason }
    })
    .collect()
}

#[test]
fn a_verdict_other_than_maelstroms_has_a_reason() {
    let cases = cases();
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    for case in cases {
        let differs = case.maelstrom != case.ours || case.differs_always();
        assert_eq!(differs, !case.reason.is_empty(), "{}: {}", case.name, case.reason);
    }
}

#[test]
fn every_verdict_is_the_one_of_the_table() {
    let help = Command::new(HABITS).arg("--help").output();
    let runs = help.is_ok_and(|output| output.status.success());
    assert!(runs, "the corpus needs Python 3: install python3 and see that {HABITS} runs");
    let python = Python::find();
    let step = if std::env::var_os("CORPUS").is_some_and(|which| which == "all") { 1 } else { 16 };
    let cases: Vec<Case> = cases().into_iter().step_by(step).collect();
    let again: Vec<Case> = run(&cases, JOBS, &python).into_iter().map(|(case, _)| case).collect();
    let complaints: Vec<String> =
        run(&again, JOBS_AGAIN, &python).into_iter().map(|(_, complaint)| complaint).collect();
    assert!(complaints.is_empty(), "{} differ:\n{}", complaints.len(), complaints.join("\n"));
}

/// Runs the cases, `jobs` at a time, and returns those with an unexpected outcome.
fn run(cases: &[Case], jobs: usize, python: &Python) -> Vec<(Case, String)> {
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Runs outside of the lock, because a case takes seconds.
                    let complaint = case.complaint(python);
                    complaints.lock().unwrap().extend(complaint.map(|text| (*case, text)));
                }
            });
        }
    });
    complaints.into_inner().unwrap()
}
