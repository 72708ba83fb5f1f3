//! Recovery of a partition that has records on disks, but none in `lin-kv`. The replicas compare
//! their records, and the most complete log becomes the leader's.
//!
//! This happens whenever a cluster with records is started with an empty `lin-kv`.
//!
//! The invariants, for a `lin-kv` that is emptied only while no node runs:
//!
//! * A node that keeps records creates a partition as new only if no replica holds anything of it.
//! * Without [`unclean`](Comparison::unclean), no committed entry is lost. The node decides only
//!   when every replica has described its records. A replica sends no description while it leads,
//!   or while its own compare-and-set is under way, since its log could still grow. So one of the
//!   logs has all committed entries: of those that matched the leader of the newest epoch, the
//!   longest one ([`Holding::matched`]). This is the rule of Viewstamped Replication (Liskov and
//!   Cowling, *Viewstamped Replication Revisited*, 2012, section 4.2). Let `e` be that epoch. Its
//!   leader was in sync before, so its log had all entries that were committed before `e`. A
//!   replica that matched holds a part of the leader's log from the beginning, and every replica
//!   that was in sync in `e` matched before it acknowledged anything.
//! * The epoch of the last entry does not tell which log is the most complete one. A leader may
//!   commit entries of earlier epochs without an entry of its own, which a leader in Raft does not
//!   (section 5.4.2 and figure 8 of its paper). Another replica may hold an entry of an epoch
//!   between these, which was never committed.
//! * The new leader's epoch is above every epoch that any replica knows or has proposed, so two
//!   logs never share one.
//! * A replica that was in sync and lost its records may have been the only one with a committed
//!   entry. The other replicas notice this, with one exception below, and the partition stays
//!   unavailable.
//! * Logs of different names are not compared. The partition then stays unavailable, even with
//!   `unclean`.
//!
//! # How the replicas notice a loss
//!
//! A replica keeps the newest leader that it heard from ([`Holding::leader`]). Before it asks for a
//! change of the record in `lin-kv`, it makes the change durable ([`Holding::last_proposal`]). The
//! durable record names all replicas that are in sync or eligible before or after the change. A
//! recovery needs all replicas that the newest leaders and the newest changes name, in the same
//! incarnation.
//!
//! Proof: let `K` be the newest change that a present replica has kept, made from the record `R`
//! with the version before. Assume that no present replica knows of the next change of `R` in
//! `lin-kv`. The replica that asked for it was in sync or eligible in `R`, and made it durable
//! first. So it has lost its records since. `K` names it, because `K` names all replicas that were
//! in sync or [eligible](crate::Metadata::eligible) in `R`. If `K` itself succeeded, the same holds
//! with `K` in the place of `R`. If no present replica has kept any change, all of them were
//! followers only. The newest leader that one of them heard from had kept the change that made it
//! the leader. So it has lost its records, and a follower names it.
//!
//! The exception is a leader that a recovery chose, although it was not in sync before. Assume that
//! it commits alone and then loses its records, and that no other replica heard from it in between.
//! Then no replica names it.
//!
//! # The last commit before a loss of power
//!
//! The replicas may not notice one kind of loss. After a loss of power, a store cannot tell apart
//! damage to the very last commit and a commit that was never finished. (After a kill it can, since
//! a file beside the journal has the number of records.) The replica restarts in the same
//! incarnation, without its newest records.
//!
//! * While a leader with these entries runs, nothing is lost: it learns in the replica's new life
//!   where the log ends, and sends the rest again. With an empty `lin-kv`, nothing is lost either,
//!   as long as another log is more complete.
//! * If the leader fails before that, the replica can take over, since it still counts as in sync.
//!   Then an acknowledged message is lost, even with `--min-isr 2`. The same can happen if the
//!   newest epoch was in that commit: the replica then follows a leader that has been replaced.
//!
//! In Kafka, a broker that restarts after an unclean stop is not in sync any more (KIP-966). Here
//! it stays in sync. If all nodes lost power at once, no replica would be in sync. All replicas
//! that were in sync before would then have to be present, to compare their logs. A single absent
//! one would make the partition unavailable. A loss of power alone never causes this loss: the disk
//! has to damage data that it has synced.
//!
//! # Eligible replicas
//!
//! The record that a recovery creates names no [eligible](crate::Metadata::eligible) replica, even
//! if fewer than `--min-isr` replicas are in sync. An eligible replica has all committed entries.
//! The disks prove this only of the most complete log:
//!
//! * A durable change names the replicas before *and* after it. So a replica that it names may have
//!   left the in-sync set before the last commit.
//! * That N replicas lack an entry does not prove that it was never committed. `--min-isr` may have
//!   been lower then, and it changes when all nodes restart, as they do here.
//! * After an unclean recovery, a replica that is missing may have committed entries alone. Then
//!   not even the leader is known to have all.
//!
//! The price is availability, and only for a moment: until N replicas have caught up, a partition
//! whose replicas in sync lose their records is unavailable. Nothing is committed in that time.
//! Later changes of the record follow the usual rule: a replica in sync has the leader's whole log.
//!
//! # Unclean recovery
//!
//! An unclean recovery does not wait for the replicas that are missing. It skips at least
//! [`UNCLEAN_EPOCHS`] epochs, more than a missing replica can have seen, and a random number of
//! epochs beyond that. So if two groups of replicas recover like this without each other, their
//! epochs differ (they are equal with a probability of 2^-32). When a missing replica returns, the
//! ordinary comparison of epochs (KIP-101) finds the entries that only it has, and truncates them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use maelstrom_core::NodeId;
use serde::{Deserialize, Serialize};

