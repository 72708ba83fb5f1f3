//! Log lines on stderr.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use super::log_queue::{FLUSH_WITHIN, LineWriter, LogQueue, log_panics};
use crate::trace;

/// The format of log lines. [`init_node_logging`] shows it in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Waits for the last lines of a node's log. Keep it until the end of `main`: its drop waits until
/// these lines are written, for up to 1 s. [`init_node_logging`] shows it in use.
#[derive(Debug)]
#[must_use = "the last lines of a log are lost if the process does not wait for them"]
pub struct LogGuard(Arc<LogQueue>);

impl LogGuard {
    /// The number of log lines that were lost, in this process. It goes on rising.
    #[must_use]
    pub fn lost_lines(&self) -> Arc<AtomicU64> {
        self.0.lost_total()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.flush(FLUSH_WITHIN);
    }
}

/// Sends the `tracing` events of a node to stderr. Does nothing if a subscriber is set up already.
///
/// The node never waits for stderr: a thread writes the lines. If no process reads stderr, the pipe
/// fills up, then a queue of 1 MiB. Later lines are lost. When the thread can write again, it
/// reports their number in one line.
///
/// [`std::process::exit`] waits for no line: return an error from `main` instead. The last lines
/// before a panic or the end of `main` are in the log, as far as stderr takes them
/// within 1 s. If the system has no thread left, lines wait for the next line or for the end. The message of a panic is plain text in both formats.
///
/// With `trace_requests`, the log has the events of [`trace::TARGET`], whatever `RUST_LOG` says.
///
/// ```
/// use std::sync::atomic::Ordering;
///
/// use maelstrom_core::cli::{LogFormat, init_node_logging};
///
/// let log = init_node_logging(LogFormat::Json, false);
/// tracing::info!(port = 9100, "listens");
/// assert_eq!(log.lost_lines().load(Ordering::Relaxed), 0);
/// ```
pub fn init_node_logging(format: LogFormat, trace_requests: bool) -> LogGuard {
    let queue = Arc::new(LogQueue::new(format));
    let lines = Arc::clone(&queue);
    let writer = BoxMakeWriter::new(move || LineWriter(Arc::clone(&lines)));
    if init(format, trace_requests, writer) {
        log_panics(Arc::clone(&queue));
    }
    LogGuard(queue)
}

/// Sends the program's `tracing` events to stderr. Does nothing if a subscriber is set up already.
///
/// This is for tools and tests. The program writes each event before it goes on, so no event is
/// lost. If no process reads stderr, the program blocks. A node uses [`init_node_logging`].
/// [`init_node_logging`] shows how to call it.
pub fn init_logging(format: LogFormat) {
    init(format, false, BoxMakeWriter::new(io::stderr));
}

/// Sets up the subscriber. Returns false if there is one already.
#[expect(clippy::disallowed_methods, reason = "users of tracing expect this variable")]
fn init(format: LogFormat, trace_requests: bool, writer: BoxMakeWriter) -> bool {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let (mut filter, refused) = match wanted.parse::<Targets>() {
        Ok(filter) if !wanted.trim().is_empty() => (filter, None),
        Ok(_) => (Targets::new().with_default(LevelFilter::INFO), None),
        Err(error) => (Targets::new().with_default(LevelFilter::INFO), Some(error)),
    };
    if trace_requests {
        filter = filter.with_target(trace::TARGET, LevelFilter::DEBUG);
    }
    let layer = fmt::layer()
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false);
    let result = match format {
        LogFormat::Text => registry().with(layer.with_filter(filter)).try_init(),
        LogFormat::Json => {
            // The list of spans has the current span, too.
            let layer = layer.json().flatten_event(true).with_current_span(false);
            registry().with(layer.with_filter(filter)).try_init()
        }
    };
    if let Err(error) = &result {
        tracing::debug!(%error, "logging is set up already");
    }
    if let Some(error) = refused {
        tracing::warn!(%error, "RUST_LOG is invalid and was ignored");
    }
    result.is_ok()
}
