//! Limits the log to one line per second for events that may come in any number.

use std::time::Duration;

/// Minimum time between two log lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts events of one kind, and tells when to log them.
#[derive(Debug, Default)]
pub(crate) struct LogRate {
    total: u64,
    /// Events that the log has not reported yet.
    unlogged: u64,
    /// Earliest time of the next log line.
    log_at: Duration,
}

impl LogRate {
    /// Counts one event. Returns the number of events to log now. `None`: it is too early for a log
    /// line.
    pub(crate) fn add_one(&mut self, now: Duration) -> Option<u64> {
        self.total = self.total.saturating_add(1);
        self.unlogged = self.unlogged.saturating_add(1);
        if now < self.log_at {
            return None;
        }
        self.log_at = now.saturating_add(INTERVAL);
        Some(std::mem::take(&mut self.unlogged))
    }

    /// How many events there were in total.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}