use crate::meta::Metadata;
use crate::wire::{Epoch, LogId, Position, ReplicaId, is_zero};

/// Number of epochs that an unclean recovery skips at least: more than a missing replica can have
/// seen, at one election a second for a hundred years.
pub const UNCLEAN_EPOCHS: Epoch = 1 << 32;

/// A description of a replica's records of a partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    /// The log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_id: LogId,
    /// The newest epoch that the replica knows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: Epoch,
    /// The newest epoch in which the replica led, or in which its whole log was known to equal the
    /// beginning of the leader's. 0 in the records of earlier versions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub matched: Epoch,
    /// The newest leader that the replica heard from, and that leader's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<(Epoch, ReplicaId)>,
    /// The epoch of the last entry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last: Epoch,
    /// The end of the log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub end: Position,
    /// The newest change of the record in `lin-kv` that the replica asked for, with every replica
    /// that may have been in sync.
    #[serde(default, rename = "known", skip_serializing_if = "Option::is_none")]
    pub last_proposal: Option<Metadata>,
}

impl Holding {
    /// True if the replica knows nothing of the partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.has_log() && self.last_proposal.is_none()
    }

    /// True if the replica has followed a leader, or led.
    pub(crate) fn has_log(&self) -> bool {
        self.epoch != 0 || self.end != 0
    }

    /// How complete the log is. The log with the highest rank has all committed entries.
    fn rank(&self) -> (Epoch, Position) {
        (self.matched.max(self.last), self.end)
    }

    /// The newest epoch that the replica knows or has proposed.
    pub(crate) fn newest_epoch(&self) -> Epoch {
        self.last_proposal.as_ref().map_or(self.epoch, |proposal| proposal.epoch.max(self.epoch))
    }
}

/// The reason why a partition stays unavailable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// These nodes have not described their records yet.
    Silent(Vec<NodeId>),
    /// These replicas may have been in sync, and their nodes have lost their records since.
    Lost(BTreeSet<ReplicaId>),
    /// These nodes hold logs of different names. No flag decides between them.
    DifferentLogs(Vec<NodeId>),
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
            Self::DifferentLogs(nodes) => {
                let nodes = list(&mut nodes.iter());
                write!(f, "{nodes} keep different logs of it: empty the folders with the wrong one")
            }
        }
    }
}

