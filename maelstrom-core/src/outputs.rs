//! The queue of a node's outputs, until its driver takes them.
//!
//! The lines of a message to many nodes differ in a few bytes only. The queue holds the long parts
//! of such a message once for all lines. It assembles such a line when the driver takes it. Only
//! then can the line be sealed, if it must be: see `auth`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::auth::ClusterKey;
use crate::message::NodeId;

/// Maximum capacity of a buffer that is kept for the next lines.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// If the shared texts of a line have fewer bytes than this, they are copied at once: it is not
/// worth a separate entry.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// Entries of the queue are merged up to this length. A longer entry is taken alone.
pub(crate) const LINES_BYTES_MAX: usize = 256 << 10;

/// An action that a node asks of its driver. The driver does the actions in order. See
/// [`RawNode`](crate::RawNode) for the driver's contract.
///
/// ```
/// # use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, Output, RawNode, Request};
/// # #[derive(serde::Deserialize, serde::Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Add { delta: u64 }, AddOk }
/// # struct Counter;
/// impl MessageHandler for Counter {
/// #   type Payload = Payload;
/// #   type Event = NoEvent;
///     // …
///     fn message(
///         &mut self, node: &mut Node<NoEvent>, from: &Request, payload: Payload,
///     ) -> Result<(), Error> {
///         node.persist(&payload);
///         node.reply(from, &Payload::AddOk);
///         Ok(())
///     }
/// }
/// # let mut node = RawNode::new(Counter, [7; 32], true);
/// # let handle = |node: &mut RawNode<Counter>, body: serde_json::Value| {
/// #     let line = serde_json::json!({"src": "c1", "dest": "n1", "body": body}).to_string();
/// #     node.handle_line(Clock::default(), line.as_bytes());
/// # };
/// # use serde_json::json;
/// # let init = json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]});
/// # handle(&mut node, init);
/// # while node.poll_output().is_some() {}
/// # handle(&mut node, json!({"type": "add", "msg_id": 2, "delta": 4}));
/// // The record must be durable before the answer leaves.
/// assert_eq!(node.poll_output(), Some(Output::Record(br#"{"add":{"delta":4}}"#.to_vec())));
/// assert!(matches!(node.poll_output(), Some(Output::Lines(lines)) if lines.ends_with(b"}}\n")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// One or more complete lines to write to the network. Each ends with its newline.
    Lines(Vec<u8>),
    /// A record to make durable before any later output leaves.
    Record(Vec<u8>),
}

/// A JSON text that several messages share.
pub(crate) type SharedText = Arc<[u8]>;

/// A line that shares texts with other lines.
#[derive(Debug)]
struct SharedLine {
    start: Vec<u8>,
    /// The texts after `start`, with commas between them.
    texts: Vec<SharedText>,
    end: &'static str,
    /// The seal, and the offset in the line at which the body begins.
    seal: Option<(Seal, usize)>,
}

/// The input of a line's [seal](crate::auth), which is computed when the line is assembled.
#[derive(Debug)]
pub(crate) struct Seal {
    pub(crate) key: ClusterKey,
    pub(crate) src: NodeId,
    pub(crate) dest: NodeId,
}

impl SharedLine {
    /// The line's length without its seal.
    fn len(&self) -> usize {
        let commas = self.texts.len().saturating_sub(1);
        let ends = self.start.len().saturating_add(self.end.len());
        ends.saturating_add(commas).saturating_add(bytes(&self.texts))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.len());
        let line_at = out.len();
        out.extend_from_slice(&self.start);
        write_texts(out, &self.texts, self.end);
        if let Some((Seal { key, src, dest }, body_at)) = &self.seal {
            key.seal(out, line_at.saturating_add(*body_at), src, dest);
        }
    }
}

fn bytes(texts: &[SharedText]) -> usize {
    texts.iter().map(|text| text.len()).fold(0, usize::saturating_add)
}

fn write_texts(out: &mut Vec<u8>, texts: &[SharedText], end: &str) {
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(text);
    }
    out.extend_from_slice(end.as_bytes());
}

#[derive(Debug)]
enum Queued {
    Lines(Vec<u8>),
    Shared(SharedLine),
    Record(Vec<u8>),
}

