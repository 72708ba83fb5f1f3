//! Nodes by themselves, and under the built-in checker.

mod simulation;
mod values;
