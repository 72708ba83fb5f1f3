//! The three pipes of a process. Each has its own thread.
//!
//! No thread blocks the test. A thread ends when its pipe is closed.
//!
//! # Invariants
//!
//! * A line of stdout longer than [`LINE_BYTES_MAX`] is split. Its memory grows by at most
//!   [`GROWTH_MAX`] at a time, and only after the queue of events has granted it.
//! * A line of stderr longer than [`STDERR_LINE_BYTES_MAX`] is split.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{ChildStderr, ChildStdin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use super::events::Reader;
use crate::excerpt::log_line;

/// The longest line of stdout that is not split.
const LINE_BYTES_MAX: usize = 64 << 20;

/// The longest line of stderr that is not split.
const STDERR_LINE_BYTES_MAX: usize = 1 << 20;

/// How many bytes the memory of a line grows by at most.
const GROWTH_MAX: usize = 4 << 20;

/// How many of the last lines of its stderr are kept for a node that fails. More than a hundred,
/// because a long backtrace may follow the error.
const STDERR_LINES: usize = 512;

/// How many characters of each of these lines are kept.
const STDERR_LINE_CHARS: usize = 1_000;

/// The approximate memory of a line beside its bytes.
pub(super) const LINE_OVERHEAD: usize = 64;

/// The byte order mark of UTF-8.
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// How much a process has printed to stdout. [`Processes::printed`](super::Processes::printed)
/// returns it. [`Processes`](super::Processes) shows it in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes since its last newline.
    pub unended_bytes: u64,
    /// Lines.
    pub lines: u64,
    head: [u8; 3],
}

impl Printed {
    fn add(&mut self, bytes: &[u8]) {
        let place = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        for (own, byte) in self.head.iter_mut().skip(place).zip(bytes) {
            *own = *byte;
        }
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(count);
        if bytes.last() == Some(&b'\n') {
            self.lines += 1;
            self.unended_bytes = 0;
        } else {
            self.unended_bytes = self.unended_bytes.saturating_add(count);
        }
    }

    /// Whether its first bytes are a byte order mark.
    #[must_use]
    pub fn begins_with_bom(&self) -> bool {
        self.head == BOM
    }
}

/// The approximate memory of a waiting line in bytes.
pub(crate) const fn cost(line: &[u8]) -> usize {
    line.len() + LINE_OVERHEAD
}

pub(super) fn write_stdin(
    mut stdin: ChildStdin,
    lines: &Receiver<Vec<u8>>,
    unread_bytes: &AtomicUsize,
) {
    while let Ok(line) = lines.recv() {
        let mut batch_cost = cost(&line);
        let mut batch = line;
        while batch.len() < 1 << 16
            && let Ok(line) = lines.try_recv()
        {
            batch_cost += cost(&line);
            batch.extend(line);
        }
        if stdin.write_all(&batch).is_err() {
            return;
        }
        unread_bytes.fetch_sub(batch_cost, Ordering::Relaxed);
    }
}

pub(super) fn read_stdout(stdout: impl Read, printed: &Mutex<Printed>, mut events: Reader) {
    let mut stdout = Lines::new(BufReader::with_capacity(1 << 16, stdout), LINE_BYTES_MAX);
    let count = |bytes: &[u8]| printed.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
    while let Ok(Some(line)) = stdout.next(count, |bytes| events.grow(bytes)) {
        if !events.send(Some(line)) {
            return;
        }
    }
    events.send(None);
}

/// Splits input into lines as Maelstrom does. A line ends with a line feed, a carriage return, or a
/// carriage return and a line feed.
struct Lines<R> {
    input: R,
    /// The longest line.
    max: usize,
    /// Whether the last line ended with a carriage return. A line feed right after it belongs to
    /// that line end.
    after_return: bool,
}

impl<R: BufRead> Lines<R> {
    const fn new(input: R, max: usize) -> Self {
        Self { input, max, after_return: false }
    }

