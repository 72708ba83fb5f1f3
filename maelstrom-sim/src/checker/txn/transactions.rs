//! The transactions of a history, and the versions of keys that they wrote and read.
//!
//! Since no two writes of a key have the same value, a value that was read tells who wrote it. A
//! transaction of which nobody knows whether it happened did happen if one of its writes was read.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::history::{History, Op, OpType, Process};
use crate::json::canonical;

/// A transaction's place in [`Transactions::txns`].
pub(super) type TxnId = usize;
/// A key's place in [`Transactions::keys`].
pub(super) type KeyId = usize;
/// A version's place in [`Transactions::versions`].
pub(super) type VersionId = usize;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Failed,
    /// It may have happened, or may still.
    Unknown,
}

/// A read or a write, in a transaction. What one that did not end well read is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MicroOp {
    pub(super) write: bool,
    pub(super) key: KeyId,
    pub(super) version: VersionId,
}

#[derive(Clone, Debug)]
pub(super) struct Txn {
    pub(super) process: u64,
    /// The index of its beginning in the history.
    pub(super) begun: usize,
    /// The index of its end, if it ended.
    pub(super) ended: Option<usize>,
    pub(super) status: Status,
    pub(super) is_final: bool,
    /// Whether the reply does not belong to the request. Nothing of it is believed then.
    pub(super) altered: bool,
    pub(super) ops: Vec<MicroOp>,
    /// Whether it is known to have happened.
    pub(super) happened: bool,
}

impl Txn {
    /// The reads of keys that it had not written before, with their places, of what others wrote.
    pub(super) fn reads(&self) -> impl Iterator<Item = (usize, MicroOp)> {
        let is_foreign = |at: usize, op: &MicroOp| {
            let mut earlier = self.ops.iter().take(at);
            !op.write
                && !earlier.any(|other| other.write && other.key == op.key)
                && !self.ops.iter().any(|other| other.write && other.version == op.version)
        };
        let ops = self.ops.iter().enumerate();
        ops.filter(move |(at, op)| is_foreign(*at, op)).map(|(at, op)| (at, *op))
    }

    /// The last write of each key.
    pub(super) fn writes(&self) -> impl Iterator<Item = MicroOp> {
        let ops = self.ops.iter().enumerate();
        let last = ops.filter(|(at, op)| op.write && self.is_last_write(*at, op.key));
        last.map(|(_, op)| *op)
    }

    fn is_last_write(&self, at: usize, key: KeyId) -> bool {
        !self.ops.iter().skip(at + 1).any(|op| op.write && op.key == key)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) key: KeyId,
    /// `None`: the key's initial state.
    pub(super) value: Option<String>,
    pub(super) writer: Option<TxnId>,
    /// Whether its writer wrote the key again.
    pub(super) intermediate: bool,
    /// Who read it, each once.
    pub(super) readers: Vec<TxnId>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) initial: VersionId,
    by_value: BTreeMap<String, VersionId>,
}

impl Key {
    /// All versions but the initial one.
    pub(super) fn versions(&self) -> impl Iterator<Item = VersionId> {
        self.by_value.values().copied()
    }
}

/// All transactions. See the [module's documentation](self).
#[derive(Clone, Debug)]
pub(super) struct Transactions<'a> {
    pub(super) history: &'a History,
    trust: Trust,
    pub(super) txns: Vec<Txn>,
    pub(super) keys: Vec<Key>,
    pub(super) versions: Vec<Version>,
    /// Versions that were written twice: the history cannot be judged.
    pub(super) written_twice: Vec<VersionId>,
    by_name: BTreeMap<String, KeyId>,
}

/// The micro-operations of a transaction: write or read, key, value. `None` if it is none.
#[must_use]
pub fn parse(value: &RawValue) -> Option<Vec<(bool, &RawValue, &RawValue)>> {
    let ops: Vec<(&RawValue, &RawValue, &RawValue)> = serde_json::from_str(value.get()).ok()?;
    let op = |(f, key, value): (&RawValue, _, _)| match canonical(f).as_str() {
        r#""r""# => Some((false, key, value)),
        r#""w""# => Some((true, key, value)),
        _ => None,
    };
    ops.into_iter().map(op).collect()
}

/// Which replies are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Those that have the micro-operations of their request.
    OwnRequest,
    /// All, as Elle does.
    AnyReply,
}

impl<'a> Transactions<'a> {
    pub(super) fn of(history: &'a History, trust: Trust) -> Self {
        let mut all = Self {
            history,
            trust,
            txns: Vec::new(),
            keys: Vec::new(),
            versions: Vec::new(),
            written_twice: Vec::new(),
            by_name: BTreeMap::new(),
        };
        let mut ends: BTreeMap<usize, &Op> = BTreeMap::new();
        for op in history.client_ops() {
            ends.extend(op.invocation.map(|begun| (begun, op)));
        }
        for begin in history.client_ops().filter(|op| op.kind == OpType::Invoke) {
            all.add(begin, ends.get(&begin.index).copied());
        }
        all.find_readers();
        all
    }

