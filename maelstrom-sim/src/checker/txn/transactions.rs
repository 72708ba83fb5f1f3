//! The transactions of a history, and the versions of keys that they wrote and read.
//!
//! No two writes of a key have the same value, so a value that was read identifies its writer. A
//! transaction with an unknown outcome did happen if one of its writes was read.
//!
//! A key is a register or a list. Each append to a list writes a version, named by its element. A
//! read of a list reads the version named by its last element. A read of an empty list reads the
//! initial version.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::excerpt::excerpt;
use crate::history::{History, Op, OpType, Process};
use crate::json::canonical;

/// A transaction's index in [`Transactions::txns`].
pub(super) type TxnId = usize;
/// A key's index in [`Transactions::keys`].
pub(super) type KeyId = usize;
/// A version's index in [`Transactions::versions`].
pub(super) type VersionId = usize;

/// The data type of all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// A single value, which a write replaces.
    Registers,
    /// A list, to which an append adds an element.
    Lists,
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Failed,
    /// It may have happened, or may still happen.
    Unknown,
}

/// A read or a write of a transaction. The reads are known only if the transaction succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MicroOp {
    pub(super) write: bool,
    pub(super) key: KeyId,
    pub(super) version: VersionId,
}

#[derive(Clone, Debug)]
pub(super) struct Txn {
    pub(super) process: u64,
    /// The index of its invocation in the history.
    pub(super) begun: usize,
    /// The index of its end in the history, if it ended.
    pub(super) ended: Option<usize>,
    pub(super) status: Status,
    pub(super) is_final: bool,
    /// Whether the reply does not match the request. If so, the checker ignores the contents of the
    /// reply.
    pub(super) altered: bool,
    pub(super) data: Data,
    pub(super) ops: Vec<MicroOp>,
    /// Whether it is known to have happened.
    pub(super) happened: bool,
}

impl Txn {
    /// The reads of other transactions' writes, with their positions. For registers: the reads of
    /// keys that the transaction did not write before.
    pub(super) fn reads(&self) -> impl Iterator<Item = (usize, MicroOp)> {
        let is_foreign = |at: usize, op: &MicroOp| {
            let mut earlier = self.ops.iter().take(at);
            !op.write
                && (self.data == Data::Lists
                    || !earlier.any(|other| other.write && other.key == op.key))
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
    /// `None`: the initial state of the key.
    pub(super) value: Option<String>,
    pub(super) writer: Option<TxnId>,
    /// Whether its writer overwrote it.
    pub(super) intermediate: bool,
    /// The transactions that read it, each once.
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

/// A list that a transaction read.
#[derive(Clone, Debug)]
pub(super) struct ListRead {
    pub(super) txn: TxnId,
    /// The position of the read in its transaction.
    pub(super) at: usize,
    pub(super) key: KeyId,
    pub(super) elements: Vec<VersionId>,
    /// Whether the reply has null in place of the list.
    pub(super) is_null: bool,
}

/// All transactions of a history. See the [module's documentation](self).
#[derive(Clone, Debug)]
pub(super) struct Transactions<'a> {
    pub(super) history: &'a History,
    pub(super) data: Data,
    trust: Trust,
    pub(super) txns: Vec<Txn>,
    pub(super) keys: Vec<Key>,
    pub(super) versions: Vec<Version>,
    /// All lists that were read, in the order of their transactions and operations.
    pub(super) lists: Vec<ListRead>,
    /// Versions that were written twice. If there are any, the history cannot be judged.
    pub(super) written_twice: Vec<VersionId>,
    by_name: BTreeMap<String, KeyId>,
}

/// The parts of a micro-operation: whether it writes, its key, and its value.
type Parts<'a> = (bool, &'a RawValue, &'a RawValue);

/// Parses the micro-operations of a transaction over registers: write or read, key, value. `None`
/// if `value` is not such a transaction.
///
/// ```
/// use maelstrom_sim::checker::txn::{parse, parse_lists};
///
/// let txn = serde_json::from_str(r#"[["r", 1, null], ["w", 1, 6]]"#)?;
/// let parts = parse(txn).expect("a read and a write");
/// let (is_write, key, value) = parts[1];
/// assert_eq!((is_write, key.get(), value.get()), (true, "1", "6"));
/// // Lists have appends and no writes.
/// assert!(parse_lists(txn).is_none());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn parse(value: &RawValue) -> Option<Vec<Parts<'_>>> {
    parse_as(value, Data::Registers)
}

/// Parses the micro-operations of a transaction over lists: append or read, key, element or list. A
/// null can stand for any list. `None` if `value` is not such a transaction. [`parse`] shows it in
/// use.
#[must_use]
pub fn parse_lists(value: &RawValue) -> Option<Vec<Parts<'_>>> {
    parse_as(value, Data::Lists)
}

