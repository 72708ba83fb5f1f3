//! Describes the likely reason why a node failed, to help its author.

use crate::excerpt::log_line;
use crate::process::{Printed, Processes};
use crate::world::{Failure, World};

/// The error of this project's nodes if another process uses their data folder.
const IN_USE: &str = "in use by another process";

/// The likely reason why a node ended after it was killed and started again.
const TOLD_LATE: &str = "It was killed and started again, and has not answered `init` since. Such a \
                         node hears waiting messages before it hears `init`, as in Maelstrom.";

/// The likely reason for a failure, as full sentences. Empty if none is known.
pub(super) fn of(failure: &Failure, world: &World, processes: &Processes) -> String {
    let node = failure.node();
    if let Some(why) = world.muted().get(node) {
        return format!("It is not listened to any more: {why}");
    }
    match failure {
        Failure::InitTimeout(_) => silence(processes.printed(node).unwrap_or_default()),
        Failure::NodeGone(..) => {
            let hint = end(&processes.stderr_tail(node), processes);
            let is_told_late = hint.is_empty() && world.awaits_init_again(node);
            if is_told_late { TOLD_LATE.into() } else { hint }
        }
        _ => String::new(),
    }
}

/// The likely reason why a node that printed this much did not answer `init`.
fn silence(printed: Printed) -> String {
    let Printed { bytes, unended_bytes, lines, .. } = printed;
    let mut text = match (bytes, lines) {
        (0, _) => "It printed nothing to stdout. Does it flush stdout after each message?".into(),
        (_, 0) => format!(
            "It printed {unended_bytes} bytes to stdout, but no newline. A message ends in a newline."
        ),
        _ => format!(
            "Lines that it printed: {lines}. None of them answers the client that sent `init`, with \
             the request's `msg_id` as `in_reply_to`."
        ),
    };
    if lines > 0 && unended_bytes > 0 {
        text.push_str(&format!(" Its last {unended_bytes} bytes have no newline yet."));
    }
    if printed.begins_with_bom() {
        text.push_str(" Its output begins with a byte order mark: write UTF-8 without one.");
    }
    text
}

/// The likely reason why a node ended, from the last lines of its stderr.
fn end(stderr: &[String], processes: &Processes) -> String {
    if let Some(line) = stderr.iter().rev().find(|line| line.contains(IN_USE)) {
        return format!(
            "Another process uses its data folder. Does another test run on the same one? It said: {}",
            log_line(line.trim())
        );
    }
    if let Some(name) = processes.missing_to_env() {
        return missing_to_env(&name);
    }
    if processes.has_carriage_return() {
        return "The first line of the program ends in a carriage return: save the file with Unix \
                line ends (LF)."
            .into();
    }
    String::new()
}

/// The reason why `env` cannot find the program with this name.
fn missing_to_env(name: &str) -> String {
    let shown = name.escape_debug();
    if name.ends_with('\r') {
        return format!(
            "The first line of the program ends in a carriage return, so `env` looks for \
             `{shown}`: save the file with Unix line ends (LF)."
        );
    }
    let remedy = if name.contains(' ') {
        "`env` takes all of it for one name; write `env -S` to split it"
    } else if name.contains('/') {
        "install that, or correct the line"
    } else {
        "install that, set PATH, or correct the line"
    };
    format!("The first line of the program asks `env` for `{shown}`, which is not there: {remedy}.")
}
