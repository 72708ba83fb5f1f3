//! The items that wait for a peer, and the byte budget of one packet.
//!
//! The invariants:
//!
//! * A packet has one budget of bytes for all its items. An item counts with its length as JSON: a
//!   key of control characters is six times longer there. The budget is half of the longest line,
//!   so the rest of the line always fits.
//! * Items of one kind leave in the order in which they came. An item that does not fit stays at
//!   the front until the next packet.
//! * The kinds take turns to be packed first ([`Kind::round_robin`]), so no kind starves another.
//! * A queue names a send or a poll only as long as it is open and goes to that peer. So the queue
//!   for a peer that is down holds no more names than there are open requests. The other queues
//!   hold a name for each partition, or have a limit of bytes.
//! * An item that is longer than the whole budget goes alone, in a packet that is still empty.

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::io;

use serde::Serialize;

use crate::wire::{PartitionId, Polled, SendOutcome};

/// A writer that only counts bytes.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The length of `value` as JSON, in bytes. `usize::MAX`, if the value cannot be written.
pub(crate) fn encoded_len<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

/// The bytes that are left in a packet.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    left: usize,
    is_empty: bool,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: bytes, is_empty: true }
    }

    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// True if the packet has no item yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// True if an item of that length may go into the packet.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        self.is_empty || bytes <= self.left
    }

    /// Takes an item of that length into the packet, if it may go there. Returns true if it may.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.admits(bytes);
        if fits {
            (self.left, self.is_empty) = (self.left.saturating_sub(bytes), false);
        }
        fits
    }

    /// The same for an item of a list, with its comma.
    pub(crate) fn take_item<T: Serialize>(&mut self, item: &T) -> bool {
        self.take(encoded_len(item).saturating_add(1))
    }
}

/// A queue of names that holds each name once. Any name can leave it.
#[derive(Clone, Debug)]
pub(crate) struct Fifo<T> {
    /// The names by their tickets, which tell their order.
    order: BTreeMap<u64, T>,
    tickets: BTreeMap<T, u64>,
    next_ticket: u64,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), tickets: BTreeMap::new(), next_ticket: 0 }
    }
}

impl<T: Ord + Copy> Fifo<T> {
    /// Adds a name at the end, unless it is in the queue.
    pub(crate) fn insert(&mut self, name: T) {
        if let btree_map::Entry::Vacant(vacant) = self.tickets.entry(name) {
            vacant.insert(self.next_ticket);
            self.order.insert(self.next_ticket, name);
            self.next_ticket = self.next_ticket.saturating_add(1);
        }
    }

    /// Removes a name, wherever it is in the queue.
    pub(crate) fn remove(&mut self, name: &T) {
        if let Some(ticket) = self.tickets.remove(name) {
            self.order.remove(&ticket);
        }
    }

    pub(crate) fn contains(&self, name: &T) -> bool {
        self.tickets.contains_key(name)
    }

    pub(crate) fn front(&self) -> Option<T> {
        self.order.first_key_value().map(|(_, name)| *name)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let (_, name) = self.order.pop_first()?;
        self.tickets.remove(&name);
        Some(name)
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// The partitions whose acknowledgements wait, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acks {
    partitions: Fifo<PartitionId>,
    /// The newest demand of the peer that had come when the partition went into the queue.
    demands: BTreeMap<PartitionId, u64>,
}

impl Acks {
    /// Adds a partition, unless it waits already. `demand`: the newest demand that has come.
    pub(crate) fn insert(&mut self, partition: PartitionId, demand: u64) {
        self.partitions.insert(partition);
        self.demands.entry(partition).or_insert(demand);
    }

    pub(crate) fn front(&self) -> Option<PartitionId> {
        self.partitions.front()
    }

    pub(crate) fn pop(&mut self) {
        if let Some(partition) = self.partitions.pop() {
            self.demands.remove(&partition);
        }
    }

    /// The oldest demand that may lack an acknowledgement.
    pub(crate) fn oldest_demand(&self) -> Option<u64> {
        self.demands.get(&self.front()?).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }
}

/// A queue of items with a limit of bytes.
#[derive(Clone, Debug)]
pub(crate) struct ByteBoundedQueue<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
}

impl<T> Default for ByteBoundedQueue<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0 }
    }
}

impl<T: Serialize> ByteBoundedQueue<T> {
    /// Adds an item at the end, if the queue then has no more than `bytes_max` bytes, or was empty.
    /// Returns true if it did.
    pub(crate) fn push(&mut self, item: T, bytes_max: usize) -> bool {
        let len = encoded_len(&item).saturating_add(1);
        let bytes = self.bytes.saturating_add(len);
        let fits = self.items.is_empty() || bytes <= bytes_max;
        if fits {
            self.items.push_back((len, item));
            self.bytes = bytes;
        }
        fits
    }

