//! The subcommand `doc`: prints the requests and replies of a workload, for authors of nodes.
//!
//! The text comes from the same declarations that check the replies of nodes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::find;
use crate::workload::{Entry, Field, Rpc};

const README: &str = include_str!("../../README.md");

#[derive(Args, Debug)]
pub(super) struct DocArgs {
    /// The workload. Without it: a list of all workloads.
    workload: Option<String>,
}

pub(super) fn doc(args: &DocArgs, workloads: &[Entry]) -> anyhow::Result<ExitCode> {
    let text = match &args.workload {
        Some(name) => page(find(workloads, name)?),
        None => list(workloads),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// One paragraph for each workload.
fn list(workloads: &[Entry]) -> String {
    let mut text = String::new();
    for entry in workloads {
        let workload = entry.workload();
        text.push_str(&format!("{}\n{}\n", workload.name(), wrap(workload.about(), 4)));
    }
    text.push_str("More about one of them: doc WORKLOAD\n");
    text
}

/// The page of one workload.
fn page(entry: &Entry) -> String {
    let workload = entry.workload();
    let mut text = format!("{}\n{}\n", workload.name(), wrap(workload.about(), 4));
    text.push_str(
        "Every message is a JSON object in a line of its own. Its body is shown here:\n\n",
    );
    text.push_str("    {\"src\": \"c1\", \"dest\": \"n1\", \"body\": {…}}\n\n");
    text.push_str("At the start each node gets `init`:\n\n");
    text.push_str(
        "    {\"type\":\"init\",\"msg_id\":1,\"node_id\":\"n1\",\"node_ids\":[\"n1\",\"n2\"]}\n",
    );
    text.push_str("    {\"type\":\"init_ok\",\"in_reply_to\":1}\n\n");
    for rpc in workload.rpcs() {
        text.push_str(&section(rpc));
    }
    text.push_str(
        "A node that cannot serve a request replies with an error. Code 11 means that it did not \
         happen\nand may work later; 0 and 13 mean that it may have happened:\n\n    \
         {\"type\":\"error\",\"in_reply_to\":1,\"code\":11,\"text\":\"not now\"}\n\n",
    );
    let flags = entry.flags();
    if !flags.is_empty() {
        text.push_str("Flags of this workload:\n\n");
        for flag in flags {
            let name = flag.get_long().unwrap_or_default();
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("    --{name}\n{}", wrap(&(help + "."), 8)));
        }
        text.push('\n');
    }
    text + &differences(workload.name())
}

/// The section about the rules that differ from Maelstrom's.
fn differences(workload: &str) -> String {
    let mut text = wrap(
        "This checker is stricter than Maelstrom: without --as-maelstrom, it also applies \
         the rules of this list. Where Maelstrom's own checker fails (exit code 2), this one may be kinder: it \
         judges the rest.",
        0,
    );
    text.push('\n');
    for (workloads, finding, names) in stricter_rules() {
        if workloads == "all" || workloads.contains(&format!("`{workload}`")) {
            let names = if names.is_empty() { String::new() } else { format!(" ({names})") };
            text.push_str(&wrap(&format!("* {finding}{names}"), 4));
        }
    }
    text
}

/// The table of stricter rules in the crate's README: the workloads, the finding, and its names.
fn stricter_rules() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let lines = README.lines().skip_while(|line| !line.starts_with("| workload | only"));
    let rows = lines.skip(2).map_while(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.filter_map(|row| {
        let mut cells = row.split('|').map(str::trim);
        Some((cells.next()?, cells.next()?, cells.next()?))
    })
}

/// The section about one request and its reply.
fn section(rpc: &Rpc) -> String {
    let (name, about) = (rpc.name, rpc.about);
    let mut text = wrap(&format!("`{name}`: {about}"), 0) + "\n";
    let body = |kind: &str, id: &str, fields: &[Field]| {
        let fields = fields.iter().map(|f| format!(",\"{}\":{}", f.name, f.example));
        format!("    {{\"type\":\"{kind}\",\"{id}\":1{}}}\n", fields.collect::<String>())
    };
    text.push_str(&body(name, "msg_id", rpc.request));
    text.push_str(&body(&format!("{name}_ok"), "in_reply_to", rpc.reply));
    text.push('\n');
    for (what, fields) in [("request", rpc.request), ("reply", rpc.reply)] {
        for field in fields {
            let (name, schema, about) = (field.name, field.schema.name, field.about);
            text.push_str(&wrap(&format!("{what}, {name}: {schema}. {about}"), 8));
        }
    }
    if rpc.request.len().saturating_add(rpc.reply.len()) > 0 {
        text.push('\n');
    }
    text
}

/// Wraps a paragraph into indented lines of at most 96 characters.
fn wrap(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > 96 {
            writeln!(lines, "{:indent$}{line}", "").ok();
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(lines, "{:indent$}{line}", "").ok();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::built_in;

    #[test]
    fn a_page_lists_the_rules_of_its_workload_that_are_stricter_than_maelstroms() {
        let pages: Vec<String> = built_in().iter().map(page).collect();
        let pages: Vec<String> = pages
            .iter()
            .map(|page| page.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let rules: Vec<_> = stricter_rules().collect();
        assert!(rules.len() > 10);
        for (workloads, finding, _) in rules {
            let count = pages.iter().filter(|page| page.contains(finding)).count();
            let names = built_in();
            let mut names = names.iter().map(|entry| entry.workload().name());
            let is_of_all = workloads == "all";
            let is_known = names.any(|name| workloads.contains(&format!("`{name}`")));
            assert!(
                is_of_all && count == pages.len() || is_known && count > 0,
                "{workloads}: {finding}"
            );
        }
        let entries = built_in();
        let echo = page(entries.iter().find(|entry| entry.workload().name() == "echo").unwrap());
        assert!(echo.contains("`replied-twice`") && !echo.contains("`poll-skip`"), "{echo}");
    }
}
