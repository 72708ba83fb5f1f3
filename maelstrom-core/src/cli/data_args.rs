//! The flag of a node that keeps records on disk.

use std::path::PathBuf;

use clap::Args;

use super::NodeArgs;
use crate::handler::MessageHandler;

/// The folder for the records of a node. Flatten it into the flags of a program that keeps records.
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
/// #[derive(Parser)]
/// struct Cli {
///     #[command(flatten)]
///     node: maelstrom_core::NodeArgs,
///     #[command(flatten)]
///     data: maelstrom_core::DataArgs,
/// }
///
/// let cli = Cli::parse();
/// cli.node.run_with(&cli.data, Echo)?;
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Args, Clone, Debug, Default)]
#[command(about = None, long_about = None)]
pub struct DataArgs {
    /// Keep acknowledged data on disk, in a folder inside DIR that has the node's name, and recover
    /// the data that is there. [default: keep it in memory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl NodeArgs {
    /// Like [`run`](Self::run), for a node that can keep acknowledged data on disk.
    ///
    /// # Errors
    ///
    /// See [`runtime::run`](crate::runtime::run).
    pub fn run_with<H: MessageHandler>(self, data: &DataArgs, handler: H) -> anyhow::Result<()> {
        self.run_in(data.data_dir.clone(), handler)
    }
}
