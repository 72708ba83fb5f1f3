//! Target `kafka-log`, with `lin-kv` beside the nodes.
//!
//! * An offset of a key always has the same message, in replies to sends and in polls of any node.
//!   A message appears only under its own key, and no more often than it was sent.
//! * A poll shows messages without gaps, from the requested offset on. If each node keeps all
//!   partitions, a life of a node continues to show the messages that it has shown: its high
//!   watermark never falls.
//! * A committed offset never falls in one life of a node. With records, an offset that a node has
//!   acknowledged never falls at all.
//! * In the end every node shows every acknowledged message.

use std::collections::BTreeMap;

use kafka_log::{Acks, Config, KafkaLog};
use maelstrom_core::gossip;
use serde_json::Value;

use crate::input::Input;
use crate::world::{Asked, Reply, Setup, Subject, World};

const KEYS: &[&str] = &["k0", "k1", "k2"];

type Offsets = BTreeMap<String, u64>;
type Messages = BTreeMap<String, Vec<(u64, Value)>>;

struct Logs {
    setup: Setup,
    config: Config,
    next: u64,
    /// The key of each message, and how often it was sent.
    sent: BTreeMap<u64, (String, usize)>,
    /// The message at each offset that any node has reported.
    logs: BTreeMap<(String, u64), u64>,
    acked: BTreeMap<(String, u64), u64>,
    /// The offset after the last one that a life of a node has shown.
    shown: BTreeMap<(usize, u64, String), u64>,
    committed: BTreeMap<(usize, String), u64>,
    listed: BTreeMap<(usize, u64, String), u64>,
    is_lost: bool,
}

fn field<T: serde::de::DeserializeOwned>(request: &str, name: &str) -> T {
    let body: Value = serde_json::from_str(&format!("{{{request}}}")).unwrap();
    serde_json::from_value(body[name].clone()).unwrap()
}

impl Logs {
    fn new(setup: Setup) -> Self {
        let choice = setup.choice;
        let mut config = Config { partitions: 2, ..Config::default() };
        config.replication = 3 - (choice & 3).min(2);
        config.in_sync_min = 1 + (choice >> 2 & 1);
        if choice & 8 != 0 {
            (config.batch_bytes, config.packet_bytes, config.poll_bytes) = (64, 256, 64);
        }
        if choice & 16 != 0 {
            config.acks = Acks::Leader;
        }
        Self {
            setup,
            config,
            next: 0,
            sent: BTreeMap::new(),
            logs: BTreeMap::new(),
            acked: BTreeMap::new(),
            shown: BTreeMap::new(),
            committed: BTreeMap::new(),
            listed: BTreeMap::new(),
            is_lost: false,
        }
    }

    /// Whether acknowledged messages may be lost: a node without records crashed, or the leader
    /// alone acknowledges them.
    fn may_lose(&self) -> bool {
        self.is_lost || self.config.acks == Acks::Leader
    }

    fn keeps_all(&self) -> bool {
        self.config.replication >= self.setup.nodes
    }

    fn tells(&mut self, key: &str, offset: u64, message: u64) {
        let (sent_to, times) = &self.sent[&message];
        assert_eq!(sent_to, key, "message {message} is in another log");
        let known = *self.logs.entry((key.to_owned(), offset)).or_insert(message);
        assert!(
            known == message || self.may_lose(),
            "{known} and {message} are at {key}, {offset}"
        );
        let found = self.logs.values().filter(|other| **other == message).count();
        assert!(found <= *times || self.may_lose(), "{message} appears {found} times");
    }

    fn polled(&mut self, reply: &Reply<'_>) {
        let asked: Offsets = field(reply.request, "offsets");
        let messages: Messages = reply.field("msgs");
        for (key, list) in &messages {
            for (at, (offset, message)) in list.iter().enumerate() {
                assert_eq!(*offset, asked[key] + at as u64, "a gap in {key}: {messages:?}");
                self.tells(key, *offset, message.as_u64().unwrap());
            }
        }
        if !self.keeps_all() {
            return;
        }
        let mut is_full = false;
        for (key, from) in asked {
            let list = messages.get(&key).map_or(&[][..], Vec::as_slice);
            let end = list.last().map_or(0, |(offset, _)| offset + 1);
            let shown = self.shown.entry((reply.node, reply.life, key.clone())).or_default();
            // A poll of limited length may leave out all keys after the first one.
            is_full |= !list.is_empty() && self.config.poll_bytes < 1000;
            let is_fallen = from < *shown && list.is_empty() && !is_full;
            assert!(!is_fallen, "nothing at {from} of {key}, and {shown} were shown");
            *shown = end.max(*shown);
        }
    }
}

