//! Tests of nodes, alone or a few together.

mod process;
mod properties;
