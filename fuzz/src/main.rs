//! The program for libFuzzer. The environment variable `FUZZ_TARGET` names the target. With
//! `FUZZ_TRACE`, it writes each step of a case to stderr. `scripts/fuzz` runs it.

#![no_main]
#![expect(clippy::disallowed_methods, reason = "a program, and code of libFuzzer's macro")]

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use fuzz::{TARGETS, Target};

/// The target of this process.
static TARGET: OnceLock<Target> = OnceLock::new();

fn target() -> Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let is_traced = std::env::var_os("FUZZ_TRACE").is_some();
    fuzz::IS_TRACED.store(is_traced, Ordering::Relaxed);
    let names: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
    found.unwrap_or_else(|| panic!("FUZZ_TARGET must be one of {names:?}")).1
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET.get_or_init(target)(bytes));
