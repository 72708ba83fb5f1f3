//! A test with real processes, in real time.

#![expect(clippy::disallowed_methods, reason = "this is the real-time driver")]

mod data_dir;
mod early_exit;
mod hints;
mod interrupt;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use maelstrom_core::NodeId;

pub use self::data_dir::left_behind;
pub use self::interrupt::{Interrupt, Signal};

use self::early_exit::EarlyExits;
use crate::excerpt::log_line;
use crate::process::{ProcessEvent, ProcessOptions, Processes, UNREAD_BYTES_MAX};
use crate::report::Progress;
use crate::test::Test;
use crate::world::{Action, Disturbance, Failure, World};

/// The longest delay until the test notices a signal.
const SIGNAL_LATENCY: Duration = Duration::from_millis(50);

/// Advice for a node whose program has exited while a child of it still runs.
const EXEC_ADVICE: &str =
    "Does a wrapper script start the node in the background? Then start the node with `exec`.";

/// How much each node adds to the time in which all nodes join. Maelstrom takes 1 ms or more, but
/// also some milliseconds to start a process. Here a process starts sooner.
const JOIN_TIME_PER_NODE: Duration = Duration::from_micros(250);

/// How many lines of its stderr to show for a node that failed.
const STDERR_LINES: usize = 32;

/// The error of a test that ended early. The [`World`] beside it holds the history until then.
/// [`run`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The test failed. The message names the node at fault, the likely reason, and the last lines
    /// of the node's stderr.
    #[error("{failure}{context}")]
    Failed {
        /// The cause.
        failure: Failure,
        /// The likely reason, and the end of the node's stderr, each on its own lines.
        context: String,
    },
    /// A node could not be started, or the nemesis could not pause, resume or restart one.
    #[error("{0}")]
    Disturbance(String),
    /// A signal ended the test.
    #[error("interrupted by {}", .0.name())]
    Interrupted(Signal),
}

/// Runs a test to its end, and returns its world. Adds a [`RunError`] if the test ended early.
///
/// ```no_run
/// use maelstrom_sim::process::ProcessOptions;
/// use maelstrom_sim::report::Progress;
/// use maelstrom_sim::{Test, options::Options, run, workload::Echo, world};
///
/// let test = Test::new(Echo::default(), Options::default());
/// let mut progress = Progress::new(world::expected_length(&test));
/// let (bin, log_dir) = ("target/release/echo".into(), "node-logs".into());
/// let options = ProcessOptions { bin, args: Vec::new(), log_dir, log_stderr: true };
/// let (world, outcome) = run::run(test, &options, &mut progress)?;
/// outcome?;
/// world.assert_valid();
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
///
/// If the program, or the first node, cannot be started. [`RunError`] if a later one cannot.
pub fn run(
    test: Test,
    process_options: &ProcessOptions,
    progress: &mut Progress,
) -> anyhow::Result<(World, Result<(), RunError>)> {
    run_until(test, process_options, progress, &Interrupt::never())
}

