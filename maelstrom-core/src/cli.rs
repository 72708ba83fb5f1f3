//! The command line that all nodes share: a node's `main` is flags, logging, run, nothing else.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::handler::MessageHandler;
use crate::lines::LINE_BYTES_MAX;
use crate::runtime::{self, Config};

/// Flags that every node understands; flatten them into a program's own.
///
/// ```no_run
/// # struct Echo;
/// # impl maelstrom_core::MessageHandler for Echo {
/// #     type Payload = (); type Event = maelstrom_core::NoEvent;
/// #     fn message(&mut self, _: &mut maelstrom_core::Node<Self::Event>,
/// #         _: &maelstrom_core::Request, _: ()) -> Result<(), maelstrom_core::Error> { Ok(()) }
/// # }
/// use clap::Parser;
///
/// /// Answers every `echo` with what it was sent.
/// #[derive(Parser)]
/// #[command(version)]
/// struct Cli {
///     #[command(flatten)]
///     node: maelstrom_core::NodeArgs,
/// }
///
/// fn main() -> anyhow::Result<()> {
///     Cli::parse().node.run(Echo)
/// }
/// ```
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    /// How log lines look. They go to stderr; RUST_LOG chooses which (default: info).
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// Skip input lines of more bytes than this.
    #[arg(long, value_name = "BYTES", default_value_t = LINE_BYTES_MAX)]
    max_line_bytes: usize,
}

/// Where a node that keeps something keeps it; flatten it into such a program's flags.
#[derive(Args, Clone, Debug, Default)]
pub struct DataArgs {
    /// Keep what is acknowledged on disk, in a folder of this one named as the node, and go on with
    /// what is there. [default: keep it in memory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl NodeArgs {
    /// The limit on the length of a line, in bytes.
    #[must_use]
    pub const fn max_line_bytes(&self) -> usize {
        self.max_line_bytes
    }

    /// Sets up logging and runs `handler` on stdin and stdout.
    ///
    /// # Errors
    ///
    /// As [`runtime::run`].
    pub fn run<H: MessageHandler>(self, handler: H) -> anyhow::Result<()> {
        self.run_with(&DataArgs::default(), handler)
    }

    /// The same for a node that can keep what it acknowledges on disk.
    ///
    /// # Errors
    ///
    /// As [`runtime::run`].
    pub fn run_with<H: MessageHandler>(self, data: &DataArgs, handler: H) -> anyhow::Result<()> {
        init_logging(self.log_format);
        let config =
            Config { line_bytes_max: self.max_line_bytes, data_dir: data.data_dir.clone() };
        runtime::run(handler, &config)
    }
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
