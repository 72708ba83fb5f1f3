//! Real nodes: processes that speak over pipes.
//!
//! Each process has three threads of ours: one that writes its stdin, one that reads its stdout,
//! one that keeps its stderr. None of them can hold up the others, or the test.

#![expect(clippy::disallowed_methods, reason = "this is the real-time driver")]

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use maelstrom_core::NodeId;

/// How much may wait for a node that does not read its input.
const UNREAD_BYTES_MAX: usize = 256 << 20;

/// The longest line that a node may print.
const LINE_BYTES_MAX: usize = 64 << 20;

/// How many lines of its stderr are shown when a node is in trouble.
const STDERR_LINES: usize = 32;

/// How many lines may wait for the test to look at them; further ones wait in the pipes.
const EVENTS_MAX: usize = 1024;

/// What is to be run.
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

/// What a node did.
#[derive(Debug)]
pub enum ProcessEvent {
    /// It printed a line, in this life or just before it was killed.
    Line(NodeId, Vec<u8>),
    /// It closed its stdout, most likely because it is gone.
    Closed(NodeId),
}

/// What the threads of a process tell.
#[derive(Debug)]
enum Said {
    Line(NodeId, Vec<u8>),
    /// The process with this number has closed its stdout.
    Closed(NodeId, u64),
}

/// The nodes of a test. Dropping them ends them.
#[derive(Debug)]
pub struct Processes {
    bin: PathBuf,
    options: ProcessOptions,
    nodes: BTreeMap<NodeId, Process>,
    started: u64,
    sender: SyncSender<Said>,
    events: Receiver<Said>,
}

#[derive(Debug)]
struct Process {
    number: u64,
    child: Child,
    is_killed: bool,
    is_paused: bool,
    input: Sender<Vec<u8>>,
    unread: Arc<AtomicUsize>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    stderr_thread: Option<JoinHandle<()>>,
}

impl Processes {
    /// Starts a process for each node.
    ///
    /// # Errors
    ///
    /// If the program cannot be started, or a log file not be created.
    pub fn start(options: &ProcessOptions, nodes: &[NodeId]) -> anyhow::Result<Self> {
        let bin = options.bin.canonicalize();
        let bin = bin.with_context(|| format!("cannot find {}", options.bin.display()))?;
        std::fs::create_dir_all(&options.log_dir)?;
        let (sender, events) = mpsc::sync_channel(EVENTS_MAX);
        let options = options.clone();
        let mut processes =
            Self { bin, options, nodes: BTreeMap::new(), started: 0, sender, events };
        for id in nodes {
            let log = processes.options.log_dir.join(format!("{id}.log"));
            let file = File::create(&log);
            let file = file.with_context(|| format!("cannot create {}", log.display()))?;
            processes.start_node(id, file)?;
        }
        Ok(processes)
    }

    fn start_node(&mut self, id: &NodeId, log: File) -> anyhow::Result<()> {
        self.started += 1;
        let Self { bin, options, started, sender, .. } = self;
        let process = Process::start(bin, options, id, (*started, sender), log)?;
        self.nodes.insert(id.clone(), process);
        Ok(())
    }

    /// Ends a node at once (SIGKILL), and with it what waits to be read by it.
    pub fn kill(&mut self, node: &NodeId) {
        if let Some(process) = self.nodes.get_mut(node) {
            process.is_killed = true;
            process.stop();
        }
    }

    /// Starts a node anew that was [killed](Self::kill).
    ///
    /// # Errors
    ///
    /// If that is not possible any more.
    pub fn restart(&mut self, node: &NodeId) -> anyhow::Result<()> {
        let log = self.options.log_dir.join(format!("{node}.log"));
        let file = File::options().append(true).create(true).open(&log);
        let mut file = file.with_context(|| format!("cannot open {}", log.display()))?;
        writeln!(file, "-- killed and started again --")?;
        self.start_node(node, file)
    }

    /// Stops a node until it is [resumed](Self::resume): what it is sent waits.
    ///
    /// # Errors
    ///
    /// If the system cannot do that.
    pub fn pause(&mut self, node: &NodeId) -> anyhow::Result<()> {
        self.nodes.get_mut(node).map_or(Ok(()), |process| process.set_paused(true))
    }

    /// Lets a node go on.
    ///
    /// # Errors
    ///
    /// If the system cannot do that.
    pub fn resume(&mut self, node: &NodeId) -> anyhow::Result<()> {
        self.nodes.get_mut(node).map_or(Ok(()), |process| process.set_paused(false))
    }

    /// Writes a line to a node. `false`: it has not read its input for so long that the limit is
    /// reached.
    pub fn deliver(&self, node: &NodeId, line: Vec<u8>) -> bool {
        let Some(process) = self.nodes.get(node).filter(|process| !process.is_killed) else {
            return true;
        };
        let length = line.len();
        let unread = process.unread.fetch_add(length, Ordering::Relaxed) + length;
        // A node that is gone reads nothing; its end is reported by its stdout.
        process.input.send(line).ok();
        unread <= UNREAD_BYTES_MAX || process.is_paused
    }

