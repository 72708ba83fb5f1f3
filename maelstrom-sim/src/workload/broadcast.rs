//! `broadcast`: half of the operations add the values 0, 1, 2, …, half read; no value may get lost.

use maelstrom_core::NodeId;
use rand::RngExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{FinalOps, Invocation, RequestBody, Workload, list, names, raw};
use crate::checker::{WorkloadResults, set_full};
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;
use crate::topology::Topology;

#[derive(Debug)]
pub(super) struct Broadcast {
    topology: Topology,
    nodes: Vec<NodeId>,
    next_value: u64,
}

impl Broadcast {
    pub(super) fn new(options: &Options) -> Self {
        Self { topology: options.topology, nodes: options.nodes.clone(), next_value: 0 }
    }
}

impl Workload for Broadcast {
    fn setup(&self) -> Option<RequestBody> {
        let map = self.topology.neighbours(&self.nodes);
        let topology: serde_json::Map<String, Value> =
            map.iter().map(|(id, others)| (id.to_string(), names(others))).collect();
        Some(RequestBody::new("topology", [("topology", Value::Object(topology))]))
    }

    fn next(&mut self, rng: &mut SimRng) -> Invocation {
        if rng.random_bool(0.5) {
            return Invocation { f: "read", value: None };
        }
        let value = self.next_value;
        self.next_value += 1;
        Invocation { f: "broadcast", value: raw(&json!(value)) }
    }

    fn final_ops(&self) -> FinalOps {
        FinalOps::Once(Invocation { f: "read", value: None })
    }

    fn request(&self, op: &Invocation) -> RequestBody {
        let value = op.value.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
        match value {
            Some(value) => RequestBody::new("broadcast", [("message", value)]),
            None => RequestBody::new("read", []),
        }
    }

    fn reply_fields(&self, f: &str) -> &'static [&'static str] {
        match f {
            "read" => &["messages"],
            _ => &[],
        }
    }

    fn result_field(&self, f: &str) -> Option<&'static str> {
        (f == "read").then_some("messages")
    }

    fn result(&self, _f: &str, value: &RawValue) -> Result<Box<RawValue>, String> {
        list(value)
    }

    fn is_idempotent(&self, f: &str) -> bool {
        f == "read"
    }

    fn check(&self, history: &History) -> WorkloadResults {
        set_full::check(history, "broadcast")
    }
}
