//! Fuzz targets: each takes bytes, and panics if an invariant does not hold.
//!
//! `make fuzz` runs every target for a while, beginning with its stored corpus. `scripts/fuzz`
//! describes how to run one for longer, and how to replay a finding. Each target is a function of
//! its bytes alone, so a file with these bytes is enough to reproduce a finding.
//!
//! | target | input and invariant |
//! |---|---|
//! | [`lines`] | a line for the decoder, which must read it as serde_json does |
//! | [`fields`] | the same, for a line that is made of chosen fields |
//! | [`chunks`] | a stream in chunks for the splitter of lines |
//! | [`payloads`] | the messages and records of nodes, as text: stable, and as serde_json reads them |
//! | [`echo`](subjects::echo), … | a cluster of one handler: see [`world`] |
//!
//! libFuzzer guides the search by the coverage that LLVM counts. This needs no nightly compiler.

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

/// Whether each step of a case is written to stderr.
pub static IS_TRACED: AtomicBool = AtomicBool::new(false);

/// Writes a step to stderr if tracing is on.
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