/// Parses the micro-operations of a transaction over keys of this type.
pub(super) fn parse_as(value: &RawValue, data: Data) -> Option<Vec<Parts<'_>>> {
    let ops: Vec<(&RawValue, &RawValue, &RawValue)> = serde_json::from_str(value.get()).ok()?;
    let is_list = |value: &RawValue| value.get() == "null" || value.get().starts_with('[');
    let op = |(f, key, value): (&RawValue, _, _)| match (canonical(f).as_str(), data) {
        (r#""r""#, Data::Registers) => Some((false, key, value)),
        (r#""r""#, Data::Lists) => is_list(value).then_some((false, key, value)),
        (r#""w""#, Data::Registers) | (r#""append""#, Data::Lists) => Some((true, key, value)),
        _ => None,
    };
    ops.into_iter().map(op).collect()
}

/// The replies that the checker trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Replies with the micro-operations of their request.
    OwnRequest,
    /// All replies, as Elle does.
    AnyReply,
}

impl<'a> Transactions<'a> {
    pub(super) fn of(history: &'a History, data: Data, trust: Trust) -> Self {
        let mut all = Self {
            history,
            data,
            trust,
            txns: Vec::new(),
            keys: Vec::new(),
            versions: Vec::new(),
            lists: Vec::new(),
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
        let parse = |value| parse_as(value, self.data);
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
                let version = match self.data {
                    Data::Registers => self.version(key, canonical(value)),
                    Data::Lists if write => self.element(key, canonical(value)),
                    Data::Lists => self.list((id, ops.len()), key, value),
                };
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
            data: self.data,
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
        let read = self.versions.iter().filter(|version| !version.readers.is_empty());
        let elements = self.lists.iter().flat_map(|list| &list.elements);
        let listed = elements.filter_map(|element| self.versions.get(*element));
        for version in read.chain(listed) {
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
        match self.keys.get(key) {
            Some(entry) if value == "null" => entry.initial,
            _ => self.element(key, value),
        }
    }

    /// Stores this list, and returns the version that a read of it reads.
    fn list(&mut self, (txn, at): (TxnId, usize), key: KeyId, value: &RawValue) -> VersionId {
        let elements: Option<Vec<&RawValue>> =
            serde_json::from_str(value.get()).unwrap_or_default();
        let is_null = elements.is_none();
        let elements = elements.into_iter().flatten();
        let elements: Vec<VersionId> =
            elements.map(|element| self.element(key, canonical(element))).collect();
        let last = elements.last().copied();
        self.lists.push(ListRead { txn, at, key, elements, is_null });
        let initial = self.keys.get(key).map(|key| key.initial);
        last.or(initial).unwrap_or_default()
    }

    fn element(&mut self, key: KeyId, value: String) -> VersionId {
        let Some(entry) = self.keys.get_mut(key) else {
            return 0;
        };
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

    /// The transaction that wrote a version, if it happened.
    pub(super) fn writer(&self, version: VersionId) -> Option<TxnId> {
        let writer = self.versions.get(version)?.writer?;
        self.txn(writer).filter(|txn| txn.happened).map(|_| writer)
    }

    /// The writer of a version, if Elle considers it possible. For a register, the writer must be
    /// known to have happened. For a list, it only must not have failed.
    pub(super) fn possible_writer(&self, version: VersionId) -> Option<TxnId> {
        match self.data {
            Data::Registers => self.writer(version),
            Data::Lists => {
                let writer = self.versions.get(version)?.writer?;
                self.txn(writer).filter(|txn| txn.status != Status::Failed).map(|_| writer)
            }
        }
    }

    pub(super) fn readers(&self, version: VersionId) -> &[TxnId] {
        self.versions.get(version).map_or(&[], |version| &version.readers)
    }

    /// Whether a version is its key's initial state.
    pub(super) fn is_initial(&self, version: VersionId) -> bool {
        self.versions.get(version).is_some_and(|version| version.value.is_none())
    }

    /// A text such as `x = 3`, or `x = [.., 3]` for a list.
    pub(super) fn show(&self, version: VersionId) -> String {
        let version = self.versions.get(version);
        let key = version.and_then(|version| self.keys.get(version.key));
        let key = key.map_or("?", |key| &key.name);
        let text = match (self.data, version.and_then(|version| version.value.as_deref())) {
            (Data::Registers, value) => format!("{key} = {}", value.unwrap_or("null")),
            (Data::Lists, None) => format!("{key} = []"),
            (Data::Lists, Some(element)) => format!("{key} = [.., {element}]"),
        };
        excerpt(&text)
    }
}

impl Version {
    fn new(key: KeyId, value: Option<String>) -> Self {
        Self { key, value, writer: None, intermediate: false, readers: Vec::new() }
    }
}

/// Whether a reply has the micro-operations of its request, with only the reads filled in.
fn is_answer(asked: &[(bool, &RawValue, &RawValue)], got: &[(bool, &RawValue, &RawValue)]) -> bool {
    let same = |a: &RawValue, b: &RawValue| a.get() == b.get() || canonical(a) == canonical(b);
    asked.len() == got.len()
        && asked.iter().zip(got).all(|(asked, got)| {
            asked.0 == got.0 && same(asked.1, got.1) && (!asked.0 || same(asked.2, got.2))
        })
}
