//! Target `g-counter`.
//!
//! * A read never falls in one life of a node. It is at least the sum that this node has
//!   acknowledged in this life and, with records, in earlier ones. It is at most the sum of all
//!   adds of clients. An add that reaches the same life twice under the same id counts once.
//! * In the end all nodes show the same sum, which is at least the sum of all acknowledged adds.

use std::collections::{BTreeMap, BTreeSet};

use g_counter::{GCounter, PERIOD_MIN};
use maelstrom_core::gossip;

use crate::input::Input;
use crate::world::{Asked, Reply, Setup, Subject, World};

struct Sum {
    setup: Setup,
    /// The sum of all adds that a node may count.
    sent: u128,
    /// The adds that were sent: client, id, node and life.
    asked: BTreeSet<(String, u64, usize, u64)>,
    /// The sum that each node has acknowledged.
    acked: BTreeMap<usize, u128>,
    /// The adds that were acknowledged, in the same form.
    counted: BTreeSet<(String, u64, usize, u64)>,
    shown: BTreeMap<(usize, u64), u128>,
}

fn delta(request: &str) -> Option<u128> {
    request.strip_prefix(r#""type":"add","delta":"#)?.parse().ok()
}

fn probed(text: &str) -> u128 {
    text.lines().find_map(|line| line.strip_prefix("value=")).unwrap().parse().unwrap()
}

impl Subject for Sum {
    type Handler = GCounter;

    fn handler(&self) -> GCounter {
        GCounter::new(gossip::Config { period_min: PERIOD_MIN, ..Default::default() })
    }

    fn request(&mut self, input: &mut Input<'_>) -> String {
        if input.one_in(4) {
            return r#""type":"read""#.to_owned();
        }
        let delta = input.pick(&[0, 1, 2, 5, 1000, u64::from(u32::MAX), u64::MAX / 2, u64::MAX]);
        format!(r#""type":"add","delta":{delta}"#)
    }

    fn asked(&mut self, asked: &Asked<'_>) {
        let (client, id) = asked.name;
        if self.asked.insert((client.to_owned(), id, asked.node, asked.life)) {
            self.sent += delta(asked.request).unwrap_or(0);
        }
    }

    fn replied(&mut self, reply: &Reply<'_>) {
        let (node, life) = (reply.node, reply.life);
        let acked = self.acked.entry(node).or_default();
        match reply.kind() {
            "add_ok" => {
                let name = (reply.asked.0.to_owned(), reply.asked.1, node, life);
                if self.counted.insert(name) {
                    *acked += delta(reply.request).unwrap();
                }
            }
            "read_ok" => {
                let now = reply.field::<u128>("value");
                assert!(now >= *acked, "{now}, but {acked} are acknowledged");
                assert!(now <= self.sent, "{now}, but {} were sent", self.sent);
                let before = self.shown.insert((node, life), now).unwrap_or(0);
                assert!(now >= before, "the sum falls from {before} to {now}");
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
        let sums: Vec<u128> = shown.iter().map(|text| probed(text)).collect();
        let acked: u128 = self.acked.values().sum();
        if sums.iter().all(|sum| *sum == sums[0] && *sum >= acked) {
            return Ok(());
        }
        Err(format!("{sums:?} of {} nodes, and acknowledged {acked}", self.setup.nodes))
    }
}

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(bytes: &[u8]) {
    World::run(bytes, |setup| Sum {
        setup,
        sent: 0,
        asked: BTreeSet::new(),
        acked: BTreeMap::new(),
        counted: BTreeSet::new(),
        shown: BTreeMap::new(),
    });
}
