//! A map that finds the values that are due, and those that wait for a node, without a look at the
//! other values. It also knows the total size of its values.
//!
//! The invariants:
//!
//! * The index misses no change. The map remembers the key of the last value that it handed out to
//!   be changed. It updates the index for this value before it hands out another one. Until then,
//!   each query uses this one value as it is now, and the index for all others.
//! * The cost of a query depends on the size of its result, not on the size of the map. Only
//!   [`Indexed::iter`] and [`Indexed::for_each_mut`] look at all values. They are for rare events,
//!   never for each message. ([`Indexed::recount_bytes`] does so as well, for an assertion in debug
//!   builds.)
//! * The keys in a result are in the order of keys, not in the order of times.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::time::Duration;

use maelstrom_core::NodeId;

/// The properties by which the map finds values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexKeys {
    /// The time at which something is due for the value.
    pub(crate) due_at: Option<Duration>,
    /// The nodes that the value waits for.
    pub(crate) waits_for: Vec<NodeId>,
    /// The size of the value.
    pub(crate) bytes: usize,
    /// True if the value is a log that starts again, and writes a leader's floor.
    pub(crate) is_restarting: bool,
}

/// A value whose properties depend only on the value itself.
pub(crate) trait Index {
    fn index_keys(&self) -> IndexKeys;

    /// One of them. A value that can tell it without the others is cheaper.
    fn is_restarting(&self) -> bool {
        self.index_keys().is_restarting
    }
}

#[derive(Clone, Debug)]
struct Slot<V> {
    value: V,
    /// The properties when the value was indexed.
    index_keys: IndexKeys,
}

#[derive(Clone, Debug)]
pub(crate) struct Indexed<K, V> {
    slots: BTreeMap<K, Slot<V>>,
    due: BTreeSet<(Duration, K)>,
    waiting: BTreeMap<NodeId, BTreeSet<K>>,
    bytes: usize,
    restarting: BTreeSet<K>,
    /// The key of the value that may have changed since it was indexed.
    open: Option<K>,
}

impl<K, V> Default for Indexed<K, V> {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            due: BTreeSet::new(),
            waiting: BTreeMap::new(),
            bytes: 0,
            restarting: BTreeSet::new(),
            open: None,
        }
    }
}

