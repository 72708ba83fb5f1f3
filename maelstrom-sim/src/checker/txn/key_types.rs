//! The types of keys. Elle fails on a history with keys of several types
//! (`elle.txn/assert-type-sanity`), so Maelstrom's verdict is then unknown. Elle looks at all keys
//! in requests and in replies.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::transactions::{Data, parse_as};
use crate::history::History;
use crate::json::is_integer;

/// The types of all keys of a history, as Clojure distinguishes them.
pub(super) fn of(history: &History, data: Data) -> BTreeSet<&'static str> {
    let values = history.client_ops().filter_map(|op| op.value.as_deref());
    values
        .filter_map(|value| parse_as(value, data))
        .flatten()
        .map(|(_, key, _)| key_type(key))
        .collect()
}

fn key_type(key: &RawValue) -> &'static str {
    match key.get().as_bytes().first() {
        Some(b'"') => "text",
        Some(b'[') => "list",
        Some(b'{') => "object",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ if !is_integer(key) => "number with a fraction",
        _ if key.get().parse::<i64>().is_ok() => "integer",
        _ => "integer beyond 64 bits",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Op, OpType, Process};

    fn types(key: &str) -> Vec<&'static str> {
        let mut history = History::default();
        for (kind, key) in [(OpType::Invoke, "1"), (OpType::Ok, key)] {
            let value = RawValue::from_string(format!(r#"[["w",{key},1]]"#)).ok();
            history.push(Op { value, ..Op::new(Process::Client(0), kind, "txn") });
        }
        of(&history, Data::Registers).into_iter().collect()
    }

    #[test]
    fn whole_numbers_of_up_to_64_bits_have_one_type() {
        for key in ["1", "0", "-0", "-9223372036854775808", "9223372036854775807"] {
            assert_eq!(types(key), ["integer"], "{key}");
        }
    }

    #[test]
    fn every_other_key_has_another_type_than_a_whole_number() {
        let others = ["9223372036854775808", "1.0", "1e0", "\"1\"", "[1]", "{}", "true", "null"];
        for key in others {
            assert_eq!(types(key).len(), 2, "{key}");
        }
    }
}
