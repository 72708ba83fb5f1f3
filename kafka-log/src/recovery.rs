//! A partition that has records on disks, but none in `lin-kv`: the replicas compare what they hold,
//! and the most complete log leads on.
//!
//! This happens whenever a cluster with records is started with an empty `lin-kv`.
//!
//! The invariants:
//!
//! * A node that keeps records creates a partition as new only if every replica holds nothing of it.
//! * Without [`unclean`](Comparison::unclean), nothing that was committed is lost. Every replica has
//!   told what it holds. A leader steps down before it tells. So one of the logs holds all that was
//!   committed, and the one whose last entry has the highest epoch does, and the longest of those
//!   (the election restriction of Raft, section 5.4.1 of its paper: each leader was in sync, so its
//!   log held what was committed before, and an entry's epoch and position name it).
//! * The new leader's epoch is above every epoch that any replica knows, so two logs never share one.
//! * A replica that was in sync and lost its records may have been the only one to hold a committed
//!   entry. This is noticed, and the partition stays unavailable. Followers keep who led the newest
//!   epoch that they know ([`Holding::leader`]), leaders keep who may be in sync
//!   ([`Holding::known`]). Proof: let `x` be the last leader, and its records lost. If another
//!   replica knows its epoch, it knows `x`. Else `x` took over from a leader that had it in sync,
//!   and whose records name it. If those are lost, too, the same holds for that leader.
//! * Logs of different names are not compared: the partition stays unavailable.
//!
//! An unclean recovery goes on without what is missing. It skips [`UNCLEAN_EPOCHS`] epochs, more than
//! a missing replica can have seen. So if that replica comes back, the ordinary comparison of epochs
//! (KIP-101) finds the entries that it alone has, and cuts them off.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use maelstrom_core::NodeId;
use serde::{Deserialize, Serialize};

use crate::meta::Metadata;
use crate::wire::{Epoch, LogId, Position, ReplicaId, is_zero};

/// How many epochs an unclean recovery skips: more than a missing replica can have seen, at one
/// election a second for a hundred years.
pub const UNCLEAN_EPOCHS: Epoch = 1 << 32;

/// What a replica holds of a partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    /// Of which log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_id: LogId,
    /// The newest epoch that it knows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: Epoch,
    /// The leader of that epoch, if the replica has heard from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<ReplicaId>,
    /// The epoch of its last entry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last: Epoch,
    /// Where its log ends.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub end: Position,
    /// The newest version of the record in `lin-kv` that it knew as the leader, with every replica
    /// that may have been in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Metadata>,
}

impl Holding {
    /// Whether the replica knows nothing of the partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.epoch == 0 && self.end == 0
    }

    /// How complete the log is: the higher one holds all that is committed.
    fn rank(&self) -> (Epoch, Position) {
        (self.last, self.end)
    }

    fn newest_epoch(&self) -> Epoch {
        self.known.as_ref().map_or(self.epoch, |known| known.epoch.max(self.epoch))
    }
}

/// Why a partition stays unavailable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// These nodes have not told yet what they hold.
    Silent(Vec<NodeId>),
    /// These replicas may have been in sync, and their nodes have lost their records since.
    Lost(BTreeSet<ReplicaId>),
    /// These nodes hold logs of different names.
    Strangers(Vec<NodeId>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nodes: &mut dyn Iterator<Item = &NodeId>| {
            nodes.map(|node| node.to_string()).collect::<Vec<_>>().join(" and ")
        };
        f.write_str("lin-kv has no record of the partition, and ")?;
        match self {
            Self::Silent(nodes) => {
                write!(f, "{} did not tell what is on disk there", list(&mut nodes.iter()))
            }
            Self::Lost(replicas) => {
                let nodes = list(&mut replicas.iter().map(|replica| &replica.node));
                write!(f, "the records of {nodes} are gone, which may have had messages alone")
            }
            Self::Strangers(nodes) => {
                write!(
                    f,
                    "another log of it than the others have is at {}",
                    list(&mut nodes.iter())
                )
            }
        }
    }
}

/// What is to be done about a partition that `lin-kv` has no record of.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It is new.
    Create,
    /// This node leads on, with this record. It has no name if the log had none.
    Lead(Metadata),
    /// That node leads on.
    Follow(NodeId),
    /// Nothing, yet.
    Wait(Reason),
}

