//! Transactions that take several steps.
//!
//! The invariant: their number and their bytes are bounded, whatever clients request. A transaction
//! counts in encoded form: its request, and its results so far. The limits of lines and of results
//! bound a transaction that is alone.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{Error, Request};

use crate::request::Running;

/// The time of an operation at the levels where transactions take several steps. In a very long
/// transaction, several operations share a step.
pub const STEP: Duration = Duration::from_millis(5);

/// The longest time of a transaction, however many operations it has: clients wait for 5 s.
pub const SPREAD_MAX: Duration = Duration::from_secs(1);

/// The largest number of running transactions.
pub const RUNNING_MAX: usize = 1 << 14;

/// A transaction that is running.
#[derive(Debug)]
pub(crate) struct Txn {
    pub(crate) request: Request,
    pub(crate) running: Running,
    began: Duration,
    /// Number of operations in one step.
    stride: usize,
    /// Number of steps so far.
    steps: u32,
}

impl Txn {
    pub(crate) fn new(request: Request, running: Running, began: Duration) -> Self {
        let steps_max = SPREAD_MAX.as_millis().checked_div(STEP.as_millis()).unwrap_or(1);
        let steps_max = usize::try_from(steps_max).unwrap_or(usize::MAX);
        let stride = running.len().div_ceil(steps_max.max(1)).max(1);
        Self { request, running, began, stride, steps: 0 }
    }

    /// Begins a step, and returns the number of operations that must have run at its end. A late
    /// step also does the work of steps that were missed. So a slow timer does not make a
    /// transaction longer.
    pub(crate) fn begin_step(&mut self, now: Duration) -> usize {
        let since = now.saturating_sub(self.began);
        let due = since.as_micros().checked_div(STEP.as_micros()).unwrap_or(0);
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        self.steps = self.steps.max(due).saturating_add(1);
        usize::try_from(self.steps).unwrap_or(usize::MAX).saturating_mul(self.stride)
    }

    /// Estimated size in bytes.
    fn bytes(&self) -> usize {
        self.running.bytes().saturating_add(self.request.src().len())
    }

    /// The time until the next step.
    pub(crate) fn until_next(&self, now: Duration) -> Duration {
        let at = self.began.saturating_add(STEP.saturating_mul(self.steps));
        at.saturating_sub(now)
    }
}

/// The running transactions of a node.
#[derive(Debug)]
pub(crate) struct Underway {
    /// In the order in which they began.
    txns: BTreeMap<u64, Txn>,
    next: u64,
    /// The size of `txns` in bytes.
    bytes: usize,
    /// The largest such size. A transaction that is alone may be larger.
    bytes_max: usize,
}

impl Underway {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self { txns: BTreeMap::new(), next: 0, bytes: 0, bytes_max }
    }

    /// Draws a number for a new transaction.
    ///
    /// # Errors
    ///
    /// Error 11 if too many transactions are running.
    pub(crate) fn admit(&mut self) -> Result<u64, Error> {
        if self.txns.len() >= RUNNING_MAX {
            return Err(Error::temporarily_unavailable("too many transactions are running"));
        }
        let id = self.next;
        self.next = id.saturating_add(1);
        Ok(id)
    }

    /// Checks that there is room for a transaction beside those that wait for their next step.
    ///
    /// # Errors
    ///
    /// Error 11 if they are too large together. A transaction that is alone always has room.
    pub(crate) fn check(&self, txn: &Txn) -> Result<(), Error> {
        if self.bytes.saturating_add(txn.bytes()) <= self.bytes_max || self.txns.is_empty() {
            return Ok(());
        }
        let bytes = self.bytes_max;
        let text = format!("running transactions hold more than {bytes} bytes");
        Err(Error::temporarily_unavailable(text))
    }

    /// Removes a transaction, for its next step.
    pub(crate) fn take(&mut self, id: u64) -> Option<Txn> {
        let txn = self.txns.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(txn.bytes());
        Some(txn)
    }

    /// Keeps a transaction until its next step.
    pub(crate) fn keep(&mut self, id: u64, txn: Txn) {
        self.bytes = self.bytes.saturating_add(txn.bytes());
        self.txns.insert(id, txn);
    }

    /// Number of transactions that wait for their next step.
    pub(crate) fn len(&self) -> usize {
        self.txns.len()
    }

    /// The size of these transactions in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The transactions that wait for their next step, the newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Running> + Clone {
        self.txns.values().rev().map(|txn| &txn.running)
    }
}
