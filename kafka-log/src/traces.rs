//! The ids of clients' requests, by the entries of a log that they became.
//!
//! A leader that was started with `--trace-requests` keeps the ids of the newest entries. It sends
//! an id with the entry, so that the followers can name the request in their logs: see
//! [`maelstrom_core::trace`]. The ids are in memory only. They change nothing but the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::queue::Budget;
use crate::wire::{PartitionId, Position};

/// Maximum number of ids that a node keeps.
const TRACED_MAX: usize = 4_096;

/// The length of `,"requests":[]`.
const REQUESTS_PUNCTUATION: usize = 14;

/// An entry.
type Place = (PartitionId, Position);

/// The ids of the newest entries.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    ids: BTreeMap<Place, Arc<str>>,
    /// The keys of `ids` in the order in which they came.
    order: VecDeque<Place>,
}

impl Traces {
    /// Notes the id of an entry's request. Forgets the oldest one if there are too many.
    pub(crate) fn insert(&mut self, partition: PartitionId, at: Position, id: Arc<str>) {
        self.ids.insert((partition, at), id);
        self.order.push_back((partition, at));
        if self.order.len() > TRACED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// The id of an entry's request.
    pub(crate) fn get(&self, partition: PartitionId, at: Position) -> Option<&Arc<str>> {
        self.ids.get(&(partition, at))
    }

    /// The ids of `count` entries from `at` on, as many as fit into the packet.
    pub(crate) fn pack(
        &self,
        (partition, at): Place,
        count: usize,
        budget: &mut Budget,
    ) -> Vec<(Position, Arc<str>)> {
        let end = at.saturating_add(count as u64);
        let mut ids = self.ids.range((partition, at)..(partition, end)).peekable();
        if ids.peek().is_none() || !budget.take(REQUESTS_PUNCTUATION) {
            return Vec::new();
        }
        let ids = ids.map(|((_, at), id)| (*at, Arc::clone(id)));
        ids.take_while(|item| budget.take_item(item)).collect()
    }

    /// Forgets a partition. Its next leader may put other entries into the same places.
    pub(crate) fn forget(&mut self, partition: PartitionId) {
        let last = (partition, Position::MAX);
        while let Some((place, _)) = self.ids.range((partition, 0)..=last).next() {
            let place = *place;
            self.ids.remove(&place);
        }
        self.order.retain(|(other, _)| *other != partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(count: u64) -> Traces {
        let mut traces = Traces::default();
        (0..count).for_each(|at| traces.insert(1, at, format!("n1/c1/{at}").into()));
        traces
    }

    #[test]
    fn the_number_of_ids_is_bounded() {
        let max = TRACED_MAX as u64;
        let mut traces = traces(max + 10);
        assert_eq!((traces.ids.len(), traces.order.len()), (TRACED_MAX, TRACED_MAX));
        assert!(traces.get(1, 9).is_none() && traces.get(1, 10).is_some());
        traces.insert(2, 0, "n1/c1/x".into());
        traces.forget(1);
        assert_eq!((traces.ids.len(), traces.order.len()), (1, 1));
        assert!(traces.get(2, 0).is_some());
    }

    #[test]
    fn ids_take_no_more_bytes_than_the_packet_has_left() {
        let traces = traces(100);
        for bytes in 0..300 {
            let mut budget = Budget::new(bytes + 1);
            assert!(budget.take(1));
            let ids = traces.pack((1, 20), 10, &mut budget);
            let text = serde_json::to_string(&ids).unwrap();
            let text =
                if ids.is_empty() { String::new() } else { format!(r#","requests":{text}"#) };
            assert!(text.len() <= bytes, "{bytes}: {text}");
            assert_eq!(
                ids.len(),
                10.min(bytes.saturating_sub(REQUESTS_PUNCTUATION) / 16),
                "{text}"
            );
        }
    }
}
