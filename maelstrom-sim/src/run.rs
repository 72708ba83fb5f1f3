//! A test with real processes, in real time.

#![expect(clippy::disallowed_methods, reason = "this is the real-time driver")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use maelstrom_core::NodeId;

use crate::options::Options;
use crate::process::{ProcessEvent, ProcessOptions, Processes};
use crate::report::Progress;
use crate::world::{Action, Disturbance, Failure, World};

/// The test could not be carried out. Says which node is to blame, and how its stderr ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure}{stderr}")]
pub struct RunError {
    /// What went wrong.
    pub failure: Failure,
    stderr: String,
}

/// Runs a test to its end, and returns what happened, with a [`RunError`] if it ended before its time
/// because a node is gone, or cannot even be set up.
///
/// # Errors
///
/// If the program cannot be started, or not be paused.
pub fn run(
    options: Options,
    process_options: &ProcessOptions,
    progress: &mut Progress,
) -> anyhow::Result<(World, Result<(), RunError>)> {
    let mut processes = Processes::start(process_options, &options.nodes)?;
    let clock = RealTime::new();
    let mut world = World::new(options, clock.now());
    loop {
        while let Some(action) = world.poll_action() {
            match action {
                Action::Tell(news) => progress.tell(clock.now(), &news),
                Action::Disturb(disturbance) => {
                    disturb(&mut processes, &disturbance)?;
                }
                Action::Deliver { node, line } => {
                    if !processes.deliver(&node, line) {
                        world.node_gone(&node, "does not read its input".into());
                    }
                }
            }
        }
        if world.is_done() {
            break;
        }
        let now = clock.now();
        progress.update(now, world.history().tally());
        let due = world.poll_timeout(now).map(|at| at.saturating_sub(now));
        let event =
            processes.next_event(due.unwrap_or(progress.interval()).min(progress.interval()));
        match event {
            Some(ProcessEvent::Line(node, line)) => world.node_said(clock.now(), &node, &line),
            Some(ProcessEvent::Closed(node)) => {
                let obituary = processes.obituary(&node);
                world.node_gone(&node, obituary);
            }
            None => world.handle_timeout(clock.now()),
        }
    }
    progress.finish();
    processes.stop();
    let outcome = match world.failure() {
        None => Ok(()),
        Some(failure) => {
            let stderr = stderr_of(&processes, failure.node());
            Err(RunError { failure: failure.clone(), stderr })
        }
    };
    Ok((world, outcome))
}

fn disturb(processes: &mut Processes, disturbance: &Disturbance) -> anyhow::Result<()> {
    match disturbance {
        Disturbance::Pause(node) => processes.pause(node),
        Disturbance::Resume(node) => processes.resume(node),
        Disturbance::Crash(node) => {
            processes.kill(node);
            Ok(())
        }
        Disturbance::Restart(node) => processes.restart(node),
        Disturbance::Clock(..) => anyhow::bail!("real processes share one clock"),
    }
}

fn stderr_of(processes: &Processes, node: &NodeId) -> String {
    let lines = processes.stderr_tail(node);
    if lines.is_empty() {
        return format!("\n{node} wrote nothing to stderr.");
    }
    let mut text = format!("\nThe end of {node}'s stderr:");
    for line in lines {
        write!(text, "\n    {line}").ok();
    }
    text
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
