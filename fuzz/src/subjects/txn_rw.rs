//! Target `txn-rw`.
//!
//! * A reply has the operations of the request. Writes are unchanged. A read returns null, a value
//!   that was written to that key, or the last value that the transaction itself wrote.
//! * With causal isolation, a node that has shown a value and later another one for the same key
//!   never shows the first one again in that life. With records, this holds in later lives, too.
//! * A node shows the same map after a recovery as before the crash.
//! * In the end all nodes show the same map.

use std::collections::{BTreeMap, BTreeSet};

use maelstrom_core::gossip;
use serde_json::Value;
use txn_rw::{Config, Isolation, TxnRw};

use crate::input::Input;
use crate::world::{Asked, Reply, Setup, Subject, World};

/// Number of keys.
const KEYS: usize = 3;

/// The values that a node has shown for a key.
#[derive(Default)]
struct Register {
    current: Value,
    overwritten: BTreeSet<String>,
}

struct Map {
    setup: Setup,
    isolation: Isolation,
    next: u64,
    /// The values that were sent, by key.
    sent: BTreeMap<String, BTreeSet<String>>,
    /// Values that a retry may write once more.
    repeated: BTreeSet<String>,
    registers: BTreeMap<(usize, String), Register>,
}

type Operation = (String, Value, Value);

fn operations(request: &str) -> Vec<Operation> {
    let list = request.strip_prefix(r#""type":"txn","txn":"#).unwrap();
    serde_json::from_str(list).unwrap()
}

impl Map {
    /// Checks and records that a node shows this value of a key.
    fn shows(&mut self, node: usize, key: &str, value: &Value) {
        let register = self.registers.entry((node, key.to_owned())).or_default();
        if register.current == *value {
            return;
        }
        let text = value.to_string();
        let is_again = register.overwritten.contains(&text) && !self.repeated.contains(&text);
        assert!(!is_again, "node {node} shows {text} again, after {}", register.current);
        register.overwritten.insert(register.current.to_string());
        register.current = value.clone();
    }
}

impl Subject for Map {
    type Handler = TxnRw;

    fn handler(&self) -> TxnRw {
        let log_bytes_max = if self.setup.choice & 1 == 0 { 64 } else { 1 << 20 };
        let batch_bytes_max = if self.setup.choice & 2 == 0 { 64 } else { 1 << 20 };
        let config = Config { isolation: self.isolation, ..Config::default() };
        let gossip = gossip::Config { log_bytes_max, batch_bytes_max, ..config.gossip };
        TxnRw::new(Config { gossip, ..config })
    }

    fn request(&mut self, input: &mut Input<'_>) -> String {
        let count = 1 + input.below(4);
        let operations = (0..count).map(|_| {
            let key = input.below(KEYS);
            if input.one_in(3) {
                return format!(r#"["r",{key},null]"#);
            }
            self.next += 1;
            format!(r#"["w",{key},{}]"#, self.next)
        });
        let operations: Vec<String> = operations.collect();
        format!(r#""type":"txn","txn":[{}]"#, operations.join(","))
    }

    fn asked(&mut self, asked: &Asked<'_>) {
        for (op, key, value) in operations(asked.request) {
            if op == "w" {
                self.sent.entry(key.to_string()).or_default().insert(value.to_string());
                if asked.is_retry {
                    self.repeated.insert(value.to_string());
                }
            }
        }
    }

    fn replied(&mut self, reply: &Reply<'_>) {
        if reply.kind() == "error" {
            return;
        }
        let asked = operations(reply.request);
        let done: Vec<Operation> = reply.field("txn");
        assert_eq!(asked.len(), done.len());
        let mut own: BTreeMap<String, Value> = BTreeMap::new();
        for ((op, key, value), (done_op, done_key, done_value)) in asked.iter().zip(&done) {
            assert_eq!((op, key), (done_op, done_key));
            let name = key.to_string();
            if op == "w" {
                assert_eq!(value, done_value);
                own.insert(name, value.clone());
            } else if let Some(written) = own.get(&name) {
                assert_eq!(written, done_value, "a transaction reads its own writes");
            } else {
                let is_sent = |sent: &BTreeSet<String>| sent.contains(&done_value.to_string());
                let is_known = done_value.is_null() || self.sent.get(&name).is_some_and(is_sent);
                assert!(is_known, "made up: {done_value} of {name}");
                if self.isolation == Isolation::Causal {
                    self.shows(reply.node, &name, done_value);
                }
            }
        }
        if self.isolation == Isolation::Causal {
            for (key, value) in own {
                self.shows(reply.node, &key, &value);
            }
        }
    }

    fn probe(&self) -> Option<String> {
        let reads: Vec<String> = (0..KEYS).map(|key| format!(r#"["r",{key},null]"#)).collect();
        let is_at_once = self.isolation == Isolation::Causal;
        is_at_once.then(|| format!(r#""type":"txn","txn":[{}]"#, reads.join(",")))
    }

    fn recovered(&mut self, _node: usize, before: Option<&str>, after: &str) {
        if let Some(before) = before {
            assert_eq!(before, after, "another map after the recovery");
        }
    }

    fn crashed(&mut self, node: usize, is_lost: bool) {
        if is_lost {
            self.registers.retain(|(of, _), _| *of != node);
        }
    }

    fn settled(&self, shown: &[String]) -> Result<(), String> {
        if shown.iter().all(|map| *map == shown[0]) { Ok(()) } else { Err(format!("{shown:?}")) }
    }
}

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(bytes: &[u8]) {
    World::run(bytes, |setup| Map {
        setup,
        isolation: match setup.choice / 4 % 8 {
            0 => Isolation::ReadUncommitted,
            1 => Isolation::ReadCommitted,
            _ => Isolation::Causal,
        },
        next: 0,
        sent: BTreeMap::new(),
        repeated: BTreeSet::new(),
        registers: BTreeMap::new(),
    });
}
