//! The lives of nodes: start, crash and recovery, and the state that they show in the end.

use std::time::Duration;

use maelstrom_core::{RawNode, Records, SnapshotPosition};

use super::{Ask, Replacing, Subject, World, node_name};
use crate::trace;

/// The longest step of time while the cluster settles.
const PATIENCE: Duration = Duration::from_secs(1);

/// Messages at one instant may cause messages this many times. More often, they would do so for
/// ever.
const ROUNDS_MAX: u32 = 1_000;

impl<S: Subject> World<'_, S> {
    pub(super) fn restart(&mut self, node: usize) {
        let is_early = self.input.one_in(4);
        if self.slots[node].raw.is_some() {
            self.end(node);
        }
        self.start(node, is_early);
    }

    /// Ends the input of a node, and then its process.
    fn end(&mut self, node: usize) {
        let clock = self.clock();
        if let Some(raw) = &mut self.slots[node].raw {
            raw.handle_end_of_input(clock);
        }
        self.drain(node, usize::MAX);
        self.crash(node, None);
    }

    /// Crashes a node: at once, or after at most `outputs` outputs for one more input.
    pub(super) fn crash(&mut self, node: usize, outputs: Option<usize>) {
        if self.slots[node].raw.is_none() {
            return;
        }
        let mut shown = None;
        match outputs {
            None => shown = self.probe(node),
            Some(outputs) if self.input.one_in(3) => self.deliver_one_to(node, outputs),
            Some(outputs) => {
                let request = self.subject.request(&mut self.input);
                let id = self.next_id();
                self.send(node, ("c1", id), &request, outputs);
            }
        }
        trace(|| format!("n{} crashes", node + 1));
        let slot = &mut self.slots[node];
        (slot.raw, slot.replacing, slot.shown) = (None, None, shown);
        self.subject.crashed(node, !self.setup.is_durable);
    }

    pub(super) fn start(&mut self, node: usize, is_early: bool) {
        let slot = &mut self.slots[node];
        slot.life += 1;
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&[u8::try_from(node).unwrap_or(0), 1]);
        seed[2..10].copy_from_slice(&slot.life.to_le_bytes());
        let mut raw = RawNode::new(self.subject.handler(), seed, self.setup.is_durable);
        for record in &slot.records {
            let result = raw.recover(record);
            let text = String::from_utf8_lossy(record);
            trace(|| format!("    recovers {text}"));
            assert!(result.is_ok(), "{result:?} at the record {text}");
        }
        let (life, shown) = (slot.life, slot.shown.take());
        slot.raw = Some(raw);
        if is_early {
            self.request(node, false);
        }
        let ids: Vec<String> =
            (0..self.setup.nodes).map(|node| format!(r#""{}""#, node_name(node))).collect();
        let init = format!(
            r#"{{"src":"c0","dest":"{own}","body":{{"type":"init","msg_id":{life},{ids}}}}}"#,
            own = node_name(node),
            ids = format_args!(r#""node_id":"{}","node_ids":[{}]"#, node_name(node), ids.join(",")),
        );
        let ask = Ask { node, life, request: String::new(), is_open: true };
        let key = ("c0".to_owned(), life);
        self.asks.entry(key.clone()).or_default().push(ask);
        self.give(node, init.as_bytes());
        let asks = &self.asks[&key];
        assert!(asks.iter().all(|ask| !ask.is_open || ask.node != node), "no reply to `init`");
        if life > 1
            && self.setup.is_durable
            && !self.is_spoilt
            && let Some(after) = self.probe(node)
        {
            self.subject.recovered(node, shown.as_deref().filter(|_| !is_early), &after);
        }
    }

    /// Takes the next part of a snapshot of a node's records. Begins a snapshot if none is in
    /// progress.
    pub(super) fn snapshot_part(&mut self, node: usize) {
        let bytes_max = self.input.pick(&[1, 64, 256, 1 << 20]);
        let slot = &mut self.slots[node];
        let Some(raw) = slot.raw.as_ref().filter(|_| self.setup.is_durable) else { return };
        if raw.snapshot_bytes().is_none() {
            return;
        }
        let begin = || Replacing { next: SnapshotPosition::default(), records: Vec::new() };
        let mut replacing = slot.replacing.take().unwrap_or_else(begin);
        let mut add = |record: &[u8]| replacing.records.push(record.to_vec());
        let next = raw.snapshot(replacing.next, bytes_max, &mut Records::new(&mut add));
        match next.expect("a snapshot") {
            None => slot.records = replacing.records,
            Some(next) => slot.replacing = Some(Replacing { next, ..replacing }),
        }
    }

    /// Starts all nodes, and delivers all messages until the nodes show the expected state.
    pub(super) fn settle(&mut self) {
        for node in 0..self.setup.nodes {
            if self.slots[node].raw.is_none() {
                self.start(node, false);
            }
        }
        let end = self.now + Duration::from_secs(if self.is_spoilt { 2 } else { 60 });
        let mut missing = Ok(());
        let mut rounds = 0;
        for round in 0.. {
            self.deliver_all();
            rounds += 1;
            assert!(rounds <= ROUNDS_MAX, "messages cause messages for ever");
            if self.net.is_empty() {
                rounds = 0;
                let at = self.next_timeout().unwrap_or(end).min(self.now + PATIENCE);
                self.fire(at);
            }
            if self.now >= end {
                break;
            }
            if round % 8 == 0 && !self.is_spoilt {
                let shown =
                    (0..self.setup.nodes).map_while(|node| self.probe(node)).collect::<Vec<_>>();
                if self.subject.probe().is_none() {
                    return;
                }
                missing = self.subject.settled(&shown);
                if shown.len() == self.setup.nodes && missing.is_ok() {
                    return;
                }
            }
            if self.is_spoilt && round >= 50 {
                return;
            }
        }
        assert!(self.is_spoilt, "the nodes do not come to agree: {missing:?}");
    }
}
