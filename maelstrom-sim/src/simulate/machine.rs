//! A node, the machine it runs on, and its disk.
//!
//! A record takes a moment to be safe on disk. Lines that the node prints after it wait for it. A
//! crash before the record is safe takes the record and these lines away. Records that wait are
//! synced together (group commit).
//!
//! Lines for a node that is paused or down wait in its inbox. The inbox tells their bytes, and the
//! test ends if they exceed what may wait for a real process.

use std::collections::VecDeque;
use std::time::Duration;

use maelstrom_core::auth::ClusterKey;
use maelstrom_core::metrics::Snapshot;
use maelstrom_core::{Clock, Error, MessageHandler, Output, RawNode, Records, SnapshotPosition};

use super::disk::Disk;

use crate::process::{UNREAD_BYTES_MAX, cost};

/// What wall clocks show when a run begins: 2026-01-01.
const WALL_CLOCK_START: Duration = Duration::from_secs(1_767_225_600);

/// A node of any handler. It hides the handler's type, so the simulator is compiled once, and not
/// again for each handler. The functions are those of [`RawNode`].
pub(crate) trait Program {
    fn set_cluster_key(&mut self, key: ClusterKey);
    fn recover(&mut self, record: &[u8]) -> Result<(), Error>;
    fn handle_line(&mut self, clock: Clock, line: &[u8]);
    fn handle_timeout(&mut self, clock: Clock);
    fn poll_timeout(&self) -> Option<Duration>;
    fn poll_output(&mut self) -> Option<Output>;
    fn take_marks(&mut self) -> Vec<&'static str>;
    fn metrics(&self) -> Option<Snapshot>;
    fn snapshot_bytes(&self) -> Option<usize>;
    fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error>;
}

impl<H: MessageHandler> Program for RawNode<H> {
    fn set_cluster_key(&mut self, key: ClusterKey) {
        self.set_cluster_key(key);
    }

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.recover(record)
    }

    fn handle_line(&mut self, clock: Clock, line: &[u8]) {
        self.handle_line(clock, line);
    }

    fn handle_timeout(&mut self, clock: Clock) {
        self.handle_timeout(clock);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.poll_timeout()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }

    fn take_marks(&mut self) -> Vec<&'static str> {
        self.take_marks()
    }

    fn metrics(&self) -> Option<Snapshot> {
        self.metrics()
    }

    fn snapshot_bytes(&self) -> Option<usize> {
        self.snapshot_bytes()
    }

    fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        self.snapshot(from, bytes_max, records)
    }
}

/// A node and the machine it runs on.
pub(super) struct Machine<'h> {
    /// `None` while it is down.
    pub(super) node: Option<Box<dyn Program + 'h>>,
    paused: bool,
    /// Lines that wait for a paused node to go on, or for a node that is down to start again.
    inbox: VecDeque<Vec<u8>>,
    /// Estimated bytes of memory that they take.
    inbox_bytes: usize,
    /// What it has said and what is not yet safe, in order, while a record is being made so.
    outbox: VecDeque<Output>,
    /// When the sync that is under way ends.
    synced_at: Option<Duration>,
    /// How many records it covers: all that waited when it began (group commit).
    syncing: usize,
    /// How many records at the head of the outbox are safe.
    safe: usize,
    pub(super) disk: Disk,
    pub(super) clock_offset_ms: i64,
}

impl<'h> Machine<'h> {
    pub(super) fn new(node: Box<dyn Program + 'h>, disk: Disk) -> Self {
        Self {
            node: Some(node),
            paused: false,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            outbox: VecDeque::new(),
            synced_at: None,
            syncing: 0,
            safe: 0,
            disk,
            clock_offset_ms: 0,
        }
    }

    fn clock(&self, now: Duration) -> Clock {
        let wall = WALL_CLOCK_START + now;
        let offset = Duration::from_millis(self.clock_offset_ms.unsigned_abs());
        let wall = if self.clock_offset_ms < 0 { wall - offset } else { wall + offset };
        Clock { monotonic: now, wall }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        if self.paused {
            return None;
        }
        let timer = self.node.as_ref().and_then(|node| node.poll_timeout());
        timer.into_iter().chain(self.synced_at).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        let clock = self.clock(now);
        if let Some(node) = self.node.as_mut().filter(|_| !self.paused) {
            node.handle_timeout(clock);
        }
    }

