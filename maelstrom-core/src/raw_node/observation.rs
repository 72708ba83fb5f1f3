//! The marks and metrics of a node, for its driver.

use super::RawNode;
use crate::handler::MessageHandler;
use crate::metrics::{self, Gauges, Snapshot};

impl<H: MessageHandler> RawNode<H> {
    /// Keeps the [marks](crate::Node::mark) of the handler from now on, until
    /// [`take_marks`](Self::take_marks) takes them.
    pub fn record_marks(&mut self) {
        self.node.marks.record();
    }

    /// The marks since the last call, in order. Empty unless the driver called
    /// [`record_marks`](Self::record_marks).
    pub fn take_marks(&mut self) -> Vec<&'static str> {
        self.node.marks.take()
    }

    /// Records the [metrics] of the node and of its handler from now on.
    pub fn record_metrics(&mut self) {
        self.node.metrics.record(self.node.is_durable(), H::METRICS);
    }

    /// The current metrics. `None` unless the driver called
    /// [`record_metrics`](Self::record_metrics).
    #[must_use]
    pub fn metrics(&self) -> Option<Snapshot> {
        if !self.node.metrics.is_on() {
            return None;
        }
        let mut gauges = Gauges::default();
        gauges.set_count(&metrics::REQUESTS_OPEN, self.unanswered());
        gauges.set_count(&metrics::CALLS_OPEN, self.open_rpcs());
        gauges.set_count(&metrics::TIMERS, self.node.timers.len());
        gauges.set_count(&metrics::OUTPUT_BYTES, self.output_bytes());
        gauges.set_count(&metrics::EARLY_BYTES, self.early.bytes());
        gauges.set_count(&metrics::READY, usize::from(self.is_ready()));
        self.handler.gauges(self.node.now(), &mut gauges);
        self.node.metrics.snapshot(gauges)
    }

    /// The recorder of metrics, for the driver's own metrics.
    #[cfg(feature = "runtime")]
    pub(crate) fn recorder(&mut self) -> &mut metrics::Recorder {
        &mut self.node.metrics
    }
}
