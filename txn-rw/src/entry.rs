//! The entry of a transaction in its node's log.

use std::collections::BTreeMap;
use std::sync::Arc;

use maelstrom_core::gossip::{Entry, Origin};
use serde::{Deserialize, Serialize};

use crate::json::{Key, Value};
use crate::registers::CLOCK_MAX;
use crate::vector_clock::VectorClock;

/// The write set of a transaction, its clock, and its dependencies. Cheap to clone.
///
/// The invariant: the clock is 1 more than the largest clock of a transaction that it depends on.
/// The earlier transactions of the same log are among these. So a clock is never more than the
/// number of transactions up to it in causal order. Every node that gets the log in order can check
/// this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Transaction(Arc<Body>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Body {
    clock: u64,
    #[serde(default, rename = "after", skip_serializing_if = "VectorClock::is_empty")]
    dependencies: VectorClock,
    writes: Vec<(Key, Value)>,
}

impl Transaction {
    /// `dependencies`: the clocks of other logs that became visible since the entry before this one
    /// in its log.
    #[must_use]
    pub fn new(clock: u64, dependencies: VectorClock, writes: BTreeMap<Key, Value>) -> Self {
        Self(Arc::new(Body { clock, dependencies, writes: writes.into_iter().collect() }))
    }

    /// The transaction's place in Lamport time.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.0.clock
    }

    /// The transactions that must be visible before it, besides those before it in its log.
    #[must_use]
    pub fn dependencies(&self) -> &VectorClock {
        &self.0.dependencies
    }

    /// Its writes, each key once.
    #[must_use]
    pub fn writes(&self) -> &[(Key, Value)] {
        &self.0.writes
    }

    /// The fault of this entry, if it has one, as the one after `before` in the log of `origin`.
    pub(crate) fn fault(&self, before: u64, origin: &Origin) -> Option<&'static str> {
        if !self.follows(before, origin) {
            return Some("its clock follows from nothing");
        }
        if self.clock() > CLOCK_MAX {
            return Some("its clock is beyond the largest one");
        }
        fault_of_writes(self.writes().iter().map(|(key, value)| (key, value)))
    }

    /// True if its clock follows from the one before it in the log and from its dependencies.
    fn follows(&self, before: u64, origin: &Origin) -> bool {
        let newest = before.max(self.dependencies().max());
        Some(self.clock()) == newest.checked_add(1) && self.dependencies().get(origin) == 0
    }
}

/// The fault of a write set, if it has one. Each key must come once, in order. If a key came twice,
/// the winner would depend on the reader.
pub(crate) fn fault_of_writes<'a>(
    writes: impl Iterator<Item = (&'a Key, &'a Value)>,
) -> Option<&'static str> {
    let mut before = None;
    for (key, value) in writes {
        if before >= Some(key) {
            return Some("its keys are not in order");
        }
        if value.is_null() {
            return Some("it writes null");
        }
        before = Some(key);
    }
    before.is_none().then_some("it writes nothing")
}

impl Entry for Transaction {
    fn encoded_len(&self) -> usize {
        let of_write = |(key, value): &(Key, Value)| {
            let text = key.text().len().saturating_add(value.text().len());
            text.saturating_add("[,],".len())
        };
        let writes = self.writes().iter().map(of_write).fold(0, usize::saturating_add);
        let rest = r#"{"clock":1234567890,"after":[],"writes":[]},"#.len();
        writes.saturating_add(self.dependencies().encoded_len()).saturating_add(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(text: &str) -> Transaction {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn it_is_about_as_long_as_it_says() {
        for text in [
            r#"{"clock":1,"writes":[[1,5]]}"#,
            r#"{"clock":123456,"writes":[["a long key",[1,2,3]],["x","a value"]]}"#,
            r#"{"clock":7,"after":[["n1",123456789012345,6],["n2",5,1]],"writes":[[1,5]]}"#,
        ] {
            let it = transaction(text);
            assert_eq!(serde_json::to_string(&it).unwrap(), text);
            let len = it.encoded_len();
            assert!((text.len()..=text.len() + 30).contains(&len), "{text}: {len}");
        }
    }

    #[test]
    fn it_writes_something_to_each_key_once() {
        let own = Origin { node: "n1".into(), incarnation: 5 };
        for (writes, is_good) in [
            ("[[1,5]]", true),
            (r#"[["a",5],[1,5],[2,5]]"#, true),
            ("[]", false),
            ("[[1,5],[1,6]]", false),
            ("[[2,5],[1,5]]", false),
            ("[[1,null]]", false),
            (r#"[[[1],5],[[ 1 ],6]]"#, false),
        ] {
            let it = transaction(&format!(r#"{{"clock":1,"writes":{writes}}}"#));
            assert_eq!(it.fault(0, &own).is_none(), is_good, "{writes}");
        }
    }

    #[test]
    fn its_clock_follows_from_its_causes() {
        let own = Origin { node: "n1".into(), incarnation: 5 };
        let first = transaction(r#"{"clock":1,"writes":[[1,5]]}"#);
        assert!(first.follows(0, &own) && !first.follows(1, &own));
        let later = transaction(r#"{"clock":9,"after":[["n2",5,8],["n3",5,2]],"writes":[]}"#);
        assert!(later.follows(0, &own) && later.follows(8, &own));
        assert!(!later.follows(9, &own) && !later.follows(u64::MAX, &own));
        let early = transaction(r#"{"clock":10,"after":[["n2",5,8]],"writes":[]}"#);
        assert!(!early.follows(0, &own) && early.follows(9, &own));
        let upon_itself = transaction(r#"{"clock":9,"after":[["n1",5,8]],"writes":[]}"#);
        assert!(!upon_itself.follows(8, &own));
    }
}
