//! Real nodes: processes that communicate over pipes.
//!
//! Three threads serve each process (`pipes`). Each process leads its own process group (`group`),
//! which receives all signals. All lines that nodes print pass through one queue (`events`).
//!
//! # Invariants
//!
//! * A line that a process printed before it was killed counts until its node starts again. A line
//!   that arrives later does not count. To tell them apart, each life of a node has a number.
//! * When [`Processes`] is dropped, no process keeps running, except one that has left its process
//!   group. [`kill_all`] and [`kill_all_on_panic`] are for an immediate end.

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

/// How many bytes of memory the unread input of a node may take.
pub const UNREAD_BYTES_MAX: usize = 256 << 20;

/// How long a node may take to exit after it closed its stdout.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// The program of the nodes, and the destination of their stderr.
///
/// ```
/// use maelstrom_sim::options::node_names;
/// use maelstrom_sim::process::{ProcessOptions, Processes, StartError};
///
/// let log_dir = tempfile::tempdir()?.path().join("node-logs");
/// let bin = "target/release/no-such-node".into();
/// let options = ProcessOptions { bin, args: Vec::new(), log_dir, log_stderr: false };
/// let error = Processes::start(&options, &node_names(3)).expect_err("there is no such program");
/// assert!(matches!(error.downcast_ref(), Some(StartError::Missing(_))));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`run`](crate::run::run) runs a test with such processes.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// The program.
    pub bin: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The folder for the stderr of each node, as `<node>.log`.
    pub log_dir: PathBuf,
    /// Whether to also print the stderr of the nodes.
    pub log_stderr: bool,
}

/// An event of a node. [`Processes::next_event`] returns it. [`Processes`] shows one.
#[derive(Debug)]
pub enum ProcessEvent {
    /// The node printed a line, in its current life or just before it was killed.
    Line(NodeId, Vec<u8>),
    /// The node closed its stdout, most likely because it exited.
    Closed(NodeId),
}

