//! Clients' requests, and the execution of a transaction.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use maelstrom_core::{Error, LINE_BYTES_MAX};
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::json::{Key, Value};

/// One operation of a transaction.
///
/// On the wire: `["r", key, null]` or `["w", key, value]`. The node ignores the value of a read.
/// The value of a write is not null: a key that was never written reads as null.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The key, as the client spelt it. It has at most [`KEY_BYTES_MAX`]. Its canonical form is
    /// made when the operation runs, so a request that is refused before that costs no more than
    /// its parsing.
    spelling: Box<RawValue>,
    /// The value to write. `None`: the operation is a read.
    value: Option<Value>,
}

impl Operation {
    pub(crate) fn is_write(&self) -> bool {
        self.value.is_some()
    }

    /// Estimated size in bytes.
    fn bytes(&self) -> usize {
        let value = self.value.as_ref().map_or(0, |value| value.text().len());
        let texts = self.spelling.get().len().saturating_add(value);
        texts.saturating_add(OPERATION_OVERHEAD_BYTES)
    }
}

impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements)
    }
}

/// The largest key in a request, in bytes, as the client spells it.
///
/// To compare keys, a node makes their canonical form: it sorts the members of objects, which takes
/// more than linear time. The limit keeps each sort small. It holds for reads as well as for
/// writes. It does not hold for records and for messages of other nodes: an earlier version may
/// have written larger keys.
pub const KEY_BYTES_MAX: usize = 64 << 10;

/// Estimated size of an operation beside its texts: punctuation and memory, in bytes.
const OPERATION_OVERHEAD_BYTES: usize = 128;

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Operation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"an operation, ["r", key, null] or ["w", key, value]"#)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Operation, A::Error> {
        let few = |count| A::Error::invalid_length(count, &self);
        let f: Cow<'de, str> = seq.next_element()?.ok_or_else(|| few(0))?;
        let is_write = match f.as_ref() {
            "r" => false,
            "w" => true,
            _ => return Err(A::Error::custom(format!("unknown operation {f:?}: not `r` or `w`"))),
        };
        let spelling: Box<RawValue> = seq.next_element()?.ok_or_else(|| few(1))?;
        let key_bytes = spelling.get().len();
        if key_bytes > KEY_BYTES_MAX {
            let text = format!("a key of {key_bytes} bytes, and at most {KEY_BYTES_MAX} are taken");
            return Err(A::Error::custom(text));
        }
        let value = if is_write {
            let value: Box<RawValue> = seq.next_element()?.ok_or_else(|| few(2))?;
            if value.get() == "null" {
                return Err(A::Error::custom("a write without a value"));
            }
            Some(value.into())
        } else {
            seq.next_element::<IgnoredAny>()?.ok_or_else(|| few(2))?;
            None
        };
        let mut count: usize = 3;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count = count.saturating_add(1);
        }
        if count > 3 {
            return Err(few(count));
        }
        Ok(Operation { spelling, value })
    }
}

/// The largest result of a transaction, in bytes: its reply must fit into a line.
pub const RESULT_BYTES_MAX: usize = LINE_BYTES_MAX / 2;

/// A transaction that is running.
#[derive(Debug)]
pub(crate) struct Running {
    operations: Vec<Operation>,
    /// Number of operations that have run.
    at: usize,
    writes: BTreeMap<Key, Value>,
    /// Their results: the inside of a list.
    text: String,
    /// The size of the request in bytes.
    request_bytes: usize,
}

impl Running {
    pub(crate) fn new(operations: Vec<Operation>) -> Self {
        let request_bytes = operations.iter().map(Operation::bytes).fold(0, usize::saturating_add);
        Self { operations, at: 0, writes: BTreeMap::new(), text: String::new(), request_bytes }
    }

    /// Number of operations.
    pub(crate) fn len(&self) -> usize {
        self.operations.len()
    }

    /// Number of operations that have run.
    pub(crate) fn done(&self) -> usize {
        self.at
    }

    /// Estimated size in bytes: the request, and the results so far.
    pub(crate) fn bytes(&self) -> usize {
        self.request_bytes.saturating_add(self.text.len())
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.operations.len()
    }

    pub(crate) fn writes_anything(&self) -> bool {
        self.operations.iter().any(Operation::is_write)
    }

    /// The value that it has written to a key so far.
    pub(crate) fn written(&self, key: &Key) -> Option<&Value> {
        self.writes.get(key)
    }

    /// All its writes so far.
    pub(crate) fn writes(&self) -> &BTreeMap<Key, Value> {
        &self.writes
    }

    /// The operations with their results: the inside of a list.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Runs the next operation. A read returns the transaction's own write, or the value that
    /// `read` finds.
    ///
    /// # Errors
    ///
    /// Error 12 if the results take more than [`RESULT_BYTES_MAX`].
    pub(crate) fn step<'a>(
        &'a mut self,
        read: impl FnOnce(&Key) -> Option<&'a Value>,
    ) -> Result<(), Error> {
        let Some(Operation { spelling, value }) = self.operations.get(self.at) else {
            return Ok(());
        };
        let key = Key::from(spelling.clone());
        let f = if value.is_some() { "w" } else { "r" };
        let result = match value {
            Some(value) => value.text(),
            None => self.writes.get(&key).or_else(|| read(&key)).map_or("null", Value::text),
        };
        if result.len() > RESULT_BYTES_MAX.saturating_sub(self.text.len()) {
            let text = format!("field `txn[{}]`: more than {RESULT_BYTES_MAX} bytes", self.at);
            return Err(Error::malformed_request(text));
        }
        let comma = if self.at > 0 { "," } else { "" };
        for part in [comma, "[\"", f, "\",", spelling.get(), ",", result, "]"] {
            self.text.push_str(part);
        }
        if let Some(value) = value {
            self.writes.insert(key, value.clone());
        }
        self.at = self.at.saturating_add(1);
        Ok(())
    }
}
