//! Detects programs that exit before their node answers `init`, although their stdout stays open.
//!
//! Usually the end of stdout shows that a node has exited. But if the program has started a child,
//! the child may hold stdout open. In that case Maelstrom waits for `init` in vain, or fails the
//! test at its end.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::NodeId;

use super::EXEC_ADVICE;
use crate::process::Processes;
use crate::world::World;

/// After an exit, the pipe may still hold an answer. This is how long the answer may take.
const PIPE_PATIENCE: Duration = Duration::from_secs(1);

/// The programs that have exited so far, each with the time when the exit was noticed.
#[derive(Debug, Default)]
pub(super) struct EarlyExits(BTreeMap<NodeId, Duration>);

impl EarlyExits {
    /// Fails the test if a program has exited and its node has not answered `init` within
    /// [`PIPE_PATIENCE`].
    pub(super) fn check(&mut self, now: Duration, world: &mut World, processes: &mut Processes) {
        for node in world.awaiting_init() {
            if !processes.has_exited(&node) {
                continue;
            }
            let seen = *self.0.entry(node.clone()).or_insert(now);
            if now.saturating_sub(seen) < PIPE_PATIENCE {
                continue;
            }
            if let Some(status) = processes.exit_status(&node) {
                let mut why = format!("exited by itself ({status}) before it answered `init`");
                if !world.muted().contains_key(&node) {
                    why.push_str(", and a child of it still holds its stdout. ");
                    why.push_str(EXEC_ADVICE);
                }
                world.node_gone(&node, why);
            }
        }
    }
}
