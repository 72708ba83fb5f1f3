//! `echo`: every reply must equal its request.

mod checker;

use std::sync::Arc;

use rand::RngExt;
use serde_json::json;

pub use self::checker::check;

use super::{Field, Generator, Invocation, RequestBody, Rpc, Schema, Workload};
use crate::checker::WorkloadResults;
use crate::history::History;
use crate::options::{Availability, Options};
use crate::rng::SimRng;

/// The workload `echo`. The example of [`Workload`] judges a history of it, and
/// [`simulate`](crate::simulate::simulate) shows how to test nodes with it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Echo {}

const RPCS: &[Rpc] = &[Rpc {
    name: "echo",
    about: "The node sends back the value.",
    request: &[Field::new("echo", Schema::ANY, r#""Please echo 35""#, "Any value.")],
    reply: &[Field::new("echo", Schema::ANY, r#""Please echo 35""#, "The same value.")],
}];

impl Workload for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn about(&self) -> &'static str {
        "Nodes send back each value. Every reply must equal its request."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn generator(&self, _options: &Options) -> Box<dyn Generator> {
        Box::new(self.clone())
    }

    /// Requires that every request succeeds, whatever the faults. The checker does not judge
    /// missing replies.
    fn for_sweep(&self, _rng: &mut SimRng, options: &mut Options) -> Option<Arc<dyn Workload>> {
        options.availability = Some(Availability::Total);
        None
    }

    fn check(&self, history: &History) -> WorkloadResults {
        check(history)
    }
}

impl Generator for Echo {
    fn next(&mut self, _process: u64, rng: &mut SimRng) -> Invocation {
        let text = format!("Please echo {}", rng.random_range(0..128));
        Invocation::new("echo", &json!(text))
    }

    fn request(&self, op: &Invocation) -> RequestBody {
        RequestBody::new("echo", [("echo", op.argument())])
    }
}
