//! The state of a test, while it runs and after it has ended, and its results.

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
    /// Records that a node has reached a mark.
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

    /// The [metrics](maelstrom_core::metrics) of a node's last process at the end of the test, in
    /// virtual time. `None` if the node was down, or a handler panicked.
    #[must_use]
    pub fn metrics(&self, node: &str) -> Option<&Snapshot> {
        self.metrics.get(node)
    }

    /// Why the test failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The muted nodes, each with the error in its output.
    #[must_use]
    pub fn muted(&self) -> &BTreeMap<NodeId, String> {
        &self.muted
    }

    /// The workload of the test.
    #[must_use]
    pub fn workload(&self) -> &dyn Workload {
        self.workload.as_ref()
    }

    /// The options of the test.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The history so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The trace so far: the fates of all messages, and further events. `None` unless the options
    /// ask for it.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.network.trace()
    }

    /// How many messages were sent and received so far.
    #[must_use]
    pub fn net_stats(&self) -> NetStats {
        self.network.stats()
    }

    /// Judges the history so far. The test is not valid if it ended early, if a node broke the
    /// protocol, or if no operation succeeded.
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

    /// Asserts that the test is valid, at the end of a test of a handler. Returns the results.
    ///
    /// # Panics
    ///
    /// If the test is not valid, with the cause and all results.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    #[track_caller]
    pub fn assert_valid(&self) -> Results {
        let results = self.results();
        if results.valid != Verdict::Valid {
            let (workload, seed) = (self.workload.name(), self.options.seed);
            let cause = results.cause.as_deref().unwrap_or("the verdict is not valid");
            let all = serde_json::to_string_pretty(&results).unwrap_or_default();
            panic!("{workload}, seed {seed}: {cause}\n{all}");
        }
        results
    }
}
