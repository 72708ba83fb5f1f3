//! The handler in virtual time: sweeps with all kinds of faults.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "tests may fail"
)]
#![allow(clippy::print_stdout, clippy::indexing_slicing, reason = "tests may fail")]

mod curves;
#[path = "../../../maelstrom-sim/tests/forged/mod.rs"]
mod forged;
#[path = "../../../maelstrom-sim/tests/restored/mod.rs"]
mod restored;
#[path = "../../../maelstrom-sim/tests/seeds/mod.rs"]
mod seeds;
mod virtual_time;
