//! Requests that wait for `init`, in bounded memory.

use std::collections::VecDeque;

use crate::limits::PENDING_BYTES_MAX;

/// Lines with requests that came before `init`.
#[derive(Debug)]
pub(super) struct Early {
    lines: VecDeque<Box<str>>,
    bytes: usize,
    /// Limit on `bytes`.
    pub(super) bytes_max: usize,
}

impl Early {
    pub(super) const fn new() -> Self {
        Self { lines: VecDeque::new(), bytes: 0, bytes_max: PENDING_BYTES_MAX }
    }

    /// Removes and returns all lines.
    pub(super) fn take(&mut self) -> VecDeque<Box<str>> {
        self.bytes = 0;
        std::mem::take(&mut self.lines)
    }

    /// Keeps a line. Returns false if there is no room for it.
    pub(super) fn push(&mut self, line: &str) -> bool {
        let bytes = self.bytes.saturating_add(line.len()).saturating_add(size_of::<Box<str>>());
        if bytes > self.bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.lines.push_back(line.into());
        true
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The bytes that the lines take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
