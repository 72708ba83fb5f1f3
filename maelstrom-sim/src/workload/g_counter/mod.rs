//! `g-counter`: a third of the operations add 0 to 4, and the others read. In the end every node
//! must show the sum.

use rand::RngExt;

use super::counters::{Counting, READ};
use super::{Field, Generator, Rpc, Schema, Workload};
use crate::chart::Chart;
use crate::checker::{WorkloadResults, counter};
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

/// The workload `g-counter`. [`Test`](crate::Test) shows how to test nodes with a workload.
///
/// ```
/// use maelstrom_sim::options::Options;
/// use maelstrom_sim::rng::{self, Stream};
/// use maelstrom_sim::workload::{GCounter, Workload};
///
/// let counter = GCounter { factor: Some(1_000) };
/// let (mut rng, options) = (rng::stream(7, Stream::Generator), Options::default());
/// let mut generator = counter.generator(&options);
/// let mut ops = (0..100).map(|_| generator.next(0, &mut rng));
/// let add = ops.find(|op| op.f == "add").expect("a third of the operations are adds");
/// assert_eq!(add.argument().as_u64().map(|delta| delta % 1_000), Some(0));
/// ```
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GCounter {
    /// The factor of all adds. `None`: the adds are 0 to 4.
    #[arg(skip)]
    pub factor: Option<i64>,
}

const RPCS: &[Rpc] = &[
    Rpc {
        name: "add",
        about: "The node adds a number to the counter.",
        request: &[Field::new("delta", Schema::INTEGER, "3", "The number, 0 or above.")],
        reply: &[],
    },
    READ,
];

impl Workload for GCounter {
    fn name(&self) -> &'static str {
        "g-counter"
    }

    fn about(&self) -> &'static str {
        "Nodes count together. In the end every node must show the sum of all acknowledged adds, and \
         may show any of those adds too whose outcome is unknown."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn settings(&self) -> Vec<String> {
        self.factor.map(|factor| format!("adds are multiples of {factor}")).into_iter().collect()
    }

    fn generator(&self, _options: &Options) -> Box<dyn Generator> {
        Box::new(Counting { next_add, factor: self.factor.unwrap_or(1) })
    }

    /// Maelstrom's client for counters does not catch errors, so an error leaves the outcome
    /// unknown.
    fn definite_errors_fail(&self) -> bool {
        false
    }

    fn check(&self, history: &History) -> WorkloadResults {
        counter::check(history)
    }

    fn charts(&self, history: &History) -> Vec<Chart> {
        vec![counter::chart(history)]
    }
}

fn next_add(rng: &mut SimRng) -> Option<i64> {
    // Maelstrom generates as many reads as adds of -5 to 4, and drops the negative adds.
    (rng.random_range(0..3) == 0).then(|| rng.random_range(0..5_i32).into())
}
