//! Events that follow an entry from node to node: see [`trace`](crate::trace).

use tracing::{Level, debug, enabled};

use super::replica::Run;
use crate::trace::{NAME_CHARS_MAX, TARGET};

/// Logs a step of the entries of a run, one event for each entry. The field `entry` is the
/// entry's name, the same on all nodes: the node that appended it, the incarnation of the log, and
/// the entry's number, such as `n1:8142:17`.
pub(super) fn log_entries<T>(what: &'static str, run: &Run<T>) {
    if !enabled!(target: TARGET, Level::DEBUG) {
        return;
    }
    let (node, incarnation) = (&run.origin.node, run.origin.incarnation);
    for number in run.start..run.end() {
        let entry = format_args!("{node:.NAME_CHARS_MAX$}:{incarnation}:{number}");
        debug!(target: TARGET, %entry, "{what}");
    }
}
