//! The queue of log lines between the node and stderr.
//!
//! A process that starts a node may never read the node's stderr. The pipe then fills up, and a
//! write to it blocks. So only a thread of its own writes to stderr, and the node puts its lines
//! into a queue with a limit. The thread ends when no line comes for a while ([`IDLE_MAX`]): system
//! calls cost a process less while it has a single thread. The next line costs the node the start
//! of a thread, some 20 µs.
//!
//! The invariants:
//!
//! * [`LogQueue::push`] never waits for stderr. If the queue is full, it drops the line and counts
//!   it.
//! * Lines leave in their order. Once a line is lost, all lines are lost until the thread takes the
//!   queue. It then reports their number, in the place where they would have been.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::mem;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use memchr::{memchr, memrchr};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::logging::LogFormat;

/// Maximum number of bytes that wait. A longer line waits alone.
const BYTES_MAX: usize = 1 << 20;

/// A pipe takes a write of up to this many bytes at once, on Linux.
const PIPE_BUF: usize = 4 << 10;

/// Buffers beyond this capacity are not used again.
const SPARE_BYTES_MAX: usize = 2 * BYTES_MAX;

/// How long the thread waits for a line before it ends. The next line starts another one.
const IDLE_MAX: Duration = Duration::from_millis(200);

/// How long the end of a process waits for its last lines.
pub(super) const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// The queue.
#[derive(Debug)]
pub(super) struct LogQueue {
    format: LogFormat,
    state: Mutex<State>,
    /// Notified when lines come, and when lines have been written.
    changed: Condvar,
    /// Number of lines that were dropped in the whole life of the process.
    lost_total: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines that wait.
    pending: Vec<u8>,
    /// Number of lines that were dropped after those in `pending`.
    lost: u64,
    /// True while there is a thread, or one is about to start.
    has_thread: bool,
    /// True while the thread writes lines that it took.
    is_writing: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.lost == 0
    }
}

impl LogQueue {
    /// An empty queue.
    pub(super) fn new(format: LogFormat) -> Self {
        Self {
            format,
            state: Mutex::default(),
            changed: Condvar::new(),
            lost_total: Arc::default(),
        }
    }

    /// Starts a thread that writes the lines to stderr, unless there is one. If the system has no
    /// thread left, the lines wait for the next line, or for [`flush`](Self::flush).
    #[expect(clippy::disallowed_methods, reason = "the thread only writes log lines")]
    fn ensure_thread(self: &Arc<Self>) {
        if mem::replace(&mut self.lock().has_thread, true) {
            return;
        }
        let queue = Arc::clone(self);
        let write = move || {
            let mut chunk = Vec::new();
            while queue.write_next(&mut io::stderr(), &mut chunk, IDLE_MAX) {}
        };
        if thread::Builder::new().name("log".into()).spawn(write).is_err() {
            self.lock().has_thread = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, or drops and counts it.
    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let bytes = state.pending.len().saturating_add(line.len());
        if state.lost > 0 || (bytes > BYTES_MAX && !state.pending.is_empty()) {
            state.lost = state.lost.saturating_add(1);
            self.lost_total.fetch_add(1, Ordering::Relaxed);
        } else {
            state.pending.extend_from_slice(line);
        }
        let is_waited_for = !state.is_writing;
        drop(state);
        if is_waited_for {
            self.changed.notify_all();
        }
    }

    /// The number of lines that were dropped in the whole life of the process. It goes on rising.
    pub(super) fn lost_total(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost_total)
    }

    /// Adds the last lines of a process, even beyond the limit.
    fn push_last(&self, text: &str) {
        self.lock().pending.extend_from_slice(text.as_bytes());
        self.changed.notify_all();
    }

    /// Waits until all lines are written, but no longer than `within`. Returns true if they are. If
    /// the system has no thread left, this writes them itself, however long that takes.
    pub(super) fn flush(self: &Arc<Self>, within: Duration) -> bool {
        if !self.lock().is_idle() {
            self.ensure_thread();
        }
        if !self.lock().has_thread {
            self.write_next(&mut io::stderr(), &mut Vec::new(), Duration::ZERO);
        }
        self.wait(within)
    }

    fn wait(&self, within: Duration) -> bool {
        let is_busy = |state: &mut State| !state.is_idle() || state.is_writing;
        let waited = self.changed.wait_timeout_while(self.lock(), within, is_busy);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_idle() && !state.is_writing
    }

