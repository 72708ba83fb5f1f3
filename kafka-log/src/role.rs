//! The role of a node in a partition: leader or follower.

use maelstrom_core::NodeId;

use crate::floor::{FloorReceiver, Restart};
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
    /// A follower with a log that ends at `end`. It follows `leader`, if that is known.
    pub(crate) fn follower(leader: Option<NodeId>, end: Position) -> Self {
        let log_match = LogMatch::Unknown { guess: end };
        let floor = FloorReceiver::default();
        Self::Follower(Follower {
            leader,
            leader_incarnation: None,
            log_match,
            has_gap: false,
            floor,
            restart: None,
        })
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
    /// The leader of the epoch, if it is known. The follower may not have heard from it yet.
    pub(crate) leader: Option<NodeId>,
    /// The incarnation of the leader, once the follower has heard from it.
    pub(crate) leader_incarnation: Option<u64>,
    pub(crate) log_match: LogMatch,
    /// True if the leader sent entries that do not follow this log.
    pub(crate) has_gap: bool,
    /// The parts of the leader's floor that have come so far.
    pub(crate) floor: FloorReceiver,
    /// The leader's floor on its way to the disk, if it is long.
    pub(crate) restart: Option<Box<Restart>>,
}

/// The part of a follower's log that is known to equal the leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogMatch {
    /// The whole log. Only now the follower appends and acknowledges.
    Whole,
    /// Not known. The follower asks its leader to compare this position.
    Unknown {
        /// The position.
        guess: Position,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_that_begins_asks_about_the_end_of_its_log_and_appends_nothing_yet() {
        let end: Position = 7;
        for leader in [None, Some(NodeId::from("n2"))] {
            let mut role = Role::follower(leader.clone(), end);
            let follower = role.as_follower().unwrap();
            assert_eq!(follower.leader, leader);
            assert_eq!(follower.log_match, LogMatch::Unknown { guess: end });
            assert_eq!((follower.leader_incarnation, follower.has_gap), (None, false));
            assert!(role.as_leader().is_none() && role.as_leader_mut().is_none());
            assert!(role.as_follower_mut().is_some());
        }
    }
}