impl Queued {
    fn len(&self) -> usize {
        match self {
            Self::Lines(bytes) | Self::Record(bytes) => bytes.len(),
            Self::Shared(line) => line.len(),
        }
    }
}

/// The queue of outputs.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    queue: VecDeque<Queued>,
    /// An empty buffer for the next lines.
    spare: Vec<u8>,
}

impl Outputs {
    /// Appends a line that `write` writes. On an error, nothing is written.
    pub(crate) fn write<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !matches!(self.queue.back(), Some(Queued::Lines(_))) {
            self.queue.push_back(Queued::Lines(std::mem::take(&mut self.spare)));
        }
        let Some(Queued::Lines(out)) = self.queue.back_mut() else {
            return Ok(());
        };
        let start = out.len();
        let result = write(out);
        if result.is_err() {
            out.truncate(start);
            if start == 0
                && let Some(Queued::Lines(out)) = self.queue.pop_back()
            {
                self.spare = out;
            }
        }
        result
    }

    /// Appends a line that shares texts with other lines. `write` writes the beginning of the line,
    /// and returns the offset in it at which the body begins. The texts follow, with commas between
    /// them, then `end`.
    pub(crate) fn write_shared<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
        (texts, end): (Vec<SharedText>, &'static str),
        seal: Option<Seal>,
    ) -> Result<(), E> {
        let mut start = Vec::new();
        let is_short = bytes(&texts) < SHARED_BYTES_MIN;
        if is_short && seal.is_none() {
            return self.write(|out| {
                write(out)?;
                write_texts(out, &texts, end);
                Ok(())
            });
        }
        let body_at = write(&mut start)?;
        let seal = seal.map(|seal| (seal, body_at));
        let line = SharedLine { start, texts, end, seal };
        if is_short {
            return self.write(|out| {
                line.write(out);
                Ok(())
            });
        }
        self.queue.push_back(Queued::Shared(line));
        Ok(())
    }

    pub(crate) fn record(&mut self, record: Vec<u8>) {
        self.queue.push_back(Queued::Record(record));
    }

    /// Takes the next output.
    pub(crate) fn pop(&mut self) -> Option<Output> {
        match self.queue.pop_front()? {
            Queued::Record(record) => Some(Output::Record(record)),
            first => Some(Output::Lines(self.put_together(first))),
        }
    }

    /// Takes the next lines. `None`: the next output is a record, or there is none.
    pub(crate) fn pop_lines(&mut self) -> Option<Vec<u8>> {
        let first = self.pop_if(|next| !matches!(next, Queued::Record(_)))?;
        Some(self.put_together(first))
    }

    /// Takes all records, also those behind lines, and appends them to `records`.
    pub(crate) fn pop_records(&mut self, records: &mut Vec<Vec<u8>>) {
        for _ in 0..self.queue.len() {
            match self.queue.pop_front() {
                Some(Queued::Record(record)) => records.push(record),
                Some(lines) => self.queue.push_back(lines),
                None => {}
            }
        }
    }

    fn pop_if(&mut self, is_it: impl FnOnce(&Queued) -> bool) -> Option<Queued> {
        if self.queue.front().is_some_and(is_it) { self.queue.pop_front() } else { None }
    }

    /// Merges `first` with the entries after it, up to [`LINES_BYTES_MAX`] and up to the next
    /// record.
    fn put_together(&mut self, first: Queued) -> Vec<u8> {
        let mut lines = match first {
            Queued::Lines(lines) => lines,
            other => {
                let mut lines = std::mem::take(&mut self.spare);
                self.append(&mut lines, other);
                lines
            }
        };
        let fits = |lines: &[u8], next: &Queued| {
            let len = lines.len().saturating_add(next.len());
            len <= LINES_BYTES_MAX && !matches!(next, Queued::Record(_))
        };
        while let Some(next) = self.pop_if(|next| fits(&lines, next)) {
            self.append(&mut lines, next);
        }
        lines
    }

    fn append(&mut self, lines: &mut Vec<u8>, next: Queued) {
        match next {
            Queued::Shared(line) => line.write(lines),
            Queued::Lines(bytes) | Queued::Record(bytes) => {
                lines.extend_from_slice(&bytes);
                self.reuse(bytes);
            }
        }
    }

    /// Bytes that wait in the queue. A shared text counts once for each line.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.iter().map(Queued::len).fold(0, usize::saturating_add)
    }

    /// Keeps the buffer of lines that were written, for the next lines.
    pub(crate) fn reuse(&mut self, mut lines: Vec<u8>) {
        if (self.spare.capacity()..=SPARE_BYTES_MAX).contains(&lines.capacity()) {
            lines.clear();
            self.spare = lines;
        }
    }

    /// Bytes that the next lines can take without a new buffer.
    #[cfg(test)]
    pub(crate) fn spare_bytes(&self) -> usize {
        self.spare.capacity()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn put(outputs: &mut Outputs, text: &str) {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(text.as_bytes());
            Ok::<_, Infallible>(())
        };
        outputs.write(write).unwrap();
    }

    fn share(outputs: &mut Outputs, start: &str, texts: &[&SharedText]) {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(start.as_bytes());
            Ok::<_, Infallible>(0)
        };
        let texts = texts.iter().map(|text| SharedText::clone(text)).collect();
        outputs.write_shared(write, (texts, "]\n"), None).unwrap();
    }

    fn text(byte: u8, len: usize) -> SharedText {
        vec![byte; len].into()
    }

    fn lines(outputs: &mut Outputs) -> Vec<String> {
        let lines = std::iter::from_fn(|| outputs.pop_lines());
        lines.map(|lines| String::from_utf8(lines).unwrap()).collect()
    }

    #[test]
    fn a_text_that_many_lines_share_is_there_once_until_a_line_is_taken() {
        const LEN: usize = 1 << 20;
        let (mut outputs, shared) = (Outputs::default(), text(b'x', LEN));
        for _ in 0..100 {
            share(&mut outputs, "[", &[&shared]);
        }
        assert_eq!(outputs.bytes(), 100 * (LEN + 3));
        let own = |queued: &Queued| match queued {
            Queued::Shared(line) => line.start.capacity(),
            Queued::Lines(bytes) | Queued::Record(bytes) => bytes.capacity(),
        };
        assert!(outputs.queue.iter().map(own).sum::<usize>() < 100 * 100);
        assert_eq!(SharedText::strong_count(&shared), 101);
        let line = outputs.pop_lines().unwrap();
        assert_eq!((line.len(), line.capacity()), (LEN + 3, LEN + 3), "no more than one line");
    }

    #[test]
    fn lines_leave_in_their_order_whatever_their_length_and_together_up_to_a_limit() {
        let mut outputs = Outputs::default();
        let (short, long) = (text(b's', 3), text(b'l', SHARED_BYTES_MIN));
        let huge = text(b'h', LINES_BYTES_MAX);
        put(&mut outputs, "first\n");
        share(&mut outputs, "[", &[&short, &short]);
        share(&mut outputs, "[", &[&short, &long]);
        put(&mut outputs, "second\n");
        share(&mut outputs, "[", &[&huge]);
        put(&mut outputs, "third\n");
        let (long, huge) = ("l".repeat(SHARED_BYTES_MIN), "h".repeat(LINES_BYTES_MAX));
        let together = format!("first\n[sss,sss]\n[sss,{long}]\nsecond\n");
        assert_eq!(lines(&mut outputs), [together, format!("[{huge}]\n"), "third\n".to_owned()]);
        assert_eq!(outputs.bytes(), 0);
    }

    #[test]
    fn a_record_comes_before_the_lines_behind_it_or_is_taken_past_those_before_it() {
        for past in [false, true] {
            let mut outputs = Outputs::default();
            put(&mut outputs, "first\n");
            outputs.record(b"record".to_vec());
            put(&mut outputs, "second\n");
            if past {
                let mut records = Vec::new();
                outputs.pop_records(&mut records);
                assert_eq!(records, [b"record"]);
                assert_eq!(lines(&mut outputs), ["first\nsecond\n"]);
            } else {
                assert_eq!(lines(&mut outputs), ["first\n"]);
                assert_eq!(outputs.pop(), Some(Output::Record(b"record".to_vec())));
                assert_eq!(outputs.pop(), Some(Output::Lines(b"second\n".to_vec())));
            }
        }
    }
}
