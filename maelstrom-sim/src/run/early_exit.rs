//! Nodes whose program exits before they answer `init`, although their stdout stays open.
//!
//! The end of stdout usually tells that a node is gone. It does not come if the program has started a
//! child, which holds the stdout. Maelstrom waits for `init` in vain then, or fails the test at its
//! end.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::NodeId;

use super::EXEC_ADVICE;
use crate::process::Processes;
use crate::world::World;

/// How long an answer may take that the pipe holds when the program exits.
const PIPE_PATIENCE: Duration = Duration::from_secs(1);

/// The programs that have exited so far, with the times at which that was seen.
#[derive(Debug, Default)]
pub(super) struct EarlyExits(BTreeMap<NodeId, Duration>);

impl EarlyExits {
    /// Fails the test if a program exited a moment ago, and its node has not answered `init` since.
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
