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

/// How soon a signal is seen.
const SIGNAL_LATENCY: Duration = Duration::from_millis(50);

/// Advice where the program of a node has exited and a child of it lives.
const EXEC_ADVICE: &str =
    "Does a wrapper script start the node in the background? Then start the node with `exec`.";

/// How many lines of its stderr are shown when a node is in trouble.
const STDERR_LINES: usize = 32;

/// The test ended before its time. The [`World`] beside it holds the history until then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It could not be carried out. Says which node is to blame, the likely reason, and how the
    /// node's stderr ends.
    #[error("{failure}{context}")]
    Failed {
        /// The cause.
        failure: Failure,
        /// The likely reason, and the end of the node's stderr: each in lines of its own.
        context: String,
    },
    /// The nemesis could not pause, resume or restart a node.
    #[error("{0}")]
    Disturbance(String),
    /// A signal ended it.
    #[error("interrupted by {}", .0.name())]
    Interrupted(Signal),
}

/// Runs a test to its end, and returns what happened, with a [`RunError`] if it ended before its
/// time.
///
/// # Errors
///
/// If the program cannot be started.
pub fn run(
    test: Test,
    process_options: &ProcessOptions,
    progress: &mut Progress,
) -> anyhow::Result<(World, Result<(), RunError>)> {
    run_until(test, process_options, progress, &Interrupt::never())
}

/// The same, until a signal ends the test.
///
/// # Errors
///
/// As [`run`].
pub fn run_until(
    test: Test,
    process_options: &ProcessOptions,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> anyhow::Result<(World, Result<(), RunError>)> {
    let mut processes = Processes::start(process_options, &test.options.nodes)?;
    let clock = RealTime::new();
    let mut world = World::new(test, clock.now());
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

/// Carries out the world's contract until the test is over.
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

/// Fails the test if a node has exited by itself without its stdout having told so: another process
/// holds it open, or the node closed it long before. Maelstrom, too, looks when the test is over.
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

/// Details of a failure: the likely reason, and the end of the node's stderr.
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
        Disturbance::Clock(..) => anyhow::bail!("real processes share one clock"),
        Disturbance::Restore(..) => anyhow::bail!("the folders of real processes stay as they are"),
    }
}

/// The end of a node's stderr, in lines of their own, without backtraces.
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

/// Leaves out the frames of Rust's backtraces, which are indented.
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
