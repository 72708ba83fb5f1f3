//! Real nodes: processes that speak over pipes.
//!
//! Each process has three threads of ours (`pipes`) and leads a process group of its own
//! (`group`), which gets all signals. Lines that nodes print pass through one queue (`events`).
//!
//! # Invariants
//!
//! * A line that a process printed before it was killed counts until its node is started anew. A
//!   line that arrives later does not count. Each life has a number for that.
//! * Nothing that was started is left running when [`Processes`] is dropped, except what has left
//!   its process group. [`kill_all`] and [`kill_all_on_panic`] are for an end without order.

#![expect(clippy::disallowed_methods, reason = "this is the real-time driver")]

mod events;
mod group;
mod life;
mod pipes;
mod program;
mod shebang;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use maelstrom_core::NodeId;

pub use self::group::{kill_all, kill_all_on_panic};
pub use self::pipes::Printed;
pub(crate) use self::pipes::cost;
pub use self::program::StartError;

use self::events::{Receiver, Said, Sender};
use self::life::Life;
use self::program::Program;

/// How much may wait for a node that does not read its input, in bytes of memory.
pub const UNREAD_BYTES_MAX: usize = 256 << 20;

/// How long a node that has closed its stdout may take to exit.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// The program that runs a node, and where its stderr goes.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// The program.
    pub bin: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where each node's stderr goes, as `<node>.log`.
    pub log_dir: PathBuf,
    /// Whether it is shown as well.
    pub log_stderr: bool,
}

/// An event of a node.
#[derive(Debug)]
pub enum ProcessEvent {
    /// It printed a line, in this life or just before it was killed.
    Line(NodeId, Vec<u8>),
    /// It closed its stdout, most likely because it is gone.
    Closed(NodeId),
}

/// The nodes of a test. Dropping them ends them.
#[derive(Debug)]
pub struct Processes {
    program: Program,
    options: ProcessOptions,
    nodes: BTreeMap<NodeId, Life>,
    /// Lines that were sent to dead nodes, and their size in bytes.
    waiting: BTreeMap<NodeId, (Vec<Vec<u8>>, usize)>,
    lives: u64,
    sender: Sender,
    events: Receiver,
}

impl Processes {
    /// Starts a process for each node.
    ///
    /// # Errors
    ///
    /// If the program cannot be started ([`StartError`]), or a log file not be created.
    pub fn start(options: &ProcessOptions, nodes: &[NodeId]) -> anyhow::Result<Self> {
        let program = Program::find(&options.bin, &options.args)?;
        let log_dir = &options.log_dir;
        std::fs::create_dir_all(log_dir)
            .with_context(|| format!("cannot create {}", log_dir.display()))?;
        let (sender, events) = events::queue();
        let options = options.clone();
        let (nodes_alive, waiting) = (BTreeMap::new(), BTreeMap::new());
        let mut processes =
            Self { program, options, nodes: nodes_alive, waiting, lives: 0, sender, events };
        for id in nodes {
            let log = processes.options.log_dir.join(format!("{id}.log"));
            let file =
                File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
            processes.begin_life(id, file)?;
        }
        Ok(processes)
    }

    fn begin_life(&mut self, id: &NodeId, log: File) -> Result<(), StartError> {
        self.lives += 1;
        let Self { program, options, lives, sender, .. } = self;
        let life = Life::begin(program, id, (*lives, sender), log, options.log_stderr)?;
        self.nodes.insert(id.clone(), life);
        Ok(())
    }

    /// Ends a node at once (SIGKILL), and with it what its pipe holds.
    pub fn kill(&mut self, node: &NodeId) {
        if let Some(life) = self.nodes.get_mut(node) {
            life.is_killed = true;
            life.end();
        }
    }

    /// Starts a node anew that was [killed](Self::kill). As with Maelstrom, it
    /// first gets the lines that were sent to it meanwhile. `false`: they are more than
    /// [`UNREAD_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// If that is not possible any more.
    pub fn restart(&mut self, node: &NodeId) -> anyhow::Result<bool> {
        let log = self.options.log_dir.join(format!("{node}.log"));
        let file = File::options().append(true).create(true).open(&log);
        let mut file = file.with_context(|| format!("cannot open {}", log.display()))?;
        writeln!(file, "-- killed and started again --")?;
        self.begin_life(node, file)?;
        let (lines, _) = self.waiting.remove(node).unwrap_or_default();
        // The rest of what is too much stays behind: the test fails.
        Ok(lines.into_iter().all(|line| self.deliver(node, line)))
    }

