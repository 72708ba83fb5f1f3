//! The names of recent sends in a log. With them the log recognizes a repeated send.
//!
//! A producer numbers its sends to a partition. The numbers of two sends that it has under way are
//! never a window ([`DEDUPE_WINDOW`]) or more apart. So a log keeps the last `dedupe_window` sends
//! of each producer. No client waits for an older send any more.
//!
//! A producer is one life of a node. When a new producer comes, the log forgets the sends of
//! producers that were idle for longer than [`IDLE_MAX`]: no node forwards a send for that long.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::NodeId;

use crate::wire::{Position, Producer};

/// Default number of sends of each producer that a log keeps. The numbers of sends that are under
/// way are less than this apart.
pub const DEDUPE_WINDOW: u64 = 512;

/// How long after its last send a producer's sends are kept at least.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(600);

/// A log's knowledge of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendLookup {
    /// It is not in the log.
    Never,
    /// It is in the log.
    At {
        /// The position.
        position: Position,
        /// The offset among the entries of its key.
        offset: u64,
    },
    /// It is too old to know, and no client waits for it.
    Stale,
}

#[derive(Clone, Debug)]
struct Window {
    name: Producer,
    /// Below this number, only sends in `kept` are known.
    floor: u64,
    /// A number above all of its sends that have been deleted, 0 if there are none.
    deleted: u64,
    kept: BTreeMap<u64, (Position, u64)>,
    /// The time of the last send.
    newest: Duration,
}

impl Window {
    fn floor(&self) -> (NodeId, u64, u64) {
        (self.name.node.clone(), self.name.life, self.floor.max(self.deleted))
    }

    fn forget(&mut self) {
        if let Some((seq, _)) = self.kept.last_key_value() {
            self.floor = self.floor.max(seq.saturating_add(1));
        }
        self.kept = BTreeMap::new();
    }
}

/// The producers of a partition.
#[derive(Clone, Debug)]
pub(super) struct Producers {
    /// Number of sends of each producer that are kept.
    dedupe_window: u64,
    windows: Vec<Window>,
    places: BTreeMap<Producer, u32>,
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

impl Default for Producers {
    fn default() -> Self {
        Self::new(DEDUPE_WINDOW)
    }
}

impl Producers {
    /// No producers yet. `dedupe_window` sends of each one will be kept.
    pub(super) fn new(dedupe_window: u64) -> Self {
        Self { dedupe_window, windows: Vec::new(), places: BTreeMap::new() }
    }

    /// No producers, and the same window.
    pub(super) fn cleared(&self) -> Self {
        Self::new(self.dedupe_window)
    }

    /// Notes that all sends of a producer below `floor` are too old. Returns the producer's index.
    pub(super) fn raise_floor(&mut self, name: Producer, floor: u64) -> u32 {
        let place = self.place(name, Duration::ZERO);
        if let Some(window) = self.windows.get_mut(index(place)) {
            window.floor = window.floor.max(floor);
        }
        place
    }

    /// Notes that the entry of a send has been deleted.
    pub(super) fn delete(&mut self, place: u32, seq: u64) {
        if let Some(window) = self.windows.get_mut(index(place)) {
            window.deleted = window.deleted.max(seq.saturating_add(1));
        }
    }

    fn place(&mut self, name: Producer, now: Duration) -> u32 {
        if let Some(place) = self.places.get(&name) {
            return *place;
        }
        let is_idle = |window: &&mut Window| now.saturating_sub(window.newest) > IDLE_MAX;
        self.windows.iter_mut().filter(is_idle).for_each(Window::forget);
        let place = u32::try_from(self.windows.len()).unwrap_or(u32::MAX);
        let (kept, newest) = (BTreeMap::new(), now);
        self.windows.push(Window { name: name.clone(), floor: 0, deleted: 0, kept, newest });
        self.places.insert(name, place);
        place
    }

    /// The index of a producer, if the log has one.
    pub(super) fn find(&self, name: &Producer) -> Option<u32> {
        self.places.get(name).copied()
    }

    pub(super) fn name(&self, place: u32) -> Option<Producer> {
        self.windows.get(index(place)).map(|window| window.name.clone())
    }

    pub(super) fn lookup_send(&self, producer: &Producer, seq: u64) -> SendLookup {
        let window = self.places.get(producer).and_then(|place| self.windows.get(index(*place)));
        match window.map(|window| (window.kept.get(&seq), seq < window.floor)) {
            Some((Some((position, offset)), _)) => {
                SendLookup::At { position: *position, offset: *offset }
            }
            Some((None, true)) => SendLookup::Stale,
            _ => SendLookup::Never,
        }
    }

    /// Notes a send, and returns the producer's index.
    pub(super) fn insert(
        &mut self,
        producer: Producer,
        seq: u64,
        position: Position,
        offset: u64,
        now: Duration,
    ) -> u32 {
        let place = self.place(producer, now);
        if let Some(window) = self.windows.get_mut(index(place)) {
            window.newest = window.newest.max(now);
            window.kept.insert(seq, (position, offset));
            while window.kept.len() as u64 > self.dedupe_window {
                let oldest = window.kept.pop_first().map_or(0, |(seq, _)| seq);
                window.floor = window.floor.max(oldest.saturating_add(1));
            }
        }
        place
    }

    pub(super) fn remove(&mut self, place: u32, seq: u64) {
        if let Some(window) = self.windows.get_mut(index(place)) {
            window.kept.remove(&seq);
        }
    }

    /// For each producer, in the order of their indexes, a number above all of its sends that have
    /// been deleted or have left the window. 0 if there are none.
    pub(super) fn floors(&self) -> impl Iterator<Item = (NodeId, u64, u64)> {
        self.windows.iter().map(Window::floor)
    }

    /// The same of one producer.
    pub(super) fn floor(&self, place: u32) -> Option<(NodeId, u64, u64)> {
        self.windows.get(index(place)).map(Window::floor)
    }
}
