//! The flags of every node.

use std::path::PathBuf;

use clap::Args;

use super::logging::{LogFormat, init_logging};
use crate::handler::MessageHandler;
use crate::message::LINE_BYTES_MAX;
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
        self.run_in(None, handler)
    }

    /// The same with the folder for records, if there is one.
    pub(super) fn run_in<H: MessageHandler>(
        self,
        data_dir: Option<PathBuf>,
        handler: H,
    ) -> anyhow::Result<()> {
        init_logging(self.log_format);
        runtime::run(handler, &Config { line_bytes_max: self.max_line_bytes, data_dir })
    }
}
