//! One life of a node: from the start of its process to its kill.

use std::collections::VecDeque;
use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use maelstrom_core::NodeId;

use super::events::Sender;
use super::group::Group;
use super::pipes::{self, Printed};
use super::program::{Program, StartError};

#[derive(Debug)]
pub(super) struct Life {
    /// The number of the life, unique within the test.
    pub(super) number: u64,
    pub(super) is_killed: bool,
    group: Group,
    input: mpsc::Sender<Vec<u8>>,
    /// The memory of the lines that the node has not read yet, in bytes.
    unread_bytes: Arc<AtomicUsize>,
    printed: Arc<Mutex<Printed>>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    stderr_thread: Option<JoinHandle<()>>,
}

impl Life {
    pub(super) fn begin(
        program: &Program,
        id: &NodeId,
        (number, events): (u64, &Sender),
        log: File,
        log_stderr: bool,
    ) -> Result<Self, StartError> {
        let mut command = program.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group::spawn(&mut command).map_err(|error| program.explain(error))?;
        let (input, lines) = mpsc::channel();
        let unread_bytes = Arc::new(AtomicUsize::new(0));
        let printed = Arc::new(Mutex::new(Printed::default()));
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        let mut stderr_thread = None;
        if let Some(stdin) = group.leader().stdin.take() {
            let unread_bytes = Arc::clone(&unread_bytes);
            spawn(move || pipes::write_stdin(stdin, &lines, &unread_bytes));
        }
        if let Some(stdout) = group.leader().stdout.take() {
            let (printed, events) = (Arc::clone(&printed), events.reader(id.clone(), number));
            spawn(move || pipes::read_stdout(stdout, &printed, events));
        }
        if let Some(pipe) = group.leader().stderr.take() {
            let (shown_as, tail) = (log_stderr.then(|| id.clone()), Arc::clone(&stderr));
            let keep = move || pipes::keep_stderr(pipe, log, &tail, shown_as.as_deref());
            stderr_thread = Some(spawn(keep));
        }
        let is_killed = false;
        Ok(Self { number, is_killed, group, input, unread_bytes, printed, stderr, stderr_thread })
    }

    /// Writes a line to the node. Returns how many bytes the node has not read yet.
    pub(super) fn deliver(&self, line: Vec<u8>) -> usize {
        let cost = pipes::cost(&line);
        let unread_bytes = self.unread_bytes.fetch_add(cost, Ordering::Relaxed) + cost;
        // A node that has exited reads nothing. Its stdout reports the end.
        self.input.send(line).ok();
        unread_bytes
    }

    pub(super) fn set_paused(&self, is_paused: bool) -> std::io::Result<()> {
        self.group.set_paused(is_paused)
    }

    /// The exit status, if the node exits by itself within `patience`.
    pub(super) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.group.wait(patience)
    }

    /// Whether the program has exited by itself.
    pub(super) fn has_exited(&mut self) -> bool {
        self.group.has_exited()
    }

    pub(super) fn printed(&self) -> Printed {
        *self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stderr_tail(&self) -> Vec<String> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn kill(&mut self) {
        self.group.kill();
    }

    /// Kills the node, and waits for its log.
    pub(super) fn end(&mut self) {
        self.group.kill();
        // A process that left the group may still hold the pipe. Then the log stays open.
        if self.stderr_thread.as_ref().is_some_and(has_finished) {
            self.stderr_thread.take().map(JoinHandle::join);
        }
    }
}

/// Waits a moment for a thread to end, and returns whether it did.
fn has_finished(thread: &JoinHandle<()>) -> bool {
    for _ in 0..200 {
        if thread.is_finished() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn spawn(f: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(f)
}
