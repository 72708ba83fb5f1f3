//! The conformance suite: the behaviour of a node as a process, on real pipes and with real
//! signals.
//!
//! Each test, except those of `help.rs`, starts `node.rs` (a node with one message type for each
//! thing that a handler can do). Some tests talk to it as Maelstrom does, others in ways that
//! Maelstrom never should.

#![expect(
    clippy::disallowed_methods,
    reason = "the suite drives processes in real time, and serves their pipes on threads"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "this is all test code"
)]

#[cfg(all(unix, feature = "auth"))]
mod auth;
mod calls;
mod command_line;
mod end_of_input;
mod flood;
mod flow;
#[cfg(all(feature = "disk", feature = "gossip"))]
mod help;
mod init;
mod lines;
mod log;
mod requests;
#[cfg(target_os = "linux")]
mod stdio;
mod support;
mod values;