    fn add(&mut self, begin: &Op, end: Option<&Op>) {
        let Process::Client(process) = begin.process else {
            return;
        };
        let status = match end.map(|end| end.kind) {
            Some(OpType::Ok) => Status::Ok,
            Some(OpType::Fail) => Status::Failed,
            _ => Status::Unknown,
        };
        let asked = begin.value.as_deref().and_then(parse).unwrap_or_default();
        let reply = end.filter(|_| status == Status::Ok).and_then(|end| end.value.as_deref());
        let answered = reply.and_then(parse);
        let altered = status == Status::Ok
            && self.trust == Trust::OwnRequest
            && !answered.as_ref().is_some_and(|answered| is_answer(&asked, answered));
        let id = self.txns.len();
        let mut ops = Vec::new();
        for (write, key, value) in answered.filter(|_| !altered).unwrap_or(asked) {
            if write || (status == Status::Ok && !altered) {
                let key = self.key(canonical(key));
                let version = self.version(key, canonical(value));
                ops.push(MicroOp { write, key, version });
            }
        }
        let txn = Txn {
            process,
            begun: begin.index,
            ended: end.map(|end| end.index),
            status,
            is_final: begin.is_final,
            altered,
            ops,
            happened: status == Status::Ok,
        };
        for (at, op) in txn.ops.iter().enumerate().filter(|(_, op)| op.write) {
            if let Some(version) = self.versions.get_mut(op.version) {
                if version.writer.is_some() {
                    self.written_twice.push(op.version);
                }
                version.writer = Some(id);
                version.intermediate = !txn.is_last_write(at, op.key);
            }
        }
        self.txns.push(txn);
    }

    fn find_readers(&mut self) {
        for (id, txn) in self.txns.iter().enumerate() {
            for (_, op) in txn.reads() {
                if let Some(version) = self.versions.get_mut(op.version)
                    && version.readers.last() != Some(&id)
                {
                    version.readers.push(id);
                }
            }
        }
        for version in self.versions.iter().filter(|version| !version.readers.is_empty()) {
            if let Some(writer) = version.writer.and_then(|writer| self.txns.get_mut(writer)) {
                writer.happened |= writer.status == Status::Unknown;
            }
        }
    }

    fn key(&mut self, name: String) -> KeyId {
        if let Some(key) = self.by_name.get(&name) {
            return *key;
        }
        let (id, initial) = (self.keys.len(), self.versions.len());
        self.versions.push(Version::new(id, None));
        self.by_name.insert(name.clone(), id);
        self.keys.push(Key { name, initial, by_value: BTreeMap::new() });
        id
    }

    fn version(&mut self, key: KeyId, value: String) -> VersionId {
        let Some(entry) = self.keys.get_mut(key) else {
            return 0;
        };
        if value == "null" {
            return entry.initial;
        }
        let (next, versions) = (self.versions.len(), &mut self.versions);
        *entry.by_value.entry(value).or_insert_with_key(|value| {
            versions.push(Version::new(key, Some(value.clone())));
            next
        })
    }

    pub(super) fn txn(&self, id: TxnId) -> Option<&Txn> {
        self.txns.get(id)
    }

    /// The transactions that are known to have happened.
    pub(super) fn happened(&self) -> impl Iterator<Item = (TxnId, &Txn)> {
        self.txns.iter().enumerate().filter(|(_, txn)| txn.happened)
    }

    /// Who wrote a version, if that happened.
    pub(super) fn writer(&self, version: VersionId) -> Option<TxnId> {
        let writer = self.versions.get(version)?.writer?;
        self.txn(writer).filter(|txn| txn.happened).map(|_| writer)
    }

    pub(super) fn readers(&self, version: VersionId) -> &[TxnId] {
        self.versions.get(version).map_or(&[], |version| &version.readers)
    }

    /// Whether a version is its key's initial state.
    pub(super) fn is_initial(&self, version: VersionId) -> bool {
        self.versions.get(version).is_some_and(|version| version.value.is_none())
    }

    /// Such as `x = 3`.
    pub(super) fn show(&self, version: VersionId) -> String {
        let version = self.versions.get(version);
        let key = version.and_then(|version| self.keys.get(version.key));
        let value = version.and_then(|version| version.value.as_deref()).unwrap_or("null");
        format!("{} = {value}", key.map_or("?", |key| &key.name))
    }
}

impl Version {
    fn new(key: KeyId, value: Option<String>) -> Self {
        Self { key, value, writer: None, intermediate: false, readers: Vec::new() }
    }
}

/// Whether a reply has the micro-operations of its request, with nothing but reads filled in.
fn is_answer(asked: &[(bool, &RawValue, &RawValue)], got: &[(bool, &RawValue, &RawValue)]) -> bool {
    let same = |a: &RawValue, b: &RawValue| a.get() == b.get() || canonical(a) == canonical(b);
    asked.len() == got.len()
        && asked.iter().zip(got).all(|(asked, got)| {
            asked.0 == got.0 && same(asked.1, got.1) && (!asked.0 || same(asked.2, got.2))
        })
}
