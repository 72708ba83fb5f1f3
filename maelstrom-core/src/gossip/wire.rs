//! What nodes say to each other: messages of one type, `gossip`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::State;
use super::burst::Place;
use super::replica::{Rest, Run, VersionVector};
use crate::message::NodeId;

/// A message between two engines. It tells what its sender has, whatever it is about: that is the
/// acknowledgement of all that came before.
///
/// Times are in microseconds, on the clock of whoever names them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "S: State")]
pub struct Message<S: State> {
    /// Which life of the sender speaks: a number drawn at random when it began.
    pub(super) life: u64,
    /// When it was sent.
    pub(super) sent: u64,
    /// The newest message that the sender has got from the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) echo: Option<Echo>,
    /// How soon the sender wants to hear what the receiver has; not at all if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer_within: Option<u64>,
    /// Rows of what the sender has, the entries of this message included: all rows without a `rest`.
    pub(super) have: VersionVector,
    /// The rows that `have` leaves out, in short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rest: Option<Rest>,
    /// Whom the sender takes for its hub; itself, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hub: Option<NodeId>,
    /// Whom it tries in vain to reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) lost: Vec<NodeId>,
    /// Rises with every change of `hub` and `lost`: a message may have been overtaken.
    pub(super) view: u64,
    /// Its place among several messages that were sent at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
    /// How long ago the sender last passed on what was new, and how long after that it may again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) beat: Option<(u64, u64)>,
    /// The sender's limit on lines, unless it is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<usize>,
    /// Entries that the receiver lacks.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub(super) runs: Vec<Run<S::Entry>>,
    /// Asks for what the sender lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fetch: Option<Fetch>,
    /// Answers a fetch: there may be more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) fetched: bool,
    /// Answers a fetch where the logs do not hold what is asked for any more.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub(super) piece: Option<Piece<S>>,
}

fn none<T>() -> Option<T> {
    None
}

/// "I have got this message of yours."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Echo {
    /// Which life of the receiver had sent it.
    pub(super) life: u64,
    /// Its `sent`.
    pub(super) sent: u64,
    /// How long ago it came.
    pub(super) held: u64,
}

/// A request for what the sender lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fetch {
    /// Where to go on with a snapshot, if one has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<u64>,
    /// How many messages the answer may take.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(super) batches: usize,
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
    /// Where it begins.
    pub(super) position: u64,
    /// Where the next one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u64>,
    /// The part.
    pub(super) part: S::Piece,
}

/// The body of a [`Message`]: the handler's payload has the same variant.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", bound = "S: State")]
pub(super) enum Body<'a, S: State> {
    Gossip(&'a Message<S>),
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
