//! What nodes do, one by one or a few together.

mod process;
mod properties;