impl Subject for Logs {
    type Handler = KafkaLog;

    fn handler(&self) -> KafkaLog {
        let period_min = kafka_log::GOSSIP_PERIOD_MIN;
        KafkaLog::new(self.config.clone(), gossip::Config { period_min, ..Default::default() })
    }

    fn request(&mut self, input: &mut Input<'_>) -> String {
        let key = input.pick(KEYS);
        match input.below(8) {
            0 | 1 => {
                let offset = input.below(4);
                let other = input.pick(KEYS);
                let also =
                    if other == key { String::new() } else { format!(r#","{other}":{offset}"#) };
                format!(r#""type":"poll","offsets":{{"{key}":{offset}{also}}}"#)
            }
            2 => {
                let offset = input.pick(&[0, 1, 2, 3, 100, u64::MAX]);
                format!(r#""type":"commit_offsets","offsets":{{"{key}":{offset}}}"#)
            }
            3 => r#""type":"list_committed_offsets","keys":["k0","k1","k2","k9"]"#.to_owned(),
            _ => {
                self.next += 1;
                format!(r#""type":"send","key":"{key}","msg":{}"#, self.next)
            }
        }
    }

    fn asked(&mut self, asked: &Asked<'_>) {
        let request = asked.request;
        if request.starts_with(r#""type":"send""#) {
            let sent = self.sent.entry(field(request, "msg"));
            sent.or_insert_with(|| (field(request, "key"), 0)).1 += 1;
        }
    }

    fn replied(&mut self, reply: &Reply<'_>) {
        let (node, life) = (reply.node, reply.life);
        match reply.kind() {
            "send_ok" => {
                let key: String = field(reply.request, "key");
                let (message, offset) = (field(reply.request, "msg"), reply.field("offset"));
                self.tells(&key, offset, message);
                self.acked.insert((key, offset), message);
            }
            "poll_ok" => self.polled(reply),
            "commit_offsets_ok" => {
                for (key, offset) in field::<Offsets>(reply.request, "offsets") {
                    let committed = self.committed.entry((node, key)).or_default();
                    *committed = offset.max(*committed);
                }
            }
            "list_committed_offsets_ok" => {
                let now: Offsets = reply.field("offsets");
                for key in field::<Vec<String>>(reply.request, "keys") {
                    let offset = now.get(&key).copied().unwrap_or(0);
                    let acked = self.committed.get(&(node, key.clone())).copied().unwrap_or(0);
                    assert!(offset >= acked, "{offset} of {key}, but {acked} is acknowledged");
                    let before = self.listed.insert((node, life, key.clone()), offset).unwrap_or(0);
                    assert!(offset >= before, "{key} falls from {before} to {offset}");
                }
            }
            _ => {}
        }
    }

    fn probe(&self) -> Option<String> {
        let whole = r#""type":"poll","offsets":{"k0":0,"k1":0,"k2":0}"#;
        (self.keeps_all() && self.config.poll_bytes > 1000).then(|| whole.to_owned())
    }

    fn crashed(&mut self, node: usize, is_lost: bool) {
        if is_lost {
            self.is_lost = true;
            self.committed.retain(|(of, _), _| *of != node);
        }
    }

    fn settled(&self, shown: &[String]) -> Result<(), String> {
        if self.may_lose() {
            return Ok(());
        }
        for text in shown {
            let messages = text.lines().find_map(|line| line.strip_prefix("msgs=")).unwrap();
            let messages: Messages = serde_json::from_str(messages).unwrap();
            for ((key, offset), message) in &self.acked {
                let log = messages.get(key).map_or(&[][..], Vec::as_slice);
                if !log.contains(&(*offset, Value::from(*message))) {
                    return Err(format!("{message} at {key}, {offset}: {shown:?}"));
                }
            }
        }
        Ok(())
    }
}

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(bytes: &[u8]) {
    World::run(bytes, Logs::new);
}
