//! Timers, in the order of their deadlines.
//!
//! The invariants:
//!
//! * Each timer fires once, and never before its deadline.
//! * Timers with equal deadlines fire in the order in which a handler set them.
//! * A timer that a handler sets in a round waits for the next round, even if it is due. So a
//!   handler that always sets a timer of zero cannot keep a round from ending.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A queue of timers. Timers with equal deadlines fire in the order in which they were set.
#[derive(Debug)]
pub(crate) struct TimerQueue<E> {
    heap: BinaryHeap<Timer<E>>,
    next_sequence: u64,
}

#[derive(Debug)]
struct Timer<E> {
    deadline: Duration,
    sequence: u64,
    event: E,
}

impl<E> Timer<E> {
    fn key(&self) -> (Duration, u64) {
        (self.deadline, self.sequence)
    }
}

impl<E> Ord for Timer<E> {
    /// The timer with the earliest deadline is the greatest, since `BinaryHeap` is a max-heap.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<E> PartialOrd for Timer<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Timer<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Timer<E> {}

impl<E> TimerQueue<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), next_sequence: 0 }
    }

    pub(crate) fn set(&mut self, deadline: Duration, event: E) {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.heap.push(Timer { deadline, sequence, event });
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.heap.peek().map(|timer| timer.deadline)
    }

    /// A mark that separates the timers set so far from later ones, for [`pop_due`](Self::pop_due).
    pub(crate) fn mark(&self) -> u64 {
        self.next_sequence
    }

    /// Takes the next timer that is due and was set before `mark`.
    pub(crate) fn pop_due(&mut self, now: Duration, mark: u64) -> Option<E> {
        let due = self.heap.peek().is_some_and(|t| t.deadline <= now && t.sequence < mark);
        if due { self.heap.pop().map(|timer| timer.event) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn timers_fire_by_time_then_in_the_order_they_were_set() {
        let mut timers = TimerQueue::new();
        timers.set(ms(2), 'c');
        timers.set(ms(1), 'a');
        timers.set(ms(1), 'b');
        assert_eq!(timers.next_deadline(), Some(ms(1)));
        let mark = timers.mark();
        assert_eq!(timers.pop_due(ms(0), mark), None);
        assert_eq!(timers.pop_due(ms(1), mark), Some('a'));
        assert_eq!(timers.pop_due(ms(1), mark), Some('b'));
        assert_eq!(timers.pop_due(ms(1), mark), None);
        assert_eq!(timers.pop_due(ms(9), mark), Some('c'));
    }

    #[test]
    fn a_timer_set_during_a_round_waits_for_the_next_one() {
        let mut timers = TimerQueue::new();
        timers.set(ms(1), 'a');
        let mark = timers.mark();
        assert_eq!(timers.pop_due(ms(1), mark), Some('a'));
        timers.set(ms(1), 'b');
        assert_eq!(timers.pop_due(ms(1), mark), None);
        assert_eq!(timers.pop_due(ms(1), timers.mark()), Some('b'));
    }
}
