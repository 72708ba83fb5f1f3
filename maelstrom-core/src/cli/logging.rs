//! Log lines on stderr.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Sends the program's `tracing` events to stderr. Does nothing if a subscriber is set up already.
///
/// The program writes each event before it goes on, so the last events before a crash are in the
/// log. In return, the process that starts a node must read the node's stderr, point it at a file,
/// or close it. If no process reads the pipe, it fills up. The node then blocks at its next
/// event, and only SIGKILL ends it. Maelstrom reads stderr.
#[expect(clippy::disallowed_methods, reason = "users of tracing expect this variable")]
pub fn init_logging(format: LogFormat) {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, refused) = match wanted.parse::<Targets>() {
        Ok(filter) if !wanted.trim().is_empty() => (filter, None),
        Ok(_) => (Targets::new().with_default(LevelFilter::INFO), None),
        Err(error) => (Targets::new().with_default(LevelFilter::INFO), Some(error)),
    };
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false);
    let result = match format {
        LogFormat::Text => registry().with(layer.with_filter(filter)).try_init(),
        LogFormat::Json => {
            registry().with(layer.json().flatten_event(true).with_filter(filter)).try_init()
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "logging is set up already");
    }
    if let Some(error) = refused {
        tracing::warn!(%error, "RUST_LOG makes no sense and was ignored");
    }
}
