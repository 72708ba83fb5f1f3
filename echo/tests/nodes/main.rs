//! Nodes alone, and under the built-in checker.

mod simulation;
mod values;
