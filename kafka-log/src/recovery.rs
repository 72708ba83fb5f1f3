//! A partition that has records on disks, but none in `lin-kv`: the replicas compare what they hold,
//! and the most complete log leads on.
//!
//! This happens whenever a cluster with records is started with an empty `lin-kv`.
//!
//! The invariants, for a `lin-kv` that is emptied only while no node runs:
//!
//! * A node that keeps records creates a partition as new only if every replica holds nothing of it.
//! * Without [`unclean`](Comparison::unclean), nothing that was committed is lost. Every replica has
//!   told what it holds. A replica tells nothing while it leads, or while its own compare-and-set is
//!   under way: what it holds could grow. So one of the logs holds all that was committed, and the
//!   one whose last entry has the highest epoch does, and the longest of those (the election
//!   restriction of Raft, section 5.4.1 of its paper: each leader was in sync, so its log held what
//!   was committed before, and an entry's epoch and position name it).
//! * The new leader's epoch is above every epoch that any replica knows or has proposed, so two logs
//!   never share one.
//! * A replica that was in sync and lost its records may have been the only one to hold a committed
//!   entry. This is noticed, with one exception below, and the partition stays unavailable.
//! * Logs of different names are not compared: the partition stays unavailable, also with `unclean`.
//!
//! # How a loss is noticed
//!
//! A replica keeps the newest leader that it heard from ([`Holding::leader`]). It makes every
//! change of the record in `lin-kv` durable before it asks for it, with all replicas that are in
//! sync or eligible before or after it ([`Holding::known`]). All replicas that the newest of these
//! name must be there, in the same incarnation.
//!
//! Proof: let `K` be the newest change that a present replica has kept, made from the record `R`
//! with the version before. Assume that the next change of `R` in `lin-kv` is not known to any
//! present replica. The replica that asked for it was in sync or eligible in `R`, and made it
//! durable first. So it has lost its records since. `K` names it, because `K` names all that were
//! in sync or [eligible](crate::Metadata::eligible) in `R`. The same holds for `K` itself in the
//! place of `R`, if it came true. If no present replica has kept any change, each of them was a
//! follower only. The newest leader that one of them heard from had kept the change that made it
//! the leader, so it has lost its records, and is named.
//!
//! The exception is a leader that a recovery chose, although it was not in sync before: if it
//! commits alone, then loses its records, and no other replica heard from it in between, nobody
//! names it.
//!
//! # The last commit of a process that was killed
//!
//! One loss is not noticed: a store cannot tell damage to the very last commit of a process that
//! was killed from a commit that was never finished. The replica comes back in the same
//! incarnation, and without its newest records.
//!
//! * While a leader runs that has these entries, nothing is lost: it learns in the replica's new
//!   life where the log ends, and sends the rest again. With an empty `lin-kv`, nothing is lost
//!   either as long as another log is more complete.
//! * If the leader fails before that, the replica can take over, since it still counts as in sync.
//!   Then an acknowledged message is lost, also with `--min-isr 2`. The same can happen if the
//!   newest epoch was in that commit: the replica then follows a leader that was replaced.
//!
//! In Kafka, a broker that restarts after an unclean stop is not in sync any more (KIP-966). Here a
//! replica stays in sync, since every restart after a kill is such a stop. If all nodes were killed
//! at once, nobody would be in sync. All replicas that were in sync would have to be there to
//! compare their logs, so one of them that stays away would make the partition unavailable. A crash
//! alone never causes this loss: the disk has to damage what it has synced.
//!
//! # Unclean recovery
//!
//! An unclean recovery goes on without what is missing. It skips at least [`UNCLEAN_EPOCHS`] epochs,
//! more than a missing replica can have seen, and a random number of them beyond that. So if two
//! groups of replicas recover like this without each other, their epochs differ (the probability that
//! they do not is 2^-32). If a replica comes back, the ordinary comparison of epochs (KIP-101) finds
//! the entries that it alone has, and cuts them off.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use maelstrom_core::NodeId;
use serde::{Deserialize, Serialize};

use crate::meta::Metadata;
use crate::wire::{Epoch, LogId, Position, ReplicaId, is_zero};

/// How many epochs an unclean recovery skips at least: more than a missing replica can have seen, at
/// one election a second for a hundred years.
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
    /// The newest leader that it heard from, and that leader's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<(Epoch, ReplicaId)>,
    /// The epoch of its last entry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last: Epoch,
    /// Where its log ends.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub end: Position,
    /// The newest change of the record in `lin-kv` that it asked for, with every replica that may
    /// have been in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Metadata>,
}

impl Holding {
    /// Whether the replica knows nothing of the partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.has_log() && self.known.is_none()
    }

    /// Whether the replica has followed a leader, or led.
    pub(crate) fn has_log(&self) -> bool {
        self.epoch != 0 || self.end != 0
    }

    /// How complete the log is: the higher one holds all that is committed.
    fn rank(&self) -> (Epoch, Position) {
        (self.last, self.end)
    }

    /// The newest epoch that the replica knows or has proposed.
    pub(crate) fn newest_epoch(&self) -> Epoch {
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
    /// These nodes hold logs of different names. No flag decides between them.
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
                let nodes = list(&mut nodes.iter());
                write!(f, "{nodes} keep different logs of it: empty the folders with the wrong one")
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
    /// How many epochs to skip, if the recovery may go on without what is missing.
    pub unclean: Option<u64>,
}

