//! Metrics: counters, gauges and histograms that show an operator the state of a node.
//!
//! A handler stays deterministic: it counts through [`Node`](crate::Node), and reports its gauges
//! when the driver [asks](crate::MessageHandler::gauges). The driver decides whether metrics are
//! recorded. The runtime serves them as Prometheus text (feature `metrics`, flag `--metrics`). A
//! test in virtual time asserts on a [`Snapshot`] of them.
//!
//! ```
//! use maelstrom_core::{Node, metrics::Metric};
//!
//! static MERGES: Metric =
//!     Metric::counter("book_merges_total", &["source"], "Pages merged, by source.");
//!
//! fn merged<E>(node: &mut Node<E>, pages: u64) {
//!     node.count(&MERGES, &["peer"], pages);
//! }
//! ```
//!
//! # Invariants
//!
//! * If metrics are not recorded (the default), each call costs one comparison.
//! * Memory is bounded. A node distinguishes at most [`TYPES_MAX`] types of messages. A metric
//!   without the label `type` has at most [`SERIES_MAX`] combinations of label values. Everything
//!   beyond these limits counts as `other`.
//! * A peer's text becomes a label only if the handler decoded the message, or waited for it.
//! * Numbers start at zero with each process.
//!
//! # Over HTTP
//!
//! A node that was built with the feature `metrics` (`cargo build --release -p echo --features
//! metrics`) has the flag `--metrics [ADDR:]PORT`. It is off by default. Without an address, the
//! node listens on the loopback interface. It then answers these requests of HTTP/1:
//!
//! | path | status 200 | status 503 |
//! |---|---|---|
//! | `/metrics` | Prometheus text | the node's loop does not answer within 2 s |
//! | `/health` | the node is live and ready | it is not |
//! | `/health/live` | the loop answers | it does not: for example, nobody reads the node's stdout |
//! | `/health/ready` | `init` was answered | it was not, or the loop does not answer |
//!
//! The server handles at most 16 clients at a time. Each has 10 s for its one request.
//!
//! # Metrics of every node
//!
//! Times are in seconds and sizes in bytes. [`limits`](crate::limits) lists the values of `limit`.
//! The size of a line excludes its newline, and the size of a [sealed](crate::auth) message
//! excludes its seal.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `maelstrom_messages_total` | counter | `direction`, `type` | Messages received and sent, by type. |
//! | `maelstrom_message_bytes_total` | counter | `direction`, `type` | Bytes of the messages received and sent, by type. |
//! | `maelstrom_lines_skipped_total` | counter | `reason` | Lines of input that were skipped: they are no message, or too long. |
//! | `maelstrom_unauthenticated_total` | counter | `reason` | Messages between nodes that were dropped: their MAC is missing or wrong. |
//! | `maelstrom_requests_total` | counter | `type`, `outcome` | Requests answered: ok, error, or late (the client had given up, so no reply was sent). |
//! | `maelstrom_requests_given_up_total` | counter | | Requests given up because too many waited for a reply. |
//! | `maelstrom_refused_total` | counter | `limit` | Messages of clients that a limit refused, and messages before init without room to wait. |
//! | `maelstrom_errors_total` | counter | `code` | Error replies, by the protocol's name of the code. |
//! | `maelstrom_request_duration_seconds` | histogram | `type` | Time from a request to its reply, by the clock that the handler sees. |
//! | `maelstrom_requests_open` | gauge | | Requests that wait for a reply. |
//! | `maelstrom_calls_total` | counter | `outcome` | Calls that ended: ok, error, timeout, or unsent. |
//! | `maelstrom_call_duration_seconds` | histogram | `type` | Time from a call to its reply or its timeout, by the type of the call. |
//! | `maelstrom_calls_open` | gauge | | Calls that wait for a reply. |
//! | `maelstrom_timers` | gauge | | Timers that have not fired yet. |
//! | `maelstrom_output_bytes` | gauge | | Bytes of output that the driver has not taken yet. |
//! | `maelstrom_early_bytes` | gauge | | Bytes of requests that wait for init. |
//! | `maelstrom_ready` | gauge | | 1 once init was answered, 0 before. |
//! | `maelstrom_log_lines_lost_total` | counter | | Log lines that were lost because they came faster than stderr was read. |
//! | `maelstrom_records_total` | counter | | Records that the handler persisted. |
//! | `maelstrom_record_bytes_total` | counter | | Bytes of the records that the handler persisted. |
//! | `maelstrom_recovered_records` | gauge | | Records that this process recovered when it started. |
//! | `maelstrom_sync_duration_seconds` | histogram | | Time to make a batch of records durable. |
//! | `maelstrom_sync_records` | histogram | | Records in a batch that is made durable at once. |
//! | `maelstrom_disk_bytes` | gauge | | Size of the file of records. |
//! | `maelstrom_snapshots_total` | counter | `outcome` | Snapshots that were taken or given_up. |
//!
//! The last five come from the runtime, and exist only with `--data-dir`. The log of
//! [`NodeArgs`](crate::NodeArgs) counts lost lines, and the runtime exports their number. A handler
//! with gossip also has the [metrics of the engine](crate::gossip::metrics).

