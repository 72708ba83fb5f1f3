//! What nodes do, one by one or a few together. One program for all of it, since each more is a build.

mod data_dir;
mod figures;
mod many;
mod memory;
mod records;
mod values;
