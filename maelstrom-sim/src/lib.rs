//! A checker for Maelstrom nodes: it plays the network, the clients and the nemesis, records a
//! history, and judges it.
//!
//! # Layout
//!
//! | module | what it is for |
//! |---|---|
//! | [`options`], [`arguments`] | what is to be tested: Maelstrom's options, names and defaults, and how it reads their values |
//! | [`world`] | a whole test as one event loop without I/O: what the nodes say and the time go in, what they are to hear comes out |
//! | [`network`], [`service`], [`nemesis`], [`partition`], [`topology`], [`generator`] | the parts of the world |
//! | [`workload`] | what clients do |
//! | [`history`], [`checker`] | what they saw, and the verdict on it |
//! | [`process`], [`run`] | a test with real processes, over pipes, in real time |
//! | [`simulate`] | a test with handlers in-process, in virtual time |
//! | [`sweep`] | many of these, each with other faults |
//! | [`trace`], [`store`], [`report`], [`edn`], [`limits`] | what is left of a test, and what a person gets to see |

// Counts and times of a test are far from overflow, and this is no node: nothing here has to stay
// up whatever it is sent. (A node's own crates deny this lint.)
#![allow(clippy::arithmetic_side_effects)]

pub mod arguments;
pub mod checker;
pub mod edn;
pub mod generator;
pub mod history;
mod json;
pub mod limits;
pub mod nemesis;
pub mod network;
pub mod options;
pub mod partition;
pub mod process;
pub mod report;
pub mod rng;
pub mod run;
pub mod service;
pub mod simulate;
pub mod store;
pub mod sweep;
pub mod topology;
pub mod trace;
pub mod workload;
pub mod world;
