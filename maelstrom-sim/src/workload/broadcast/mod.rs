//! `broadcast`: half of the operations broadcast the values 0, 1, 2, …, and half read. No value may
//! get lost.

mod topology;

use clap::ValueEnum;
use maelstrom_core::NodeId;
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::Value;

pub use self::topology::Topology;

use super::{
    Field, FinalOps, Generator, Invocation, RequestBody, Rpc, Schema, Workload, lengths_in_words,
    numbered,
};
use crate::chart::Chart;
use crate::checker::{WorkloadResults, set_full};
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

/// The workload `broadcast`. [`Test`](crate::Test) shows how to test nodes with a workload.
///
/// ```
/// use maelstrom_sim::workload::broadcast::Topology;
/// use maelstrom_sim::workload::{Broadcast, Workload};
///
/// let broadcast = Broadcast { topology: Topology::Line, lengths: vec![8, 300] };
/// assert_eq!(broadcast.settings(), ["--topology line", "values of 8 to 300 bytes"]);
/// ```
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Broadcast {
    /// The topology that suggests neighbours to nodes, in workloads with one.
    #[arg(long, value_name = "SPEC", value_enum, default_value_t)]
    pub topology: Topology,
    /// The lengths of the values as JSON, in bytes. Each value is a string with one of these
    /// lengths, drawn at random. Empty: the values are numbers.
    #[arg(skip)]
    pub lengths: Vec<usize>,
}

const RPCS: &[Rpc] = &[
    Rpc {
        name: "topology",
        about: "The node hears its neighbours in a suggested topology. It may ignore them.",
        request: &[Field::new(
            "topology",
            Schema::ANY,
            r#"{"n0":["n1"],"n1":["n0"]}"#,
            "An object: for each node the list of its neighbours.",
        )],
        reply: &[],
    },
    Rpc {
        name: "broadcast",
        about: "The node adds a value, and sees to it that all nodes get it.",
        request: &[Field::new("message", Schema::INTEGER, "5", "The value. None comes twice.")],
        reply: &[],
    },
    Rpc {
        name: "read",
        about: "The node tells all values that it knows, in any order.",
        request: &[],
        reply: &[Field::new("messages", Schema::LIST, "[3,5]", "The values.")],
    },
];

impl Workload for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }

    fn about(&self) -> &'static str {
        "Nodes replicate a set of values. A value that was acknowledged, or read once, must not be \
         missing in later reads for good. Every thread reads once more when all faults are over."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn settings(&self) -> Vec<String> {
        let topology = self.topology.to_possible_value();
        let topology = topology.map(|value| format!("--topology {}", value.get_name()));
        topology.into_iter().chain(lengths_in_words(&self.lengths)).collect()
    }

    fn generator(&self, options: &Options) -> Box<dyn Generator> {
        let nodes = options.nodes.clone();
        Box::new(Values {
            topology: self.topology,
            nodes,
            lengths: self.lengths.clone(),
            next_value: 0,
        })
    }

    fn is_idempotent(&self, f: &str) -> bool {
        f == "read"
    }

    fn check(&self, history: &History) -> WorkloadResults {
        set_full::check(history, "broadcast")
    }

    fn spreading_field(&self) -> Option<(&'static str, &'static str)> {
        Some(("broadcast", "message"))
    }

    fn charts(&self, history: &History) -> Vec<Chart> {
        vec![set_full::chart(history, "broadcast")]
    }
}

/// Generates the operations of the clients.
#[derive(Debug)]
struct Values {
    topology: Topology,
    nodes: Vec<NodeId>,
    lengths: Vec<usize>,
    next_value: u64,
}

impl Generator for Values {
    fn setup(&self) -> Option<RequestBody> {
        let map = self.topology.neighbours(&self.nodes);
        let names = |nodes: &[NodeId]| nodes.iter().map(|id| Value::from(id.as_ref())).collect();
        let topology: serde_json::Map<String, Value> =
            map.iter().map(|(id, others)| (id.to_string(), names(others))).collect();
        Some(RequestBody::new("topology", [("topology", Value::Object(topology))]))
    }

    fn next(&mut self, _process: u64, rng: &mut SimRng) -> Invocation {
        if rng.random_bool(0.5) {
            return Invocation { f: "read", value: None };
        }
        let value = numbered(self.next_value, self.lengths.choose(rng));
        self.next_value += 1;
        Invocation::new("broadcast", &value)
    }

    fn final_ops(&self) -> FinalOps {
        FinalOps::Once(Invocation { f: "read", value: None })
    }

    fn request(&self, op: &Invocation) -> RequestBody {
        match op.argument() {
            Value::Null => RequestBody::new("read", []),
            value => RequestBody::new("broadcast", [("message", value)]),
        }
    }
}
