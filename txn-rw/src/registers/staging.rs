//! The merge of another node's snapshot: a little at a time, and visible at once.
//!
//! The steps ([`Registers::merge_step`]):
//!
//! 1. The registers of the snapshot go into a new map, some in each step.
//! 2. The visible registers go there as well, some in each step, in the order of their stamps. A
//!    register that changes meanwhile moves to the end, and goes there again.
//! 3. At the end, the new map has the registers of both, and replaces the old one.
//! 4. The old map is freed, some entries in each step ([`Registers::discard_step`]).
//!
//! So reads see the old map until they see the union of both, and no step takes long, however many
//! registers there are.
//!
//! Every register of the new map has a stamp above all stamps of the old one. So a node that is
//! reading a snapshot of this map reads all of it again, as [`State::piece`] demands.

use std::collections::BTreeMap;

use maelstrom_core::Error;
use maelstrom_core::gossip::Origin;
#[cfg(doc)]
use maelstrom_core::gossip::State;

use super::{CLOCK_LEAP_MAX, CLOCK_MAX, Change, Piece, Register, Registers, Version};
use crate::held::HeldTransaction;
use crate::json::Key;
use crate::vector_clock::VectorClock;

/// Number of registers that one step copies or frees.
const STEP: usize = if cfg!(test) { 2 } else { 2_000 };

/// Number of stamps that may be drawn while a snapshot is merged.
const STAMPS: u64 = 1 << 32;

/// A new map that will replace the visible one.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    pub(super) map: Registers,
    /// The piece of the snapshot that comes next, and the row in it.
    next: (usize, usize),
    /// Visible registers from this stamp on are not in the new map yet.
    position: u64,
}

/// The rest of a map that has been replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct Old {
    pub(super) registers: BTreeMap<Key, Register>,
    changes: BTreeMap<u64, Change>,
}

/// The reason to refuse a snapshot.
fn refused(why: &str) -> Error {
    Error::malformed_request(format!("field `piece`: {why}"))
}

impl Registers {
    /// Merges a little of a snapshot. Returns true if all of it is merged, and visible.
    ///
    /// # Errors
    ///
    /// If the snapshot is invalid. None of it becomes visible then.
    pub(super) fn stage(&mut self, pieces: &[Piece]) -> Result<bool, Error> {
        if !self.discard() {
            return Ok(false);
        }
        let visible = self.visible_in(pieces)?;
        let mut staging = match self.staging.take() {
            Some(staging) => *staging,
            None => Staging { map: self.empty(), next: (0, 0), position: 0 },
        };
        let (number, row) = staging.next;
        if let Some(piece) = pieces.get(number) {
            if row == 0
                && let Some(fault) = piece.fault(visible)
            {
                self.old = Old { registers: staging.map.registers, changes: staging.map.changes };
                return Err(refused(fault));
            }
            staging.add(piece);
        } else if staging.copy(self) {
            self.replace(staging.map, visible, pieces);
            return Ok(true);
        }
        self.staging = Some(Box::new(staging));
        Ok(false)
    }

    /// The transactions that are visible in a snapshot, if their clocks are possible.
    fn visible_in<'a>(&self, pieces: &'a [Piece]) -> Result<&'a VectorClock, Error> {
        let visible = pieces.last().and_then(|piece| piece.visible.as_ref());
        let visible = visible.ok_or_else(|| refused("the end of the snapshot is missing"))?;
        // Held transactions raise no node's clock, whatever clocks they have.
        if visible.max() > self.clock.saturating_add(CLOCK_LEAP_MAX).min(CLOCK_MAX) {
            return Err(refused("its clock is further ahead than can be"));
        }
        Ok(visible)
    }

    /// A map without registers, whose stamps are above those of this map.
    fn empty(&self) -> Self {
        let next_stamp = self.next_stamp.saturating_add(STAMPS);
        Self { next_stamp, ..Self::with_held_bytes_max(self.held_bytes_max) }
    }

    /// Replaces this map by one that has all registers of this map and of a snapshot.
    fn replace(&mut self, map: Self, visible: &VectorClock, pieces: &[Piece]) {
        let before = std::mem::replace(self, map);
        self.old = Old { registers: before.registers, changes: before.changes };
        // Without the counts of the new map: its writes were counted in one of the two maps.
        self.counts = before.counts;
        self.visible = before.visible;
        self.visible.join(visible);
        self.clock = self.visible.max();
        // Held transactions keep their stamps.
        self.held = before.held;
        for (origin, stamp) in self.held.numbers() {
            self.changes.insert(stamp, Change::Held(origin.clone()));
        }
        let now_visible = self.visible.clone();
        let is_old =
            |origin: &Origin, first: &HeldTransaction| first.clock <= now_visible.get(origin);
        while let Some((_, stamp, _)) = self.held.pop(is_old) {
            self.changes.remove(&stamp);
            self.counts.shown = self.counts.shown.saturating_add(1);
        }
        for (node, incarnation, held) in pieces.iter().flat_map(|piece| &piece.held) {
            let origin = Origin { node: node.clone(), incarnation: *incarnation };
            if held.clock > self.known(&origin) {
                self.counts.brought = self.counts.brought.saturating_add(1);
                self.hold(&origin, held.clone());
            }
        }
        self.release();
    }

    /// Frees a little of the map that was replaced. Returns true if nothing is left of it.
    pub(super) fn discard(&mut self) -> bool {
        for _ in 0..STEP {
            if self.old.registers.pop_first().is_none() && self.old.changes.pop_first().is_none() {
                return true;
            }
        }
        false
    }
}

impl Staging {
    /// Adds some registers of the next piece of the snapshot.
    fn add(&mut self, piece: &Piece) {
        let (number, row) = self.next;
        let mut rows = piece.registers.iter().skip(row);
        for (key, value, clock, node, incarnation) in rows.by_ref().take(STEP) {
            let origin = Origin { node: node.clone(), incarnation: *incarnation };
            self.map.write(key.clone(), value.clone(), Version { clock: *clock, origin });
        }
        let is_whole = rows.len() == 0;
        self.next = if is_whole {
            (number.saturating_add(1), 0)
        } else {
            (number, row.saturating_add(STEP))
        };
    }

    /// Adds some visible registers. Returns true if these were the last ones.
    fn copy(&mut self, visible: &Registers) -> bool {
        let mut changes = visible.changes.range(self.position..);
        for (stamp, change) in changes.by_ref().take(STEP) {
            self.position = stamp.saturating_add(1);
            if let Change::Register(key) = change
                && let Some(Register { value, version, .. }) = visible.registers.get(key)
            {
                self.map.write(key.clone(), value.clone(), version.clone());
            }
        }
        changes.next().is_none()
    }
}
