//! The messages between nodes: one type, `gossip`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::State;
use super::burst::Place;
use super::replica::{DigestedRows, Run, VersionVector};
use crate::message::NodeId;

/// A message between two engines. Every message states the version of its sender, which
/// acknowledges everything before it.
///
/// Times are in microseconds, on the clock of the node that states them.
///
/// [`forward_to_gossip!`](crate::forward_to_gossip) shows it in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "S: State")]
pub struct Message<S: State> {
    /// The life of the sender: a number drawn at random when it began.
    pub(super) life: u64,
    /// When it was sent.
    pub(super) sent: u64,
    /// The newest message that the sender has received from the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) echo: Option<Echo>,
    /// How soon the sender wants an answer with the receiver's version. `None`: it wants none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer_within: Option<u64>,
    /// Rows of the sender's version, including the entries of this message. All rows, if there is
    /// no `rest`.
    pub(super) have: VersionVector,
    /// A digest of the rows that `have` leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rest: Option<DigestedRows>,
    /// The sender's hub. `None`: the sender has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hub: Option<NodeId>,
    /// The nodes that the sender cannot reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) lost: Vec<NodeId>,
    /// Increases with every change of `hub` and `lost`, because messages may overtake each other.
    pub(super) view: u64,
    /// Its place in a burst, if it is part of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
    /// The age of the sender's last beat, and the period after it: 0 if it is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) beat: Option<(u64, u64)>,
    /// The sender's limit on lines, unless it is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<usize>,
    /// Entries that the receiver lacks.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub(super) runs: Vec<Run<S::Entry>>,
    /// A request for the entries that the sender lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fetch: Option<Fetch>,
    /// Whether the message answers a fetch. There may be more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) fetched: bool,
    /// A piece of the state, which answers a fetch of entries that the logs do not hold any more.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub(super) piece: Option<Piece<S>>,
}

fn none<T>() -> Option<T> {
    None
}

/// The acknowledgement of a single message: the sender has received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Echo {
    /// The life of the receiver that sent it.
    pub(super) life: u64,
    /// Its `sent`.
    pub(super) sent: u64,
    /// How long ago it arrived.
    pub(super) held: u64,
}

/// A request for the entries that the sender lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fetch {
    /// The position at which to continue a snapshot, if one has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<u64>,
    /// How many messages the answer may take.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(super) batches: usize,
    /// Rows of the version that is coming to the sender: it merges a snapshot, and asks for entries
    /// after that. It takes no other snapshot meanwhile. This is no acknowledgement: the sender
    /// cannot pass these entries on yet.
    #[serde(default, skip_serializing_if = "VersionVector::is_empty")]
    pub(super) coming: VersionVector,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(batches: &usize) -> bool {
    *batches == 1
}

/// A part of a node's whole state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "S: State")]
pub(super) struct Piece<S: State> {
    /// The position at which it begins.
    pub(super) position: u64,
    /// The position of the next part. `None`: this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u64>,
    /// The part.
    pub(super) part: S::Piece,
}

/// The body of a [`Message`]. The handler's payload has the same variant.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", bound = "S: State")]
pub(super) enum Body<'a, S: State> {
    Gossip(&'a Message<S>),
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
