//! An intruder between the nodes: it changes messages, makes up others, and sends old ones again.
//!
//! The invariant: the intruder knows all messages between nodes, and no key. Messages from and
//! to clients and services are out of reach.

use std::collections::VecDeque;

use maelstrom_core::NodeId;
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::value::RawValue;

use crate::message::Message;
use crate::rng::SimRng;

/// How many of the newest messages the intruder remembers.
const MEMORY_MAX: usize = 256;

/// How many bytes of them.
const MEMORY_BYTES_MAX: usize = 4 << 20;

/// How often a body is changed at random until the result is JSON again.
const ATTEMPTS_MAX: usize = 32;

/// A message that no node sent: source, destination and body.
pub(super) type Injected = (NodeId, NodeId, Box<RawValue>);

/// An intruder that reads all messages between nodes.
#[derive(Debug, Default)]
pub(super) struct Intruder {
    /// How likely a message leads to a forged one, or is changed itself.
    pub(super) forgery: f64,
    /// How likely a message leads to an old one being sent again.
    pub(super) replay: f64,
    earlier: VecDeque<Message>,
    earlier_bytes: usize,
}

impl Intruder {
    /// Whether the intruder acts at all. If not, the network draws no random number for it.
    pub(super) fn is_there(&self) -> bool {
        self.forgery > 0.0 || self.replay > 0.0
    }

    /// Handles a message that a node sends. May change it, and returns the messages to send beside
    /// it. `nodes` has the names of all nodes.
    pub(super) fn intercept(
        &mut self,
        message: &mut Message,
        nodes: &[NodeId],
        rng: &mut SimRng,
    ) -> Vec<Injected> {
        let mut chance = |p: f64| p > 0.0 && rng.random_bool(p);
        let (forges, replays) = (chance(self.forgery), chance(self.replay));
        self.remember(message.clone());
        let mut injected = Vec::new();
        if replays && let Some(old) = self.recall(rng) {
            injected.push((old.src.clone(), old.dest.clone(), old.body.clone()));
        }
        if forges {
            if rng.random_bool(0.5) {
                message.body = altered(&message.body, rng);
            } else {
                injected.extend(self.forged(nodes, rng));
            }
        }
        injected
    }

    fn remember(&mut self, message: Message) {
        self.earlier_bytes += message.body.get().len();
        self.earlier.push_back(message);
        while self.earlier.len() > MEMORY_MAX || self.earlier_bytes > MEMORY_BYTES_MAX {
            let Some(oldest) = self.earlier.pop_front() else { return };
            self.earlier_bytes -= oldest.body.get().len();
        }
    }

    fn recall(&self, rng: &mut SimRng) -> Option<&Message> {
        let len = self.earlier.len();
        if len == 0 { None } else { self.earlier.get(rng.random_range(0..len)) }
    }

    /// A message that no node sent: an earlier one with another source, destination or body, or one
    /// that is made up.
    fn forged(&self, nodes: &[NodeId], rng: &mut SimRng) -> Option<Injected> {
        let Message { src, dest, body, .. } = self.recall(rng)?.clone();
        let other = |not: &NodeId, rng: &mut SimRng| {
            let others: Vec<&NodeId> = nodes.iter().filter(|id| *id != not).collect();
            others.choose(rng).map(|id| (*id).clone())
        };
        Some(match rng.random_range(0..4) {
            0 => (other(&src, rng)?, dest, body),
            1 => {
                let dest = other(&dest, rng)?;
                (src, dest, body)
            }
            2 => {
                let body = altered(&body, rng);
                (src, dest, body)
            }
            _ => (src, dest, made_up(rng)?),
        })
    }
}

/// The body with one digit or letter changed, and still JSON. A body without any is as it was.
fn altered(body: &RawValue, rng: &mut SimRng) -> Box<RawValue> {
    let attempt = |rng: &mut SimRng| {
        let mut bytes = body.get().as_bytes().to_vec();
        let at = rng.random_range(0..bytes.len().max(1));
        let byte = bytes.get_mut(at)?;
        let others: &[u8] = match *byte {
            b'0'..=b'9' => b"0123456789",
            b'a'..=b'z' => b"abcdefghijklmnopqrstuvwxyz",
            _ => return None,
        };
        *byte = others.choose(rng).copied().filter(|other| other != byte)?;
        RawValue::from_string(String::from_utf8(bytes).ok()?).ok()
    };
    (0..ATTEMPTS_MAX).find_map(|_| attempt(rng)).unwrap_or_else(|| body.to_owned())
}

/// A body that some node may understand. Never `init`, which no key protects: a node that has just
/// been started takes the first one.
fn made_up(rng: &mut SimRng) -> Option<Box<RawValue>> {
    let number: u32 = rng.random();
    let body = match rng.random_range(0..4) {
        0 => format!(r#"{{"type":"error","in_reply_to":{number},"code":14}}"#),
        1 => format!(r#"{{"type":"read","msg_id":{number}}}"#),
        2 => format!(r#"{{"type":"gossip","life":{number},"sent":1,"view":{number},"have":{{}}}}"#),
        _ => format!(r#"{{"type":"{number}","{number}":[{number}]}}"#),
    };
    RawValue::from_string(body).ok()
}
