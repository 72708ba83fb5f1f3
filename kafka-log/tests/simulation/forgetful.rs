//! Nodes that lose their records.

use kafka_log::{Config, Event, KafkaLog, Payload};
use maelstrom_core::{Error, MessageHandler, Node, Request, gossip};
use maelstrom_sim::Test;
use maelstrom_sim::nemesis::Fault;

/// A node that may lose its disk in every crash.
pub(crate) struct Forgetful {
    pub(crate) handler: KafkaLog,
    pub(crate) is_forgetful: bool,
}

impl Forgetful {
    /// A node of a cluster in which two replicas must be in sync.
    pub(crate) fn with_two_in_sync(is_forgetful: bool, config: Config) -> Self {
        let config = Config { partitions: 2, in_sync_min: 2, ..config };
        let handler = KafkaLog::new(config, gossip::Config::default());
        Self { handler, is_forgetful }
    }
}

/// A test of three nodes or more that crash. The first one loses its disk in each crash.
pub(crate) fn with_one_bad_disk(Test { workload, mut options }: Test) -> Test {
    options.nemesis.insert(Fault::Crash);
    let count = options.nodes.len().max(3);
    Test { workload, options: options.with_node_count(count) }
}

impl MessageHandler for Forgetful {
    type Payload = Payload;
    type Event = Event;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        if self.is_forgetful { Ok(()) } else { self.handler.recover(record) }
    }

    fn started(&mut self, node: &mut Node<Event>) {
        self.handler.started(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        self.handler.message(node, request, payload)
    }

    fn event(&mut self, node: &mut Node<Event>, event: Event) {
        self.handler.event(node, event);
    }
}
