//! The handler in virtual time: sweeps with all kinds of faults.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "tests may fail"
)]
#![allow(clippy::print_stdout, clippy::indexing_slicing, reason = "tests may fail")]

mod configurations;
mod curves;
mod damaged;
#[path = "../../../maelstrom-sim/tests/flooded/mod.rs"]
mod flooded;
#[path = "../../../maelstrom-sim/tests/forged/mod.rs"]
mod forged;
mod forgetful;
#[path = "../../../maelstrom-sim/tests/seeds/mod.rs"]
mod seeds;
mod sized;
mod staged;
mod virtual_time;
