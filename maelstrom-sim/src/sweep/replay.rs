//! How to run a seed again, and the watch over a seed that does not end.

#![expect(clippy::disallowed_methods, reason = "it reads the environment, and a thread watches")]

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::tell;
use crate::simulate::Running;

/// How to run a seed again: the test that runs now, if it is one.
#[derive(Debug)]
pub(super) struct Replay {
    package: Option<String>,
    test: Option<String>,
}

impl Replay {
    /// Reads the environment and the name of this thread: cargo and its test harness set them.
    pub(super) fn here() -> Self {
        let thread = std::thread::current();
        let test = thread.name().filter(|name| *name != "main").map(ToOwned::to_owned);
        Self { package: std::env::var("CARGO_PKG_NAME").ok(), test }
    }

    /// How to run something again, in words: `what` is a variable of the environment and its value.
    pub(super) fn again(&self, what: &str) -> String {
        format!("Again, with all logs: {}", self.command(what))
    }

    /// A command for a shell, anywhere in the workspace.
    fn command(&self, what: &str) -> String {
        let package = self.package.as_ref().map(|name| format!(" -p {name}")).unwrap_or_default();
        let test = self.test.as_ref().map(|name| format!(" {name} -- --exact"));
        let test = test.unwrap_or_else(|| " (the test that prints this)".into());
        format!("{what} RUST_LOG=debug cargo test{package}{test}")
    }
}

/// Ends the process, with a finding on stderr, if a seed does not end: no thread can end another one.
/// Dropping it ends the watch.
pub(super) struct Watchdog {
    pub(super) running: Arc<Running>,
    _seed_ends: SyncSender<()>,
}

impl Watchdog {
    /// Begins to watch. After `patience`, a line names `seed` and the handler that runs; `rest` makes
    /// what follows it.
    pub(super) fn begin(
        patience: Duration,
        seed: String,
        rest: impl FnOnce() -> String + Send + 'static,
    ) -> Self {
        let running = Arc::<Running>::default();
        let (seed_ends, watch) = std::sync::mpsc::sync_channel(1);
        let seen = Arc::clone(&running);
        std::thread::spawn(move || {
            if watch.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let cause = match seen.get() {
                    Some((node, at)) => format!("the handler of {node}, called after {at:?},"),
                    None => "the simulator or a checker".to_owned(),
                };
                tell(&format!("{seed}: {cause} has not returned for {patience:?}\n{}", rest()));
                std::process::exit(101);
            }
        });
        Self { running, _seed_ends: seed_ends }
    }
}