    /// What a node does next, if anything before `timeout` is over.
    pub fn next_event(&self, timeout: Duration) -> Option<ProcessEvent> {
        match self.events.recv_timeout(timeout) {
            // What it had written before it was killed is under way.
            Ok(Said::Line(node, line)) => Some(ProcessEvent::Line(node, line)),
            Ok(Said::Closed(node, number)) => {
                let mut now = self.nodes.get(&node).into_iter();
                let is_news = now.any(|now| now.number == number && !now.is_killed);
                is_news.then_some(ProcessEvent::Closed(node))
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// What became of a node that closed its stdout.
    pub fn obituary(&mut self, node: &NodeId) -> String {
        let Some(process) = self.nodes.get_mut(node) else {
            return "is unknown".into();
        };
        let exit = process.wait(Duration::from_secs(1));
        let what = match exit {
            Some(status) => format!("exited by itself ({status})"),
            None => "closed its stdout".into(),
        };
        process.stop();
        what
    }

    /// The end of a node's stderr.
    #[must_use]
    pub fn stderr_tail(&self, node: &NodeId) -> Vec<String> {
        let Some(process) = self.nodes.get(node) else {
            return Vec::new();
        };
        process.stderr.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Kills all nodes, as Maelstrom does at the end of a test, and waits for their logs.
    pub fn stop(&mut self) {
        for process in self.nodes.values_mut() {
            process.child.kill().ok();
        }
        for process in self.nodes.values_mut() {
            process.stop();
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Process {
    fn start(
        bin: &Path,
        options: &ProcessOptions,
        id: &NodeId,
        (number, events): (u64, &SyncSender<Said>),
        log: File,
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(bin)
            .args(&options.args)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", bin.display()))?;
        let (input, lines) = mpsc::channel();
        let unread = Arc::new(AtomicUsize::new(0));
        let stderr_lines = Arc::new(Mutex::new(VecDeque::new()));
        let mut stderr_thread = None;
        if let Some(stdin) = child.stdin.take() {
            let unread = Arc::clone(&unread);
            spawn(move || write_stdin(stdin, &lines, &unread));
        }
        if let Some(stdout) = child.stdout.take() {
            let (id, events) = (id.clone(), events.clone());
            spawn(move || read_stdout(stdout, &id, number, &events));
        }
        if let Some(stderr) = child.stderr.take() {
            let shown_as = options.log_stderr.then(|| id.clone());
            let tail = Arc::clone(&stderr_lines);
            stderr_thread =
                Some(spawn(move || keep_stderr(stderr, log, &tail, shown_as.as_deref())));
        }
        let stderr = stderr_lines;
        let (is_killed, is_paused) = (false, false);
        Ok(Self { number, child, is_killed, is_paused, input, unread, stderr, stderr_thread })
    }

    #[cfg(unix)]
    fn set_paused(&mut self, is_paused: bool) -> anyhow::Result<()> {
        use rustix::process::{Pid, Signal, kill_process};
        self.is_paused = is_paused;
        if self.is_killed {
            return Ok(());
        }
        let signal = if is_paused { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    #[cfg(not(unix))]
    fn set_paused(&mut self, _is_paused: bool) -> anyhow::Result<()> {
        anyhow::bail!("processes cannot be paused on this system")
    }

    fn wait(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }

    fn stop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        // A grandchild may still hold the pipe, in which case the log stays open behind us.
        if self.stderr_thread.as_ref().is_some_and(wait_for) {
            self.stderr_thread.take().map(JoinHandle::join);
        }
    }
}

/// Waits a moment for a thread to end, and tells whether it did.
fn wait_for(thread: &JoinHandle<()>) -> bool {
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

fn write_stdin(mut stdin: ChildStdin, lines: &Receiver<Vec<u8>>, unread: &AtomicUsize) {
    while let Ok(line) = lines.recv() {
        let mut batch = line;
        while batch.len() < 1 << 16
            && let Ok(line) = lines.try_recv()
        {
            batch.extend(line);
        }
        if stdin.write_all(&batch).is_err() {
            return;
        }
        unread.fetch_sub(batch.len(), Ordering::Relaxed);
    }
}

fn read_stdout(stdout: ChildStdout, id: &NodeId, number: u64, events: &SyncSender<Said>) {
    let mut stdout = BufReader::with_capacity(1 << 16, stdout);
    while let Ok(Some(line)) = read_line(&mut stdout) {
        if events.send(Said::Line(id.clone(), line)).is_err() {
            return;
        }
    }
    events.send(Said::Closed(id.clone(), number)).ok();
}

/// The next line, without its newline; `None` at the end. A line beyond the limit comes in pieces.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = input.take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok((read > 0).then_some(line))
}

fn keep_stderr(
    stderr: ChildStderr,
    mut log: File,
    tail: &Mutex<VecDeque<String>>,
    shown_as: Option<&str>,
) {
    let mut stderr = BufReader::new(stderr);
    while let Ok(Some(line)) = read_line(&mut stderr) {
        let text = String::from_utf8_lossy(&line).into_owned();
        writeln!(log, "{text}").ok();
        if let Some(id) = shown_as {
            writeln!(io::stderr(), "{id} | {text}").ok();
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == STDERR_LINES {
            tail.pop_front();
        }
        tail.push_back(text);
    }
}