mod core;
mod histogram;
mod recorder;
mod snapshot;

pub use self::core::METRICS;
#[cfg(feature = "auth")]
pub(crate) use self::core::UNAUTHENTICATED;
pub(crate) use self::core::{
    CALLS, CALLS_OPEN, CallOutcome, EARLY_BYTES, GIVEN_UP, OUTPUT_BYTES, READY, RECORD_BYTES,
    RECORDS, REFUSED, REQUESTS_OPEN, SKIPPED, TIMERS,
};
#[cfg(feature = "runtime")]
pub(crate) use self::core::{
    DISK_BYTES, LOG_LINES_LOST, RECOVERED, SNAPSHOTS, SYNC_RECORDS, SYNC_SECONDS,
};
pub use self::histogram::{Histogram, SECONDS, SIZES};
pub(crate) use self::recorder::{Outcome, Recorder, TypeId};
pub use self::snapshot::{Family, Gauges, Sample, Snapshot, Value};

/// Limit on the combinations of label values of a metric. Further ones count as `other`.
pub const SERIES_MAX: usize = 64;

/// Limit on the types of messages that a node distinguishes. Further ones count as `other`.
pub const TYPES_MAX: usize = 64;

/// The label value of everything beyond the limits.
pub const OTHER: &str = "other";

/// The description of a metric: its name, and all that a reader must know to understand its
/// numbers.
///
/// The name follows the conventions of Prometheus: a prefix that names the application, the unit in
/// the plural (`_seconds`, `_bytes`), and `_total` at the end of a counter.
///
/// ```
/// use maelstrom_core::metrics::{Kind, Metric, SECONDS};
///
/// static WAIT: Metric =
///     Metric::histogram("book_wait_seconds", &["page"], SECONDS, "Waits, by page.");
///
/// assert_eq!((WAIT.kind, WAIT.labels), (Kind::Histogram(SECONDS), &["page"][..]));
/// let row = "| `book_wait_seconds` | histogram | `page` | Waits, by page. |";
/// assert_eq!(WAIT.documentation(), row);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
}

/// The kinds of metrics.
///
/// ```
/// use maelstrom_core::metrics::{Kind, SIZES};
///
/// let names = [Kind::Counter, Kind::Gauge, Kind::Histogram(SIZES)].map(Kind::name);
/// assert_eq!(names, ["counter", "gauge", "histogram"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Never falls.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts each observation under the lowest of these upper bounds that it does not exceed.
    Histogram(&'static [f64]),
}

impl Kind {
    /// Prometheus' name for the kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl Metric {
    /// A counter.
    #[must_use]
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    /// A gauge.
    #[must_use]
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }

    /// A histogram with these upper bounds, in rising order, for example [`SECONDS`] or [`SIZES`].
    #[must_use]
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        bounds: &'static [f64],
        help: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram(bounds), labels, help }
    }

    /// The row that documents the metric, as in the table of this module's documentation.
    #[must_use]
    pub fn documentation(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        let space = if labels.is_empty() { "" } else { " " };
        let (name, kind, help) = (self.name, self.kind.name(), self.help);
        format!("| `{name}` | {kind} |{space}{labels} | {help} |")
    }
}

/// An integer in the number format of Prometheus.
///
/// ```
/// use maelstrom_core::metrics::{Gauges, Metric, float};
///
/// static ROOM: Metric = Metric::gauge("book_room_bytes", &["shelf"], "Free bytes, by shelf.");
///
/// Gauges::default().set(&ROOM, &["top"], float(4 << 20));
/// assert_eq!(float(4 << 20), 4_194_304.0);
/// ```
#[expect(clippy::cast_precision_loss, reason = "Prometheus keeps 53 bits as well")]
#[must_use]
pub const fn float(count: u64) -> f64 {
    count as f64
}

/// Asserts that the documentation of a module lists exactly these metrics. `source` is the text of
/// the module's file.
///
/// ```
/// use maelstrom_core::metrics::{Metric, assert_documented};
///
/// static READS: Metric = Metric::counter("book_reads_total", &["by"], "Reads, by client.");
///
/// let source = "//! | `book_reads_total` | counter | `by` | Reads, by client. |";
/// assert_documented(source, &[&READS]);
/// ```
///
/// # Panics
///
/// If the table in the module documentation of `source` does not consist of exactly these metrics,
/// in their order, with their kinds, labels and meanings.
#[expect(clippy::panic, reason = "it is an assertion")]
pub fn assert_documented(source: &str, metrics: &[&Metric]) {
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let is_metric = |row: &&str| {
        ["| counter |", "| gauge |", "| histogram |"].iter().any(|kind| row.contains(kind))
    };
    let found: Vec<String> = rows.filter(is_metric).map(|row| format!("| `{row}")).collect();
    let listed: Vec<String> = metrics.iter().map(|metric| metric.documentation()).collect();
    if found != listed {
        panic!("the documentation should say:\n{}", listed.join("\n"));
    }
}

#[cfg(test)]
mod tests;
