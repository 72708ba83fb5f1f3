//! The facts about a test, while it runs and when it is over, and the verdict on it.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::NodeId;
use maelstrom_core::metrics::Snapshot;

use super::{Failure, World};
use crate::checker::Verdict;
use crate::history::History;
use crate::network::NetStats;
use crate::news::News;
use crate::options::Options;
use crate::results::Results;
use crate::trace::Trace;
use crate::workload::Workload;

impl World {
    /// A node has reached a mark.
    pub(crate) fn marked(&mut self, now: Duration, node: &NodeId, name: &'static str) {
        *self.marks.entry(name).or_default() += 1;
        if let Some(trace) = self.network.trace_mut() {
            trace.happened(now, News::Mark { node: node.clone(), name });
        }
    }

    /// How often nodes reached each [mark](maelstrom_core::Node::mark), in virtual time.
    #[must_use]
    pub fn marks(&self) -> &BTreeMap<&'static str, u64> {
        &self.marks
    }

    pub(crate) fn keep_metrics(&mut self, node: &NodeId, metrics: Snapshot) {
        self.metrics.insert(node.clone(), metrics);
    }

    /// The [metrics](maelstrom_core::metrics) of a node's last process when the test ended, in virtual
    /// time. `None` if the node was down, or a handler panicked.
    #[must_use]
    pub fn metrics(&self, node: &str) -> Option<&Snapshot> {
        self.metrics.get(node)
    }

    /// Why the test could not be carried out, if so.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The nodes that said something that makes no sense, and what.
    #[must_use]
    pub fn muted(&self) -> &BTreeMap<NodeId, String> {
        &self.muted
    }

    /// What is tested.
    #[must_use]
    pub fn workload(&self) -> &dyn Workload {
        self.workload.as_ref()
    }

    /// How it is tested.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What has happened so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What became of every message so far, and what else happened, if the options ask for it.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.network.trace()
    }

    /// How many messages have been sent and received so far.
    #[must_use]
    pub fn net_stats(&self) -> NetStats {
        self.network.stats()
    }

    /// The verdict on what has happened. A test that ended before its time, or in which a node broke
    /// the protocol, or in which nothing succeeded, is never valid.
    #[must_use]
    pub fn results(&self) -> Results {
        let (stats, availability) = (self.network.stats(), self.options.availability);
        let found = self.workload.check(&self.history);
        let results = Results::judge(found, &self.history, stats, availability);
        let results = match &self.failure {
            Some(failure) => results.with_failure(failure.to_string()),
            None if !self.is_done() => results.with_failure("the test is not over".into()),
            None => results,
        };
        let results = results
            .with_successes(self.history.tally().ok)
            .with_second_replies(&self.replied_twice)
            .with_muted(&self.muted);
        if self.options.as_maelstrom { results.by_maelstroms_rules() } else { results }
    }

    /// Expects that the test is valid: what a test of a handler ends with.
    ///
    /// # Panics
    ///
    /// If it is not, with the cause and all results.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    #[track_caller]
    pub fn assert_valid(&self) {
        let results = self.results();
        if results.valid != Verdict::Valid {
            let (workload, seed) = (self.workload.name(), self.options.seed);
            let cause = results.cause.as_deref().unwrap_or("the verdict is not valid");
            let all = serde_json::to_string_pretty(&results).unwrap_or_default();
            panic!("{workload}, seed {seed}: {cause}\n{all}");
        }
    }
}
