//! Target `broadcast`.
//!
//! * A read shows only values that were sent, each once. It includes every value that this node has
//!   acknowledged in this life and, with records, in earlier ones. It also includes every value
//!   that this life of the node has shown.
//! * In the end all nodes show the same values, including every acknowledged one.

use std::collections::{BTreeMap, BTreeSet};

use broadcast::Broadcast;
use maelstrom_core::gossip;
use serde_json::value::RawValue;

use crate::input::Input;
use crate::odd;
use crate::world::{Asked, Reply, Setup, Subject, World};

type Set = BTreeSet<String>;

struct Values {
    setup: Setup,
    sent: Set,
    acked: BTreeMap<usize, Set>,
    shown: BTreeMap<(usize, u64), Set>,
    next: u64,
}

fn values(text: &str) -> Set {
    let list: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap();
    let set: Set = list.iter().map(|value| value.get().to_owned()).collect();
    assert_eq!(set.len(), list.len(), "a value comes twice: {text}");
    set
}

fn probed(text: &str) -> Set {
    values(text.lines().find_map(|line| line.strip_prefix("messages=")).unwrap())
}

impl Subject for Values {
    type Handler = Broadcast;

    fn handler(&self) -> Broadcast {
        // With a short log, a node that was down needs a snapshot.
        let log_bytes_max = if self.setup.choice & 1 == 0 { 32 } else { 1 << 20 };
        let batch_bytes_max = if self.setup.choice & 2 == 0 { 32 } else { 1 << 20 };
        Broadcast::new(gossip::Config { log_bytes_max, batch_bytes_max, ..Default::default() })
    }

    fn request(&mut self, input: &mut Input<'_>) -> String {
        match input.below(8) {
            0 => r#""type":"read""#.to_owned(),
            1 => r#""type":"topology","topology":{"n1":["n2"]}"#.to_owned(),
            2 => format!(r#""type":"broadcast","message":{}"#, odd::value(input)),
            3 => format!(r#""type":"broadcast","message":{}"#, input.below(4)),
            _ => {
                self.next += 1;
                format!(r#""type":"broadcast","message":{}"#, 1000 + self.next)
            }
        }
    }

    fn asked(&mut self, asked: &Asked<'_>) {
        if let Some(value) = asked.request.strip_prefix(r#""type":"broadcast","message":"#) {
            self.sent.insert(value.to_owned());
        }
    }

    fn replied(&mut self, reply: &Reply<'_>) {
        let acked = self.acked.entry(reply.node).or_default();
        match reply.kind() {
            "broadcast_ok" => {
                let value = reply.request.strip_prefix(r#""type":"broadcast","message":"#).unwrap();
                acked.insert(value.to_owned());
            }
            "read_ok" => {
                let now = values(reply.fields["messages"].get());
                assert!(now.is_superset(acked), "lost: {acked:?} of {now:?}");
                assert!(now.is_subset(&self.sent), "made up: {now:?}");
                let before = self.shown.insert((reply.node, reply.life), now.clone());
                let before = before.unwrap_or_default();
                assert!(now.is_superset(&before), "shown no more: {before:?}, {now:?}");
            }
            _ => {}
        }
    }

    fn probe(&self) -> Option<String> {
        Some(r#""type":"read""#.to_owned())
    }

    fn crashed(&mut self, node: usize, is_lost: bool) {
        if is_lost {
            self.acked.remove(&node);
        }
    }

    fn settled(&self, shown: &[String]) -> Result<(), String> {
        let sets: Vec<Set> = shown.iter().map(|text| probed(text)).collect();
        let all: Set = self.acked.values().flatten().cloned().collect();
        if sets.iter().all(|set| *set == sets[0] && set.is_superset(&all)) {
            return Ok(());
        }
        Err(format!("{sets:?} and acknowledged {all:?}"))
    }
}

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(bytes: &[u8]) {
    World::run(bytes, |setup| Values {
        setup,
        sent: Set::new(),
        acked: BTreeMap::new(),
        shown: BTreeMap::new(),
        next: 0,
    });
}