/// What the replicas of a partition hold, as far as they have told.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// The replicas, the preferred leader first.
    pub replicas: &'a [NodeId],
    /// What each of them holds, this node too, and in which incarnation.
    pub holdings: BTreeMap<NodeId, (u64, Holding)>,
    /// Whether to go on without what is missing.
    pub unclean: bool,
}

impl Comparison<'_> {
    /// What `own` is to do.
    #[must_use]
    pub fn decide(&self, own: &NodeId) -> Decision {
        let reason = self.reason();
        if let Some(reason) = reason.clone().filter(|_| !self.unclean) {
            return Decision::Wait(reason);
        }
        let Some((leader, best)) = self.most_complete() else { return Decision::Create };
        if leader.node != *own {
            return Decision::Follow(leader.node);
        }
        let has_all = |holding: &Holding| {
            holding.rank() == best.rank() && (holding.is_empty() || is_same_log(holding, best))
        };
        let in_sync = self.holdings.iter().filter(|(_, (_, holding))| has_all(holding));
        let in_sync = in_sync.map(|(node, (incarnation, _))| ReplicaId {
            node: node.clone(),
            incarnation: *incarnation,
        });
        let all = || self.holdings.values().map(|(_, holding)| holding);
        let epoch = all().map(Holding::newest_epoch).max().unwrap_or(0);
        let version = all().filter_map(|holding| holding.known.as_ref().map(|known| known.version));
        let step = if reason.is_some() { UNCLEAN_EPOCHS } else { 1 };
        Decision::Lead(Metadata {
            log_id: best.log_id,
            version: version.max().unwrap_or(0).saturating_add(1),
            epoch: epoch.saturating_add(step),
            in_sync: in_sync.chain([leader.clone()]).collect(),
            leader,
        })
    }

    /// The replica that holds the most, the first of several; none if nobody holds anything.
    fn most_complete(&self) -> Option<(ReplicaId, &Holding)> {
        let all = self.replicas.iter().rev().filter_map(|node| {
            let (incarnation, holding) = self.holdings.get(node)?;
            Some((ReplicaId { node: node.clone(), incarnation: *incarnation }, holding))
        });
        let all = all.filter(|(_, holding)| !holding.is_empty());
        all.max_by_key(|(_, holding)| holding.rank())
    }

    /// Why nobody can tell which log holds all that is committed.
    fn reason(&self) -> Option<Reason> {
        let silent = self.replicas.iter().filter(|node| !self.holdings.contains_key(*node));
        let silent: Vec<NodeId> = silent.cloned().collect();
        if !silent.is_empty() {
            return Some(Reason::Silent(silent));
        }
        let (_, best) = self.most_complete()?;
        let is_stranger = |other: &Holding| !other.is_empty() && !is_same_log(other, best);
        let strangers = self.holdings.iter().filter(|(_, (_, other))| is_stranger(other));
        let strangers: Vec<NodeId> = strangers.map(|(node, _)| node.clone()).collect();
        if !strangers.is_empty() {
            return Some(Reason::Strangers(strangers));
        }
        let all = || self.holdings.values().map(|(_, holding)| holding);
        let epoch = all().map(|holding| holding.epoch).max()?;
        let leaders = all()
            .filter(|holding| holding.epoch == epoch)
            .filter_map(|holding| holding.leader.as_ref());
        let known = all().filter_map(|holding| holding.known.as_ref());
        let in_sync =
            known.max_by_key(|known| (known.version, known.epoch)).map(|known| &known.in_sync);
        let is_here = |id: &ReplicaId| {
            self.holdings
                .get(&id.node)
                .is_some_and(|(incarnation, _)| *incarnation == id.incarnation)
        };
        let needed = leaders.chain(in_sync.into_iter().flatten());
        let lost: BTreeSet<ReplicaId> = needed.filter(|id| !is_here(id)).cloned().collect();
        (!lost.is_empty()).then_some(Reason::Lost(lost))
    }
}

fn is_same_log(one: &Holding, other: &Holding) -> bool {
    one.log_id == other.log_id || one.log_id == 0 || other.log_id == 0
}

/// Bounds of the time after which `lin-kv` and the other replicas are asked again.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(4);

/// How long an unclean recovery waits for what is missing.
pub const UNCLEAN_AFTER: Duration = Duration::from_secs(5);

/// A comparison that is under way at one replica.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    since: Duration,
    /// When to ask again.
    pub(crate) retry_at: Duration,
    retry_after: Duration,
    answers: BTreeMap<NodeId, (u64, Holding)>,
    /// Why the partition is unavailable, when this was last looked at.
    pub(crate) reason: Option<Reason>,
}

