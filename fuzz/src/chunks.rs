//! Target `chunks`: the splitter cuts a stream into the same lines, however the stream is divided
//! into chunks. The reference is a naive split of the whole stream.

use crate::input::Input;

#[path = "../../maelstrom-core/src/lines.rs"]
#[allow(clippy::all, dead_code, missing_docs, unreachable_pub, reason = "compiled as it is there")]
mod lines;

use lines::{Line, LineSplitter};

fn owned(line: Line<'_>) -> Option<Vec<u8>> {
    match line {
        Line::Complete(bytes) => Some(bytes.to_vec()),
        Line::TooLong => None,
    }
}

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let max = input.below(64);
    let lengths: Vec<usize> = (0..input.below(16)).map(|_| input.below(64)).collect();
    let mut stream = Vec::new();
    while !input.is_empty() {
        // This makes line ends frequent.
        let byte = input.byte();
        stream.push(if byte.is_multiple_of(8) { b'\n' } else { byte });
    }
    let mut splitter = LineSplitter::new(max);
    let (mut found, mut rest, mut lengths) = (Vec::new(), &stream[..], lengths.into_iter());
    while !rest.is_empty() {
        let len = lengths.next().unwrap_or(usize::MAX).min(rest.len());
        let (mut chunk, behind) = rest.split_at(len);
        rest = behind;
        while let Some(line) = splitter.next_line(&mut chunk) {
            found.push(owned(line));
        }
        assert!(chunk.is_empty(), "a chunk is used up");
    }
    found.extend(splitter.finish().map(owned));
    let mut naive: Vec<Option<Vec<u8>>> = stream
        .split(|byte| *byte == b'\n')
        .map(|line| (line.len() <= max).then(|| line.to_vec()))
        .collect();
    if naive.last() == Some(&Some(Vec::new())) {
        naive.pop();
    }
    assert_eq!(found, naive);
}
