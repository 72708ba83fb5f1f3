//! The subcommand `replay`: runs a stored test again, with the same command and seed. A run in
//! virtual time needs the handlers of its crate, so the command for its test is printed instead.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::BAD_ARGUMENTS;
use crate::store::{COMMAND, REPLAY};

#[derive(Args, Debug)]
pub(super) struct ReplayArgs {
    /// The folder of the run. Without it: the run that began last, store/current, also if it
    /// crashed or a signal ended it; store/latest if there is no store/current. For a run of a
    /// sweep (in store/simulation/ or store/shrunk/), this prints the command that runs it again,
    /// and exits with 254.
    dir: Option<PathBuf>,
}

impl ReplayArgs {
    fn dir(&self) -> &Path {
        let current = Path::new("store/current");
        let last = if current.exists() { current } else { Path::new("store/latest") };
        self.dir.as_deref().unwrap_or(last)
    }
}

/// The command that started a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Command {
    /// The folder in which it was started.
    folder: PathBuf,
    /// Its arguments, including the seed.
    args: Vec<String>,
}

impl Command {
    /// The command with these arguments, for a single test with this seed. `None`: a part of it is
    /// not UTF-8, so JSON cannot hold it.
    pub(super) fn new(args: &[OsString], seed: u64) -> Option<Self> {
        let args = args.iter().map(|arg| Some(arg.to_str()?.to_owned()));
        let mut args = args.collect::<Option<Vec<String>>>()?;
        let folder = std::env::current_dir().ok()?;
        folder.to_str()?;
        // The arguments of the node follow a `--`.
        let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        let node_args = args.split_off(end);
        let args = without(args, &["--test-count", "--seed"]).into_iter();
        let once = ["--test-count", "1", "--seed"].map(ToOwned::to_owned).into_iter();
        let args = args.chain(once).chain([seed.to_string()]).chain(node_args).collect();
        Some(Self { folder, args })
    }

    /// The command as a line for a shell.
    pub(super) fn for_shell(&self) -> String {
        let quoted = |arg: &String| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
            let plain = !arg.is_empty() && arg.chars().all(is_plain);
            if plain { arg.clone() } else { format!("'{}'", arg.replace('\'', r"'\''")) }
        };
        self.args.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(fs::write(folder.join(COMMAND), text + "\n")?)
    }
}

/// How to replay a run.
#[derive(Debug)]
pub(super) enum Prepared {
    /// Run this command with these arguments.
    Here(Vec<OsString>),
    /// Only the test program of a crate can replay it. This shell command runs that.
    Elsewhere(String),
}

/// Prepares the replay of a stored run. For a run with real processes, changes to the folder in
/// which it was started, and returns its arguments. For a run in virtual time, returns the command
/// of its test.
pub(super) fn prepare(args: &ReplayArgs) -> anyhow::Result<Prepared> {
    let dir = args.dir();
    let path = dir.join(COMMAND);
    if !path.exists()
        && let Ok(command) = fs::read_to_string(dir.join(REPLAY))
    {
        return Ok(Prepared::Elsewhere(command.trim_end().to_owned()));
    }
    let text = fs::read_to_string(&path).with_context(|| {
        let dir = dir.display();
        format!("cannot replay {dir}: there is no {COMMAND} of a test and no {REPLAY} of a sweep")
    })?;
    let command: Command =
        serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    std::env::set_current_dir(&command.folder)
        .with_context(|| format!("cannot go to {}", command.folder.display()))?;
    anyhow::ensure!(
        command.args.get(1).is_some_and(|name| name == "test"),
        "{} holds no test",
        path.display()
    );
    Ok(Prepared::Here(command.args.into_iter().map(OsString::from).collect()))
}

/// Prints the command for a run that this program cannot replay, alone on stdout.
pub(super) fn refuse(command: &str) -> ExitCode {
    let why = "error: this is a run of a sweep, with handlers of a crate, so only a test of that \
               crate can replay it. Run this command:";
    writeln!(std::io::stderr(), "{why}").ok();
    writeln!(std::io::stdout(), "{command}").ok();
    ExitCode::from(BAD_ARGUMENTS)
}

/// The arguments without these flags and their values.
fn without(args: Vec<String>, flags: &[&str]) -> Vec<String> {
    let mut args = args.into_iter();
    let mut kept = Vec::new();
    while let Some(arg) = args.next() {
        let (flag, value) = arg.split_once('=').map_or((&*arg, None), |(f, v)| (f, Some(v)));
        if !flags.contains(&flag) {
            kept.push(arg);
        } else if value.is_none() {
            // The next argument is the flag's value.
            args.next();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_for_a_shell_is_quoted() {
        let args = ["maelstrom-sim", "test", "--bin", "a b", "", "it's", "--rate=1,5"];
        let command = Command { folder: "/".into(), args: args.map(str::to_owned).to_vec() };
        assert_eq!(command.for_shell(), r"maelstrom-sim test --bin 'a b' '' 'it'\''s' --rate=1,5");
    }

    #[test]
    fn one_test_with_its_seed_is_run_again() {
        let args = ["x", "test", "--test-count", "9", "--rate=5", "--seed=1", "--", "--seed", "2"];
        let args = args.map(OsString::from);
        let command = Command::new(&args, 7).unwrap();
        let text = "x test --rate=5 --test-count 1 --seed 7 -- --seed 2";
        assert_eq!(command.for_shell(), text);
    }

    #[test]
    fn a_folder_without_a_command_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let args = ReplayArgs { dir: Some(folder.path().to_owned()) };
        let error = prepare(&args).unwrap_err().to_string();
        assert!(error.contains("there is no command.json"), "{error}");
    }

    #[test]
    fn a_run_of_a_sweep_names_the_command_of_its_test() {
        let folder = tempfile::tempdir().unwrap();
        let args = ReplayArgs { dir: Some(folder.path().to_owned()) };
        let command = "cd '/x' && SEED=3 cargo test sweep -- --exact";
        fs::write(folder.path().join(REPLAY), format!("{command}\n")).unwrap();
        match prepare(&args).unwrap() {
            Prepared::Elsewhere(text) => assert_eq!(text, command),
            Prepared::Here(args) => panic!("{args:?}"),
        }
    }
}
