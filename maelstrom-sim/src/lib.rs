//! A checker for Maelstrom nodes: it simulates the network, the clients and the nemesis, records a
//! history, and judges it.
//!
//! # Layout
//!
//! Each module imports only from modules above it, or to its left. `docs/architecture.md` in the
//! repository has the private modules as well, and the other crates.
//!
//! | module | purpose |
//! |---|---|
//! | [`rng`] | random numbers: one seed, with an independent stream for each purpose |
//! | [`arguments`], [`delivery`], [`options`] | the options of any test: Maelstrom's names and defaults, and how it parses their values |
//! | [`history`], [`chart`], [`checker`] | the operations that clients saw, and the charts and checkers that several workloads share |
//! | [`workload`] | the operations of clients and their checkers: the trait, and Maelstrom's workloads |
//! | [`partition`], [`stagger`], [`service`], [`nemesis`], [`news`], [`trace`], [`network`] | the parts of the world |
//! | [`results`], [`world`] | the verdict of a test; and a whole test as one event loop without I/O: the output of the nodes and the time go in, their input comes out |
//! | [`edn`], [`limits`], [`report`], [`store`] | the reports for people, and the stored files of a test |
//! | [`process`], [`run`] | a test with real processes, over pipes, in real time |
//! | [`simulate`], [`sweep`] | tests with in-process handlers, in virtual time: a single test, or many with different faults |
//! | [`serve`] | a web page over a store |
//! | [`cli`] | the command, for the built-in workloads and your own |
//!
//! The module `guide` is a chapter for users of the checker: runs, verdicts, and workloads. The
//! module `sweeps` is about thousands of seeds, and about the checkers.
//! The module `examples` has a page for each example: nodes for most workloads, and a crate with
//! its own workload.

// Counts and times of a test are far from overflow. And this crate is a checker, not a node that
// must survive any input: the crates of nodes deny this lint.
#![allow(clippy::arithmetic_side_effects)]

pub mod arguments;
pub mod chart;
pub mod checker;
pub mod cli;
pub mod delivery;
pub mod edn;
#[cfg(doc)]
pub mod examples;
mod excerpt;
mod fault;
pub mod history;
mod json;
pub mod limits;
mod message;
pub mod nemesis;
mod nemesis_op;
pub mod network;
pub mod news;
pub mod options;
pub mod partition;
pub mod process;
pub mod report;
pub mod results;
pub mod rng;
pub mod run;
pub mod serve;
pub mod service;
pub mod simulate;
pub mod stagger;
pub mod store;
pub mod sweep;
mod test;
pub mod trace;
pub mod workload;
pub mod world;

pub use self::test::Test;

// A page ends with the files that its labels mean in the repository. The first definition of a
// label counts, so here the labels mean items.
/// The crate's chapter of the guide. The documentation tests compile and run its examples.
///
/// [sweeps]: crate::sweeps
/// [g-set]: crate::examples::g_set
/// [lin-kv-proxy]: crate::examples::lin_kv_proxy
/// [list-append]: crate::examples::list_append
/// [own-workload]: crate::examples::own_workload
/// [pn-counter]: crate::examples::pn_counter
/// [raft]: crate::examples::raft
#[cfg(doc)]
#[doc = include_str!("../README.md")]
pub mod guide {}

/// Thousands of seeds: tests in virtual time.
///
/// [examples]: crate::examples
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../SWEEPS.md")]
pub mod sweeps {}
