//! How to run a seed again, and the watchdog for a seed that does not end.

#![expect(clippy::disallowed_methods, reason = "it reads the environment, and a thread watches")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::tell;
use crate::simulate::Running;

/// The current test, and so the way to run a seed again.
#[derive(Debug)]
pub(super) struct Replay {
    package: Option<String>,
    test: Option<String>,
    /// The cargo flag for the program, such as ` --example raft`.
    target: String,
}

impl Replay {
    /// Reads the environment and the name of this thread, which cargo and its test harness set.
    pub(super) fn here() -> Self {
        let thread = std::thread::current();
        let test = thread.name().filter(|name| *name != "main").map(ToOwned::to_owned);
        let package = std::env::var("CARGO_PKG_NAME").ok();
        let program = std::env::current_exe().ok();
        let target = program.and_then(|program| target(&program, package.as_deref()));
        Self { package, test, target: target.unwrap_or_default() }
    }

    /// Describes how to run something again. `what` is an environment variable with its value.
    pub(super) fn again(&self, what: &str) -> String {
        format!("Again, with all logs: {}", self.command(what))
    }

    /// A shell command that works anywhere in the workspace.
    pub(super) fn command(&self, what: &str) -> String {
        let package = self.package.as_ref().map(|name| format!(" -p {name}")).unwrap_or_default();
        let test = self.test.as_ref().map(|name| format!(" {name} -- --exact"));
        let test = test.unwrap_or_else(|| " (the test that prints this)".into());
        format!("{what} RUST_LOG=debug cargo test{package}{}{test}", self.target)
    }
}

/// The cargo flag for a test program. The programs of examples lie in a folder `examples`; those of
/// `tests/` lie beside that of the library. A hash follows the name.
fn target(program: &Path, package: Option<&str>) -> Option<String> {
    let name = program.file_stem()?.to_str()?.rsplit_once('-')?.0;
    let folder = program.parent()?.file_name()?;
    if folder == "examples" {
        return Some(format!(" --example {name}"));
    }
    let is_library = package.is_some_and(|package| package.replace('-', "_") == name);
    (folder == "deps" && !is_library).then(|| format!(" --test {name}"))
}

/// Ends the process with a finding on stderr if a seed does not end, because no thread can end
/// another one. Dropping the watchdog ends the watch.
pub(super) struct Watchdog {
    pub(super) running: Arc<Running>,
    _seed_ends: SyncSender<()>,
}

impl Watchdog {
    /// Starts the watch. After `patience`, prints a line with `seed` and the running handler, and
    /// then the text that `rest` returns.
    pub(super) fn begin(
        patience: Duration,
        seed: String,
        rest: impl FnOnce() -> String + Send + 'static,
    ) -> Self {
        let running = Arc::<Running>::default();
        let (seed_ends, watch) = std::sync::mpsc::sync_channel(1);
        let seen = Arc::clone(&running);
        std::thread::spawn(move || {
            // Second by second, so that the time in which the process is suspended hardly counts.
            let mut left = patience;
            while !left.is_zero() {
                let second = left.min(Duration::from_secs(1));
                if watch.recv_timeout(second) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                left = left.saturating_sub(second);
            }
            let cause = match seen.get() {
                Some((node, at)) => format!("the handler of {node}, called after {at:?},"),
                None => "the simulator or a checker".to_owned(),
            };
            tell(&format!("{seed}: {cause} has not returned for {patience:?}\n{}", rest()));
            std::process::exit(101);
        });
        Self { running, _seed_ends: seed_ends }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_for_a_program_follows_from_where_it_lies() {
        let flag = |program: &str| target(Path::new(program), Some("kafka-log"));
        for (program, expected) in [
            ("/x/target/debug/examples/raft-0a1b", Some(" --example raft")),
            ("/x/target/debug/deps/simulation-0a1b", Some(" --test simulation")),
            ("/x/target/debug/deps/kafka_log-0a1b", None),
            ("/x/bin/checker", None),
        ] {
            assert_eq!(flag(program).as_deref(), expected, "{program}");
        }
    }
}
