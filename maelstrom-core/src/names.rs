//! Shared copies of the names that come with every message, so that most messages allocate none.
//!
//! The invariant: memory is bounded, for any number of senders and any names.

use std::fmt;

use crate::message::NodeId;

/// How many names are kept. In a test of Maelstrom, a node has far fewer clients.
const SLOTS: usize = 256;

/// Maximum length of a name that is kept.
const BYTES_MAX: usize = 64;

/// A table of names. A name's hash gives its only slot. A new name replaces the old one in its
/// slot.
pub(crate) struct Names {
    slots: Box<[Option<NodeId>]>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.slots.iter().flatten()).finish()
    }
}

impl Names {
    pub(crate) fn new() -> Self {
        Self { slots: vec![None; SLOTS].into() }
    }

    /// A shared copy of `name`. If `node_ids` has the name, this is its copy.
    pub(crate) fn get(&mut self, name: &str, node_ids: &[NodeId]) -> NodeId {
        let slot = self.slots.get_mut(place(name));
        if let Some(Some(known)) = &slot
            && known.as_ref() == name
        {
            return known.clone();
        }
        let id = node_ids.iter().find(|id| id.as_ref() == name).cloned();
        let id = id.unwrap_or_else(|| name.into());
        if let Some(slot) = slot
            && name.len() <= BYTES_MAX
        {
            *slot = Some(id.clone());
        }
        id
    }
}

/// The slot of a name. The hash is FNV-1a, which is good for short names and the same on every
/// machine.
fn place(name: &str) -> usize {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = name.as_bytes().iter().take(BYTES_MAX).fold(0x811c_9dc5, step);
    // FNV-1a mixes its low bits least, so mix the high bits into them.
    ((hash ^ (hash >> 16)) as usize) % SLOTS
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_name_is_allocated_once_and_a_nodes_never() {
        let node_ids: [NodeId; 2] = ["n1".into(), "n2".into()];
        let mut names = Names::new();
        assert!(Arc::ptr_eq(&names.get("n2", &node_ids), &node_ids[1]));
        let client = names.get("c1", &node_ids);
        assert_eq!(client.as_ref(), "c1");
        assert!(Arc::ptr_eq(&names.get("c1", &node_ids), &client));
    }

    #[test]
    fn many_names_and_long_ones_are_right_and_take_no_more_memory() {
        let mut names = Names::new();
        let long = "c".repeat(BYTES_MAX + 1);
        for n in 0..10 * SLOTS {
            assert_eq!(names.get(&format!("c{n}"), &[]).as_ref(), format!("c{n}"));
            assert_eq!(names.get(&long, &[]).as_ref(), long);
        }
        let kept: Vec<_> = names.slots.iter().flatten().collect();
        assert!((SLOTS / 2..=SLOTS).contains(&kept.len()));
        assert!(kept.iter().all(|name| name.len() <= BYTES_MAX));
    }
}