impl Recovery {
    pub(crate) fn new(now: Duration) -> Self {
        let (retry_at, retry_after) = (now, RETRY_MIN);
        Self { since: now, retry_at, retry_after, answers: BTreeMap::new(), reason: None }
    }

    /// Another replica has told what it holds.
    pub(crate) fn answered(&mut self, node: NodeId, incarnation: u64, holding: Holding) {
        self.answers.insert(node, (incarnation, holding));
    }

    /// The node has begun a new life: it may hold something else.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.answers.remove(node);
    }

    pub(crate) fn lacks(&self, node: &NodeId) -> bool {
        !self.answers.contains_key(node)
    }

    pub(crate) fn answers(&self) -> &BTreeMap<NodeId, (u64, Holding)> {
        &self.answers
    }

    /// When somebody should be told why the partition is unavailable.
    pub(crate) fn report_at(&self) -> Duration {
        self.since.saturating_add(RETRY_MIN)
    }

    /// When what is missing has been waited for long enough, if it is to be done without.
    pub(crate) fn unclean_at(&self) -> Duration {
        self.since.saturating_add(UNCLEAN_AFTER)
    }

    /// `lin-kv` and the others are being asked. Each time they are asked again after twice the time.
    pub(crate) fn postpone(&mut self, now: Duration) {
        self.retry_at = now.saturating_add(self.retry_after);
        self.retry_after = self.retry_after.saturating_mul(2).min(RETRY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["n1", "n2", "n3"];

    fn id(node: &str, incarnation: u64) -> ReplicaId {
        ReplicaId { node: node.into(), incarnation }
    }

    /// A log of the name 7.
    fn log(epoch: Epoch, last: Epoch, end: Position) -> Holding {
        Holding { log_id: 7, epoch, last, end, ..Holding::default() }
    }

    /// What is decided if `n1`, `n2`, and so on hold this. Everyone decides the same.
    fn decide(holdings: &[Option<Holding>], unclean: bool) -> Decision {
        let replicas = NAMES.map(NodeId::from);
        let told = NAMES.iter().zip(1..).zip(holdings);
        let told = told.filter_map(|((node, incarnation), holding)| {
            Some(((*node).into(), (incarnation, holding.clone()?)))
        });
        let comparison = Comparison { replicas: &replicas, holdings: told.collect(), unclean };
        let [first, rest @ ..] = replicas.each_ref().map(|own| comparison.decide(own));
        let mut leads = matches!(first, Decision::Lead(_)).then(|| first.clone());
        for decision in &rest {
            match decision {
                Decision::Lead(_) => {
                    assert_eq!(leads, None, "two lead");
                    leads = Some(decision.clone());
                }
                Decision::Follow(_) => {}
                other => assert_eq!(*other, first),
            }
        }
        leads.unwrap_or(first)
    }

    /// Who leads, in which epoch, and who is in sync.
    fn led(holdings: &[Option<Holding>], unclean: bool) -> (String, Epoch, Vec<String>) {
        let Decision::Lead(record) = decide(holdings, unclean) else { panic!("nobody leads") };
        let in_sync = record.nodes().map(ToString::to_string).collect();
        (record.leader.node.to_string(), record.epoch, in_sync)
    }

    #[test]
    fn the_most_complete_log_of_the_highest_epoch_leads_in_a_higher_one() {
        let table = [
            // One log is longer.
            ([log(1, 1, 3), log(1, 1, 5), log(1, 1, 4)], "n2", 2, "n2"),
            // A longer one is of an older epoch: what it has more was not committed.
            ([log(1, 1, 9), log(2, 2, 4), log(2, 2, 3)], "n2", 3, "n2"),
            // Whoever knows of a newer epoch, but has no entry of it, does not lead.
            ([log(9, 1, 3), log(2, 2, 4), log(2, 2, 4)], "n2", 10, "n2 n3"),
            // Equal logs are in sync.
            ([log(3, 2, 4), log(3, 2, 4), log(3, 2, 4)], "n1", 4, "n1 n2 n3"),
            // Nobody has any message.
            ([log(1, 0, 0), log(1, 0, 0), Holding::default()], "n1", 2, "n1 n2 n3"),
            // One holds nothing.
            ([Holding::default(), log(4, 4, 1), Holding::default()], "n2", 5, "n2"),
        ];
        for (holdings, leader, epoch, in_sync) in table {
            let holdings = holdings.map(Some);
            let (by, new, with) = led(&holdings, false);
            assert_eq!((&*by, new, &*with.join(" ")), (leader, epoch, in_sync), "{holdings:?}");
        }
    }

    #[test]
    fn a_partition_is_new_only_if_all_hold_nothing() {
        let nothing = || Some(Holding::default());
        assert_eq!(decide(&[nothing(), nothing(), nothing()], false), Decision::Create);
        let silent = Reason::Silent(vec!["n3".into()]);
        assert_eq!(decide(&[nothing(), nothing(), None], false), Decision::Wait(silent));
        assert_eq!(decide(&[nothing(), nothing(), None], true), Decision::Create);
    }

    #[test]
    fn nobody_leads_while_one_is_silent_unless_it_is_unclean() {
        let holdings = [Some(log(1, 1, 3)), None, Some(log(1, 1, 2))];
        let silent = Reason::Silent(vec!["n2".into()]);
        assert_eq!(decide(&holdings, false), Decision::Wait(silent));
        assert_eq!(led(&holdings, true), ("n1".into(), 1 + UNCLEAN_EPOCHS, vec!["n1".into()]));
    }

    #[test]
    fn with_the_flag_a_recovery_is_clean_if_nothing_is_missing() {
        let holdings = [log(1, 1, 3), log(1, 1, 2), log(1, 1, 2)].map(Some);
        assert_eq!(led(&holdings, true), led(&holdings, false));
    }

    #[test]
    fn the_leader_of_the_newest_epoch_must_be_there_with_its_records() {
        for (incarnation, is_lost) in [(3, false), (8, true)] {
            let leader = Some(id("n3", incarnation));
            let follower = Holding { leader, ..log(2, 2, 4) };
            // An older leader does not matter.
            let older = Holding { leader: Some(id("n2", 9)), ..log(1, 1, 4) };
            let holdings = [Some(follower), Some(older), Some(Holding::default())];
            let lost = Reason::Lost(BTreeSet::from([id("n3", 8)]));
            let is_waiting = decide(&holdings, false) == Decision::Wait(lost);
            assert_eq!(is_waiting, is_lost, "{incarnation}");
            assert_eq!(led(&holdings, true).0, "n1");
        }
    }

    #[test]
    fn whoever_may_have_been_in_sync_must_be_there_with_its_records() {
        let known = |version, in_sync: &[ReplicaId]| {
            let first = Metadata::first(7, id("n1", 1), in_sync.iter().cloned());
            Some(Metadata { version, ..first })
        };
        let old = Holding { known: known(4, &[id("n2", 9)]), ..log(1, 1, 4) };
        let fine = Holding { known: known(5, &[id("n2", 2)]), ..log(1, 1, 4) };
        let bad = Holding { known: known(5, &[id("n3", 9)]), ..log(1, 1, 4) };
        let other = || Some(log(1, 1, 4));
        assert_eq!(led(&[Some(old.clone()), Some(fine), other()], false).1, 2);
        let lost = Reason::Lost(BTreeSet::from([id("n3", 9)]));
        assert_eq!(decide(&[Some(old), Some(bad), other()], false), Decision::Wait(lost));
    }

    #[test]
    fn the_new_record_is_newer_than_all_and_keeps_the_name() {
        let known = Metadata { version: 41, epoch: 6, ..Metadata::first(7, id("n1", 1), []) };
        let holdings = [Some(Holding { known: Some(known), ..log(5, 5, 4) }), None, None];
        let Decision::Lead(record) = decide(&holdings, true) else { panic!("nobody leads") };
        assert_eq!((record.log_id, record.version, record.epoch), (7, 42, 7 + UNCLEAN_EPOCHS - 1));
    }

    #[test]
    fn logs_of_different_names_are_not_compared() {
        let other = Holding { log_id: 8, ..log(1, 1, 9) };
        let holdings = [Some(log(2, 2, 4)), Some(other), Some(Holding::default())];
        let strangers = Reason::Strangers(vec!["n2".into()]);
        assert_eq!(decide(&holdings, false), Decision::Wait(strangers));
        assert_eq!(led(&holdings, true).2, ["n1"]);
        // Records of earlier versions have no name.
        let nameless = Holding { log_id: 0, ..log(1, 1, 9) };
        let holdings = [Some(log(2, 2, 4)), Some(nameless), Some(Holding::default())];
        assert_eq!(led(&holdings, false).0, "n1");
    }
}
