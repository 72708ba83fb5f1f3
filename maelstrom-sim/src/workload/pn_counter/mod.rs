//! `pn-counter`: half of the operations add -5 to 4, half read; in the end every node must show the
//! sum.

use rand::RngExt;
use serde_json::{Value, json};

use super::{Field, FinalOps, Generator, Invocation, RequestBody, Rpc, Schema, Workload};
use crate::checker::{WorkloadResults, counter};
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

/// The workload `pn-counter`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PnCounter {}

const RPCS: &[Rpc] = &[
    Rpc {
        name: "add",
        about: "The node adds a number to the counter.",
        request: &[Field::new("delta", Schema::INTEGER, "-2", "The number. It may be negative.")],
        reply: &[],
    },
    Rpc {
        name: "read",
        about: "The node tells what the counter shows.",
        request: &[],
        reply: &[Field::new("value", Schema::INTEGER, "12", "The sum of all adds it knows of.")],
    },
];

impl Workload for PnCounter {
    fn name(&self) -> &'static str {
        "pn-counter"
    }

    fn about(&self) -> &'static str {
        "Nodes count together, up and down. In the end every node must show the sum of all \
         acknowledged adds, and may show any of those adds too whose outcome is unknown."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn generator(&self, _options: &Options) -> Box<dyn Generator> {
        Box::new(self.clone())
    }

    /// Maelstrom's client for counters catches no errors, so it never knows.
    fn heeds_errors(&self) -> bool {
        false
    }

    fn check(&self, history: &History) -> WorkloadResults {
        counter::check(history)
    }
}

impl Generator for PnCounter {
    fn next(&mut self, _process: u64, rng: &mut SimRng) -> Invocation {
        if rng.random_bool(0.5) {
            return Invocation { f: "read", value: None };
        }
        Invocation::new("add", &json!(rng.random_range(-5..5)))
    }

    fn final_ops(&self) -> FinalOps {
        FinalOps::Once(Invocation { f: "read", value: None })
    }

    fn request(&self, op: &Invocation) -> RequestBody {
        match op.argument() {
            Value::Null => RequestBody::new("read", []),
            delta => RequestBody::new("add", [("delta", delta)]),
        }
    }
}