    /// Waits for lines, and writes them. `chunk` is an empty buffer, before and after. If no line
    /// comes for `idle_max`, the thread must end: returns false.
    fn write_next(&self, out: &mut impl Write, chunk: &mut Vec<u8>, idle_max: Duration) -> bool {
        let is_idle = |state: &mut State| state.is_idle();
        let waited = self.changed.wait_timeout_while(self.lock(), idle_max, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_idle() {
            state.has_thread = false;
            return false;
        }
        mem::swap(&mut state.pending, chunk);
        let lost = mem::take(&mut state.lost);
        state.is_writing = true;
        drop(state);
        if lost > 0 {
            chunk.extend_from_slice(loss_line(self.format, lost).as_bytes());
        }
        // If stderr is closed, there is no place to report the error.
        write_lines(out, chunk).ok();
        if chunk.capacity() > SPARE_BYTES_MAX {
            *chunk = Vec::new();
        }
        chunk.clear();
        self.lock().is_writing = false;
        self.changed.notify_all();
        true
    }
}

/// Writes lines in groups of whole lines that a pipe takes at once. So the lines of several
/// processes with the same stderr do not mix, unless one is longer than that.
fn write_lines(out: &mut impl Write, mut lines: &[u8]) -> io::Result<()> {
    while !lines.is_empty() {
        let group = lines.get(..PIPE_BUF).unwrap_or(lines);
        let end = memrchr(b'\n', group).or_else(|| memchr(b'\n', lines));
        let len = end.map_or(lines.len(), |at| at.saturating_add(1));
        let Some((group, rest)) = lines.split_at_checked(len) else { break };
        out.write_all(group)?;
        lines = rest;
    }
    Ok(())
}

/// The line that reports lost lines. It looks like a warning of the subscriber.
fn loss_line(format: LogFormat, lost: u64) -> String {
    const TARGET: &str = module_path!();
    const MESSAGE: &str = "log lines were lost: they came faster than they could be written";
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time)).ok();
    match format {
        LogFormat::Text => format!("{time}  WARN {TARGET}: {MESSAGE} lost={lost}\n"),
        LogFormat::Json => {
            let head = format!(r#""timestamp":"{time}","level":"WARN","message":"{MESSAGE}""#);
            format!("{{{head},\"lost\":{lost},\"target\":\"{TARGET}\"}}\n")
        }
    }
}

/// Writes whole lines into the queue.
pub(super) struct LineWriter(pub(super) Arc<LogQueue>);

impl Write for LineWriter {
    /// Takes one event: the subscriber writes each event with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        self.0.ensure_thread();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a panic write its message through the queue, behind the lines before it. The panic waits
/// for a bounded time until they are written. The default hook writes to stderr itself, so it could
/// overtake the lines, and would block if no process reads stderr.
pub(super) fn log_panics(queue: Arc<LogQueue>) {
    panic::set_hook(Box::new(move |info| {
        let thread = thread::current();
        let mut text = format!("\nthread '{}' {info}\n", thread.name().unwrap_or("?"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            writeln!(text, "stack backtrace:\n{backtrace}").ok();
        }
        queue.push_last(&text);
        queue.flush(FLUSH_WITHIN);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes everything that waits.
    fn written(queue: &LogQueue) -> String {
        let mut out = Vec::new();
        let mut chunk = Vec::new();
        assert!(queue.write_next(&mut out, &mut chunk, Duration::ZERO));
        assert!(chunk.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_leave_in_their_order() {
        let queue = LogQueue::new(LogFormat::Text);
        queue.push(b"first\n");
        queue.push(b"second\n");
        assert_eq!(written(&queue), "first\nsecond\n");
        assert!(queue.wait(Duration::ZERO));
    }

    #[test]
    fn lines_beyond_the_limit_are_counted_and_reported_in_their_place() {
        let (queue, line) = (LogQueue::new(LogFormat::Text), [b'x'; 1 << 10]);
        let before = BYTES_MAX >> 10;
        for _ in 0..before + 7 {
            queue.push(&line);
        }
        queue.push(b"short, but late\n");
        let text = written(&queue);
        let loss = &text[BYTES_MAX..];
        assert!(loss.contains(" WARN maelstrom_core::cli::log_queue: log lines "), "{loss}");
        assert!(loss.ends_with(" lost=8\n"), "{loss}");
        queue.push(b"there is room again\n");
        assert_eq!(written(&queue), "there is room again\n");
    }

    #[test]
    fn a_line_longer_than_the_limit_goes_alone() {
        let (queue, line) = (LogQueue::new(LogFormat::Json), vec![b'x'; BYTES_MAX + 1]);
        queue.push(&line);
        queue.push(b"lost\n");
        let text = written(&queue);
        let loss: serde_json::Value = serde_json::from_str(&text[line.len()..]).unwrap();
        assert_eq!((&loss["lost"], &loss["level"]), (&1.into(), &"WARN".into()), "{loss}");
    }

    /// Keeps each write by itself.
    struct Writes(Vec<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_has_whole_lines_and_no_more_than_a_pipe_takes_at_once() {
        let lens = [1_000, PIPE_BUF - 1_000, 1, 2 * PIPE_BUF, 5_000, 10];
        let line = |len: usize| "x".repeat(len - 1) + "\n";
        let lines: String = lens.into_iter().map(line).collect();
        let mut out = Writes(Vec::new());
        write_lines(&mut out, lines.as_bytes()).unwrap();
        write_lines(&mut out, b"no newline").unwrap();
        let written: Vec<usize> = out.0.iter().map(Vec::len).collect();
        assert_eq!(written, [PIPE_BUF, 1, 2 * PIPE_BUF, 5_000, 10, 10]);
    }

    #[test]
    fn a_thread_ends_when_no_line_comes_and_the_next_line_starts_another() {
        let queue = LogQueue::new(LogFormat::Text);
        queue.lock().has_thread = true;
        queue.push(b"line\n");
        assert_eq!(written(&queue), "line\n");
        assert!(queue.lock().has_thread);
        assert!(!queue.write_next(&mut Vec::new(), &mut Vec::new(), Duration::ZERO));
        assert!(!queue.lock().has_thread);
        let queue = Arc::new(queue);
        LineWriter(Arc::clone(&queue)).write_all(b"the log of a test has this line\n").unwrap();
        assert!(queue.flush(Duration::from_secs(60)));
    }

    #[test]
    fn waiting_ends_although_no_line_is_written() {
        let queue = LogQueue::new(LogFormat::Text);
        queue.push(b"line\n");
        assert!(!queue.wait(Duration::from_millis(1)));
    }
}
