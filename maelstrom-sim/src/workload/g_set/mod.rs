//! `g-set`: half of the operations add the elements 0, 1, 2, …, and half read. No element may get
//! lost.

use rand::RngExt;
use serde_json::{Value, json};

use super::{Field, FinalOps, Generator, Invocation, RequestBody, Rpc, Schema, Workload};
use crate::chart::Chart;
use crate::checker::{WorkloadResults, set_full};
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

/// The workload `g-set`. [`Test`](crate::Test) shows how to test nodes with a workload.
///
/// ```
/// use maelstrom_sim::workload::{GSet, Workload};
///
/// let requests = GSet::default().rpcs().iter().map(|rpc| rpc.name);
/// assert_eq!(requests.collect::<Vec<_>>(), ["add", "read"]);
/// ```
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GSet {}

const RPCS: &[Rpc] = &[
    Rpc {
        name: "add",
        about: "The node adds an element, and sees to it that all nodes get it.",
        request: &[Field::new("element", Schema::ANY, "5", "The element. None comes twice.")],
        reply: &[],
    },
    Rpc {
        name: "read",
        about: "The node tells all elements that it knows, in any order.",
        request: &[],
        reply: &[Field::new("value", Schema::LIST, "[3,5]", "The elements.")],
    },
];

impl Workload for GSet {
    fn name(&self) -> &'static str {
        "g-set"
    }

    fn about(&self) -> &'static str {
        "Nodes replicate a set that only grows. An element that was acknowledged, or read once, must \
         not be missing in later reads for good. Every thread reads once more when all faults are \
         over."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn generator(&self, _options: &Options) -> Box<dyn Generator> {
        Box::new(Elements { next: 0 })
    }

    /// Maelstrom's client for sets does not catch errors, so an error leaves the outcome unknown.
    fn definite_errors_fail(&self) -> bool {
        false
    }

    fn check(&self, history: &History) -> WorkloadResults {
        set_full::check(history, "add")
    }

    fn spreading_field(&self) -> Option<(&'static str, &'static str)> {
        Some(("add", "element"))
    }

    fn charts(&self, history: &History) -> Vec<Chart> {
        vec![set_full::chart(history, "add")]
    }
}

/// Generates the operations of the clients.
#[derive(Debug)]
struct Elements {
    next: u64,
}

impl Generator for Elements {
    fn next(&mut self, _process: u64, rng: &mut SimRng) -> Invocation {
        if rng.random_bool(0.5) {
            return Invocation { f: "read", value: None };
        }
        let element = self.next;
        self.next += 1;
        Invocation::new("add", &json!(element))
    }

    fn final_ops(&self) -> FinalOps {
        FinalOps::Once(Invocation { f: "read", value: None })
    }

    fn request(&self, op: &Invocation) -> RequestBody {
        match op.argument() {
            Value::Null => RequestBody::new("read", []),
            element => RequestBody::new("add", [("element", element)]),
        }
    }
}
