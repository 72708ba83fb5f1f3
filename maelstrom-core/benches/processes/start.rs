//! The time from the start of a program to its first reply.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cases::{broadcast, send};
use crate::process::Process;
use crate::quotient;

/// The programs, and how many times they start.
const PROGRAMS: [&str; 4] = ["echo", "broadcast", "kafka-log", "txn-rw"];
const STARTS: usize = 41;

/// The number of records that a node recovers, how many of them a step sends, and how many times it
/// starts.
const RECORDS: u64 = 1_000_000;
const STEP: u64 = 50_000;
const RECOVERIES: usize = 3;

/// Prints a table. The floor of a start is the start of this program, as the floor of requests. The
/// floor of a recovery is to read the files.
pub(crate) fn table(folder: &Path, me: &Path) -> io::Result<()> {
    println!("\n| start, to the first reply | node | floor | quotient |\n|---|--:|--:|--:|");
    for program in PROGRAMS {
        let (mut nodes, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            nodes.push(start(&folder.join(program), &[])?);
            floors.push(start(me, &["floor".to_owned()])?);
        }
        row(program, nodes, floors);
    }
    recovery("broadcast", broadcast, folder)?;
    recovery("kafka-log", send, folder)
}

fn recovery(name: &str, request: fn(u64) -> String, folder: &Path) -> io::Result<()> {
    let data = tempfile::tempdir()?;
    let args = ["--data-dir".to_owned(), data.path().display().to_string()];
    let program = folder.join(name);
    let mut node = Process::start(&program, &args)?;
    for from in (0..RECORDS).step_by(usize::try_from(STEP).unwrap_or(1)) {
        let lines: Vec<String> = (from..from + STEP).map(request).collect();
        node.bulk(&lines)?;
    }
    node.end()?;
    let (mut nodes, mut floors, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..RECOVERIES {
        nodes.push(start(&program, &args)?);
        let begin = Instant::now();
        bytes = read_all(data.path())?;
        floors.push(begin.elapsed());
    }
    let about = format!("{name} with {RECORDS} records, {} MB on disk", bytes / 1_000_000);
    row(&about, nodes, floors);
    Ok(())
}

/// The time to the first reply.
fn start(program: &Path, args: &[String]) -> io::Result<Duration> {
    let begin = Instant::now();
    let process = Process::start(program, args)?;
    let time = begin.elapsed();
    process.end()?;
    Ok(time)
}

/// Reads all files in a folder. Returns their size.
fn read_all(folder: &Path) -> io::Result<usize> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        bytes += if path.is_dir() { read_all(&path)? } else { fs::read(&path)?.len() };
    }
    Ok(bytes)
}

fn row(about: &str, mut nodes: Vec<Duration>, mut floors: Vec<Duration>) {
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    let (node, floor) = (median(&mut nodes), median(&mut floors));
    println!("| {about} | {node:.2?} | {floor:.2?} | {} |", quotient(node, floor));
}
