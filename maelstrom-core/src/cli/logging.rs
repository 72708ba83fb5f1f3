//! Log lines on stderr.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the program's `tracing` events to stderr. Without effect if that is set up already.
///
/// Each event is written before the program goes on, so that the last ones before a crash are
/// there. The price: whoever starts a node must read its stderr (or point it at a file, or close
/// it). Once a pipe that nobody reads is full, the node stands still at its next event, and then
/// only SIGKILL ends it. Maelstrom reads it.
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