    /// The marks that its handler has reached since they were taken last.
    pub(super) fn take_marks(&mut self) -> Vec<&'static str> {
        self.node.as_mut().map(|node| node.take_marks()).unwrap_or_default()
    }

    /// The metrics of its process. `None` while it is down.
    pub(super) fn metrics(&self) -> Option<Snapshot> {
        self.node.as_ref()?.metrics()
    }

    /// Whether more waits for it than for a real process may wait.
    pub(super) const fn is_flooded(&self) -> bool {
        self.inbox_bytes > UNREAD_BYTES_MAX
    }

    /// Lines for a node that is paused or down wait.
    pub(super) fn hear(&mut self, now: Duration, line: Vec<u8>) {
        let clock = self.clock(now);
        match &mut self.node {
            Some(node) if !self.paused => node.handle_line(clock, &line),
            _ => {
                self.inbox_bytes = self.inbox_bytes.saturating_add(cost(&line));
                self.inbox.push_back(line);
            }
        }
    }

    /// Stops the process until it is resumed. There is none to stop while the node is down.
    pub(super) fn pause(&mut self) {
        self.paused = self.node.is_some();
    }

    pub(super) fn resume(&mut self, now: Duration) {
        self.paused = false;
        self.hear_waiting(now);
    }

    /// A new process. It first gets the lines that came while the node was down, before its `init`,
    /// as with Maelstrom.
    pub(super) fn restart(&mut self, now: Duration, node: Box<dyn Program + 'h>) {
        self.node = Some(node);
        self.hear_waiting(now);
    }

    fn hear_waiting(&mut self, now: Duration) {
        let clock = self.clock(now);
        if let Some(node) = &mut self.node {
            self.inbox_bytes = 0;
            for line in self.inbox.drain(..) {
                node.handle_line(clock, &line);
            }
        }
    }

    /// Kills the process. Lines that it had not read go with it, since they were in its pipe.
    pub(super) fn crash(&mut self) {
        self.node = None;
        self.paused = false;
        self.inbox.clear();
        self.inbox_bytes = 0;
        self.outbox.clear();
        self.disk.crash();
        (self.synced_at, self.syncing, self.safe) = (None, 0, 0);
    }

    /// The next lines that may leave: not those behind a record that is not safe yet. `sync_time`
    /// tells how long a sync takes.
    pub(super) fn next_lines(
        &mut self,
        now: Duration,
        mut sync_time: impl FnMut() -> Duration,
    ) -> Option<Vec<u8>> {
        if self.paused {
            return None;
        }
        if let Some(node) = &mut self.node {
            self.outbox.extend(std::iter::from_fn(|| node.poll_output()));
        }
        loop {
            if let (None, Some(node)) = (self.outbox.front(), &self.node) {
                self.disk.take_part(&**node);
            }
            if matches!(self.outbox.front()?, Output::Record(_))
                && !self.is_head_safe(now, &mut sync_time)
            {
                return None;
            }
            match self.outbox.pop_front()? {
                Output::Lines(lines) => return Some(lines),
                Output::Record(record) => {
                    self.safe = self.safe.saturating_sub(1);
                    self.disk.add(record);
                }
            }
        }
    }

    /// Whether the record at the head of the outbox is safe. If no sync is under way, one begins.
    fn is_head_safe(&mut self, now: Duration, sync_time: impl FnOnce() -> Duration) -> bool {
        if self.safe > 0 {
            return true;
        }
        if self.synced_at.is_none() {
            let records = self.outbox.iter().filter(|output| matches!(output, Output::Record(_)));
            self.syncing = records.count();
        }
        if *self.synced_at.get_or_insert_with(|| now + sync_time()) > now {
            return false;
        }
        self.synced_at = None;
        self.safe = self.syncing;
        true
    }
}

#[cfg(test)]
mod tests;