    /// The next line, without its end; `None` at the end of the input. Splits a line beyond the
    /// limit. `count` gets its bytes as they arrive. `grow` grants more memory before the line
    /// takes it; if it returns `false`, the reading ends.
    fn next(
        &mut self,
        mut count: impl FnMut(&[u8]),
        mut grow: impl FnMut(usize) -> bool,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        while line.len() < self.max {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if std::mem::take(&mut self.after_return) && chunk.first() == Some(&b'\n') {
                count(b"\n");
                self.input.consume(1);
                continue;
            }
            let limit = self.max - line.len();
            let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
            let bytes = chunk.split_inclusive(is_end).next().unwrap_or_default();
            let bytes = bytes.get(..limit).unwrap_or(bytes);
            if bytes.is_empty() {
                return Ok((!line.is_empty()).then_some(line));
            }
            let spare = line.capacity() - line.len();
            if bytes.len() > spare {
                let doubled = line.capacity().min(GROWTH_MAX).min(limit - spare);
                let growth = doubled.max(bytes.len() - spare);
                if !grow(growth) {
                    return Ok(None);
                }
                line.reserve_exact(spare + growth);
            }
            count(bytes);
            line.extend_from_slice(bytes);
            let length = bytes.len();
            self.input.consume(length);
            if line.last().is_some_and(is_end) {
                self.after_return = line.pop() == Some(b'\r');
                break;
            }
        }
        Ok(Some(line))
    }
}

pub(super) fn keep_stderr(
    stderr: ChildStderr,
    mut log: File,
    tail: &Mutex<VecDeque<String>>,
    shown_as: Option<&str>,
) {
    let mut stderr = Lines::new(BufReader::new(stderr), STDERR_LINE_BYTES_MAX);
    while let Ok(Some(line)) = stderr.next(|_| {}, |_| true) {
        let text = String::from_utf8_lossy(&line).into_owned();
        writeln!(log, "{text}").ok();
        if let Some(id) = shown_as {
            writeln!(io::stderr(), "{id} | {}", log_line(&text)).ok();
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == STDERR_LINES {
            tail.pop_front();
        }
        tail.push_back(text.chars().take(STDERR_LINE_CHARS).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_as_they_come_and_not_only_with_their_newline() {
        let mut printed = Printed::default();
        // With a buffer of two bytes, all input arrives in pieces.
        let mut input = Lines::new(BufReader::with_capacity(2, &b"\xef\xbb\xbf{}\nab"[..]), 64);
        assert_eq!(input.next(|bytes| printed.add(bytes), |_| true).unwrap().unwrap().len(), 5);
        assert_eq!((printed.bytes, printed.unended_bytes, printed.lines), (6, 0, 1));
        assert!(printed.begins_with_bom());
        assert_eq!(input.next(|bytes| printed.add(bytes), |_| true).unwrap().unwrap(), b"ab");
        assert_eq!((printed.bytes, printed.unended_bytes, printed.lines), (8, 2, 1));
        assert_eq!(input.next(|_| {}, |_| true).unwrap(), None);
    }

    #[test]
    fn an_empty_line_is_a_line_and_no_end() {
        let mut input = Lines::new(&b"\n\nx"[..], 64);
        let lines = std::iter::from_fn(|| input.next(|_| {}, |_| true).unwrap());
        assert_eq!(lines.collect::<Vec<_>>(), [&b""[..], b"", b"x"]);
    }

    #[test]
    fn a_carriage_return_ends_a_line_at_once_and_a_line_feed_behind_it_is_part_of_it() {
        for capacity in [1, 2, 64] {
            let text = &b"a\rb\r\nc\r\r\nd"[..];
            let mut input = Lines::new(BufReader::with_capacity(capacity, text), 64);
            let lines = std::iter::from_fn(|| input.next(|_| {}, |_| true).unwrap());
            assert_eq!(lines.collect::<Vec<_>>(), [&b"a"[..], b"b", b"c", b"", b"d"]);
        }
        // The line is returned before the next byte arrives.
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"a\r").unwrap();
        assert_eq!(
            Lines::new(BufReader::new(reader), 64).next(|_| {}, |_| true).unwrap().unwrap(),
            b"a"
        );
    }

    #[test]
    fn a_line_takes_no_more_memory_than_was_granted_and_comes_in_pieces_beyond_the_limit() {
        let text = [b'x'; 2500];
        let mut input = Lines::new(BufReader::with_capacity(7, &text[..]), 1000);
        for length in [1000, 1000, 500] {
            let mut granted = 0;
            let grant = |bytes: usize| {
                granted += bytes;
                true
            };
            let line = input.next(|_| {}, grant).unwrap().unwrap();
            assert_eq!(line.len(), length);
            assert_eq!(line.capacity(), granted);
            assert!(granted <= 1000, "{granted}");
        }
        assert_eq!(input.next(|_| {}, |_| true).unwrap(), None);
        let mut input = Lines::new(&b"x\n"[..], 1000);
        assert_eq!(input.next(|_| {}, |_| false).unwrap(), None, "it was refused");
    }
}
