//! The checker, with Maelstrom's workloads and `fencing`.

use std::process::ExitCode;

use maelstrom_sim::cli;
use maelstrom_sim::workload::{Entry, built_in};
use own_workload::Fencing;

fn main() -> ExitCode {
    cli::main(built_in().into_iter().chain([Entry::of::<Fencing>()]))
}
