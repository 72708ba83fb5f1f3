//! The client side of the network: addresses, open calls, and replies.
//!
//! After `maelstrom.client`: each address has at most one open call. Only `in_reply_to` matches a
//! reply to its call. Other messages are dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maelstrom_core::NodeId;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::workload::RequestBody;

/// How long a node may take to answer `init`.
pub(super) const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The purpose of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An `init` request.
    Init(NodeId),
    /// A set-up request of the workload, before the test.
    Setup(NodeId),
    /// A request of an operation of this thread.
    Op(usize),
}

#[derive(Debug)]
struct Call {
    msg_id: u64,
    deadline: Duration,
    purpose: Purpose,
}

/// The answered requests of an address.
#[derive(Debug, Default)]
struct Answered {
    last: u64,
    /// The requests that timed out. There are few, because each one waits for a whole timeout.
    timed_out: BTreeSet<u64>,
}

/// The outcome of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The body of a reply, as received.
    Reply(Box<RawValue>),
    Timeout,
}

/// The open calls, by the address of the client.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeMap<NodeId, Call>,
    deadlines: BTreeSet<(Duration, NodeId)>,
    /// The answered requests of each address. Request ids ascend, so these are all ids up to the
    /// last one, except those that timed out.
    answered: BTreeMap<NodeId, Answered>,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether a thread waits for a reply to its operation.
    pub(super) fn has_ops(&self) -> bool {
        self.open.values().any(|call| matches!(call.purpose, Purpose::Op(_)))
    }

    /// The nodes that have an open `init`.
    pub(super) fn inits(&self) -> impl Iterator<Item = &NodeId> {
        self.open.values().filter_map(|call| match &call.purpose {
            Purpose::Init(node) => Some(node),
            _ => None,
        })
    }

    pub(super) fn begin(
        &mut self,
        address: NodeId,
        msg_id: u64,
        deadline: Duration,
        purpose: Purpose,
    ) {
        self.deadlines.insert((deadline, address.clone()));
        self.open.insert(address, Call { msg_id, deadline, purpose });
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ends the call to which a message to `address` replies, if there is one.
    pub(super) fn reply(&mut self, address: &NodeId, in_reply_to: Option<u64>) -> Option<Purpose> {
        if self.open.get(address)?.msg_id != in_reply_to? {
            return None;
        }
        let call = self.open.remove(address)?;
        self.deadlines.remove(&(call.deadline, address.clone()));
        self.answered.entry(address.clone()).or_default().last = call.msg_id;
        Some(call.purpose)
    }

    /// Whether a request of this address already had its reply.
    pub(super) fn was_answered(&self, address: &NodeId, in_reply_to: Option<u64>) -> bool {
        let answered = self.answered.get(address).zip(in_reply_to);
        answered.is_some_and(|(answered, id)| {
            (1..=answered.last).contains(&id) && !answered.timed_out.contains(&id)
        })
    }

    /// Forgets an address that has left the network.
    pub(super) fn forget(&mut self, address: &NodeId) {
        self.answered.remove(address);
    }

    /// Ends the next call that has timed out.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<(NodeId, Purpose)> {
        if self.next_deadline()? > now {
            return None;
        }
        let (_, address) = self.deadlines.pop_first()?;
        let call = self.open.remove(&address)?;
        self.answered.entry(address.clone()).or_default().timed_out.insert(call.msg_id);
        Some((address, call.purpose))
    }
}

/// Encodes the body of a request, with type and id first for readability.
pub(super) fn encode(request: &RequestBody, msg_id: u64) -> serde_json::Result<Box<RawValue>> {
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::new(&mut out);
    let mut map = json.serialize_map(None)?;
    map.serialize_entry("type", request.kind)?;
    map.serialize_entry("msg_id", &msg_id)?;
    for (name, value) in &request.fields {
        map.serialize_entry(name, value)?;
    }
    map.end()?;
    let text = String::from_utf8(out).map_err(serde::de::Error::custom)?;
    RawValue::from_string(text)
}
