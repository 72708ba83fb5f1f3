//! A checker for Maelstrom nodes: it simulates the network, the clients and the nemesis, records a
//! history, and judges it.
//!
//! # Layout
//!
//! Each module imports only from modules above it.
//!
//! | module | purpose |
//! |---|---|
//! | [`options`], [`arguments`] | the options of any test: Maelstrom's names and defaults, and how it parses their values |
//! | [`history`], [`checker`], [`chart`] | the operations that clients saw, and the checkers and charts that several workloads share |
//! | [`workload`] | the operations of clients and their checkers: the trait, and Maelstrom's workloads |
//! | [`network`], [`service`], [`nemesis`], [`partition`], [`stagger`], [`trace`] | the parts of the world |
//! | [`world`], [`results`] | a whole test as one event loop without I/O: the output of the nodes and the time go in, their input comes out; and its verdict |
//! | [`process`], [`run`] | a test with real processes, over pipes, in real time |
//! | [`simulate`], [`sweep`] | tests with in-process handlers, in virtual time: a single test, or many with different faults |
//! | [`store`], [`report`], [`edn`], [`limits`] | the stored files of a test, and the reports for people |
//! | [`serve`] | a web page over a store |
//! | [`cli`] | the command, for the built-in workloads and your own |
//!
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

/// The examples of the guide, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Guide;
