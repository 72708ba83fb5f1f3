//! The subcommand `limits`: prints the figures of a test and checks them against limits.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::limits::{Figures, Limits};

#[derive(Args, Debug)]
pub(super) struct LimitsArgs {
    #[command(flatten)]
    limits: Limits,
    /// The folder of a test.
    #[arg(default_value = "store/latest")]
    dir: PathBuf,
}

pub(super) fn limits(args: &LimitsArgs) -> anyhow::Result<ExitCode> {
    let figures = Figures::read(&args.dir)?;
    let missed = figures.missed(&args.limits);
    let mut out = std::io::stdout();
    if missed.is_empty() {
        writeln!(out, "{figures}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{figures}; {}", missed.join("; "))?;
    Ok(ExitCode::FAILURE)
}
