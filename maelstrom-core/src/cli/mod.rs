//! The command line that all nodes share. A node's `main` only parses flags, sets up logging and
//! runs.
//!
//! [`NodeArgs`] needs the feature `runtime`, and [`DataArgs`] the feature `disk`.

#[cfg(feature = "disk")]
mod data_args;
#[cfg(feature = "runtime")]
mod limit_args;
mod log_queue;
mod logging;
#[cfg(feature = "runtime")]
mod node_args;

#[cfg(feature = "disk")]
pub use data_args::DataArgs;
pub use logging::{LogFormat, LogGuard, init_logging, init_node_logging};
#[cfg(feature = "runtime")]
pub use node_args::NodeArgs;
