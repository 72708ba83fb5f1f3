//! The flags of every node.

#[cfg(feature = "metrics")]
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::limit_args::LimitArgs;
use super::logging::{LogFormat, init_node_logging};
use crate::handler::MessageHandler;
use crate::message::LINE_BYTES_MAX;
use crate::runtime::{self, Config};

/// Flags that every node understands. Flatten them into a program's own flags.
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
/// /// Answers every `echo` with the value of the request.
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
#[command(about = None, long_about = None)]
pub struct NodeArgs {
    /// Format of log lines. They go to stderr. RUST_LOG selects the lines to log (default: info).
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// Log the steps of each client request with its id, such as n1/c3/17. Messages between nodes
    /// then carry the id, so that other nodes name it, too. Costs time and bytes. [default: off]
    #[arg(long)]
    trace_requests: bool,

    /// Skip input lines with more bytes than this. (With a cluster key, a line may have twice as
    /// many bytes and a few more.)
    #[arg(long, value_name = "BYTES", default_value_t = LINE_BYTES_MAX)]
    max_line_bytes: usize,

    /// Serve Prometheus text at /metrics and the node's health at /health. A port without an
    /// address is a port of the loopback interface. Port 0 is any free port, and the log tells
    /// which. [default: off]
    #[cfg(feature = "metrics")]
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = metrics_address)]
    metrics: Option<SocketAddr>,

    /// Accept messages from other nodes only if their sender has the key in this file. All nodes of
    /// the cluster need the same key: at least 16 random bytes. Only the owner of the file may be
    /// able to read it. [default: off]
    #[cfg(feature = "auth")]
    #[arg(long, value_name = "FILE")]
    cluster_key_file: Option<PathBuf>,

    #[command(flatten)]
    limits: LimitArgs,
}

/// Parses an address with a port, or only a port of the loopback interface.
#[cfg(feature = "metrics")]
fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        Err(_) => text.parse().map_err(|_| {
            "neither a port nor an IP address with a port, such as 127.0.0.1:9100 or [::1]:9100"
                .into()
        }),
    }
}

impl NodeArgs {
    /// The limit on the length of an input line, in bytes.
    #[must_use]
    pub const fn max_line_bytes(&self) -> usize {
        self.max_line_bytes
    }

    /// The limit on waiting requests, in bytes. A handler whose requests wait applies it to them.
    #[must_use]
    pub const fn max_pending_bytes(&self) -> usize {
        self.limits.max_pending_bytes
    }

    /// Sets up logging and runs `handler` on stdin and stdout.
    ///
    /// # Errors
    ///
    /// See [`runtime::run`].
    pub fn run<H: MessageHandler>(self, handler: H) -> anyhow::Result<()> {
        self.run_in(None, handler)
    }

    /// Like [`run`](Self::run), with the folder for records, if there is one.
    pub(super) fn run_in<H: MessageHandler>(
        self,
        data_dir: Option<PathBuf>,
        handler: H,
    ) -> anyhow::Result<()> {
        let log = init_node_logging(self.log_format, self.trace_requests);
        runtime::run(
            handler,
            &Config {
                line_bytes_max: self.max_line_bytes,
                data_dir,
                #[cfg(feature = "metrics")]
                metrics: self.metrics,
                #[cfg(not(feature = "metrics"))]
                metrics: None,
                #[cfg(feature = "auth")]
                cluster_key_file: self.cluster_key_file,
                #[cfg(not(feature = "auth"))]
                cluster_key_file: None,
                limits: self.limits.limits(),
                trace_requests: self.trace_requests,
                lost_log_lines: log.lost_lines(),
            },
        )
    }
}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_the_loopback_interface() {
        for (text, addr) in [
            ("9100", "127.0.0.1:9100"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:9100", "0.0.0.0:9100"),
            ("[::1]:9100", "[::1]:9100"),
        ] {
            assert_eq!(metrics_address(text), Ok(addr.parse().unwrap()), "{text}");
        }
        for text in ["", "65536", "localhost:9100", ":9100", "127.0.0.1"] {
            assert!(metrics_address(text).is_err(), "{text}");
        }
    }
}
