//! The node's parameters, and the flags that set them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use maelstrom_core::{LINE_BYTES_MAX, PENDING_BYTES_MAX};
use serde::{Deserialize, Serialize};

use crate::MESSAGE_BYTES_MAX;
use crate::log::{DEDUPE_WINDOW, Retention};
use crate::rules::Rules;
use crate::wire::PartitionId;

/// The time at which a send is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acks {
    /// When all replicas in sync have it.
    #[default]
    All,
    /// When the leader has it. This is faster. A message that only the leader has is lost with it.
    Leader,
}

/// The parameters of the node. All nodes of a cluster must have the same
/// [settings](Self::peer_settings). All lives of a node that keeps its records must have the same
/// [settings of records](Self::settings).
#[derive(Clone, Debug)]
pub struct Config {
    /// Number of partitions.
    pub partitions: PartitionId,
    /// Number of nodes that keep a partition; all, if there are fewer.
    pub replication: usize,
    /// The time at which a send is acknowledged.
    pub acks: Acks,
    /// Number of replicas that must be in sync for the leader to accept a send.
    pub in_sync_min: usize,
    /// How long a new item waits for more items. 1 ms costs a send about 1 to 2 ms. It saves a
    /// third of the messages between two nodes at a thousand operations a second. Kafka's producers
    /// wait 5 ms by default (KIP-1030). The wait is 0 if each client of the node waits for an
    /// answer. Even then, items wait for an answer of the peer that is under way.
    pub linger: Duration,
    /// The limits above which old messages are deleted.
    pub retention: Retention,
    /// Bytes of entries in one packet, approximately.
    pub batch_bytes: usize,
    /// Bytes of messages that a poll returns, approximately.
    pub poll_bytes: usize,
    /// Bytes of JSON in one packet between nodes, without its head. A single item may be longer. At
    /// most half of the longest line that the nodes read.
    pub packet_bytes: usize,
    /// The longest message that the node takes, in bytes of JSON, with its key. With the head of a
    /// packet it must fit into the longest line that the nodes read.
    pub message_bytes: usize,
    /// Bytes that may wait in each of four places: the sends of a node's clients, the forwarded
    /// sends at a leader of one partition, the polls of a node that wait for other nodes, and the
    /// answers to one other node. Keys and messages count as JSON, and clients with their names. A
    /// single item may be longer.
    pub pending_bytes: usize,
    /// Number of sends of each producer that a log remembers. The sequence numbers of the sends
    /// that a node has under way in a partition are less than this apart.
    pub dedupe_window: u64,
    /// True if a partition without a record in `lin-kv` does not wait for ever. After a while it
    /// goes on without the replicas that did not describe their records, or lost them.
    pub unclean_recovery: bool,
    /// The rules of the protocol that hold: all of them, except in tests.
    pub rules: Rules,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            partitions: 64,
            replication: 3,
            acks: Acks::All,
            in_sync_min: 1,
            linger: Duration::from_millis(1),
            retention: Retention::default(),
            batch_bytes: 256 << 10,
            poll_bytes: 256 << 10,
            packet_bytes: LINE_BYTES_MAX / 2,
            message_bytes: MESSAGE_BYTES_MAX,
            pending_bytes: PENDING_BYTES_MAX,
            dedupe_window: DEDUPE_WINDOW,
            unclean_recovery: false,
            rules: Rules::default(),
        }
    }
}

/// The flags of a node. All nodes of a cluster need the same ones.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// Number of partitions. All nodes must agree, and the records in `--data-dir` are valid with
    /// this number only.
    #[arg(long, value_name = "N", default_value_t = Config::default().partitions,
        value_parser = clap::value_parser!(u32).range(1..=4_096))]
    partitions: u32,

    /// Number of nodes that keep each partition; all, if there are fewer. All nodes must agree, and
    /// the records in `--data-dir` are valid with this number only.
    #[arg(long, value_name = "N", default_value_t = Config::default().replication,
        value_parser = at_least_one)]
    replication_factor: usize,

    /// When a send is acknowledged: when all replicas in sync have it, or when the leader has it.
    /// All nodes must agree.
    #[arg(long, value_enum, default_value_t = Acks::All)]
    acks: Acks,

    /// Number of replicas that must be in sync. With fewer, sends get error 11, or error 0 if a
    /// node may already have the message. All nodes must agree.
    #[arg(long, value_name = "N", default_value_t = Config::default().in_sync_min,
        value_parser = at_least_one)]
    min_isr: usize,

    /// How long a message for another node may wait for more messages, such as 5ms. 0ms: not at
    /// all. A node does not wait while each of its clients waits for an answer.
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = duration)]
    linger: Duration,

    /// Bytes of messages in a segment, approximately. Old messages are deleted by segments.
    #[arg(long, value_name = "BYTES", default_value_t = Retention::default().segment_bytes)]
    segment_bytes: usize,

    /// Bytes of messages that a partition keeps, approximately. [default: all]
    #[arg(long, value_name = "BYTES")]
    retention_bytes: Option<usize>,

    /// How long messages are kept at least, such as 30s or 5m. [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    retention_time: Option<Duration>,

    /// Bytes of entries in one message between nodes, approximately. A single entry may be longer.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().batch_bytes)]
    batch_bytes: usize,

    /// Bytes of messages that a poll returns, approximately. A single message may be longer.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().poll_bytes)]
    poll_bytes: usize,

    /// If lin-kv is empty and the nodes keep records, go on after 5 s without the nodes that are
    /// missing or lost their records. Acknowledged messages that only those have are lost.
    #[arg(long)]
    unclean_recovery: bool,
}

impl LogArgs {
    /// The configuration of a node where up to `pending_bytes` may wait. All nodes of its cluster
    /// must read lines of up to [`LINE_BYTES_MAX`] bytes. A node that reads longer ones sends none,
    /// since its peers may not read them.
    #[must_use]
    pub fn config(&self, pending_bytes: usize) -> Config {
        Config {
            partitions: self.partitions,
            replication: self.replication_factor,
            acks: self.acks,
            in_sync_min: self.min_isr,
            linger: self.linger,
            retention: Retention {
                segment_bytes: self.segment_bytes,
                bytes_max: self.retention_bytes,
                age_max: self.retention_time,
            },
            batch_bytes: self.batch_bytes,
            poll_bytes: self.poll_bytes,
            pending_bytes,
            unclean_recovery: self.unclean_recovery,
            ..Config::default()
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().map_err(|error| error.to_string())?;
    if number == 0 { Err("must be at least 1".into()) } else { Ok(number) }
}

/// Parses a number with a unit: `5ms`, `30s`, `5m`. A number without a unit is in milliseconds, as
/// in Kafka.
fn duration(text: &str) -> Result<Duration, String> {
    let units: [(&str, u64); 3] = [("ms", 1), ("s", 1_000), ("m", 60_000)];
    let with_unit = units.into_iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)));
    let (digits, ms) = with_unit.unwrap_or((text, 1));
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(ms));
    number.map(Duration::from_millis).ok_or_else(|| "must be such as 5ms, 30s or 5m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_in_milliseconds() {
        for (text, ms) in [("5ms", 5), ("30s", 30_000), ("2m", 120_000), ("7", 7), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "ms", "-1", "1h", "1.5s", "18446744073709551615m"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn there_is_no_fewer_than_one_of_anything() {
        assert!(at_least_one("0").is_err() && at_least_one("x").is_err());
        assert_eq!(at_least_one("3"), Ok(3));
    }
}
