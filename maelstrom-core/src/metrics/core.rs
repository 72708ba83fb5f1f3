//! The metrics that every node has.

use super::{Metric, SECONDS, SIZES};

/// The metrics of every node, in the order of the documentation.
pub const METRICS: &[&Metric] = &[
    &MESSAGES,
    &MESSAGE_BYTES,
    &SKIPPED,
    &UNAUTHENTICATED,
    &REQUESTS,
    &GIVEN_UP,
    &REFUSED,
    &ERRORS,
    &REQUEST_SECONDS,
    &REQUESTS_OPEN,
    &CALLS,
    &CALL_SECONDS,
    &CALLS_OPEN,
    &TIMERS,
    &OUTPUT_BYTES,
    &EARLY_BYTES,
    &READY,
    &LOG_LINES_LOST,
    &RECORDS,
    &RECORD_BYTES,
    &RECOVERED,
    &SYNC_SECONDS,
    &SYNC_RECORDS,
    &DISK_BYTES,
    &SNAPSHOTS,
];

/// Number of metrics at the end of [`METRICS`] that only a node with records on disk has.
pub(super) const DISK_METRICS: usize = 5;

pub(super) static MESSAGES: Metric = Metric::counter(
    "maelstrom_messages_total",
    &["direction", "type"],
    "Messages received and sent, by type.",
);

pub(super) static MESSAGE_BYTES: Metric = Metric::counter(
    "maelstrom_message_bytes_total",
    &["direction", "type"],
    "Bytes of the messages received and sent, by type.",
);

pub(crate) static SKIPPED: Metric = Metric::counter(
    "maelstrom_lines_skipped_total",
    &["reason"],
    "Lines of input that were skipped: they are no message, or too long.",
);

pub(crate) static UNAUTHENTICATED: Metric = Metric::counter(
    "maelstrom_unauthenticated_total",
    &["reason"],
    "Messages between nodes that were dropped: their MAC is missing or wrong.",
);

pub(super) static REQUESTS: Metric = Metric::counter(
    "maelstrom_requests_total",
    &["type", "outcome"],
    "Requests answered: ok, error, or late (the client had given up, so no reply was sent).",
);

pub(crate) static GIVEN_UP: Metric = Metric::counter(
    "maelstrom_requests_given_up_total",
    &[],
    "Requests given up because too many waited for a reply.",
);

pub(crate) static REFUSED: Metric = Metric::counter(
    "maelstrom_refused_total",
    &["limit"],
    "Messages of clients that a limit refused, and messages before init without room to wait.",
);

pub(super) static ERRORS: Metric = Metric::counter(
    "maelstrom_errors_total",
    &["code"],
    "Error replies, by the protocol's name of the code.",
);

pub(super) static REQUEST_SECONDS: Metric = Metric::histogram(
    "maelstrom_request_duration_seconds",
    &["type"],
    SECONDS,
    "Time from a request to its reply, by the clock that the handler sees.",
);

pub(crate) static REQUESTS_OPEN: Metric =
    Metric::gauge("maelstrom_requests_open", &[], "Requests that wait for a reply.");

pub(crate) static CALLS: Metric = Metric::counter(
    "maelstrom_calls_total",
    &["outcome"],
    "Calls that ended: ok, error, timeout, or unsent.",
);

pub(super) static CALL_SECONDS: Metric = Metric::histogram(
    "maelstrom_call_duration_seconds",
    &["type"],
    SECONDS,
    "Time from a call to its reply or its timeout, by the type of the call.",
);

pub(crate) static CALLS_OPEN: Metric =
    Metric::gauge("maelstrom_calls_open", &[], "Calls that wait for a reply.");

pub(crate) static TIMERS: Metric =
    Metric::gauge("maelstrom_timers", &[], "Timers that have not fired yet.");

pub(crate) static OUTPUT_BYTES: Metric = Metric::gauge(
    "maelstrom_output_bytes",
    &[],
    "Bytes of output that the driver has not taken yet.",
);

pub(crate) static EARLY_BYTES: Metric =
    Metric::gauge("maelstrom_early_bytes", &[], "Bytes of requests that wait for init.");

pub(crate) static READY: Metric =
    Metric::gauge("maelstrom_ready", &[], "1 once init was answered, 0 before.");

pub(crate) static LOG_LINES_LOST: Metric = Metric::counter(
    "maelstrom_log_lines_lost_total",
    &[],
    "Log lines that were lost because they came faster than stderr was read.",
);

pub(crate) static RECORDS: Metric =
    Metric::counter("maelstrom_records_total", &[], "Records that the handler persisted.");

pub(crate) static RECORD_BYTES: Metric = Metric::counter(
    "maelstrom_record_bytes_total",
    &[],
    "Bytes of the records that the handler persisted.",
);

pub(crate) static RECOVERED: Metric = Metric::gauge(
    "maelstrom_recovered_records",
    &[],
    "Records that this process recovered when it started.",
);

pub(crate) static SYNC_SECONDS: Metric = Metric::histogram(
    "maelstrom_sync_duration_seconds",
    &[],
    SECONDS,
    "Time to make a batch of records durable.",
);

pub(crate) static SYNC_RECORDS: Metric = Metric::histogram(
    "maelstrom_sync_records",
    &[],
    SIZES,
    "Records in a batch that is made durable at once.",
);

pub(crate) static DISK_BYTES: Metric =
    Metric::gauge("maelstrom_disk_bytes", &[], "Size of the file of records.");

pub(crate) static SNAPSHOTS: Metric = Metric::counter(
    "maelstrom_snapshots_total",
    &["outcome"],
    "Snapshots that were taken or given_up.",
);

/// The outcomes of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallOutcome {
    Ok,
    Error,
    Timeout,
    Unsent,
}

impl CallOutcome {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Unsent => "unsent",
        }
    }
}
