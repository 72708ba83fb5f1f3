//! The cost of authentication between nodes: two nodes pass a message back and forth, with a key
//! and without, in turns.
//!
//! The load of the machine changes from moment to moment, so only the quotient of the medians
//! counts.

#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::print_stdout, reason = "this is where the results go")]
#![expect(clippy::panic, reason = "a benchmark of the wrong thing must not go on")]
#![expect(clippy::arithmetic_side_effects, reason = "figures of times")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use maelstrom_core::auth::ClusterKey;
use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, RawNode, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Sends each message of the other node back to it.
struct Player;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Ping { number: u64, text: Box<RawValue> },
    Gossip { values: Vec<u64> },
}

impl MessageHandler for Player {
    type Payload = Payload;
    type Event = NoEvent;

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        _: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        if let Some(peer) = node.peers().next() {
            node.send(&peer, &payload);
        }
        Ok(())
    }
}

/// Two nodes, and the line that is on its way to the first.
struct Game {
    nodes: [RawNode<Player>; 2],
    line: Vec<u8>,
}

impl Game {
    fn new(body: &str, key: Option<&ClusterKey>) -> Self {
        let nodes = ["n1", "n2"].map(|name| {
            let mut node = RawNode::new(Player, [7; 32], false);
            if let Some(key) = key {
                node.set_cluster_key(key.clone());
            }
            let init = format!(
                r#"{{"src":"c0","dest":"{name}","body":{{"type":"init","msg_id":1,
                   "node_id":"{name}","node_ids":["n1","n2"]}}}}"#
            );
            take(&mut node, init.as_bytes());
            node
        });
        let mut game = Self { nodes, line: Vec::new() };
        let [_, second] = &mut game.nodes;
        game.line = take(second, format!(r#"{{"src":"c1","dest":"n2","body":{body}}}"#).as_bytes());
        game
    }

    /// Passes the line to the second node and back. Returns the length of the last line.
    fn round(&mut self) -> usize {
        for node in &mut self.nodes {
            let next = take(node, black_box(&self.line));
            node.reuse(std::mem::replace(&mut self.line, next));
        }
        self.line.len()
    }
}

fn take(node: &mut RawNode<Player>, line: &[u8]) -> Vec<u8> {
    node.handle_line(Clock::default(), line);
    match node.poll_lines() {
        Some(lines) => lines,
        None => panic!("no answer to {}", String::from_utf8_lossy(line)),
    }
}

/// Number of measurements of each of the two.
const ROUNDS: usize = 301;

/// Approximate duration of a measurement.
const ROUND: Duration = Duration::from_millis(3);

fn time(calls: u32, game: &mut Game) -> Duration {
    let begin = Instant::now();
    for _ in 0..calls {
        black_box(game.round());
    }
    // A round has two messages.
    begin.elapsed() / (2 * calls)
}

/// One row of the table.
fn row(name: &str, body: &str) {
    let Ok(key) = ClusterKey::new(b"0123456789abcdef0123456789abcdef") else { return };
    let (mut with, mut without) = (Game::new(body, Some(&key)), Game::new(body, None));
    let once = time(100, &mut without).as_nanos().max(1);
    let calls = u32::try_from(ROUND.as_nanos() / once).unwrap_or(u32::MAX).max(1);
    let mut times: Vec<(Duration, Duration)> =
        (0..ROUNDS).map(|_| (time(calls, &mut with), time(calls, &mut without))).collect();
    let mut median = |of: fn(&(Duration, Duration)) -> Duration| {
        times.sort_unstable_by_key(of);
        times.get(ROUNDS / 2).map_or(Duration::ZERO, of)
    };
    let (with, without) = (median(|both| both.0), median(|both| both.1));
    let quotient = with.as_secs_f64() / without.as_secs_f64();
    println!("| {name}, {} bytes | {with:.2?} | {without:.2?} | {quotient:.2} |", body.len());
}

fn main() {
    // `cargo test` only checks that this program starts.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let values: Vec<String> =
        (0..1_000_u64).map(|n| (n.wrapping_mul(7_919) % 1_000_000).to_string()).collect();
    println!(
        "| a message between two nodes | with a key | without | quotient |\n|---|--:|--:|--:|"
    );
    let text = r#"["append",17,{"key":"k3","value":"a short text"},null]"#;
    row("ping", &format!(r#"{{"type":"ping","number":1234567,"text":{text}}}"#));
    row(
        "gossip of 1,000 integers",
        &format!(r#"{{"type":"gossip","values":[{}]}}"#, values.join(",")),
    );
}
