//! Prints the end of a test on a terminal.

use serde_json::Value;

use super::figures::{Figure, figures};
use crate::checker::Verdict;
use crate::excerpt::{printable, sentence};
use crate::limits::{Figures, Limits};
use crate::results::{Results, muted_in_words, replied_twice_in_words};
use crate::world::World;

/// A value that is longer takes several lines.
const LINE_CHARS: usize = 92;

/// A test with at least this many messages between nodes, both in total and per operation, has a
/// storm.
const STORM_MESSAGES: u64 = 5_000;
const STORM_PER_OP: u64 = 500;

/// The printed results show at most this many items of a list.
const LIST_MAX: usize = 16;

/// A test in about a dozen lines: the verdict, its first cause, and the figures with their limits.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_sim::report::{brief, closing_line, exit_code, summary};
/// use maelstrom_sim::{Test, limits::Limits, options::Options, workload::Echo, world::World};
///
/// let test = Test::new(Echo::default(), Options::default());
/// let mut world = World::new(test, Duration::ZERO);
/// world.node_gone(&"n2".into(), "exited with code 1".into());
/// let results = world.results();
/// assert!(brief(&world, &results, &Limits::default()).contains("n2 exited with code 1"));
/// assert!(summary(&results).contains("n2 exited with code 1"));
/// assert_eq!(exit_code(results.valid), 2);
/// assert!(closing_line(results.valid).starts_with("Errors occurred"));
/// ```
#[must_use]
pub fn brief(world: &World, results: &Results, limits: &Limits) -> String {
    let mut lines = vec![format!("{}: {}", world.workload().name(), verdict(results.valid))];
    if let Some(cause) = &results.cause {
        lines.push(format!("First cause: {}", printable(cause)));
    }
    if !results.evidence.is_empty() {
        let ops: Vec<String> = results.evidence.iter().map(ToString::to_string).collect();
        lines.push(format!("Proved by these ops of the history: {}", ops.join(", ")));
    }
    if results.valid != results.maelstrom_valid {
        let how = if results.valid > results.maelstrom_valid { "stricter" } else { "kinder" };
        lines.push(format!(
            "This checker is {how} than Maelstrom here (see the sub-command doc {}). With \
             --as-maelstrom: {}",
            world.workload().name(),
            closing_line(results.maelstrom_valid)
        ));
    }
    lines.extend(storm(world));
    lines.push(String::new());
    let figures = figures(world, results, limits);
    let width = figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
    for Figure { name, value, limit, is_missed, .. } in figures {
        let mark = if is_missed { "MISSED" } else { "ok" };
        let limit = limit.map(|limit| format!("  (limit {limit}: {mark})")).unwrap_or_default();
        lines.push(format!("  {name:<width$}  {value}{limit}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The first violation of the protocol in a test that ended early with this error. `None`: there
/// was none, or the error names it.
pub(crate) fn cause_of_early_end(results: &Results, error: &str) -> Option<String> {
    let muted = results.muted.first_key_value().filter(|(_, why)| !error.contains(*why));
    let muted = muted.map(|(node, why)| muted_in_words(node, why));
    let twice = results.replied_twice.first_key_value();
    let cause = muted.or_else(|| twice.map(|(node, reply)| replied_twice_in_words(node, reply)));
    cause.map(|cause| printable(&cause))
}

/// A verdict in words.
pub(super) const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "not valid",
        Verdict::Unknown => "verdict unknown",
    }
}

/// The full results for a person, with long lists and texts cut. A short value takes one line.
/// [`brief`] shows it in use.
#[must_use]
pub fn summary(results: &Results) -> String {
    let mut value = serde_json::to_value(results).unwrap_or_default();
    cut(&mut value);
    let mut text = String::new();
    write_value(&mut text, &value, 0);
    text
}

/// Appends `value`: on one line if it fits, else with each field of an object on its own line.
fn write_value(text: &mut String, value: &Value, indent: usize) {
    let compact = value.to_string();
    match value {
        Value::Object(fields) if compact.len() + indent > LINE_CHARS => {
            text.push_str("{\n");
            for (at, (name, value)) in fields.iter().enumerate() {
                text.extend(std::iter::repeat_n(' ', indent + 2));
                text.push_str(&format!("{}: ", Value::from(name.as_str())));
                write_value(text, value, indent + 2);
                text.push_str(if at + 1 < fields.len() { ",\n" } else { "\n" });
            }
            text.extend(std::iter::repeat_n(' ', indent));
            text.push('}');
        }
        _ => text.push_str(&compact),
    }
}

fn cut(value: &mut Value) {
    match value {
        Value::Array(items) => {
            let more = items.len().saturating_sub(LIST_MAX);
            if more > 0 {
                items.truncate(LIST_MAX);
                items.push(format!("… and {more} more").into());
            }
            items.iter_mut().for_each(cut);
        }
        Value::Object(fields) => {
            let cut_field = |(name, mut value): (String, Value)| {
                cut(&mut value);
                (sentence(&name), value)
            };
            *fields = std::mem::take(fields).into_iter().map(cut_field).collect();
        }
        Value::String(text) => *text = sentence(text),
        _ => {}
    }
}

/// Describes a storm of messages between nodes, if there was one, and the node that sent most. Such
/// nodes do not scale, even if the verdict is valid.
#[must_use]
fn storm(world: &World) -> Option<String> {
    let (sent, tally) = (world.net_stats().servers.sent, world.history().tally());
    let per_op = sent / (tally.ok + tally.fail + tally.info).max(1);
    let (node, most) = world.busiest_node();
    let text = || {
        format!(
            "A storm: {sent} messages between nodes, {per_op} for each operation. {node} sent most of \
             them, {most}. Does it forward messages that it has seen before?"
        )
    };
    (sent >= STORM_MESSAGES && per_op >= STORM_PER_OP).then(text)
}

/// Maelstrom's closing line. [`brief`] shows it in use.
#[must_use]
pub const fn closing_line(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "Everything looks good! ヽ(‘ー`)ノ",
        Verdict::Invalid => "Analysis invalid! (ﾉಥ益ಥ）ﾉ ┻━┻",
        Verdict::Unknown => "Errors occurred during analysis, but no anomalies found. ಠ~ಠ",
    }
}

/// The closing line of a test with limits: Maelstrom's, unless the test is valid and misses some.
pub(crate) fn closing_line_within(results: &Results, limits: &Limits) -> String {
    let missed = Figures::of_results(results).missed(limits);
    if results.valid != Verdict::Valid || missed.is_empty() {
        return closing_line(results.valid).into();
    }
    format!(
        "The checker found no fault, but the run misses {}: {}. `maelstrom-sim limits` with the \
         same limits exits with 1.",
        if missed.len() == 1 { "a limit" } else { "limits" },
        missed.join("; ")
    )
}

/// Maelstrom's exit code.
///
/// ```
/// use maelstrom_sim::checker::Verdict;
/// use maelstrom_sim::report::exit_code;
///
/// let verdicts = [Verdict::Valid, Verdict::Invalid, Verdict::Unknown];
/// assert_eq!(verdicts.map(exit_code), [0, 1, 2]);
/// ```
#[must_use]
pub const fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Valid => 0,
        Verdict::Invalid => 1,
        Verdict::Unknown => 2,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::Test;
    use crate::options::Options;
    use crate::workload::Echo;

    #[test]
    fn a_verdict_that_differs_from_maelstroms_names_the_command_that_lists_the_rules() {
        let test = Test::new(Echo::default(), Options::default());
        let world = World::new(test, Duration::ZERO);
        let results =
            Results { valid: Verdict::Invalid, maelstrom_valid: Verdict::Valid, ..world.results() };
        let text = brief(&world, &results, &Limits::default());
        assert!(
            text.contains("stricter than Maelstrom here (see the sub-command doc echo)"),
            "{text}"
        );
        assert!(!text.contains(".md"), "{text}");
    }

    #[test]
    fn an_early_end_has_a_first_cause_that_its_error_does_not_name() {
        let test = Test::new(Echo::default(), Options::default());
        let mut world = World::new(test, Duration::ZERO);
        world.node_gone(&"n2".into(), "exited with code 1".into());
        let results = world.results();
        assert_eq!(cause_of_early_end(&results, "n2 exited with code 1"), None);
        let results = results.with_second_replies(&[("n3".into(), "echo_ok".into())].into());
        let cause = || cause_of_early_end(&results, "n2 exited with code 1");
        assert_eq!(cause().unwrap(), "n3 replied twice to a request, echo_ok");
        let muted = results.clone().with_muted(&[("n1".into(), "no JSON".into())].into());
        let cause = |error: &str| cause_of_early_end(&muted, error).unwrap();
        let text = "n1 was not listened to from some moment on: no JSON";
        assert_eq!(cause("interrupted by SIGINT"), text);
        let cause = cause("n1 exited\nIt is not listened to any more: no JSON");
        assert!(cause.contains("replied twice"), "the error names the other one: {cause}");
    }

    #[test]
    fn a_valid_test_that_misses_limits_says_so_at_its_end() {
        let test = Test::new(Echo::default(), Options::default());
        let world = World::new(test, Duration::ZERO);
        let results = Results { valid: Verdict::Valid, ..world.results() };
        let good = closing_line(Verdict::Valid);
        assert_eq!(closing_line_within(&results, &Limits::default()), good);
        let limits = Limits { max_median_ms: Some(4.0), ..Limits::default() };
        assert_eq!(
            closing_line_within(&results, &limits),
            "The checker found no fault, but the run misses a limit: median latency is unknown. \
             `maelstrom-sim limits` with the same limits exits with 1."
        );
        let limits = Limits { max_latency_ms: Some(9.0), ..limits };
        let text = closing_line_within(&results, &limits);
        assert!(text.contains("misses limits: median latency is unknown; max latency"), "{text}");
        let bad = Results { valid: Verdict::Invalid, ..results };
        assert_eq!(closing_line_within(&bad, &limits), closing_line(Verdict::Invalid));
    }

    #[test]
    fn short_values_stand_in_one_line_and_the_whole_stays_json() {
        let long: Vec<u32> = (0..100).collect();
        let mut value = json!({
            "net": { "servers": { "msg-count": 3 }, "valid?": true },
            "workload": { "lost": long, "valid?": false },
        });
        cut(&mut value);
        let mut text = String::new();
        write_value(&mut text, &value, 0);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], r#"  "net": {"servers":{"msg-count":3},"valid?":true},"#);
        assert_eq!(value["workload"]["lost"][16], "… and 84 more");
    }
}
