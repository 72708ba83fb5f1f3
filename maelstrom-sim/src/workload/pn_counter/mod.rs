//! `pn-counter`: half of the operations add -5 to 4, and half read. In the end every node must show
//! the sum.

use rand::RngExt;

use super::counters::{Counting, READ};
use super::{Field, Generator, Rpc, Schema, Workload};
use crate::chart::Chart;
use crate::checker::{WorkloadResults, counter};
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

/// The workload `pn-counter`. [`Test`](crate::Test) shows how to test nodes with a workload.
///
/// ```
/// use maelstrom_sim::workload::{PnCounter, Workload};
///
/// let requests = PnCounter::default().rpcs().iter().map(|rpc| rpc.name);
/// assert_eq!(requests.collect::<Vec<_>>(), ["add", "read"]);
/// ```
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PnCounter {}

const RPCS: &[Rpc] = &[
    Rpc {
        name: "add",
        about: "The node adds a number to the counter.",
        request: &[Field::new("delta", Schema::INTEGER, "-2", "The number. It may be negative.")],
        reply: &[],
    },
    READ,
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
        Box::new(Counting { next_add, factor: 1 })
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
    (!rng.random_bool(0.5)).then(|| rng.random_range(-5..5_i32).into())
}
