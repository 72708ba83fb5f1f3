//! The queue of events between the reader threads and the test, and the memory budget that they
//! share.
//!
//! # Invariants
//!
//! * The queue holds at most [`EVENTS_MAX`] events. A reader waits until its event fits. So a node
//!   that prints too fast blocks on its pipe.
//! * The lines in the queue and the lines that readers are still reading share one budget. Together
//!   they take at most [`BYTES_MAX`] bytes, one long line and one short line: 128 MiB and a little,
//!   for any number of nodes.
//! * Outside the budget, each reader holds the first [`SHORT`] bytes of its line.
//! * A reader that waits for bytes stops reading, so its node blocks on its pipe. One reader may
//!   exceed the budget until the end of its line, so that readers that have used up the budget
//!   never wait for each other. Another reader may do so once the test has taken the excess lines.
//! * A short line enters an empty queue at once, whatever the readers hold.
//! * Events leave in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use maelstrom_core::NodeId;

use super::pipes::LINE_OVERHEAD;

/// The most events that wait for the test.
const EVENTS_MAX: usize = 1024;

/// The memory budget in bytes for lines, both in the queue and with readers.
const BYTES_MAX: usize = 64 << 20;

/// How many bytes of its current line a reader holds outside the budget.
const SHORT: usize = 1 << 16;

/// An event from a reader, with the number of its process's life.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) node: NodeId,
    pub(super) life: u64,
    /// `None`: the process closed its stdout.
    pub(super) line: Option<Vec<u8>>,
}