/// The decision about a partition that `lin-kv` has no record of.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The partition is new.
    Create,
    /// This node leads, with this record. `log_id` is 0 if the log has no name yet.
    Lead(Metadata),
    /// That node leads.
    Follow(NodeId),
    /// No decision yet, for this reason.
    Wait(Reason),
}

/// The comparison of the records of a partition's replicas, as far as they have described them.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// The replicas, the preferred leader first.
    pub replicas: &'a [NodeId],
    /// The incarnation of each node, and its records. This node is among them.
    pub holdings: BTreeMap<NodeId, (u64, Holding)>,
    /// Number of epochs to skip, if the recovery may go on without the missing replicas.
    pub unclean: Option<u64>,
}

impl Comparison<'_> {
    /// The decision for the node `own`.
    #[must_use]
    pub fn decide(&self, own: &NodeId) -> Decision {
        if let Some(reason) = self.different_logs() {
            return Decision::Wait(reason);
        }
        let step = match (self.missing(), self.unclean) {
            (None, _) => 1,
            (Some(_), Some(unclean)) => unclean,
            (Some(reason), None) => return Decision::Wait(reason),
        };
        let Some((leader, best)) = self.most_complete() else { return Decision::Create };
        if leader.node != *own {
            return Decision::Follow(leader.node);
        }
        let has_all = |holding: &Holding| holding.rank() == best.rank();
        let in_sync = self.holdings.iter().filter(|(_, (_, holding))| has_all(holding));
        let in_sync = in_sync.map(|(node, (incarnation, _))| ReplicaId {
            node: node.clone(),
            incarnation: *incarnation,
        });
        let all = || self.holdings.values().map(|(_, holding)| holding);
        let epoch = all().map(Holding::newest_epoch).max().unwrap_or(0);
        let proposals = all().filter_map(|holding| holding.last_proposal.as_ref());
        let version = proposals.map(|proposal| proposal.version);
        Decision::Lead(Metadata {
            log_id: all().map(|holding| holding.log_id).max().unwrap_or(0),
            // A missing replica has no newer change than this one.
            version: version.max().unwrap_or(0).saturating_add(step),
            epoch: epoch.saturating_add(step),
            in_sync: in_sync.chain([leader.clone()]).collect(),
            eligible: BTreeSet::new(),
            leader,
        })
    }

    /// The replica with the most complete log, the first of several. `None` if no replica holds
    /// anything.
    fn most_complete(&self) -> Option<(ReplicaId, &Holding)> {
        let all = self.replicas.iter().rev().filter_map(|node| {
            let (incarnation, holding) = self.holdings.get(node)?;
            Some((ReplicaId { node: node.clone(), incarnation: *incarnation }, holding))
        });
        let all = all.filter(|(_, holding)| !holding.is_empty());
        all.max_by_key(|(_, holding)| holding.rank())
    }

    /// The nodes that hold anything, if their logs have different names.
    fn different_logs(&self) -> Option<Reason> {
        let names = self.holdings.values().map(|(_, holding)| holding.log_id);
        let names: BTreeSet<LogId> = names.filter(|name| *name != 0).collect();
        let named = self.holdings.iter().filter(|(_, (_, holding))| holding.log_id != 0);
        (names.len() > 1)
            .then(|| Reason::DifferentLogs(named.map(|(node, _)| node.clone()).collect()))
    }

    /// The reason why no node can know yet which log has all committed entries.
    fn missing(&self) -> Option<Reason> {
        let silent = self.replicas.iter().filter(|node| !self.holdings.contains_key(*node));
        let silent: Vec<NodeId> = silent.cloned().collect();
        if !silent.is_empty() {
            return Some(Reason::Silent(silent));
        }
        let all = || self.holdings.values().map(|(_, holding)| holding);
        let leaders = || all().filter_map(|holding| holding.leader.as_ref());
        let newest = leaders().map(|(epoch, _)| *epoch).max();
        let leaders = leaders().filter(|(epoch, _)| Some(*epoch) == newest).map(|(_, id)| id);
        let proposals = || all().filter_map(|holding| holding.last_proposal.as_ref());
        let version = proposals().map(|proposal| proposal.version).max();
        // There can be several changes with this version. At most one of them succeeded.
        let newest = proposals().filter(|proposal| Some(proposal.version) == version);
        let is_here = |id: &ReplicaId| {
            self.holdings
                .get(&id.node)
                .is_some_and(|(incarnation, _)| *incarnation == id.incarnation)
        };
        let named = newest.flat_map(|proposal| proposal.in_sync.union(&proposal.eligible));
        let needed = leaders.chain(named);
        let lost: BTreeSet<ReplicaId> = needed.filter(|id| !is_here(id)).cloned().collect();
        (!lost.is_empty()).then_some(Reason::Lost(lost))
    }
}

