//! A simulated machine: a node and its disk.
//!
//! A record takes some time to become durable. Lines that the node prints after it wait until then.
//! A crash before that loses the record and these lines. Records that wait are synced together
//! (group commit). A node whose sync fails ends.
//!
//! Lines for a paused or killed node wait in its inbox. The machine counts their bytes, and the
//! test ends if they exceed the limit for a real process.

use std::collections::VecDeque;
use std::time::Duration;

use maelstrom_core::auth::ClusterKey;
use maelstrom_core::metrics::Snapshot;
use maelstrom_core::{
    Clock, Error, Limits, MessageHandler, Output, RawNode, Records, SnapshotPosition,
};

use rand::RngExt;

use super::clock::MachineClock;
use super::disk::Disk;
use super::sync::Sync;

use crate::process::{UNREAD_BYTES_MAX, cost};
use crate::rng::SimRng;

/// A node with any handler. This trait hides the handler's type, so that the simulator is compiled
/// only once, not for each handler. Its functions are those of [`RawNode`].
pub(crate) trait Program {
    fn set_cluster_key(&mut self, key: ClusterKey);
    fn set_limits(&mut self, limits: &Limits);
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

    fn set_limits(&mut self, limits: &Limits) {
        self.set_limits(limits);
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
    /// `None` while the node is down.
    pub(super) node: Option<Box<dyn Program + 'h>>,
    paused: bool,
    /// Lines that wait until a paused node is resumed, or a killed node restarts.
    inbox: VecDeque<Vec<u8>>,
    /// The estimated memory of these lines in bytes.
    inbox_bytes: usize,
    /// Outputs in order that have not left yet. They wait for the first record among them to become
    /// durable.
    outbox: VecDeque<Output>,
    pub(super) sync: Sync,
    pub(super) disk: Disk,
    pub(super) clock: MachineClock,
}

impl<'h> Machine<'h> {
    pub(super) fn new(node: Box<dyn Program + 'h>, disk: Disk) -> Self {
        Self {
            node: Some(node),
            paused: false,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            outbox: VecDeque::new(),
            sync: Sync::default(),
            disk,
            clock: MachineClock::default(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        if self.paused {
            return None;
        }
        let timer = self.node.as_ref().and_then(|node| node.poll_timeout());
        let timer = timer.map(|at| self.clock.true_time(at));
        timer.into_iter().chain(self.sync.poll_timeout()).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        let clock = self.clock.read(now);
        if let Some(node) = self.node.as_mut().filter(|_| !self.paused) {
            node.handle_timeout(clock);
        }
    }

    /// Takes the marks that the handler has reached since the last call.
    pub(super) fn take_marks(&mut self) -> Vec<&'static str> {
        self.node.as_mut().map(|node| node.take_marks()).unwrap_or_default()
    }

    /// The metrics of the process. `None` while the node is down.
    pub(super) fn metrics(&self) -> Option<Snapshot> {
        self.node.as_ref()?.metrics()
    }

    /// Whether more lines wait than may wait for a real process.
    pub(super) const fn is_flooded(&self) -> bool {
        self.inbox_bytes > UNREAD_BYTES_MAX
    }

    /// Delivers a line. If the node is paused or down, the line waits.
    pub(super) fn deliver(&mut self, now: Duration, line: Vec<u8>) {
        let clock = self.clock.read(now);
        match &mut self.node {
            Some(node) if !self.paused => node.handle_line(clock, &line),
            _ => {
                self.inbox_bytes = self.inbox_bytes.saturating_add(cost(&line));
                self.inbox.push_back(line);
            }
        }
    }

    /// Pauses the process until it is resumed. Does nothing while the node is down.
    pub(super) fn pause(&mut self) {
        self.paused = self.node.is_some();
    }

    pub(super) fn resume(&mut self, now: Duration) {
        self.paused = false;
        self.deliver_waiting(now);
    }

    /// Starts a new process. It first receives the lines that arrived while the node was down,
    /// before its `init`, as with Maelstrom.
    pub(super) fn restart(&mut self, now: Duration, node: Box<dyn Program + 'h>) {
        self.node = Some(node);
        self.deliver_waiting(now);
    }

    fn deliver_waiting(&mut self, now: Duration) {
        let clock = self.clock.read(now);
        if let Some(node) = &mut self.node {
            self.inbox_bytes = 0;
            for line in self.inbox.drain(..) {
                node.handle_line(clock, &line);
            }
        }
    }

    /// Kills the process. Unread lines are lost, because they were in its pipe.
    pub(super) fn crash(&mut self) {
        self.node = None;
        self.paused = false;
        self.inbox.clear();
        self.inbox_bytes = 0;
        self.outbox.clear();
        self.disk.crash();
        self.sync.crash();
    }

    /// Ends the process because a sync failed. A drawn number of the records that the sync covers is
    /// durable, the first ones.
    pub(super) fn end_by_disk(&mut self, rng: &mut SimRng) {
        let is_record = |output| match output {
            Output::Record(record) => Some(record),
            Output::Lines(_) => None,
        };
        let kept = rng.random_range(0..=self.sync.covers());
        let outbox = std::mem::take(&mut self.outbox);
        outbox.into_iter().filter_map(is_record).take(kept).for_each(|it| self.disk.add(it));
        self.crash();
    }

    /// The next lines that may leave. Lines after a record wait until the record is durable.
    /// `sync_time` returns the duration of a sync.
    pub(super) fn next_lines(
        &mut self,
        now: Duration,
        mut sync_time: impl FnMut() -> Duration,
    ) -> Option<Vec<u8>> {
        if self.paused || self.sync.has_failed() {
            return None;
        }
        if let Some(node) = &mut self.node {
            self.outbox.extend(std::iter::from_fn(|| node.poll_output()));
        }
        loop {
            if let (None, Some(node), true) = (self.outbox.front(), &self.node, self.sync.works()) {
                self.disk.take_part(&**node);
            }
            if matches!(self.outbox.front()?, Output::Record(_)) {
                let is_record = |output: &&Output| matches!(output, Output::Record(_));
                let waiting = || self.outbox.iter().filter(is_record).count();
                if !self.sync.is_head_safe(now, waiting, &mut sync_time) {
                    return None;
                }
            }
            match self.outbox.pop_front()? {
                Output::Lines(lines) => return Some(lines),
                Output::Record(record) => {
                    self.sync.added();
                    self.disk.add(record);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
