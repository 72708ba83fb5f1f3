//! The handlers, each with the requests of its clients and the rules for its replies.

pub mod broadcast;
pub mod echo;
pub mod g_counter;
pub mod kafka_log;
pub mod txn_rw;
pub mod unique_ids;
