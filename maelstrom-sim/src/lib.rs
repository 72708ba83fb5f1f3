//! A checker for Maelstrom nodes: it plays the network, the clients and the nemesis, records a
//! history, and judges it.
//!
//! # Layout
//!
//! Each module imports from those above it only.
//!
//! | module | what it is for |
//! |---|---|
//! | [`options`], [`arguments`] | the options of any test: Maelstrom's names and defaults, and how it reads their values |
//! | [`history`], [`checker`], [`chart`] | what clients saw, and the checkers and charts that several workloads share |
//! | [`workload`] | what clients do, and how it is judged: the trait, and Maelstrom's workloads |
//! | [`network`], [`service`], [`nemesis`], [`partition`], [`stagger`], [`trace`] | the parts of the world |
//! | [`world`], [`results`] | a whole test as one event loop without I/O: what the nodes say and the time go in, what they are to hear comes out; and its verdict |
//! | [`process`], [`run`] | a test with real processes, over pipes, in real time |
//! | [`simulate`], [`sweep`] | tests with handlers in-process, in virtual time: one, or many with other faults each |
//! | [`store`], [`report`], [`edn`], [`limits`] | what is left of a test, and what a person gets to see |
//! | [`serve`] | a web page over a store |
//! | [`cli`] | the command, for the built-in workloads and those of users |
//!
//! The module `examples` has a page for each example: nodes for most workloads, and a workload of one's
//! own.

// Counts and times of a test are far from overflow, and this is no node: nothing here has to stay
// up whatever it is sent. (A node's own crates deny this lint.)
#![allow(clippy::arithmetic_side_effects)]

pub mod arguments;
pub mod chart;
pub mod checker;
pub mod cli;
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
