//! The clients' side of the network: addresses, open calls, and replies.
//!
//! After `maelstrom.client`: one call at a time for each address, matched by `in_reply_to` alone;
//! whatever else arrives is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maelstrom_core::NodeId;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::workload::RequestBody;

/// How long a node may take to answer `init`.
pub(super) const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To tell a node its name.
    Init(NodeId),
    /// What a workload asks each node before the test.
    Setup(NodeId),
    /// An operation of this thread.
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
    /// At most one each five seconds.
    timed_out: BTreeSet<u64>,
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Any reply, its body as it came.
    Reply(Box<RawValue>),
    Timeout,
}

/// The open calls, by the address that waits.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeMap<NodeId, Call>,
    deadlines: BTreeSet<(Duration, NodeId)>,
    /// The requests of each address that were answered. An address asks with rising ids, so these are
    /// the ids up to the last one, without those that timed out.
    answered: BTreeMap<NodeId, Answered>,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether a thread waits for its operation.
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

    /// Ends the call that a message to `address` answers, if it answers one.
    pub(super) fn reply(&mut self, address: &NodeId, in_reply_to: Option<u64>) -> Option<Purpose> {
        if self.open.get(address)?.msg_id != in_reply_to? {
            return None;
        }
        let call = self.open.remove(address)?;
        self.deadlines.remove(&(call.deadline, address.clone()));
        self.answered.entry(address.clone()).or_default().last = call.msg_id;
        Some(call.purpose)
    }

    /// Whether a request of this address has had its answer already.
    pub(super) fn was_answered(&self, address: &NodeId, in_reply_to: Option<u64>) -> bool {
        let answered = self.answered.get(address).zip(in_reply_to);
        answered.is_some_and(|(answered, id)| {
            (1..=answered.last).contains(&id) && !answered.timed_out.contains(&id)
        })
    }

    /// An address is gone.
    pub(super) fn forget(&mut self, address: &NodeId) {
        self.answered.remove(address);
    }

    /// Ends the next call whose time is up.
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

/// A request's body: type and id first, as people like to read it.
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