/// The nodes of a test. Dropping it kills them.
///
/// ```
/// # use std::time::Duration;
/// use maelstrom_sim::options::node_names;
/// use maelstrom_sim::process::{Printed, ProcessEvent, ProcessOptions, Processes};
///
/// # if cfg!(unix) {
/// # let folder = tempfile::tempdir()?;
/// # let log_dir = folder.path().join("node-logs");
/// let (bin, nodes) = ("/bin/cat".into(), node_names(1));
/// let options = ProcessOptions { bin, args: Vec::new(), log_dir, log_stderr: false };
/// let mut nodes_alive = Processes::start(&options, &nodes)?;
/// nodes_alive.deliver(&nodes[0], b"{}\n".to_vec());
/// let event = nodes_alive.next_event(Duration::from_secs(60));
/// assert!(matches!(event, Some(ProcessEvent::Line(_, line)) if line.starts_with(b"{}")));
/// assert!(matches!(nodes_alive.printed(&nodes[0]), Some(Printed { bytes: 3, lines: 1, .. })));
/// # }
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Processes {
    program: Program,
    options: ProcessOptions,
    nodes: BTreeMap<NodeId, Life>,
    /// Lines for killed nodes, and their size in bytes.
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
    /// If the program cannot be started ([`StartError`]), or a log file cannot be created.
    pub fn start(options: &ProcessOptions, nodes: &[NodeId]) -> anyhow::Result<Self> {
        let mut processes = Self::prepare(options)?;
        nodes.iter().try_for_each(|node| processes.begin(node))?;
        Ok(processes)
    }

    /// Finds the program and creates the folder for the logs. Starts no process.
    pub(crate) fn prepare(options: &ProcessOptions) -> anyhow::Result<Self> {
        let program = Program::find(&options.bin, &options.args)?;
        let log_dir = &options.log_dir;
        std::fs::create_dir_all(log_dir)
            .with_context(|| format!("cannot create {}", log_dir.display()))?;
        let (sender, events) = events::queue();
        let options = options.clone();
        let (nodes, waiting) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { program, options, nodes, waiting, lives: 0, sender, events })
    }

    /// Starts the first process of a node. A node that has one keeps it.
    pub(crate) fn begin(&mut self, node: &NodeId) -> anyhow::Result<()> {
        if self.nodes.contains_key(node) {
            return Ok(());
        }
        let log = self.options.log_dir.join(format!("{node}.log"));
        let file =
            File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        Ok(self.begin_life(node, file)?)
    }

    fn begin_life(&mut self, id: &NodeId, log: File) -> Result<(), StartError> {
        self.lives += 1;
        let Self { program, options, lives, sender, .. } = self;
        let life = Life::begin(program, id, (*lives, sender), log, options.log_stderr)?;
        self.nodes.insert(id.clone(), life);
        Ok(())
    }

    /// Kills a node at once (SIGKILL). Its unread input is lost.
    pub fn kill(&mut self, node: &NodeId) {
        if let Some(life) = self.nodes.get_mut(node) {
            life.is_killed = true;
            life.end();
        }
    }

    /// Starts a [killed](Self::kill) node again. As in Maelstrom, it first receives the lines that
    /// were sent to it in the meantime. `false`: they exceed [`UNREAD_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// If the node cannot be started again.
    pub fn restart(&mut self, node: &NodeId) -> anyhow::Result<bool> {
        let log = self.options.log_dir.join(format!("{node}.log"));
        let file = File::options().append(true).create(true).open(&log);
        let mut file = file.with_context(|| format!("cannot open {}", log.display()))?;
        writeln!(file, "-- killed and started again --")?;
        self.begin_life(node, file)?;
        let (lines, _) = self.waiting.remove(node).unwrap_or_default();
        // Drops the lines after the limit, because the test fails anyway.
        Ok(lines.into_iter().all(|line| self.deliver(node, line)))
    }

    /// Pauses a node until it is [resumed](Self::resume). Lines for it wait.
    ///
    /// # Errors
    ///
    /// If the system cannot pause it.
    pub fn pause(&mut self, node: &NodeId) -> anyhow::Result<()> {
        self.set_paused(node, true)
    }

    /// Resumes a paused node.
    ///
    /// # Errors
    ///
    /// If the system cannot resume it.
    pub fn resume(&mut self, node: &NodeId) -> anyhow::Result<()> {
        self.set_paused(node, false)
    }

    fn set_paused(&self, node: &NodeId, is_paused: bool) -> anyhow::Result<()> {
        let set = self.nodes.get(node).map_or(Ok(()), |life| life.set_paused(is_paused));
        let what = if is_paused { "pause" } else { "resume" };
        set.with_context(|| format!("cannot {what} {node}"))
    }

    /// Writes a line to a node. `false`: the node reads too slowly, and its unread input exceeds
    /// [`UNREAD_BYTES_MAX`].
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

    /// Takes the next event of a node. Waits for up to `timeout`.
    pub fn next_event(&self, timeout: Duration) -> Option<ProcessEvent> {
        let Said { node, life: number, line } = self.events.next(timeout)?;
        let life = self.nodes.get(&node).filter(|life| life.number == number)?;
        match line {
            Some(line) => Some(ProcessEvent::Line(node, line)),
            None => (!life.is_killed).then_some(ProcessEvent::Closed(node)),
        }
    }

    /// The exit status of a node that closed its stdout. `None`: it still runs.
    pub fn exit_status(&mut self, node: &NodeId) -> Option<ExitStatus> {
        let life = self.nodes.get_mut(node)?;
        let status = life.wait(EXIT_PATIENCE)?;
        life.end();
        Some(status)
    }

    /// Whether the process of a node exited without being killed. Kills nothing, unlike
    /// [`exited`](Self::exited).
    pub fn has_exited(&mut self, node: &NodeId) -> bool {
        let life = self.nodes.get_mut(node).filter(|life| !life.is_killed);
        life.is_some_and(Life::has_exited)
    }

    /// The first node whose process exited without being killed, and its exit status. Unlike
    /// [`ProcessEvent::Closed`], this also finds a process whose stdout another process holds open.
    /// Kills the rest of that node's process group.
    pub fn exited(&mut self) -> Option<(NodeId, ExitStatus)> {
        let mut alive = self.nodes.iter_mut().filter(|(_, life)| !life.is_killed);
        alive.find_map(|(node, life)| Some((node.clone(), life.wait(Duration::ZERO)?)))
    }

    /// How much a node has printed in its current life.
    #[must_use]
    pub fn printed(&self, node: &NodeId) -> Option<Printed> {
        self.nodes.get(node).map(Life::printed)
    }

    /// Whether the program is a script whose first line ends in a carriage return.
    #[must_use]
    pub fn has_carriage_return(&self) -> bool {
        self.program.has_carriage_return()
    }

    /// The program that `env` cannot find, if the nodes' program is a script whose first line calls
    /// `env`.
    #[must_use]
    pub fn missing_to_env(&self) -> Option<String> {
        self.program.missing_to_env()
    }

    /// The last lines of a node's stderr.
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
