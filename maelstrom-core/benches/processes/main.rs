//! The cost of whole programs: requests over pipes, and their start.
//!
//! Each case has a floor beside it: a process that reads the same lines with serde_json and writes
//! replies of the same length. See [`floor`]. The load of the machine changes from moment to
//! moment, so both are measured in turns, and the figures are medians. The quotient of the
//! processor times depends less on other programs than the quotient of the times.
//!
//! The programs are those in the folder of this one: `make bench` builds them.
//!
//! ```text
//! bench-processes [WORDS]    only the cases whose names contain WORDS
//! ```

#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::print_stdout, reason = "this is where the results go")]
#![expect(clippy::arithmetic_side_effects, reason = "figures of times")]

mod cases;
mod floor;
mod gossip;
mod process;
mod start;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cases::{CASES, Case};
use process::{Cost, Process};

/// Number of measurements of each of the two.
const ROUNDS: u64 = 9;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let me = std::env::current_exe()?;
    let words = match args.split_first() {
        Some((first, rest)) if first == "floor" => return floor::run(rest),
        Some((first, _)) => first.as_str(),
        None => "",
    };
    let folder = me.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    println!("| requests | node | floor | quotient | CPU: node | floor | quotient |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for case in CASES.iter().filter(|case| case.name.contains(words)) {
        measure(case, &folder, &me)?;
    }
    if gossip::NAME.contains(words) {
        gossip::measure(&folder, &me)?;
    }
    if "start".contains(words) {
        start::table(&folder, &me)?;
    }
    Ok(())
}

/// Prints a row.
fn measure(case: &Case, folder: &Path, me: &Path) -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let mut args: Vec<String> = case.args.iter().map(ToString::to_string).collect();
    let mut floor_args = vec!["floor".to_owned()];
    if case.is_durable {
        args.extend(["--data-dir".to_owned(), data.path().join("node").display().to_string()]);
        floor_args.extend(["sync".to_owned(), data.path().join("floor").display().to_string()]);
    }
    let mut node = Process::start(&folder.join(case.program), &args)?;
    let setup: Vec<String> = (0..case.values).map(|number| (case.setup)(number)).collect();
    node.bulk(&setup)?;
    let first = (case.request)(case.values);
    // Twice: the work that only the first request causes must not be measured.
    node.ask(first.as_bytes())?;
    let reply = node.ask(first.as_bytes())?;
    if reply.contains(r#""type":"error""#) {
        return Err(io::Error::other(format!("{}: {reply}", case.name)));
    }
    let short = Process::start(me, &floor_args)?;
    let pad = padding(short, &first, reply.len())?;
    floor_args.extend(["pad".to_owned(), pad.to_string()]);
    let mut floor = Process::start(me, &floor_args)?;
    let (mut nodes, mut floors) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let from = case.values + 1 + round * case.requests;
        let lines: Vec<String> = (from..from + case.requests).map(case.request).collect();
        nodes.push((case.run)(&mut node, &lines)?);
        floors.push((case.run)(&mut floor, &lines)?);
    }
    node.end()?;
    floor.end()?;
    row(case.name, nodes, floors, case.requests);
    Ok(())
}

/// Prints a row: the medians of the cost of a request.
fn row(name: &str, nodes: Vec<Cost>, floors: Vec<Cost>, requests: u64) {
    let (node, floor) = (median(nodes, requests), median(floors, requests));
    println!(
        "| {name} | {:.2?} | {:.2?} | {} | {:.2?} | {:.2?} | {} |",
        node.wall,
        floor.wall,
        quotient(node.wall, floor.wall),
        node.cpu,
        floor.cpu,
        quotient(node.cpu, floor.cpu)
    );
}

/// By how much the replies of the floor are too short.
fn padding(mut floor: Process, line: &str, length: usize) -> io::Result<usize> {
    let reply = floor.ask(line.as_bytes())?;
    floor.end()?;
    Ok(length.saturating_sub(reply.len()).saturating_sub(r#","pad":"""#.len()))
}

/// The median of the costs of a request.
fn median(costs: Vec<Cost>, requests: u64) -> Cost {
    let requests = u32::try_from(requests).unwrap_or(u32::MAX);
    let of = |part: fn(&Cost) -> Duration| {
        let mut times: Vec<Duration> = costs.iter().map(part).collect();
        times.sort_unstable();
        times.get(times.len() / 2).map_or(Duration::ZERO, |time| *time / requests)
    };
    Cost { wall: of(|cost| cost.wall), cpu: of(|cost| cost.cpu) }
}

fn quotient(node: Duration, floor: Duration) -> String {
    if floor.is_zero() {
        return "-".into();
    }
    format!("{:.2}", node.as_secs_f64() / floor.as_secs_f64())
}
