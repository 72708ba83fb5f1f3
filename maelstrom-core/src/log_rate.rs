//! Events that come in any number, and of which the log tells at most once per second.

use std::time::Duration;

/// How often the log tells of them.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts events of one kind.
#[derive(Debug, Default)]
pub(crate) struct LogRate {
    total: u64,
    /// How many of them the log has not told yet,
    unlogged: u64,
    /// and when it may.
    log_at: Duration,
}

impl LogRate {
    /// One more event. Returns how many the log shall tell now, if it shall.
    pub(crate) fn add_one(&mut self, now: Duration) -> Option<u64> {
        self.total = self.total.saturating_add(1);
        self.unlogged = self.unlogged.saturating_add(1);
        if now < self.log_at {
            return None;
        }
        self.log_at = now.saturating_add(INTERVAL);
        Some(std::mem::take(&mut self.unlogged))
    }

    /// How many events there have been.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}
