//! The common parts of the workloads with counters.

use serde_json::{Value, json};

use super::{Field, FinalOps, Generator, Invocation, RequestBody, Rpc, Schema};
use crate::rng::SimRng;

pub(super) const READ: Rpc = Rpc {
    name: "read",
    about: "The node tells what the counter shows.",
    request: &[],
    reply: &[Field::new("value", Schema::INTEGER, "12", "The sum of all adds it knows of.")],
};

/// Generates the operations of the clients: adds and reads, and a final read by every thread.
#[derive(Debug)]
pub(super) struct Counting {
    /// Draws the next add. `None`: the next operation reads.
    pub(super) next_add: fn(&mut SimRng) -> Option<i64>,
    /// The factor of every add.
    pub(super) factor: i64,
}

const READ_OP: Invocation = Invocation { f: "read", value: None };

impl Generator for Counting {
    fn next(&mut self, _process: u64, rng: &mut SimRng) -> Invocation {
        let add = (self.next_add)(rng).map(|delta| delta * self.factor);
        add.map_or(READ_OP, |delta| Invocation::new("add", &json!(delta)))
    }

    fn final_ops(&self) -> FinalOps {
        FinalOps::Once(READ_OP)
    }

    fn request(&self, op: &Invocation) -> RequestBody {
        match op.argument() {
            Value::Null => RequestBody::new("read", []),
            delta => RequestBody::new("add", [("delta", delta)]),
        }
    }
}