/// Like [`run`], but a signal can end the test early. [`run`] shows how to call it.
///
/// # Errors
///
/// As [`run`].
pub fn run_until(
    mut test: Test,
    process_options: &ProcessOptions,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> anyhow::Result<(World, Result<(), RunError>)> {
    let mut processes = Processes::prepare(process_options)?;
    let nodes = u32::try_from(test.options.nodes.len()).unwrap_or(u32::MAX);
    test.options.join_time = JOIN_TIME_PER_NODE.saturating_mul(nodes);
    let clock = RealTime::new();
    let mut world = World::new(test, clock.now());
    // A program that does not start is an error before anything else happens.
    if let Some(first) = world.next_to_join() {
        processes.begin(first)?;
    }
    let mut outcome = drive(&mut world, &mut processes, (&clock, progress), interrupt);
    progress.finish();
    if outcome.is_ok() {
        check_exits(&mut world, &mut processes);
    }
    processes.stop();
    if let (Ok(()), Some(failure)) = (&outcome, world.failure()) {
        let context = context(failure, &world, &processes);
        outcome = Err(RunError::Failed { failure: failure.clone(), context });
    }
    Ok((world, outcome))
}

/// Drives the world according to its contract until the test is over.
fn drive(
    world: &mut World,
    processes: &mut Processes,
    (clock, progress): (&RealTime, &mut Progress),
    interrupt: &Interrupt,
) -> Result<(), RunError> {
    let mut early_exits = EarlyExits::default();
    loop {
        while let Some(action) = world.poll_action() {
            match action {
                Action::Tell(news) => progress.tell(clock.now(), &news),
                Action::Disturb(disturbance) => disturb(world, processes, &disturbance)
                    .map_err(|error| RunError::Disturbance(format!("{error:#}")))?,
                Action::Deliver { node, line } => {
                    // The first line is `init`. As in Maelstrom, the process starts when its node
                    // joins. So the others join while an interpreter starts.
                    processes
                        .begin(&node)
                        .map_err(|error| RunError::Disturbance(format!("{error:#}")))?;
                    if !processes.deliver(&node, line) {
                        world.node_flooded(&node, UNREAD_BYTES_MAX);
                    }
                }
            }
        }
        if let Some(signal) = interrupt.received() {
            return Err(RunError::Interrupted(signal));
        }
        if world.is_done() {
            return Ok(());
        }
        let now = clock.now();
        progress.update(now, world.history().tally());
        let due = world.poll_timeout(now).map(|at| at.saturating_sub(now));
        let patience = progress.interval().min(SIGNAL_LATENCY);
        match processes.next_event(due.unwrap_or(patience).min(patience)) {
            Some(ProcessEvent::Line(node, line)) => world.node_said(clock.now(), &node, &line),
            Some(ProcessEvent::Closed(node)) => match processes.exit_status(&node) {
                Some(status) => {
                    world.node_gone(&node, format!("exited by itself ({status})"));
                }
                None => world.node_closed(clock.now(), &node),
            },
            None => world.handle_timeout(clock.now()),
        }
        early_exits.check(clock.now(), world, processes);
    }
}

/// Fails the test if a node has exited and its stdout did not report that: another process holds
/// stdout open, or the node closed it long before. Maelstrom also checks this at the end of a test.
fn check_exits(world: &mut World, processes: &mut Processes) {
    let Some((node, status)) = processes.exited() else {
        return;
    };
    let mut why = format!("exited by itself ({status})");
    if !world.muted().contains_key(&node) {
        why.push_str(" before the end of the test. ");
        why.push_str(EXEC_ADVICE);
    }
    world.node_gone(&node, why);
}

/// The likely reason for a failure, and the end of the node's stderr.
fn context(failure: &Failure, world: &World, processes: &Processes) -> String {
    let hint = hints::of(failure, world, processes);
    let separator = if hint.is_empty() { "" } else { "\n" };
    format!("{separator}{hint}{}", stderr_of(processes, failure.node()))
}

fn disturb(
    world: &mut World,
    processes: &mut Processes,
    disturbance: &Disturbance,
) -> anyhow::Result<()> {
    match disturbance {
        Disturbance::Pause(node) => processes.pause(node),
        Disturbance::Resume(node) => processes.resume(node),
        Disturbance::Crash(node) => {
            processes.kill(node);
            Ok(())
        }
        Disturbance::Restart(node) => {
            if !processes.restart(node)? {
                world.node_flooded(node, UNREAD_BYTES_MAX);
            }
            Ok(())
        }
        Disturbance::Clock(..) | Disturbance::Drift(..) => {
            anyhow::bail!("real processes share one clock")
        }
        Disturbance::SlowDisk(..) | Disturbance::StallDisk(..) | Disturbance::FailDisk(..) => {
            anyhow::bail!("the disk of real processes works")
        }
        Disturbance::Restore(..) => anyhow::bail!("the folders of real processes stay as they are"),
    }
}

/// The end of a node's stderr on separate lines, without backtraces.
fn stderr_of(processes: &Processes, node: &NodeId) -> String {
    let lines = without_backtraces(processes.stderr_tail(node));
    if lines.is_empty() {
        return format!("\n{node} wrote nothing to stderr.");
    }
    let mut text = format!("\nThe end of {node}'s stderr:");
    for line in lines.iter().skip(lines.len().saturating_sub(STDERR_LINES)) {
        write!(text, "\n    {}", log_line(line)).ok();
    }
    text
}

/// Removes the frames of Rust's backtraces, which are indented.
fn without_backtraces(mut lines: Vec<String>) -> Vec<String> {
    let mut in_backtrace = false;
    lines.retain(|line| {
        in_backtrace &= line.starts_with(' ');
        let keep = !in_backtrace;
        in_backtrace |= line.to_ascii_lowercase().starts_with("stack backtrace:");
        keep
    });
    lines
}

/// The time since the test began.
struct RealTime(Instant);

impl RealTime {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_does_not_hide_the_error_before_it() {
        let stderr = "Error: no room\n\nStack backtrace:\n   0: main\n       at main.rs:1\nbye";
        let lines = without_backtraces(stderr.lines().map(str::to_owned).collect());
        assert_eq!(lines.join("\n"), "Error: no room\n\nStack backtrace:\nbye");
    }
}
