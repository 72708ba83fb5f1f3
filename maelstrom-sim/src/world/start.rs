//! The start of a test: every node receives `init`, and then the set-up request of the workload.
//!
//! After `maelstrom.db`: the nodes join the network and receive `init` in parallel, each at its own
//! time. The services join with the first node. So a node may know of other nodes that have not
//! joined yet. If it sends a message to one of these, or to a service too early, Maelstrom mutes
//! it.

use std::borrow::Cow;
use std::time::Duration;

use maelstrom_core::NodeId;
use serde::Deserialize;
use serde_json::json;

use super::calls::{Outcome, Purpose};
use super::{Failure, News, Phase, World};
use crate::excerpt::excerpt;
use crate::rng::{self, Stream};
use crate::service::Services;
use crate::stagger::random_below;
use crate::workload::RequestBody;

impl World {
    pub(super) fn init_nodes(&mut self, now: Duration) {
        self.tell(now, News::Phase("starting the nodes"));
        let mut rng = rng::stream(self.options.seed, Stream::Start);
        let at =
            |node: &NodeId| (now + random_below(self.options.join_time, &mut rng), node.clone());
        self.joining = self.options.nodes.iter().map(at).collect();
        self.joining.make_contiguous().sort();
    }

    /// The node that joins next.
    pub(crate) fn next_to_join(&self) -> Option<&NodeId> {
        self.joining.front().map(|(_, node)| node)
    }

    /// Lets all nodes join that are due.
    pub(super) fn join_due(&mut self, now: Duration) {
        while let Some((at, node)) = self.joining.pop_front() {
            if at > now {
                self.joining.push_front((at, node));
                return;
            }
            if self.options.nodes.first() == Some(&node) {
                for service in Services::NAMES {
                    self.network.add(service.into());
                }
            }
            self.network.add(node.clone());
            self.init_node(now, node);
        }
    }

    pub(super) fn init_node(&mut self, now: Duration, node: NodeId) {
        let address = self.open_address();
        let names: Vec<&str> = self.options.nodes.iter().map(AsRef::as_ref).collect();
        let fields = [("node_id", json!(node.as_ref())), ("node_ids", json!(names))];
        let request = RequestBody::new("init", fields);
        self.call(now, &address, &node, 1, &request, Purpose::Init(node.clone()));
    }

    /// The nodes that have not answered `init` yet, at the start of the test.
    #[must_use]
    pub fn awaiting_init(&self) -> Vec<NodeId> {
        if self.phase == Phase::Init { self.calls.inits().cloned().collect() } else { Vec::new() }
    }

    /// Whether a node was restarted after a kill, and has not answered `init` since.
    #[must_use]
    pub fn awaits_init_again(&self, node: &NodeId) -> bool {
        self.phase != Phase::Init && self.calls.inits().any(|awaited| awaited == node)
    }

    pub(super) fn init_ended(&mut self, node: NodeId, outcome: &Outcome) {
        #[derive(Deserialize)]
        struct Header<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
        }
        let Outcome::Reply(body) = outcome else {
            // A restarted node may have crashed again, or may be paused. It will receive another
            // `init`, or has not read this one yet.
            if self.phase == Phase::Init {
                self.fail(Failure::InitTimeout(node));
            }
            return;
        };
        let header: Option<Header<'_>> = serde_json::from_str(body.get()).ok();
        if header.is_none_or(|header| header.kind != "init_ok") {
            self.fail(Failure::InitRefused(node, excerpt(body.get())));
        }
    }

    pub(super) fn set_up(&mut self, now: Duration) {
        let Some(request) = self.generator.setup() else {
            return;
        };
        for node in self.options.nodes.clone() {
            let address = self.open_address();
            self.call(now, &address, &node, 1, &request, Purpose::Setup(node.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use maelstrom_core::{Error, MessageHandler, Node, Request};
    use serde::Serialize;

    use super::*;
    use crate::options::{JOIN_TIME, Options};
    use crate::simulate::simulate;
    use crate::test::Test;
    use crate::workload::Echo;

    /// A node that sends a message to another address some time after its start.
    struct Early {
        to: NodeId,
        after: Duration,
    }

    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Payload {
        Echo { echo: String },
        EchoOk { echo: String },
        Hello,
    }

    impl Early {
        fn speak<E>(&self, node: &mut Node<E>) {
            if self.to != *node.id() {
                node.send(&self.to, &Payload::Hello);
            }
        }
    }

    impl MessageHandler for Early {
        type Payload = Payload;
        type Event = ();

        fn started(&mut self, node: &mut Node<()>) {
            if self.after.is_zero() {
                self.speak(node);
            } else {
                node.set_timer(self.after, ());
            }
        }

        fn message(
            &mut self,
            node: &mut Node<()>,
            from: &Request,
            it: Payload,
        ) -> Result<(), Error> {
            if let Payload::Echo { echo } = it {
                node.reply(from, &Payload::EchoOk { echo });
            }
            Ok(())
        }

        fn event(&mut self, node: &mut Node<()>, (): ()) {
            self.speak(node);
        }
    }

    fn run(to: &str, after: Duration) -> World {
        let options = Options { seed: 1, ..Options::default() }.with_node_count(9);
        let options = Options { time_limit: Duration::from_secs(2), ..options };
        simulate(Test::new(Echo::default(), options), |_| Early { to: to.into(), after })
    }

    #[test]
    fn a_node_that_speaks_to_one_that_is_not_there_yet_is_muted() {
        for (to, why) in [("n4", "there is no n4 in"), ("lin-kv", "there is no lin-kv in")] {
            let world = run(to, Duration::ZERO);
            let muted = world.muted();
            assert!((1..8).contains(&muted.len()), "some are early, some are not: {muted:?}");
            assert!(muted.values().all(|said| said.starts_with(why)), "{muted:?}");
            // These nodes sent messages before they answered `init`, so the world ignores their
            // answers, too.
            assert!(matches!(world.failure(), Some(Failure::InitTimeout(_))));
        }
    }

    #[test]
    fn a_node_that_waits_is_not() {
        for to in ["n4", "lin-kv"] {
            let world = run(to, JOIN_TIME);
            assert!(world.muted().is_empty() && world.failure().is_none());
        }
    }
}