/// Bounds of the time after which a node asks `lin-kv` and the other replicas again.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(4);

/// How long an unclean recovery waits for missing replicas.
pub const UNCLEAN_AFTER: Duration = Duration::from_secs(5);

/// A recovery in progress at one replica.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    since: Duration,
    /// The time at which to ask again.
    pub(crate) retry_at: Duration,
    retry_after: Duration,
    answers: BTreeMap<NodeId, (u64, Holding)>,
    /// The reason why the partition is unavailable, as of the last decision.
    pub(crate) reason: Option<Reason>,
    /// The reason that was last logged.
    logged: Option<Reason>,
}

impl Recovery {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            since: now,
            retry_at: now,
            retry_after: RETRY_MIN,
            answers: BTreeMap::new(),
            reason: None,
            logged: None,
        }
    }

    /// Notes another replica's description of its records.
    pub(crate) fn answered(&mut self, node: NodeId, incarnation: u64, holding: Holding) {
        self.answers.insert(node, (incarnation, holding));
    }

    /// Forgets a node's description: in its new life, the node may have other records.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.answers.remove(node);
    }

    pub(crate) fn lacks(&self, node: &NodeId) -> bool {
        !self.answers.contains_key(node)
    }

    pub(crate) fn answers(&self) -> &BTreeMap<NodeId, (u64, Holding)> {
        &self.answers
    }

    /// The reason why the partition is unavailable, if it must be logged now.
    pub(crate) fn reason_to_log(&mut self, now: Duration) -> Option<Reason> {
        let is_due = self.log_at().is_some_and(|at| at <= now);
        is_due.then(|| self.logged.clone_from(&self.reason));
        self.logged.clone().filter(|_| is_due)
    }

    /// The time at which the reason must be logged, if it is not logged yet. A cluster that starts
    /// gets a moment first.
    pub(crate) fn log_at(&self) -> Option<Duration> {
        let is_news = self.reason.is_some() && self.reason != self.logged;
        is_news.then(|| self.since.saturating_add(RETRY_MIN))
    }

    /// The time from which on an unclean recovery goes on without missing replicas.
    pub(crate) fn unclean_at(&self) -> Duration {
        self.since.saturating_add(UNCLEAN_AFTER)
    }

    /// Sets the time of the next question. The interval doubles each time.
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

    /// The records of a log with the name 7.
    fn log(epoch: Epoch, last: Epoch, end: Position) -> Holding {
        Holding { log_id: 7, epoch, last, end, ..Holding::default() }
    }

    /// The decision if `n1`, `n2`, and so on hold these records. Checks that all nodes decide
    /// alike.
    fn decide(holdings: &[Option<Holding>], unclean: bool) -> Decision {
        let replicas = NAMES.map(NodeId::from);
        let told = NAMES.iter().zip(1..).zip(holdings);
        let told = told.filter_map(|((node, incarnation), holding)| {
            Some(((*node).into(), (incarnation, holding.clone()?)))
        });
        let unclean = unclean.then_some(UNCLEAN_EPOCHS);
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

    /// The leader, its epoch, and the in-sync set.
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
            // A longer one is of an older epoch: the entries that only it has were not committed.
            ([log(1, 1, 9), log(2, 2, 4), log(2, 2, 3)], "n2", 3, "n2"),
            // A replica that knows of a newer epoch, but has no entry of it, does not lead.
            ([log(9, 1, 3), log(2, 2, 4), log(2, 2, 4)], "n2", 10, "n2 n3"),
            // Equal logs are in sync.
            ([log(3, 2, 4), log(3, 2, 4), log(3, 2, 4)], "n1", 4, "n1 n2 n3"),
            // No replica has a message.
            ([log(1, 0, 0), log(1, 0, 0), Holding::default()], "n1", 2, "n1 n2 n3"),
            // Only one holds anything.
            ([Holding::default(), log(4, 4, 1), Holding::default()], "n2", 5, "n2"),
        ];
        for (holdings, leader, epoch, in_sync) in table {
            let holdings = holdings.map(Some);
            let (by, new, with) = led(&holdings, false);
            assert_eq!((&*by, new, &*with.join(" ")), (leader, epoch, in_sync), "{holdings:?}");
        }
    }

    /// Figure 8 of the Raft paper. `n1` led in epoch 3 and committed entries of epoch 1, without one
    /// of its own. `n2` led in epoch 2, and its last entry was never committed.
    #[test]
    fn a_leader_that_committed_older_entries_has_the_most_complete_log() {
        let matched = |matched, holding| Some(Holding { matched, ..holding });
        let third = matched(1, log(2, 1, 4));
        let holdings = [matched(3, log(3, 1, 7)), matched(2, log(2, 2, 5)), third];
        assert_eq!(led(&holdings, false), ("n1".into(), 4, vec!["n1".into()]));
        let [leader, second, _] = holdings;
        let follower = matched(3, log(3, 1, 7));
        let in_sync = vec!["n1".into(), "n3".into()];
        assert_eq!(led(&[leader, second, follower], false), ("n1".into(), 4, in_sync));
    }

    #[test]
    fn a_partition_is_new_only_if_all_hold_nothing() {
        let nothing = || Some(Holding::default());
        assert_eq!(decide(&[nothing(), nothing(), nothing()], false), Decision::Create);
        let silent = Reason::Silent(vec!["n3".into()]);
        assert_eq!(decide(&[nothing(), nothing(), None], false), Decision::Wait(silent));
        assert_eq!(decide(&[nothing(), nothing(), None], true), Decision::Create);
    }

    /// It asked for the creation of the partition, and does not know whether that succeeded.
    #[test]
    fn a_replica_that_proposed_a_record_holds_something() {
        let proposed = Metadata::first(7, id("n1", 1), [id("n2", 9)]);
        let holding = Holding { last_proposal: Some(proposed), ..Holding::default() };
        assert!(!holding.is_empty(), "it tells so when it begins");
        let holdings = [Some(holding), Some(Holding::default()), Some(Holding::default())];
        let lost = Reason::Lost(BTreeSet::from([id("n2", 9)]));
        assert_eq!(decide(&holdings, false), Decision::Wait(lost));
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
            // The follower knows of a newer epoch, but has not heard from its leader.
            let leader = Some((2, id("n3", incarnation)));
            let follower = Holding { leader, ..log(3, 2, 4) };
            // An older leader does not matter.
            let older = Holding { leader: Some((1, id("n2", 9))), ..log(1, 1, 4) };
            let holdings = [Some(follower), Some(older), Some(Holding::default())];
            let lost = Reason::Lost(BTreeSet::from([id("n3", 8)]));
            let is_waiting = decide(&holdings, false) == Decision::Wait(lost);
            assert_eq!(is_waiting, is_lost, "{incarnation}");
            assert_eq!(led(&holdings, true).0, "n1");
        }
    }

    #[test]
    fn every_replica_that_may_have_been_in_sync_must_be_present_with_its_records() {
        let proposal = |version, in_sync: &[ReplicaId]| {
            let first = Metadata::first(7, id("n1", 1), in_sync.iter().cloned());
            Some(Metadata { version, ..first })
        };
        let old = Holding { last_proposal: proposal(4, &[id("n2", 9)]), ..log(1, 1, 4) };
        let fine = Holding { last_proposal: proposal(5, &[id("n2", 2)]), ..log(1, 1, 4) };
        let bad = Holding { last_proposal: proposal(5, &[id("n3", 9)]), ..log(1, 1, 4) };
        let other = || Some(log(1, 1, 4));
        assert_eq!(led(&[Some(old.clone()), Some(fine), other()], false).1, 2);
        let lost = Reason::Lost(BTreeSet::from([id("n3", 9)]));
        assert_eq!(decide(&[Some(old), Some(bad), other()], false), Decision::Wait(lost));
    }

    #[test]
    fn of_two_changes_of_one_record_either_may_have_come_true() {
        let change = |epoch, leader: &ReplicaId, in_sync: &[ReplicaId]| {
            let first = Metadata::first(7, leader.clone(), in_sync.iter().cloned());
            Some(Metadata { version: 5, epoch, ..first })
        };
        // The leader of epoch 1 lets `n3` in. At the same time `n2` takes over without it.
        let led =
            Holding { last_proposal: change(1, &id("n1", 1), &[id("n3", 9)]), ..log(1, 1, 4) };
        let taken = Holding { last_proposal: change(2, &id("n2", 2), &[]), ..log(1, 1, 4) };
        let lost = Reason::Lost(BTreeSet::from([id("n3", 9)]));
        let holdings = [Some(led), Some(taken), Some(Holding::default())];
        assert_eq!(decide(&holdings, false), Decision::Wait(lost));
    }

    #[test]
    fn the_new_record_is_newer_than_all_and_keeps_the_name() {
        let proposal = Metadata { version: 41, epoch: 6, ..Metadata::first(7, id("n1", 1), []) };
        let holdings =
            [Some(Holding { last_proposal: Some(proposal), ..log(5, 5, 4) }), None, None];
        let Decision::Lead(record) = decide(&holdings, true) else { panic!("nobody leads") };
        let Metadata { log_id, version, epoch, .. } = record;
        assert_eq!((log_id, version, epoch), (7, 41 + UNCLEAN_EPOCHS, 6 + UNCLEAN_EPOCHS));
    }

    #[test]
    fn logs_of_different_names_are_not_compared() {
        let other = Holding { log_id: 8, ..log(1, 1, 9) };
        let holdings = [Some(log(2, 2, 4)), Some(other), Some(Holding::default())];
        let reason = Reason::DifferentLogs(vec!["n1".into(), "n2".into()]);
        assert_eq!(decide(&holdings, false), Decision::Wait(reason.clone()));
        assert_eq!(decide(&holdings, true), Decision::Wait(reason.clone()));
        let holdings = [holdings[0].clone(), holdings[1].clone(), None];
        assert_eq!(decide(&holdings, true), Decision::Wait(reason));
        // Records of earlier versions have no name.
        let nameless = Holding { log_id: 0, ..log(2, 2, 9) };
        let holdings = [Some(log(2, 2, 4)), Some(nameless), Some(Holding::default())];
        let Decision::Lead(record) = decide(&holdings, false) else { panic!("nobody leads") };
        assert_eq!((&*record.leader.node, record.log_id), ("n2", 7));
    }
}
