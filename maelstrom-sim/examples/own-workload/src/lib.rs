//! A workload in a crate of its own: fencing tokens.
//!
//! A client that acquires a lock gets a token, which is a number. Storage that has seen a token
//! refuses all smaller ones. So a client that was paused can do no harm with its old token. This
//! requires that a token is larger than every token that was given before the client asked for it.
//! (Kleppmann, *Designing Data-Intensive Applications*, 2017, chapter 8.)
//!
//! [`Fencing`] is the workload, and [`Tokens`] is a node. The binary `fencing-checker` has all
//! flags and subcommands of `maelstrom-sim`:
//!
//! ```sh
//! cd maelstrom-sim/examples/own-workload
//! cargo build --bins
//! target/debug/fencing-checker doc fencing
//! target/debug/fencing-checker test -w fencing --bin target/debug/fencing-node --node-count 3 \
//!     --time-limit 5 --rate 50 --nemesis partition
//! target/debug/fencing-checker test -w fencing --bin target/debug/fencing-node --node-count 3 \
//!     --time-limit 5 --rate 50 -- --local
//! ```
//!
//! The last test is invalid: with `--local` each node counts for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::service::TsoClient;
use maelstrom_core::{Error, MessageHandler, Node, Request, RpcError};
use maelstrom_sim::checker::WorkloadResults;
use maelstrom_sim::history::{History, OpType};
use maelstrom_sim::options::Options;
use maelstrom_sim::rng::SimRng;
use maelstrom_sim::workload::{Field, FinalOps, Generator, Invocation, Rpc, Schema, Workload};
use serde::{Deserialize, Serialize};

/// The workload. Its fields become flags of the command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Fencing {
    /// Whether two clients may get the same token if they ask for it at the same time
    #[arg(long)]
    pub may_share: bool,
}

const RPCS: &[Rpc] = &[Rpc {
    name: "acquire",
    about: "The node gives a token.",
    request: &[],
    reply: &[Field::new(
        "token",
        Schema::INTEGER,
        "7",
        "A number that is larger than every token given before the request.",
    )],
}];

const ACQUIRE: Invocation = Invocation { f: "acquire", value: None };

impl Workload for Fencing {
    fn name(&self) -> &'static str {
        "fencing"
    }

    fn about(&self) -> &'static str {
        "Nodes give tokens. A token must be larger than every token that was given before a client \
         asked for it."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn generator(&self, _options: &Options) -> Box<dyn Generator> {
        Box::new(self.clone())
    }

    /// Walks through the history once, and remembers the largest token given so far.
    fn check(&self, history: &History) -> WorkloadResults {
        let mut largest = i64::MIN;
        // For each open request, the largest token given before it.
        let mut before: BTreeMap<usize, i64> = BTreeMap::new();
        let mut given: BTreeMap<i64, usize> = BTreeMap::new();
        for op in history.client_ops() {
            let Some(invocation) = op.invocation else {
                before.insert(op.index, largest);
                continue;
            };
            let bound = before.remove(&invocation).unwrap_or(i64::MIN);
            let token = op.value.as_ref().and_then(|value| value.get().parse::<i64>().ok());
            let Some(token) = token.filter(|_| op.kind == OpType::Ok) else { continue };
            if token <= bound {
                let why = format!("op {} got token {token}, after {bound} was given", op.index);
                return WorkloadResults::from_cause(Some(why));
            }
            if let Some(other) = given.insert(token, op.index).filter(|_| !self.may_share) {
                let why = format!("ops {other} and {} got the same token {token}", op.index);
                return WorkloadResults::from_cause(Some(why));
            }
            largest = largest.max(token);
        }
        WorkloadResults::from_cause(None).with_unanswered_finals(history)
    }
}

impl Generator for Fencing {
    fn next(&mut self, _process: u64, _rng: &mut SimRng) -> Invocation {
        ACQUIRE
    }

    /// Every node must reply after all faults have ended.
    fn final_ops(&self) -> FinalOps {
        FinalOps::Once(ACQUIRE)
    }
}

/// The requests and replies of the node.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// A client requests a token.
    Acquire,
    /// The client gets a token.
    AcquireOk {
        /// The token.
        token: u64,
    },
}

/// The outcome of a call to the service `lin-tso`.
pub struct Answered {
    request: Request,
    token: Result<u64, RpcError>,
}

/// A node that gives tokens.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Whether it counts for itself, which is wrong in a cluster with other nodes.
    local: bool,
    last: u64,
}

impl Tokens {
    /// A node that gets its tokens from the service `lin-tso`.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node that counts for itself.
    pub fn local() -> Self {
        Self { local: true, last: 0 }
    }
}

impl MessageHandler for Tokens {
    type Payload = Payload;
    type Event = Answered;

    fn message(
        &mut self,
        node: &mut Node<Answered>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let Payload::Acquire = payload else { return Ok(()) };
        if self.local {
            self.last = self.last.saturating_add(1);
            node.reply(request, &Payload::AcquireOk { token: self.last });
            return Ok(());
        }
        let request = request.clone();
        let oracle = TsoClient::new(Duration::from_secs(2));
        oracle.ts(node, |token| Answered { request, token });
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Answered>, Answered { request, token }: Answered) {
        node.reply_result(&request, token.map(|token| Payload::AcquireOk { token }));
    }
}

#[cfg(test)]
mod tests {
    use maelstrom_sim::Test;
    use maelstrom_sim::nemesis::Fault;
    use maelstrom_sim::simulate::simulate;
    use maelstrom_sim::sweep::Sweep;

    use super::*;

    #[test]
    fn sweep() {
        Sweep::new(Fencing::default(), Fault::ALL).test(10, |_| Tokens::new());
    }

    /// Runs stored smaller runs that once failed. In this one, a node that counts for itself
    /// forgets its count.
    #[test]
    fn regressions() {
        Sweep::new(Fencing::default(), Fault::ALL)
            .test_regressions("tests/regressions/fencing", |_| Tokens::new());
    }

    #[test]
    #[should_panic(expected = "was given")]
    fn a_regression_fails_while_the_mistake_is_there() {
        Sweep::new(Fencing::default(), Fault::ALL)
            .test_regressions("tests/regressions/fencing", |_| Tokens::local());
    }

    #[test]
    fn a_seed_gives_the_same_run_every_time() {
        Sweep::new(Fencing::default(), Fault::ALL).test_determinism(0..2, |_| Tokens::new());
    }

    #[test]
    fn nodes_that_count_for_themselves_are_found() {
        let sweep = Sweep::new(Fencing::default(), []);
        let finding = (0..20).find_map(|seed| sweep.run(seed, |_| Tokens::local()).err());
        let text = finding.map(|finding| finding.text).unwrap_or_default();
        assert!(text.contains(" got the same token ") || text.contains(" was given"), "{text}");
        let options = Options { time_limit: Duration::from_secs(5), ..Options::default() };
        let alone = Test::new(Fencing::default(), options.with_node_count(1));
        simulate(alone, |_| Tokens::local()).assert_valid();
    }
}
