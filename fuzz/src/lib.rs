//! Fuzz targets: bytes in, and a panic if an invariant does not hold.
//!
//! `make fuzz` runs every target from its kept corpus for a while; `scripts/fuzz` says how to run
//! one for longer, and how to replay what was found. Each target is a function of its bytes alone,
//! so a file with the bytes is all that it takes.
//!
//! | target | what it feeds, and what must hold |
//! |---|---|
//! | [`lines`] | a line to the decoder, which must read it as serde_json does |
//! | [`fields`] | the same, a line that is made of chosen fields |
//! | [`chunks`] | a stream in chunks to the splitter of lines |
//! | [`payloads`] | what nodes say and keep, as text: stable, and as serde_json reads it |
//! | [`echo`](subjects::echo), … | a cluster of one handler: see [`world`] |
//!
//! libFuzzer guides the search by the coverage that LLVM counts, which needs no nightly compiler.

pub mod chunks;
pub mod fields;
pub mod input;
pub mod lines;
pub mod odd;
pub mod payloads;
pub mod reference;
pub mod service;
pub mod subjects;
pub mod world;

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether every step of a case is told on stderr.
pub static IS_TRACED: AtomicBool = AtomicBool::new(false);

/// Tells a step, if anybody wants to know.
fn trace(step: impl FnOnce() -> String) {
    if IS_TRACED.load(Ordering::Relaxed) {
        eprintln!("{}", step());
    }
}

/// A target.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("lines", lines::run),
    ("fields", fields::run),
    ("chunks", chunks::run),
    ("payloads", payloads::run),
    ("echo", subjects::echo::run),
    ("unique-ids", subjects::unique_ids::run),
    ("broadcast", subjects::broadcast::run),
    ("g-counter", subjects::g_counter::run),
    ("kafka-log", subjects::kafka_log::run),
    ("txn-rw", subjects::txn_rw::run),
];
