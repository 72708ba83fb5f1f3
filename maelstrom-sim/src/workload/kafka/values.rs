//! The values of the operations on logs, as the history keeps them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An offset for each of several keys.
pub(super) type Offsets = BTreeMap<String, i64>;

/// The offsets and messages that a poll read, by key.
pub(super) type Polled<'a> = BTreeMap<String, Vec<(i64, &'a RawValue)>>;

/// The value of an assign.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Assign {
    pub(super) keys: Vec<String>,
    #[serde(default, rename = "seek-to-beginning?", skip_serializing_if = "std::ops::Not::not")]
    pub(super) seek_to_beginning: bool,
    /// At the end: the offsets that the node reports as committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) committed: Option<Offsets>,
}

impl Assign {
    /// The next positions of a client whose positions were `old`.
    pub(super) fn positions(&self, old: &Offsets) -> Offsets {
        let position = |key: &String| {
            if self.seek_to_beginning {
                return 0;
            }
            let committed = self.committed.as_ref().and_then(|offsets| offsets.get(key));
            let next = committed.map_or(0, |offset| offset.saturating_add(1).max(0));
            old.get(key).copied().unwrap_or(next)
        };
        self.keys.iter().map(|key| (key.clone(), position(key))).collect()
    }
}

/// The value of an operation, if it has the form of `T`.
pub(super) fn value_of<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}

/// The highest offset of each key of which a poll read a message.
pub(super) fn highest(polled: &Polled<'_>) -> Offsets {
    let highest = |(key, pairs): (&String, &Vec<(i64, &RawValue)>)| {
        Some((key.clone(), pairs.iter().map(|(offset, _)| *offset).max()?))
    };
    polled.iter().filter_map(highest).collect()
}
