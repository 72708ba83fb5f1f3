//! In which order elements were appended to lists, as far as the lists tell that were read.
//!
//! Elle's rules (Kingsbury & Alvaro 2020): within the longest list that was read of a key, elements
//! come in its order. An element that it does not have was appended later. Where there are several
//! longest lists, the first of them counts.

use std::collections::BTreeSet;

use super::order::{Orders, Why};
use super::transactions::{ListRead, Transactions, VersionId};
use super::{Rules, transactions::TxnId};

/// For each key the longest list that was read, if any has an element.
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

/// Each element of a list, where it is first.
pub(super) fn distinct(list: &ListRead) -> Vec<VersionId> {
    let mut seen = BTreeSet::new();
    list.elements.iter().copied().filter(|element| seen.insert(*element)).collect()
}

/// The orders that hold under every model.
///
/// Elle knows nothing about an element that nobody appended, and so it does not know how those
/// before and after it are related. The strict rules look past it.
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
    /// The last version that somebody wrote, and those after it that nobody did.
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

    /// Orders a version after all that is below, if somebody wrote it.
    fn order(&mut self, version: VersionId, why: Option<Why>) -> bool {
        let is_written = self.all.possible_writer(version).is_some();
        for lower in self.below.iter().filter(|_| is_written) {
            let why = why.filter(|_| !self.all.is_initial(*lower)).unwrap_or(Why::Initial);
            self.orders.add(*lower, version, why);
        }
        is_written
    }
}

/// Whether Elle gives up: its search for dirty updates fails at an element of a longest list that
/// no transaction appended, or none that is known to have ended.
pub(super) fn elle_fails(all: &Transactions<'_>) -> bool {
    let has_ended = |writer: TxnId| all.txn(writer).is_some_and(|txn| txn.ended.is_some());
    let is_known = |element: &VersionId| {
        let writer = all.versions.get(*element).and_then(|version| version.writer);
        writer.is_some_and(has_ended)
    };
    longest(all).into_iter().flatten().any(|list| !list.elements.iter().all(is_known))
}
