//! Anomalies of a single transaction or a single version. Those of lists are in [another
//! module](list_anomalies).
//!
//! - `G1a`: a read of a failed transaction's write (Adya 1999)
//! - `false-failure`: the same, and the reader began after the failure was known. An error that
//!   claims to be definite must be definite.
//! - `G1b`: a read of a version that its own writer overwrote (Adya 1999)
//! - `internal`: a read that contradicts an earlier micro-operation of its transaction (Cerone et
//!   al. 2015, INT)
//! - `future-read`: a read of a version that its own transaction writes later (Cerone et al. 2015,
//!   INT)
//! - `lost-update`: two transactions read the same version and both wrote the key (Bailis et al.
//!   2013)
//! - `phantom-read`: a read of a value that nobody wrote
//! - `altered-transaction`: a reply that does not match its request

use std::collections::BTreeMap;

use serde_json::json;

use super::Rules;
use super::explain::Findings;
use super::headline::txn_name;
use super::list_anomalies;
use super::transactions::{Data, MicroOp, Status, Transactions, Txn, TxnId, VersionId};

/// Whether Elle also looks for this anomaly.
pub(super) fn is_elles(name: &str, data: Data) -> bool {
    match name {
        "G1a" | "G1b" | "internal" | "lost-update" => true,
        "future-read" | "dirty-update" | "duplicate-elements" | "incompatible-order" => {
            data == Data::Lists
        }
        _ => false,
    }
}

pub(super) fn check(all: &Transactions<'_>, rules: Rules, findings: &mut Findings<'_, '_>) {
    for (id, txn) in all.txns.iter().enumerate().filter(|(_, txn)| txn.status == Status::Ok) {
        if txn.altered {
            let headline = || format!("the reply to {} does not belong to it", txn_name(all, id));
            findings.add("altered-transaction", &[id], headline, || json!({}));
        }
        if all.data == Data::Lists {
            continue;
        }
        internal(id, txn, findings);
        for (_, op) in txn.reads() {
            source(all, id, txn, op, findings);
        }
    }
    if all.data == Data::Lists {
        list_anomalies::check(all, rules, findings);
    }
    lost_updates(all, findings);
}

/// Compares each read with the earlier and later operations of its own transaction.
fn internal(id: TxnId, txn: &Txn, findings: &mut Findings<'_, '_>) {
    for (at, op) in txn.ops.iter().enumerate().filter(|(_, op)| !op.write) {
        let mut earlier = txn.ops.iter().take(at).rev();
        let expected = earlier.find(|other| other.key == op.key).map(|other| other.version);
        let mut later = txn.ops.iter().skip(at);
        if later.any(|other| other.write && other.version == op.version) {
            findings.add_read("future-read", &[id], op.version);
        } else if expected.is_some_and(|expected| expected != op.version) {
            findings.add_read("internal", &[id], op.version);
        }
    }
}

/// Checks the writer of a version that was read.
fn source(
    all: &Transactions<'_>,
    id: TxnId,
    txn: &Txn,
    op: MicroOp,
    findings: &mut Findings<'_, '_>,
) {
    let Some(version) = all.versions.get(op.version) else {
        return;
    };
    let Some((writer_id, writer)) = version.writer.and_then(|id| Some((id, all.txn(id)?))) else {
        if version.value.is_some() {
            findings.add_read("phantom-read", &[id], op.version);
        }
        return;
    };
    if writer.status == Status::Failed {
        findings.add_read("G1a", &[id, writer_id], op.version);
        if writer.ended.is_some_and(|ended| ended < txn.begun) {
            findings.add_read("false-failure", &[id, writer_id], op.version);
        }
    }
    if version.intermediate {
        findings.add_read("G1b", &[id, writer_id], op.version);
    }
}

/// Finds lost updates as Elle does. The order of the two writes does not matter, so no version
/// order is needed.
fn lost_updates(all: &Transactions<'_>, findings: &mut Findings<'_, '_>) {
    let mut updates: BTreeMap<VersionId, Vec<TxnId>> = BTreeMap::new();
    for (id, txn) in all.txns.iter().enumerate().filter(|(_, txn)| txn.status == Status::Ok) {
        for (_, read) in first_reads(txn) {
            if txn.writes().any(|write| write.key == read.key) {
                updates.entry(read.version).or_default().push(id);
            }
        }
    }
    for (version, ids) in updates.into_iter().filter(|(_, ids)| ids.len() > 1) {
        findings.add_read("lost-update", &ids, version);
    }
}

/// The first operation on each key, if it is a read.
pub(super) fn first_reads(txn: &Txn) -> impl Iterator<Item = (usize, MicroOp)> {
    let is_first = |at: usize, key| !txn.ops.iter().take(at).any(|op| op.key == key);
    txn.reads().filter(move |(at, op)| is_first(*at, op.key))
}
