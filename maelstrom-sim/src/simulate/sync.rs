//! The syncs of a simulated disk: when a record becomes durable, if it does.
//!
//! Invariant: while the disk stalls or fails, no sync succeeds. So no line that a node prints after
//! a record of the sync leaves the node. A failed sync ends the process, but some records of the
//! sync may be durable.
//!
//! Unlike a real process, a simulated node goes on to handle messages and timers while a sync is
//! under way. A driver may do so, and it is the harder case.

use std::time::Duration;

/// The current sync of a disk, and the disk's condition.
#[derive(Debug, Default)]
pub(super) struct Sync {
    /// The end of the current sync.
    ends_at: Option<Duration>,
    /// How many records the current sync covers: all that waited when it began (group commit).
    covers: usize,
    /// How many records at the head of the outbox are durable.
    safe: usize,
    has_failed: bool,
    /// How much longer each sync takes than on a disk in good condition.
    pub(super) slower_by: Duration,
    /// Whether no sync ends.
    pub(super) is_stalled: bool,
    /// Whether each sync fails when it ends.
    pub(super) is_failing: bool,
}

impl Sync {
    /// The end of the current sync. `None` if there is none, or if it does not end.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.ends_at.filter(|_| !self.is_stalled)
    }

    /// Whether the record at the head of the outbox is durable. Starts a sync of all records that
    /// are `waiting` if none is running. `sync_time` returns its duration.
    pub(super) fn is_head_safe(
        &mut self,
        now: Duration,
        waiting: impl FnOnce() -> usize,
        sync_time: impl FnOnce() -> Duration,
    ) -> bool {
        if self.safe > 0 {
            return true;
        }
        if self.ends_at.is_none() {
            self.covers = waiting();
        }
        let slower_by = self.slower_by;
        let ends_at = *self.ends_at.get_or_insert_with(|| now + sync_time() + slower_by);
        if ends_at > now || self.is_stalled {
            return false;
        }
        if self.is_failing {
            self.has_failed = true;
            return false;
        }
        self.ends_at = None;
        self.safe = self.covers;
        true
    }

    /// Takes note that the durable record at the head of the outbox left it.
    pub(super) fn added(&mut self) {
        debug_assert!(self.safe > 0, "a record leaves the outbox before it is durable");
        self.safe = self.safe.saturating_sub(1);
    }

    /// How many records the current sync covers.
    pub(super) const fn covers(&self) -> usize {
        self.covers
    }

    /// Whether a sync has failed since the process began.
    pub(super) const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether the disk takes anything now, such as a part of a snapshot.
    pub(super) const fn works(&self) -> bool {
        !self.is_stalled && !self.is_failing
    }

    /// Handles the end of the process. The condition of the disk stays.
    pub(super) fn crash(&mut self) {
        let Self { slower_by, is_stalled, is_failing, .. } = *self;
        *self = Self { slower_by, is_stalled, is_failing, ..Self::default() };
    }
}
