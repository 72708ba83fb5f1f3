//! Tests of nodes, one by one or a few together.

mod process;
mod properties;
