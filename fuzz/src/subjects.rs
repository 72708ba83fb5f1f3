//! The handlers, each with what its clients ask and what its replies may say.

pub mod broadcast;
pub mod echo;
pub mod g_counter;
pub mod kafka_log;
pub mod txn_rw;
pub mod unique_ids;
