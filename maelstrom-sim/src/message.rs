//! Messages in the network.

use maelstrom_core::NodeId;
use serde_json::value::RawValue;

/// A message in transit. [`Network`](crate::network::Network) shows it in use.
#[derive(Clone, Debug)]
pub struct Message {
    /// The message's number within the run.
    pub id: u64,
    /// The sender.
    pub src: NodeId,
    /// The receiver.
    pub dest: NodeId,
    /// Its body.
    pub body: Box<RawValue>,
}