    /// Stops a node until it is [resumed](Self::resume): what it is sent waits.
    ///
    /// # Errors
    ///
    /// If the system cannot do that.
    pub fn pause(&mut self, node: &NodeId) -> anyhow::Result<()> {
        self.set_paused(node, true)
    }

    /// Lets a node go on.
    ///
    /// # Errors
    ///
    /// If the system cannot do that.
    pub fn resume(&mut self, node: &NodeId) -> anyhow::Result<()> {
        self.set_paused(node, false)
    }

    fn set_paused(&self, node: &NodeId, is_paused: bool) -> anyhow::Result<()> {
        let set = self.nodes.get(node).map_or(Ok(()), |life| life.set_paused(is_paused));
        let what = if is_paused { "pause" } else { "resume" };
        set.with_context(|| format!("cannot {what} {node}"))
    }

    /// Writes a line to a node. `false`: it has not read its input for so long that
    /// [`UNREAD_BYTES_MAX`] is reached.
    pub fn deliver(&mut self, node: &NodeId, line: Vec<u8>) -> bool {
        let bytes = match self.nodes.get(node) {
            None => return true,
            Some(life) if !life.is_killed => life.deliver(line),
            Some(_) => {
                let (lines, bytes) = self.waiting.entry(node.clone()).or_default();
                *bytes += cost(&line);
                lines.push(line);
                *bytes
            }
        };
        bytes <= UNREAD_BYTES_MAX
    }

    /// The next event of a node, if one comes before `timeout` is over.
    pub fn next_event(&self, timeout: Duration) -> Option<ProcessEvent> {
        let Said { node, life: number, line } = self.events.next(timeout)?;
        let life = self.nodes.get(&node).filter(|life| life.number == number)?;
        match line {
            Some(line) => Some(ProcessEvent::Line(node, line)),
            None => (!life.is_killed).then_some(ProcessEvent::Closed(node)),
        }
    }

    /// How a node that closed its stdout exited. `None`: it is still there.
    pub fn exit_status(&mut self, node: &NodeId) -> Option<ExitStatus> {
        let life = self.nodes.get_mut(node)?;
        let status = life.wait(EXIT_PATIENCE)?;
        life.end();
        Some(status)
    }

    /// Whether the process of a node has exited although nobody killed it. Kills nothing, unlike
    /// [`exited`](Self::exited).
    pub fn has_exited(&mut self, node: &NodeId) -> bool {
        let life = self.nodes.get_mut(node).filter(|life| !life.is_killed);
        life.is_some_and(Life::has_exited)
    }

    /// The first node whose process has exited although nobody killed it, and how it exited. Unlike
    /// [`ProcessEvent::Closed`], this also finds a process whose stdout another process holds open.
    /// Kills the rest of that node's process group.
    pub fn exited(&mut self) -> Option<(NodeId, ExitStatus)> {
        let mut alive = self.nodes.iter_mut().filter(|(_, life)| !life.is_killed);
        alive.find_map(|(node, life)| Some((node.clone(), life.wait(Duration::ZERO)?)))
    }

    /// How much a node has printed in its present life.
    #[must_use]
    pub fn printed(&self, node: &NodeId) -> Option<Printed> {
        self.nodes.get(node).map(Life::printed)
    }

    /// Whether the program is a script whose first line ends in a carriage return.
    #[must_use]
    pub fn has_carriage_return(&self) -> bool {
        self.program.has_carriage_return()
    }

    /// The program that `env` cannot find, where the nodes' program is a script whose first line
    /// asks `env` for one.
    #[must_use]
    pub fn missing_to_env(&self) -> Option<String> {
        self.program.missing_to_env()
    }

    /// The end of a node's stderr.
    #[must_use]
    pub fn stderr_tail(&self, node: &NodeId) -> Vec<String> {
        self.nodes.get(node).map(Life::stderr_tail).unwrap_or_default()
    }

    /// Kills all nodes, as Maelstrom does at the end of a test, and waits for their logs.
    pub fn stop(&mut self) {
        self.nodes.values_mut().for_each(Life::kill);
        self.nodes.values_mut().for_each(Life::end);
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.stop();
    }
}
