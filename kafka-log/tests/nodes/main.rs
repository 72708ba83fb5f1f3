//! A few nodes and `lin-kv`, between which messages take no time, on a clock that the test sets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may fail")]
#![allow(clippy::arithmetic_side_effects, reason = "tests may fail")]

mod cluster;
mod data_dir;
mod failures;
mod floors;
mod life_of_a_send;
mod minority;
mod recovery;
mod requests;
mod settings;
mod sizes;
mod snapshots;
mod traces;
mod transcript;
