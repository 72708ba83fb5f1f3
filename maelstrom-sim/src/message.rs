//! Messages in the network.

use maelstrom_core::NodeId;
use serde_json::value::RawValue;

/// A message under way.
#[derive(Clone, Debug)]
pub struct Message {
    /// Numbers the messages of a run.
    pub id: u64,
    /// The sender.
    pub src: NodeId,
    /// The receiver.
    pub dest: NodeId,
    /// Its body.
    pub body: Box<RawValue>,
}
