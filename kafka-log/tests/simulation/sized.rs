//! Nodes that read short lines, with messages that are long for them.

use kafka_log::{Config, KafkaLog};
use maelstrom_core::gossip;
use maelstrom_sim::Test;
use maelstrom_sim::workload::Kafka;

/// The longest line that the nodes read.
pub(crate) const LINE_BYTES: usize = 16 << 10;

/// A node for such lines that takes messages of up to `message_bytes` bytes, with their keys.
pub(crate) fn node(message_bytes: usize) -> KafkaLog {
    let config = Config { packet_bytes: LINE_BYTES / 2, message_bytes, ..Config::default() };
    let line_bytes_max = LINE_BYTES;
    KafkaLog::new(config, gossip::Config { line_bytes_max, ..gossip::Config::default() })
}

/// The lengths of messages for nodes that take up to `message_bytes`. Some are near the limit, one
/// is at the limit with its key, and one is above. The others are too long for any node. The
/// longest of them still fits into a line.
pub(crate) fn lengths(message_bytes: usize) -> Vec<usize> {
    let near = [message_bytes / 2, message_bytes / 2 + 200];
    let at = [message_bytes - 100, message_bytes - 3, message_bytes + 1];
    let long = [LINE_BYTES / 2, LINE_BYTES / 2 + 100, LINE_BYTES - 300];
    [&near[..], &at, &long].concat()
}

/// The test with messages of these lengths.
pub(crate) fn with_lengths(mut test: Test, lengths: Vec<usize>) -> Test {
    test.options.line_bytes_max = Some(LINE_BYTES);
    test.with_workload(|kafka: &mut Kafka| kafka.lengths = lengths.clone())
}
