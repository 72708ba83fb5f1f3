//! Tests real processes as other people write them: wrapper scripts, programs that do not start,
//! nodes that print nothing or too much, and tests that end early.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "it tests processes")]

mod command_line;
mod folders;
mod groups;
mod joining;
mod signals;
mod silence;
mod starts;
mod storms;
mod texts;
mod verdicts;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const NODE: &str = env!("CARGO_BIN_EXE_broken-node");

/// A folder for one test, with the scripts that act as nodes.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Creates an executable file with this content.
    fn script(&self, text: &str) -> PathBuf {
        let path = self.path("node");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// The command, run in this folder. `args` are arguments of `test`.
    fn command(&self, bin: &Path, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-sim"));
        command.current_dir(&self.0).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.arg("test").arg("--bin").arg(bin).args(args.split_whitespace());
        command
    }

    fn start(&self, bin: &Path, args: &str) -> Child {
        self.command(bin, args).spawn().unwrap()
    }

    fn run(&self, bin: &Path, args: &str) -> Finished {
        Finished(self.command(bin, args).output().unwrap())
    }
}

/// A finished test.
struct Finished(Output);

impl Finished {
    fn of(child: Child) -> Self {
        Self(child.wait_with_output().unwrap())
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    /// Asserts that the test crashed without a verdict. Returns its stderr.
    #[track_caller]
    fn crashed(&self) -> String {
        assert_eq!(self.code(), Some(255), "{}", self.stderr());
        assert!(self.0.stdout.is_empty(), "there is no verdict");
        self.stderr()
    }
}

/// Waits until `is_so` returns true. Fails after 10 s.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The ids of the running processes whose command line contains `text`.
fn alive(text: &str) -> Vec<i32> {
    let output = Command::new("ps").args(["-axo", "pid=,stat=,args="]).output().unwrap();
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_alive = |line: &&str| {
        line.contains(text) && !line.split_whitespace().nth(1).is_some_and(|s| s.starts_with('Z'))
    };
    let ids = listing.lines().filter(is_alive).filter_map(|line| line.split_whitespace().next());
    ids.map(|id| id.parse().unwrap()).collect()
}
