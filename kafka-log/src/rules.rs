//! The rules of the replication protocol, by name, so that a test can break one of them and see that
//! it notices.
//!
//! All rules hold by default ([`Rules::default`]). A handler gets its rules with its
//! [`Config`](crate::Config), so tests break the same library that is shipped, and each node of a test
//! can have other rules. No flag of the node breaks a rule.

/// A rule of the replication protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A follower refuses what comes in an older epoch.
    Fencing,
    /// An entry is committed only if a follower has it, unless the leader is alone in sync.
    CommitWithFollowers,
    /// An entry is committed only if every replica has it that may be in sync.
    CommitWithAll,
    /// Only a replica that is in sync takes over.
    ElectInSync,
    /// A follower cuts off what its leader does not have.
    Truncate,
    /// A follower cuts its log by the epochs of the entries, and not by its high watermark.
    TruncateByEpoch,
    /// A leader appends a send once.
    AppendOnce,
    /// A new leader keeps what is above its high watermark.
    LeadWithWholeLog,
    /// A replica that a compare-and-set of unknown outcome may have let in counts as in sync.
    CountProposed,
    /// A replica counts as in sync before the compare-and-set that lets it in.
    CountJoining,
    /// A replica is let in only if it has caught up.
    JoinCaughtUp,
    /// A follower may commit what it has only if leader and follower are all that is in sync.
    SoleFollower,
    /// A node makes an epoch durable before it says anything in it.
    PersistEpoch,
    /// An acknowledgement counts for the incarnation that gave it.
    CheckIncarnation,
    /// An acknowledgement counts in its epoch only.
    ///
    /// Only unit tests notice if this rule is broken: it is about a packet that comes two
    /// elections late. The same node leads again then, in the same life, and the follower has cut
    /// off meanwhile what it acknowledged. The other checks let such a packet pass if it is among
    /// the 128 newest ones and the leader has sent as much in its new epoch. In the simulated
    /// network a receiver waits for the message that is due first, so a packet hardly ever comes
    /// that late.
    CheckAckEpoch,
    /// A definite error tells that no copy of the send is anywhere.
    RefuseUnsent,
    /// A follower that begins anew gets to know which sends are too old to be appended.
    FloorNamesProducers,
    /// The record in `lin-kv` is changed only if nobody else has changed it.
    CompareAndSet,
    /// A leader takes no sends while too few replicas are in sync.
    MinInSync,
    /// A replica is eligible only while nothing can be committed without it.
    ClearEligible,
    /// If `lin-kv` has no record, replicas that keep records compare them.
    CompareReplicas,
    /// A node begins with all of its records, or with none and as another replica. Its store keeps
    /// this rule: it does not read a file that is damaged.
    WholeRecords,
}

/// Which rules hold: all of them, or all but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    broken: Option<Rule>,
}

impl Rules {
    /// All rules but this one.
    #[must_use]
    pub const fn without(rule: Rule) -> Self {
        Self { broken: Some(rule) }
    }

    /// Whether the rule holds.
    pub(crate) fn hold(self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// Whether all rules hold. If not, the checker is to find what follows, and not an assertion.
    pub(crate) fn all_hold(self) -> bool {
        self.broken.is_none()
    }
}
