//! A batch of 1,000 values that a process gets from its peer.
//!
//! The peer is a node in this process. After each batch comes a request, so the reply to that tells
//! when the batch has been handled.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use broadcast::Broadcast;
use maelstrom_core::{Clock, Output, RawNode};

use crate::process::{Cost, Process};
use crate::row;

pub(crate) const NAME: &str = "broadcast: a batch of 1,000 values from a peer";

/// Number of batches.
const BATCHES: u64 = 101;

/// The first value: so all have as many digits.
const FIRST: u64 = 100_000;

/// Lines longer than this have values in them.
const BATCH_BYTES: usize = 4_000;

const TWO: &str = r#"["n1","n2"]"#;

/// Its reply is the only one with its name in it.
const MARKER: &str =
    r#"{"id":1,"src":"c1","dest":"n1","body":{"type":"topology","topology":{},"msg_id":3}}"#;

/// The node in this process.
struct Peer {
    node: RawNode<Broadcast>,
    begin: Instant,
}

impl Peer {
    fn new() -> Self {
        let node = RawNode::new(Broadcast::default(), [7; 32], false);
        let mut peer = Self { node, begin: Instant::now() };
        peer.take(&format!(
            r#"{{"src":"c0","dest":"n2","body":{{"type":"init","msg_id":1,"node_id":"n2","node_ids":{TWO}}}}}"#
        ));
        peer
    }

    fn clock(&self) -> Clock {
        Clock { monotonic: self.begin.elapsed(), wall: Duration::ZERO }
    }

    fn take(&mut self, line: &str) {
        self.node.handle_line(self.clock(), line.as_bytes());
    }

    /// The lines for the other node so far.
    fn said(&mut self) -> String {
        self.node.handle_timeout(self.clock());
        let mut said = String::new();
        while let Some(Output::Lines(lines)) = self.node.poll_output() {
            let lines = String::from_utf8_lossy(&lines);
            said.extend(lines.split_inclusive('\n').filter(|line| !line.contains(r#""c1""#)));
        }
        said
    }
}

/// Prints the row.
pub(crate) fn measure(folder: &Path, me: &Path) -> io::Result<()> {
    let mut node = Process::start_among(&folder.join("broadcast"), &[], TWO)?;
    let mut floor = Process::start(me, &["floor".to_owned()])?;
    let mut peer = Peer::new();
    let (mut nodes, mut floors) = (Vec::new(), Vec::new());
    for batch in 0..BATCHES {
        for value in FIRST + batch * 1_000..FIRST + (batch + 1) * 1_000 {
            peer.take(&format!(
                r#"{{"src":"c1","dest":"n2","body":{{"type":"broadcast","message":{value},"msg_id":3}}}}"#
            ));
        }
        loop {
            let said = peer.said();
            let text = format!("{said}{MARKER}\n");
            let (begin, cpu) = (Instant::now(), node.cpu());
            let mut reply = node.ask(text.as_bytes())?;
            while !reply.contains("topology_ok") {
                peer.take(&reply);
                reply = node.read()?;
            }
            let cost = Cost { wall: begin.elapsed(), cpu: node.cpu().saturating_sub(cpu) };
            if said.len() > BATCH_BYTES {
                nodes.push(cost);
                let lines: Vec<String> =
                    text.split_inclusive('\n').map(ToOwned::to_owned).collect();
                floors.push(floor.bulk(&lines)?);
                break;
            }
        }
    }
    node.end()?;
    floor.end()?;
    row(NAME, nodes, floors, 1);
    Ok(())
}
