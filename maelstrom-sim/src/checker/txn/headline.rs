//! Describes the first finding of a kind in one sentence: the transactions that prove it, and the
//! versions that they read.

use std::collections::BTreeSet;

use super::explain::{Step, name};
use super::order::{Order, Why};
use super::transactions::{Data, Transactions, TxnId, VersionId};
use crate::checker::headline::{list, short};

/// The name of a transaction, with its process.
pub(super) fn txn_name(all: &Transactions<'_>, id: TxnId) -> String {
    let op = name(all, id);
    all.txn(id).map_or_else(|| op.clone(), |txn| format!("{op} of process {}", txn.process))
}

/// The names of these transactions, or of the first ones.
pub(super) fn txn_names(all: &Transactions<'_>, ids: &[TxnId]) -> String {
    list(ids.iter().map(|id| txn_name(all, *id)))
}

/// A key and its value.
pub(super) fn version_name(all: &Transactions<'_>, version: VersionId) -> String {
    format!("key {}", short(&all.show(version)))
}

/// Describes a finding about the version that the first of these transactions read.
pub(super) fn read(
    all: &Transactions<'_>,
    kind: &str,
    ids: &[TxnId],
    version: VersionId,
) -> String {
    let read = version_name(all, version);
    let [reader, others @ ..] = ids else {
        return format!("a transaction read {read}");
    };
    let (reader, writer) = (txn_name(all, *reader), txn_names(all, others));
    match kind {
        "future-read" => format!("{reader} read {read} before it wrote that itself"),
        "internal" => format!("{reader} read {read}, against an earlier operation of its own"),
        "phantom-read" => format!("{reader} read {read}, which nobody wrote"),
        "G1a" => format!("{reader} read {read}, which {writer} wrote, and that failed"),
        "false-failure" => format!("{reader} read {read} of {writer}, which had failed before"),
        "G1b" if all.data == Data::Lists => {
            format!("{reader} read {read}, amid the appends of {writer}")
        }
        "duplicate-elements" => format!("{reader} read {read} twice"),
        "G1b" => format!("{reader} read {read}, which {writer} overwrote itself"),
        "lost-update" => format!("{reader} read {read} and wrote the key, and so did {writer}"),
        _ => format!("{reader} read {read}"),
    }
}

/// Describes a cycle. If the cycle contains an inferred order, names that order and its reader.
/// Otherwise names the transactions `ids`.
pub(super) fn cycle(all: &Transactions<'_>, cycle: &[Step], ids: &[TxnId]) -> String {
    let Some((Order { lower, upper, .. }, reader)) = cycle.iter().find_map(must_have_seen) else {
        return format!("these depend on each other: {}", txn_names(all, ids));
    };
    let (older, newer) = (version_name(all, upper), version_name(all, lower));
    let writer = all.writer(lower);
    let process = |id: TxnId| all.txn(id).map(|txn| txn.process);
    match (writer, process(reader)) {
        (Some(writer), Some(own)) if process(writer) == Some(own) => {
            let (write, read) = (name(all, writer), name(all, reader));
            format!("process {own} wrote {newer} in {write}, and then read {older} in {read}")
        }
        (writer, _) => {
            let writer = writer.map_or_else(|| "nobody".into(), |writer| txn_name(all, writer));
            let reader = txn_name(all, reader);
            format!(
                "{reader} read {older}, though it must have seen a later write: {writer} wrote \
                 {newer}"
            )
        }
    }
}

/// All transactions that prove a cycle, each once: first those that its headline names, then those
/// of the cycle (`ids`), then those that prove its other version orders.
pub(super) fn proof(all: &Transactions<'_>, cycle: &[Step], ids: &[TxnId]) -> Vec<TxnId> {
    let named = cycle.iter().find_map(must_have_seen);
    let named =
        named.into_iter().flat_map(|(order, reader)| [all.writer(order.lower), Some(reader)]);
    let witnesses = cycle.iter().filter_map(|step| step.edge.order()?.why.witness());
    let mut seen = BTreeSet::new();
    named
        .flatten()
        .chain(ids.iter().copied())
        .chain(witnesses)
        .filter(|id| seen.insert(*id))
        .collect()
}

/// The inferred order of a step, and the transaction that must have seen the earlier write.
fn must_have_seen(step: &Step) -> Option<(Order, TxnId)> {
    let order = step.edge.order()?;
    match order.why {
        Why::Seen(reader, _) => Some((order, reader)),
        Why::Initial | Why::ReadThenWrote(_) | Why::Listed(_) | Why::Unread(_) => None,
    }
}