#[cfg(test)]
thread_local! {
    /// Number of looks at values of this thread, in all maps.
    pub(crate) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts a look at a value, for tests.
fn look() {
    #[cfg(test)]
    LOOKS.set(LOOKS.get().saturating_add(1));
}

impl<K: Ord + Copy, V: Index> Indexed<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.slots.contains_key(key)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        look();
        self.slots.get(key).map(|slot| &slot.value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.open(*key);
        self.slots.get_mut(key).map(|slot| &mut slot.value)
    }

    pub(crate) fn get_or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        self.open(key);
        let slot = || Slot { value: new(), index_keys: IndexKeys::default() };
        &mut self.slots.entry(key).or_insert_with(slot).value
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        self.get_or_insert_with(key, || value);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        look();
        let Slot { value, index_keys } = self.slots.remove(key)?;
        self.reindex(*key, &index_keys, &IndexKeys::default());
        self.open = self.open.filter(|open| open != key);
        Some(value)
    }

    /// The values in a range of keys.
    pub(crate) fn range(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (K, &V)> {
        self.slots.range(range).inspect(|_| look()).map(|(key, slot)| (*key, &slot.value))
    }

    /// Looks at all values, so this is for rare events only.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.range(..)
    }

    /// May change all values, so this is for rare events only.
    pub(crate) fn for_each_mut(&mut self, mut change: impl FnMut(K, &mut V)) {
        let keys: Vec<K> = self.slots.keys().copied().collect();
        for key in keys {
            if let Some(value) = self.get_mut(&key) {
                change(key, value);
            }
        }
    }

    /// The keys of the values that are due by now.
    pub(crate) fn due(&self, now: Duration) -> Vec<K> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| *key);
        let is_due = |index_keys: &IndexKeys| index_keys.due_at.is_some_and(|at| at <= now);
        self.with_open(due, is_due)
    }

    /// The time at which the next value is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let first = self.due.iter().find(|(_, key)| self.is_closed(key)).map(|(at, _)| *at);
        let open = self.open_slot().and_then(|(_, slot)| slot.value.index_keys().due_at);
        first.into_iter().chain(open).min()
    }

    /// The keys of the values that wait for a node.
    pub(crate) fn waiting_for(&self, node: &NodeId) -> Vec<K> {
        let waiting = self.waiting.get(node).into_iter().flatten().copied();
        self.with_open(waiting, |index_keys| index_keys.waits_for.contains(node))
    }

    /// The first key of a log that starts again.
    pub(crate) fn restarting(&self) -> Option<K> {
        let open = self.open_slot().filter(|(_, slot)| slot.value.is_restarting());
        let first = self.restarting.iter().copied().find(|key| self.is_closed(key));
        first.into_iter().chain(open.map(|(key, _)| key)).min()
    }

    /// The total size of all values.
    pub(crate) fn bytes(&self) -> usize {
        self.open_slot().map_or(self.bytes, |(_, slot)| {
            let others = self.bytes.saturating_sub(slot.index_keys.bytes);
            others.saturating_add(slot.value.index_keys().bytes)
        })
    }

    /// The same without the index, to check it.
    pub(crate) fn recount_bytes(&self) -> usize {
        let bytes = self.slots.values().map(|slot| slot.value.index_keys().bytes);
        bytes.fold(0, usize::saturating_add)
    }

    /// The keys that the index is right about, and the open key if its value `is_one`. Sorted.
    fn with_open(
        &self,
        indexed: impl Iterator<Item = K>,
        is_one: impl Fn(&IndexKeys) -> bool,
    ) -> Vec<K> {
        let open = self.open_slot().filter(|(_, slot)| is_one(&slot.value.index_keys()));
        let closed = indexed.inspect(|_| look()).filter(|key| self.is_closed(key));
        let mut keys: Vec<K> = closed.chain(open.map(|(key, _)| key)).collect();
        keys.sort_unstable();
        keys
    }

    fn is_closed(&self, key: &K) -> bool {
        self.open.as_ref() != Some(key)
    }

    fn open_slot(&self) -> Option<(K, &Slot<V>)> {
        let key = self.open?;
        Some((key, self.slots.get(&key)?))
    }

    /// The value of this key is about to change. Updates the index for the value that was open
    /// before.
    fn open(&mut self, key: K) {
        look();
        if let Some(before) = self.open.replace(key).filter(|before| *before != key)
            && let Some(slot) = self.slots.get_mut(&before)
        {
            let index_keys = slot.value.index_keys();
            let old = std::mem::replace(&mut slot.index_keys, index_keys.clone());
            self.reindex(before, &old, &index_keys);
        }
    }

    fn reindex(&mut self, key: K, old: &IndexKeys, new: &IndexKeys) {
        if old.due_at != new.due_at {
            if let Some(at) = old.due_at {
                self.due.remove(&(at, key));
            }
            self.due.extend(new.due_at.map(|at| (at, key)));
        }
        if old.waits_for != new.waits_for {
            for node in &old.waits_for {
                if let Some(keys) = self.waiting.get_mut(node) {
                    keys.remove(&key);
                }
            }
            for node in &new.waits_for {
                self.waiting.entry(node.clone()).or_default().insert(key);
            }
        }
        if new.is_restarting {
            self.restarting.insert(key);
        } else if old.is_restarting {
            self.restarting.remove(&key);
        }
        self.bytes = self.bytes.saturating_sub(old.bytes).saturating_add(new.bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Index for IndexKeys {
        fn index_keys(&self) -> IndexKeys {
            self.clone()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, IndexKeys),
        /// Changes the value in place, if there is one.
        Change(u8, IndexKeys),
        /// Changes the value, and creates it if there is none.
        Open(u8, IndexKeys),
        ChangeAll(Option<u8>),
        Remove(u8),
    }

    fn time(seconds: u8) -> Duration {
        Duration::from_secs(seconds.into())
    }

    fn node(number: u8) -> NodeId {
        format!("n{number}").into()
    }

    fn any_index_keys() -> impl Strategy<Value = IndexKeys> {
        let waits_for = prop::collection::btree_set((0..3_u8).prop_map(node), 0..3);
        let due_at = prop::option::of((0..6_u8).prop_map(time));
        let all = (due_at, waits_for, 0..9_usize, any::<bool>());
        all.prop_map(|(due_at, waits_for, bytes, is_restarting)| IndexKeys {
            due_at,
            waits_for: waits_for.into_iter().collect(),
            bytes,
            is_restarting,
        })
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let with = || (0..5_u8, any_index_keys());
        prop_oneof![
            with().prop_map(|(key, index_keys)| Step::Insert(key, index_keys)),
            with().prop_map(|(key, index_keys)| Step::Change(key, index_keys)),
            with().prop_map(|(key, index_keys)| Step::Open(key, index_keys)),
            prop::option::of(0..6_u8).prop_map(Step::ChangeAll),
            (0..5_u8).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn the_index_finds_the_same_as_a_look_at_all_values(
            steps in prop::collection::vec(any_step(), 0..40),
        ) {
            let (mut map, mut naive) = (Indexed::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(key, index_keys) => {
                        map.insert(key, index_keys.clone());
                        naive.insert(key, index_keys);
                    }
                    Step::Change(key, index_keys) => {
                        let (one, other) = (map.get_mut(&key), naive.get_mut(&key));
                        prop_assert_eq!(&one, &other);
                        one.into_iter().chain(other).for_each(|value| *value = index_keys.clone());
                    }
                    Step::Open(key, index_keys) => {
                        *map.get_or_insert_with(key, IndexKeys::default) = index_keys.clone();
                        naive.insert(key, index_keys);
                    }
                    Step::ChangeAll(at) => {
                        map.for_each_mut(|_, value| value.due_at = at.map(time));
                        naive.values_mut().for_each(|value| value.due_at = at.map(time));
                    }
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), naive.remove(&key)),
                }
                let keys = |is_one: &dyn Fn(&IndexKeys) -> bool| -> Vec<u8> {
                    naive.iter().filter(|(_, value)| is_one(value)).map(|(key, _)| *key).collect()
                };
                prop_assert!(map.iter().eq(naive.iter().map(|(key, value)| (*key, value))));
                prop_assert_eq!((map.len(), map.is_empty()), (naive.len(), naive.is_empty()));
                let next = naive.values().filter_map(|value| value.due_at).min();
                prop_assert_eq!(map.next_due(), next);
                for now in (0..7).map(time) {
                    let due = keys(&|value| value.due_at.is_some_and(|at| at <= now));
                    prop_assert_eq!(map.due(now), due);
                }
                for node in (0..4).map(node) {
                    let waiting = keys(&|value| value.waits_for.contains(&node));
                    prop_assert_eq!(map.waiting_for(&node), waiting);
                }
                let bytes: usize = naive.values().map(|value| value.bytes).sum();
                prop_assert_eq!((map.bytes(), map.recount_bytes()), (bytes, bytes));
                let mut restarting = naive.iter().filter(|(_, value)| value.is_restarting);
                prop_assert_eq!(map.restarting(), restarting.next().map(|(key, _)| *key));
            }
        }
    }

    #[test]
    fn an_answer_looks_at_no_more_than_it_names() {
        let mut map = Indexed::default();
        for key in 0..1_000_u32 {
            let due_at = Some(Duration::from_secs(key.into()));
            map.insert(
                key,
                IndexKeys { due_at, waits_for: vec![node(0)], bytes: 1, ..IndexKeys::default() },
            );
        }
        map.insert(1_000, IndexKeys { waits_for: vec![node(1)], bytes: 1, ..IndexKeys::default() });
        let before = LOOKS.get();
        assert_eq!(map.due(Duration::from_secs(2)), [0, 1, 2]);
        assert_eq!(map.next_due(), Some(Duration::ZERO));
        assert_eq!(map.waiting_for(&node(1)), [1_000]);
        map.get_mut(&7).unwrap().due_at = None;
        assert_eq!(map.bytes(), 1_001);
        assert!(LOOKS.get() - before <= 6, "{}", LOOKS.get() - before);
    }
}
