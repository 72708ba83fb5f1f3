//! Nodes with requests, messages of other nodes and restarts, without a simulator.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking, and so do its helpers"
)]

mod cluster;
mod program;
mod properties;
mod requests;
mod restarts;
