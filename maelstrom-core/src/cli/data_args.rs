//! The flag of a node that keeps records on disk.

use std::path::PathBuf;

use clap::Args;

use super::NodeArgs;
use crate::handler::MessageHandler;

/// Where a node that keeps something keeps it; flatten it into such a program's flags.
#[derive(Args, Clone, Debug, Default)]
pub struct DataArgs {
    /// Keep what is acknowledged on disk, in a folder of this one named as the node, and go on with
    /// what is there. [default: keep it in memory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl NodeArgs {
    /// Like [`run`](Self::run), for a node that can keep what it acknowledges on disk.
    ///
    /// # Errors
    ///
    /// As [`runtime::run`](crate::runtime::run).
    pub fn run_with<H: MessageHandler>(self, data: &DataArgs, handler: H) -> anyhow::Result<()> {
        self.run_in(data.data_dir.clone(), handler)
    }
}
