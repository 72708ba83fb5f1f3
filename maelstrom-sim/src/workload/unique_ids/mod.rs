//! `unique-ids`: no id may occur twice.

mod checker;

use std::sync::Arc;

pub use self::checker::check;

use super::{Field, FinalOps, Generator, Invocation, Rpc, Schema, Workload};
use crate::checker::WorkloadResults;
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

const GENERATE: Invocation = Invocation { f: "generate", value: None };

/// The workload `unique-ids`. [`Test`](crate::Test) shows how to test nodes with a workload.
///
/// ```
/// use maelstrom_sim::options::Options;
/// use maelstrom_sim::workload::{FinalOps, UniqueIds, Workload};
///
/// let last = UniqueIds { final_ids: true }.generator(&Options::default()).final_ops();
/// assert!(matches!(last, FinalOps::Once(op) if op.f == "generate"));
/// ```
#[derive(Clone, Debug, Default, clap::Args)]
pub struct UniqueIds {
    /// Whether each thread requests one more id after all faults have ended. Maelstrom's threads do
    /// not, so Maelstrom never notices a node that has become silent.
    #[arg(skip)]
    pub final_ids: bool,
}

const RPCS: &[Rpc] = &[Rpc {
    name: "generate",
    about: "The node makes a new id.",
    request: &[],
    reply: &[Field::new("id", Schema::ANY, "123", "An id that no node has ever given before.")],
}];

impl Workload for UniqueIds {
    fn name(&self) -> &'static str {
        "unique-ids"
    }

    fn about(&self) -> &'static str {
        "Nodes make ids. No id may come twice."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn settings(&self) -> Vec<String> {
        self.final_ids.then(|| "final ids".into()).into_iter().collect()
    }

    fn generator(&self, _options: &Options) -> Box<dyn Generator> {
        Box::new(self.clone())
    }

    fn for_sweep(&self, _rng: &mut SimRng, _options: &mut Options) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(Self { final_ids: true }))
    }

    fn reuses_address(&self) -> bool {
        true
    }

    fn check(&self, history: &History) -> WorkloadResults {
        check(history)
    }
}

impl Generator for UniqueIds {
    fn next(&mut self, _process: u64, _rng: &mut SimRng) -> Invocation {
        GENERATE
    }

    fn final_ops(&self) -> FinalOps {
        if self.final_ids { FinalOps::Once(GENERATE) } else { FinalOps::None }
    }
}
