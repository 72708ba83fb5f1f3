//! The role of a node in a partition: leader or follower.

use maelstrom_core::NodeId;

use crate::floor::FloorReceiver;
use crate::leader::Leader;
use crate::wire::Position;

/// The role of a node in a partition.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// It leads, in the partition's epoch.
    Leader(Box<Leader>),
    /// It follows, or does not know yet which node leads.
    Follower(Follower),
}

impl Role {
    /// A follower of `leader`, if it is known, whose log ends at `end`.
    pub(crate) fn follower(leader: Option<NodeId>, end: Position) -> Self {
        let progress = Match::Unknown { guess: end };
        let floor = FloorReceiver::default();
        Self::Follower(Follower { leader, led_by: None, progress, has_gap: false, floor })
    }

    pub(crate) fn as_leader(&self) -> Option<&Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            Self::Follower(_) => None,
        }
    }

    pub(crate) fn as_leader_mut(&mut self) -> Option<&mut Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            Self::Follower(_) => None,
        }
    }

    pub(crate) fn as_follower(&self) -> Option<&Follower> {
        match self {
            Self::Leader(_) => None,
            Self::Follower(follower) => Some(follower),
        }
    }

    pub(crate) fn as_follower_mut(&mut self) -> Option<&mut Follower> {
        match self {
            Self::Leader(_) => None,
            Self::Follower(follower) => Some(follower),
        }
    }
}

/// The state of a follower in one epoch.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// The leader of the epoch, if it is known. It may not have been heard from.
    pub(crate) leader: Option<NodeId>,
    /// The incarnation of the leader that was heard to lead.
    pub(crate) led_by: Option<u64>,
    pub(crate) progress: Match,
    /// Whether the leader sent something that does not follow what is here.
    pub(crate) has_gap: bool,
    /// The parts of its floor that the leader has told so far.
    pub(crate) floor: FloorReceiver,
}

/// How far a follower's log is known to be its leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// Up to its end. Only now the follower appends and acknowledges.
    Whole,
    /// It is not known. The follower asks its leader to look at this position.
    Unknown {
        /// The position.
        guess: Position,
    },
}
