//! How a test begins: every node gets `init`, then what the workload asks of each node.

use std::borrow::Cow;
use std::time::Duration;

use maelstrom_core::NodeId;
use serde::Deserialize;
use serde_json::json;

use super::calls::{Outcome, Purpose};
use super::news::{Failure, News};
use super::{Phase, World, reply};
use crate::workload::RequestBody;

impl World {
    pub(super) fn init_nodes(&mut self, now: Duration) {
        self.tell(now, News::Phase("starting the nodes"));
        for node in self.options.nodes.clone() {
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

    pub(super) fn init_ended(&mut self, now: Duration, node: NodeId, outcome: &Outcome) {
        #[derive(Deserialize)]
        struct Header<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
        }
        let Outcome::Reply(body) = outcome else {
            // One that was started anew may have crashed again, or be paused.
            if self.phase != Phase::Init {
                return self.init_node(now, node);
            }
            return self.fail(Failure::InitTimeout(node));
        };
        let header: Option<Header<'_>> = serde_json::from_str(body.get()).ok();
        if header.is_none_or(|header| header.kind != "init_ok") {
            self.fail(Failure::InitRefused(node, reply::preview(body.get())));
        }
    }

    pub(super) fn set_up(&mut self, now: Duration) {
        let Some(request) = self.workload.setup() else {
            return;
        };
        for node in self.options.nodes.clone() {
            let address = self.open_address();
            self.call(now, &address, &node, 1, &request, Purpose::Setup(node.clone()));
        }
    }
}
