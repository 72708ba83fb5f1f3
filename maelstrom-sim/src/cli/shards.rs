//! The subcommand `shards`: merges the results of the shards of sweeps.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::sweep::shard::{merge, read_all};

#[derive(Args, Debug)]
pub(super) struct ShardsArgs {
    /// Folders with results. The command searches their subfolders too.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
}

pub(super) fn shards(args: &ShardsArgs) -> anyhow::Result<ExitCode> {
    let (text, is_well) = merge(&read_all(&args.folders)?);
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