impl Comparison<'_> {
    /// What `own` is to do.
    #[must_use]
    pub fn decide(&self, own: &NodeId) -> Decision {
        if let Some(strangers) = self.strangers() {
            return Decision::Wait(strangers);
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
        let version = all().filter_map(|holding| holding.known.as_ref().map(|known| known.version));
        Decision::Lead(Metadata {
            log_id: all().map(|holding| holding.log_id).max().unwrap_or(0),
            // A replica that is missing has no newer change than this one, either.
            version: version.max().unwrap_or(0).saturating_add(step),
            epoch: epoch.saturating_add(step),
            in_sync: in_sync.chain([leader.clone()]).collect(),
            eligible: BTreeSet::new(),
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

    /// The nodes that hold anything, if their logs have different names.
    fn strangers(&self) -> Option<Reason> {
        let names = self.holdings.values().map(|(_, holding)| holding.log_id);
        let names: BTreeSet<LogId> = names.filter(|name| *name != 0).collect();
        let named = self.holdings.iter().filter(|(_, (_, holding))| holding.log_id != 0);
        (names.len() > 1).then(|| Reason::Strangers(named.map(|(node, _)| node.clone()).collect()))
    }

    /// The reason why nobody can tell yet which log holds all that is committed.
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
        let known = || all().filter_map(|holding| holding.known.as_ref());
        let version = known().map(|known| known.version).max();
        // Of one version there can be several: at most one of them came true.
        let known = known().filter(|known| Some(known.version) == version);
        let is_here = |id: &ReplicaId| {
            self.holdings
                .get(&id.node)
                .is_some_and(|(incarnation, _)| *incarnation == id.incarnation)
        };
        let known = known.flat_map(|known| known.in_sync.union(&known.eligible));
        let needed = leaders.chain(known);
        let lost: BTreeSet<ReplicaId> = needed.filter(|id| !is_here(id)).cloned().collect();
        (!lost.is_empty()).then_some(Reason::Lost(lost))
    }
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

    /// The reason why the partition is unavailable, once it is to be logged.
    pub(crate) fn reason_to_log(&mut self, now: Duration) -> Option<Reason> {
        let is_due = self.log_at().is_some_and(|at| at <= now);
        is_due.then(|| self.logged.clone_from(&self.reason));
        self.logged.clone().filter(|_| is_due)
    }

    /// The time at which the reason is to be logged, if it is not yet: a cluster that starts has a
    /// moment to come together.
    pub(crate) fn log_at(&self) -> Option<Duration> {
        let is_news = self.reason.is_some() && self.reason != self.logged;
        is_news.then(|| self.since.saturating_add(RETRY_MIN))
    }

    /// The time from which on an unclean recovery goes on without what is missing.
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

    /// It asked for the creation of the partition, and does not know whether that came true.
    #[test]
    fn a_replica_that_proposed_a_record_holds_something() {
        let proposed = Metadata::first(7, id("n1", 1), [id("n2", 9)]);
        let holding = Holding { known: Some(proposed), ..Holding::default() };
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
            // The follower has heard of a newer epoch, but not from its leader.
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
    fn of_two_changes_of_one_record_either_may_have_come_true() {
        let change = |epoch, leader: &ReplicaId, in_sync: &[ReplicaId]| {
            let first = Metadata::first(7, leader.clone(), in_sync.iter().cloned());
            Some(Metadata { version: 5, epoch, ..first })
        };
        // The leader of epoch 1 lets `n3` in, at the same time `n2` takes over without it.
        let led = Holding { known: change(1, &id("n1", 1), &[id("n3", 9)]), ..log(1, 1, 4) };
        let taken = Holding { known: change(2, &id("n2", 2), &[]), ..log(1, 1, 4) };
        let lost = Reason::Lost(BTreeSet::from([id("n3", 9)]));
        let holdings = [Some(led), Some(taken), Some(Holding::default())];
        assert_eq!(decide(&holdings, false), Decision::Wait(lost));
    }

    #[test]
    fn the_new_record_is_newer_than_all_and_keeps_the_name() {
        let known = Metadata { version: 41, epoch: 6, ..Metadata::first(7, id("n1", 1), []) };
        let holdings = [Some(Holding { known: Some(known), ..log(5, 5, 4) }), None, None];
        let Decision::Lead(record) = decide(&holdings, true) else { panic!("nobody leads") };
        let Metadata { log_id, version, epoch, .. } = record;
        assert_eq!((log_id, version, epoch), (7, 41 + UNCLEAN_EPOCHS, 6 + UNCLEAN_EPOCHS));
    }

    #[test]
    fn logs_of_different_names_are_not_compared() {
        let other = Holding { log_id: 8, ..log(1, 1, 9) };
        let holdings = [Some(log(2, 2, 4)), Some(other), Some(Holding::default())];
        let strangers = Reason::Strangers(vec!["n1".into(), "n2".into()]);
        assert_eq!(decide(&holdings, false), Decision::Wait(strangers.clone()));
        assert_eq!(decide(&holdings, true), Decision::Wait(strangers.clone()));
        let holdings = [holdings[0].clone(), holdings[1].clone(), None];
        assert_eq!(decide(&holdings, true), Decision::Wait(strangers));
        // Records of earlier versions have no name.
        let nameless = Holding { log_id: 0, ..log(2, 2, 9) };
        let holdings = [Some(log(2, 2, 4)), Some(nameless), Some(Holding::default())];
        let Decision::Lead(record) = decide(&holdings, false) else { panic!("nobody leads") };
        assert_eq!((&*record.leader.node, record.log_id), ("n2", 7));
    }
}
