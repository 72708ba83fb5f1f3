//! Splits a stream of bytes into lines, with a limit on their length.
//!
//! The invariant: memory is bounded by the limit and one chunk. A line over the limit is discarded
//! while it streams by. The lines after it are served.

use memchr::memchr;

/// A buffer that grew beyond this for a long line is shrunk to it.
const KEEP_BYTES: usize = 1 << 20;

/// A line, or a notice that a line was too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// The line, without its newline.
    Complete(&'a [u8]),
    /// A line of more bytes than the limit was skipped.
    TooLong,
}

/// Splits chunks into lines.
#[derive(Debug)]
pub(crate) struct LineSplitter {
    max: usize,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// True if `partial` was handed out as a whole line. The next call clears it.
    handed_out: bool,
    /// True if the rest of the current line must be skipped.
    skipping: bool,
}

impl LineSplitter {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, partial: Vec::new(), handed_out: false, skipping: false }
    }

    /// Takes the next line out of `chunk`, and advances `chunk` past it. `None`: the chunk is used
    /// up. If it ended with an unfinished line, that beginning has been kept.
    pub(crate) fn next_line<'s, 'c: 's>(&'s mut self, chunk: &mut &'c [u8]) -> Option<Line<'s>> {
        if std::mem::take(&mut self.handed_out) {
            self.partial.clear();
            self.partial.shrink_to(KEEP_BYTES);
        }
        let bytes: &'c [u8] = chunk;
        let end = memchr(b'\n', bytes);
        let (head, tail) = bytes.split_at(end.unwrap_or(bytes.len()));
        *chunk = tail.get(1..).unwrap_or_default();
        if !self.skipping && self.partial.len().saturating_add(head.len()) > self.max {
            self.partial = Vec::new();
            self.skipping = true;
        }
        if end.is_none() {
            if !self.skipping {
                self.partial.extend_from_slice(head);
            }
            return None;
        }
        if std::mem::take(&mut self.skipping) {
            return Some(Line::TooLong);
        }
        if self.partial.is_empty() {
            return Some(Line::Complete(head));
        }
        self.partial.extend_from_slice(head);
        self.handed_out = true;
        Some(Line::Complete(&self.partial))
    }

    /// The last line, if the stream ended without a newline.
    pub(crate) fn finish(&mut self) -> Option<Line<'_>> {
        if std::mem::take(&mut self.skipping) {
            return Some(Line::TooLong);
        }
        let unfinished = !self.handed_out && !self.partial.is_empty();
        self.handed_out = true;
        unfinished.then_some(Line::Complete(&self.partial))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All lines of `chunks`. `None` stands for a line that was too long.
    fn split(max: usize, chunks: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut splitter = LineSplitter::new(max);
        let mut lines = Vec::new();
        let owned = |line: Line<'_>| match line {
            Line::Complete(bytes) => Some(bytes.to_vec()),
            Line::TooLong => None,
        };
        for chunk in chunks {
            let mut rest = *chunk;
            while let Some(line) = splitter.next_line(&mut rest) {
                lines.push(owned(line));
            }
        }
        lines.extend(splitter.finish().map(owned));
        lines
    }

    fn some(line: &str) -> Option<Vec<u8>> {
        Some(line.as_bytes().to_vec())
    }

    #[test]
    fn lines_are_whole_whatever_the_chunks() {
        assert_eq!(
            split(9, &[b"a\nb", b"c", b"\n", b"\nd"]),
            [some("a"), some("bc"), some(""), some("d")]
        );
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_byte_more_is_skipped() {
        assert_eq!(split(3, &[b"abc\nabcd\nx\n"]), [some("abc"), None, some("x")]);
        assert_eq!(split(3, &[b"ab", b"c\nab", b"cd", b"ef\nx"]), [some("abc"), None, some("x")]);
        assert_eq!(split(3, &[b"abcd"]), [None]);
    }

    #[test]
    fn a_long_line_is_not_kept_while_it_streams_by() {
        let mut splitter = LineSplitter::new(8);
        for _ in 0..100 {
            let mut chunk: &[u8] = b"0123456789";
            assert_eq!(splitter.next_line(&mut chunk), None);
            assert!(splitter.partial.capacity() <= 16);
        }
    }

    proptest! {
        #[test]
        fn cutting_anywhere_changes_nothing(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b'b')], 0..64),
            cuts in proptest::collection::vec(0usize..64, 0..6),
            max in 0usize..8,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let mut naive: Vec<Option<Vec<u8>>> = text
                .split(|b| *b == b'\n')
                .map(|line| (line.len() <= max).then(|| line.to_vec()))
                .collect();
            if naive.last() == Some(&Some(Vec::new())) {
                naive.pop();
            }
            prop_assert_eq!(split(max, &chunks), naive);
        }
    }
}
