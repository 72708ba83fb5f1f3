//! The queue between the threads that read from nodes and the test.
//!
//! # Invariants
//!
//! * The queue holds at most [`EVENTS_MAX`] events. Together they take at most
//!   [`EVENT_BYTES_MAX`] bytes, or the queue holds a single event. A sender waits until its event
//!   fits, so a node that prints too fast waits in its pipe.
//! * Beside the queue, each sender holds one line.
//! * Events leave in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use maelstrom_core::NodeId;

use super::pipes;

/// The largest number of events that wait for the test.
const EVENTS_MAX: usize = 1024;

/// The largest number of bytes of memory that the waiting events take.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// An event that a thread reports, with the number of the life of its process.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) node: NodeId,
    pub(super) life: u64,
    /// `None`: it has closed its stdout.
    pub(super) line: Option<Vec<u8>>,
}

impl Said {
    fn cost(&self) -> usize {
        pipes::cost(self.line.as_deref().unwrap_or_default())
    }
}

/// Creates a queue. It closes when the [`Receiver`] is dropped.
pub(super) fn queue() -> (Sender, Receiver) {
    let queue = Arc::new(Queue::default());
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

/// The end of the queue that a thread has.
#[derive(Clone, Debug)]
pub(super) struct Sender(Arc<Queue>);

/// The end of the queue that the test has.
#[derive(Debug)]
pub(super) struct Receiver(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Wakes the test after an event came, and senders after there is room.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Said>,
    bytes: usize,
    is_closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, cost: usize) -> bool {
        let fits = self.bytes.saturating_add(cost) <= EVENT_BYTES_MAX;
        self.events.is_empty() || (fits && self.events.len() < EVENTS_MAX)
    }
}

impl Sender {
    /// Waits until the event fits, and puts it in the queue. `false`: the queue is closed, and the
    /// event is dropped.
    pub(super) fn send(&self, said: Said) -> bool {
        let cost = said.cost();
        let state = self.0.state();
        let must_wait = |state: &mut State| !state.is_closed && !state.has_room(cost);
        let waited = self.0.changed.wait_while(state, must_wait);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return false;
        }
        state.bytes += cost;
        state.events.push_back(said);
        self.0.changed.notify_all();
        true
    }
}

impl Receiver {
    /// The oldest event, if there is one before `timeout` is over.
    pub(super) fn next(&self, timeout: Duration) -> Option<Said> {
        let state = self.0.state();
        let must_wait = |state: &mut State| state.events.is_empty();
        let waited = self.0.changed.wait_timeout_while(state, timeout, must_wait);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let said = state.events.pop_front()?;
        state.bytes -= said.cost();
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
    use super::*;

    const LONG: usize = EVENT_BYTES_MAX / 2 - 1000;

    fn said(life: u64, bytes: usize) -> Said {
        Said { node: "n1".into(), life, line: Some(vec![b'x'; bytes]) }
    }

    /// Numbers of the events in the order in which they leave.
    fn drain(receiver: &Receiver) -> Vec<u64> {
        let next = || receiver.next(Duration::ZERO);
        std::iter::from_fn(next).map(|said| said.life).collect()
    }

    /// Whether another event of so many bytes would have to wait.
    fn is_full_for(sender: &Sender, bytes: usize) -> bool {
        !sender.0.state().has_room(said(0, bytes).cost())
    }

    #[test]
    fn long_lines_wait_by_their_bytes_and_short_ones_by_their_number() {
        let (sender, receiver) = queue();
        for life in [1, 2] {
            assert!(!is_full_for(&sender, LONG));
            assert!(sender.send(said(life, LONG)));
        }
        assert!(is_full_for(&sender, LONG));
        assert!(!is_full_for(&sender, 100));
        assert_eq!(drain(&receiver), [1, 2]);
        for life in 0..1024 {
            assert!(!is_full_for(&sender, 100));
            assert!(sender.send(said(life, 100)));
        }
        assert!(is_full_for(&sender, 0));
        assert_eq!(drain(&receiver), (0..1024).collect::<Vec<_>>());
        assert_eq!(sender.0.state().bytes, 0);
    }

    #[test]
    fn a_line_beyond_the_limit_passes_alone() {
        let (sender, receiver) = queue();
        assert!(sender.send(said(1, EVENT_BYTES_MAX)));
        assert!(is_full_for(&sender, 0));
        assert_eq!(drain(&receiver), [1]);
    }

    #[test]
    fn a_sender_that_waits_goes_on_when_there_is_room_and_ends_with_the_queue() {
        let (sender, receiver) = queue();
        sender.send(said(1, EVENT_BYTES_MAX));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| sender.send(said(2, EVENT_BYTES_MAX)));
            assert_eq!(receiver.next(Duration::MAX).unwrap().life, 1);
            assert!(waiting.join().unwrap());
            let refused = scope.spawn(|| sender.send(said(3, 0)));
            drop(receiver);
            assert!(!refused.join().unwrap());
        });
    }
}
