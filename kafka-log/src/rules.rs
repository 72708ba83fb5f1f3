//! The rules of the replication protocol, by name. A test can break a rule, and check that a sweep
//! notices.
//!
//! All rules hold by default ([`Rules::default`]). A handler gets its rules with its
//! [`Config`](crate::Config). So tests break the same library that is shipped, and each node of a
//! test can have other rules. No flag of the node breaks a rule.

/// A rule of the replication protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A follower refuses messages of an older epoch.
    Fencing,
    /// An entry is committed only if a follower has it, unless the leader is the only replica in
    /// sync.
    CommitWithFollowers,
    /// An entry is committed only if every replica that may be in sync has it.
    CommitWithAll,
    /// Only a replica in sync takes over.
    ElectInSync,
    /// A follower truncates the entries that its leader does not have.
    Truncate,
    /// A follower truncates its log by the epochs of the entries, and not by its high watermark.
    TruncateByEpoch,
    /// A leader appends a send once.
    AppendOnce,
    /// A new leader keeps the entries above its high watermark.
    LeadWithWholeLog,
    /// A replica that a compare-and-set of unknown outcome may have added counts as in sync.
    CountProposed,
    /// A replica counts as in sync before the compare-and-set that adds it.
    CountJoining,
    /// A replica joins the in-sync set only if it has caught up.
    JoinCaughtUp,
    /// A follower may commit everything that it has only if it and the leader are the only replicas
    /// in sync.
    SoleFollower,
    /// A node makes an epoch durable before it sends anything in it.
    PersistEpoch,
    /// An acknowledgement counts only for the incarnation that gave it.
    CheckIncarnation,
    /// An acknowledgement counts only in its epoch.
    ///
    /// The rule is about a packet that comes two elections late. The same node leads again, in the
    /// same life. The follower has truncated entries that it acknowledged in the packet. The other
    /// checks let such a packet pass if it is among the 128 newest ones and the leader has sent at
    /// least as many entries in its new epoch.
    CheckAckEpoch,
    /// A definite error means that no copy of the send is left anywhere.
    RefuseUnsent,
    /// A follower that starts again learns which sends are too old to be appended.
    FloorNamesProducers,
    /// A node changes the record in `lin-kv` only if no other node has changed it.
    CompareAndSet,
    /// A leader accepts no sends while too few replicas are in sync.
    MinInSync,
    /// A replica is eligible only while nothing can be committed without it.
    ClearEligible,
    /// If `lin-kv` has no record, replicas that keep records compare them.
    CompareReplicas,
    /// Such a comparison takes the epochs in which the logs matched their leaders', and not the
    /// epochs of the last entries.
    CompareMatched,
    /// A node starts with all of its records, or with none and as another replica. Its store keeps
    /// this rule: it does not read a damaged file.
    WholeRecords,
}

/// The rules that hold: all of them, or all but one.
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

    /// True if the rule holds.
    pub(crate) fn hold(self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// True if all rules hold. If not, the checker must find the consequences, not an assertion.
    pub(crate) fn all_hold(self) -> bool {
        self.broken.is_none()
    }
}
