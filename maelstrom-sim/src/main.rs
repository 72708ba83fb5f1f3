//! The command `maelstrom-sim`: the checker with Maelstrom's workloads.

use std::process::ExitCode;

use maelstrom_sim::{cli, workload};

fn main() -> ExitCode {
    cli::main(workload::built_in())
}
