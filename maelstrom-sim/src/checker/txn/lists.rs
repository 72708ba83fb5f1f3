//! The order in which elements were appended to lists, inferred from the lists that were read.
//!
//! Elle's rules (Kingsbury & Alvaro 2020): the longest list that was read of a key gives the order
//! of its elements. An element that is not in it was appended later. If several lists are the
//! longest, the first of them counts.

use std::collections::BTreeSet;

use super::order::{Orders, Why};
use super::transactions::{ListRead, Transactions, VersionId};
use super::{Rules, transactions::TxnId};

/// For each key, the longest list that was read, if it has an element.
pub(super) fn longest<'a>(all: &'a Transactions<'_>) -> Vec<Option<&'a ListRead>> {
    let mut longest: Vec<Option<&ListRead>> = vec![None; all.keys.len()];
    for list in &all.lists {
        if let Some(slot) = longest.get_mut(list.key)
            && slot.map_or(0, |known| known.elements.len()) < list.elements.len()
        {
            *slot = Some(list);
        }
    }
    longest
}

/// Each element of a list once, at its first position.
pub(super) fn distinct(list: &ListRead) -> Vec<VersionId> {
    let mut seen = BTreeSet::new();
    list.elements.iter().copied().filter(|element| seen.insert(*element)).collect()
}

/// The orders that hold under every model.
///
/// Elle ignores an element that nobody appended, so it does not relate the elements before and
/// after it. The strict rules relate them.
pub(super) fn infer(all: &Transactions<'_>, rules: Rules, orders: &mut Orders) {
    for (key, longest) in all.keys.iter().zip(longest(all)) {
        let mut chain = Chain { all, rules, orders, below: vec![key.initial] };
        let listed = longest.map(distinct).unwrap_or_default();
        let reader = longest.map(|list| list.txn);
        for version in &listed {
            chain.add(*version, reader.map(Why::Listed));
        }
        let listed: BTreeSet<VersionId> = listed.into_iter().collect();
        for version in key.versions().filter(|version| !listed.contains(version)) {
            chain.order(version, reader.map(Why::Unread));
        }
    }
}

struct Chain<'a, 'h> {
    all: &'a Transactions<'h>,
    rules: Rules,
    orders: &'a mut Orders,
    /// The last version with a writer, and the versions after it that have none.
    below: Vec<VersionId>,
}

impl Chain<'_, '_> {
    /// Adds the next version of the longest list.
    fn add(&mut self, version: VersionId, why: Option<Why>) {
        if self.order(version, why) || self.rules == Rules::Elle {
            self.below.clear();
        }
        self.below.push(version);
    }

    /// Orders a version after all versions in `below`, if it has a writer.
    fn order(&mut self, version: VersionId, why: Option<Why>) -> bool {
        let is_written = self.all.possible_writer(version).is_some();
        for lower in self.below.iter().filter(|_| is_written) {
            let why = why.filter(|_| !self.all.is_initial(*lower)).unwrap_or(Why::Initial);
            self.orders.add(*lower, version, why);
        }
        is_written
    }
}

/// Whether Elle fails on this history. Its search for dirty updates fails if a longest list
/// contains an element that no ended transaction appended.
pub(super) fn elle_fails(all: &Transactions<'_>) -> bool {
    let has_ended = |writer: TxnId| all.txn(writer).is_some_and(|txn| txn.ended.is_some());
    let is_known = |element: &VersionId| {
        let writer = all.versions.get(*element).and_then(|version| version.writer);
        writer.is_some_and(has_ended)
    };
    longest(all).into_iter().flatten().any(|list| !list.elements.iter().all(is_known))
}