/// Creates a queue. It closes when the [`Receiver`] is dropped.
pub(super) fn queue() -> (Sender, Receiver) {
    let queue = Arc::new(Queue::default());
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

/// The sending end, which creates readers.
#[derive(Debug)]
pub(super) struct Sender(Arc<Queue>);

/// The end for the thread that reads the stdout of one life.
#[derive(Debug)]
pub(super) struct Reader {
    queue: Arc<Queue>,
    node: NodeId,
    life: u64,
    /// The memory of the current line, in bytes.
    size: usize,
    /// How many of them come from the budget.
    held: usize,
}

/// The receiving end, for the test.
#[derive(Debug)]
pub(super) struct Receiver(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Wakes the test when an event arrives, and readers when there is room.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The events, each with its size in bytes.
    events: VecDeque<(Said, usize)>,
    /// The bytes of the events, and those that readers hold.
    bytes: usize,
    /// The life whose reader may exceed the budget.
    favored: Option<u64>,
    is_closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `must_wait` is true and the queue is open.
    fn wait(&self, must_wait: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let must_wait = |state: &mut State| !state.is_closed && must_wait(state);
        let waited = self.changed.wait_while(self.state(), must_wait);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn fits(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= BYTES_MAX
    }

    /// Whether there is room for an event that takes this many more bytes from the budget.
    fn has_room(&self, bytes: usize) -> bool {
        let fits = bytes == 0 || self.fits(bytes);
        self.events.is_empty() || (fits && self.events.len() < EVENTS_MAX)
    }

    /// Whether the reader of this life may take this many more bytes.
    fn may_hold(&self, life: u64, bytes: usize) -> bool {
        let may_exceed = self.favored.map_or(self.fits(0), |favored| favored == life);
        self.fits(bytes) || may_exceed
    }

    fn hold(&mut self, life: u64, bytes: usize) {
        if !self.fits(bytes) {
            self.favored = Some(life);
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The reader of this life has reached the end of its line.
    fn end_line(&mut self, life: u64) {
        self.favored = self.favored.filter(|favored| *favored != life);
    }
}

impl Sender {
    /// Creates the reader for the stdout of one life.
    pub(super) fn reader(&self, node: NodeId, life: u64) -> Reader {
        Reader { queue: Arc::clone(&self.0), node, life, size: 0, held: 0 }
    }
}

impl Reader {
    /// Waits until the current line may take this many more bytes. `false`: the queue is closed.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        self.size = self.size.saturating_add(bytes);
        let more = self.size.saturating_sub(SHORT).saturating_sub(self.held);
        if more == 0 {
            return true;
        }
        let mut state = self.queue.wait(|state| !state.may_hold(self.life, more));
        if state.is_closed {
            return false;
        }
        state.hold(self.life, more);
        self.held = self.held.saturating_add(more);
        true
    }

    /// Waits until an event fits, and adds it: a line whose size [`grow`](Self::grow) has counted,
    /// or the end of stdout. `false`: the queue is closed, and the event is dropped.
    pub(super) fn send(&mut self, line: Option<Vec<u8>>) -> bool {
        let cost = self.size.max(self.held).saturating_add(LINE_OVERHEAD);
        let more = cost.saturating_sub(self.held);
        let mut state = self.queue.wait(|state| !state.has_room(more));
        if state.is_closed {
            return false;
        }
        state.bytes = state.bytes.saturating_add(more);
        state.events.push_back((Said { node: self.node.clone(), life: self.life, line }, cost));
        state.end_line(self.life);
        (self.size, self.held) = (0, 0);
        self.queue.changed.notify_all();
        true
    }
}

impl Drop for Reader {
    /// Returns the bytes of a line that never ended.
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.bytes = state.bytes.saturating_sub(self.held);
        state.end_line(self.life);
        self.queue.changed.notify_all();
    }
}

impl Receiver {
    /// Takes the oldest event. Waits for up to `timeout`.
    pub(super) fn next(&self, timeout: Duration) -> Option<Said> {
        let state = self.0.state();
        let must_wait = |state: &mut State| state.events.is_empty();
        let waited = self.0.changed.wait_timeout_while(state, timeout, must_wait);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (said, cost) = state.events.pop_front()?;
        state.bytes = state.bytes.saturating_sub(cost);
        self.0.changed.notify_all();
        Some(said)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.state();
        *state = State { is_closed: true, ..State::default() };
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::*;
    use crate::process::pipes::{self, Printed};

    const MIB: usize = 1 << 20;
    const LONGEST: usize = 64 * MIB;

    fn reader(sender: &Sender, life: u64) -> Reader {
        sender.reader("n1".into(), life)
    }

    /// Adds a line of this many bytes to the queue.
    fn say(sender: &Sender, life: u64, bytes: usize) -> bool {
        let mut reader = reader(sender, life);
        reader.grow(bytes) && reader.send(Some(Vec::new()))
    }

    /// The numbers of the events, in the order in which they leave.
    fn drain(receiver: &Receiver) -> Vec<u64> {
        let next = || receiver.next(Duration::ZERO);
        std::iter::from_fn(next).map(|said| said.life).collect()
    }

    fn bytes(sender: &Sender) -> usize {
        sender.0.state().bytes
    }

    /// Whether the reader of this life can take this many bytes without waiting.
    fn may_hold(sender: &Sender, life: u64, bytes: usize) -> bool {
        sender.0.state().may_hold(life, bytes)
    }

    #[test]
    fn short_lines_wait_by_their_number() {
        let (sender, receiver) = queue();
        for life in 0..1024 {
            assert!(sender.0.state().has_room(100));
            assert!(say(&sender, life, 100));
        }
        assert!(!sender.0.state().has_room(0));
        assert_eq!(bytes(&sender), 1024 * (100 + LINE_OVERHEAD));
        assert_eq!(drain(&receiver), (0..1024).collect::<Vec<_>>());
        assert_eq!(bytes(&sender), 0);
    }

    #[test]
    fn short_lines_wait_by_their_bytes_and_pass_an_empty_queue() {
        let (sender, receiver) = queue();
        let mut long = reader(&sender, 1);
        assert!(long.grow(LONGEST + SHORT));
        assert!(sender.0.state().has_room(100));
        assert!(say(&sender, 2, 100));
        assert!(!sender.0.state().has_room(100));
        assert_eq!(drain(&receiver), [2]);
        assert!(sender.0.state().has_room(100));
    }

    #[test]
    fn one_reader_goes_beyond_the_budget_and_the_others_wait_until_that_is_taken() {
        let (sender, receiver) = queue();
        let mut readers = [1, 2, 3].map(|life| reader(&sender, life));
        for (reader, size) in readers.iter_mut().zip([40, 20, 30]) {
            assert!(reader.grow(size * MIB + SHORT));
        }
        let [mut first, second, mut third] = readers;
        assert_eq!(bytes(&sender), 90 * MIB);
        assert!(!may_hold(&sender, 1, 1) && !may_hold(&sender, 2, 1));
        assert!(third.grow(34 * MIB));
        assert_eq!(bytes(&sender), 124 * MIB);
        // All bytes of the line are counted, so it does not wait for more.
        assert!(third.send(Some(Vec::new())));
        assert!(!may_hold(&sender, 1, 1) && !may_hold(&sender, 2, 1));
        assert_eq!(drain(&receiver), [3]);
        assert_eq!(bytes(&sender), 60 * MIB);
        assert!(first.grow(20 * MIB));
        assert!(!may_hold(&sender, 2, 1));
        // A line that never ends returns its bytes.
        drop(first);
        assert_eq!(bytes(&sender), 20 * MIB);
        assert!(may_hold(&sender, 2, 100 * MIB));
        drop(second);
        assert_eq!(bytes(&sender), 0);
    }

    /// The stdout of a node that prints a line without a newline. Before each read it records how
    /// many bytes the budget counts.
    struct Endless<'a> {
        sender: &'a Sender,
        left: usize,
        counted: &'a mut Vec<usize>,
    }

    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.counted.push(bytes(self.sender));
            let length = buffer.len().min(self.left);
            buffer.iter_mut().take(length).for_each(|byte| *byte = b'x');
            self.left -= length;
            Ok(length)
        }
    }

    #[test]
    fn a_line_that_a_node_prints_is_counted_while_it_is_read_and_until_it_is_taken() {
        let (sender, receiver) = queue();
        let mut counted = Vec::new();
        let stdout = Endless { sender: &sender, left: 8 * MIB, counted: &mut counted };
        pipes::read_stdout(stdout, &Mutex::new(Printed::default()), reader(&sender, 1));
        assert!(counted.is_sorted(), "{counted:?}");
        // The last read finds the end. By then the whole line is counted.
        assert!(counted.last().unwrap() + SHORT >= 8 * MIB, "{counted:?}");
        assert!(bytes(&sender) >= 8 * MIB);
        assert_eq!(receiver.next(Duration::ZERO).unwrap().line.unwrap().len(), 8 * MIB);
        assert!(bytes(&sender) < SHORT);
        assert!(receiver.next(Duration::ZERO).unwrap().line.is_none());
        assert_eq!(bytes(&sender), 0);
    }

    #[test]
    fn a_node_is_read_no_further_if_its_line_may_not_grow() {
        let (sender, receiver) = queue();
        drop(receiver);
        let mut counted = Vec::new();
        let stdout = Endless { sender: &sender, left: 8 * MIB, counted: &mut counted };
        pipes::read_stdout(stdout, &Mutex::new(Printed::default()), reader(&sender, 1));
        assert!(counted.len() * SHORT <= MIB, "{} reads", counted.len());
    }

    #[test]
    fn many_readers_of_long_lines_stay_within_the_figure_and_all_go_on() {
        const READERS: u64 = 8;
        let (sender, receiver) = queue();
        let read = |life| {
            let mut reader = reader(&sender, life);
            for _ in 0..3 {
                for _ in 0..64 {
                    assert!(reader.grow(MIB));
                    assert!(bytes(&sender) <= BYTES_MAX + LONGEST + SHORT + LINE_OVERHEAD);
                }
                assert!(reader.send(Some(Vec::new())));
            }
        };
        let mut lives = std::thread::scope(|scope| {
            for life in 0..READERS {
                let read = &read;
                scope.spawn(move || read(life));
            }
            let next = |_| receiver.next(Duration::from_secs(60)).unwrap().life;
            (0..READERS * 3).map(next).collect::<Vec<_>>()
        });
        lives.sort_unstable();
        assert_eq!(lives, (0..READERS).flat_map(|life| [life; 3]).collect::<Vec<_>>());
        assert_eq!(bytes(&sender), 0);
    }

    #[test]
    fn a_reader_that_waits_goes_on_when_there_is_room_and_ends_with_the_queue() {
        let (sender, receiver) = queue();
        assert!(say(&sender, 1, 2 * LONGEST));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| say(&sender, 2, 2 * LONGEST));
            assert_eq!(receiver.next(Duration::MAX).unwrap().life, 1);
            assert!(waiting.join().unwrap());
            let sender = &sender;
            let refused = scope.spawn(move || say(sender, 3, LONGEST));
            drop(receiver);
            assert!(!refused.join().unwrap());
            assert!(!say(sender, 4, 0));
        });
    }
}
