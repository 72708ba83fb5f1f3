//! Checks the final transactions, after all faults: all nodes must show the same versions, and no
//! known write may be missing.
//!
//! - `divergence`: two final transactions read different versions of a key, so the replicas did not
//!   converge
//! - `lost-write`: all final transactions read a version of a key that is known to come before
//!   another version, which was acknowledged or read
//!
//! A final transaction that did not succeed leaves the verdict unknown, as in other workloads.
//!
//! Convergence is not part of any isolation level. But a replica that does not coordinate can
//! promise eventual consistency only, so this checker holds it to that promise (Bailis et al. 2013,
//! §5.1).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::explain::Findings;
use super::headline::{txn_name, version_name};
use super::order::{Order, Why};
use super::transactions::{KeyId, Status, Transactions, TxnId, VersionId};
use crate::checker::headline::list;

pub(super) fn check(all: &Transactions<'_>, orders: &[Order], findings: &mut Findings<'_, '_>) {
    let mut seen: BTreeMap<KeyId, BTreeMap<VersionId, TxnId>> = BTreeMap::new();
    let finals = all.txns.iter().enumerate().filter(|(_, txn)| txn.is_final);
    for (id, txn) in finals.filter(|(_, txn)| txn.status == Status::Ok) {
        for (_, read) in txn.reads() {
            seen.entry(read.key).or_default().entry(read.version).or_insert(id);
        }
    }
    for versions in seen.values().filter(|versions| versions.len() > 1) {
        let shown: Vec<String> = versions.keys().map(|version| all.show(*version)).collect();
        let ids: Vec<TxnId> = versions.values().copied().collect();
        let headline = || {
            let reads = versions.iter().map(|(version, id)| {
                format!("{} of {}", version_name(all, *version), txn_name(all, *id))
            });
            format!("final reads differ: {}", list(reads))
        };
        findings.add("divergence", &ids, headline, || json!({ "read": shown }));
    }
    let mut above: BTreeMap<VersionId, Vec<VersionId>> = BTreeMap::new();
    for order in orders.iter().filter(|order| !matches!(order.why, Why::Seen(..))) {
        above.entry(order.lower).or_default().push(order.upper);
    }
    for versions in seen.values().filter(|versions| versions.len() == 1) {
        for (version, id) in versions {
            let newer = newer(*version, &above).into_iter();
            let mut writers = newer.filter_map(|newer| Some((newer, all.writer(newer)?)));
            let own = all.writer(*version);
            if let Some((newer, writer)) = writers.find(|(_, writer)| Some(*writer) != own) {
                let (read, lost) = (all.show(*version), all.show(newer));
                let headline = || {
                    let (reader, writer) = (txn_name(all, *id), txn_name(all, writer));
                    let (read, lost) = (version_name(all, *version), version_name(all, newer));
                    format!("{reader} read {read} at the end, though {writer} wrote {lost} later")
                };
                findings.add(
                    "lost-write",
                    &[*id, writer],
                    headline,
                    || json!({ "read": read, "though there was": lost }),
                );
            }
        }
    }
}

/// All versions that are known to come after this one.
fn newer(version: VersionId, above: &BTreeMap<VersionId, Vec<VersionId>>) -> BTreeSet<VersionId> {
    let (mut found, mut open) = (BTreeSet::new(), vec![version]);
    while let Some(version) = open.pop() {
        for newer in above.get(&version).into_iter().flatten() {
            if found.insert(*newer) {
                open.push(*newer);
            }
        }
    }
    found.remove(&version);
    found
}
