//! Measures how small the failing run of a broken handler becomes.
//!
//! If the environment has `SHRUNK`, each mutant that is hunted prints a row of a table: workload,
//! mutant, seed, the size of the run before and after (messages, faults, operations, nodes, virtual
//! seconds), the number of candidates, and the time in seconds. All rows:
//!
//! ```text
//! SHRUNK=1 HUNTS=1 make mutants | grep "^| shrunk"
//! ```
//!
//! If the environment also has `REPORTS=/a/folder`, the report of each smaller run is written
//! there, and with `CASES=/a/folder` its file.

use std::path::Path;
use std::time::{Duration, Instant};

use maelstrom_core::{MessageHandler, NodeId};
use maelstrom_sim::sweep::{Case, Size, Sweep};

/// How long the search for a smaller run may take per mutant.
const LIMIT: Duration = Duration::from_secs(60);

/// Prints the row of a mutant if the environment asks for it. Starts from its first failing seed
/// from `first` on.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no other command line, and it takes time"
)]
pub(crate) fn row<H: MessageHandler>(
    sweep: &Sweep,
    mutant: &str,
    first: u64,
    build: impl Fn(&NodeId) -> H,
) {
    if std::env::var_os("SHRUNK").is_none() {
        return;
    }
    let finding = (first..first + 1_000).find_map(|seed| sweep.run(seed, &build).err()).unwrap();
    let begun = Instant::now();
    let name = sweep.workload.name();
    let shrunk = sweep.shrink(name, &finding, LIMIT, |test| Case::new(test, &build));
    let seconds = begun.elapsed().as_secs_f64();
    let Some(shrunk) = shrunk else { panic!("{mutant}: no smaller run") };
    if let Some(folder) = std::env::var_os("REPORTS") {
        let file = Path::new(&folder).join(format!("{mutant}.html"));
        let case = |test| Case::new(test, &build);
        sweep.write_report(name, &finding, Some(&shrunk), case, &file).unwrap();
    }
    if let Some(folder) = std::env::var_os("CASES") {
        shrunk.case.write(&Path::new(&folder).join(mutant)).unwrap();
    }
    assert_eq!(shrunk.finding.kind, finding.kind);
    let (before, after) = (cells(finding.size), cells(shrunk.case.after));
    let both = before.into_iter().zip(after).map(|(before, after)| format!("{before} → {after}"));
    let both = both.collect::<Vec<_>>().join(" | ");
    let (seed, kind, runs) = (finding.seed, &finding.kind, shrunk.runs);
    println!("| shrunk | {name} | {mutant} | {seed} | {both} | {runs} | {seconds:.1} | {kind} |");
}

fn cells(size: Size) -> [u64; 5] {
    [size.messages, size.faults, size.operations, size.nodes, size.millis / 1_000]
}