    /// Moves as many items into `list` as the budget allows.
    pub(crate) fn pack(&mut self, list: &mut Vec<T>, budget: &mut Budget) {
        while self.items.front().is_some_and(|(len, _)| budget.take(*len)) {
            let Some((len, item)) = self.items.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(len);
            list.push(item);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// The kinds of items in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Acks,
    SendOutcomes,
    Appends,
    Sends,
    Polls,
    Polled,
    Holdings,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Acks,
        Self::SendOutcomes,
        Self::Appends,
        Self::Sends,
        Self::Polls,
        Self::Polled,
        Self::Holdings,
    ];

    /// All kinds, in the order in which they go into the packet of that number.
    pub(crate) fn round_robin(number: u64) -> impl Iterator<Item = Self> {
        let count = Self::ALL.len();
        let first = number.checked_rem(count as u64).unwrap_or(0);
        let first = usize::try_from(first).unwrap_or(0);
        Self::ALL.into_iter().cycle().skip(first).take(count)
    }
}

/// The items that wait for one peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// Partitions that this node leads, if the peer may lack entries or the newest high watermark.
    pub(crate) appends: Fifo<PartitionId>,
    /// Partitions that the peer leads, or may lead. It gets an acknowledgement for each.
    pub(crate) acks: Acks,
    /// Sends that this node forwards to the peer.
    pub(crate) sends: Fifo<(PartitionId, u64)>,
    /// Polls that this node forwards to the peer.
    pub(crate) polls: Fifo<u64>,
    /// Outcomes of the peer's sends. If one is lost, the peer asks again.
    pub(crate) send_outcomes: ByteBoundedQueue<SendOutcome>,
    /// Answers to the peer's polls. If one is lost, the peer asks again.
    pub(crate) polled: ByteBoundedQueue<Polled>,
    /// Partitions without a record in `lin-kv`. For each, the peer gets a description of this
    /// node's records, or a question for its own.
    pub(crate) holdings: Fifo<PartitionId>,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.appends.is_empty()
            && self.acks.is_empty()
            && self.sends.is_empty()
            && self.polls.is_empty()
            && !self.has_answers()
    }

    /// True if an answer for the peer waits.
    pub(crate) fn has_answers(&self) -> bool {
        !(self.acks.is_empty()
            && self.send_outcomes.is_empty()
            && self.polled.is_empty()
            && self.holdings.is_empty())
    }

    /// True if a request to the peer waits.
    pub(crate) fn has_requests(&self) -> bool {
        !(self.appends.is_empty() && self.sends.is_empty() && self.polls.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_longer_than_the_budget_goes_alone() {
        let mut budget = Budget::new(10);
        assert!(budget.take(11));
        assert!(!budget.take(1));
        let mut budget = Budget::new(10);
        assert!(budget.take(4) && !budget.take(7) && budget.take(6) && !budget.take(1));
    }

    #[test]
    fn a_name_waits_once_and_in_order() {
        let mut fifo = Fifo::default();
        [3, 1, 3, 2].into_iter().for_each(|name| fifo.insert(name));
        assert!(fifo.contains(&3));
        let order: Vec<i32> = std::iter::from_fn(|| fifo.pop()).collect();
        assert_eq!((order, fifo.contains(&3)), (vec![3, 1, 2], false));
    }

    #[test]
    fn a_name_can_leave_from_anywhere_and_come_again_at_the_end() {
        for gone in 0..3 {
            let mut fifo = Fifo::default();
            (0..3).for_each(|name| fifo.insert(name));
            fifo.remove(&gone);
            fifo.remove(&9);
            assert_eq!((fifo.len(), fifo.contains(&gone)), (2, false));
            fifo.insert(gone);
            let order: Vec<i32> = std::iter::from_fn(|| fifo.pop()).collect();
            let expected: Vec<i32> = (0..3).filter(|name| *name != gone).chain([gone]).collect();
            assert_eq!((order, fifo.is_empty()), (expected, true));
        }
    }

    #[test]
    fn a_queue_takes_no_more_bytes_than_it_may_but_always_one_item() {
        let mut queue = ByteBoundedQueue::default();
        assert!(queue.push("xxxxxxxxxx", 5));
        assert!(!queue.push("x", 5));
        let mut list = Vec::new();
        queue.pack(&mut list, &mut Budget::new(1));
        assert!(queue.is_empty() && queue.push("x", 5));
        assert_eq!((list, queue.bytes), (vec!["xxxxxxxxxx"], 4));
    }

    #[test]
    fn each_kind_is_the_first_in_turn() {
        let firsts: Vec<_> = (0..7).filter_map(|number| Kind::round_robin(number).next()).collect();
        assert_eq!(firsts, Kind::ALL);
        assert_eq!(Kind::round_robin(u64::MAX).count(), 7);
    }
}
