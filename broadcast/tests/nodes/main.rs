//! Tests of nodes, one by one or a few together. They are one program, since each program is a build.

mod curves;
mod data_dir;
mod figures;
mod many;
mod memory;
mod records;
mod values;
